//! RegistryService over gRPC.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::ready,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream::BoxStream};
use mizan::{
    request::{page_size, text},
    status::{Violations, invalid, refused, refused_field, retry_later},
};
use mizan_contracts::registry::v1::{
    DeregisterRequest, DeregisterResponse, HeartbeatRequest, HeartbeatResponse,
    ListInstancesRequest, ListInstancesResponse, ListServicesRequest, ListServicesResponse,
    RegisterRequest, RegisterResponse, ReportCheckRequest, ReportCheckResponse,
    SetMaintenanceRequest, SetMaintenanceResponse, WatchInstancesRequest, WatchInstancesResponse,
    registry_service_server::RegistryService,
};
use prost::Message;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::{
    api::{
        convert, heartbeat, page, request,
        request::Filter,
        streams::Streams,
        watch,
        watch::{Answer, Wanted},
    },
    catalogue::{
        CheckRef, Key, NotReported, Owner, View, Violation, check_id_lookup, check_lookup,
        limits::MAINTENANCE_CHARS_MAX,
    },
    metrics::Api as Counted,
    registry::{Left, Refused, Registry},
};

/// Services of a page when nobody says.
const PAGE_DEFAULT: u32 = 100;

/// The most services of a page.
const PAGE_MAX: u32 = 1000;

/// The most services one call may watch.
const WATCHED_SERVICES_MAX: usize = 100;

/// The most services that a watch may resume: as many as the registry remembers without instances.
const RESUMED_MAX: usize = 10_000;

/// The most watches open at once: each holds memory for as long as its client likes.
pub(crate) const WATCHES_MAX: usize = 20_000;

/// The most heartbeat streams open at once: one for each instance the registry may hold, and as
/// many again while all of them reconnect.
pub(crate) const HEARTBEATS_MAX: usize = 40_000;

/// When to try again what could not be made durable.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// The encoded answers of a watch.
pub(super) type Watched = BoxStream<'static, Result<Bytes, Status>>;

/// What the generated server serves.
#[derive(Debug)]
pub(crate) struct Api {
    registry: Registry,
    watches: Streams,
    heartbeats: Streams,
}

impl Api {
    /// Serves this registry.
    pub(crate) fn new(registry: Registry) -> Self {
        Self {
            registry,
            watches: Streams::new(WATCHES_MAX, "watches"),
            heartbeats: Streams::new(HEARTBEATS_MAX, "heartbeat streams"),
        }
    }
}

#[tonic::async_trait]
impl RegistryService for Api {
    type HeartbeatStream = BoxStream<'static, Result<HeartbeatResponse, Status>>;
    type WatchInstancesStream = BoxStream<'static, Result<WatchInstancesResponse, Status>>;

    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        let RegisterRequest { instance, life } = request.into_inner();
        let instance = instance.ok_or_else(|| invalid("instance", "is required"))?;
        allow(request::check_life("life", &life))?;
        let candidate = request::candidate(instance, self.registry.local_node());
        let instance = match candidate.validate() {
            Ok(instance) => instance,
            Err(violations) => return Err(refusal("instance.", violations)),
        };
        let registered = self.registry.register(instance, request::life(&life));
        let entry = registered.await.map_err(refuse)?;
        Ok(Response::new(RegisterResponse {
            instance: Some(convert::instance(&entry, View::All)),
        }))
    }

    async fn deregister(
        &self,
        request: Request<DeregisterRequest>,
    ) -> Result<Response<DeregisterResponse>, Status> {
        let DeregisterRequest {
            instance_id,
            life,
            node,
        } = request.into_inner();
        allow(check_id_lookup("instance_id", &instance_id))?;
        allow(request::check_life("life", &life))?;
        let left = match self.registry.find_on(&node, &instance_id) {
            Some(key) => {
                let left = self.registry.deregister(&key, request::life(&life));
                left.await.map_err(refuse)?
            }
            None => Left::default(),
        };
        let Left {
            removed,
            superseded,
            beating,
        } = left;
        Ok(Response::new(DeregisterResponse {
            removed,
            superseded,
            beating,
        }))
    }

    async fn heartbeat(
        &self,
        request: Request<Streaming<HeartbeatRequest>>,
    ) -> Result<Response<Self::HeartbeatStream>, Status> {
        let admission = self.heartbeats.admit(request.remote_addr())?;
        // A stream that broke and one that ended mean the same: the instance is gone.
        let beats = request.into_inner();
        let beats = beats.scan((), |(), message| ready(message.ok()));
        let answers = heartbeat::beats(self.registry.clone(), beats, admission)
            .map(|answer| answer.map_err(|violation| refusal("", [violation])));
        Ok(Response::new(answers.boxed()))
    }

    async fn list_services(
        &self,
        request: Request<ListServicesRequest>,
    ) -> Result<Response<ListServicesResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let size = page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX, &mut violations);
        let first = request.page_token.is_empty();
        let after = page::after(&request.page_token);
        violations.require(
            first || after.is_some(),
            "page_token",
            "is not one that ListServices gave out",
        );
        violations.check()?;
        let (services, more) = self.registry.services(
            after.as_deref(),
            usize::try_from(size).unwrap_or(usize::MAX),
        );
        let next = services.last().filter(|_| more);
        Ok(Response::new(ListServicesResponse {
            next_page_token: next.map_or_else(String::new, |last| page::token(&last.service)),
            services: services.into_iter().map(convert::summary).collect(),
        }))
    }

    // On the wire it is the encoded answer that is given out, by `encoded`.
    async fn list_instances(
        &self,
        request: Request<ListInstancesRequest>,
    ) -> Result<Response<ListInstancesResponse>, Status> {
        let bytes = self.list(request.into_inner())?;
        Ok(Response::new(decoded(&bytes)?))
    }

    // As is this.
    async fn watch_instances(
        &self,
        request: Request<WatchInstancesRequest>,
    ) -> Result<Response<Self::WatchInstancesStream>, Status> {
        let answers = self.watch(request)?;
        let answers = answers.map(|bytes| decoded(&bytes?));
        Ok(Response::new(answers.boxed()))
    }

    async fn set_maintenance(
        &self,
        request: Request<SetMaintenanceRequest>,
    ) -> Result<Response<SetMaintenanceResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        text(
            MAINTENANCE_CHARS_MAX,
            "reason",
            &request.reason,
            &mut violations,
        );
        violations.check()?;
        let owner = if request.instance_id.is_empty() {
            let own = self.registry.local_node().to_owned();
            Owner::Node(
                Some(request.node)
                    .filter(|node| !node.is_empty())
                    .unwrap_or(own),
            )
        } else {
            let (node, id) = (&*request.node, &*request.instance_id);
            let key = match self.registry.find(node, id) {
                Some(key) => key,
                // It may be out, and not be there: removed for being dead.
                None if !request.enabled => self.registry.key(node, id),
                None => return Err(unknown()),
            };
            Owner::Instance(key)
        };
        let reason = request.enabled.then_some(request.reason);
        let set = self.registry.set_maintenance(&owner, reason).await;
        set.map_err(|why| match (&why, &owner) {
            (Refused::Unknown, Owner::Node(_)) => {
                let text = "is not the name of a node that is registered";
                refused_field(Code::NotFound, "NODE_NOT_FOUND", "node", text)
            }
            (Refused::Unknown, Owner::Instance(_)) => unknown(),
            _ => refuse(why),
        })?;
        Ok(Response::new(SetMaintenanceResponse {}))
    }

    async fn report_check(
        &self,
        request: Request<ReportCheckRequest>,
    ) -> Result<Response<ReportCheckResponse>, Status> {
        let request = request.into_inner();
        let status = request::reported(request.status)
            .ok_or_else(|| invalid("status", "must be passing, warning or critical"))?;
        let key = self.find(&request.node, &request.instance_id)?;
        let given = Some(request.check_id).filter(|id| !id.is_empty());
        let check = CheckRef {
            owner: Owner::Instance(key),
            check_id: given.unwrap_or_else(|| "ttl".to_owned()),
        };
        let reported = self.registry.report(&check, status, &request.output);
        reported.map_err(|why| match why {
            NotReported::UnknownOwner => unknown(),
            NotReported::UnknownCheck => {
                let text = "is not the id of a check of this instance";
                refused_field(Code::NotFound, "CHECK_NOT_FOUND", "check_id", text)
            }
            NotReported::NotReportable => {
                let text = why.to_string();
                refused_field(
                    Code::FailedPrecondition,
                    "CHECK_NOT_REPORTABLE",
                    "check_id",
                    &text,
                )
            }
        })?;
        Ok(Response::new(ReportCheckResponse {}))
    }
}

impl Api {
    /// The answer to ListInstances, encoded.
    pub(super) fn list(&self, request: ListInstancesRequest) -> Result<Bytes, Status> {
        allow(check_lookup("service", &request.service))?;
        let mut violations = Violations::new();
        let unhealthy = request.include_unhealthy;
        let (filter, view) = Filter::read(request.filter, unhealthy, &mut violations);
        violations.check()?;
        let snapshot = self.registry.snapshot(&request.service);
        let kept = Wanted { view, filter }.kept(&snapshot);
        Ok(convert::listed(&Answer { snapshot, kept }, view))
    }

    /// The answers of WatchInstances, encoded.
    pub(super) fn watch(&self, request: Request<WatchInstancesRequest>) -> Result<Watched, Status> {
        let peer = request.remote_addr();
        let request = request.into_inner();
        let mut violations = Violations::new();
        let unhealthy = request.include_unhealthy;
        let (filter, view) = Filter::read(request.filter, unhealthy, &mut violations);
        let few = request.after_revision.len() <= RESUMED_MAX;
        violations.require(few, "after_revision", "has too many entries");
        violations.check()?;
        let held = if request.registry_epoch == self.registry.epoch() {
            request.after_revision
        } else {
            BTreeMap::new()
        };
        let wanted = Wanted { view, filter };
        let registry = &self.registry;
        let answers = if request.all_services {
            if !request.services.is_empty() {
                return Err(invalid("services", "must be empty with all_services"));
            }
            watch::all(registry, wanted, held, self.watches.admit(peer)?)
        } else {
            let services = watched(request.services)?;
            let admission = self.watches.admit(peer)?;
            watch::some(registry, services, &wanted, &held, admission)
        };
        let watching = registry.metrics().watching(Counted::Grpc);
        let registry = registry.clone();
        let answers = answers.map(move |answer| {
            // Held for as long as the stream is.
            let _ = &watching;
            registry.metrics().woke(Counted::Grpc);
            Ok(convert::watched(&answer, view, registry.epoch()))
        });
        Ok(answers.boxed())
    }

    fn find(&self, node: &str, id: &str) -> Result<Key, Status> {
        self.registry.find(node, id).ok_or_else(unknown)
    }
}

fn decoded<M: Message + Default>(bytes: &[u8]) -> Result<M, Status> {
    M::decode(bytes).map_err(|error| Status::internal(error.to_string()))
}

fn unknown() -> Status {
    let text = "is not the id of an instance, or of one on several nodes of which none is named";
    refused_field(Code::NotFound, "INSTANCE_NOT_FOUND", "instance_id", text)
}

fn watched(services: Vec<String>) -> Result<BTreeSet<String>, Status> {
    if !(1..=WATCHED_SERVICES_MAX).contains(&services.len()) {
        return Err(invalid(
            "services",
            &format!("must be 1 to {WATCHED_SERVICES_MAX} names"),
        ));
    }
    let violations = services
        .iter()
        .enumerate()
        .filter_map(|(index, service)| check_lookup(&format!("services[{index}]"), service))
        .collect::<Vec<_>>();
    if violations.is_empty() {
        Ok(services.into_iter().collect())
    } else {
        Err(refusal("", violations))
    }
}

fn allow(violation: Option<Violation>) -> Result<(), Status> {
    violation.map_or(Ok(()), |violation| Err(refusal("", [violation])))
}

/// INVALID_ARGUMENT that names every field, below `prefix`.
fn refusal(prefix: &str, found: impl IntoIterator<Item = Violation>) -> Status {
    let mut violations = Violations::new();
    for violation in found {
        violations.add(
            format!("{prefix}{}", violation.field),
            violation.description,
        );
    }
    match violations.check() {
        Err(status) => status,
        Ok(()) => invalid(prefix.trim_end_matches('.'), "is not valid"),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
fn refuse(why: Refused) -> Status {
    let text = why.to_string();
    match why {
        Refused::Full(_) | Refused::Checks(_) => {
            refused(Code::ResourceExhausted, "REGISTRY_FULL", text)
        }
        Refused::Held(_) => refused_field(
            Code::AlreadyExists,
            "INSTANCE_HELD",
            "instance.instance_id",
            &text,
        ),
        Refused::Unknown => refused(Code::NotFound, "INSTANCE_NOT_FOUND", text),
        Refused::Unavailable => {
            retry_later(Code::Unavailable, "STORE_UNAVAILABLE", text, STORE_RETRY)
        }
        Refused::Forbidden(_) => refused_field(
            Code::FailedPrecondition,
            "CHECK_FORBIDDEN",
            "instance.check",
            &text,
        ),
    }
}
