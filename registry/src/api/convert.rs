//! Between the contract's messages and the catalogue's types.

use std::time::Duration;

use mizan_contracts::registry::v1 as pb;

use crate::catalogue::{
    Candidate, CandidateCheck, CheckDefinition, CheckKind, Entry, Naming, Snapshot, Status,
    Summary, UnixMillis, View,
};

/// Nanoseconds of a second.
const NANOS: i128 = 1_000_000_000;

/// A registration as it came. Without a check it has the contract's default one; without a node,
/// the registry's own.
pub(crate) fn candidate(instance: pb::Instance, local_node: &str) -> Candidate {
    let check = instance.check.map(candidate_check).unwrap_or_default();
    Candidate {
        naming: Naming::Mizan,
        node: local_node.to_owned(),
        instance_id: instance.instance_id,
        service: instance.service,
        address: instance.address,
        port: instance.port,
        tags: instance.tags,
        metadata: instance.metadata,
        weight: instance.weight,
        zone: instance.zone,
        checks: vec![("check".to_owned(), check)],
        ..Candidate::default()
    }
}

fn candidate_check(check: pb::HealthCheck) -> CandidateCheck {
    let nanos = |d: prost_types::Duration| i128::from(d.seconds) * NANOS + i128::from(d.nanos);
    CandidateCheck {
        kind: check.kind.map(|kind| match kind {
            pb::health_check::Kind::Grpc(grpc) => CheckKind::Grpc {
                target: None,
                service: grpc.service,
            },
            pb::health_check::Kind::Tcp(_) => CheckKind::Tcp { target: None },
            pb::health_check::Kind::None(_) => CheckKind::Standing,
        }),
        interval_nanos: check.interval.map(nanos),
        timeout_nanos: check.timeout.map(nanos),
        ..CandidateCheck::default()
    }
}

/// An instance with its output-only fields.
pub(crate) fn instance(entry: &Entry) -> pb::Instance {
    let instance = &entry.instance;
    let status = match entry.status {
        Status::Passing => pb::InstanceStatus::Passing,
        Status::Warning => pb::InstanceStatus::Warning,
        Status::Critical | Status::Maintenance => pb::InstanceStatus::Critical,
    };
    pb::Instance {
        instance_id: instance.instance_id.clone(),
        service: instance.service.clone(),
        address: instance.address.clone(),
        port: u32::from(instance.port),
        tags: instance.tags.clone(),
        metadata: instance.metadata.clone(),
        weight: instance.weight,
        zone: instance.zone.clone(),
        check: instance.checks.first().map(|one| check(one)),
        status: status.into(),
        status_reason: entry.reason.clone(),
        register_time: Some(timestamp(entry.register_time)),
        status_time: Some(timestamp(entry.status_time)),
    }
}

/// The instances of a view, by instance id.
pub(crate) fn instances(snapshot: &Snapshot, view: View) -> Vec<pb::Instance> {
    snapshot
        .entries(view)
        .map(|entry| instance(entry))
        .collect()
}

/// A service in a list.
pub(crate) fn summary(summary: Summary) -> pb::ServiceSummary {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    pb::ServiceSummary {
        service: summary.service,
        instances: count(summary.counts.total()),
        passing: count(summary.counts.passing),
        revision: summary.revision,
    }
}

fn check(check: &CheckDefinition) -> pb::HealthCheck {
    let kind = match &check.kind {
        CheckKind::Grpc { service, .. } => pb::health_check::Kind::Grpc(pb::GrpcCheck {
            service: service.clone(),
        }),
        CheckKind::Tcp { .. } => pb::health_check::Kind::Tcp(pb::TcpCheck {}),
        _ => pb::health_check::Kind::None(pb::NoCheck {}),
    };
    pb::HealthCheck {
        kind: Some(kind),
        interval: duration(check.interval),
        timeout: duration(check.timeout),
    }
}

fn duration(duration: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(duration).ok()
}

fn timestamp(UnixMillis(millis): UnixMillis) -> prost_types::Timestamp {
    let (seconds, millis) = (millis / 1000, millis % 1000);
    prost_types::Timestamp {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: i32::try_from(millis).unwrap_or(0) * 1_000_000,
    }
}
