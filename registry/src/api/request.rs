//! From the contract's messages to the catalogue's types.

use std::{collections::BTreeMap, time::Duration};

use mizan::status::Violations;
use mizan_contracts::registry::v1::{self as pb, InstanceStatus};

use crate::catalogue::{
    Candidate, CandidateCheck, CheckKind, Entry, Naming, Status, Tls, View, Violation, limits,
};

/// Nanoseconds of a second.
const NANOS: i128 = 1_000_000_000;

/// Characters of the name of a process's life.
const LIFE_CHARS_MAX: usize = 64;

/// A life, if one is named.
pub(crate) fn life(life: &str) -> Option<&str> {
    Some(life).filter(|life| !life.is_empty())
}

/// What is wrong with the name of a life.
pub(crate) fn check_life(field: &str, life: &str) -> Option<Violation> {
    let plain = life.len() <= LIFE_CHARS_MAX && life.chars().all(|c| c.is_ascii_graphic());
    (!plain).then(|| {
        let rule = format!("must be at most {LIFE_CHARS_MAX} visible ASCII characters");
        Violation::new(field, rule)
    })
}

/// A registration as it came. Without a check it has the contract's default one; without a node,
/// the registry's own.
pub(crate) fn candidate(instance: pb::Instance, local_node: &str) -> Candidate {
    let own = || local_node.to_owned();
    let mut checks = Vec::with_capacity(1 + instance.checks.len());
    if instance.check.is_some() || instance.checks.is_empty() {
        let check = instance.check.unwrap_or_default();
        checks.push(("check".to_owned(), candidate_check(check, local_node)));
    }
    for (index, check) in instance.checks.into_iter().enumerate() {
        checks.push((
            format!("checks[{index}]"),
            candidate_check(check, local_node),
        ));
    }
    Candidate {
        naming: Naming::Mizan,
        node: Some(instance.node)
            .filter(|node| !node.is_empty())
            .unwrap_or_else(own),
        instance_id: instance.instance_id,
        service: instance.service,
        address: instance.address,
        port: instance.port,
        tags: instance.tags,
        metadata: instance.metadata,
        weight: instance.weight,
        zone: instance.zone,
        checks,
        ..Candidate::default()
    }
}

fn candidate_check(check: pb::HealthCheck, local_node: &str) -> CandidateCheck {
    let tls = check.kind.as_ref().and_then(tls);
    CandidateCheck {
        check_id: check.check_id,
        name: check.name,
        notes: String::new(),
        detached: false,
        kind: check.kind.map(|kind| check_kind(kind, local_node)),
        interval_nanos: check.interval.map(nanos),
        timeout_nanos: check.timeout.map(nanos),
        success_before_passing: check.success_before_passing,
        failures_before_warning: check.failures_before_warning,
        failures_before_critical: check.failures_before_critical,
        deregister_critical_after_nanos: check.deregister_critical_after.map(nanos),
        initial: None,
        tls,
    }
}

fn tls(kind: &pb::health_check::Kind) -> Option<Tls> {
    use pb::health_check::Kind;
    let asked = match kind {
        Kind::Grpc(grpc) => grpc.tls.as_ref(),
        Kind::Tcp(tcp) => tcp.tls.as_ref(),
        Kind::Http(http) => http.tls.as_ref(),
        Kind::None(_) | Kind::Ttl(_) | Kind::Alias(_) | Kind::Reported(_) => None,
    };
    asked.map(|tls| Tls {
        server_name: tls.server_name.clone(),
        skip_verify: tls.skip_verify,
    })
}

fn check_kind(kind: pb::health_check::Kind, local_node: &str) -> CheckKind {
    use pb::health_check::Kind;
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    match kind {
        Kind::Grpc(grpc) => CheckKind::Grpc {
            target: given(grpc.target),
            service: grpc.service,
        },
        Kind::Tcp(tcp) => CheckKind::Tcp {
            target: given(tcp.target),
        },
        Kind::Http(http) => CheckKind::Http {
            url: http.url,
            method: given(http.method).unwrap_or_else(|| "GET".to_owned()),
            headers: http.headers.into_iter().collect(),
            body: http.body,
            follow_redirects: !http.no_redirects,
        },
        Kind::Ttl(ttl) => {
            let nanos = ttl.ttl.map_or(0, nanos);
            // What does not fit is outside of the bounds, as zero is.
            let ttl = u64::try_from(nanos).map_or(Duration::ZERO, Duration::from_nanos);
            CheckKind::Ttl { ttl }
        }
        Kind::Alias(alias) => CheckKind::Alias {
            node: given(alias.node).unwrap_or_else(|| local_node.to_owned()),
            instance_id: alias.instance_id,
        },
        Kind::Reported(_) => CheckKind::Reported,
        Kind::None(_) => CheckKind::Standing,
    }
}

fn nanos(duration: prost_types::Duration) -> i128 {
    i128::from(duration.seconds) * NANOS + i128::from(duration.nanos)
}

/// What a check may be reported to say.
pub(crate) fn reported(status: i32) -> Option<Status> {
    match InstanceStatus::try_from(status) {
        Ok(InstanceStatus::Passing) => Some(Status::Passing),
        Ok(InstanceStatus::Warning) => Some(Status::Warning),
        Ok(InstanceStatus::Critical) => Some(Status::Critical),
        Ok(InstanceStatus::Maintenance | InstanceStatus::Unspecified) | Err(_) => None,
    }
}

/// Which instances of a view to answer with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    tags: Vec<String>,
    zone: String,
    metadata: BTreeMap<String, String>,
    statuses: Vec<Status>,
}

impl Filter {
    /// The filter of a request, and the view that it looks at.
    pub(crate) fn read(
        filter: Option<pb::InstanceFilter>,
        include_unhealthy: bool,
        violations: &mut Violations,
    ) -> (Self, View) {
        let filter = filter.unwrap_or_default();
        let few = |n: usize, most: usize| n <= most;
        violations.require(
            few(filter.tags.len(), limits::TAGS_MAX),
            "filter.tags",
            "are too many",
        );
        let pairs = few(filter.metadata.len(), limits::METADATA_MAX);
        violations.require(pairs, "filter.metadata", "has too many pairs");
        let mut statuses = Vec::new();
        for (index, status) in filter.statuses.iter().take(8).enumerate() {
            match (reported(*status), InstanceStatus::try_from(*status)) {
                (Some(status), _) => statuses.push(status),
                (None, Ok(InstanceStatus::Maintenance)) => statuses.push(Status::Maintenance),
                _ => violations.add(format!("filter.statuses[{index}]"), "is not a status"),
            }
        }
        violations.require(
            few(filter.statuses.len(), 8),
            "filter.statuses",
            "are too many",
        );
        let view = match (&*statuses, include_unhealthy) {
            ([Status::Passing], _) | ([], false) => View::Passing,
            _ => View::All,
        };
        let read = Self {
            tags: filter.tags,
            zone: filter.zone,
            metadata: filter.metadata,
            statuses,
        };
        (read, view)
    }

    /// Whether it keeps everything.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the answer holds this instance.
    pub(crate) fn keeps(&self, entry: &Entry) -> bool {
        let instance = &entry.instance;
        let mut pairs = self.metadata.iter();
        (self.zone.is_empty() || self.zone == instance.zone)
            && (self.statuses.is_empty() || self.statuses.contains(&entry.status))
            && self.tags.iter().all(|tag| instance.tags.contains(tag))
            && pairs.all(|(key, value)| instance.metadata.get(key) == Some(&**value))
    }
}
