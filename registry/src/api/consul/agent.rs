//! `/v1/agent`: what a client tells "its agent", which is the registry's own node.

use std::{collections::BTreeMap, sync::Arc};

use axum::body::Body;
use http::{HeaderName, HeaderValue, Response};
use serde_json::json;
use tokio::time::Instant;

use super::{
    Consul,
    blocking::{Head, done, json, too_many_wait},
    catalog_write::keep,
    definition,
    filter::{Kind, Selectors},
    health::CHECK,
    input::Fields,
    list::Narrow,
    query::Query,
    refusal::Refusal,
    shapes::{self, Check, DATACENTER, NODE_MAINTENANCE, Reader, Service},
};
use crate::{
    catalogue::{
        CandidateCheck, CheckDefinition, CheckKind, CheckRef, Entry, Key, NodeView, Owner, Status,
        View, limits, validate_checks,
    },
    registry::Watched,
};

/// What is told as the reason of maintenance when nobody gives one.
const NO_REASON: &str = "taken out for maintenance; no reason was given";

/// What there is to select in an instance.
pub(super) const SERVICE: Selectors = &[
    ("Kind", Kind::Text),
    ("ID", Kind::Text),
    ("Service", Kind::Text),
    ("Tags", Kind::List),
    ("Address", Kind::Text),
    ("Port", Kind::Text),
    ("Meta", Kind::Map),
    ("Weights.Passing", Kind::Text),
    ("Weights.Warning", Kind::Text),
    ("EnableTagOverride", Kind::Text),
];

/// What there is to select in a member.
const MEMBER: Selectors = &[
    ("Name", Kind::Text),
    ("Addr", Kind::Text),
    ("Port", Kind::Text),
    ("Tags", Kind::Map),
    ("Status", Kind::Text),
    ("ProtocolMin", Kind::Text),
    ("ProtocolMax", Kind::Text),
    ("ProtocolCur", Kind::Text),
    ("DelegateMin", Kind::Text),
    ("DelegateMax", Kind::Text),
    ("DelegateCur", Kind::Text),
];

/// What Consul's clients call all of its network segments.
const ALL_SEGMENTS: &str = "_all";

impl Consul {
    /// `PUT /v1/agent/service/register`: answers once it is durable.
    pub(super) async fn register_service(
        &self,
        query: &Query,
        body: &[u8],
    ) -> Result<Response<Body>, Refusal> {
        let fields = Fields::parse(body)?;
        let candidate = definition::service(&fields, self.registry.local_node())?;
        let mut instance = candidate
            .validate()
            .map_err(|found| Refusal::fields("Invalid service", &found))?;
        let replace = matches!(query.get("replace-existing-checks"), Some("" | "true"));
        // Checks that are not named again stay (Consul's rule).
        if !replace && let Some(held) = self.registry.entry(&instance.key()) {
            keep(&mut instance.checks, &held.instance.checks);
        }
        self.registry.register(instance, None).await?;
        Ok(done())
    }

    /// `PUT /v1/agent/service/deregister/:id`.
    pub(super) async fn deregister_service(&self, id: &str) -> Result<Response<Body>, Refusal> {
        let key = self.find_service(id)?;
        if self.registry.deregister(&key, None).await?.removed {
            Ok(done())
        } else {
            Err(unknown(id))
        }
    }

    /// `PUT /v1/agent/service/maintenance/:id`.
    pub(super) async fn service_maintenance(
        &self,
        query: &Query,
        id: &str,
    ) -> Result<Response<Body>, Refusal> {
        let reason = reason(query)?;
        let owner = Owner::Instance(self.find_service(id)?);
        self.registry.set_maintenance(&owner, reason).await?;
        Ok(done())
    }

    /// `PUT /v1/agent/maintenance`. The registry's own node is the agent of every client, so what one
    /// of them says of "its" node is shown, and takes nobody's services out.
    pub(super) async fn node_maintenance(&self, query: &Query) -> Result<Response<Body>, Refusal> {
        let reason = reason(query)?;
        let owner = Owner::Node(self.registry.local_node().to_owned());
        let Some(reason) = reason else {
            let check_id = NODE_MAINTENANCE.to_owned();
            let check = CheckRef { owner, check_id };
            self.registry.remove_check(&check).await?;
            return Ok(done());
        };
        let candidate = CandidateCheck {
            check_id: NODE_MAINTENANCE.to_owned(),
            name: "Node Maintenance Mode".to_owned(),
            notes: reason.clone(),
            kind: Some(CheckKind::Reported),
            initial: Some(Status::Critical),
            detached: true,
            ..CandidateCheck::default()
        };
        let mut found = Vec::new();
        let checks = vec![("Check".to_owned(), candidate)];
        let Some(check) = validate_checks(checks, false, &mut found).pop() else {
            return Err(Refusal::fields("Invalid check", &found));
        };
        let check = CheckDefinition::clone(&check);
        self.registry.put_check(&owner, check).await?;
        let check_id = NODE_MAINTENANCE.to_owned();
        let check = CheckRef { owner, check_id };
        // Gone again meanwhile, it has nothing to say.
        let _ = self.registry.report(&check, Status::Critical, &reason);
        Ok(done())
    }

    /// `/v1/agent/services`, by id.
    pub(super) async fn agent_services(&self, query: &Query) -> Result<Response<Body>, Refusal> {
        let filter = self.filter(query, SERVICE).await?;
        let entries = || {
            let local = self.registry.node(self.registry.local_node());
            local.map_or_else(Vec::new, |(_, entries)| entries)
        };
        let shape = |entry: &Arc<Entry>, made: &mut Vec<_>| made.push(shapes::of_agent(entry));
        let by_id = |services: Vec<Service>| {
            let services = services.into_iter();
            let by_id = services.map(|service| (service.id.clone(), service));
            by_id.collect::<BTreeMap<_, _>>()
        };
        let asked = (filter, Narrow::default());
        self.arranged(Head::new(query), asked, entries, Box::new(shape), by_id)
            .await
    }

    /// `/v1/agent/service/:id`: with `?hash`, waits until the registration is another than the one
    /// of that hash.
    pub(super) async fn agent_service(
        &self,
        query: &Query,
        id: &str,
    ) -> Result<Response<Body>, Refusal> {
        let until = self.until(query)?;
        loop {
            let key = self.find_service(id)?;
            let entry = self.registry.entry(&key).ok_or_else(|| unknown(id))?;
            let watched = Watched::Service(entry.instance.service.clone(), View::Registered);
            let held = self.registry.revision(&watched);
            // Once more, behind the revision: what is read may be newer than it, never older.
            let entry = self.registry.entry(&key).ok_or_else(|| unknown(id))?;
            let service = shapes::agent_service(&entry);
            let same = query.get("hash") == Some(&*service.content_hash);
            if !same || Instant::now() >= until || self.registry.stopping().is_cancelled() {
                let mut response = json(query, &service)?;
                if let Ok(hash) = HeaderValue::from_str(&service.content_hash) {
                    let name = HeaderName::from_static("x-consul-contenthash");
                    response.headers_mut().insert(name, hash);
                }
                return Ok(response);
            }
            let Ok(_admitted) = self.waiting.try_acquire() else {
                return Err(too_many_wait());
            };
            self.registry.changed(&watched, held, until).await;
        }
    }

    /// `/v1/agent/checks`, by id.
    pub(super) async fn agent_checks(&self, query: &Query) -> Result<Response<Body>, Refusal> {
        let filter = self.filter(query, CHECK).await?;
        let checked = || self.checked(self.registry.local_node());
        let by_id = |checks: Vec<Check>| {
            let checks = checks.into_iter();
            let by_id = checks.map(|check| (check.check_id.clone(), check));
            by_id.collect::<BTreeMap<_, _>>()
        };
        let asked = (filter, Narrow::default());
        let checks = self.checks("any", Reader::Agent);
        self.arranged(Head::new(query), asked, checked, checks, by_id)
            .await
    }

    /// `/v1/agent/self`: what clients look for before they do anything else.
    pub(super) fn agent_self(&self, query: &Query) -> Result<Response<Body>, Refusal> {
        let name = self.registry.local_node();
        let node = self.registry.node(name);
        let id = node.as_ref().map(|(view, _)| shapes::node_id(view));
        let meta = node.map(|(view, _)| view.node.metadata.clone());
        json(
            query,
            &json!({
                "Config": {
                    "Datacenter": DATACENTER,
                    "PrimaryDatacenter": DATACENTER,
                    "NodeName": name,
                    "NodeID": id,
                    "Partition": "",
                    "Revision": "",
                    "Server": true,
                    "Version": env!("CARGO_PKG_VERSION"),
                    "BuildDate": "1970-01-01T00:00:00Z",
                },
                "DebugConfig": {
                    "Datacenter": DATACENTER,
                    "NodeName": name,
                    "NodeID": id,
                    "ServerMode": true,
                    "Revision": "",
                    "Version": env!("CARGO_PKG_VERSION"),
                },
                // Of a network of one.
                "Coord": {"Adjustment": 0, "Error": 1.5, "Height": 0.000_01, "Vec": [0, 0, 0, 0, 0, 0, 0, 0]},
                "Member": self.member(),
                "Stats": {},
                "Meta": meta.unwrap_or_default(),
            }),
        )
    }

    /// `/v1/agent/members`: with any value of `wan`, as the data centres know them.
    pub(super) async fn agent_members(&self, query: &Query) -> Result<Response<Body>, Refusal> {
        let filter = self.filter(query, MEMBER).await?;
        let wan = query.get("wan").is_some_and(|wan| !wan.is_empty());
        let segment = query.get("segment").unwrap_or_default();
        if wan && !matches!(segment, "" | ALL_SEGMENTS) {
            return Err(Refusal::bad("Cannot provide a segment with wan=true"));
        }
        let local = || {
            let local = self.registry.node(self.registry.local_node());
            local.map_or_else(Vec::new, |(view, _)| vec![view])
        };
        let port = self.address.port();
        let shape = move |view: &Arc<NodeView>, made: &mut Vec<_>| {
            made.push(member(&view.node.name, Some(&view.node.address), port, wan));
        };
        let all = |members: Vec<serde_json::Value>| members;
        let asked = (filter, Narrow::default());
        self.arranged(Head::new(query), asked, local, Box::new(shape), all)
            .await
    }

    fn member(&self) -> serde_json::Value {
        let name = self.registry.local_node();
        let node = self.registry.node(name);
        let address = node.map(|(view, _)| view.node.address.clone());
        member(name, address.as_deref(), self.address.port(), false)
    }

    /// On the registry's own node: an agent knows of no other.
    pub(super) fn find_service(&self, id: &str) -> Result<Key, Refusal> {
        self.registry.find_on("", id).ok_or_else(|| unknown(id))
    }
}

/// A member of Consul's gossip, in whose wide area names have their data centre.
fn member(name: &str, address: Option<&str>, port: u16, wan: bool) -> serde_json::Value {
    let behind = if wan {
        format!(".{DATACENTER}")
    } else {
        String::new()
    };
    json!({
        "Name": format!("{name}{behind}"),
        "Addr": address,
        "Port": port,
        "Tags": {"dc": DATACENTER, "role": "consul"},
        // Alive, in the words of Consul's gossip; and the versions that it speaks.
        "Status": 1,
        "ProtocolMin": 1,
        "ProtocolMax": 5,
        "ProtocolCur": 2,
        "DelegateMin": 2,
        "DelegateMax": 5,
        "DelegateCur": 4,
    })
}

/// The reason of maintenance; none when it ends.
fn reason(query: &Query) -> Result<Option<String>, Refusal> {
    if !query.enable()? {
        return Ok(None);
    }
    let reason = query.get("reason").filter(|reason| !reason.is_empty());
    let reason = reason.unwrap_or(NO_REASON);
    let most = limits::MAINTENANCE_CHARS_MAX;
    if reason.chars().count() > most {
        let text = format!("Invalid value for reason: must be at most {most} characters");
        return Err(Refusal::bad(text));
    }
    Ok(Some(reason.to_owned()))
}

pub(super) fn unknown(id: &str) -> Refusal {
    Refusal::not_found(format!(
        "Unknown service ID \"{id}\". Ensure that the service ID is passed, not the service name."
    ))
}
