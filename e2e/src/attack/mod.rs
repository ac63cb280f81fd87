//! Attacks on the running whole, each beside well-behaved clients: `just attack`.
//!
//! Judged of each attack: no call of a well-behaved client fails; the attacked process stays within
//! its memory; every counter of its page (connections, open and admitted calls, unread bytes) is
//! back where it was before; and what the attack wanted did not happen. How much slower the
//! well-behaved clients are is told, and judged where that is asked for: on a shared machine it says
//! as much about the machine.

mod attacks;
mod bystander;
mod wire;

use std::{
    fs,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use rustix::process::Pid;
use serde_json::{Value, json};

use self::{
    attacks::{ALL, Attack},
    bystander::{Addresses, beside},
};
use crate::{Up, pid};

/// How long counters may take to be back: what is unread may wait for a minute, connections and
/// handlers less.
const BACK: Duration = Duration::from_secs(120);

/// How much slower the slowest of a hundred calls may be than in quiet, where that is judged.
const SLOWER: u32 = 3;

/// Below this nobody would notice, whatever the ratio.
const UNNOTICED: Duration = Duration::from_millis(20);

/// Files that a process may open for itself meanwhile: readers of its store.
const OWN_FILES: usize = 16;

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The names of attacks; all when empty.
    pub only: Vec<String>,
    /// How long each goes on.
    pub time: Duration,
    /// Whether slower calls count against the server.
    pub judge_time: bool,
}

/// The names of the attacks, and what each does.
#[must_use]
pub fn names() -> Vec<(&'static str, &'static str)> {
    ALL.iter()
        .map(|attack| (attack.name, attack.what))
        .collect()
}

/// A process that is attacked.
#[derive(Debug)]
pub(crate) struct Target {
    /// HOST:PORT.
    address: String,
    process: Pid,
}

impl Target {
    /// The process of this name in the table of `mizan up`.
    fn of(up: &Up, name: &str) -> Self {
        let row = up.table.iter().find(|row| row[0] == name).unwrap();
        Self {
            address: row[1].clone(),
            process: pid(&row[2]),
        }
    }

    /// Its resident memory, in KiB.
    fn memory(&self) -> io::Result<u64> {
        let process = self.process.as_raw_nonzero();
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        Ok(number.unwrap_or(0))
    }

    /// Its open files.
    fn files(&self) -> io::Result<usize> {
        let process = self.process.as_raw_nonzero();
        Ok(fs::read_dir(format!("/proc/{process}/fd"))?.count())
    }

    /// What its page says it carries: connections, open calls, admitted calls, unread bytes.
    fn carries(&self) -> io::Result<[u64; 4]> {
        let page = wire::get(&self.address, "/metrics")?;
        let number = |name: &str| {
            let mut lines = page.lines();
            let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|number| number.trim().parse().ok())
                .unwrap_or(u64::MAX)
        };
        Ok([
            number("mizan_server_connections"),
            number("mizan_server_calls_open"),
            number("mizan_server_calls_admitted"),
            number("mizan_server_answers_unread_bytes"),
        ])
    }

    fn is_healthy(&self) -> io::Result<bool> {
        Ok(wire::get(&self.address, "/health")?.starts_with("HTTP/1.1 200 "))
    }
}

/// Says how an attack went, as it ends: all of them take a while.
fn told(result: &Value) {
    // Whoever closed stderr does not want to know.
    let _ = writeln!(io::stderr(), "{result}");
}

/// Runs attacks, and answers what each did; `right` in it says whether the server held.
///
/// # Panics
/// When the whole does not start, or the attacker itself fails.
#[must_use]
pub fn run(plan: &Plan) -> Value {
    let up = Up::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let of = |name: &str| Target::of(&up, name).address;
    let addresses = Addresses {
        registry: of("registry"),
        accounting: of("accounting-1"),
        payment: of("payment-1"),
    };
    runtime.block_on(attacks::prepare(&addresses.registry));
    let (_, mut quiet) = runtime.block_on(beside(&addresses, async {
        tokio::time::sleep(plan.time).await;
    }));
    let quiet_p99 = quiet.permille(990);
    assert!(quiet.failures.is_empty(), "in quiet: {:?}", quiet.failures);
    let mut results = Vec::new();
    for attack in ALL {
        if plan.only.is_empty() || plan.only.iter().any(|name| name == attack.name) {
            let result = one(attack, &up, &addresses, plan, quiet_p99, &runtime);
            told(&result);
            results.push(result);
        }
    }
    let (stopped, _) = up.stop();
    json!({
        "right": stopped == Some(0) && results.iter().all(|result| result["right"] == true),
        "stopped": stopped,
        "quiet_calls": quiet.calls(),
        "quiet_p50_micros": micros(quiet.permille(500)),
        "quiet_p99_micros": micros(quiet_p99),
        "attacks": results,
    })
}

fn one(
    attack: &Attack,
    up: &Up,
    addresses: &Addresses,
    plan: &Plan,
    quiet_p99: Duration,
    runtime: &tokio::runtime::Runtime,
) -> Value {
    let target = Target::of(up, attack.target);
    let (before, memory_before) = (target.carries().unwrap(), target.memory().unwrap());
    let files_before = target.files().unwrap();
    let (address, run, time) = (target.address.clone(), attack.run, plan.time);
    let under_attack = async {
        let attacking = tokio::task::spawn_blocking(move || run(&address, time));
        let mut peak = memory_before;
        while !attacking.is_finished() {
            peak = peak.max(target.memory().unwrap());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        (attacking.await.unwrap(), peak)
    };
    let ((done, peak), mut noticed) = runtime.block_on(beside(addresses, under_attack));
    let p99 = noticed.permille(990);
    let mut wrong: Vec<String> = noticed.failures.iter().take(3).cloned().collect();
    let attempts = done.unwrap_or_else(|why| {
        wrong.push(why);
        0
    });
    let grown = peak.saturating_sub(memory_before) / 1024;
    if grown > attack.memory_mib {
        wrong.push(format!(
            "grew by {grown} MiB, more than {}",
            attack.memory_mib
        ));
    }
    let slower = p99 > UNNOTICED && p99 > quiet_p99 * SLOWER;
    if plan.judge_time && slower {
        wrong.push(format!("p99 {p99:?} of {quiet_p99:?} in quiet"));
    }
    let began = Instant::now();
    let back = loop {
        let after = target.carries().unwrap();
        let same = after
            .iter()
            .zip(before)
            .all(|(after, before)| *after <= before);
        if same && target.files().unwrap() <= files_before + OWN_FILES {
            break began.elapsed();
        }
        if began.elapsed() > BACK {
            wrong.push(format!("counters {after:?}, before {before:?}"));
            break began.elapsed();
        }
        std::thread::park_timeout(Duration::from_millis(100));
    };
    if !target.is_healthy().unwrap() {
        wrong.push("not healthy afterwards".to_owned());
    }
    json!({
        "name": attack.name,
        "target": attack.target,
        "right": wrong.is_empty(),
        "wrong": wrong,
        "attempts": attempts,
        "calls_beside": noticed.calls(),
        "failed_beside": noticed.failures.len(),
        "p50_micros": micros(noticed.permille(500)),
        "p99_micros": micros(p99),
        "p99_to_quiet": ratio(p99, quiet_p99),
        "grown_mib": grown,
        "back_ms": u64::try_from(back.as_millis()).unwrap_or(u64::MAX),
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn ratio(time: Duration, to: Duration) -> String {
    let hundredths = micros(time) * 100 / micros(to).max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
