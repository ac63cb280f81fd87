//! One check of one instance.

use tokio::{net::TcpStream, time::timeout};

use crate::{
    catalogue::{CheckKind, Target},
    check::{grpc::GrpcProbe, reason},
};

/// Checks one target, again and again.
#[derive(Debug)]
pub(crate) struct Probe {
    target: Target,
    grpc: GrpcProbe,
}

impl Probe {
    /// Of a target that was never checked: nothing is connected yet.
    pub(crate) fn new(target: Target) -> Self {
        let grpc = GrpcProbe::new(authority(&target.address, target.port));
        Self { target, grpc }
    }

    /// Checks once; a failure comes with its reason.
    pub(crate) async fn check(&mut self) -> Result<(), String> {
        let limit = self.target.check.timeout;
        timeout(limit, self.attempt())
            .await
            .unwrap_or_else(|_| Err(format!("timed out after {limit:?}")))
    }

    async fn attempt(&mut self) -> Result<(), String> {
        let target = &self.target;
        match &target.check.kind {
            CheckKind::Grpc { service } => self.grpc.check(service, target.check.timeout).await,
            CheckKind::Tcp => TcpStream::connect((target.address.as_str(), target.port))
                .await
                .map(drop)
                .map_err(|error| reason::readable(&error.to_string())),
            CheckKind::None => Ok(()),
        }
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
