//! `grpc.health.v1.Health/Check` over a connection that is kept between checks.

use std::{io, sync::Arc, time::Duration};

use http::uri::Scheme;
use mizan::{
    Connection,
    connection::{Config, Connecting, Connector, Transport},
    status,
};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    catalogue::Tls,
    check::{
        Networks,
        bounded::Allowance,
        outcome::Fault,
        reason::readable,
        stage::{Stage, Wait},
        tls::{self, Inside},
    },
};

/// Asks one instance.
#[derive(Debug)]
pub(crate) struct GrpcProbe {
    /// Kept between checks: opening one is most of a check's cost, on both sides.
    connection: Option<(Connection, OwnedSemaphorePermit)>,
    /// What it may read of each check's answer.
    allowance: Allowance,
    /// How many may be kept of all: each is a file.
    keeping: Arc<Semaphore>,
}

impl GrpcProbe {
    /// Nothing is connected yet.
    pub(crate) fn new(keeping: Arc<Semaphore>) -> Self {
        Self {
            connection: None,
            allowance: Allowance::new(),
            keeping,
        }
    }

    /// Whether the instance answers SERVING. When this is dropped midway, so is the connection: one
    /// that did not answer in time is not to be trusted with the next check.
    pub(crate) async fn check(
        &mut self,
        way: &Way<'_>,
        authority: &str,
        service: &str,
        limit: Duration,
    ) -> Result<(), Fault> {
        let kept = self.connection.take();
        self.allowance.renew();
        if let Some((connection, room)) = kept.filter(|(kept, _)| !kept.is_closed()) {
            way.stage.wait(Wait::Answer);
            match ask(&connection, service).await {
                // The server may close an idle connection just when we ask. That is no illness.
                Err(status) if broke(&status) => {}
                answer => {
                    self.connection = Some((connection, room));
                    return answer.map_err(|status| words(authority, service, &status).into());
                }
            }
        }
        // The caller's own limit ends it first, with one wording whatever was waited for.
        let config = Config {
            connect_timeout: limit.saturating_mul(2),
            ..Config::default()
        };
        let bounded = Bounded {
            way,
            allowance: &self.allowance,
        };
        let connection = Connection::open_with(authority, &config, &bounded)
            .await
            .map_err(|error| {
                let fault = way.fault.lock().take();
                fault.unwrap_or_else(|| readable(error.reason()).into())
            })?;
        way.stage.wait(Wait::Answer);
        let answer = ask(&connection, service).await;
        if !matches!(&answer, Err(status) if broke(status)) {
            let room = Arc::clone(&self.keeping).try_acquire_owned();
            self.connection = room.ok().map(|room| (connection, room));
        }
        answer.map_err(|status| words(authority, service, &status).into())
    }
}

/// The way to an instance: only where checks may go, and over TLS if it speaks that.
#[derive(Debug)]
pub(crate) struct Way<'a> {
    pub(crate) networks: &'a Networks,
    pub(crate) tls: Option<&'a Tls>,
    pub(crate) stage: &'a Stage,
    /// Why there was none.
    pub(crate) fault: Mutex<Option<Fault>>,
}

impl Way<'_> {
    async fn open(&self, authority: &str) -> Result<Box<dyn Transport>, Fault> {
        // What a name stands for is judged there, and connected to as it was judged.
        let (stream, _) = self.networks.connect(authority, self.stage).await?;
        let Some(tls) = self.tls else {
            self.stage.wait(Wait::Answer);
            return Ok(stream);
        };
        self.stage.wait(Wait::Tls);
        let host = authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host);
        let shaken = tls::connect(stream, host, tls, Inside::Http2).await?;
        self.stage.wait(Wait::Answer);
        Ok(Box::new(shaken))
    }
}

impl Connector for Way<'_> {
    fn connect<'a>(&'a self, authority: &'a str) -> Connecting<'a> {
        Box::pin(async move {
            let opened = self.open(authority).await;
            opened.map_err(|fault| {
                *self.fault.lock() = Some(fault.clone());
                io::Error::other(fault)
            })
        })
    }

    fn scheme(&self) -> Scheme {
        match self.tls {
            None => Scheme::HTTP,
            Some(_) => Scheme::HTTPS,
        }
    }
}

/// The same way, on which no more is read than a check may.
#[derive(Debug)]
struct Bounded<'a> {
    way: &'a Way<'a>,
    allowance: &'a Allowance,
}

impl Connector for Bounded<'_> {
    fn connect<'a>(&'a self, authority: &'a str) -> Connecting<'a> {
        Box::pin(async move {
            let stream = self.way.connect(authority).await?;
            Ok(self.allowance.of(stream))
        })
    }

    fn scheme(&self) -> Scheme {
        self.way.scheme()
    }
}

fn words(authority: &str, service: &str, status: &Status) -> String {
    let message = status.message();
    let cause = message
        .strip_prefix(authority)
        .and_then(|rest| rest.strip_prefix(": "));
    match (cause, status.code()) {
        (Some(cause), _) => readable(cause),
        (None, Code::FailedPrecondition) if SERVING_WORDS.contains(&message) => message.to_owned(),
        (None, Code::Unimplemented) => "does not serve grpc.health.v1.Health".to_owned(),
        (None, Code::NotFound) if !service.is_empty() => {
            let code = Code::NotFound;
            format!(
                "health check answered {code:?}: {authority} does not serve {service}, so it may be another process"
            )
        }
        (None, code) if message.is_empty() => format!("health check answered {code:?}"),
        (None, code) => format!("health check answered {code:?}: {message}"),
    }
}

/// What an instance that answers may say instead of SERVING.
const SERVING_WORDS: [&str; 3] = ["UNKNOWN", "NOT_SERVING", "SERVICE_UNKNOWN"];

/// Whether the connection, not the instance, is what failed.
fn broke(status: &Status) -> bool {
    matches!(
        status::reason(status).as_deref(),
        Some("NOT_SENT" | "CONNECTION_LOST")
    )
}

async fn ask(connection: &Connection, service: &str) -> Result<(), Status> {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(connection.clone()).check(request).await?;
    match answer.get_ref().status() {
        ServingStatus::Serving => Ok(()),
        other => Err(Status::failed_precondition(other.as_str_name())),
    }
}
