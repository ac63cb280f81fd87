//! `/v1/health`: instances and checks with what is known of their health.

use std::sync::Arc;

use axum::body::Body;
use http::Response;

use super::{
    Consul,
    blocking::Head,
    filter::{Kind, Selectors},
    list::{Checked, Narrow, Shape},
    query::Query,
    refusal::Refusal,
    shapes::{self, Check, Reader},
};
use crate::{
    catalogue::{Entry, Instance, Status, UnixMillis, View},
    registry::Watched,
};

/// The service that every cluster of Consul has.
pub(super) const CONSUL: &str = "consul";

/// What there is to select in an instance with its node and its checks.
pub(super) const INSTANCE: Selectors = &[
    ("Node.ID", Kind::Text),
    ("Node.Node", Kind::Text),
    ("Node.Address", Kind::Text),
    ("Node.Datacenter", Kind::Text),
    ("Node.TaggedAddresses", Kind::Map),
    ("Node.Meta", Kind::Map),
    ("Service.Kind", Kind::Text),
    ("Service.ID", Kind::Text),
    ("Service.Service", Kind::Text),
    ("Service.Tags", Kind::List),
    ("Service.Address", Kind::Text),
    ("Service.Port", Kind::Text),
    ("Service.Meta", Kind::Map),
    ("Service.Weights.Passing", Kind::Text),
    ("Service.Weights.Warning", Kind::Text),
    ("Service.EnableTagOverride", Kind::Text),
    ("Checks", Kind::List),
    ("Checks.Node", Kind::Text),
    ("Checks.CheckID", Kind::Text),
    ("Checks.Name", Kind::Text),
    ("Checks.Status", Kind::Text),
    ("Checks.Notes", Kind::Text),
    ("Checks.Output", Kind::Text),
    ("Checks.ServiceID", Kind::Text),
    ("Checks.ServiceName", Kind::Text),
    ("Checks.ServiceTags", Kind::List),
    ("Checks.Type", Kind::Text),
];

/// What there is to select in a check.
pub(super) const CHECK: Selectors = &[
    ("Node", Kind::Text),
    ("CheckID", Kind::Text),
    ("Name", Kind::Text),
    ("Status", Kind::Text),
    ("Notes", Kind::Text),
    ("Output", Kind::Text),
    ("ServiceID", Kind::Text),
    ("ServiceName", Kind::Text),
    ("ServiceTags", Kind::List),
    ("Type", Kind::Text),
];

impl Consul {
    /// `/v1/health/service/:name`. Those who want passing instances alone have an index of their
    /// own, so that nothing among the others wakes them.
    pub(super) async fn health_service(
        &self,
        query: &Query,
        name: &str,
    ) -> Result<Response<Body>, Refusal> {
        let filter = self.filter(query, INSTANCE).await?;
        let narrow = query.narrow(true)?;
        let view = if query.passing()? {
            View::Passing
        } else {
            View::All
        };
        let watched = Watched::Service(name.to_owned(), view);
        let index = self.index(query, &watched).await?;
        let head = Head::indexed(query, index)?;
        let entries = || self.entries(name, view);
        let local = self.registry.local_node().to_owned();
        let shape = move |entry: &Arc<Entry>, made: &mut Vec<_>| {
            made.push(shapes::service_entry(entry, &local));
        };
        self.list(head, (filter, narrow), entries, Box::new(shape))
            .await
    }

    /// `/v1/health/checks/:service`.
    pub(super) async fn health_checks(
        &self,
        query: &Query,
        name: &str,
    ) -> Result<Response<Body>, Refusal> {
        let filter = self.filter(query, CHECK).await?;
        let watched = Watched::Service(name.to_owned(), View::All);
        let index = self.index(query, &watched).await?;
        let head = Head::indexed(query, index)?;
        let entries = || {
            let entries = self.entries(name, View::All).into_iter();
            entries.map(Checked::Instance).collect()
        };
        let asked = (filter, query.narrow(false)?);
        let checks = self.checks("any", Reader::Node);
        self.list(head, asked, entries, checks).await
    }

    /// `/v1/health/node/:node`: its own checks and those of the instances on it.
    pub(super) async fn health_node(
        &self,
        query: &Query,
        name: &str,
    ) -> Result<Response<Body>, Refusal> {
        let filter = self.filter(query, CHECK).await?;
        let index = self.index(query, &Watched::Checks).await?;
        let head = Head::indexed(query, index)?;
        let asked = (filter, Narrow::default());
        let checked = || self.checked(name);
        let checks = self.checks("any", Reader::Node);
        self.list(head, asked, checked, checks).await
    }

    /// `/v1/health/state/:state`: every check that says so.
    pub(super) async fn health_state(
        &self,
        query: &Query,
        state: &str,
    ) -> Result<Response<Body>, Refusal> {
        let known = ["any"].into_iter().chain(
            [Status::Passing, Status::Warning, Status::Critical]
                .iter()
                .map(|status| status.word()),
        );
        let Some(state) = known.into_iter().find(|word| *word == state) else {
            return Err(Refusal::bad(
                "the state of a check must be any, passing, warning or critical",
            ));
        };
        let filter = self.filter(query, CHECK).await?;
        let narrow = query.narrow(false)?;
        let index = self.index(query, &Watched::Checks).await?;
        let head = Head::indexed(query, index)?;
        let checked = || {
            let nodes = self.registry.nodes().into_iter();
            let checked = nodes.flat_map(|node| self.checked(&node.node.name));
            checked.collect()
        };
        let checks = self.checks(state, Reader::Node);
        self.list(head, (filter, narrow), checked, checks).await
    }

    /// The instances of a service.
    pub(super) fn entries(&self, service: &str, view: View) -> Vec<Arc<Entry>> {
        let snapshot = self.registry.snapshot(service);
        if service == CONSUL && snapshot.is_empty() {
            return self.consul().into_iter().collect();
        }
        snapshot.entries(view).cloned().collect()
    }

    /// The same, as lists have it: in none unless it was asked for, since clients would take it for one
    /// to call; and nowhere beside a service that somebody registered under its name.
    pub(super) fn listed(&self) -> Option<Arc<Entry>> {
        let taken = || !self.registry.snapshot(CONSUL).is_empty();
        self.consul().filter(|_| self.consul_service && !taken())
    }

    /// The registry itself, as the service that every cluster of Consul has: some clients look for it to
    /// learn whether they reach one.
    fn consul(&self) -> Option<Arc<Entry>> {
        let (node, _) = self.registry.node(self.registry.local_node())?;
        let instance = Instance {
            node: node.node.name.clone(),
            instance_id: CONSUL.to_owned(),
            service: CONSUL.to_owned(),
            port: self.address.port(),
            weight: 1,
            ..Instance::default()
        };
        Some(Arc::new(Entry {
            instance: Arc::new(instance),
            checks: Vec::new(),
            maintenance: None,
            status: Status::Passing,
            reason: String::new(),
            flapping: false,
            takeovers: 0,
            takeover_time: None,
            register_time: UnixMillis::default(),
            status_time: UnixMillis::default(),
            create_revision: node.create_revision,
            modify_revision: node.create_revision,
            node,
        }))
    }

    /// What has checks on a node: the node itself, and the instances on it.
    pub(super) fn checked(&self, name: &str) -> Vec<Checked> {
        let Some((node, entries)) = self.registry.node(name) else {
            return Vec::new();
        };
        let entries = entries.into_iter().map(Checked::Instance);
        [Checked::Node(node)].into_iter().chain(entries).collect()
    }

    /// The checks in one state, or in any.
    pub(super) fn checks(&self, state: &'static str, reader: Reader) -> Shape<Checked, Check> {
        let local = self.registry.local_node().to_owned();
        Box::new(move |checked, made| {
            let checks = match checked {
                Checked::Node(node) => shapes::node_checks(node, reader, &local),
                Checked::Instance(entry) => shapes::service_checks(entry),
            };
            let wanted = |check: &Check| state == "any" || check.status == state;
            made.extend(checks.into_iter().filter(wanted));
        })
    }
}
