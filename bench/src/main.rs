//! `mizan-bench`: the channel beside its peers. See the library for what is measured.

use std::{
    env,
    io::{self, Write as _},
    process::{Command, ExitCode},
    time::Duration,
};

use clap::{Parser, Subcommand};
use mizan::args::{ProcessArgs, ServerArgs};
use mizan_bench::{
    Error, books,
    channel::{self, Plan},
    contender::Kind,
    decisions, payments, processes, registries, rolling, soak,
};

/// Measures the channel beside its peers; prints markdown.
#[derive(Debug, Parser)]
#[command(name = "mizan-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Measure,
}

#[derive(Debug, Subcommand)]
enum Measure {
    /// Whole unary calls beside tonic's channels.
    Channel {
        /// A short run, for a first look: 3 rounds of half a second.
        #[arg(long)]
        quick: bool,
        /// How many callers at once.
        #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 256])]
        concurrency: Vec<usize>,
        /// Rounds of each contender.
        #[arg(long)]
        rounds: Option<usize>,
        /// Only the contenders whose name holds this text.
        #[arg(long, default_value = "")]
        only: String,
    },
    /// Single decisions beside other breakers and limiters.
    Decisions {
        /// A short run, for a first look.
        #[arg(long)]
        quick: bool,
    },
    /// Allocations of a whole call beside tonic's channels.
    Allocations,
    /// Replaces three instances, one after the other, under a thousand calls a second.
    Rolling {
        /// A short run, for a first look.
        #[arg(long)]
        quick: bool,
    },
    /// Millions of calls with resets, deadlines, hedges and dropped streams: whether anything is left
    /// of them on either side. Ends with right or wrong.
    Soak {
        /// How many calls in all.
        #[arg(long, default_value_t = 10_000_000)]
        calls: u64,
        /// How many callers at once.
        #[arg(long, default_value_t = 64)]
        concurrency: u64,
    },
    /// Ledger transactions a second, durable, beside plain SQL on PostgreSQL and SQLite.
    Books {
        /// A short run, for a first look: 3 rounds of half a second.
        #[arg(long)]
        quick: bool,
        /// How many callers at once.
        #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 384])]
        concurrency: Vec<usize>,
        /// Only the contenders whose name holds this text.
        #[arg(long, default_value = "")]
        only: String,
    },
    /// Whole payments a second, durable, beside the same with a commit a call.
    Payments {
        /// A short run, for a first look: 3 rounds of half a second.
        #[arg(long)]
        quick: bool,
        /// How many callers at once.
        #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 256])]
        concurrency: Vec<usize>,
    },
    /// The registry beside etcd and r-nacos, as far as they are installed.
    #[command(name = "registry")]
    Registries(registries::Plan),
    /// All of these, one after another.
    All {
        /// A short run, for a first look.
        #[arg(long)]
        quick: bool,
    },
    /// So many calls of one contender on one thread, for a profiler; prints nothing.
    Calls {
        /// The first contender whose name holds this text.
        #[arg(long, default_value = "Mizan")]
        only: String,
        /// How many calls in all.
        #[arg(long, default_value_t = 10_000)]
        count: u64,
        /// How many callers at once.
        #[arg(long, default_value_t = 64)]
        concurrency: u64,
    },
    /// The echo server that the others start.
    #[command(hide = true)]
    Server {
        /// The core to stay on.
        #[arg(long)]
        core: Option<usize>,
    },
    /// One of the instances that are replaced.
    #[command(name = rolling::INSTANCE, hide = true)]
    Instance {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        process: ProcessArgs,
    },
    /// What registers with a registry until it is killed.
    #[command(name = registries::INSTANCE, hide = true)]
    Dying {
        /// Where the registry is.
        #[arg(long)]
        port: u16,
        /// Whether it holds a heartbeat stream, or is only checked.
        #[arg(long)]
        heartbeat: bool,
    },
    /// The registry that they register with.
    #[command(name = rolling::REGISTRY, hide = true)]
    Registry(registry::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            // Nobody is left to tell when this fails too.
            let _ = writeln!(io::stderr(), "mizan-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Measure) -> Result<ExitCode, Error> {
    match command {
        Measure::Instance { server, process } => return Ok(rolling::instance(&server, &process)),
        Measure::Registry(args) => return Ok(registry::run(args)),
        Measure::Channel {
            quick,
            concurrency,
            rounds,
            only,
        } => {
            let mut plan = plan(quick, concurrency);
            plan.rounds = rounds.unwrap_or(plan.rounds);
            plan.kinds.retain(|kind| kind.to_string().contains(&only));
            channel::run(&plan, &mut io::stdout())?;
        }
        Measure::Decisions { quick } => decisions(quick)?,
        Measure::Allocations => counted("calls")?,
        Measure::Rolling { quick } => rolling(quick)?,
        Measure::Soak { calls, concurrency } => {
            let plan = soak::Plan { calls, concurrency };
            let runtime = tokio::runtime::Runtime::new()?;
            if !runtime.block_on(soak::run(plan, &mut io::stdout()))? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Measure::Registries(plan) => registries::run(&plan, &mut io::stdout())?,
        Measure::Dying { port, heartbeat } => {
            let runtime = processes::one_worker("instance")?;
            runtime.block_on(registries::instance(port, heartbeat))?;
        }
        Measure::All { quick } => {
            decisions(quick)?;
            counted("calls")?;
            rolling(quick)?;
            let beside = registries::Plan {
                quick,
                ..registries::Plan::default()
            };
            registries::run(&beside, &mut io::stdout())?;
            channel::run(&plan(quick, vec![1, 64, 256]), &mut io::stdout())?;
            books::run(&durable(quick, vec![1, 64, 384]), &mut io::stdout())?;
            payments::run(&durable(quick, vec![1, 64, 256]), &mut io::stdout())?;
        }
        Measure::Books {
            quick,
            concurrency,
            only,
        } => {
            let plan = books::Plan {
                only,
                ..durable(quick, concurrency)
            };
            books::run(&plan, &mut io::stdout())?;
        }
        Measure::Payments { quick, concurrency } => {
            payments::run(&durable(quick, concurrency), &mut io::stdout())?;
        }
        Measure::Calls {
            only,
            count,
            concurrency,
        } => {
            let kind = Kind::ALL
                .into_iter()
                .find(|kind| kind.to_string().contains(&only))
                .ok_or("no such contender")?;
            channel::calls(kind, count, concurrency)?;
        }
        Measure::Server { core } => processes::serve(core)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn rolling(quick: bool) -> Result<(), Error> {
    let pause = Duration::from_millis(if quick { 500 } else { 3_000 });
    rolling::run(pause, &mut io::stdout())
}

fn durable(quick: bool, concurrencies: Vec<usize>) -> books::Plan {
    let (rounds, length) = if quick { (3, 500) } else { (5, 3_000) };
    books::Plan {
        concurrencies,
        rounds,
        length: Duration::from_millis(length),
        only: String::new(),
    }
}

fn plan(quick: bool, concurrencies: Vec<usize>) -> Plan {
    let (rounds, length, warm_up) = if quick {
        (3, 500, 300)
    } else {
        (5, 2_000, 2_000)
    };
    Plan {
        concurrencies,
        kinds: Kind::ALL.to_vec(),
        rounds,
        length: Duration::from_millis(length),
        warm_up: Duration::from_millis(warm_up),
    }
}

fn decisions(quick: bool) -> Result<(), Error> {
    let (rounds, count) = if quick { (3, 500_000) } else { (7, 2_000_000) };
    let plan = decisions::Plan { rounds, count };
    decisions::run(plan, &mut io::stdout())?;
    counted("decisions")
}

/// The other program of this package, beside this one.
fn counted(what: &str) -> Result<(), Error> {
    let program = env::current_exe()?.with_file_name("mizan-bench-allocations");
    let status = Command::new(&program)
        .arg(what)
        .status()
        .map_err(|e| format!("{}: {e}; was the whole package built?", program.display()))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{} ended with {status}", program.display()).into())
    }
}
