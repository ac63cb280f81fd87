//! The machines of a run, and what is done to them.

use std::{
    cell::RefCell,
    error::Error,
    future::{Future, pending},
    path::Path,
    rc::Rc,
    time::Duration,
};

use clap::Parser as _;
use mizan::{args::ServerArgs, server::Listener};
use serde_json::{Value, json};
use turmoil::Sim;

use crate::{
    books::{self, Books},
    clients::{self, Record},
    network::{self, Simulated},
    plan::{CLIENTS, Event, Fault, Plan, SERVERS},
};

/// The registry's authority.
pub(crate) const REGISTRY: &str = "registry:8500";

/// How much time passes on one machine before the next one has its turn. Messages travel between
/// turns; within one, timers go by the millisecond. A shorter one costs more for the same faults.
const TICK: Duration = Duration::from_millis(10);

/// How long a message takes when nothing is wrong, at least and at most.
const LATENCY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(50));

/// The longest a run may take, on its own clock: a payment that has not ended then never ends. A
/// dead connection is noticed after some 30 s, a payment's worker is missed after a few.
const LONGEST: Duration = Duration::from_secs(400);

/// The port of every service: each is alone on its machine.
const PORT: u16 = 50_000;

/// A run that ended.
pub(crate) struct Ended {
    pub(crate) record: Record,
    pub(crate) books: Books,
    simulated: Duration,
}

impl Ended {
    /// The run in figures.
    pub(crate) fn told(&self) -> Value {
        json!({
            "simulated_ms": u64::try_from(self.simulated.as_millis()).unwrap_or(u64::MAX),
            "calls": self.record.calls,
            "unknown": self.record.unknown,
            "completed": self.books.completed(),
            "refunds": self.books.refunded(),
            "refunds_refused": self.record.refused.len(),
            "cancelled": self.record.cancelled.len(),
            "transactions": self.books.transactions.len(),
        })
    }
}

type Failed = Box<dyn Error>;

/// Runs a plan to its end.
pub(crate) fn run(plan: &Plan, careless: bool) -> Result<Ended, Failed> {
    let folder = tempfile::tempdir()?;
    let mut sim = turmoil::Builder::new()
        .rng_seed(plan.seed)
        .tick_duration(TICK)
        .min_message_latency(LATENCY.0)
        .max_message_latency(LATENCY.1)
        .simulation_duration(LONGEST)
        .enable_random_order()
        .build();
    servers(&mut sim, folder.path());
    let record = Rc::new(RefCell::new(Record::default()));
    for (index, name) in CLIENTS.iter().enumerate() {
        let pay = clients::pay(plan.clone(), index, careless, record.clone());
        sim.client(*name, pay);
    }
    let found = Rc::new(RefCell::new(None));
    sim.client("auditor", {
        let (record, found, settled) = (record.clone(), found.clone(), plan.faults_end());
        async move {
            let everybody = CLIENTS.len();
            while record.borrow().finished < everybody || turmoil::elapsed() < settled {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            *found.borrow_mut() = Some(books::collect(&plan_ids(&record)).await?);
            Ok(())
        }
    });
    let simulated = drive(&mut sim, &plan.events)?;
    drop(sim);
    let books = found
        .borrow_mut()
        .take()
        .ok_or("nobody looked at the books")?;
    let record = record.borrow().clone();
    Ok(Ended {
        record,
        books,
        simulated,
    })
}

fn plan_ids(record: &RefCell<Record>) -> Vec<String> {
    record.borrow().sent.iter().cloned().collect()
}

/// Steps to the end, with each fault at its time.
fn drive(sim: &mut Sim<'_>, events: &[Event]) -> Result<Duration, Failed> {
    let mut begun = vec![false; events.len()];
    let mut over = vec![false; events.len()];
    loop {
        let now = sim.elapsed();
        for (index, event) in events.iter().enumerate() {
            if !begun[index] && event.during.start <= now {
                begun[index] = true;
                tracing::debug!(fault = ?event.fault, "begins");
                begin(sim, &event.fault);
            }
            if begun[index] && !over[index] && event.during.end <= now {
                over[index] = true;
                tracing::debug!(fault = ?event.fault, "is over");
                end(sim, &event.fault);
            }
        }
        if sim.step()? {
            return Ok(sim.elapsed());
        }
    }
}

fn begin(sim: &mut Sim<'_>, fault: &Fault) {
    match *fault {
        Fault::Partition(a, b) => sim.partition(a, b),
        Fault::OneWay(a, b) => sim.partition_oneway(a, b),
        Fault::Hold(a, b) => sim.hold(a, b),
        Fault::Slow(a, b, latency) => sim.set_link_latency(a, b, latency),
        Fault::Crash(host) => sim.crash(host),
    }
}

fn end(sim: &mut Sim<'_>, fault: &Fault) {
    match *fault {
        Fault::Partition(a, b) => sim.repair(a, b),
        Fault::OneWay(a, b) => sim.repair_oneway(a, b),
        Fault::Hold(a, b) => sim.release(a, b),
        Fault::Slow(a, b, _) => sim.set_link_latency(a, b, LATENCY.0),
        Fault::Crash(host) => sim.bounce(host),
    }
}

/// A service's own flags, without the rest of its command line.
#[derive(Debug, clap::Parser)]
struct Flags<C: clap::Args> {
    #[command(flatten)]
    config: C,
}

/// Settings as the command line would give them: what is not said has its default.
fn config<C: clap::Args>(flags: &[String]) -> Result<C, clap::Error> {
    let line = ["mizan".to_owned()]
        .into_iter()
        .chain(flags.iter().cloned());
    Ok(Flags::try_parse_from(line)?.config)
}

fn servers(sim: &mut Sim<'_>, folder: &Path) {
    for name in SERVERS {
        // Instances of a service share its folder, as they do on one machine.
        let service = name.split('-').next().unwrap_or(name);
        let data = folder.join(service).display().to_string();
        match service {
            "registry" => host(
                sim,
                name,
                8500,
                data,
                |listener, flags, server| async move {
                    let mut config: registry::Config = config(&flags)?;
                    config.connector = server.connector;
                    registry::serve(listener, config, pending()).await?;
                    Ok(())
                },
            ),
            "invoice" => host(
                sim,
                name,
                PORT,
                data,
                |listener, flags, server| async move {
                    let mut config: invoice_svc::Config = config(&flags)?;
                    config.server = server;
                    invoice_svc::serve(listener, config, pending()).await?;
                    Ok(())
                },
            ),
            "accounting" => host(
                sim,
                name,
                PORT,
                data,
                |listener, flags, server| async move {
                    let mut config: accounting_svc::Config = config(&flags)?;
                    config.server = server;
                    accounting_svc::serve(listener, config, pending()).await?;
                    Ok(())
                },
            ),
            _ => host(
                sim,
                name,
                PORT,
                data,
                |listener, flags, server| async move {
                    let mut config: payment_svc::Config = config(&flags)?;
                    config.server = server;
                    payment_svc::serve(listener, config, pending()).await?;
                    Ok(())
                },
            ),
        }
    }
}

/// A machine that serves, begun again from its folder each time it comes back.
fn host<S, F>(sim: &mut Sim<'_>, name: &'static str, port: u16, data: String, serve: S)
where
    S: Fn(Listener, Vec<String>, ServerArgs) -> F + Copy + 'static,
    F: Future<Output = Result<(), Failed>> + 'static,
{
    sim.host(name, move || {
        let flags = vec!["--data".to_owned(), data.clone()];
        async move {
            let listener = network::listen(name, port).await?;
            let server = ServerArgs {
                instance_id: Some(name.to_owned()),
                connector: std::sync::Arc::new(Simulated),
                ..ServerArgs::with_registry(vec![REGISTRY.to_owned()])
            };
            tracing::debug!(host = name, "boots");
            serve(listener, flags, server).await
        }
    });
}
