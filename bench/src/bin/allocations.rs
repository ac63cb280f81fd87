//! `mizan-bench-allocations`: the counts that `mizan-bench` prints, with an allocator that counts.

use std::{env, io, process::ExitCode};

use mizan_bench::{
    Error,
    allocations::{self, Counted},
    decisions, processes,
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use io::Write as _;
            // Nobody is left to tell when this fails too.
            let _ = writeln!(io::stderr(), "mizan-bench-allocations: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let mut out = io::stdout();
    match env::args().nth(1).as_deref() {
        Some(processes::SERVER) => processes::serve(None),
        Some("calls") => allocations::calls(count, &mut out),
        Some("decisions") => decisions::allocations(count, &mut out),
        _ => Err("calls, or decisions".into()),
    }
}

fn count(work: &mut dyn FnMut()) -> Counted {
    let info = allocation_counter::measure(work);
    Counted {
        allocations: info.count_total,
        bytes: info.bytes_total,
    }
}
