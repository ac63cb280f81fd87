//! `mizan-sim SEED`: the whole of Mizan on one thread, with a simulated network and clock, under
//! faults that the seed chooses; then the books are judged.
//!
//! ```text
//! plan (pure, by seed) ─ world: registry, two of each service, two clients ─ books ─ judge (pure)
//!                           └ faults: partitions, delays, crashes
//! ```
//! The services, the channel and the server are the real ones. What the simulation puts in their
//! place: the network and the timers ([turmoil](https://docs.rs/turmoil)), the system's clocks and
//! randomness ([mad-turmoil](https://docs.rs/mad-turmoil)), and the store's threads
//! (`store::simulate_on_this_thread`). Nothing else may vary, so a seed is a whole run: the same
//! trace, every time. A process runs one seed, because the system's randomness is set but once.

mod books;
mod clients;
mod judge;
mod network;
mod plan;
mod trace;
mod world;

use std::{io::Write as _, process::ExitCode, thread};

use clap::Parser as _;
use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::json;

/// Runs one seed and judges it.
#[derive(Debug, clap::Parser)]
#[command(name = "mizan-sim")]
struct Args {
    /// The seed: all of a run follows from it.
    seed: u64,

    /// Print every line of the trace.
    #[arg(long)]
    trace: bool,

    /// Break the clients: one that does not know how a payment ended pays again by another id. The
    /// judge must see it.
    #[arg(long)]
    careless: bool,

    /// Falsify the books that were read. The judge must see it.
    #[arg(long)]
    tamper: Option<books::Tamper>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    mad_turmoil::rand::set_rng(StdRng::seed_from_u64(args.seed));
    // A thread that has drawn no randomness yet: what it draws from here on follows from the seed.
    let run = thread::spawn(move || run(&args));
    run.join().unwrap_or_else(|_| ExitCode::from(2))
}

fn run(args: &Args) -> ExitCode {
    fastrand::seed(args.seed);
    store::simulate_on_this_thread();
    let clocks = mad_turmoil::time::SimClocksGuard::init();
    let trace = trace::Trace::begin(args.trace);
    let plan = plan::Plan::of(args.seed);
    let mut outcome = world::run(&plan, args.careless);
    drop(clocks);
    if let (Some(what), Ok(ended)) = (args.tamper, &mut outcome) {
        ended.books.tamper(what, &ended.record.cancelled);
    }
    let (violations, told) = match &outcome {
        Ok(ended) => (
            judge::judge(&plan, &ended.record, &ended.books),
            ended.told(),
        ),
        Err(error) => (vec![format!("the run did not end: {error}")], json!({})),
    };
    let (hash, lines) = trace.end();
    let report = json!({
        "seed": args.seed,
        "trace": format!("{hash:016x}"),
        "lines": lines,
        "payments": plan.intents.len(),
        "faults": plan.counted(),
        "run": told,
        "violations": violations,
    });
    let written = writeln!(std::io::stdout(), "{report}");
    if written.is_ok() && violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
