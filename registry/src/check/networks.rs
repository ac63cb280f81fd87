//! Where checks may go. A registration makes the registry open connections; on a shared network
//! that is a way to look around where the one who registers cannot.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;
use mizan::connection::{Connector, Tcp, Transport};

use crate::{
    catalogue::{CheckDefinition, CheckKind, Instance, Node},
    check::{
        names::Names,
        outcome::Fault,
        stage::{Stage, Wait},
    },
};

/// What clouds tell a machine about itself, its keys among it, that is not link-local: Amazon's by IPv6,
/// Alibaba's, Oracle's old one, Azure's.
const METADATA: [&str; 4] = [
    "fd00:ec2::254",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
];

/// Names that stand for the same.
const METADATA_NAMES: [&str; 5] = [
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
];

/// The networks that checks may go to; with none named, all but those of the machine's own.
#[derive(Debug, Clone)]
pub(crate) struct Networks {
    allowed: Arc<[IpNet]>,
    /// Allowed beside those.
    further: Arc<[IpNet]>,
    /// What the connections of checks are made of.
    connector: Arc<dyn Connector>,
    names: Names,
}

/// Where a check may not go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Forbidden {
    /// Not in one of the networks.
    #[error("{0} is outside of the networks that may be checked")]
    Outside(IpAddr),
    /// The machine's own.
    #[error(
        "{0} is a link-local address or one of a cloud's metadata, and is not checked unless --allow-check-address names it"
    )]
    Local(Place),
}

/// An address, or a name that stands for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Address(IpAddr),
    Name(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Default for Networks {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Networks {
    /// These; with none, all but those of the machine's own.
    pub(crate) fn new(allowed: &[IpNet]) -> Self {
        Self {
            allowed: allowed.into(),
            further: Arc::new([]),
            connector: Arc::new(Tcp),
            names: Names::default(),
        }
    }

    /// These too, whatever they are.
    pub(crate) fn and(mut self, further: &[IpNet]) -> Self {
        self.further = further.into();
        self
    }

    /// The same, with connections of another make.
    pub(crate) fn over(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = connector;
        self
    }

    /// What names stand for.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// What forbids a check to go there. An IPv4 address in IPv6 clothes is taken for what it is.
    fn judge(&self, ip: IpAddr) -> Result<(), Forbidden> {
        let (said, ip) = (ip.to_canonical(), unclothed(ip));
        let within = |networks: &[IpNet]| {
            let holds = |network: &IpNet| network.contains(&said) || network.contains(&ip);
            networks.iter().any(holds)
        };
        if within(&self.further) || within(&self.allowed) {
            Ok(())
        } else if !self.allowed.is_empty() {
            Err(Forbidden::Outside(ip))
        } else if is_local(ip) {
            Err(Forbidden::Local(Place::Address(ip)))
        } else {
            Ok(())
        }
    }

    /// Why checks of this registration may not go where they would, as far as it is known already.
    /// Names are looked up, and judged, when the check runs.
    pub(crate) fn forbidden(&self, instance: &Instance) -> Option<Forbidden> {
        let run = instance.checks.iter().filter(|check| check.is_run());
        let hosts = run.map(|check| target_host(&check.kind).unwrap_or(&instance.address));
        self.first_forbidden(hosts)
    }

    /// The same, of a node.
    pub(crate) fn forbidden_of(&self, node: &Node) -> Option<Forbidden> {
        let run = node.checks.iter().filter(|check| check.is_run());
        let hosts = run.map(|check| target_host(&check.kind).unwrap_or(&node.address));
        self.first_forbidden(hosts)
    }

    /// The same, of one check with a target of its own.
    pub(crate) fn forbidden_check(&self, check: &CheckDefinition) -> Option<Forbidden> {
        self.first_forbidden(target_host(&check.kind).into_iter())
    }

    fn first_forbidden<'a>(&self, mut hosts: impl Iterator<Item = &'a str>) -> Option<Forbidden> {
        hosts.find_map(|host| match host.parse() {
            Ok(ip) => self.judge(ip).err(),
            Err(_) => self.judge_name(host),
        })
    }

    /// The names that are known for what they stand for. All are judged by that when they are looked
    /// up; these are refused at once, where nobody may go to what they mean.
    fn judge_name(&self, host: &str) -> Option<Forbidden> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let usual = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
        let known = METADATA_NAMES.contains(&&*host) && self.judge(usual).is_err();
        known.then_some(Forbidden::Local(Place::Name(host)))
    }

    /// The addresses behind HOST:PORT that checks may go to: at least one.
    pub(crate) async fn resolve(&self, target: &str) -> Result<Vec<SocketAddr>, Fault> {
        let found = self.names.look_up(target).await?;
        let mut allowed = Vec::with_capacity(found.len());
        let mut forbidden = None;
        for at in found {
            match self.judge(at.ip()) {
                Ok(()) => allowed.push(at),
                Err(why) => forbidden = forbidden.or(Some(why)),
            }
        }
        match (forbidden, allowed.is_empty()) {
            (Some(why), true) => Err(why.to_string().into()),
            (None, true) => Err(format!("{target} has no address").into()),
            (_, false) => Ok(allowed),
        }
    }

    /// Connects to the first address behind HOST:PORT that answers, and tells which.
    pub(crate) async fn connect(
        &self,
        target: &str,
        stage: &Stage,
    ) -> Result<(Box<dyn Transport>, IpAddr), Fault> {
        stage.wait(Wait::Names);
        let addresses = self.resolve(target).await?;
        stage.wait(Wait::Connection);
        let mut last = Fault::from(format!("{target} has no address"));
        for at in addresses {
            match self.connector.connect(&at.to_string()).await {
                Ok(stream) => return Ok((stream, at.ip())),
                Err(error) => last = Fault::of(&error),
            }
        }
        Err(last)
    }
}

/// The IPv4 address that an IPv6 address leads to: mapped or compatible (RFC 4291, 2.5.5), by NAT64
/// (RFC 6052 and 8215), by 6to4 (RFC 3056). Any other is itself.
fn unclothed(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip.to_canonical() else {
        return ip.to_canonical();
    };
    let [a, b, c, d, e, f, high, low] = v6.segments();
    let (high, low) = match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0] if high > 0 => (high, low),
        [0x64, 0xff9b, 0, 0, 0, 0] | [0x64, 0xff9b, 1, ..] => (high, low),
        [0x2002, high, low, ..] => (high, low),
        _ => return v6.into(),
    };
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)).into()
}

/// Whether an address is the machine's own: link-local, or what a cloud tells it about itself.
fn is_local(ip: IpAddr) -> bool {
    let known = METADATA.iter().any(|known| known.parse() == Ok(ip));
    known
        || match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
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
        for ip in ["192.0.2.1", "127.0.0.1", "10.0.0.1", "::1", "fd00::1"] {
            assert_eq!(networks(&[]).judge(ip.parse().unwrap()), Ok(()), "{ip}");
        }
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
            assert_eq!(networks.judge(ip.parse().unwrap()).is_ok(), allowed, "{ip}");
        }
    }

    #[test]
    fn the_machines_own_addresses_are_not_checked_unless_they_are_named() {
        let local = [
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "168.63.129.16",
        ];
        for ip in local {
            let ip: IpAddr = ip.parse().unwrap();
            assert!(networks(&[]).judge(ip).is_err(), "{ip}");
            let named: IpNet = ip.to_canonical().into();
            assert_eq!(networks(&[]).and(&[named]).judge(ip), Ok(()), "{ip}");
            // Named as a network that checks are restricted to, too.
            assert_eq!(Networks::new(&[named]).judge(ip), Ok(()), "{ip}");
        }
        let check = |url: &str| {
            let kind = CheckKind::Http {
                url: url.to_owned(),
                method: "GET".to_owned(),
                headers: Vec::new(),
                body: String::new(),
                follow_redirects: true,
            };
            networks(&[]).first_forbidden(target_host(&kind).into_iter())
        };
        assert!(check("http://169.254.169.254/latest/meta-data/").is_some());
        assert!(check("http://u:p@[fe80::1]:80/").is_some());
        assert!(check("http://Metadata.Google.Internal./computeMetadata/v1/").is_some());
        assert!(check("http://metadata.example/").is_none());
        let all: IpNet = "169.254.0.0/16".parse().unwrap();
        let allowed = networks(&[]).and(&[all]);
        assert_eq!(allowed.judge_name("metadata.google.internal"), None);
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
                .reason
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
