//! `/v1/agent/check`: checks that come, go and are reported by themselves.

use axum::body::Body;
use http::{Response, StatusCode};

use super::{Consul, blocking::done, definition, input::Fields, query::Query, refusal::Refusal};
use crate::catalogue::{CheckRef, Key, NotReported, Owner, Status, validate_checks};

impl Consul {
    /// `PUT /v1/agent/check/register`: of a service; or of none, and
    /// then it is shown and counts for nobody.
    pub(super) async fn register_check(&self, body: &[u8]) -> Result<Response<Body>, Refusal> {
        let fields = Fields::parse(body)?;
        let local = self.registry.local_node();
        let mut candidate = definition::check(&fields, local)?;
        if candidate.name.is_empty() {
            return Err(Refusal::bad("Missing check name"));
        }
        if candidate.check_id.is_empty() {
            candidate.check_id.clone_from(&candidate.name);
        }
        let (owner, has_port) = match fields.given("ServiceID")? {
            None => {
                // The registry's own node is every client's agent: it counts for nobody's services.
                candidate.detached = true;
                (Owner::Node(local.to_owned()), false)
            }
            Some(id) => {
                let key = self.registry.find_on("", &id);
                let entry = key.and_then(|key| self.registry.entry(&key));
                let entry = entry.ok_or_else(|| {
                    Refusal::not_found(format!("ServiceID \"{id}\" does not exist"))
                })?;
                (Owner::Instance(entry.key()), entry.instance.port > 0)
            }
        };
        let mut found = Vec::new();
        let checks = vec![("Check".to_owned(), candidate)];
        let mut checks = validate_checks(checks, has_port, &mut found);
        match checks.pop() {
            Some(check) if found.is_empty() => {
                let check = std::sync::Arc::unwrap_or_clone(check);
                self.registry.put_check(&owner, check).await?;
                Ok(done())
            }
            _ => Err(Refusal::fields("Invalid check", &found)),
        }
    }

    /// `PUT /v1/agent/check/deregister/:id`.
    pub(super) async fn deregister_check(&self, id: &str) -> Result<Response<Body>, Refusal> {
        let check = self.find_check(id)?;
        if self.registry.remove_check(&check).await? {
            Ok(done())
        } else {
            Err(unknown(id))
        }
    }

    /// `PUT /v1/agent/check/{pass,warn,fail}/:id`: never waits for the disk.
    pub(super) fn report_check(
        &self,
        query: &Query,
        status: Status,
        id: &str,
    ) -> Result<Response<Body>, Refusal> {
        self.report(status, query.get("note").unwrap_or_default(), id)
    }

    /// `PUT /v1/agent/check/update/:id`.
    pub(super) fn update_check(&self, body: &[u8], id: &str) -> Result<Response<Body>, Refusal> {
        let fields = Fields::parse(body)?;
        let word = fields.text("Status")?;
        let status = definition::status(&word).ok_or_else(|| {
            let echo: String = word.chars().take(32).collect();
            Refusal::bad(format!("Invalid check status: '{echo}'"))
        })?;
        self.report(status, &fields.text("Output")?, id)
    }

    fn report(&self, status: Status, output: &str, id: &str) -> Result<Response<Body>, Refusal> {
        let check = self.find_check(id)?;
        match self.registry.report(&check, status, output) {
            Ok(()) => Ok(done()),
            Err(NotReported::UnknownOwner | NotReported::UnknownCheck) => Err(unknown(id)),
            Err(NotReported::NotReportable) => Err(Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("CheckID \"{id}\" does not have associated TTL"),
            )),
        }
    }

    /// The check of this id on the registry's own node. An id that was made from its service's is
    /// found without looking at the others: that is how reports come, many a second.
    fn find_check(&self, id: &str) -> Result<CheckRef, Refusal> {
        let local = self.registry.local_node();
        self.find_check_on(local, id)?.ok_or_else(|| unknown(id))
    }

    /// The same, on any node. Those that services were registered with through gRPC are named for
    /// what they do, so several may have one id: then nobody can tell which is meant.
    pub(super) fn find_check_on(&self, local: &str, id: &str) -> Result<Option<CheckRef>, Refusal> {
        let named = |owner| CheckRef {
            owner,
            check_id: id.to_owned(),
        };
        let guess = id.strip_prefix("service:").map(|of| Key::new(local, of));
        if let Some(entry) = guess.and_then(|key| self.registry.entry(&key))
            && entry.checks.iter().any(|own| own.definition.check_id == id)
        {
            return Ok(Some(named(Owner::Instance(entry.key()))));
        }
        let Some((node, entries)) = self.registry.node(local) else {
            return Ok(None);
        };
        if node.checks.iter().any(|own| own.definition.check_id == id) {
            return Ok(Some(named(Owner::Node(local.to_owned()))));
        }
        let has = |entry: &&std::sync::Arc<crate::catalogue::Entry>| {
            entry.checks.iter().any(|own| own.definition.check_id == id)
        };
        let mut having = entries.iter().filter(has);
        match (having.next(), having.next()) {
            (Some(_), Some(_)) => Err(Refusal::bad(format!(
                "Check ID \"{id}\" is that of several services"
            ))),
            (found, _) => Ok(found.map(|entry| named(Owner::Instance(entry.key())))),
        }
    }
}

/// Clients know this sentence, and register again when they read it.
fn unknown(id: &str) -> Refusal {
    Refusal::not_found(format!(
        "Unknown check ID \"{id}\". Ensure that the check ID is passed, not the check name."
    ))
}
