//! What is answered, in the exact spelling that Consul's clients read.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::duration;
use crate::catalogue::{self, CheckView, Entry, Instance, NOT_CHECKED, NodeView};

/// The one data centre there is.
pub(super) const DATACENTER: &str = "dc1";

/// The check that Consul has on every node with an agent. Some clients take an instance without any
/// check for unhealthy, so every node has it here too, but those that somebody wrote into the catalogue.
const NODE_CHECK: &str = "serfHealth";

/// The check by which Consul's clients know a node in maintenance.
pub(super) const NODE_MAINTENANCE: &str = "_node_maintenance";

type Pairs = BTreeMap<String, String>;

/// A node, as in `/v1/catalog/nodes` and beside a service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Node {
    #[serde(rename = "ID")]
    id: String,
    node: String,
    address: String,
    datacenter: &'static str,
    tagged_addresses: Pairs,
    meta: Pairs,
    #[serde(skip_serializing_if = "Option::is_none")]
    locality: Option<Locality>,
    create_index: u64,
    modify_index: u64,
}

/// Where something is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Locality {
    #[serde(skip_serializing_if = "String::is_empty")]
    region: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    zone: String,
}

/// One of several ports.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NamedPort {
    name: String,
    port: u16,
    default: bool,
}

/// What a service gets of the load.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Weights {
    passing: u32,
    warning: u32,
}

/// One of a service's further addresses.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Place {
    address: String,
    port: u16,
}

/// An instance, as in `/v1/agent/services` and beside its node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Service {
    /// Always empty, as that of every service that is no proxy; clients filter by it.
    kind: &'static str,
    #[serde(rename = "ID")]
    pub(super) id: String,
    service: String,
    tags: Vec<String>,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tagged_addresses: Option<BTreeMap<String, Place>>,
    meta: Pairs,
    port: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    socket_path: String,
    weights: Weights,
    enable_tag_override: bool,
    datacenter: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<NamedPort>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locality: Option<Locality>,
    /// What an agent answers has them only of a service that is in the mesh: some clients read of an
    /// empty one that the service is not registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<Nothing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<Nothing>,
    peer_name: &'static str,
    /// None in what an agent answers: Consul's know of none.
    #[serde(skip_serializing_if = "Option::is_none")]
    create_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modify_index: Option<u64>,
}

/// An instance, as in `/v1/agent/service/:id`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AgentService {
    #[serde(flatten)]
    service: Service,
    /// Names what was registered: another hash, another registration.
    pub(super) content_hash: String,
}

/// An instance with its node, as in `/v1/catalog/service`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CatalogService {
    #[serde(rename = "ID")]
    id: String,
    node: String,
    address: String,
    datacenter: &'static str,
    tagged_addresses: Pairs,
    node_meta: Pairs,
    service_kind: &'static str,
    #[serde(rename = "ServiceID")]
    service_id: String,
    service_name: String,
    service_tags: Vec<String>,
    service_address: String,
    service_tagged_addresses: BTreeMap<String, Place>,
    service_weights: Weights,
    service_meta: Pairs,
    service_port: u16,
    service_socket_path: String,
    service_enable_tag_override: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    service_ports: Vec<NamedPort>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_locality: Option<Locality>,
    service_proxy: Nothing,
    service_connect: Nothing,
    create_index: u64,
    modify_index: u64,
}

impl CatalogService {
    /// The service's name, and the tags of this instance.
    pub(super) fn into_tags(self) -> (String, Vec<String>) {
        (self.service_name, self.service_tags)
    }
}

/// An instance with its node and all its checks, as in `/v1/health/service`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ServiceEntry {
    node: Node,
    service: Service,
    checks: Vec<Check>,
}

/// A check, as in `/v1/health/checks`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Check {
    node: String,
    #[serde(rename = "CheckID")]
    pub(super) check_id: String,
    name: String,
    pub(super) status: &'static str,
    notes: String,
    output: String,
    #[serde(rename = "ServiceID")]
    service_id: String,
    service_name: String,
    service_tags: Vec<String>,
    r#type: &'static str,
    interval: String,
    timeout: String,
    exposed_port: u16,
    definition: Nothing,
    create_index: u64,
    modify_index: u64,
}

/// `{}`: clients read objects of features that there are not here.
#[derive(Debug, Default, Serialize)]
pub(super) struct Nothing {}

/// A node.
pub(super) fn node(view: &NodeView) -> Node {
    let node = &view.node;
    Node {
        id: node_id(view),
        node: node.name.clone(),
        address: node.address.clone(),
        datacenter: DATACENTER,
        tagged_addresses: node_addresses(view),
        meta: node.metadata.clone(),
        locality: node.locality.as_ref().map(locality),
        create_index: view.create_revision,
        modify_index: view.modify_revision,
    }
}

/// An instance.
pub(super) fn service(entry: &Entry) -> Service {
    let instance = &entry.instance;
    Service {
        kind: "",
        id: instance.instance_id.clone(),
        service: instance.service.clone(),
        tags: instance.tags.clone(),
        address: instance.address.clone(),
        tagged_addresses: Some(places(instance)),
        meta: instance.metadata.to_map(),
        port: instance.port,
        socket_path: instance.socket_path.clone(),
        weights: weights(instance),
        enable_tag_override: instance.enable_tag_override,
        datacenter: DATACENTER,
        ports: ports(instance),
        locality: instance.locality.as_ref().map(locality),
        proxy: Some(Nothing {}),
        connect: Some(Nothing {}),
        peer_name: "",
        create_index: Some(entry.create_revision),
        modify_index: Some(entry.modify_revision),
    }
}

/// An instance, as its agent tells it.
pub(super) fn of_agent(entry: &Entry) -> Service {
    let service = service(entry);
    Service {
        tagged_addresses: service.tagged_addresses.filter(|held| !held.is_empty()),
        proxy: None,
        connect: None,
        create_index: None,
        modify_index: None,
        ..service
    }
}

fn ports(instance: &Instance) -> Vec<NamedPort> {
    let ports = instance.ports.iter();
    ports
        .map(|one| NamedPort {
            name: one.name.clone(),
            port: one.port,
            default: one.default,
        })
        .collect()
}

fn locality(given: &catalogue::Locality) -> Locality {
    Locality {
        region: given.region.clone(),
        zone: given.zone.clone(),
    }
}

/// An instance with the hash of what was registered.
pub(super) fn agent_service(entry: &Entry) -> AgentService {
    let service = of_agent(entry);
    let content = serde_json::to_vec(&service).unwrap_or_default();
    let digest = Sha256::digest(&content);
    let content_hash = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
    AgentService {
        service,
        content_hash,
    }
}

/// An instance with its node.
pub(super) fn catalog_service(entry: &Entry) -> CatalogService {
    let (instance, view) = (&entry.instance, &entry.node);
    CatalogService {
        id: node_id(view),
        node: view.node.name.clone(),
        address: view.node.address.clone(),
        datacenter: DATACENTER,
        tagged_addresses: node_addresses(view),
        node_meta: view.node.metadata.clone(),
        service_kind: "",
        service_id: instance.instance_id.clone(),
        service_name: instance.service.clone(),
        service_tags: instance.tags.clone(),
        service_address: instance.address.clone(),
        service_tagged_addresses: places(instance),
        service_weights: weights(instance),
        service_meta: instance.metadata.to_map(),
        service_port: instance.port,
        service_socket_path: instance.socket_path.clone(),
        service_enable_tag_override: instance.enable_tag_override,
        service_ports: ports(instance),
        service_locality: instance.locality.as_ref().map(locality),
        service_proxy: Nothing {},
        service_connect: Nothing {},
        create_index: entry.create_revision,
        modify_index: entry.modify_revision,
    }
}

/// An instance with its node and all checks that count for it.
pub(super) fn service_entry(entry: &Entry, local: &str) -> ServiceEntry {
    let mut checks = node_checks(&entry.node, Reader::Instance, local);
    checks.extend(service_checks(entry));
    ServiceEntry {
        node: node(&entry.node),
        service: service(entry),
        checks,
    }
}

/// Who reads the checks of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// One who asks its agent what was registered with it.
    Agent,
    /// One who asks for the node.
    Node,
    /// One who asks for an instance on it: those that count for it.
    Instance,
}

/// The checks of a node itself: its own, the one that every node has, and maintenance as the check
/// that Consul's clients know it by. `local` is the registry's own node.
pub(super) fn node_checks(view: &NodeView, reader: Reader, local: &str) -> Vec<Check> {
    let index = view.modify_revision;
    let stated = |check_id: &str, name: &str, status, output: &str| Check {
        node: view.node.name.clone(),
        check_id: check_id.to_owned(),
        name: name.to_owned(),
        status,
        output: output.to_owned(),
        create_index: view.create_revision,
        modify_index: index,
        ..Check::empty()
    };
    let mut checks = Vec::with_capacity(2 + view.checks.len());
    let own = view.checks.iter();
    let own = own.filter(|own| reader != Reader::Instance || !own.definition.detached);
    // Only who writes a node says where it is: the others became known by what is on them.
    let written = view.node.name != local && !view.node.address.is_empty();
    let named = |own: &std::sync::Arc<CheckView>| own.definition.check_id == NODE_CHECK;
    if reader != Reader::Agent && !written && !own.clone().any(named) {
        let output = "there are no agents: the registry checks the instances itself";
        checks.push(stated(NODE_CHECK, "Serf Health Status", "passing", output));
    }
    checks.extend(own.map(|own| Check {
        node: view.node.name.clone(),
        create_index: view.create_revision,
        modify_index: index,
        ..check(own)
    }));
    if let Some(reason) = &view.maintenance {
        let name = "Node Maintenance Mode";
        let check = stated(NODE_MAINTENANCE, name, "critical", reason);
        checks.push(Check {
            notes: reason.clone(),
            ..check
        });
    }
    checks
}

/// The checks of an instance itself. Maintenance, and flapping, are told as checks: clients put
/// the status together from those.
pub(super) fn service_checks(entry: &Entry) -> Vec<Check> {
    let instance = &entry.instance;
    let of_this = |check: Check| Check {
        node: instance.node.clone(),
        service_id: instance.instance_id.clone(),
        service_name: instance.service.clone(),
        service_tags: instance.tags.clone(),
        create_index: entry.create_revision,
        modify_index: entry.modify_revision,
        ..check
    };
    let stated = |kind: &str, name: &str, status, output: &str| {
        of_this(Check {
            check_id: format!("{kind}:{}", instance.instance_id),
            name: name.to_owned(),
            status,
            output: output.to_owned(),
            ..Check::empty()
        })
    };
    let own = entry.checks.iter();
    let mut checks: Vec<_> = own.map(|own| of_this(check(own))).collect();
    if entry.flapping {
        checks.push(stated("_flapping", "Flapping", "warning", &entry.reason));
    }
    if let Some(reason) = &entry.maintenance {
        let name = "Service Maintenance Mode";
        let check = stated("_service_maintenance", name, "critical", reason);
        checks.push(Check {
            notes: reason.clone(),
            ..check
        });
    }
    checks
}

impl Check {
    fn empty() -> Self {
        Self {
            node: String::new(),
            check_id: String::new(),
            name: String::new(),
            status: "passing",
            notes: String::new(),
            output: String::new(),
            service_id: String::new(),
            service_name: String::new(),
            service_tags: Vec::new(),
            r#type: "",
            interval: String::new(),
            timeout: String::new(),
            exposed_port: 0,
            definition: Nothing {},
            create_index: 0,
            modify_index: 0,
        }
    }
}

fn check(view: &CheckView) -> Check {
    let definition = &view.definition;
    let runs = definition.is_run();
    let time = |time| {
        if runs {
            duration::format(time)
        } else {
            String::new()
        }
    };
    Check {
        check_id: definition.check_id.clone(),
        name: definition.name.clone(),
        status: view.status.word(),
        notes: definition.notes.clone(),
        // Consul's new checks say nothing.
        output: match &*view.output {
            NOT_CHECKED if !view.checked => String::new(),
            output => output.to_owned(),
        },
        r#type: definition.kind.word(),
        interval: time(definition.interval),
        timeout: time(definition.timeout),
        ..Check::empty()
    }
}

/// Some clients tell instances apart by their node's id, so there is always one, and the same.
pub(super) fn node_id(view: &NodeView) -> String {
    if view.node.id.is_empty() {
        let name = view.node.name.as_bytes();
        return Uuid::new_v5(&Uuid::NAMESPACE_DNS, name).to_string();
    }
    view.node.id.clone()
}

fn node_addresses(view: &NodeView) -> Pairs {
    let node = &view.node;
    let mut addresses = node.tagged_addresses.clone();
    let family = match node.address.parse() {
        Ok(IpAddr::V4(_)) => ["lan_ipv4", "wan_ipv4"].as_slice(),
        Ok(IpAddr::V6(_)) => ["lan_ipv6", "wan_ipv6"].as_slice(),
        Err(_) => &[],
    };
    for tag in ["lan", "wan"].iter().chain(family) {
        let held = addresses.entry((*tag).to_owned());
        held.or_insert_with(|| node.address.clone());
    }
    addresses
}

fn places(instance: &Instance) -> BTreeMap<String, Place> {
    let given = instance.tagged_addresses.iter();
    let mut places: BTreeMap<_, _> = given
        .map(|(tag, (address, port))| {
            let (address, port) = (address.clone(), *port);
            (tag.clone(), Place { address, port })
        })
        .collect();
    let tags = match instance.address.parse() {
        Ok(IpAddr::V4(_)) => ["lan_ipv4", "wan_ipv4"],
        Ok(IpAddr::V6(_)) => ["lan_ipv6", "wan_ipv6"],
        Err(_) => return places,
    };
    for tag in tags {
        places.entry(tag.to_owned()).or_insert_with(|| Place {
            address: instance.address.clone(),
            port: instance.port,
        });
    }
    places
}

fn weights(instance: &Instance) -> Weights {
    Weights {
        passing: instance.weight,
        warning: instance.warning_weight.unwrap_or(1),
    }
}
