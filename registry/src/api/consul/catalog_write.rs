//! `PUT /v1/catalog/register` and `/deregister`: nodes, services and checks written as they are,
//! for whoever keeps its own list of nodes.
//!
//! Consul keeps checks that come this way as records that nobody runs, which surprises people. Here
//! a check whose `Definition` says what to ask is run like any other; one without is a record, whose
//! status is what was last written.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::body::Body;
use http::{Response, StatusCode};

use super::{Consul, blocking::json, definition, input::Fields, query::Query, refusal::Refusal};
use crate::{
    catalogue::{
        CandidateCheck, CheckDefinition, CheckKind, CheckRef, Key, Node, NotAdded, Owner, Status,
        limits, validate_checks, validate_node,
    },
    registry::Refused,
};

/// How many passing services a node has that is not removed with all of them unless that is meant: an
/// empty ServiceID, where one was to be, says the same as none.
const BULK_PASSING_MIN: usize = 5;

/// A check of the body, by whose it is.
#[derive(Debug)]
struct Written {
    /// Empty: the node's.
    service_id: String,
    field: String,
    check: CandidateCheck,
    output: String,
}

/// A check whose rules hold, and what it was written to say.
#[derive(Debug)]
struct Said {
    owner: Owner,
    check: Arc<CheckDefinition>,
    status: Option<Status>,
    output: String,
}

impl Consul {
    /// `PUT /v1/catalog/register`: everything is judged before anything is changed, and answers
    /// once all of it is durable.
    pub(super) async fn catalog_register(
        &self,
        query: &Query,
        body: &[u8],
    ) -> Result<Response<Body>, Refusal> {
        let fields = Fields::parse(body)?;
        query.datacenter(&fields.text("Datacenter")?)?;
        let skip = fields.flag("SkipNodeUpdate")?;
        let mut node = node(&fields, skip)?;
        let service = fields.object("Service")?;
        let service = service
            .filter(|service| !service.is_empty())
            .map(|service| definition::catalog_service(&service, &node.name))
            .transpose()?;
        let (mut own, mut others): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
        for written in checks(&fields, &node.name)? {
            match &service {
                Some(service) if service.instance_id == written.service_id => own.push(written),
                _ => others.push(written),
            }
        }
        let mut said: Vec<Said> = Vec::new();
        let mut instance = None;
        if let Some(mut candidate) = service {
            let key = Key::new(&*node.name, &*candidate.instance_id);
            let outputs: Vec<_> = own.iter().map(|one| one.output.clone()).collect();
            let each = own.into_iter().map(|one| (one.field, one.check));
            candidate.checks = each.collect();
            let mut valid = candidate
                .validate()
                .map_err(|found| Refusal::fields("Invalid service", &found))?;
            for (check, output) in valid.checks.iter_mut().zip(outputs) {
                let owner = Owner::Instance(key.clone());
                said.push(self.settled(owner, check, output));
            }
            valid.checks = said.iter().map(|said| Arc::clone(&said.check)).collect();
            // Those that are there already and are not named again stay.
            if let Some(held) = self.registry.entry(&key) {
                keep(&mut valid.checks, &held.instance.checks);
            }
            instance = Some(valid);
        }
        let mut further: Vec<Said> = Vec::new();
        let most = limits::CHECKS_MAX;
        if others.len() > most {
            return Err(Refusal::bad(format!(
                "Invalid check: a node has at most {most}"
            )));
        }
        for written in others {
            further.push(self.further(&node.name, written)?);
        }
        let (of_node, of_others): (Vec<_>, Vec<_>) = further
            .into_iter()
            .partition(|said| matches!(said.owner, Owner::Node(_)));
        self.have_room(&of_others)?;
        if let Some(instance) = &instance {
            self.registry.admits(instance)?;
        }
        node.checks = of_node.iter().map(|said| Arc::clone(&said.check)).collect();
        self.write_node(node, skip).await?;
        if let Some(instance) = instance {
            self.registry.register(instance, None).await?;
        }
        for Said { owner, check, .. } in &of_others {
            let check = CheckDefinition::clone(check);
            self.registry.put_check(owner, check).await?;
        }
        for said in said.iter().chain(&of_node).chain(&of_others) {
            self.say(said);
        }
        self.registry.written().await?;
        json(query, &true)
    }

    /// `PUT /v1/catalog/deregister`: a check, a service, or a node with all that is on it. What is
    /// not there is gone already.
    pub(super) async fn catalog_deregister(
        &self,
        query: &Query,
        body: &[u8],
    ) -> Result<Response<Body>, Refusal> {
        let fields = Fields::parse(body)?;
        query.datacenter(&fields.text("Datacenter")?)?;
        let node = fields.text("Node")?;
        if node.is_empty() {
            return Err(Refusal::bad("Must provide node"));
        }
        let (service, check) = (fields.text("ServiceID")?, fields.text("CheckID")?);
        let force = query.flag("force")?;
        match (&*service, &*check) {
            ("", "") if node == self.registry.local_node() => {
                return Err(Refusal::bad(
                    "the registry's own node cannot be deregistered; its services can",
                ));
            }
            ("", "") => {
                let instances = self
                    .registry
                    .node(&node)
                    .map_or_else(Vec::new, |(_, on)| on);
                let passing = instances.iter().filter(|on| on.status == Status::Passing);
                let passing = passing.count();
                if passing >= BULK_PASSING_MIN && !force {
                    let text = format!(
                        "the node has {} services, {passing} of them passing, which would all be removed: \
                         name one by ServiceID, or say ?force",
                        instances.len()
                    );
                    return Err(Refusal::new(StatusCode::CONFLICT, text));
                }
                if self.registry.deregister_node(&node).await? && self.registry.may_tell() {
                    let services = instances.len();
                    tracing::warn!(%node, services, passing, "node deregistered with all that is on it");
                }
            }
            ("", _) => {
                if let Some(check) = self.find_check_on(&node, &check)? {
                    self.registry.remove_check(&check).await?;
                }
            }
            (_, "") => {
                let key = Key::new(node, service);
                self.registry.deregister(&key, None).await?;
            }
            (..) => {
                let owner = Owner::Instance(Key::new(node, service));
                let check_id = check;
                self.registry
                    .remove_check(&CheckRef { owner, check_id })
                    .await?;
            }
        }
        json(query, &true)
    }

    /// A check of the node, or of another service on it than the one that is written.
    fn further(&self, node: &str, written: Written) -> Result<Said, Refusal> {
        let (owner, has_port) = if written.service_id.is_empty() {
            (Owner::Node(node.to_owned()), false)
        } else {
            let key = Key::new(node, &*written.service_id);
            let entry = self.registry.entry(&key).ok_or_else(|| {
                let id = &written.service_id;
                Refusal::bad(format!(
                    "{}: there is no service {id:?} on the node",
                    written.field
                ))
            })?;
            (Owner::Instance(key), entry.instance.port > 0)
        };
        let mut found = Vec::new();
        let checks = vec![(written.field, written.check)];
        let check = validate_checks(checks, has_port, &mut found).pop();
        match check.filter(|_| found.is_empty()) {
            Some(check) => Ok(self.settled(owner, &check, written.output)),
            None => Err(Refusal::fields("Invalid check", &found)),
        }
    }

    /// The same check, as the one that is there already if they differ in their first status alone:
    /// that is no new check, but one that says something else.
    fn settled(&self, owner: Owner, check: &Arc<CheckDefinition>, output: String) -> Said {
        let held = match &owner {
            Owner::Instance(key) => self.registry.entry(key).map(|e| e.instance.checks.clone()),
            Owner::Node(name) => self.registry.node(name).map(|(v, _)| v.node.checks.clone()),
        };
        let same = |held: &Arc<CheckDefinition>| {
            let held = CheckDefinition {
                initial: check.initial,
                ..CheckDefinition::clone(held)
            };
            held == **check
        };
        let held = held.unwrap_or_default().into_iter().find(same);
        Said {
            owner,
            check: held.unwrap_or_else(|| Arc::clone(check)),
            status: check.initial,
            output,
        }
    }

    /// Whether services that are there already take these checks beside their own.
    fn have_room(&self, further: &[Said]) -> Result<(), Refusal> {
        let mut of: BTreeMap<&Owner, BTreeSet<String>> = BTreeMap::new();
        for Said { owner, check, .. } in further {
            let ids = of.entry(owner).or_default();
            ids.insert(check.check_id.clone());
            if let Owner::Instance(key) = owner
                && let Some(held) = self.registry.entry(key)
            {
                let held = held.instance.checks.iter();
                ids.extend(held.map(|check| check.check_id.clone()));
            }
        }
        if of.values().any(|ids| ids.len() > limits::CHECKS_MAX) {
            return Err(Refused::Checks(NotAdded::TooMany).into());
        }
        Ok(())
    }

    async fn write_node(&self, mut node: Node, skip: bool) -> Result<(), Refusal> {
        if let Some((held, _)) = self.registry.node(&node.name) {
            keep(&mut node.checks, &held.node.checks);
            if skip {
                let checks = std::mem::take(&mut node.checks);
                node = Node::clone(&held.node);
                node.checks = checks;
            }
            if node.id.is_empty() {
                node.id.clone_from(&held.node.id);
            }
        }
        Ok(self.registry.register_node(node).await?)
    }

    /// A record says what it was written to say.
    fn say(&self, said: &Said) {
        if let (CheckKind::Reported, Some(status)) = (&said.check.kind, said.status) {
            let check = CheckRef {
                owner: said.owner.clone(),
                check_id: said.check.check_id.clone(),
            };
            // Gone again meanwhile, it has nothing to say.
            let _ = self.registry.report(&check, status, &said.output);
        }
    }
}

/// Adds what is held and not among these, as far as there is room: who registers under ever new
/// check ids loses those of long ago.
pub(super) fn keep(checks: &mut Vec<Arc<CheckDefinition>>, held: &[Arc<CheckDefinition>]) {
    for check in held {
        let named = checks.iter().any(|named| named.check_id == check.check_id);
        if !named && checks.len() < limits::CHECKS_MAX {
            checks.push(Arc::clone(check));
        }
    }
}

/// The node of a body. One that is not to be updated needs no address: it is there, or its own
/// registration is still to come.
fn node(fields: &Fields, skip: bool) -> Result<Node, Refusal> {
    let mut node = Node {
        name: fields.text("Node")?,
        id: fields.text("ID")?,
        address: fields.text("Address")?,
        metadata: fields.pairs("NodeMeta")?,
        tagged_addresses: fields.pairs("TaggedAddresses")?,
        checks: Vec::new(),
        locality: definition::locality(fields)?,
    };
    let must = |text: &str| Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text));
    if node.name.is_empty() {
        return must("Must provide node");
    }
    let without = node.address.is_empty();
    if without && !skip {
        return must("Must provide address if SkipNodeUpdate is not set");
    }
    if without {
        // The rule for addresses is for those that are given.
        node.address = "localhost".to_owned();
    }
    let found = validate_node(&node);
    if without {
        node.address = String::new();
    }
    match &*found {
        [] => Ok(node),
        found => Err(Refusal::fields("Invalid node", found)),
    }
}

/// A whole body read, and forgotten: for the fuzzer.
#[cfg(any(test, fuzzing))]
pub(super) fn parse(fields: &Fields) -> Result<(), Refusal> {
    let node = node(fields, false)?;
    if let Some(service) = fields.object("Service")? {
        drop(definition::catalog_service(&service, &node.name)?.validate());
    }
    for written in checks(fields, &node.name)? {
        validate_checks(vec![(written.field, written.check)], true, &mut Vec::new());
    }
    Ok(())
}

/// `Check` and `Checks` together.
fn checks(fields: &Fields, node: &str) -> Result<Vec<Written>, Refusal> {
    let one = fields.object("Check")?.filter(|check| !check.is_empty());
    let one = one.map(|check| ("Check".to_owned(), check));
    let more = fields.objects("Checks")?.into_iter().enumerate();
    let more = more.map(|(index, check)| (format!("Checks[{index}]"), check));
    let each = one.into_iter().chain(more).map(|(field, fields)| {
        let of = fields.given("Node")?;
        if of.is_some_and(|of| of != node) {
            return Err(Refusal::bad(format!(
                "{field}.Node must be the node that is written"
            )));
        }
        Ok(Written {
            service_id: fields.text("ServiceID")?,
            output: fields.text("Output")?,
            check: check(&fields, node)?,
            field,
        })
    });
    each.collect()
}

fn check(fields: &Fields, node: &str) -> Result<CandidateCheck, Refusal> {
    let (id, name) = (fields.text("CheckID")?, fields.text("Name")?);
    if id.is_empty() && name.is_empty() {
        return Err(Refusal::bad("Missing check name"));
    }
    let asked = fields.object("Definition")?;
    let asked = asked.filter(|asked| ["HTTP", "TCP", "GRPC"].iter().any(|kind| asked.has(kind)));
    let mut check = match asked {
        Some(asked) => definition::check(&asked, node)?,
        None => CandidateCheck {
            kind: Some(CheckKind::Reported),
            ..CandidateCheck::default()
        },
    };
    check.initial = Some(definition::initial(fields)?.unwrap_or(Status::Critical));
    check.check_id = Some(id).filter(|id| !id.is_empty()).unwrap_or(name.clone());
    check.name = name;
    check.notes = fields.text("Notes")?;
    Ok(check)
}
