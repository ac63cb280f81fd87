//! Discovery: who is out there.
//!
//! A source keeps one slot up to date with the latest known instances; the balancer watches it.
//! When the source falls silent the last known good answer stays.

mod registry;

use tokio::sync::watch;

/// Where instances are learned from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// A watch on one of these registries (HOST:PORT), whichever answers.
    Registry(Vec<String>),
    /// These and no others (HOST:PORT).
    Fixed(Vec<String>),
}

/// An instance to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// HOST:PORT.
    pub(crate) authority: String,
    /// The share of the load.
    pub(crate) weight: u32,
}

/// What is known of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing yet: the first answer is still on its way.
    Unknown,
    /// Nothing, and nobody to ask; says why.
    Unreachable(String),
    /// The latest list; it stays while the source is silent.
    Instances(Vec<Endpoint>),
}

/// Starts to discover `service`; ends when the receiver is dropped.
pub(crate) fn start(service: &str, source: Source) -> watch::Receiver<Known> {
    match source {
        Source::Fixed(authorities) => {
            let weight = 1;
            let endpoints = authorities
                .into_iter()
                .map(|authority| Endpoint { authority, weight });
            watch::channel(Known::Instances(endpoints.collect())).1
        }
        Source::Registry(registries) => {
            let (known, receiver) = watch::channel(Known::Unknown);
            tokio::spawn(registry::follow(service.to_owned(), registries, known));
            receiver
        }
    }
}
