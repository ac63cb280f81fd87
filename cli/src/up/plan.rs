//! What `mizan up` starts, where it listens, and in which order it drains.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mizan::args::local;

/// The services, each with the port of its first instance; the second takes the next one up.
const SERVICES: [(&str, u16, Group); 4] = [
    ("zakat", zakat_svc::DEFAULT_PORT, Group::Behind),
    ("invoice", invoice_svc::DEFAULT_PORT, Group::Behind),
    ("accounting", accounting_svc::DEFAULT_PORT, Group::Behind),
    ("payment", payment_svc::DEFAULT_PORT, Group::Front),
];

/// How many instances each service gets: the fewest of which one can be lost.
const INSTANCES: u16 = 2;

/// The registry's name among the processes.
pub(super) const REGISTRY: &str = "registry";

/// What drains together, in the order of draining: who calls others goes before whom it calls, and
/// the registry, by which all find each other, goes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// Payment, which calls the others.
    Front,
    /// The services that payment calls.
    Behind,
    /// The registry.
    Registry,
}

impl Group {
    /// All groups, in the order of draining.
    pub(super) const ALL: [Self; 3] = [Self::Front, Self::Behind, Self::Registry];
}

/// One process of the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Its name, which is its instance id in the registry: `zakat-1`.
    pub(super) name: String,
    /// The service, which is the subcommand that runs it.
    pub(super) service: &'static str,
    pub(super) listen: SocketAddr,
    pub(super) group: Group,
}

/// All processes: the registry first.
pub(super) fn members(registry: SocketAddr, ephemeral_ports: bool) -> Vec<Member> {
    let mut members = vec![Member {
        name: REGISTRY.to_owned(),
        service: REGISTRY,
        listen: registry,
        group: Group::Registry,
    }];
    for (service, first_port, group) in SERVICES {
        for index in 0..INSTANCES {
            let port = if ephemeral_ports {
                0
            } else {
                first_port + index
            };
            members.push(Member {
                name: format!("{service}-{}", index + 1),
                service,
                listen: local(port),
                group,
            });
        }
    }
    members
}

/// The names of the services.
pub(super) fn services() -> Vec<String> {
    SERVICES
        .iter()
        .map(|(name, ..)| (*name).to_owned())
        .collect()
}

/// How others reach what listens there: a wildcard address is not one to connect to.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_each_service_and_the_registry_on_their_ports() {
        let members = members(local(8500), false);
        let shown: Vec<String> = members
            .iter()
            .map(|m| format!("{} {}", m.name, m.listen.port()))
            .collect();
        assert_eq!(
            shown,
            [
                "registry 8500",
                "zakat-1 50051",
                "zakat-2 50052",
                "invoice-1 50061",
                "invoice-2 50062",
                "accounting-1 50071",
                "accounting-2 50072",
                "payment-1 50081",
                "payment-2 50082",
            ]
        );
    }

    #[test]
    fn ephemeral_ports_are_for_services_only() {
        let members = members(local(9000), true);
        assert_eq!(members[0].listen.port(), 9000);
        assert!(members[1..].iter().all(|m| m.listen.port() == 0));
    }

    #[test]
    fn a_wildcard_is_reached_by_loopback() {
        let reached = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:8500"), "127.0.0.1:8500");
        assert_eq!(reached("[::]:8500"), "[::1]:8500");
        assert_eq!(reached("10.0.0.1:8500"), "10.0.0.1:8500");
    }
}
