//! Whole payments a second, durable: `mizan up` on one machine, beside itself with one commit a call.
//!
//! A payment is an intent, an invoice, a transaction in the ledger and the invoice marked as paid, each
//! durable before the next begins, over four services in nine processes. What it is measured against
//! is the same program with groups of one command (`MIZAN_BENCH_GROUP_MAX=1`): the same calls, the
//! same SQL, and a commit of its own for each call, as services commonly do it.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use mizan::Channel;
use mizan_contracts::{
    payment::v1::{
        Counterparty, PaymentState, ProcessPaymentRequest,
        payment_service_client::PaymentServiceClient,
    },
    r#type::v1::Money,
};
use store::testing::Server;

use crate::{
    Error,
    books::Plan,
    machine,
    services::{self, Ground},
    stats,
    table::Table,
    usage,
    work::{self, Done},
};

/// The services whose processor time is told apart, as `mizan up` names their processes.
const SERVICES: [&str; 4] = ["payment", "invoice", "accounting", "registry"];

/// How many processes `mizan up` says it has started.
const PROCESSES: usize = 9;

/// A running `mizan up`; dropped, it ends, and its children with it.
struct Up {
    name: &'static str,
    process: Child,
    /// The process ids of each service.
    pids: BTreeMap<String, Vec<u32>>,
    channel: Channel,
}

impl Up {
    async fn start(
        name: &'static str,
        program: &Path,
        folder: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Self, Error> {
        let mut process = Command::new(program)
            .args(["up", "--ephemeral-ports"])
            .args(["--registry-listen", "127.0.0.1:0", "--data"])
            .arg(folder.join(name.replace(' ', "-")))
            .envs(settings.iter().copied())
            .env("MIZAN_LOG", "warn,mizan=info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = process.stdout.take().ok_or("no voice")?;
        let started = tokio::task::spawn_blocking(|| table(BufReader::new(stdout).lines()));
        let (registry, pids) = match started.await? {
            Ok(started) => started,
            Err(error) => {
                let _ = process.kill();
                return Err(error);
            }
        };
        let channel = Channel::builder("payment").registry(vec![registry]);
        Ok(Self {
            name,
            process,
            pids,
            channel: channel.connect()?,
        })
    }

    fn used(&self) -> BTreeMap<&'static str, Duration> {
        let used = |service: &&'static str| {
            let pids = self.pids.get(*service).into_iter().flatten();
            (*service, pids.map(|pid| usage::cpu_of(*pid)).sum())
        };
        SERVICES.iter().map(used).collect()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // The children follow: their standard input closes.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads the table that `mizan up` prints once all is passing: the registry's address, and who has
/// which process ids.
fn table(
    mut lines: Lines<BufReader<ChildStdout>>,
) -> Result<(String, BTreeMap<String, Vec<u32>>), Error> {
    let begins = lines.find(|line| line.as_ref().is_ok_and(|l| l.starts_with("PROCESS")));
    begins.ok_or("`mizan up` did not start")??;
    let mut registry = None;
    let mut pids = BTreeMap::<String, Vec<u32>>::new();
    for line in lines.by_ref().take(PROCESSES) {
        let line = line?;
        let mut cells = line.split_whitespace();
        let (Some(name), Some(address), Some(pid)) = (cells.next(), cells.next(), cells.next())
        else {
            return Err(format!("`mizan up` said {line:?}").into());
        };
        let service = name.split('-').next().unwrap_or(name);
        if service == "registry" {
            registry = Some(address.to_owned());
        }
        pids.entry(service.to_owned())
            .or_default()
            .push(pid.parse()?);
    }
    // Read to the end, or it would wait for a reader.
    thread::spawn(move || lines.for_each(drop));
    Ok((registry.ok_or("no registry")?, pids))
}

/// Measures, and prints a table for each number of callers.
///
/// # Errors
/// Whatever did not start, and a payment that was not completed.
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
    let alone = [("MIZAN_BENCH_GROUP_MAX", "1")];
    let mut ups = vec![
        Up::start("SQLite", &program, folder.path(), &[]).await?,
        Up::start("SQLite, a commit a call", &program, folder.path(), &alone).await?,
    ];
    let services = ["invoice", "accounting", "payment"];
    let everywhere = services
        .iter()
        .all(|service| services::takes_a_server(&program, service));
    if let Some(server) = postgres.as_ref().filter(|_| everywhere) {
        for (name, more) in [
            ("PostgreSQL", None),
            ("PostgreSQL, a commit a call", Some(alone[0])),
        ] {
            let url = server.database().await;
            let mut settings = vec![("MIZAN_DATABASE_URL", url.as_str())];
            settings.extend(more);
            ups.push(Up::start(name, &program, folder.path(), &settings).await?);
        }
    }
    for &concurrency in &plan.concurrencies {
        let table = rounds(plan, concurrency, &ups, postgres.as_ref()).await?;
        writeln!(output, "{}", table.render())?;
    }
    Ok(())
}

/// A round, and the processor time each payment took by who used it.
type Seen = (Done, BTreeMap<&'static str, f64>);

async fn rounds(
    plan: &Plan,
    concurrency: usize,
    ups: &[Up],
    postgres: Option<&Server>,
) -> Result<Table, Error> {
    let server = postgres
        .map(|server| u32::try_from(server.pid()))
        .transpose()?;
    let used = |up: &Up| {
        let mut used = up.used();
        used.insert("client", machine::cpu_time());
        used.insert(
            "PostgreSQL",
            server.map(usage::cpu_of_family).unwrap_or_default(),
        );
        used
    };
    let mut seen: Vec<Vec<Seen>> = vec![Vec::new(); ups.len()];
    // The first round warms up, and is thrown away.
    for round in 0..=plan.rounds {
        for (up, seen) in ups.iter().zip(&mut seen) {
            let before = used(up);
            let done = one_round(plan.length, concurrency, up).await?;
            let each = used(up).into_iter().map(|(who, after)| {
                let spent = after.saturating_sub(before.get(who).copied().unwrap_or_default());
                (who, stats::micros_each(spent, done.count))
            });
            if round > 0 {
                seen.push((done, each.collect()));
            }
        }
    }
    Ok(tabulate(concurrency, ups, &seen))
}

fn tabulate(concurrency: usize, ups: &[Up], seen: &[Vec<Seen>]) -> Table {
    let whose: Vec<&str> = SERVICES
        .into_iter()
        .chain(["PostgreSQL", "client"])
        .collect();
    let title = format!("c = {concurrency}");
    let mut heads = vec![
        title,
        "payments/s".to_owned(),
        "p50 µs".to_owned(),
        "p99 µs".to_owned(),
    ];
    heads.extend(whose.iter().map(|who| format!("CPU µs each: {who}")));
    heads.push("ratio to a commit a call".to_owned());
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let mut table = Table::new(&heads);
    let rate = |seen: &[Seen]| -> Vec<f64> { seen.iter().map(|s| s.0.per_second).collect() };
    for (up, of_this) in ups.iter().zip(seen) {
        let median = |of: &dyn Fn(&Seen) -> f64| stats::median(of_this.iter().map(of).collect());
        let mut row = vec![
            up.name.to_owned(),
            format!("{:.0}", median(&|s| s.0.per_second)),
            format!("{:.0}", median(&|s| s.0.p50)),
            format!("{:.0}", median(&|s| s.0.p99)),
        ];
        for who in &whose {
            let each = median(&|s| s.1.get(who).copied().unwrap_or_default());
            row.push(format!("{each:.0}"));
        }
        // Beside the same place with a commit a call.
        let peer = format!(
            "{}, a commit a call",
            up.name.split(',').next().unwrap_or(up.name)
        );
        let peer = ups.iter().zip(seen).find(|(other, _)| other.name == peer);
        let peer = peer.map(|(_, seen)| rate(seen)).unwrap_or_default();
        row.push(format!("{:.2}", stats::median_ratio(&rate(of_this), &peer)));
        table.row(row);
    }
    table
}

async fn one_round(length: Duration, concurrency: usize, up: &Up) -> Result<Done, Error> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let client = Arc::new(PaymentServiceClient::new(up.channel.clone()));
    work::closed_loop(concurrency, length, move |_| {
        let client = client.clone();
        async move {
            let number = NUMBER.fetch_add(1, Relaxed);
            let request = ProcessPaymentRequest {
                request_id: format!("bench-{number}"),
                amount: Some(Money {
                    currency_code: "GBP".to_owned(),
                    units: 12,
                    nanos: 340_000_000,
                }),
                counterparty: Some(Counterparty {
                    name: "Infomill".to_owned(),
                    ..Counterparty::default()
                }),
                description: "Paper".to_owned(),
                ..ProcessPaymentRequest::default()
            };
            let mut client = PaymentServiceClient::clone(&client);
            let payment = client.process_payment(request).await?.into_inner();
            if payment.state() == PaymentState::Completed {
                Ok(())
            } else {
                Err(format!("a payment is {:?}", payment.state()).into())
            }
        }
    })
    .await
}
