//! Which of the ready instances carries the next attempt: one small trait, and the policies that
//! come with it.
//!
//! | policy | name in a service config | good for |
//! |---|---|---|
//! | [`RoundRobin`] | `round_robin`, `weighted_round_robin` | equal instances, equal calls: the default |
//! | [`LeastRequest`] | `least_request`, `least_request_experimental` | calls of very different cost |
//! | [`PeakEwma`] | `mizan_peak_ewma` | instances of different or changing speed |
//! | [`RingHash`] | `ring_hash_experimental` | caches: the same key goes to the same instance |
//! | [`ZoneAware`] | `mizan_zone_aware` | several zones, costly or slow between them |
//! | [`PickFirst`] | `pick_first` | one instance at a time, the others in reserve |
//!
//! A pick takes no lock, allocates nothing and reads no clock.

mod by_name;
pub(crate) mod json;
mod least_request;
mod peak_ewma;
mod pick_first;
mod ring_hash;
pub(crate) mod rotation;
mod round_robin;
mod sample;
#[cfg(test)]
mod testing;
mod zone_aware;

use std::{fmt, sync::Arc, time::Instant};

use http::HeaderName;

pub use by_name::{by_name, supports};
pub use least_request::LeastRequest;
pub use peak_ewma::PeakEwma;
pub use pick_first::PickFirst;
pub use ring_hash::{RingHash, hash_key, hash_of_header};
pub use round_robin::RoundRobin;
pub use zone_aware::ZoneAware;

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

    /// Whether an instance that has just come may be passed over, for its share to grow little by
    /// little ([`ChannelBuilder::slow_start`](crate::ChannelBuilder::slow_start)). No, unless a policy
    /// says so: one that binds calls to instances must not.
    fn starts_slowly(&self) -> bool {
        false
    }

    /// The request header whose value is the key of a call, if the policy looks at keys; see
    /// [`hash_of_header`].
    fn hash_header(&self) -> Option<&HeaderName> {
        None
    }
}

/// Picks among the candidates it was made for. Takes no lock and waits for nothing.
pub trait Picker: fmt::Debug + Send + Sync {
    /// The index of a candidate for which `usable` holds, or `None` if there is none. `usable` is
    /// asked in the order of preference, and may be asked about the same one twice.
    fn pick(&self, call: &Call, usable: &dyn Fn(usize) -> bool) -> Option<usize>;
}
