//! What a balancer is told to do.

use std::{sync::Arc, time::Duration};

use super::{outlier, policy::Policy};
use crate::{
    breaker,
    connection::{Config, Connector},
};

/// The settings of a balancer. All but [`connection`](Self::connection) and
/// [`connector`](Self::connector) take effect at once when they are changed; those two, with the
/// next connection that is made.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Which ready instance is picked.
    pub(crate) policy: Arc<dyn Policy>,
    /// How connections are made and kept.
    pub(crate) connection: Config,
    /// How many connections an instance gets, at least 1. One by default: on one HTTP/2 connection
    /// calls share system calls. More help when a single one is the bottleneck, at some 100,000
    /// calls/s, or where a server bounds the streams of one.
    pub(crate) connections: u32,
    /// Where their bytes travel.
    pub(crate) connector: Arc<dyn Connector>,
    /// The service whose health the instances are asked for (gRFC A17); `None` asks nothing, and
    /// the empty name asks for the whole server. Not for pick-first, by the gRFC.
    pub(crate) health_check: Option<String>,
    /// When less than this share of the connected instances would be left, ejections are ignored:
    /// everybody failing says more about the calls, or about us, than about the instances. 50 by
    /// default, as in Envoy; 0 never ignores them.
    pub(crate) panic_percent: u32,
    /// Over which time an instance that came is given its share, by the policies that do so; `None`
    /// gives it at once.
    pub(crate) slow_start: Option<Duration>,
    /// Who is left out for a while.
    pub(crate) outlier: outlier::Config,
    /// The breaker of each instance, if each has its own.
    pub(crate) breaker: Option<breaker::Config>,
}

/// The most connections to one instance.
pub(super) const CONNECTIONS_MAX: u32 = 64;

#[cfg(test)]
impl Settings {
    /// The defaults, with this policy.
    pub(crate) fn new(policy: Arc<dyn Policy>) -> Self {
        Self {
            policy,
            connection: Config::default(),
            connections: 1,
            connector: Arc::new(crate::connection::Tcp),
            health_check: None,
            panic_percent: 50,
            slow_start: None,
            outlier: outlier::Config::default(),
            breaker: None,
        }
    }
}
