//! The registry beside etcd and r-nacos: registering, looking up, who sees a change and when, and
//! what it takes of memory; and by itself, how soon a dead process is seen and what ten thousand
//! checks cost.
//!
//! All are asked by the same program over the same HTTP/2 client, in their own words (`client`).
//! What can be interleaved is, round by round. Whoever is not installed is left out, and that is
//! said.

mod checks;
mod client;
mod dying;
mod server;
mod throughput;
mod watchers;
mod wire;

use std::io::Write;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hdrhistogram::Histogram;
use tokio::runtime;

use crate::{
    Error, machine,
    stats::{each, median_ratio},
    table::Table,
};

use self::{
    client::{Client, Instance},
    server::{Kind, Server},
    throughput::Rounds,
    watchers::{GAP, Latency, Watchers},
};
pub use self::{
    dying::{INSTANCE, instance},
    server::Programs,
};

/// How many instances a service has.
const SIZE: usize = 10;

/// What to measure, and for how long.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Plan {
    /// A short run, for a first look: everything once, and small.
    #[arg(long)]
    pub quick: bool,
    /// Only these parts.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<Part>,
    /// Where the others are.
    #[command(flatten)]
    pub programs: Programs,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Registering and looking up.
    Throughput,
    /// A change until every watcher has seen it, and memory.
    Watchers,
    /// A killed process until every watcher knows.
    Dying,
    /// What many checks cost.
    Checks,
}

impl Plan {
    fn has(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

/// Measures and writes the tables.
///
/// # Errors
/// A registry that does not start or refuses, or a writer that fails.
pub fn run(plan: &Plan, out: &mut impl Write) -> Result<(), Error> {
    let plan = &Plan {
        programs: plan.programs.with_ours()?,
        ..plan.clone()
    };
    writeln!(
        out,
        "## The registry\n\n{}\n{}\n",
        machine::describe(),
        machine::repeat()
    )?;
    let mut kinds = Kind::ALL.to_vec();
    kinds.retain(|kind| match plan.programs.missing(*kind) {
        None => true,
        Some(why) => {
            // The table without it must not be taken for the whole.
            let _ = writeln!(out, "**NOT MEASURED: {kind}: {why}.**\n");
            false
        }
    });
    // One thread for the client, as the servers have both cores to themselves otherwise.
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if plan.has(Part::Throughput) {
            throughput(plan, &kinds, out).await?;
        }
        if plan.has(Part::Watchers) {
            watched(plan, &kinds, out).await?;
        }
        if plan.has(Part::Dying) {
            dying::run(plan, out).await?;
        }
        if plan.has(Part::Checks) {
            checks::run(plan, out).await?;
        }
        Ok(())
    })
}

async fn throughput(plan: &Plan, kinds: &[Kind], out: &mut impl Write) -> Result<(), Error> {
    writeln!(
        out,
        "### Registering and looking up\n\nClosed loop over 8 connections, {} instances in \
         services of {SIZE}; a register changes what an instance says, a lookup reads a service. \
         Median of interleaved rounds, calls a second.\n",
        throughput::INSTANCES
    )?;
    let rounds = Rounds::measure(plan, kinds).await?;
    let mut table = Table::new(&[
        "who",
        "register c=1",
        "register c=64",
        "lookup c=64",
        "register p99 ms, c=64",
        "server CPU µs: register, lookup",
    ]);
    for (kind, all) in kinds.iter().zip(&rounds.0) {
        table.row(vec![
            kind.to_string(),
            format!("{:.0}", all.register_1()),
            format!("{:.0}", all.register_64()),
            format!("{:.0}", all.lookup_64()),
            format!("{:.1}", all.register_p99()),
            format!("{:.0}, {:.0}", all.cpu().0, all.cpu().1),
        ]);
    }
    writeln!(out, "{}", table.render())?;
    let pairs = [
        (Kind::Mizan, Kind::Etcd),
        (Kind::Mizan, Kind::NacosPersistent),
        (Kind::MizanMemory, Kind::EtcdMemory),
        (Kind::MizanMemory, Kind::Nacos),
    ];
    let find = |kind: Kind| {
        let place = kinds.iter().position(|held| *held == kind)?;
        rounds.0.get(place)
    };
    let mut table = Table::new(&["ratio", "register c=1", "register c=64", "lookup c=64"]);
    for (ours, theirs) in pairs {
        if let (Some(a), Some(b)) = (find(ours), find(theirs)) {
            let ratio = |a: &[f64], b: &[f64]| format!("{:.2}", median_ratio(a, b));
            table.row(vec![
                format!("{ours} / {theirs}"),
                ratio(&a.register_1, &b.register_1),
                ratio(&a.register_64, &b.register_64),
                ratio(&a.lookup_64, &b.lookup_64),
            ]);
        }
    }
    writeln!(out, "{}", table.render())?;
    Ok(())
}

/// What one registry showed with so many watchers.
#[derive(Debug, Clone, Copy)]
struct Seen {
    kind: Kind,
    watchers: usize,
    latency: Latency,
    kib: u64,
}

async fn watched(plan: &Plan, kinds: &[Kind], out: &mut impl Write) -> Result<(), Error> {
    let (instances, counts): (usize, &[usize]) = if plan.quick {
        (1_000, &[10, 100])
    } else {
        (10_000, &[100, 1_000, 10_000])
    };
    writeln!(
        out,
        "### A change until every watcher has seen it, and memory\n\n{instances} instances; all \
         watch one service of {SIZE} of them, each on a connection of its own; from asking for the \
         change to seeing it, in milliseconds, each change {GAP:?} after all have seen the one \
         before. Memory is the server's resident set.\n"
    )?;
    let mib = |kib: u64| format!("{:.1}", each(kib, 1024));
    let millis = |micros: u64| format!("{:.1}", each(micros, 1000));
    let mut table = Table::new(&["who", "watchers", "p50", "p99", "the last", "MiB"]);
    let mut all = Vec::new();
    for kind in kinds {
        // Each durability tells other writes apart, not other watchers.
        if matches!(
            kind,
            Kind::EtcdMemory | Kind::MizanMemory | Kind::NacosPersistent
        ) {
            continue;
        }
        let server = Server::start(*kind, &plan.programs).await?;
        let client = Client::connect(*kind, server.port()).await?;
        fill(&client, instances).await?;
        let mut idle = vec![kind.to_string(), "0".to_owned()];
        idle.resize(5, String::new());
        idle.push(mib(server.resident()?));
        table.row(idle);
        let mut watchers = Watchers::new(&server)?;
        for count in counts {
            watchers.open(*count).await?;
            let kib = server.resident()?;
            let changes = match (plan.quick, *count) {
                (true, _) => 5,
                (false, ..=1_000) => 50,
                (false, _) => 10,
            };
            let latency = watchers.measure(&client, changes).await?;
            table.row(vec![
                kind.to_string(),
                count.to_string(),
                millis(latency.p50),
                millis(latency.p99),
                millis(latency.last),
                mib(kib),
            ]);
            all.push(Seen {
                kind: *kind,
                watchers: *count,
                latency,
                kib,
            });
        }
    }
    writeln!(out, "{}", table.render())?;
    let mut table = Table::new(&["ratio", "watchers", "p50", "p99", "memory"]);
    for ours in all.iter().filter(|seen| seen.kind == Kind::Mizan) {
        let same = |seen: &&Seen| seen.kind != ours.kind && seen.watchers == ours.watchers;
        for theirs in all.iter().filter(same) {
            let ratio = |a: u64, b: u64| format!("{:.2}", each(a, b));
            table.row(vec![
                format!("{} / {}", ours.kind, theirs.kind),
                ours.watchers.to_string(),
                ratio(ours.latency.p50, theirs.latency.p50),
                ratio(ours.latency.p99, theirs.latency.p99),
                ratio(ours.kib, theirs.kib),
            ]);
        }
    }
    writeln!(out, "{}", table.render())?;
    Ok(())
}

/// For latencies in microseconds, up to a minute.
fn histogram() -> Result<Histogram<u64>, Error> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

/// Registers so many instances, in services of [`SIZE`].
async fn fill(client: &Client, instances: usize) -> Result<(), Error> {
    let registering = (0..instances).map(|number| {
        client.register(Instance {
            service: number / SIZE,
            number,
            change: 1,
        })
    });
    let registering = stream::iter(registering).buffer_unordered(64);
    registering.try_collect::<Vec<()>>().await?;
    Ok(())
}
