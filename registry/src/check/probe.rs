//! One run of one check.

use std::future::Future;

use tokio::time::timeout;

use crate::{
    catalogue::{CheckKind, Target, Tls},
    check::{
        Networks, Outcome,
        grpc::{GrpcProbe, Way},
        http,
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
    /// Of a target that was never checked: nothing is connected yet.
    pub(crate) fn new(target: Target, networks: Networks) -> Self {
        Self {
            target,
            networks,
            grpc: GrpcProbe::default(),
        }
    }

    async fn attempt(&mut self) -> Outcome {
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
                let way = Way { networks, tls };
                match grpc.check(&way, &authority, service, limit).await {
                    Ok(()) => Outcome::passing(format!("gRPC check {authority}: success")),
                    Err(reason) => Outcome::critical(reason),
                }
            }
            CheckKind::Tcp { target: named } => {
                let authority = named.clone().unwrap_or_else(own);
                let connected = networks.connect(&authority).await;
                let spoken = match (connected, tls) {
                    (Ok(stream), Some(tls)) => {
                        let host = authority.rsplit_once(':').map_or("", |(host, _)| host);
                        let shaken = tls::connect(stream, host, tls, Inside::Any).await;
                        shaken.map(drop)
                    }
                    (connected, _) => connected.map(drop),
                };
                match spoken {
                    Ok(()) => Outcome::passing(format!("TCP connect {authority}: Success")),
                    Err(reason) => Outcome::critical(reason),
                }
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
                };
                http::check(networks, url, &request).await
            }
            // The catalogue asks for the kinds above alone.
            other => Outcome::critical(format!("{other:?} is not a check that is run")),
        }
    }
}

impl Run for Probe {
    async fn check(&mut self) -> Outcome {
        let limit = self.target.definition.timeout;
        timeout(limit, self.attempt())
            .await
            .unwrap_or_else(|_| Outcome::critical(format!("timed out after {limit:?}")))
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
