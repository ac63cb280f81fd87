//! One run of one check.

use std::{future::Future, sync::Arc};

use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    catalogue::{CheckKind, Target, Tls},
    check::{
        Networks, Outcome,
        grpc::{GrpcProbe, Way},
        http,
        outcome::Fault,
        stage::{Stage, Wait},
        tls::{self, Inside},
    },
};

/// Something that can be checked again and again.
pub(crate) trait Run {
    /// Checks once.
    fn check(&mut self) -> impl Future<Output = Outcome> + Send;
}

/// Checks one target.
#[derive(Debug)]
pub(crate) struct Probe {
    target: Target,
    networks: Networks,
    grpc: GrpcProbe,
}

impl Probe {
    /// Of a target that was never checked: nothing is connected yet. Of all connections of gRPC
    /// checks, so many are kept as there is room for.
    pub(crate) fn new(target: Target, networks: Networks, keeping: Arc<Semaphore>) -> Self {
        Self {
            target,
            networks,
            grpc: GrpcProbe::new(keeping),
        }
    }

    async fn attempt(&mut self, stage: &Stage) -> Result<Outcome, Fault> {
        let Self {
            target,
            networks,
            grpc,
        } = self;
        let own = || authority(&target.address, target.port);
        let tls = target.definition.tls.as_ref();
        // What a redirect to https is followed with.
        let plain = Tls::default();
        match &target.definition.kind {
            CheckKind::Grpc {
                target: named,
                service,
            } => {
                let authority = named.clone().unwrap_or_else(own);
                let limit = target.definition.timeout;
                let way = Way {
                    networks,
                    tls,
                    stage,
                    fault: Mutex::default(),
                };
                grpc.check(&way, &authority, service, limit).await?;
                Ok(Outcome::passing(format!("gRPC check {authority}: success")))
            }
            CheckKind::Tcp { target: named } => {
                let authority = named.clone().unwrap_or_else(own);
                let (stream, _) = networks.connect(&authority, stage).await?;
                if let Some(tls) = tls {
                    stage.wait(Wait::Tls);
                    let host = authority.rsplit_once(':').map_or("", |(host, _)| host);
                    tls::connect(stream, host, tls, Inside::Any).await?;
                }
                Ok(Outcome::passing(format!(
                    "TCP connect {authority}: Success"
                )))
            }
            CheckKind::Http {
                url,
                method,
                headers,
                body,
                follow_redirects,
            } => {
                let request = http::Request {
                    method,
                    headers,
                    body,
                    follow_redirects: *follow_redirects,
                    tls: tls.unwrap_or(&plain),
                    own_host: &target.address,
                };
                http::check(networks, url, &request, stage).await
            }
            // The catalogue asks for the kinds above alone.
            other => Err(format!("{other:?} is not a check that is run").into()),
        }
    }
}

impl Run for Probe {
    async fn check(&mut self) -> Outcome {
        let limit = self.target.definition.timeout;
        let stage = Stage::default();
        let names = self.networks.names().clone();
        let ended = timeout(limit, self.attempt(&stage)).await;
        let outcome = ended.unwrap_or_else(|_| {
            let waited = stage.now();
            let reason = format!("timed out after {limit:?} {}", waited.words());
            Err(match waited {
                Wait::Names => names.silent(&reason),
                _ => reason.into(),
            })
        });
        outcome.unwrap_or_else(Outcome::from)
    }
}

/// HOST:PORT, with an IPv6 address in brackets.
fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ipv6_is_bracketed() {
        assert_eq!(authority("::1", 80), "[::1]:80");
        assert_eq!(authority("127.0.0.1", 80), "127.0.0.1:80");
        assert_eq!(authority("host.example", 80), "host.example:80");
    }
}
