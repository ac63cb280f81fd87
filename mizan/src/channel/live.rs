//! A channel's parts while it lives: started once, rearranged by a service config.

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use http::HeaderName;
use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::task::AbortOnDropHandle;

use super::{
    InvalidChannel, announced,
    contracts::Contracts,
    route::{Layers, Routes},
    settings::{MethodSettings, Settings},
    stack::Core,
};
use crate::{
    balance::{self, Balancer, outlier, policy::Policy},
    breaker::{self, Breaker, Breakers, OnStateChange, Scope},
    connection,
    discover::{self, Discover, Discovery, SourceState},
    limit::{ConcurrencyLimit, Limiter, Rate, adaptive},
    retry::{self, Memory, Throttle},
    service_config::ServiceConfig,
    telemetry::{
        ChannelStats,
        metrics::{ClientMetrics, Gauges, Observe, Phase, Registry},
    },
};

/// What a channel was built with: what holds where a service config says nothing.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) method: MethodSettings,
    pub(super) contracts: Arc<Contracts>,
    pub(super) throttling: retry::Throttling,
    pub(super) rate: Option<Rate>,
    pub(super) concurrency: Option<adaptive::Config>,
    pub(super) breaker: Option<breaker::Config>,
    pub(super) policy: Arc<dyn Policy>,
    pub(super) hash_header: Option<HeaderName>,
    pub(super) outlier: outlier::Config,
    pub(super) panic_percent: u32,
    pub(super) slow_start: Option<Duration>,
    pub(super) health_check: Option<String>,
    pub(super) connections: u32,
    pub(super) connection: connection::Config,
    pub(super) connector: Arc<dyn connection::Connector>,
}

/// A running channel.
#[derive(Debug)]
pub(super) struct Live {
    core: Arc<Core>,
    built: Built,
    /// What the service config in force gave, to tell what a new one changes.
    given: Mutex<Given>,
    shown: Arc<Shown>,
    /// Ends with the channel, or it would keep the source of discovery alive.
    following: OnceLock<AbortOnDropHandle<()>>,
}

#[derive(Debug, Default, PartialEq)]
struct Given {
    breaker: Option<Value>,
    concurrency: Option<Value>,
    throttling: Option<retry::Throttling>,
}

/// What metrics look at when they are read.
#[derive(Debug)]
struct Shown {
    core: Weak<Core>,
    discovery: Discovery,
    metrics: Arc<ClientMetrics>,
}

impl Live {
    pub(super) fn start(
        service: String,
        source: Box<dyn Discover>,
        built: Built,
        config: &ServiceConfig,
    ) -> Result<Self, InvalidChannel> {
        let metrics = Registry::global().client(&service);
        let discovery = discover::start(&service, source);
        let nothing = Layers {
            settings: Arc::new(Settings::new(&built.method, &[])),
            contracts: built.contracts.clone(),
            throttle: Arc::new(Throttle::new(Some(built.throttling))),
            limiter: None,
            concurrency: match &built.concurrency {
                Some(config) => Some(ConcurrencyLimit::new(&service, config.clone())?),
                None => None,
            },
            breakers: None,
            hash_header: None,
        };
        let balancing = balancing(&built, config, &metrics);
        let core = Arc::new(Core {
            balancer: Balancer::start(&service, balancing, discovery.clone(), metrics.clone()),
            routes: Routes::new(nothing, metrics.clone()),
            memory: Memory::default(),
            service,
        });
        let shown = Arc::new(Shown {
            core: Arc::downgrade(&core),
            discovery,
            metrics: metrics.clone(),
        });
        let observed: Weak<Shown> = Arc::downgrade(&shown);
        metrics.observe(observed);
        let live = Self {
            core,
            built,
            given: Mutex::default(),
            shown,
            following: OnceLock::new(),
        };
        let mut layers = live.core.routes.layers();
        layers.breakers = live.new_breakers(live.built.breaker.as_ref());
        live.core.routes.set(layers);
        live.apply(config);
        Ok(live)
    }

    /// Puts the service config that the instances carry in force from now on, or `own` while none
    /// does.
    pub(super) fn follow_instances(self: &Arc<Self>, own: ServiceConfig) {
        let known = self.shown.discovery.known();
        let follow = announced::follow(Arc::downgrade(self), known, own);
        // Called once, by the builder.
        let _ = self
            .following
            .set(AbortOnDropHandle::new(tokio::spawn(follow)));
    }

    pub(super) fn service(&self) -> &str {
        &self.core.service
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Puts a service config in force. What it leaves as it was keeps its state.
    pub(super) fn apply(&self, config: &ServiceConfig) {
        let mut given = self.given.lock();
        let before = self.core.routes.layers();
        let now = Given {
            breaker: config.layers.breaker.as_ref().map(|g| g.json.clone()),
            concurrency: config.layers.concurrency.as_ref().map(|g| g.json.clone()),
            throttling: config.throttling,
        };
        let layers = Layers {
            settings: Arc::new(Settings::new(&self.built.method, &config.methods)),
            contracts: before.contracts,
            throttle: if now.throttling == given.throttling {
                before.throttle
            } else {
                let settings = now.throttling.unwrap_or(self.built.throttling);
                Arc::new(before.throttle.resized(Some(settings)))
            },
            limiter: self.limiter(before.limiter, config.layers.limiter.or(self.built.rate)),
            concurrency: if now.concurrency == given.concurrency {
                before.concurrency
            } else {
                let given = config.layers.concurrency.as_ref().map(|g| &g.config);
                let wanted = given.or(self.built.concurrency.as_ref());
                // Both were validated.
                wanted.and_then(|c| ConcurrencyLimit::new(self.service(), c.clone()).ok())
            },
            breakers: if now.breaker == given.breaker {
                before.breakers
            } else {
                let given = config.layers.breaker.as_ref().map(|g| &g.config);
                self.new_breakers(given.or(self.built.breaker.as_ref()))
            },
            hash_header: self.hash_header(config),
        };
        self.core.routes.set(layers);
        let settings = balancing(&self.built, config, &self.shown.metrics);
        self.core.balancer.set(settings);
        *given = now;
    }

    fn limiter(&self, before: Option<Limiter>, rate: Option<Rate>) -> Option<Limiter> {
        let rate = rate?;
        match before {
            // Live: calls that wait go on waiting, at the new rate.
            Some(limiter) => {
                if limiter.rate() != rate {
                    limiter.set_rate(rate);
                }
                Some(limiter)
            }
            None => Some(Limiter::new(self.service(), rate)),
        }
    }

    fn hash_header(&self, config: &ServiceConfig) -> Option<HeaderName> {
        let policy = config.balancing.as_ref().unwrap_or(&self.built.policy);
        let named = policy.hash_header().cloned();
        named.or_else(|| self.built.hash_header.clone())
    }

    fn new_breakers(&self, config: Option<&breaker::Config>) -> Option<Breakers> {
        let config = counted(config?.clone(), self.shown.metrics.clone());
        Some(Breakers::new(self.service(), config))
    }

    pub(super) fn breakers(&self) -> Vec<Breaker> {
        self.shown.breakers()
    }

    pub(super) fn stats(&self) -> ChannelStats {
        let mut stats = self.shown.metrics.stats();
        stats.instances = self.core.balancer.stats();
        stats.discovery_doubted = self.core.balancer.is_doubted();
        stats.waiting_for_stream = self.core.balancer.waiting();
        stats.discovery_age = self.shown.age();
        stats
    }
}

impl Shown {
    fn breakers(&self) -> Vec<Breaker> {
        let Some(core) = self.core.upgrade() else {
            return Vec::new();
        };
        let breakers = core.routes.layers().breakers;
        let mut all = breakers.map_or_else(Vec::new, |breakers| breakers.all());
        all.extend(core.balancer.breakers());
        all
    }

    fn age(&self) -> Option<Duration> {
        let status = self.discovery.status();
        match status.state {
            // What it said last holds until it says something else.
            SourceState::Connected | SourceState::Settled => status.age.and(Some(Duration::ZERO)),
            SourceState::Waiting | SourceState::Lost => status.age,
        }
    }
}

impl Observe for Shown {
    fn gauges(&self) -> Gauges {
        let now = tokio::time::Instant::now().into_std();
        let mut breakers = [0; 3];
        for breaker in self.breakers() {
            let place = match shown_as(breaker.phase(now)) {
                Phase::Closed => 0,
                Phase::HalfOpen => 1,
                Phase::Open => 2,
            };
            if let Some(number) = breakers.get_mut(place) {
                *number += 1;
            }
        }
        let mut instances: Vec<(&'static str, u64)> = Vec::new();
        let mut stalled: u64 = 0;
        let core = self.core.upgrade();
        for instance in core.map(|core| core.balancer.stats()).unwrap_or_default() {
            let more = u64::try_from(instance.connections_stalled).unwrap_or(u64::MAX);
            stalled = stalled.saturating_add(more);
            let state = instance.state.name();
            match instances.iter_mut().find(|(name, _)| *name == state) {
                Some((_, number)) => *number += 1,
                None => instances.push((state, 1)),
            }
        }
        let left_out = self.discovery.status().left_out;
        if left_out > 0 {
            let left_out = u64::try_from(left_out).unwrap_or(u64::MAX);
            instances.push(("left_out", left_out));
        }
        Gauges {
            breakers,
            instances,
            stalled,
            discovery_age: self.age(),
        }
    }
}

/// The balancer's settings: what was built, and above it what a service config says.
fn balancing(
    built: &Built,
    config: &ServiceConfig,
    metrics: &Arc<ClientMetrics>,
) -> balance::Settings {
    let policy = config.balancing.as_ref().unwrap_or(&built.policy);
    let breaker = config.layers.breaker.as_ref().map(|given| &given.config);
    let breaker = breaker.or(built.breaker.as_ref());
    let breaker = breaker.filter(|b| b.scope == Scope::Instance);
    let health_check = config.health_check.as_ref();
    balance::Settings {
        policy: policy.clone(),
        outlier: config.outlier.clone().unwrap_or(built.outlier.clone()),
        panic_percent: config.layers.panic_percent.unwrap_or(built.panic_percent),
        slow_start: config.layers.slow_start.or(built.slow_start),
        health_check: health_check.or(built.health_check.as_ref()).cloned(),
        connections: config.layers.connections.unwrap_or(built.connections),
        connection: built.connection.clone(),
        connector: built.connector.clone(),
        breaker: breaker.map(|breaker| counted(breaker.clone(), metrics.clone())),
    }
}

/// The same breaker, its changes counted before the user's own function hears of them.
fn counted(mut config: breaker::Config, metrics: Arc<ClientMetrics>) -> breaker::Config {
    let own = config.on_state_change.take();
    config.on_state_change = Some(OnStateChange::new(move |transition| {
        metrics.breaker_changed(shown_as(transition.from), shown_as(transition.to));
        if let Some(own) = &own {
            own.call(transition);
        }
    }));
    config
}

/// A forced phase shows as what it does.
fn shown_as(phase: breaker::Phase) -> Phase {
    match phase {
        breaker::Phase::Closed | breaker::Phase::ForcedClosed => Phase::Closed,
        breaker::Phase::HalfOpen => Phase::HalfOpen,
        breaker::Phase::Open | breaker::Phase::ForcedOpen => Phase::Open,
    }
}

#[cfg(test)]
mod tests;
