//! The channel: everything between a generated client and the instances of a service.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use mizan::Channel;
//! use mizan_contracts::registry::v1::registry_service_client::RegistryServiceClient;
//!
//! let channel = Channel::builder("invoice").registry(vec!["127.0.0.1:8500".into()]).connect();
//! // Any client that tonic generated takes it; clones share connections, breaker and limiter.
//! let client = RegistryServiceClient::new(channel.clone());
//! # Ok(()) }
//! ```
//!
//! [`stack`] owns the order of the layers.

mod request;
mod response;
pub mod stack;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use parking_lot::Mutex;
use tonic::{Status, body::Body};

use crate::{
    balance::{Balancer, RoundRobin, Settings},
    breaker::{self, Breaker},
    discover::{self, Source},
    limit::{Limiter, Rate},
    retry::{self, Budget},
};
use stack::Core;

/// How long a call may take when nobody says: 5 s, the longest a person waits for a page.
const DEADLINE: Duration = Duration::from_secs(5);

/// A client's way to all instances of one service. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Channel {
    core: Arc<Core>,
}

impl Channel {
    /// A channel to the instances of `service`, with the defaults of the documentation.
    pub fn builder(service: impl Into<String>) -> ChannelBuilder {
        ChannelBuilder {
            service: service.into(),
            source: Source::Fixed(Vec::new()),
            deadline: Some(DEADLINE),
            retry: retry::Policy::default(),
            rate: None,
            breaker: Some(breaker::Config::default()),
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("service", &self.core.service)
            .finish_non_exhaustive()
    }
}

/// A channel in the making.
#[derive(Debug)]
#[must_use]
pub struct ChannelBuilder {
    service: String,
    source: Source,
    deadline: Option<Duration>,
    retry: retry::Policy,
    rate: Option<Rate>,
    breaker: Option<breaker::Config>,
}

impl ChannelBuilder {
    /// Discover instances by a watch on one of these registries, HOST:PORT, whichever answers.
    pub fn registry(mut self, registries: Vec<String>) -> Self {
        self.source = Source::Registry(registries);
        self
    }

    /// These instances and no others, HOST:PORT.
    pub fn fixed(mut self, authorities: Vec<String>) -> Self {
        self.source = Source::Fixed(authorities);
        self
    }

    /// The longest a call may take, all attempts together and the response's body included, unless
    /// its request or its caller allows less. 5 s by default.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// No deadline of the channel's own: for streams that last.
    pub fn no_deadline(mut self) -> Self {
        self.deadline = None;
        self
    }

    /// When to try again.
    ///
    /// # Errors
    /// [`retry::InvalidPolicy`].
    pub fn retry(mut self, policy: retry::Policy) -> Result<Self, retry::InvalidPolicy> {
        self.retry = policy.validate()?;
        Ok(self)
    }

    /// At most so many calls a second. Unlimited by default.
    pub fn limit(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// When to stop calling.
    ///
    /// # Errors
    /// [`breaker::InvalidConfig`].
    pub fn breaker(mut self, config: breaker::Config) -> Result<Self, breaker::InvalidConfig> {
        self.breaker = Some(config.validate()?);
        Ok(self)
    }

    /// No circuit breaker.
    pub fn no_breaker(mut self) -> Self {
        self.breaker = None;
        self
    }

    /// Starts to discover and to connect, in the background, and returns at once. Calls made before
    /// the first connection stands wait for it, at most until their deadline.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn connect(self) -> Channel {
        let known = discover::start(&self.service, self.source);
        let core = Core {
            balancer: Balancer::start(
                &self.service,
                Settings::new(Arc::new(RoundRobin::new())),
                known,
            ),
            breaker: self
                .breaker
                .map(|config| Breaker::new(&self.service, config)),
            limiter: self.rate.map(|rate| Limiter::new(&self.service, rate)),
            budget: Arc::new(Mutex::new(Budget::new(self.retry.budget))),
            retry: self.retry,
            deadline: self.deadline,
            service: self.service,
        };
        Channel {
            core: Arc::new(core),
        }
    }
}

impl tower::Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    /// Always ready: what must be waited for is waited for in the call, where the deadline holds.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(stack::call(self.core.clone(), request))
    }
}
