//! What an owner says: nodes, instances and how they are checked. Valid by construction of
//! [`Candidate`](crate::catalogue::Candidate); two equal ones are the same registration.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::catalogue::{Pairs, Status};

/// A point in time, in milliseconds since 1970, from a clock that never goes back.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(crate) struct UnixMillis(pub(crate) u64);

impl UnixMillis {
    /// That much later.
    pub(crate) fn after(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// How long ago `earlier` was; nothing when it is still to come.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Names an instance: the registry knows it by its node and its id. Consul's clients reuse one id
/// on many nodes, so the id alone would not do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Key {
    /// The node's name.
    pub(crate) node: String,
    /// Unique on its node.
    pub(crate) id: String,
}

impl Key {
    /// The key of an instance on a node.
    pub(crate) fn new(node: impl Into<String>, id: impl Into<String>) -> Self {
        let (node, id) = (node.into(), id.into());
        Self { node, id }
    }
}

/// Whose check, or whose maintenance: an instance's own, or a node's, which counts for every
/// instance on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Owner {
    /// One instance.
    Instance(Key),
    /// A node, by its name.
    Node(String),
}

/// A machine, or whatever else instances share the fate of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Node {
    /// Unique in the registry.
    pub(crate) name: String,
    /// A UUID when its owner gave one, else empty.
    pub(crate) id: String,
    /// Where its instances are that name no address of their own; may be empty.
    pub(crate) address: String,
    /// Free pairs.
    pub(crate) metadata: BTreeMap<String, String>,
    /// Further addresses, by what they are for, such as `wan`.
    pub(crate) tagged_addresses: BTreeMap<String, String>,
    /// Checks that count for each of its instances, unless they are detached.
    pub(crate) checks: Vec<Arc<CheckDefinition>>,
    /// Where it is, as Consul's clients say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) locality: Option<Locality>,
}

/// Where something is, in Consul's words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Locality {
    pub(crate) region: String,
    pub(crate) zone: String,
}

/// One of several ports of an instance, in Consul's words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NamedPort {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) default: bool,
}

impl Node {
    /// Whether instances on it are told the same of both: what counts for none is left out.
    pub(crate) fn same_for_instances(&self, other: &Self) -> bool {
        let bound = |node: &Self| {
            let checks = node.checks.iter().filter(|check| !check.detached);
            checks.cloned().collect::<Vec<_>>()
        };
        let Self {
            name,
            id,
            address,
            metadata,
            tagged_addresses,
            checks: _,
            locality,
        } = self;
        (name, id, address) == (&other.name, &other.id, &other.address)
            && *metadata == other.metadata
            && *tagged_addresses == other.tagged_addresses
            && *locality == other.locality
            && bound(self) == bound(other)
    }
}

/// A valid registration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Instance {
    /// The node it is on.
    pub(crate) node: String,
    /// Unique on its node.
    pub(crate) instance_id: String,
    /// The service it belongs to.
    pub(crate) service: String,
    /// An IP address or a DNS name; empty when the node's counts (Consul's API alone).
    pub(crate) address: String,
    /// The TCP port; 0 when it has none (Consul's API alone).
    pub(crate) port: u16,
    /// Free labels.
    pub(crate) tags: Vec<String>,
    /// Free pairs.
    pub(crate) metadata: Pairs,
    /// The share of the load while passing, at least 1.
    pub(crate) weight: u32,
    /// The share of the load while warning, as Consul counts it. Nothing: 1.
    pub(crate) warning_weight: Option<u32>,
    /// The failure zone, or empty.
    pub(crate) zone: String,
    /// Further addresses and their ports, by what they are for (Consul's API alone).
    pub(crate) tagged_addresses: BTreeMap<String, (String, u16)>,
    /// Kept for Consul's clients, which read back what they wrote; it has no effect here.
    pub(crate) enable_tag_override: bool,
    /// Where it is, as Consul's clients say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) locality: Option<Locality>,
    /// All its ports, when it has several (Consul's API alone).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ports: Vec<NamedPort>,
    /// A Unix socket that it listens on, or empty. Only told: nobody here connects to one (Consul's API
    /// alone).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) socket_path: String,
    /// How it is checked; each id once. Without any it is passing for as long as it is registered.
    pub(crate) checks: Vec<Arc<CheckDefinition>>,
}

impl Instance {
    /// Its key.
    pub(crate) fn key(&self) -> Key {
        Key::new(&*self.node, &*self.instance_id)
    }
}

/// How something is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckDefinition {
    /// Unique among the checks of its owner.
    pub(crate) check_id: String,
    /// For people; may be empty.
    pub(crate) name: String,
    /// For people; may be empty.
    pub(crate) notes: String,
    /// What is asked.
    pub(crate) kind: CheckKind,
    /// How often; of kinds that the registry runs.
    pub(crate) interval: Duration,
    /// How long one run may take; at most the interval.
    pub(crate) timeout: Duration,
    /// Successes in a row before a failing check passes; at least 1.
    pub(crate) success_before_passing: u32,
    /// Failures in a row before it warns; at least 1, at most the next.
    pub(crate) failures_before_warning: u32,
    /// Failures in a row before it is critical; at least 1.
    pub(crate) failures_before_critical: u32,
    /// How long the check may be critical before the instance is removed; no floor. Nothing: for
    /// ever.
    pub(crate) deregister_critical_after: Option<Duration>,
    /// What it is before its first result. Nothing: critical.
    pub(crate) initial: Option<Status>,
    /// How TLS is spoken with what is asked. Nothing: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<Tls>,
    /// Of a node: whether it counts for no instance on it, and is only shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) detached: bool,
}

impl CheckKind {
    /// The word for it: what a check of this kind is called that was given no id.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Grpc { .. } => "grpc",
            Self::Http { .. } => "http",
            Self::Tcp { .. } => "tcp",
            Self::Ttl { .. } => "ttl",
            Self::Alias { .. } => "alias",
            Self::Reported => "reported",
            Self::Standing => "heartbeat",
        }
    }

    /// Whether what a check of this kind said holds for the other: both are told the same, or ask
    /// the same target, however they do it.
    pub(crate) fn says_for(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http { url: this, .. }, Self::Http { url: that, .. }) => this == that,
            (Self::Ttl { .. }, Self::Ttl { .. }) => true,
            _ => self == other,
        }
    }
}

/// How a check speaks TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tls {
    /// The name that the certificate must be for, and that is asked for (SNI). Empty: the target's
    /// host.
    pub(crate) server_name: String,
    /// Whether any certificate will do.
    pub(crate) skip_verify: bool,
}

impl CheckDefinition {
    /// Whether it asks at its owner's own address, so that it is another one when that changes.
    pub(crate) fn asks_its_owner(&self) -> bool {
        use CheckKind::{Grpc, Tcp};
        matches!(self.kind, Grpc { target: None, .. } | Tcp { target: None })
    }

    /// Whether the registry runs it, as opposed to being told.
    pub(crate) fn is_run(&self) -> bool {
        use CheckKind::{Grpc, Http, Tcp};
        matches!(self.kind, Grpc { .. } | Http { .. } | Tcp { .. })
    }
}

/// What a check asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CheckKind {
    /// `grpc.health.v1.Health/Check`.
    Grpc {
        /// HOST:PORT; nothing for the instance's own address.
        target: Option<String>,
        /// The service asked about; empty for the whole server.
        service: String,
    },
    /// An HTTP request: 2xx passes, 429 warns, everything else is critical.
    Http {
        /// With its scheme, `http` or `https`.
        url: String,
        /// `GET` unless another was given.
        method: String,
        /// Sent as they are; a name may come more than once.
        headers: Vec<(String, String)>,
        /// Sent as it is; may be empty.
        body: String,
        /// Whether redirects are followed, as Consul does.
        follow_redirects: bool,
    },
    /// Whether a TCP connection opens.
    Tcp {
        /// HOST:PORT; nothing for the instance's own address.
        target: Option<String>,
    },
    /// Nothing: its owner reports, at least this often.
    Ttl {
        /// How long a report counts.
        ttl: Duration,
    },
    /// What another instance's, or node's, own checks say; aliases among them do not count, so
    /// that no circle of aliases can hold itself up.
    Alias {
        /// The other's node.
        node: String,
        /// The other instance; empty for the node itself.
        instance_id: String,
    },
    /// Nothing: somebody reports, when they like.
    Reported,
    /// Nothing: registering says that it lives, and a heartbeat stream that breaks that it does not.
    Standing,
}
