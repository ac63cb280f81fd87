//! The fifteen invariants of a ledger that the Ledger Conformance Kit names, on both stores, from
//! two seeds; and for each a mutant of a small model that breaks it and no other, so that no check
//! is blind and none cries wolf.

mod invariants;
mod ledger;
mod model;
mod workload;

use std::{collections::BTreeMap, fmt::Write as _};

use tokio::sync::OnceCell;

use self::{
    ledger::Ledger,
    model::{Model, Mutant},
    workload::History,
};
use crate::{each_store, serve};

const SEEDS: [u64; 2] = [42, 8_823_714];

struct Invariant {
    name: &'static str,
    check: fn(&History) -> Result<(), String>,
    mutant: Mutant,
}

/// What was found: on each store or of the model, by seed, which are broken and why.
struct Found {
    /// `SQLite`, `PostgreSQL`, or the model as it is.
    held: BTreeMap<&'static str, Vec<Broken>>,
    /// With each mutant, in order.
    mutants: Vec<Vec<Broken>>,
}

/// The invariants that do not hold, by their places, and why.
type Broken = BTreeMap<usize, String>;

fn broken(history: &History) -> Broken {
    let all = ALL.iter().enumerate();
    let told = all.filter_map(|(place, one)| Some((place, (one.check)(history).err()?)));
    told.collect()
}

async fn of_model(mutant: Option<Mutant>) -> Vec<Broken> {
    let mut found = Vec::new();
    for seed in SEEDS {
        let model = Ledger::Model(Model::new(mutant));
        found.push(broken(&workload::run(model.clone(), model, seed).await));
    }
    found
}

async fn find() -> Found {
    let mut held: BTreeMap<&'static str, Vec<Broken>> = BTreeMap::new();
    for seed in SEEDS {
        for (store, data, url, client) in each_store().await {
            let other = serve(data.path(), url).await;
            let (ledger, other) = (Ledger::Service(client), Ledger::Service(other));
            let history = workload::run(ledger, other, seed).await;
            held.entry(store).or_default().push(broken(&history));
        }
    }
    held.insert("model", of_model(None).await);
    let mut mutants = Vec::new();
    for one in ALL {
        mutants.push(of_model(Some(one.mutant)).await);
    }
    Found { held, mutants }
}

/// Done once; every test looks at its part.
async fn found() -> &'static Found {
    static FOUND: OnceCell<Found> = OnceCell::const_new();
    FOUND.get_or_init(find).await
}

async fn judge(place: usize) {
    let found = found().await;
    for (store, runs) in &found.held {
        for (seed, broken) in SEEDS.iter().zip(runs) {
            assert_eq!(broken.get(&place), None, "{store}, seed {seed}");
        }
    }
    for (seed, broken) in SEEDS.iter().zip(&found.mutants[place]) {
        let tripped: Vec<&usize> = broken.keys().collect();
        let mutant = ALL[place].mutant;
        assert_eq!(tripped, [&place], "{mutant:?}, seed {seed}: {broken:?}");
    }
}

macro_rules! invariants {
    ($($place:literal $name:ident $mutant:ident)*) => {
        const ALL: &[Invariant] = &[$(Invariant {
            name: stringify!($name),
            check: invariants::$name,
            mutant: Mutant::$mutant,
        }),*];

        mod invariant {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::judge($place - 1).await;
                }
            )*
        }
    };
}

invariants! {
    1 balanced_per_currency AddsUpAllCurrenciesTogether
    2 append_only MarksWhatIsReversedByEditingIt
    3 hash_chain ReadsTheLastHashBeforeLocking
    4 duplicate_is_reported TellsDuplicatesNotApart
    5 one_of_many_duplicates LooksForTheIdBeforeLocking
    6 hot_account LosesWhatIsBeyondItsBuffer
    7 conservation ReadsAccountsOneAfterTheOther
    8 balance_is_projection LetsAnAccountsLastLegWin
    9 overdraft_guard ChecksTheLimitBeforeLocking
    10 smallest_units RoundsTheSmallestUnitAway
    11 no_currency_mixing TakesAnyCurrency
    12 reversal_is_compensation ReversesInTheSameDirection
    13 rebuilds_from_log VoidsWithoutWritingIt
    14 sequence_is_monotonic HandsOutPlacesInPairs
    15 refused_is_never_applied RemembersAnIdButNotItsRefusal
}

/// `cargo test -p accounting-svc --test both the_table -- --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_of_the_fifteen() {
    let found = found().await;
    let held = |store: &str, place| match found.held.get(store) {
        None => "not run",
        Some(runs) if runs.iter().any(|broken| broken.contains_key(&place)) => "BROKEN",
        Some(_) => "held",
    };
    let mut table = format!("seeds {SEEDS:?}\n");
    for (place, Invariant { name, mutant, .. }) in ALL.iter().enumerate() {
        let only = |broken: &Broken| broken.len() == 1 && broken.contains_key(&place);
        let only = if found.mutants[place].iter().all(only) {
            "yes"
        } else {
            "NO"
        };
        writeln!(
            table,
            "{:02} {name:<26} SQLite {:<7} PostgreSQL {:<7} {:<31} trips only it: {only}",
            place + 1,
            held("SQLite", place),
            held("PostgreSQL", place),
            format!("{mutant:?}"),
        )
        .unwrap();
    }
    eprintln!("{table}");
    let bad = ["BROKEN", "NO\n"].iter().any(|word| table.contains(word));
    assert!(!bad, "{table}");
}
