//! Where checks may go. A registration makes the registry open connections; on a shared network
//! that is a way to look around where the one who registers cannot.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;
use mizan::connection::{Connector, Tcp};
use tokio::net::{TcpStream, lookup_host};

use crate::{
    catalogue::{CheckDefinition, CheckKind, Instance, Node},
    check::reason::readable,
};

/// The networks that checks may go to; with none named, all.
#[derive(Debug, Clone)]
pub(crate) struct Networks {
    allowed: Arc<[IpNet]>,
    /// What the connections of gRPC checks are made of.
    connector: Arc<dyn Connector>,
}

impl Default for Networks {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Networks {
    /// These; with none, all.
    pub(crate) fn new(allowed: &[IpNet]) -> Self {
        Self {
            allowed: allowed.into(),
            connector: Arc::new(Tcp),
        }
    }

    /// The same, with connections of another make.
    pub(crate) fn over(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = connector;
        self
    }

    /// What the connections of gRPC checks are made of.
    pub(crate) fn connector(&self) -> &dyn Connector {
        &*self.connector
    }

    /// Whether there are any that checks may not go to.
    pub(crate) fn are_restricted(&self) -> bool {
        !self.allowed.is_empty()
    }

    /// Whether a check may go there. An IPv4 address in IPv6 clothes is taken for what it is.
    pub(crate) fn allow(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.allowed.is_empty() || self.allowed.iter().any(|network| network.contains(&ip))
    }

    /// The address that checks of this registration may not go to, if there is one that is known
    /// already. Names are looked up, and judged, when the check runs.
    pub(crate) fn forbidden(&self, instance: &Instance) -> Option<IpAddr> {
        let run = instance.checks.iter().filter(|check| check.is_run());
        let hosts = run.map(|check| target_host(&check.kind).unwrap_or(&instance.address));
        self.first_forbidden(hosts)
    }

    /// The same, of a node.
    pub(crate) fn forbidden_of(&self, node: &Node) -> Option<IpAddr> {
        let run = node.checks.iter().filter(|check| check.is_run());
        let hosts = run.map(|check| target_host(&check.kind).unwrap_or(&node.address));
        self.first_forbidden(hosts)
    }

    /// The same, of one check with a target of its own.
    pub(crate) fn forbidden_check(&self, check: &CheckDefinition) -> Option<IpAddr> {
        self.first_forbidden(target_host(&check.kind).into_iter())
    }

    fn first_forbidden<'a>(&self, hosts: impl Iterator<Item = &'a str>) -> Option<IpAddr> {
        let mut literal = hosts.filter_map(|host| host.parse().ok());
        literal.find(|ip| !self.allow(*ip))
    }

    /// The addresses behind HOST:PORT that checks may go to: at least one.
    pub(crate) async fn resolve(&self, target: &str) -> Result<Vec<SocketAddr>, String> {
        let found = lookup_host(target).await;
        let found: Vec<_> = found.map_err(|e| readable(&e.to_string()))?.collect();
        let allowed: Vec<_> = found
            .iter()
            .filter(|at| self.allow(at.ip()))
            .copied()
            .collect();
        match (found.first(), allowed.is_empty()) {
            (None, _) => Err(format!("{target} has no address")),
            (Some(first), true) => Err(format!(
                "{} is outside of the networks that may be checked",
                first.ip()
            )),
            (Some(_), false) => Ok(allowed),
        }
    }

    /// Connects to the first address behind HOST:PORT that answers.
    pub(crate) async fn connect(&self, target: &str) -> Result<TcpStream, String> {
        let addresses = self.resolve(target).await?;
        let connected: io::Result<_> = TcpStream::connect(&*addresses).await;
        connected.map_err(|error| readable(&error.to_string()))
    }
}

/// The host that a check names itself, without brackets and port.
fn target_host(kind: &CheckKind) -> Option<&str> {
    let authority = match kind {
        CheckKind::Grpc { target, .. } | CheckKind::Tcp { target } => target.as_deref()?,
        CheckKind::Http { url, .. } => {
            let (_, rest) = url.split_once("://")?;
            rest.split(['/', '?', '#']).next()?
        }
        _ => return None,
    };
    let authority = authority.rsplit('@').next()?;
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split(':').next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(allowed: &[&str]) -> Networks {
        let allowed: Vec<IpNet> = allowed.iter().map(|net| net.parse().unwrap()).collect();
        Networks::new(&allowed)
    }

    #[test]
    fn without_networks_all_are_allowed() {
        assert!(networks(&[]).allow("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn only_addresses_in_a_network_are_allowed() {
        let networks = networks(&["10.0.0.0/8", "fd00::/8"]);
        for (ip, allowed) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("fd00::1", true),
            ("127.0.0.1", false),
            ("::ffff:127.0.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(networks.allow(ip.parse().unwrap()), allowed, "{ip}");
        }
    }

    #[test]
    fn the_host_of_a_target_is_found_in_each_form() {
        let http = |url: &str| CheckKind::Http {
            url: url.to_owned(),
            method: "GET".to_owned(),
            headers: Vec::new(),
            body: String::new(),
            follow_redirects: true,
        };
        let tcp = |target: &str| CheckKind::Tcp {
            target: Some(target.to_owned()),
        };
        assert_eq!(target_host(&http("http://10.0.0.1:80/x")), Some("10.0.0.1"));
        assert_eq!(target_host(&http("https://[::1]:80/x")), Some("::1"));
        assert_eq!(target_host(&http("http://u:p@[::1]/x")), Some("::1"));
        assert_eq!(target_host(&tcp("h:1")), Some("h"));
        assert_eq!(target_host(&tcp("[::1]:1")), Some("::1"));
        assert_eq!(target_host(&CheckKind::Reported), None);
    }

    #[tokio::test]
    async fn a_name_is_judged_by_its_addresses() {
        let refused = networks(&["10.0.0.0/8"]).resolve("localhost:1").await;
        assert!(
            refused
                .unwrap_err()
                .ends_with("outside of the networks that may be checked")
        );
        assert!(
            networks(&["127.0.0.0/8", "::1/128"])
                .resolve("localhost:1")
                .await
                .is_ok()
        );
    }
}
