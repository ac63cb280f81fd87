//! `/v1/catalog`: what was registered, whatever its health.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::body::Body;
use http::Response;
use serde_json::json;

use super::{
    Consul,
    blocking::indexed,
    filter::{Kind, Selectors},
    health::{has_tag, keeps},
    query::Query,
    refusal::Refusal,
    shapes,
};
use crate::{
    catalogue::{Entry, View},
    registry::Watched,
};

/// What there is to select in an instance with its node.
const SERVICE: Selectors = &[
    ("ID", Kind::Text),
    ("Node", Kind::Text),
    ("Address", Kind::Text),
    ("Datacenter", Kind::Text),
    ("TaggedAddresses", Kind::Map),
    ("NodeMeta", Kind::Map),
    ("ServiceKind", Kind::Text),
    ("ServiceID", Kind::Text),
    ("ServiceName", Kind::Text),
    ("ServiceTags", Kind::List),
    ("ServiceAddress", Kind::Text),
    ("ServicePort", Kind::Text),
    ("ServiceMeta", Kind::Map),
    ("ServiceWeights.Passing", Kind::Text),
    ("ServiceWeights.Warning", Kind::Text),
    ("ServiceEnableTagOverride", Kind::Text),
];

/// What there is to select in a node.
const NODE: Selectors = &[
    ("ID", Kind::Text),
    ("Node", Kind::Text),
    ("Address", Kind::Text),
    ("Datacenter", Kind::Text),
    ("TaggedAddresses", Kind::Map),
    ("Meta", Kind::Map),
];

impl Consul {
    /// `/v1/catalog/services`: names with the tags that any instance carries.
    pub(super) async fn catalog_services(&self, query: &Query) -> Result<Response<Body>, Refusal> {
        let filter = query.filter(SERVICE)?;
        if filter.is_empty() && !query.has("node-meta") {
            let index = self.index(query, &Watched::Services).await?;
            let services: BTreeMap<_, _> = self.registry.tags().into_iter().collect();
            return indexed(query, index, &services);
        }
        // What decides here is more than names and tags.
        let index = self.index(query, &Watched::Registrations).await?;
        let mut services: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for snapshot in self.registry.snapshots(0) {
            for entry in snapshot.entries(View::Registered) {
                let kept = query.keeps_node(&entry.node);
                if kept && keeps(&filter, &shapes::catalog_service(entry)) {
                    let tags = services.entry(entry.instance.service.clone()).or_default();
                    tags.extend(entry.instance.tags.iter().cloned());
                }
            }
        }
        indexed(query, index, &services)
    }

    /// `/v1/catalog/service/:name`.
    pub(super) async fn catalog_service(
        &self,
        query: &Query,
        name: &str,
    ) -> Result<Response<Body>, Refusal> {
        let filter = query.filter(SERVICE)?;
        let watched = Watched::Service(name.to_owned(), View::Registered);
        let index = self.index(query, &watched).await?;
        let snapshot = self.registry.snapshot(name);
        let services = snapshot
            .entries(View::Registered)
            .filter(|entry| query.keeps_node(&entry.node))
            .filter(|entry| {
                query
                    .all("tag")
                    .all(|tag| has_tag(&entry.instance.tags, tag))
            })
            .map(|entry| shapes::catalog_service(entry))
            .filter(|service| keeps(&filter, service));
        indexed(query, index, &services.collect::<Vec<_>>())
    }

    /// `/v1/catalog/nodes`.
    pub(super) async fn catalog_nodes(&self, query: &Query) -> Result<Response<Body>, Refusal> {
        let filter = query.filter(NODE)?;
        let index = self.index(query, &Watched::Nodes).await?;
        let nodes = self.registry.nodes().into_iter();
        let nodes = nodes
            .filter(|node| query.keeps_node(node))
            .map(|node| shapes::node(&node))
            .filter(|node| keeps(&filter, node));
        indexed(query, index, &nodes.collect::<Vec<_>>())
    }

    /// `/v1/catalog/node/:node`: the node and the instances on it; null when it is not known.
    pub(super) async fn catalog_node(
        &self,
        query: &Query,
        name: &str,
    ) -> Result<Response<Body>, Refusal> {
        let index = self.index(query, &Watched::Registrations).await?;
        let Some((node, entries)) = self.registry.node(name) else {
            return indexed(query, index, &());
        };
        let id = |entry: &Arc<Entry>| entry.instance.instance_id.clone();
        let services = entries
            .iter()
            .map(|entry| (id(entry), shapes::service(entry)));
        let services: BTreeMap<_, _> = services.collect();
        let answer = json!({"Node": shapes::node(&node), "Services": services});
        indexed(query, index, &answer)
    }

    /// `/v1/catalog/node-services/:node`: the same, with the instances as a list.
    pub(super) async fn catalog_node_services(
        &self,
        query: &Query,
        name: &str,
    ) -> Result<Response<Body>, Refusal> {
        let index = self.index(query, &Watched::Registrations).await?;
        let Some((node, entries)) = self.registry.node(name) else {
            return indexed(query, index, &());
        };
        let services: Vec<_> = entries.iter().map(|entry| shapes::service(entry)).collect();
        let answer = json!({"Node": shapes::node(&node), "Services": services});
        indexed(query, index, &answer)
    }
}
