//! Discovery: who is out there.
//!
//! *Problem.* Instances come and go; whoever knows about them may be gone just when it is asked.
//!
//! *What it does.* A source ([`Discover`]) keeps one slot up to date with the latest list of
//! instances; the balancer watches the slot. While the source is silent the last known list goes
//! on, and how old it is can be seen ([`Discovery::status`]). Nothing is queued: who looks late
//! sees the latest.
//!
//! | source | learns from | by |
//! |---|---|---|
//! | [`Fixed`] | its author | once |
//! | [`Registry`] | a Mizan registry, one of several | a watch, resumed by revision |
//! | `Dns` (feature `dns`) | A and AAAA, or SRV records | asking again and again |
//! | [`Cached`] | any of these, and a file while it is silent | wrapping it |
//! | your own | | [`Discover`] |
//!
//! *What it does not do.* It does not connect to what it finds, nor check its health: an instance
//! that is listed and dead is the balancer's to notice.

mod backoff;
mod cache;
#[cfg(feature = "dns")]
mod dns;
mod endpoint;
mod fixed;
#[cfg(feature = "registry")]
mod registry;
mod updates;

use std::{fmt, future::Future, pin::Pin};

pub use cache::Cached;
#[cfg(feature = "dns")]
pub use dns::{Dns, InvalidDns};
use endpoint::distinct;
pub(crate) use endpoint::unix_path;
pub use endpoint::{Endpoint, InvalidAuthority, WEIGHT_MAX};
pub use fixed::Fixed;
#[cfg(feature = "registry")]
pub use registry::Registry;
pub use updates::{Discovery, Known, SourceState, SourceStatus, Updates, channel};

/// What [`Discover::discover`] returns: the work of a source.
pub type Discovering = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A source of instances.
///
/// ```
/// use std::time::Duration;
/// use mizan::discover::{Discover, Discovering, Endpoint, Updates};
///
/// /// Asks something every ten seconds.
/// struct Inventory;
///
/// async fn ask(service: &str) -> Result<Vec<Endpoint>, String> {
/// #   let _ = service;
///     Ok(vec![Endpoint::new("10.0.0.7:7001").map_err(|e| e.to_string())?])
/// }
///
/// impl Discover for Inventory {
///     fn discover(self: Box<Self>, service: String, updates: Updates) -> Discovering {
///         Box::pin(async move {
///             loop {
///                 match ask(&service).await {
///                     Ok(endpoints) => updates.instances(endpoints),
///                     Err(reason) => updates.unreachable(reason),
///                 }
///                 tokio::time::sleep(Duration::from_secs(10)).await;
///             }
///         })
///     }
/// }
/// ```
pub trait Discover: Send + 'static {
    /// Keeps `updates` up to date with the instances of `service`. The future is run on a task of
    /// its own and dropped when nobody listens any more, so it may loop for ever. When it ends by
    /// itself, the latest list stays and is shown as [`SourceState::Lost`], unless the source ended
    /// with [`Updates::settle`].
    fn discover(self: Box<Self>, service: String, updates: Updates) -> Discovering;
}

impl fmt::Debug for dyn Discover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Discover")
    }
}

/// Starts to discover `service`; ends when nobody holds the [`Discovery`] or a receiver of it.
pub(crate) fn start(service: &str, source: Box<dyn Discover>) -> Discovery {
    let (updates, discovery) = channel();
    let listeners = updates.listeners();
    let discovering = source.discover(service.to_owned(), updates);
    tokio::spawn(async move {
        tokio::select! {
            () = listeners.gone() => {}
            () = discovering => {}
        }
    });
    discovery
}
