//! A channel in the making: every setting, checked once.

use std::{path::PathBuf, sync::Arc, time::Duration};

use http::HeaderName;

use super::{
    Channel,
    contracts::Contracts,
    live::{Built, Live},
    settings::MethodSettings,
};
use crate::{
    balance::{
        outlier,
        policy::{Policy, RoundRobin},
    },
    breaker, connection,
    deadline::Patience,
    discover::{self, Cached, Discover, Fixed},
    limit::{Rate, adaptive},
    retry,
    service_config::{InvalidServiceConfig, ServiceConfig},
};

/// How long a call may take when nobody says: 5 s, the longest a person waits for a page.
const DEADLINE: Duration = Duration::from_secs(5);

/// The most connections to one instance. 64: beyond that the server's port is the bottleneck.
const CONNECTIONS_MAX: u32 = 64;

/// Why a channel cannot be what it was asked to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidChannel {
    /// The retry policy or its throttling.
    #[error(transparent)]
    Retry(#[from] retry::InvalidPolicy),
    /// The breaker.
    #[error(transparent)]
    Breaker(#[from] breaker::InvalidConfig),
    /// The limit on concurrency.
    #[error(transparent)]
    Concurrency(#[from] adaptive::InvalidConfig),
    /// How connections are kept.
    #[error(transparent)]
    Connection(#[from] connection::InvalidConfig),
    /// An address.
    #[error(transparent)]
    Authority(#[from] discover::InvalidAuthority),
    /// Another setting: its name and its rule.
    #[error("{setting} {rule}")]
    Setting {
        /// The setting's name, as the builder's method.
        setting: &'static str,
        /// What it must be.
        rule: String,
    },
}

/// A channel in the making. Nothing is checked, and nothing begins, before
/// [`connect`](Self::connect).
#[derive(Debug)]
#[must_use]
pub struct ChannelBuilder {
    service: String,
    source: Source,
    cache: Option<PathBuf>,
    method: MethodSettings,
    contracts: Vec<u8>,
    attempts_cap: u32,
    throttling: retry::Throttling,
    rate: Option<Rate>,
    concurrency: Option<adaptive::Config>,
    breaker: Option<breaker::Config>,
    policy: Arc<dyn Policy>,
    hash_header: Option<String>,
    outlier: outlier::Config,
    panic_percent: u32,
    slow_start: Option<Duration>,
    health_check: Option<String>,
    connections: u32,
    connection: connection::Config,
    connector: Arc<dyn connection::Connector>,
    config: ServiceConfig,
    announced: bool,
}

#[derive(Debug)]
enum Source {
    Fixed(Vec<String>),
    #[cfg(feature = "registry")]
    Registries(Vec<String>),
    Other(Box<dyn Discover>),
}

impl Source {
    fn opened(
        self,
        #[cfg_attr(
            not(feature = "registry"),
            expect(unused_variables, reason = "only registries are reached by it")
        )]
        connector: &Arc<dyn connection::Connector>,
    ) -> Result<Box<dyn Discover>, discover::InvalidAuthority> {
        Ok(match self {
            Self::Fixed(authorities) => Box::new(Fixed::new(authorities)?),
            #[cfg(feature = "registry")]
            Self::Registries(registries) => {
                Box::new(discover::Registry::new(registries)?.over(connector.clone()))
            }
            Self::Other(source) => source,
        })
    }
}

impl ChannelBuilder {
    pub(super) fn new(service: String) -> Self {
        Self {
            service,
            source: Source::Fixed(Vec::new()),
            cache: None,
            method: MethodSettings {
                patience: Patience::Default(DEADLINE),
                wait_for_ready: false,
                attempt_timeout: None,
                retry: retry::Policy::default(),
                retry_chosen: false,
                request_bytes_max: None,
                response_bytes_max: None,
            },
            contracts: Vec::new(),
            attempts_cap: retry::ATTEMPTS_CAP,
            throttling: retry::Throttling::default(),
            rate: None,
            concurrency: None,
            breaker: Some(breaker::Config::default()),
            policy: Arc::new(RoundRobin::default()),
            hash_header: None,
            outlier: outlier::Config::default(),
            panic_percent: 50,
            slow_start: None,
            health_check: None,
            connections: 1,
            connection: connection::Config::default(),
            connector: Arc::new(connection::Tcp),
            config: ServiceConfig::default(),
            announced: false,
        }
    }

    /// Discover instances by a watch on one of these registries, HOST:PORT, whichever answers.
    #[cfg(feature = "registry")]
    pub fn registry(mut self, registries: Vec<String>) -> Self {
        self.source = Source::Registries(registries);
        self
    }

    /// These instances and no others, HOST:PORT.
    pub fn fixed(mut self, authorities: Vec<String>) -> Self {
        self.source = Source::Fixed(authorities);
        self
    }

    /// Discover instances by DNS.
    #[cfg(feature = "dns")]
    pub fn dns(self, dns: discover::Dns) -> Self {
        self.discover(dns)
    }

    /// Discover instances by any other source.
    pub fn discover(mut self, source: impl Discover) -> Self {
        self.source = Source::Other(Box::new(source));
        self
    }

    /// Keep what was discovered in this file, for a client that starts while its source is gone.
    /// None by default; a file belongs to one service.
    pub fn cache(mut self, file: impl Into<PathBuf>) -> Self {
        self.cache = Some(file.into());
        self
    }

    /// The contracts of what is called, as `tonic-prost-build` writes them (an encoded
    /// `google.protobuf.FileDescriptorSet`; the same bytes that reflection is given). They tell which methods stream,
    /// for the default deadline, and by their `idempotency_level` which may be done twice, for the
    /// default retries: see [`retry`](Self::retry). None by default: then nothing is known of a method.
    pub fn contracts(mut self, descriptors: &[u8]) -> Self {
        self.contracts = descriptors.to_vec();
        self
    }

    /// How long a call may take whose caller does not say, all attempts together and the response's
    /// body included, streams too; above 0. A caller says by `Request::set_timeout`, and a call made while
    /// handling another has at most what that has left.
    ///
    /// 5 s by default, the longest a person waits; and the default is not for streams. Of a method that
    /// [`contracts`](Self::contracts) do not know it bounds the time until the response begins.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.method.patience = Patience::Built(deadline);
        self
    }

    /// No deadline of the channel's own: for streams that last.
    pub fn no_deadline(mut self) -> Self {
        self.method.patience = Patience::Endless;
        self
    }

    /// How long one attempt may take until its response begins; above 0. One that runs out of it
    /// is retried while the call's deadline is ahead, unless nothing is retried. None by default: only the callers of a
    /// service know how long its calls take.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.method.attempt_timeout = Some(timeout);
        self
    }

    /// Whether a call waits, until its deadline, when no instance is there, rather than fail at
    /// once. No by default: whoever waits should know that it does.
    pub fn wait_for_ready(mut self, wait: bool) -> Self {
        self.method.wait_for_ready = wait;
        self
    }

    /// The largest message that is sent and that is taken, in bytes. No limit of the channel's own
    /// by default; tonic's clients take 4 MiB.
    pub fn message_bytes(mut self, sent: Option<u32>, taken: Option<u32>) -> Self {
        self.method.request_bytes_max = sent;
        self.method.response_bytes_max = taken;
        self
    }

    /// When to try again, or whether to ask several at once; at most as many attempts as
    /// [`attempts_cap`](Self::attempts_cap) allows.
    ///
    /// What the default repeats: a call that was answered UNAVAILABLE, and one whose connection was
    /// lost after it was sent, which the callee may have done. Of methods that the
    /// [`contracts`](Self::contracts) know, the latter only where `idempotency_level` allows it; a
    /// policy that is set, here or by a service config, goes before the contract. `Policy::never()` is
    /// gRPC's own default: only what no service saw is sent again.
    pub fn retry(mut self, policy: retry::Policy) -> Self {
        self.method.retry = policy;
        self.method.retry_chosen = true;
        self
    }

    /// How many attempts a policy set by [`retry`](Self::retry) may ask for.
    /// [`retry::ATTEMPTS_CAP`] by default, which is also the most that a service config may ask
    /// for. More is for callers whom nothing but their deadline should stop.
    pub fn attempts_cap(mut self, cap: u32) -> Self {
        self.attempts_cap = cap;
        self
    }

    /// When to stop trying again because too much fails.
    pub fn throttling(mut self, throttling: retry::Throttling) -> Self {
        self.throttling = throttling;
        self
    }

    /// At most so many calls a second. Unlimited by default. A call waits for its turn, but not for one
    /// in the last tenth of its time.
    pub fn limit(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// At most so many calls at a time, learned from how the callee does. Unlimited by default.
    pub fn concurrency(mut self, config: adaptive::Config) -> Self {
        self.concurrency = Some(config);
        self
    }

    /// When to stop calling.
    pub fn breaker(mut self, config: breaker::Config) -> Self {
        self.breaker = Some(config);
        self
    }

    /// No circuit breaker.
    pub fn no_breaker(mut self) -> Self {
        self.breaker = None;
        self
    }

    /// Which instance is picked. [`RoundRobin`] by default.
    pub fn balance(mut self, policy: impl Policy + 'static) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// The request header whose value binds a call to an instance, for
    /// [`RingHash`](crate::balance::policy::RingHash). None by default: calls are bound to none.
    pub fn hash_header(mut self, name: impl Into<String>) -> Self {
        self.hash_header = Some(name.into());
        self
    }

    /// When an instance that fails more than the others is left out for a while. gRFC A50's
    /// defaults; [`outlier::Config::off`] for never.
    pub fn outlier_detection(mut self, config: outlier::Config) -> Self {
        self.outlier = config;
        self
    }

    /// When fewer than this share of the connected instances would be left, in percent, ejections
    /// are ignored. 50 by default, as in Envoy; 0 never ignores them.
    pub fn panic_percent(mut self, percent: u32) -> Self {
        self.panic_percent = percent;
        self
    }

    /// Give an instance that has just come, or come back, its share of the calls little by little, over
    /// this time: a tenth at first. Above 0; for round robin and least request. None by default, as
    /// in Envoy: only who runs a service knows whether it starts cold, and the others carry the rest
    /// meanwhile.
    pub fn slow_start(mut self, window: Duration) -> Self {
        self.slow_start = Some(window);
        self
    }

    /// Watch the health of this service on every connection (gRFC A17) and pick only instances that
    /// serve it; the empty name stands for the whole server. Off by default: the registry checks.
    pub fn health_check(mut self, service: impl Into<String>) -> Self {
        self.health_check = Some(service.into());
        self
    }

    /// How many connections to each instance, 1 to 64. 1 by default: calls on one connection share
    /// system calls; more help where one is the bottleneck, at some 100,000 calls a second.
    pub fn connections(mut self, number: u32) -> Self {
        self.connections = number;
        self
    }

    /// How connections are made and kept alive.
    pub fn connection(mut self, config: connection::Config) -> Self {
        self.connection = config;
        self
    }

    /// What connections are made of, to the instances and to the registries of
    /// [`registry`](Self::registry). TCP by default.
    pub fn connector(mut self, connector: impl connection::Connector + 'static) -> Self {
        self.connector = Arc::new(connector);
        self
    }

    /// A gRPC service config, above what is set here. See [`crate::service_config`].
    ///
    /// # Errors
    /// [`InvalidServiceConfig`] names the field.
    pub fn service_config(mut self, json: &str) -> Result<Self, InvalidServiceConfig> {
        self.config = ServiceConfig::parse(json)?;
        Ok(self)
    }

    /// Whether the service config that instances carry in their metadata, under `service_config`,
    /// takes the place of the one given here, as it comes and goes: the one that most of them
    /// carry. No by default: whoever may register an instance could change how all clients call.
    pub fn announced_service_config(mut self, followed: bool) -> Self {
        self.announced = followed;
        self
    }

    /// Checks the settings, starts to discover and to connect, in the background, and returns at
    /// once. Calls made before the first connection stands wait for it, at most until their
    /// deadline.
    ///
    /// # Errors
    /// [`InvalidChannel`] names the setting that is wrong.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(self) -> Result<Channel, InvalidChannel> {
        let hash_header = self.check()?;
        let mut method = self.method;
        method.retry = method.retry.validate()?.capped(self.attempts_cap);
        let source = self.source.opened(&self.connector)?;
        let source = match self.cache {
            Some(file) => Box::new(Cached::boxed(source, file)),
            None => source,
        };
        let contracts = Contracts::read(&self.contracts);
        let contracts = contracts.map_err(|error| InvalidChannel::Setting {
            setting: "contracts",
            rule: format!("must be an encoded FileDescriptorSet: {error}"),
        })?;
        let built = Built {
            method,
            contracts: Arc::new(contracts),
            throttling: self.throttling.validate()?,
            rate: self.rate,
            concurrency: self.concurrency.map(|c| c.validate()).transpose()?,
            breaker: self.breaker.map(breaker::Config::validate).transpose()?,
            policy: self.policy,
            hash_header,
            outlier: self.outlier,
            panic_percent: self.panic_percent,
            slow_start: self.slow_start,
            health_check: self.health_check,
            connections: self.connections,
            connection: self.connection.validate()?,
            connector: self.connector,
        };
        let live = Arc::new(Live::start(self.service, source, built, &self.config)?);
        if self.announced {
            live.follow_instances(self.config);
        }
        Ok(Channel { live })
    }

    /// The settings that no type of their own checks. Answers the header, which is one.
    fn check(&self) -> Result<Option<HeaderName>, InvalidChannel> {
        let refused = |setting, rule: &str| {
            Err(InvalidChannel::Setting {
                setting,
                rule: rule.to_owned(),
            })
        };
        if self.service.is_empty() {
            return refused("service", "must have a name");
        }
        if self.method.patience == Patience::Built(Duration::ZERO) {
            return refused("deadline", "must be above 0");
        }
        if self.method.attempt_timeout == Some(Duration::ZERO) {
            return refused("attempt_timeout", "must be above 0");
        }
        if self.slow_start == Some(Duration::ZERO) {
            return refused("slow_start", "must be above 0");
        }
        if !(1..=CONNECTIONS_MAX).contains(&self.connections) {
            return refused("connections", "must be 1 to 64");
        }
        if self.panic_percent > 100 {
            return refused("panic_percent", "must be 0 to 100");
        }
        let Some(name) = &self.hash_header else {
            return Ok(None);
        };
        match name.parse() {
            Ok(name) => Ok(Some(name)),
            Err(_) => refused("hash_header", "must be the name of a header"),
        }
    }
}
