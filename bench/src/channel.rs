//! Whole unary calls: five contenders, client and servers in processes of their own.
//!
//! The client has one worker on one core, all servers one worker each on another. At a concurrency
//! of 1 that measures mostly how fast cores wake each other, so that case is measured on one shared
//! core too.

use std::{io::Write, time::Duration};

use tokio::runtime;

use crate::{
    Error,
    contender::{Contender, Kind},
    load::Round,
    machine,
    processes::{Servers, one_worker},
    stats::{median, median_ratio},
    table::Table,
};

/// How many servers there are; contenders to one use the first.
const SERVERS: usize = 3;

/// How long and how often to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many callers at once, one table each.
    pub concurrencies: Vec<usize>,
    /// Who takes part.
    pub kinds: Vec<Kind>,
    /// How often each takes its turn.
    pub rounds: usize,
    /// How long a turn lasts.
    pub length: Duration,
    /// How long each runs, unmeasured, before the first round of a table.
    pub warm_up: Duration,
}

/// Measures and writes the tables.
///
/// # Errors
/// Servers that do not start, a contender that dies, or a writer that fails.
pub fn run(plan: &Plan, out: &mut impl Write) -> Result<(), Error> {
    writeln!(
        out,
        "## Whole calls\n\n{}\n{}\n",
        machine::describe(),
        machine::repeat()
    )?;
    writeln!(
        out,
        "Unary echo of 100 bytes over loopback, closed loop, median of {} interleaved rounds of \
         {:?}; one worker per process.",
        plan.rounds, plan.length
    )?;
    let cores = machine::two_cores().filter(|(client, _)| machine::pin(*client));
    match cores {
        Some((client, servers)) => {
            writeln!(out, "Client on core {client}, servers on core {servers}.\n")?;
        }
        None => writeln!(
            out,
            "**Not pinned: this process may not choose two cores.**\n"
        )?,
    }
    // Made after pinning, so that its thread inherits the core.
    let runtime = one_worker("echo-client")?;
    let apart = Servers::start(SERVERS, cores.map(|(_, servers)| servers))?;
    for concurrency in &plan.concurrencies {
        let title = format!("c = {concurrency}");
        let rounds = measured(&runtime, plan, apart.addresses(), *concurrency)?;
        report(out, &title, &plan.kinds, &rounds)?;
    }
    drop(apart);
    if let Some((client, _)) = cores {
        let together = Servers::start(SERVERS, Some(client))?;
        let rounds = measured(&runtime, plan, together.addresses(), 1)?;
        report(
            out,
            "c = 1, client and servers on one core",
            &plan.kinds,
            &rounds,
        )?;
    }
    Ok(())
}

/// The rounds of every contender, in the order of the plan's kinds.
fn measured(
    runtime: &runtime::Runtime,
    plan: &Plan,
    servers: &[String],
    concurrency: usize,
) -> Result<Vec<Vec<Round>>, Error> {
    let (plan, servers) = (plan.clone(), servers.to_vec());
    // On the worker: a task that is blocked on runs elsewhere, a hop away.
    runtime.block_on(runtime.spawn(async move {
        let contenders: Vec<Contender> = plan
            .kinds
            .iter()
            .map(|kind| Contender::new(*kind, &servers))
            .collect::<Result<_, _>>()?;
        for contender in &contenders {
            contender.run(concurrency, plan.warm_up).await?;
        }
        let mut rounds = vec![Vec::new(); contenders.len()];
        for round in 0..plan.rounds {
            // Who begins changes, so that nobody always follows the same one.
            let order = (0..contenders.len()).map(|i| (i + round) % contenders.len());
            for index in order {
                if let (Some(contender), Some(rounds)) =
                    (contenders.get(index), rounds.get_mut(index))
                {
                    rounds.push(contender.run(concurrency, plan.length).await?);
                }
            }
        }
        Ok(rounds)
    }))?
}

fn report(
    out: &mut impl Write,
    title: &str,
    kinds: &[Kind],
    rounds: &[Vec<Round>],
) -> Result<(), Error> {
    let of = |kind: Kind| {
        let index = kinds.iter().position(|k| *k == kind)?;
        rounds.get(index)
    };
    let mut table = Table::new(&[
        title,
        "calls/s",
        "min–max",
        "p50 µs",
        "p99 µs",
        "client CPU µs/call",
        "errors",
    ]);
    for kind in kinds {
        let Some(rounds) = of(*kind) else { continue };
        let figure = |pick: fn(&Round) -> f64| median(rounds.iter().map(pick).collect());
        let mut speeds: Vec<f64> = rounds.iter().map(|r| r.calls_per_second).collect();
        speeds.sort_by(f64::total_cmp);
        let least = speeds.first().copied().unwrap_or_default();
        let most = speeds.last().copied().unwrap_or_default();
        table.row(vec![
            kind.to_string(),
            format!("{:.0}", figure(|r| r.calls_per_second)),
            format!("{least:.0}–{most:.0}"),
            format!("{:.0}", figure(|r| r.p50)),
            format!("{:.0}", figure(|r| r.p99)),
            format!("{:.2}", figure(|r| r.cpu)),
            rounds.iter().map(|r| r.errors).sum::<u64>().to_string(),
        ]);
    }
    writeln!(out, "{}", table.render())?;
    let mut ratios = Table::new(&["ratio, median of rounds", "calls/s", "p99", "client CPU"]);
    for (ours, theirs) in [
        (Kind::Ours, Kind::Bare),
        (Kind::OursOverThree, Kind::Rotation),
        (Kind::OursOverThree, Kind::BalanceList),
    ] {
        if let (Some(a), Some(b)) = (of(ours), of(theirs)) {
            let ratio = |pick: fn(&Round) -> f64| {
                let figures = |rounds: &[Round]| rounds.iter().map(pick).collect::<Vec<_>>();
                format!("{:.3}", median_ratio(&figures(a), &figures(b)))
            };
            ratios.row(vec![
                format!("{ours} / {theirs}"),
                ratio(|r| r.calls_per_second),
                ratio(|r| r.p99),
                ratio(|r| r.cpu),
            ]);
        }
    }
    writeln!(out, "{}", ratios.render())?;
    out.flush()?;
    Ok(())
}

/// So many calls of one contender by so many callers, for a profiler to look at.
///
/// # Errors
/// Servers that do not start, or a call that fails.
pub fn calls(kind: Kind, count: u64, concurrency: u64) -> Result<(), Error> {
    let servers = Servers::start(SERVERS, None)?;
    // One thread: what a profiler sees is the client and nothing else.
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let contender = Contender::new(kind, servers.addresses())?;
        let callers: Vec<_> = (0..concurrency)
            .map(|_| {
                let contender = contender.clone();
                tokio::spawn(async move { contender.calls(count / concurrency.max(1)).await })
            })
            .collect();
        for caller in callers {
            caller.await??;
        }
        Ok(())
    })
}
