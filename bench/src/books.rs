//! Ledger transactions a second, durable: the accounting service, called through gRPC, beside plain
//! SQL without gRPC.
//!
//! The service is the real program in a process of its own, once on a SQLite file and once on
//! PostgreSQL; the PostgreSQL is one of this run's own, with fsync on. Contenders take turns, round
//! by round. After the last one each must hold exactly what it acknowledged.

use std::{
    io::Write,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use mizan_contracts::{
    accounting::v1::{
        AccountType, CreateAccountRequest, GetTrialBalanceRequest, Leg, RecordTransactionRequest,
        Side, accounting_service_client::AccountingServiceClient,
    },
    r#type::v1::Money,
};
use store::testing::Server;
use tonic::transport::{Channel, Endpoint};

use crate::{
    Error, machine,
    rolling::Running,
    services::{self, Ground},
    sql::{self, ACCOUNTS, Transfer},
    stats,
    table::Table,
    usage,
    work::{self, Done},
};

/// What is measured and for how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many callers at once, one table each.
    pub concurrencies: Vec<usize>,
    /// Rounds of each contender.
    pub rounds: usize,
    /// How long a round is.
    pub length: Duration,
    /// Only the contenders whose name holds this text.
    pub only: String,
}

/// Which accounts the transfers move.
#[derive(Debug, Clone, Copy)]
enum Spread {
    /// Any two of a thousand.
    Thousand,
    /// Account 0 is debited by all.
    Hot,
}

/// Who keeps the books.
#[derive(Clone)]
enum Books {
    Service(AccountingServiceClient<Channel>),
    Batched(sql::Batched),
    Single(sql::Single),
    File(sql::File),
}

struct Contender {
    name: &'static str,
    books: Books,
    /// The service's process, where there is one.
    process: Option<u32>,
    /// Its database, where it is one of plain SQL.
    database: Option<String>,
    acknowledged: u64,
}

/// Measures, and prints a table for each number of callers.
///
/// # Errors
/// Whatever did not start, was refused, or did not hold what it had acknowledged.
pub fn run(plan: &Plan, output: &mut impl Write) -> Result<(), Error> {
    writeln!(output, "{}", machine::describe())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(plan, output))?;
    writeln!(output, "{}", machine::repeat())?;
    Ok(())
}

async fn measure(plan: &Plan, output: &mut impl Write) -> Result<(), Error> {
    let Ground {
        folder,
        program,
        postgres,
    } = Ground::prepare(output).await?;
    let postgres = postgres.ok_or("PostgreSQL is needed to compare")?;
    let registry = Running::of(Command::new(&program).args([
        "registry",
        "--listen",
        "127.0.0.1:0",
        "--data",
        "",
    ]))?;
    let (mut contenders, _processes) =
        contenders(&program, folder.path(), &postgres, &registry).await?;
    contenders.retain(|contender| contender.name.contains(&plan.only));
    for &concurrency in &plan.concurrencies {
        for spread in [Spread::Thousand, Spread::Hot] {
            let table = rounds(plan, concurrency, spread, &mut contenders, &postgres).await?;
            writeln!(output, "{}", table.render())?;
        }
    }
    for contender in &contenders {
        assert_holds(contender).await?;
    }
    Ok(())
}

async fn contenders(
    program: &Path,
    folder: &Path,
    postgres: &Server,
    registry: &Running,
) -> Result<(Vec<Contender>, Vec<Running>), Error> {
    let mut contenders = Vec::new();
    let mut processes = Vec::new();
    for name in ["Mizan on SQLite, gRPC", "Mizan on PostgreSQL, gRPC"] {
        let on_server = name.contains("PostgreSQL");
        if on_server && !services::takes_a_server(program, "accounting") {
            continue;
        }
        let mut command = Command::new(program);
        command
            .args([
                "accounting",
                "--listen",
                "127.0.0.1:0",
                "--log",
                "warn,mizan=info",
            ])
            .args(["--registry", &registry.address, "--data"])
            .arg(folder);
        if on_server {
            command.args(["--database-url", &postgres.database().await]);
        }
        let running = Running::of(&mut command)?;
        let endpoint = Endpoint::from_shared(format!("http://{}", running.address))?;
        let client = AccountingServiceClient::new(endpoint.connect().await?);
        create_accounts(&client).await?;
        contenders.push(Contender {
            name,
            books: Books::Service(client),
            process: Some(running.id()),
            database: None,
            acknowledged: 0,
        });
        processes.push(running);
    }
    let plain = |name, books, database| Contender {
        name,
        books,
        process: None,
        database,
        acknowledged: 0,
    };
    let url = postgres.database().await;
    let books = Books::Batched(sql::Batched::open(&url).await?);
    contenders.push(plain("SQL in batches, PostgreSQL", books, Some(url)));
    let url = postgres.database().await;
    let books = Books::Single(sql::Single::open(&url).await?);
    contenders.push(plain("SQL, a commit each, PostgreSQL", books, Some(url)));
    let books = Books::File(sql::File::open(&folder.join("plain.db"))?);
    contenders.push(plain("SQL, a commit each, SQLite", books, None));
    Ok((contenders, processes))
}

async fn create_accounts(client: &AccountingServiceClient<Channel>) -> Result<(), Error> {
    for account in 0..ACCOUNTS {
        let request = CreateAccountRequest {
            request_id: format!("create-{account}"),
            account_id: format!("account-{account}"),
            display_name: format!("Account {account}"),
            r#type: AccountType::Asset.into(),
            currency_code: "GBP".to_owned(),
            ..CreateAccountRequest::default()
        };
        client.clone().create_account(request).await?;
    }
    Ok(())
}

async fn rounds(
    plan: &Plan,
    concurrency: usize,
    spread: Spread,
    contenders: &mut [Contender],
    postgres: &Server,
) -> Result<Table, Error> {
    let server = u32::try_from(postgres.pid())?;
    let mut seen: Vec<Vec<(Done, f64)>> = vec![Vec::new(); contenders.len()];
    // The first round warms up, and is thrown away.
    for round in 0..=plan.rounds {
        for (contender, seen) in contenders.iter_mut().zip(&mut seen) {
            let used = |contender: &Contender| {
                let service = contender.process.map(usage::cpu_of).unwrap_or_default();
                machine::cpu_time() + service + usage::cpu_of_family(server)
            };
            let before = used(contender);
            let done = one_round(plan.length, concurrency, spread, &contender.books).await?;
            let cpu = stats::micros_each(used(contender).saturating_sub(before), done.count);
            contender.acknowledged += done.count;
            if round > 0 {
                seen.push((done, cpu));
            }
        }
    }
    let title = match spread {
        Spread::Thousand => format!("c = {concurrency}, 1,000 accounts"),
        Spread::Hot => format!("c = {concurrency}, one hot account"),
    };
    let mut table = Table::new(&[
        &title,
        "transactions/s",
        "p50 µs",
        "p99 µs",
        "CPU µs each, all processes",
        "ratio to SQL in batches",
    ]);
    let rate = |seen: &[(Done, f64)]| -> Vec<f64> { seen.iter().map(|s| s.0.per_second).collect() };
    let batched = contenders
        .iter()
        .zip(&seen)
        .find(|(contender, _)| matches!(contender.books, Books::Batched(_)))
        .map(|(_, seen)| rate(seen))
        .unwrap_or_default();
    for (contender, seen) in contenders.iter().zip(&seen) {
        let median = |of: fn(&(Done, f64)) -> f64| stats::median(seen.iter().map(of).collect());
        table.row(vec![
            contender.name.to_owned(),
            format!("{:.0}", median(|s| s.0.per_second)),
            format!("{:.0}", median(|s| s.0.p50)),
            format!("{:.0}", median(|s| s.0.p99)),
            format!("{:.0}", median(|s| s.1)),
            format!("{:.2}", stats::median_ratio(&rate(seen), &batched)),
        ]);
    }
    Ok(table)
}

async fn one_round(
    length: Duration,
    concurrency: usize,
    spread: Spread,
    books: &Books,
) -> Result<Done, Error> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let books = Arc::new(books.clone());
    work::closed_loop(concurrency, length, move |caller| {
        let books = books.clone();
        async move {
            let number = NUMBER.fetch_add(1, Relaxed);
            let transfer = transfer(number, spread)?;
            match &*books {
                Books::Service(client) => record(client.clone(), transfer).await,
                Books::Batched(books) => books.transfer(transfer).await,
                Books::Single(books) => books.transfer(caller, transfer).await,
                Books::File(books) => books.transfer(transfer).await,
            }
        }
    })
    .await
}

/// The transfer of this number: two different accounts, without a pattern that a cache would like.
fn transfer(number: u64, spread: Spread) -> Result<Transfer, Error> {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = number.wrapping_add(1).wrapping_mul(ODD);
    let accounts = u64::try_from(ACCOUNTS)?;
    let debit = match spread {
        Spread::Thousand => (mixed >> 40) % accounts,
        Spread::Hot => 0,
    };
    let credit = (debit + 1 + (mixed >> 20) % (accounts - 1)) % accounts;
    Ok(Transfer {
        id: format!("transfer-{number}"),
        debit: i64::try_from(debit)?,
        credit: i64::try_from(credit)?,
    })
}

async fn record(
    mut client: AccountingServiceClient<Channel>,
    transfer: Transfer,
) -> Result<(), Error> {
    let leg = |account: i64, side: Side| Leg {
        account_id: format!("account-{account}"),
        side: side.into(),
        // One penny.
        amount: Some(Money {
            currency_code: "GBP".to_owned(),
            units: 0,
            nanos: 10_000_000,
        }),
    };
    let request = RecordTransactionRequest {
        request_id: transfer.id,
        legs: vec![
            leg(transfer.debit, Side::Debit),
            leg(transfer.credit, Side::Credit),
        ],
        description: "Transfer".to_owned(),
        ..RecordTransactionRequest::default()
    };
    client.record_transaction(request).await?;
    Ok(())
}

/// What a contender acknowledged is there, no more and no less.
async fn assert_holds(contender: &Contender) -> Result<(), Error> {
    let holds = match (&contender.books, &contender.database) {
        (Books::Service(client), _) => {
            let request = GetTrialBalanceRequest::default();
            let balance = client.clone().get_trial_balance(request).await?;
            u64::try_from(balance.into_inner().transactions)?
        }
        (_, Some(url)) => sql::count(url).await?,
        (_, None) => return Ok(()),
    };
    if holds == contender.acknowledged {
        Ok(())
    } else {
        Err(format!(
            "{} acknowledged {} transactions and holds {holds}",
            contender.name, contender.acknowledged
        )
        .into())
    }
}
