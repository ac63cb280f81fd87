//! `grpc.health.v1.Health/Check` over a connection that is kept between checks.

use std::time::Duration;

use mizan::{Connection, connection::Config, status};
use tonic::{Code, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::check::{Networks, reason::readable};

/// Asks one instance.
#[derive(Debug, Default)]
pub(crate) struct GrpcProbe {
    /// Kept between checks: opening one is most of a check's cost, on both sides.
    connection: Option<Connection>,
}

impl GrpcProbe {
    /// Whether the instance answers SERVING. When this is dropped midway, so is the connection: one
    /// that did not answer in time is not to be trusted with the next check.
    pub(crate) async fn check(
        &mut self,
        networks: &Networks,
        authority: &str,
        service: &str,
        limit: Duration,
    ) -> Result<(), String> {
        let kept = self.connection.take().filter(|kept| !kept.is_closed());
        if let Some(connection) = kept {
            match ask(&connection, service).await {
                // The server may close an idle connection just when we ask. That is no illness.
                Err(status) if broke(&status) => {}
                answer => {
                    self.connection = Some(connection);
                    return answer.map_err(|status| words(authority, &status));
                }
            }
        }
        // What a name stands for is judged here and connected to as it was judged.
        let addresses = networks.resolve(authority).await?;
        let mut judged = addresses.first().map(ToString::to_string);
        let judged = judged.take().filter(|_| networks.are_restricted());
        // The caller's own limit ends it first, with one wording whatever was waited for.
        let ample = limit.saturating_mul(2);
        let config = Config {
            connect_timeout: ample,
            ..Config::default()
        };
        let target = judged.as_deref().unwrap_or(authority);
        let connection = Connection::open_with(target, &config, networks.connector())
            .await
            .map_err(|error| readable(error.reason()))?;
        let answer = ask(&connection, service).await;
        if !matches!(&answer, Err(status) if broke(status)) {
            self.connection = Some(connection);
        }
        answer.map_err(|status| words(authority, &status))
    }
}

fn words(authority: &str, status: &Status) -> String {
    let message = status.message();
    let cause = message
        .strip_prefix(authority)
        .and_then(|rest| rest.strip_prefix(": "));
    match (cause, status.code()) {
        (Some(cause), _) => readable(cause),
        (None, Code::FailedPrecondition) if SERVING_WORDS.contains(&message) => message.to_owned(),
        (None, Code::Unimplemented) => "does not serve grpc.health.v1.Health".to_owned(),
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
