//! What is done to a ledger, from a seed, and what was answered and read meanwhile. Each invariant
//! has a scene of its own, with accounts and request ids that begin with its number.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use futures_util::future::{join, join_all};

use crate::Random;

use super::ledger::{Accounts, Answer, Entry, Ledger, Move, Proof, State, Step};

/// One call: it began before, and ended after, every one with numbers between its own.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) step: Step,
    pub(super) answer: Answer,
    pub(super) began: u64,
    pub(super) ended: u64,
}

/// All that was seen.
#[derive(Debug)]
pub(super) struct History {
    pub(super) calls: Vec<Call>,
    /// Reads of all accounts while the seventh scene was written.
    pub(super) reads: Vec<Accounts>,
    /// After every third scene: the journal, its proof, and the proof of the same entries at the end.
    pub(super) kept: Vec<(Vec<Entry>, Proof, Proof)>,
    /// At the end.
    pub(super) state: State,
    pub(super) proof: Proof,
    /// At the end, as another instance on the same store tells it.
    pub(super) other: State,
}

impl History {
    /// The calls of a scene.
    pub(super) fn of<'a>(&'a self, scene: &'a str) -> impl Iterator<Item = &'a Call> {
        self.calls.iter().filter(move |c| c.id.starts_with(scene))
    }

    /// Counters of an account at the end.
    pub(super) fn counters(&self, account: &str) -> [i64; 4] {
        let found = self.state.accounts.get(account);
        found.unwrap_or_else(|| panic!("no account {account}")).1
    }
}

/// From 2 on: one smallest unit is for the tenth scene alone.
fn amount(random: &mut Random, most: u64) -> i64 {
    i64::try_from(2 + random.below(most - 1)).unwrap()
}

fn leg(account: &str, debit: bool, minor: i64, currency: &'static str) -> Move {
    Move {
        account: account.to_owned(),
        debit,
        minor,
        currency,
    }
}

fn pair(debited: &str, credited: &str, minor: i64) -> Vec<Move> {
    vec![
        leg(debited, true, minor, "GBP"),
        leg(credited, false, minor, "GBP"),
    ]
}

fn transfer(debited: &str, credited: &str, minor: i64) -> Step {
    Step::Record(pair(debited, credited, minor))
}

struct Driver {
    ledger: Ledger,
    random: Random,
    clock: AtomicU64,
    calls: Vec<Call>,
    reads: Vec<Accounts>,
}

/// Does it all.
pub(super) async fn run(ledger: Ledger, other: Ledger, seed: u64) -> History {
    let mut driver = Driver {
        ledger,
        random: Random(seed),
        clock: AtomicU64::new(0),
        calls: Vec::new(),
        reads: Vec::new(),
    };
    let mut kept = Vec::new();
    for scene in 1..=15 {
        driver.scene(scene).await;
        if scene % 3 == 2 {
            let journal = driver.ledger.journal().await;
            kept.push((journal, driver.ledger.proof(None).await));
        }
    }
    let mut with_proofs = Vec::new();
    for (journal, proof) in kept {
        let now = driver.ledger.proof(Some(proof.entries)).await;
        with_proofs.push((journal, proof, now));
    }
    History {
        proof: driver.ledger.proof(None).await,
        state: driver.ledger.state().await,
        other: other.state().await,
        calls: driver.calls,
        reads: driver.reads,
        kept: with_proofs,
    }
}

impl Driver {
    fn index(&mut self, bound: u64) -> usize {
        usize::try_from(self.random.below(bound)).unwrap()
    }

    async fn open(&self, ids: &[&str]) {
        for id in ids {
            self.ledger.create(id, "GBP", false).await;
        }
    }

    /// All of them at once.
    async fn ask_all(&mut self, asked: Vec<(String, Step)>) {
        let (ledger, clock) = (&self.ledger, &self.clock);
        let done = join_all(asked.into_iter().map(|one| call(ledger, clock, one))).await;
        self.calls.extend(done);
    }

    /// One after the other.
    async fn ask(&mut self, id: &str, step: Step) {
        self.ask_all(vec![(id.to_owned(), step)]).await;
    }

    async fn scene(&mut self, number: u32) {
        match number {
            1 => self.balanced().await,
            2 => self.plain("02").await,
            3 => self.concurrent("03", 32).await,
            4 => self.sent_twice().await,
            5 => self.sent_at_once().await,
            6 => self.hot().await,
            7 => self.conserved().await,
            8 => self.projected().await,
            9 => self.drained().await,
            10 => self.smallest().await,
            11 => self.mixed().await,
            12 => self.reversed().await,
            13 => self.rebuilt().await,
            14 => {
                self.plain("14").await;
                self.concurrent("14-c", 32).await;
            }
            _ => self.refused().await,
        }
    }

    /// Transactions of several legs and currencies, of which every other one does not balance.
    async fn balanced(&mut self) {
        self.open(&["01-a", "01-b", "01-c"]).await;
        for id in ["01-x", "01-y"] {
            self.ledger.create(id, "USD", false).await;
        }
        for n in 0..20 {
            let (p, q) = (amount(&mut self.random, 900), amount(&mut self.random, 900));
            let mut legs = pair("01-a", "01-b", p);
            legs.push(leg("01-c", true, q, "GBP"));
            legs.push(leg("01-a", false, q, "GBP"));
            legs.push(leg("01-x", true, p, "USD"));
            legs.push(leg("01-y", false, p, "USD"));
            self.ask(&format!("01-good-{n}"), Step::Record(legs.clone()))
                .await;
            match n % 3 {
                0 => legs[self.index(6)].minor += 1,
                1 => drop(legs.pop()),
                // As many smallest units on both sides, in two currencies.
                _ => {
                    legs = vec![leg("01-a", true, p, "GBP"), leg("01-y", false, p, "USD")];
                }
            }
            self.ask(&format!("01-bad-{n}"), Step::Record(legs)).await;
        }
    }

    /// Transfers one after the other.
    async fn plain(&mut self, scene: &str) {
        let (a, b) = (format!("{scene}-a"), format!("{scene}-b"));
        self.open(&[&a, &b]).await;
        for n in 0..20 {
            let minor = amount(&mut self.random, 900);
            let step = match n % 2 {
                0 => transfer(&a, &b, minor),
                _ => transfer(&b, &a, minor),
            };
            self.ask(&format!("{scene}-{n}"), step).await;
        }
    }

    /// Transfers all at once.
    async fn concurrent(&mut self, scene: &str, count: usize) {
        let (a, b) = (format!("{scene}-a"), format!("{scene}-b"));
        self.open(&[&a, &b]).await;
        let mut all = Vec::new();
        for n in 0..count {
            let minor = amount(&mut self.random, 900);
            all.push((format!("{scene}-{n}"), transfer(&a, &b, minor)));
        }
        self.ask_all(all).await;
    }

    async fn sent_twice(&mut self) {
        self.open(&["04-a", "04-b"]).await;
        for n in 0..20 {
            let step = transfer("04-a", "04-b", amount(&mut self.random, 900));
            for _ in 0..2 + self.index(2) {
                self.ask(&format!("04-{n}"), step.clone()).await;
            }
        }
    }

    async fn sent_at_once(&mut self) {
        self.open(&["05-a", "05-b"]).await;
        let step = transfer("05-a", "05-b", amount(&mut self.random, 900));
        self.ask_all(vec![("05-same".to_owned(), step); 64]).await;
    }

    async fn hot(&mut self) {
        let payers: Vec<String> = (0..10).map(|n| format!("06-payer-{n}")).collect();
        for payer in &payers {
            self.open(&[payer]).await;
        }
        self.open(&["06-hot"]).await;
        let mut all = Vec::new();
        for n in 0..500 {
            let step = transfer(&payers[n % 10], "06-hot", amount(&mut self.random, 900));
            all.push((format!("06-{n}"), step));
        }
        self.ask_all(all).await;
    }

    async fn conserved(&mut self) {
        let accounts: Vec<String> = (0..8).map(|n| format!("07-{n}")).collect();
        self.open(&["07-bank"]).await;
        for account in &accounts {
            self.open(&[account]).await;
            let open = transfer("07-bank", account, 100);
            self.ask(&format!("07-open-{account}"), open).await;
        }
        let mut all = Vec::new();
        for n in 0..400 {
            let from = self.index(8);
            let to = (from + 1 + self.index(7)) % 8;
            let step = transfer(&accounts[from], &accounts[to], amount(&mut self.random, 5));
            all.push((format!("07-{n}"), step));
        }
        let ledger = self.ledger.clone();
        let reading = async {
            let mut reads = Vec::new();
            for _ in 0..20 {
                reads.push(ledger.accounts().await);
            }
            reads
        };
        let ((), reads) = join(self.ask_all(all), reading).await;
        self.reads = reads;
    }

    /// Transactions of which some name an account more than once.
    async fn projected(&mut self) {
        let accounts: Vec<String> = (0..6).map(|n| format!("08-{n}")).collect();
        for account in &accounts {
            self.open(&[account]).await;
        }
        let mut all = Vec::new();
        for n in 0..120 {
            let mut legs = Vec::new();
            for _ in 0..=self.index(3) {
                let (from, to) = (self.index(6), self.index(6));
                let minor = amount(&mut self.random, 900);
                legs.extend(pair(&accounts[from], &accounts[to], minor));
            }
            all.push((format!("08-{n}"), Step::Record(legs)));
        }
        self.ask_all(all).await;
    }

    async fn drained(&mut self) {
        self.open(&["09-bank"]).await;
        self.ledger.create("09-purse", "GBP", true).await;
        let each = amount(&mut self.random, 90);
        // Enough for seven of them, and not for an eighth.
        let given = each * 8 - 1;
        self.ask("09-fill", transfer("09-bank", "09-purse", given))
            .await;
        let drain = |n: usize| {
            let step = transfer("09-purse", "09-bank", each);
            (format!("09-drain-{n}"), step)
        };
        self.ask_all((0..20).map(drain).collect()).await;
    }

    async fn smallest(&mut self) {
        self.open(&["10-a", "10-b"]).await;
        for round in 0..20 {
            let one = |n: usize| {
                let id = format!("10-{}", round * 50 + n);
                (id, transfer("10-a", "10-b", 1))
            };
            self.ask_all((0..50).map(one).collect()).await;
        }
    }

    async fn mixed(&mut self) {
        self.open(&["11-a", "11-b"]).await;
        self.ledger.create("11-usd", "USD", false).await;
        for n in 0..10 {
            let minor = amount(&mut self.random, 900);
            self.ask(&format!("11-good-{n}"), transfer("11-a", "11-b", minor))
                .await;
            let (debited, credited) = match n % 2 {
                0 => ("11-a", "11-usd"),
                _ => ("11-usd", "11-b"),
            };
            let step = transfer(debited, credited, minor);
            self.ask(&format!("11-bad-{n}"), step).await;
        }
    }

    async fn reversed(&mut self) {
        self.open(&["12-a", "12-b"]).await;
        for n in 0..10 {
            let step = transfer("12-a", "12-b", amount(&mut self.random, 900));
            self.ask(&format!("12-{n}"), step).await;
            for time in ["once", "twice"] {
                let step = Step::Reverse(format!("12-{n}"));
                self.ask(&format!("12-{time}-{n}"), step).await;
            }
        }
        // One that has stood for a while.
        self.ask("12-old", Step::Reverse("02-0".to_owned())).await;
    }

    /// Posted, pending, posted by half, voided, and reversed.
    async fn rebuilt(&mut self) {
        self.open(&["13-a", "13-b"]).await;
        for n in 0..25 {
            // Even, so that half of it is whole.
            let legs = pair("13-a", "13-b", 2 * amount(&mut self.random, 400));
            let id = format!("13-{n}");
            let then = format!("13-then-{n}");
            match n % 5 {
                0 => self.ask(&id, Step::Record(legs)).await,
                1 => self.ask(&id, Step::Pend(legs)).await,
                2 => {
                    self.ask(&id, Step::Pend(legs)).await;
                    self.ask(&then, Step::PostHalf(id)).await;
                }
                3 => {
                    self.ask(&id, Step::Pend(legs)).await;
                    self.ask(&then, Step::Void(id)).await;
                }
                _ => {
                    self.ask(&id, Step::Record(legs)).await;
                    self.ask(&then, Step::Reverse(id)).await;
                }
            }
        }
    }

    /// One that is refused, sent by many at once, before and after it could be done.
    async fn refused(&mut self) {
        self.open(&["15-bank"]).await;
        self.ledger.create("15-purse", "GBP", true).await;
        let minor = amount(&mut self.random, 900);
        let step = transfer("15-purse", "15-bank", minor);
        let same = vec![("15-same".to_owned(), step); 32];
        self.ask_all(same.clone()).await;
        let fill = transfer("15-bank", "15-purse", 10 * minor);
        self.ask("15-fill", fill).await;
        self.ask_all(same).await;
    }
}

async fn call(ledger: &Ledger, clock: &AtomicU64, (id, step): (String, Step)) -> Call {
    let began = clock.fetch_add(1, SeqCst);
    let answer = ledger.ask(&id, &step).await;
    let ended = clock.fetch_add(1, SeqCst);
    Call {
        id,
        step,
        answer,
        began,
        ended,
    }
}
