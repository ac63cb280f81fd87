//! The channel: everything between a generated client and the instances of a service.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use mizan::Channel;
//! use tonic_health::pb::health_client::HealthClient;
//!
//! let channel = Channel::builder("invoice").fixed(vec!["127.0.0.1:50061".into()]).connect()?;
//! // Any client that tonic generated takes it; clones share connections, breaker and limiter.
//! let client = HealthClient::new(channel.clone());
//! # Ok(()) }
//! ```
//!
//! [`stack`] owns the order of the layers.

mod announced;
mod builder;
mod contracts;
mod ending;
mod live;
mod message_size;
mod outgoing;
mod response;
mod route;
mod settings;
pub mod stack;
mod usual;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tonic::{Status, body::Body};

pub use builder::{ChannelBuilder, InvalidChannel};
use live::Live;

use crate::{
    breaker::Breaker,
    service_config::{InvalidServiceConfig, ServiceConfig},
    telemetry::ChannelStats,
};

/// A client's way to all instances of one service. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Channel {
    live: Arc<Live>,
}

impl Channel {
    /// A channel to the instances of `service`, with the defaults of the documentation.
    pub fn builder(service: impl Into<String>) -> ChannelBuilder {
        ChannelBuilder::new(service.into())
    }

    /// Replaces the service config; calls that begin from now on are made under the new one.
    /// Connections stay, and so does what breaker, limiter and throttling have counted, as far as
    /// their settings are the same. What the config does not say is as the channel was built.
    ///
    /// # Errors
    /// [`InvalidServiceConfig`] names the field; nothing is changed.
    pub fn set_service_config(&self, json: &str) -> Result<(), InvalidServiceConfig> {
        self.live.apply(&ServiceConfig::parse(json)?);
        Ok(())
    }

    /// What the channel has done and how it stands.
    #[must_use]
    pub fn stats(&self) -> ChannelStats {
        self.live.stats()
    }

    /// Its breakers: to look at, or to force open and closed by hand.
    #[must_use]
    pub fn breakers(&self) -> Vec<Breaker> {
        self.live.breakers()
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("service", &self.live.service())
            .finish_non_exhaustive()
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
        Box::pin(stack::call(self.live.core().clone(), request))
    }
}
