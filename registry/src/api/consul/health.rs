//! `/v1/health`: instances and checks with what is known of their health.

use axum::body::Body;
use http::Response;
use serde::Serialize;

use super::{
    Consul,
    blocking::indexed,
    filter::{Filter, Kind, Selectors},
    query::Query,
    refusal::Refusal,
    shapes::{self, Check},
};
use crate::{
    catalogue::{Status, View},
    registry::Watched,
};

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

/// Whether a filter keeps something, in the form in which it is answered.
pub(super) fn keeps(filter: &Filter, shape: &impl Serialize) -> bool {
    filter.is_empty() || serde_json::to_value(shape).is_ok_and(|value| filter.keeps(&value))
}

impl Consul {
    /// `/v1/health/service/:name`. Those who want passing instances alone have an index of their
    /// own, so that nothing among the others wakes them.
    pub(super) async fn health_service(
        &self,
        query: &Query,
        name: &str,
    ) -> Result<Response<Body>, Refusal> {
        let filter = query.filter(INSTANCE)?;
        let view = if query.passing()? {
            View::Passing
        } else {
            View::All
        };
        let watched = Watched::Service(name.to_owned(), view);
        let index = self.index(query, &watched).await?;
        let snapshot = self.registry.snapshot(name);
        let entries = snapshot
            .entries(view)
            .filter(|entry| query.keeps_node(&entry.node))
            .filter(|entry| {
                query
                    .all("tag")
                    .all(|tag| has_tag(&entry.instance.tags, tag))
            })
            .map(|entry| shapes::service_entry(entry))
            .filter(|entry| keeps(&filter, entry));
        indexed(query, index, &entries.collect::<Vec<_>>())
    }

    /// `/v1/health/checks/:service`.
    pub(super) async fn health_checks(
        &self,
        query: &Query,
        name: &str,
    ) -> Result<Response<Body>, Refusal> {
        let filter = query.filter(CHECK)?;
        let watched = Watched::Service(name.to_owned(), View::All);
        let index = self.index(query, &watched).await?;
        let snapshot = self.registry.snapshot(name);
        let checks = snapshot
            .entries(View::All)
            .filter(|entry| query.keeps_node(&entry.node))
            .flat_map(|entry| shapes::service_checks(entry))
            .filter(|check| keeps(&filter, check));
        indexed(query, index, &checks.collect::<Vec<_>>())
    }

    /// `/v1/health/node/:node`: its own checks and those of the instances on it.
    pub(super) async fn health_node(
        &self,
        query: &Query,
        name: &str,
    ) -> Result<Response<Body>, Refusal> {
        let filter = query.filter(CHECK)?;
        let index = self.index(query, &Watched::Checks).await?;
        let checks = self.checks_of_node(name).into_iter();
        let checks = checks.filter(|check| keeps(&filter, check));
        indexed(query, index, &checks.collect::<Vec<_>>())
    }

    /// `/v1/health/state/:state`: every check that says so.
    pub(super) async fn health_state(
        &self,
        query: &Query,
        state: &str,
    ) -> Result<Response<Body>, Refusal> {
        let known = [Status::Passing, Status::Warning, Status::Critical];
        if state != "any" && !known.iter().any(|status| status.word() == state) {
            return Err(Refusal::bad(
                "the state of a check must be any, passing, warning or critical",
            ));
        }
        let filter = query.filter(CHECK)?;
        let index = self.index(query, &Watched::Checks).await?;
        let nodes = self.registry.nodes().into_iter();
        let checks = nodes
            .filter(|node| query.keeps_node(node))
            .flat_map(|node| self.checks_of_node(&node.node.name))
            .filter(|check| state == "any" || check.status == state)
            .filter(|check| keeps(&filter, check));
        indexed(query, index, &checks.collect::<Vec<_>>())
    }

    /// The checks of a node and of the instances on it.
    pub(super) fn checks_of_node(&self, name: &str) -> Vec<Check> {
        let Some((node, entries)) = self.registry.node(name) else {
            return Vec::new();
        };
        let mut checks = shapes::node_checks(&node);
        for entry in entries {
            checks.extend(shapes::service_checks(&entry));
        }
        checks
    }
}

/// Whether a tag is among these, in any case (Consul's rule for `?tag`).
pub(super) fn has_tag(tags: &[String], wanted: &str) -> bool {
    tags.iter().any(|tag| tag.eq_ignore_ascii_case(wanted))
}
