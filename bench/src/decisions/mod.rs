//! What one decision costs, without a call around it: a permit and its record, a token, a pick.
//!
//! Each subject is asked in a plain loop on one thread, then by two threads at once that share it.
//! Subjects take turns, round by round. A subject reads the clock itself, since its peers do: what
//! one reading costs is a row of its own.

mod go;
mod ours;
mod peers;
mod timing;

use std::io::Write;

use crate::{
    Error,
    allocations::Counter,
    machine,
    stats::{self, median},
    table::Table,
};
use timing::Subject;

/// How many threads share a subject in the contended case.
const CONTENDERS: usize = 2;

/// How often and how long to measure.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How often each subject takes its turn.
    pub rounds: usize,
    /// Decisions a thread and turn.
    pub count: u64,
}

fn subjects() -> Result<Vec<Subject>, Error> {
    let mut subjects = vec![ours::clock()];
    subjects.extend(ours::breakers());
    subjects.extend(peers::breakers()?);
    subjects.extend(ours::limiters()?);
    subjects.extend(peers::limiters()?);
    subjects.extend(ours::picks());
    subjects.extend(ours::together()?);
    Ok(subjects)
}

/// Measures and writes the table.
///
/// # Errors
/// A subject that refuses what it should allow, or a writer that fails.
pub fn run(plan: Plan, out: &mut impl Write) -> Result<(), Error> {
    writeln!(
        out,
        "## Decisions\n\n{}\n{}\n",
        machine::describe(),
        machine::repeat()
    )?;
    writeln!(
        out,
        "Nanoseconds each, median (least–most) of {} interleaved rounds of {} a thread.\n",
        plan.rounds, plan.count
    )?;
    let subjects = subjects()?;
    let mut alone = vec![Vec::new(); subjects.len()];
    let mut contended = alone.clone();
    for _ in 0..plan.rounds {
        let figures = alone.iter_mut().zip(&mut contended);
        for (subject, (alone, contended)) in subjects.iter().zip(figures) {
            let nanos = |threads| stats::nanos_each(subject.time(threads, plan.count), plan.count);
            alone.push(nanos(1));
            contended.push(nanos(CONTENDERS));
        }
    }
    let mut table = Table::new(&["decision", "1 thread", "2 threads, shared"]);
    for (subject, (alone, contended)) in subjects.iter().zip(alone.into_iter().zip(contended)) {
        table.row(vec![
            subject.name().to_owned(),
            spread(alone),
            spread(contended),
        ]);
    }
    match go::figures(plan) {
        Ok(rows) => rows.into_iter().for_each(|row| table.row(row)),
        Err(reason) => writeln!(
            out,
            "**gobreaker and x/time/rate not measured: {reason}**\n"
        )?,
    }
    writeln!(out, "{}", table.render())?;
    Ok(())
}

fn spread(figures: Vec<f64>) -> String {
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let most = figures.iter().copied().fold(0.0, f64::max);
    format!("{:.1} ({least:.1}–{most:.1})", median(figures))
}

/// Counts the allocations of each decision and writes the table.
///
/// # Errors
/// A writer that fails.
pub fn allocations(count: Counter, out: &mut impl Write) -> Result<(), Error> {
    const COUNT: u64 = 100_000;
    writeln!(out, "### Allocations of a decision\n")?;
    let mut table = Table::new(&["decision", "allocations", "bytes"]);
    for subject in subjects()? {
        let mut work = subject.work();
        work(COUNT);
        let counted = count(&mut || work(COUNT));
        table.row(vec![
            subject.name().to_owned(),
            format!("{:.2}", stats::each(counted.allocations, COUNT)),
            format!("{:.0}", stats::each(counted.bytes, COUNT)),
        ]);
    }
    writeln!(out, "{}", table.render())?;
    Ok(())
}
