//! Which of the ready instances carries the next attempt: one small trait, and the policies that
//! come with it.

use std::{fmt, sync::Arc, time::Instant};

use super::load::Load;

/// A ready instance, as a policy sees it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// HOST:PORT.
    pub authority: Arc<str>,
    /// The share of the load relative to the others, at least 1.
    pub weight: u32,
    /// The failure zone; empty when unknown.
    pub zone: Arc<str>,
    /// What it carries now and how fast it answers; shared by every snapshot it appears in.
    pub load: Arc<Load>,
}

/// What a policy knows of the attempt.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// The hash of the key that the call is bound to, if it has one.
    pub hash: Option<u64>,
    /// A random number.
    pub random: u64,
    /// Now.
    pub now: Instant,
}

/// A balancing policy. It lives as long as its channel, so what must survive a change of the
/// instances (whose turn it is) is kept here.
pub trait Policy: fmt::Debug + Send + Sync {
    /// A picker for these instances; made anew whenever they change.
    fn picker(&self, candidates: &[Candidate]) -> Box<dyn Picker>;
}

/// Picks among the candidates it was made for. Takes no lock and waits for nothing.
pub trait Picker: fmt::Debug + Send + Sync {
    /// The index of a candidate for which `usable` holds, or `None` if there is none. `usable` is
    /// asked in the order of preference, and may be asked about the same one twice.
    fn pick(&self, call: &Call, usable: &dyn Fn(usize) -> bool) -> Option<usize>;
}
