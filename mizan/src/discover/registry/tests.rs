//! Following registries that a test plays.

use mizan_contracts::registry::v1::{
    registry_service_server::{RegistryService, RegistryServiceServer},
    *,
};
use tokio::{
    net::TcpListener,
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status};

use super::*;
use crate::{
    Server,
    discover::{self, Discovery, Known, SourceState},
};

type Answers = UnboundedSender<Result<WatchInstancesResponse, Status>>;

/// Hands every watch to the test.
struct Played(UnboundedSender<(WatchInstancesRequest, Answers)>);

#[tonic::async_trait]
impl RegistryService for Played {
    type HeartbeatStream = tokio_stream::Empty<Result<HeartbeatResponse, Status>>;
    type WatchInstancesStream = UnboundedReceiverStream<Result<WatchInstancesResponse, Status>>;

    async fn watch_instances(
        &self,
        request: Request<WatchInstancesRequest>,
    ) -> Result<Response<Self::WatchInstancesStream>, Status> {
        let (answers, stream) = mpsc::unbounded_channel();
        let asked = self.0.send((request.into_inner(), answers));
        asked.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(UnboundedReceiverStream::new(stream)))
    }

    async fn register(
        &self,
        _: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn deregister(
        &self,
        _: Request<DeregisterRequest>,
    ) -> Result<Response<DeregisterResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn set_maintenance(
        &self,
        _: Request<SetMaintenanceRequest>,
    ) -> Result<Response<SetMaintenanceResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn report_check(
        &self,
        _: Request<ReportCheckRequest>,
    ) -> Result<Response<ReportCheckResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn heartbeat(
        &self,
        _: Request<Streaming<HeartbeatRequest>>,
    ) -> Result<Response<Self::HeartbeatStream>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn list_services(
        &self,
        _: Request<ListServicesRequest>,
    ) -> Result<Response<ListServicesResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn list_instances(
        &self,
        _: Request<ListInstancesRequest>,
    ) -> Result<Response<ListInstancesResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }
}

struct Play {
    authority: String,
    watches: UnboundedReceiver<(WatchInstancesRequest, Answers)>,
    _stop: DropGuard,
}

impl Play {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let (asked, watches) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let server = Server::builder("played")
            .unregistered()
            .add_service(RegistryServiceServer::new(Played(asked)));
        let shutdown = stop.clone().cancelled_owned();
        tokio::spawn(async move { server.serve(listener, shutdown).await.unwrap() });
        Self {
            authority,
            watches,
            _stop: stop.drop_guard(),
        }
    }

    /// The next watch that a client opens.
    async fn watch(&mut self) -> (WatchInstancesRequest, Answers) {
        soon(self.watches.recv()).await.unwrap()
    }
}

/// Awaits what must happen; only a failing test waits that long.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), what).await.unwrap()
}

fn snapshot(epoch: &str, revision: u64, ports: &[u32]) -> WatchInstancesResponse {
    let instances = ports.iter().map(|&port| Instance {
        address: "h".to_owned(),
        port,
        weight: 1,
        ..Instance::default()
    });
    WatchInstancesResponse {
        service: "s".to_owned(),
        instances: instances.collect(),
        revision,
        registry_epoch: epoch.to_owned(),
    }
}

fn list(ports: &[u32]) -> Known {
    let endpoints = ports.iter().map(|port| Endpoint::new(format!("h:{port}")));
    Known::Instances(endpoints.map(Result::unwrap).collect())
}

async fn until(discovery: &Discovery, expected: &Known) {
    let mut slot = discovery.known();
    soon(slot.wait_for(|known| known == expected))
        .await
        .unwrap();
}

async fn until_state(discovery: &Discovery, state: SourceState) {
    soon(async {
        while discovery.status().state != state {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn follow(registries: &[&str]) -> Discovery {
    let registry = Registry::new(registries.iter().copied()).unwrap();
    discover::start("s", Box::new(registry))
}

#[test]
fn a_malformed_registry_is_refused_and_named() {
    let refused = Registry::new(["a:1", "b"]).unwrap_err();
    assert!(refused.to_string().contains("\"b\""));
}

#[tokio::test]
async fn what_a_registry_says_of_an_instance_arrives() {
    let mut play = Play::start().await;
    let discovery = follow(&[&play.authority]);
    let (request, answers) = play.watch().await;
    assert_eq!(request.services, ["s"]);
    assert!(request.after_revision.is_empty() && request.registry_epoch.is_empty());
    let mut said = snapshot("a", 1, &[7]);
    let metadata = std::collections::BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    said.instances[0] = Instance {
        address: "::1".to_owned(),
        weight: 250,
        zone: "z".to_owned(),
        metadata: metadata.clone(),
        ..said.instances[0].clone()
    };
    // Port 0 is nobody's; a snapshot of another service is not ours.
    said.instances.push(Instance::default());
    let foreign = WatchInstancesResponse {
        service: "t".to_owned(),
        ..snapshot("a", 9, &[9])
    };
    answers.send(Ok(foreign)).unwrap();
    answers.send(Ok(said)).unwrap();
    let expected = Endpoint::new("[::1]:7").unwrap().with_weight(250);
    let expected = expected.with_zone("z").with_metadata(metadata);
    until(&discovery, &Known::Instances(vec![expected])).await;
}

#[tokio::test]
async fn a_watch_that_broke_off_is_resumed_by_revision() {
    let mut play = Play::start().await;
    let discovery = follow(&[&play.authority]);
    let (_, answers) = play.watch().await;
    answers.send(Ok(snapshot("a", 5, &[1, 2]))).unwrap();
    until(&discovery, &list(&[1, 2])).await;
    drop(answers);

    let (request, answers) = play.watch().await;
    assert_eq!(request.after_revision, [("s".to_owned(), 5)].into());
    assert_eq!(request.registry_epoch, "a");
    // The registry is silent, for nothing changed: that is an answer.
    until_state(&discovery, SourceState::Connected).await;
    assert_eq!(*discovery.known().borrow(), list(&[1, 2]));
    // In the same life it is believed that they are gone.
    answers.send(Ok(snapshot("a", 6, &[]))).unwrap();
    until(&discovery, &list(&[])).await;
    answers.send(Ok(snapshot("a", 7, &[3]))).unwrap();
    until(&discovery, &list(&[3])).await;
    answers.send(Err(Status::unavailable("stopping"))).unwrap();
    let (request, _answers) = play.watch().await;
    assert_eq!(request.after_revision, [("s".to_owned(), 7)].into());
}

#[tokio::test]
async fn a_restarted_registry_is_doubted_for_a_moment_in_whom_it_leaves_out() {
    let mut play = Play::start().await;
    let discovery = follow(&[&play.authority]);
    let (_, answers) = play.watch().await;
    answers.send(Ok(snapshot("a", 5, &[1, 2]))).unwrap();
    until(&discovery, &list(&[1, 2])).await;
    drop(answers);

    let (_, answers) = play.watch().await;
    answers.send(Ok(snapshot("b", 1, &[]))).unwrap();
    answers.send(Ok(snapshot("b", 2, &[3]))).unwrap();
    until(&discovery, &list(&[3, 1, 2])).await;
    tokio::time::pause();
    // Nothing is on its way now, so time goes straight to the end of the doubt.
    until(&discovery, &list(&[3])).await;
}

#[tokio::test]
async fn of_several_registries_the_next_one_is_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = listener.local_addr().unwrap().to_string();
    drop(listener);
    let (mut one, mut two) = (Play::start().await, Play::start().await);
    let discovery = follow(&[&nowhere, &one.authority, &two.authority]);
    let (_, answers) = one.watch().await;
    answers.send(Ok(snapshot("a", 5, &[1]))).unwrap();
    until(&discovery, &list(&[1])).await;
    drop(answers);
    // What the first one said can be compared with nothing that the other one says.
    let (request, answers) = two.watch().await;
    assert_eq!(request.registry_epoch, "a");
    answers.send(Ok(snapshot("b", 1, &[1, 2]))).unwrap();
    until(&discovery, &list(&[1, 2])).await;
    drop((one, two, answers));
    until_state(&discovery, SourceState::Lost).await;
    assert_eq!(*discovery.known().borrow(), list(&[1, 2]));
    assert!(discovery.status().failure.unwrap().starts_with("registry "));
}

#[tokio::test]
async fn with_nothing_known_and_nobody_to_ask_it_says_so() {
    let discovery = follow(&[]);
    let nobody = Known::Unreachable("no registry is named".to_owned());
    soon(discovery.known().wait_for(|known| *known == nobody))
        .await
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = listener.local_addr().unwrap().to_string();
    drop(listener);
    let discovery = follow(&[&nowhere]);
    let mut slot = discovery.known();
    let known = soon(slot.wait_for(|known| *known != Known::Unknown))
        .await
        .unwrap();
    assert!(matches!(&*known, Known::Unreachable(reason) if reason.contains(&nowhere)));
}

#[tokio::test]
async fn a_list_from_a_file_ends_with_the_first_answer() {
    let mut play = Play::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.json");
    let cached = |registry: &str| {
        let registry = Registry::new([registry]).unwrap();
        discover::start("s", Box::new(discover::Cached::new(registry, &path)))
    };
    let discovery = cached(&play.authority);
    let (_, answers) = play.watch().await;
    answers.send(Ok(snapshot("a", 5, &[1, 2]))).unwrap();
    until(&discovery, &list(&[1, 2])).await;
    soon(async {
        while !path.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(discovery);
    // The file may be old: whom the registry does not name is not kept for the file's sake.
    let discovery = cached(&play.authority);
    let (request, answers) = play.watch().await;
    assert!(request.after_revision.is_empty());
    until(&discovery, &list(&[1, 2])).await;
    assert!(discovery.status().recalled);
    answers.send(Ok(snapshot("a", 6, &[2]))).unwrap();
    until(&discovery, &list(&[2])).await;
    assert!(!discovery.status().recalled);
}
