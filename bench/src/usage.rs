//! What other processes used, and what the disk needs.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use crate::Error;

/// The processor time that a process used so far; none when it is gone. In steps of 10 ms.
#[must_use]
pub fn cpu_of(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in brackets, may hold anything; user and system time are the 12th and 13th after it.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let fields = after.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    let each_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_millis(ticks * 1_000 / each_second)
}

/// The same of a process and its children.
#[must_use]
pub fn cpu_of_family(pid: u32) -> Duration {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let children = children
        .split_whitespace()
        .filter_map(|child| child.parse().ok());
    cpu_of(pid) + children.map(cpu_of).sum::<Duration>()
}

/// The median time that the disk needs to keep 4 KiB: on one that needs none (a tmpfs), nothing about
/// durable writes can be measured.
///
/// # Errors
/// A folder that cannot be written.
pub fn sync_time(folder: &Path) -> Result<Duration, Error> {
    const TIMES: usize = 201;
    let path = folder.join("sync");
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        file.write_all(&[1; 4096])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    fs::remove_file(path)?;
    times.sort_unstable();
    Ok(times[TIMES / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_gone_used_nothing() {
        assert_eq!(cpu_of(u32::MAX), Duration::ZERO);
    }

    #[test]
    fn work_is_seen() {
        let this = std::process::id();
        let before = cpu_of(this);
        while cpu_of(this) < before + Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        assert!(cpu_of_family(this) >= before);
    }
}
