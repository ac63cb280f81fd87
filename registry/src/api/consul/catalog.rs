//! `/v1/catalog`: what was registered, whatever its health.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::body::Body;
use http::Response;
use serde::Serialize;

use super::{
    Consul, agent,
    blocking::{Head, indexed},
    filter::{Kind, Selectors},
    health::CONSUL,
    list::Narrow,
    query::Query,
    refusal::Refusal,
    shapes::{self, CatalogService, Node, Service},
};
use crate::{
    catalogue::{Entry, NodeView, View},
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

/// A node and what is on it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct OnNode<T> {
    node: Node,
    services: T,
}

impl Consul {
    /// `/v1/catalog/services`: names with the tags that any instance carries.
    pub(super) async fn catalog_services(&self, query: &Query) -> Result<Response<Body>, Refusal> {
        let filter = self.filter(query, SERVICE).await?;
        let narrow = query.narrow(false)?;
        if filter.is_empty() && narrow == Narrow::default() {
            let index = self.index(query, &Watched::Services).await?;
            let own = self.listed().map(|_| (CONSUL.to_owned(), Vec::new()));
            let services: BTreeMap<_, _> = self.registry.tags().into_iter().chain(own).collect();
            return indexed(query, index, &services);
        }
        // What decides here is more than names and tags.
        let index = self.index(query, &Watched::Registrations).await?;
        let head = Head::indexed(query, index)?;
        let entries = || {
            let snapshots = self.registry.snapshots(0);
            let entries = snapshots
                .iter()
                .flat_map(|one| one.entries(View::Registered));
            entries.cloned().chain(self.listed()).collect()
        };
        let shape =
            |entry: &Arc<Entry>, made: &mut Vec<_>| made.push(shapes::catalog_service(entry));
        let finish = |kept: Vec<CatalogService>| {
            let mut services: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for (name, tags) in kept.into_iter().map(CatalogService::into_tags) {
                services.entry(name).or_default().extend(tags);
            }
            services
        };
        self.arranged(head, (filter, narrow), entries, Box::new(shape), finish)
            .await
    }

    /// `/v1/catalog/service/:name`.
    pub(super) async fn catalog_service(
        &self,
        query: &Query,
        name: &str,
    ) -> Result<Response<Body>, Refusal> {
        let filter = self.filter(query, SERVICE).await?;
        let narrow = query.narrow(true)?;
        let watched = Watched::Service(name.to_owned(), View::Registered);
        let index = self.index(query, &watched).await?;
        let head = Head::indexed(query, index)?;
        let entries = || self.entries(name, View::Registered);
        let shape =
            |entry: &Arc<Entry>, made: &mut Vec<_>| made.push(shapes::catalog_service(entry));
        self.list(head, (filter, narrow), entries, Box::new(shape))
            .await
    }

    /// `/v1/catalog/nodes`.
    pub(super) async fn catalog_nodes(&self, query: &Query) -> Result<Response<Body>, Refusal> {
        let filter = self.filter(query, NODE).await?;
        let narrow = query.narrow(false)?;
        let index = self.index(query, &Watched::Nodes).await?;
        let head = Head::indexed(query, index)?;
        let nodes = || self.registry.nodes();
        let shape = |node: &Arc<NodeView>, made: &mut Vec<_>| made.push(shapes::node(node));
        self.list(head, (filter, narrow), nodes, Box::new(shape))
            .await
    }

    /// `/v1/catalog/node/:node`: the node and the instances on it; null when it is not known.
    pub(super) async fn catalog_node(
        &self,
        query: &Query,
        name: &str,
    ) -> Result<Response<Body>, Refusal> {
        let by_id = |services: Vec<Service>| {
            let services = services.into_iter();
            let by_id = services.map(|service| (service.id.clone(), service));
            by_id.collect::<BTreeMap<_, _>>()
        };
        self.on_node(query, name, by_id).await
    }

    /// `/v1/catalog/node-services/:node`: the same, with the instances as a list.
    pub(super) async fn catalog_node_services(
        &self,
        query: &Query,
        name: &str,
    ) -> Result<Response<Body>, Refusal> {
        self.on_node(query, name, |services| services).await
    }

    /// A filter is about the instances: the node is there whatever it keeps.
    async fn on_node<T: Serialize>(
        &self,
        query: &Query,
        name: &str,
        arrange: impl FnOnce(Vec<Service>) -> T + Send + 'static,
    ) -> Result<Response<Body>, Refusal> {
        let filter = self.filter(query, agent::SERVICE).await?;
        let index = self.index(query, &Watched::Registrations).await?;
        let head = Head::indexed(query, index)?;
        let node = self.registry.node(name).map(|(node, _)| node);
        let entries = || {
            let on = self.registry.node(name).map_or_else(Vec::new, |(_, on)| on);
            let own = self.listed().filter(|_| name == self.registry.local_node());
            on.into_iter().chain(own).collect()
        };
        let shape = |entry: &Arc<Entry>, made: &mut Vec<_>| made.push(shapes::service(entry));
        let finish = move |kept| {
            node.map(|node| OnNode {
                node: shapes::node(&node),
                services: arrange(kept),
            })
        };
        let asked = (filter, Narrow::default());
        self.arranged(head, asked, entries, Box::new(shape), finish)
            .await
    }
}
