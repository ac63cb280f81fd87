//! Client-side health watch (gRFC A17): the instance itself says whether it serves.
//!
//! *What it does.* One `grpc.health.v1.Health/Watch` per connection. Until its first answer the
//! instance is not picked; SERVING makes it ready, anything else takes it out. A watch that breaks
//! takes it out too and is asked for again after growing pauses, which any answer resets. An
//! instance without a health service (UNIMPLEMENTED) counts as healthy, is not asked again, and an
//! error is logged, since somebody configured a watch that cannot work.
//!
//! The protocol answers SERVICE_UNKNOWN, and keeps the stream, for a service it does not know yet;
//! tonic-health ends it with NOT_FOUND, which is read as the same.

use futures_util::{Stream, stream};
use tokio::time::sleep;
use tonic::{Code, Status, Streaming};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};

use super::instance::Backoff;
use crate::Connection;

/// What the watch says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Healthy, or without an opinion.
    Serving,
    /// Not to be picked; says why.
    NotServing(String),
}

/// The verdicts on `service` of the instance behind this connection, for as long as it lasts.
pub(super) fn watch(
    connection: Connection,
    service: &str,
) -> impl Stream<Item = Verdict> + Send + Unpin + use<> {
    let watch = Watch {
        authority: connection.authority().to_owned(),
        client: HealthClient::new(connection),
        service: service.to_owned(),
        backoff: Backoff::new(),
        stage: Stage::Asking,
    };
    Box::pin(stream::unfold(watch, |mut watch| async move {
        let verdict = watch.next().await?;
        Some((verdict, watch))
    }))
}

struct Watch {
    authority: String,
    client: HealthClient<Connection>,
    service: String,
    backoff: Backoff,
    stage: Stage,
}

enum Stage {
    Asking,
    Open(Box<Streaming<HealthCheckResponse>>),
    Broken,
    /// There is no health service: nothing more to ask.
    Unsupported,
}

impl Watch {
    async fn next(&mut self) -> Option<Verdict> {
        loop {
            match &mut self.stage {
                Stage::Unsupported => return None,
                Stage::Broken => {
                    sleep(self.backoff.next(fastrand::u32(..))).await;
                    self.stage = Stage::Asking;
                }
                Stage::Asking => {
                    let request = HealthCheckRequest {
                        service: self.service.clone(),
                    };
                    match self.client.watch(request).await {
                        Ok(response) => self.stage = Stage::Open(Box::new(response.into_inner())),
                        Err(status) => return Some(self.broken(&status)),
                    }
                }
                Stage::Open(answers) => {
                    return Some(match answers.message().await {
                        Ok(Some(answer)) => {
                            self.backoff.reset();
                            judge(answer.status())
                        }
                        Ok(None) => self.broken(&Status::unknown("it ended")),
                        Err(status) => self.broken(&status),
                    });
                }
            }
        }
    }

    fn broken(&mut self, status: &Status) -> Verdict {
        self.stage = Stage::Broken;
        match status.code() {
            Code::Unimplemented => {
                tracing::error!(
                    instance = %self.authority,
                    "a health check is set, but the instance has no health service: taken for healthy"
                );
                self.stage = Stage::Unsupported;
                Verdict::Serving
            }
            Code::NotFound => judge(ServingStatus::ServiceUnknown),
            code => Verdict::NotServing(format!(
                "its health watch failed: {code:?}: {}",
                status.message()
            )),
        }
    }
}

fn judge(answer: ServingStatus) -> Verdict {
    match answer {
        ServingStatus::Serving => Verdict::Serving,
        other => Verdict::NotServing(format!("it says {}", other.as_str_name())),
    }
}
