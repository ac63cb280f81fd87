//! What a process may do to files.

use rustix::process::{Pid, Resource, Rlimit, geteuid, prlimit};

/// Limits how long the files may become that a process of ours writes, beyond which its writes fail;
/// `None` lets them grow again. It has to ignore SIGXFSZ, or it dies of it. What is longer already
/// cannot be written behind the limit either, so 0 is a disk on which nothing can be written.
///
/// # Panics
/// When there is no such process, or it is not ours.
pub fn limit_file_size(process: u32, bytes: Option<u64>) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    let limit = Rlimit {
        current: bytes,
        // So that it can be lifted again.
        maximum: None,
    };
    let set = prlimit(Some(process.expect("a process id")), Resource::Fsize, limit);
    set.expect("a process of ours can be limited");
}

/// The user id of somebody who is not root, for processes that root may not be; `None` when we are
/// not root anyway.
#[must_use]
pub fn unprivileged() -> Option<u32> {
    geteuid().is_root().then(|| super::server::somebody().0)
}
