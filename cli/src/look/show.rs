//! What the registry holds, as tables and as JSON.

use std::collections::BTreeMap;

use mizan_contracts::registry::v1 as pb;
use serde::Serialize;

use crate::terminal::{inert, table};

/// A service, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Service {
    service: String,
    passing: u32,
    warning: u32,
    critical: u32,
    maintenance: u32,
    instances: u32,
    revision: u64,
    /// How many expiries the mass-expiry guard holds back.
    #[serde(skip_serializing_if = "Option::is_none")]
    guard_held: Option<u32>,
}

/// The instances of a service, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Listing {
    pub(super) service: String,
    pub(super) revision: u64,
    pub(super) instances: Vec<Instance>,
}

/// An instance, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Instance {
    pub(super) instance_id: String,
    pub(super) address: String,
    pub(super) status: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) status_reason: String,
    weight: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    zone: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    node: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    flapping: bool,
    /// How often another process took its id while it was beating.
    #[serde(skip_serializing_if = "is_zero")]
    takeovers: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checks: Vec<Check>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Instance {
    /// Why it has its status, and what else a person should know of it.
    fn why(&self) -> String {
        let taken = match self.takeovers {
            0 => String::new(),
            1 => "its id was taken over by another process".to_owned(),
            times => format!("its id was taken over {times} times by another process"),
        };
        let words = [&*self.status_reason, &*taken];
        let words: Vec<_> = words
            .into_iter()
            .filter(|words| !words.is_empty())
            .collect();
        words.join("; ")
    }
}

/// The output of a check's last run. It is no change worth a line: all are equal.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Output(String);

impl Output {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Output {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Output {}

/// What a check says, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    check_id: String,
    status: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "Output::is_empty")]
    output: Output,
}

impl From<pb::CheckState> for Check {
    fn from(state: pb::CheckState) -> Self {
        Self {
            status: status(state.status()),
            check_id: state.check_id,
            reason: state.reason,
            output: Output(state.output),
        }
    }
}

impl From<pb::ServiceSummary> for Service {
    fn from(summary: pb::ServiceSummary) -> Self {
        Self {
            service: summary.service,
            passing: summary.passing,
            warning: summary.warning,
            critical: summary.critical,
            maintenance: summary.maintenance,
            guard_held: summary.guard.map(|guard| guard.held),
            instances: summary.instances,
            revision: summary.revision,
        }
    }
}

impl Listing {
    pub(super) fn new(service: String, revision: u64, instances: Vec<pb::Instance>) -> Self {
        Self {
            service,
            revision,
            instances: instances.into_iter().map(Instance::from).collect(),
        }
    }
}

impl From<pb::Instance> for Instance {
    fn from(instance: pb::Instance) -> Self {
        Self {
            status: status(instance.status()),
            address: address(&instance),
            instance_id: instance.instance_id,
            status_reason: instance.status_reason,
            weight: instance.weight.max(1),
            zone: instance.zone,
            tags: instance.tags,
            metadata: instance.metadata,
            node: instance.node,
            flapping: instance.flapping,
            takeovers: instance.takeovers,
            checks: instance.check_states.into_iter().map(Check::from).collect(),
        }
    }
}

/// The HOST:PORT of an instance.
pub(crate) fn address(instance: &pb::Instance) -> String {
    let (host, port) = (&instance.address, instance.port);
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn status(status: pb::InstanceStatus) -> &'static str {
    match status {
        pb::InstanceStatus::Passing => "passing",
        pb::InstanceStatus::Warning => "warning",
        pb::InstanceStatus::Critical => "critical",
        pb::InstanceStatus::Maintenance => "maintenance",
        pb::InstanceStatus::Unspecified => "unknown",
    }
}

/// All services in a line.
pub(super) fn total(services: &[Service]) -> String {
    let sum = |of: fn(&Service) -> u32| services.iter().map(|service| u64::from(of(service))).sum();
    let (passing, instances): (u64, u64) = (sum(|s| s.passing), sum(|s| s.instances));
    format!(
        "{} services, {passing} of {instances} instances passing",
        services.len()
    )
}

/// The table of `mizan services`. What is wrong with a service is said beside it.
pub(super) fn services(services: &[Service]) -> String {
    if services.is_empty() {
        return "no service is registered\n".to_owned();
    }
    let head = ["SERVICE", "PASSING", "INSTANCES", ""];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(services.iter().map(|service| {
        [
            inert(&service.service),
            service.passing.to_string(),
            service.instances.to_string(),
            service.trouble(),
        ]
    }));
    table(&lines)
}

/// Those that are not all well first, the worst of them at the top; then by name.
pub(super) fn sick_first(services: &mut [Service]) {
    services.sort_by(|one, other| {
        let worst = |service: &Service| {
            let held = service.guard_held.unwrap_or(0);
            (service.critical, held, service.warning, service.maintenance)
        };
        let sick = worst(other).cmp(&worst(one));
        sick.then_with(|| one.service.cmp(&other.service))
    });
}

impl Service {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.service
    }

    fn trouble(&self) -> String {
        let counted = [
            (self.warning, "warning"),
            (self.critical, "critical"),
            (self.maintenance, "in maintenance"),
            (self.guard_held.unwrap_or(0), "held back by the guard"),
        ];
        let some = counted.iter().filter(|(count, _)| *count > 0);
        let words: Vec<_> = some
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        words.join(", ")
    }
}

/// The table of `mizan instances`.
pub(super) fn instances(listing: &Listing) -> String {
    if listing.instances.is_empty() {
        return format!("no instances of {}\n", inert(&listing.service));
    }
    let head = ["INSTANCE", "NODE", "ADDRESS", "STATUS", "ZONE", "WHY"];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(listing.instances.iter().map(|instance| {
        [
            inert(&instance.instance_id),
            inert(&instance.node),
            inert(&instance.address),
            instance.status.to_owned(),
            inert(&instance.zone),
            inert(&instance.why()),
        ]
    }));
    table(&lines)
}

/// The lines that tell one snapshot from the one before: what came, what went, what changed.
pub(super) fn changes(before: &[Instance], after: &[Instance]) -> Vec<String> {
    let mut lines = Vec::new();
    for instance in before {
        if find(after, instance).is_none() {
            let line = format!("- {} {}", instance.instance_id, instance.address);
            lines.push(inert(&line));
        }
    }
    for instance in after {
        let sign = match find(before, instance) {
            None => '+',
            Some(same) if same == instance => continue,
            Some(_) => '~',
        };
        let line = format!(
            "{sign} {} {} {} {}",
            instance.instance_id,
            instance.address,
            instance.status,
            instance.why()
        );
        lines.push(inert(&line));
    }
    lines
}

/// The same instance in another snapshot. One id may be on several nodes.
fn find<'a>(all: &'a [Instance], one: &Instance) -> Option<&'a Instance> {
    all.iter()
        .find(|other| other.instance_id == one.instance_id && other.node == one.node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(id: &str, status: pb::InstanceStatus) -> Instance {
        Instance::from(pb::Instance {
            instance_id: id.to_owned(),
            address: "127.0.0.1".to_owned(),
            port: 50_081,
            status: status.into(),
            ..pb::Instance::default()
        })
    }

    #[test]
    fn a_change_is_what_came_what_went_and_what_is_different() {
        use pb::InstanceStatus::{Critical, Passing};
        let before = [
            instance("a", Passing),
            instance("b", Passing),
            instance("c", Passing),
        ];
        let after = [
            instance("b", Critical),
            instance("c", Passing),
            instance("d", Passing),
        ];
        assert_eq!(
            changes(&before, &after),
            [
                "- a 127.0.0.1:50081",
                "~ b 127.0.0.1:50081 critical",
                "+ d 127.0.0.1:50081 passing",
            ]
        );
        assert!(changes(&after, &after).is_empty());
    }

    #[test]
    fn what_a_check_was_answered_moves_no_cursor_and_is_whole_in_json() {
        let page = format!("\x1b[2J<html>\n{}", "x".repeat(400));
        let one = Instance {
            status_reason: page.clone(),
            node: "mizan".to_owned(),
            takeovers: 2,
            ..instance("a", pb::InstanceStatus::Critical)
        };
        let listing = Listing {
            service: "s".to_owned(),
            revision: 1,
            instances: vec![one.clone()],
        };
        let shown = instances(&listing);
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines.len(), 2, "{shown}");
        assert!(
            !shown.contains('\x1b') && lines[0].contains("NODE"),
            "{shown}"
        );
        assert!(
            lines[1].contains("mizan") && lines[1].contains('…'),
            "{shown}"
        );
        let told = changes(&[], std::slice::from_ref(&one));
        assert!(
            !told[0].contains('\x1b') && !told[0].contains('\n'),
            "{told:?}"
        );
        let json = serde_json::to_value(&one).unwrap();
        assert_eq!(json["status_reason"], page);
        assert_eq!(json["takeovers"], 2);
        let calm = Instance {
            status_reason: String::new(),
            ..one
        };
        assert_eq!(
            calm.why(),
            "its id was taken over 2 times by another process"
        );
    }

    #[test]
    fn one_id_on_two_nodes_is_two_instances() {
        use pb::InstanceStatus::{Critical, Passing};
        let on = |node: &str, status| Instance {
            node: node.to_owned(),
            ..instance("a", status)
        };
        let before = [on("one", Passing), on("two", Critical)];
        assert!(changes(&before, &before).is_empty());
        assert_eq!(changes(&before, &before[..1]), ["- a 127.0.0.1:50081"]);
    }

    #[test]
    fn what_is_wrong_with_a_service_is_said_beside_it() {
        let one = |name: &str, critical, maintenance| {
            Service::from(pb::ServiceSummary {
                service: name.to_owned(),
                instances: 3,
                passing: 1,
                critical,
                maintenance,
                ..pb::ServiceSummary::default()
            })
        };
        assert_eq!(
            services(&[one("a", 0, 0), one("b", 1, 1)]),
            "SERVICE  PASSING  INSTANCES\na        1        3\n\
             b        1        3          1 critical, 1 in maintenance\n"
        );
        assert_eq!(
            total(&[one("a", 0, 0), one("b", 1, 1)]),
            "2 services, 2 of 6 instances passing"
        );
        assert_eq!(services(&[]), "no service is registered\n");
        let nobody = Listing::new("gone".to_owned(), 7, Vec::new());
        assert_eq!(instances(&nobody), "no instances of gone\n");
    }

    #[test]
    fn an_ipv6_address_is_told_from_its_port() {
        let instance = pb::Instance {
            address: "::1".to_owned(),
            port: 8500,
            ..pb::Instance::default()
        };
        assert_eq!(address(&instance), "[::1]:8500");
    }

    #[test]
    fn json_leaves_out_what_is_empty() {
        let shown = instance("a", pb::InstanceStatus::Passing);
        assert_eq!(
            serde_json::to_string(&shown).unwrap(),
            r#"{"instance_id":"a","address":"127.0.0.1:50081","status":"passing","weight":1}"#
        );
    }
}
