//! What a call of one method goes through, looked up once a call: settings, layers, counters.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicBool},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::{
    contracts::{Contract, Contracts},
    settings::{MethodSettings, Settings},
    usual::Usual,
};
use crate::{
    breaker::{Breaker, Breakers},
    limit::{ConcurrencyLimit, Limiter},
    retry::Throttle,
    telemetry::metrics::{ClientMetrics, MethodMetrics},
};

/// How many methods have a route of their own; the rest share one by their settings. Far more than
/// a service has: only so that made-up paths cannot fill the memory.
const METHODS_MAX: usize = 256;

/// The layers of a channel; replaced as a whole by a new service config.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    pub(super) settings: Arc<Settings>,
    pub(super) contracts: Arc<Contracts>,
    pub(super) throttle: Arc<Throttle>,
    pub(super) limiter: Option<Limiter>,
    pub(super) concurrency: Option<ConcurrencyLimit>,
    pub(super) breakers: Option<Breakers>,
    /// The request header whose value a call is bound to.
    pub(super) hash_header: Option<http::HeaderName>,
}

/// What a call of one method goes through.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) settings: Arc<MethodSettings>,
    pub(super) contract: Contract,
    pub(super) throttle: Arc<Throttle>,
    pub(super) limiter: Option<Limiter>,
    pub(super) concurrency: Option<ConcurrencyLimit>,
    /// None also when each instance has its own.
    pub(super) breaker: Option<Breaker>,
    pub(super) hash_header: Option<http::HeaderName>,
    pub(super) metrics: Arc<MethodMetrics>,
    pub(super) client: Arc<ClientMetrics>,
    /// How long its calls take, when they go well.
    pub(super) usual: Usual,
    /// Whether a response took its time once, as those of streaming methods do.
    pub(super) streams: AtomicBool,
}

/// The routes of a channel.
#[derive(Debug)]
pub(super) struct Routes {
    /// Read by every call without a lock; replaced when a method is new or the layers are.
    known: ArcSwap<Known>,
    changing: Mutex<()>,
    client: Arc<ClientMetrics>,
}

#[derive(Debug, Clone)]
struct Known {
    layers: Layers,
    by_path: HashMap<Box<str>, Arc<Route>>,
}

impl Routes {
    pub(super) fn new(layers: Layers, client: Arc<ClientMetrics>) -> Self {
        let by_path = HashMap::new();
        Self {
            known: ArcSwap::from_pointee(Known { layers, by_path }),
            changing: Mutex::new(()),
            client,
        }
    }

    /// The route of a path, `/package.Service/Method`.
    pub(super) fn of(&self, path: &str) -> Arc<Route> {
        let known = self.known.load();
        match known.by_path.get(path) {
            Some(route) => route.clone(),
            None => self.add(path),
        }
    }

    fn add(&self, path: &str) -> Arc<Route> {
        let _changing = self.changing.lock();
        let known = self.known.load_full();
        // Somebody may have been faster.
        if let Some(route) = known.by_path.get(path) {
            return route.clone();
        }
        let Layers {
            settings,
            contracts,
            throttle,
            limiter,
            concurrency,
            breakers,
            hash_header,
        } = known.layers.clone();
        let now = tokio::time::Instant::now().into_std();
        let route = Arc::new(Route {
            settings: settings.of(path).clone(),
            contract: contracts.of(path),
            throttle,
            limiter,
            concurrency,
            breaker: breakers.and_then(|breakers| breakers.get(path, now)),
            hash_header,
            metrics: self.client.method(path),
            client: self.client.clone(),
            usual: Usual::default(),
            streams: AtomicBool::new(false),
        });
        if known.by_path.len() < METHODS_MAX {
            let mut with = Known::clone(&known);
            with.by_path.insert(path.into(), route.clone());
            self.known.store(Arc::new(with));
        }
        route
    }

    /// The layers as they are now.
    pub(super) fn layers(&self) -> Layers {
        self.known.load().layers.clone()
    }

    /// Calls that begin from now on go through these layers.
    pub(super) fn set(&self, layers: Layers) {
        let _changing = self.changing.lock();
        let by_path = HashMap::new();
        self.known.store(Arc::new(Known { layers, by_path }));
    }
}
