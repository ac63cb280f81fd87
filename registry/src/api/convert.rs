//! From the catalogue's types to the contract's messages.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use mizan_contracts::registry::v1 as pb;
use prost::Message as _;

use crate::{
    api::watch::Answer,
    catalogue::{
        CheckDefinition, CheckKind, CheckView, Entry, Form, Holding, Snapshot, Status, Summary,
        UnixMillis, View,
    },
};

/// An instance with its output-only fields. What its checks say is left out in the view of passing
/// ones: clients that watch those have no use for it.
pub(crate) fn instance(entry: &Entry, view: View) -> pb::Instance {
    let instance = &entry.instance;
    let check_states = match view {
        View::Passing => Vec::new(),
        View::All | View::Registered => {
            let own = entry.checks.iter().map(|check| check_state(check, false));
            let node = entry.node.bound().map(|check| check_state(check, true));
            own.chain(node).collect()
        }
    };
    pb::Instance {
        instance_id: instance.instance_id.clone(),
        node: instance.node.clone(),
        service: instance.service.clone(),
        address: entry.host().to_owned(),
        port: u32::from(instance.port),
        tags: instance.tags.clone(),
        metadata: instance.metadata.to_map(),
        weight: instance.weight,
        zone: instance.zone.clone(),
        check: instance.checks.first().map(|one| check(one)),
        checks: instance
            .checks
            .iter()
            .skip(1)
            .map(|one| check(one))
            .collect(),
        check_states,
        status: status(entry.status).into(),
        status_reason: entry.reason.clone(),
        flapping: entry.flapping,
        takeovers: entry.takeovers,
        takeover_time: entry.takeover_time.map(timestamp),
        register_time: Some(timestamp(entry.register_time)),
        status_time: Some(timestamp(entry.status_time)),
    }
}

/// What is sent to a watcher, encoded: once for all who watch the same without a filter.
pub(crate) fn watched(answer: &Answer, view: View, epoch: &str) -> Bytes {
    let write = |snapshot: &Snapshot, instances: Vec<pb::Instance>| {
        let response = pb::WatchInstancesResponse {
            service: snapshot.service().to_owned(),
            instances,
            revision: snapshot.revision(view),
            registry_epoch: epoch.to_owned(),
        };
        response.encode_to_vec().into()
    };
    let snapshot = &answer.snapshot;
    match &answer.kept {
        Some(kept) => write(snapshot, instances(kept, view)),
        None => snapshot.written(Form::Watched, view, |snapshot| {
            write(snapshot, instances(snapshot.entries(view), view))
        }),
    }
}

/// What is answered to one who lists, encoded: once for all who list the same without a filter.
pub(crate) fn listed(answer: &Answer, view: View) -> Bytes {
    let write = |snapshot: &Snapshot, instances: Vec<pb::Instance>| {
        let response = pb::ListInstancesResponse {
            instances,
            revision: snapshot.revision(view),
        };
        response.encode_to_vec().into()
    };
    let snapshot = &answer.snapshot;
    match &answer.kept {
        Some(kept) => write(snapshot, instances(kept, View::All)),
        None => snapshot.written(Form::Listed, view, |snapshot| {
            write(snapshot, instances(snapshot.entries(view), View::All))
        }),
    }
}

fn instances<'a>(
    entries: impl IntoIterator<Item = &'a Arc<Entry>>,
    view: View,
) -> Vec<pb::Instance> {
    let entries = entries.into_iter();
    entries.map(|entry| instance(entry, view)).collect()
}

/// A service in a list.
pub(crate) fn summary(summary: Summary) -> pb::ServiceSummary {
    let counts = summary.counts;
    pb::ServiceSummary {
        service: summary.service,
        instances: count(counts.total()),
        passing: count(counts.passing),
        warning: count(counts.warning),
        critical: count(counts.critical),
        maintenance: count(counts.maintenance),
        revision: summary.revision,
        guard: summary.guard.map(guard),
    }
}

fn guard(holding: Holding) -> pb::Guard {
    pb::Guard {
        held: count(holding.held),
        since_time: Some(timestamp(holding.since)),
        next_time: Some(timestamp(holding.until)),
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn status(status: Status) -> pb::InstanceStatus {
    match status {
        Status::Passing => pb::InstanceStatus::Passing,
        Status::Warning => pb::InstanceStatus::Warning,
        Status::Critical => pb::InstanceStatus::Critical,
        Status::Maintenance => pb::InstanceStatus::Maintenance,
    }
}

fn check_state(check: &CheckView, of_node: bool) -> pb::CheckState {
    pb::CheckState {
        check_id: check.definition.check_id.clone(),
        status: status(check.status).into(),
        reason: check.reason.clone(),
        output: check.output.clone(),
        status_time: Some(timestamp(check.status_time)),
        of_node,
    }
}

fn check(check: &CheckDefinition) -> pb::HealthCheck {
    let runs = check.is_run();
    pb::HealthCheck {
        kind: Some(kind(check)),
        interval: duration(check.interval).filter(|_| runs),
        timeout: duration(check.timeout).filter(|_| runs),
        check_id: check.check_id.clone(),
        name: check.name.clone(),
        success_before_passing: check.success_before_passing,
        failures_before_warning: check.failures_before_warning,
        failures_before_critical: check.failures_before_critical,
        deregister_critical_after: check.deregister_critical_after.and_then(duration),
    }
}

fn kind(check: &CheckDefinition) -> pb::health_check::Kind {
    use pb::health_check::Kind;
    let tls = || {
        check.tls.as_ref().map(|tls| pb::CheckTls {
            server_name: tls.server_name.clone(),
            skip_verify: tls.skip_verify,
        })
    };
    match &check.kind {
        CheckKind::Grpc { target, service } => Kind::Grpc(pb::GrpcCheck {
            service: service.clone(),
            target: target.clone().unwrap_or_default(),
            tls: tls(),
        }),
        CheckKind::Tcp { target } => Kind::Tcp(pb::TcpCheck {
            target: target.clone().unwrap_or_default(),
            tls: tls(),
        }),
        CheckKind::Http {
            url,
            method,
            headers,
            body,
            follow_redirects,
        } => Kind::Http(pb::HttpCheck {
            url: url.clone(),
            method: method.clone(),
            headers: headers.iter().cloned().collect(),
            body: body.clone(),
            no_redirects: !follow_redirects,
            tls: tls(),
        }),
        CheckKind::Ttl { ttl } => Kind::Ttl(pb::TtlCheck {
            ttl: duration(*ttl),
        }),
        CheckKind::Alias { node, instance_id } => Kind::Alias(pb::AliasCheck {
            node: node.clone(),
            instance_id: instance_id.clone(),
        }),
        CheckKind::Reported => Kind::Reported(pb::ReportedCheck {}),
        CheckKind::Standing => Kind::None(pb::NoCheck {}),
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
