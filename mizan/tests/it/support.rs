//! A server whose answers a test scripts, and clients for it.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use mizan::{Channel, Server};
use mizan_contracts::registry::v1::{
    registry_service_client::RegistryServiceClient,
    registry_service_server::{RegistryService, RegistryServiceServer},
    *,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use crate::ends::within;

type Answer = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;
type Script = Arc<dyn Fn(usize) -> Answer + Send + Sync>;

/// Answers ListServices by a script, given the number of calls before, and notes what came.
#[derive(Clone)]
pub(crate) struct Scripted {
    script: Script,
    calls: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<MetadataMap>>>,
}

impl Scripted {
    pub(crate) fn new<F, A>(script: F) -> Self
    where
        F: Fn(usize) -> A + Send + Sync + 'static,
        A: Future<Output = Result<(), Status>> + Send + 'static,
    {
        Self {
            script: Arc::new(move |call| Box::pin(script(call))),
            calls: Arc::default(),
            seen: Arc::default(),
        }
    }

    pub(crate) fn ok() -> Self {
        Self::new(|_| async { Ok(()) })
    }

    pub(crate) fn silent() -> Self {
        Self::new(|_| std::future::pending())
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn seen(&self) -> Vec<MetadataMap> {
        self.seen.lock().unwrap().clone()
    }
}

#[tonic::async_trait]
impl RegistryService for Scripted {
    type HeartbeatStream = tokio_stream::Empty<Result<HeartbeatResponse, Status>>;
    type WatchInstancesStream = tokio_stream::Empty<Result<WatchInstancesResponse, Status>>;

    async fn list_services(
        &self,
        request: Request<ListServicesRequest>,
    ) -> Result<Response<ListServicesResponse>, Status> {
        self.seen.lock().unwrap().push(request.metadata().clone());
        (self.script)(self.calls.fetch_add(1, Ordering::SeqCst)).await?;
        Ok(Response::new(ListServicesResponse::default()))
    }

    async fn register(
        &self,
        _: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        panic!("a handler with a bug")
    }

    async fn deregister(
        &self,
        _: Request<DeregisterRequest>,
    ) -> Result<Response<DeregisterResponse>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    async fn set_maintenance(
        &self,
        _: Request<SetMaintenanceRequest>,
    ) -> Result<Response<SetMaintenanceResponse>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    async fn report_check(
        &self,
        _: Request<ReportCheckRequest>,
    ) -> Result<Response<ReportCheckResponse>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    async fn heartbeat(
        &self,
        _: Request<Streaming<HeartbeatRequest>>,
    ) -> Result<Response<Self::HeartbeatStream>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    async fn list_instances(
        &self,
        _: Request<ListInstancesRequest>,
    ) -> Result<Response<ListInstancesResponse>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    async fn watch_instances(
        &self,
        _: Request<WatchInstancesRequest>,
    ) -> Result<Response<Self::WatchInstancesStream>, Status> {
        Err(Status::unimplemented("not scripted"))
    }
}

/// A running server.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    done: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(service: &Scripted) -> Self {
        Self::start_server(Server::builder("scripted").unregistered(), service).await
    }

    /// At an address where nobody listens yet.
    pub(crate) async fn start_at(authority: &str, service: &Scripted) -> Self {
        let listener = TcpListener::bind(authority).await.unwrap();
        Self::serve(
            Server::builder("scripted").unregistered(),
            listener,
            service,
        )
    }

    pub(crate) async fn start_server(server: Server, service: &Scripted) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve(server, listener, service)
    }

    fn serve(server: Server, listener: TcpListener, service: &Scripted) -> Self {
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = server.add_service(RegistryServiceServer::new(service.clone()));
        let shutdown = stop.clone().cancelled_owned();
        let done = tokio::spawn(async move { server.serve(listener, shutdown).await.unwrap() });
        Self {
            address,
            stop,
            done,
        }
    }

    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Without a drain: the future is dropped.
    pub(crate) async fn cut(self) {
        self.done.abort();
        let cut = within("the server is cut", self.done).await;
        assert!(cut.unwrap_err().is_cancelled());
    }

    pub(crate) async fn stopped(self) {
        self.stop.cancel();
        within("the server has stopped", self.done).await.unwrap();
    }
}

/// An address where nobody listens, and nobody will but [`Running::start_at`]: who sits on a port
/// without listening keeps others away that ask for any.
pub(crate) fn nowhere() -> String {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    // For as long as the test's process lives.
    Box::leak(Box::new(socket));
    address
}

pub(crate) type Client = RegistryServiceClient<Channel>;

pub(crate) fn client(authorities: Vec<String>) -> Client {
    RegistryServiceClient::new(
        Channel::builder("scripted")
            .fixed(authorities)
            .connect()
            .unwrap(),
    )
}

pub(crate) async fn call(client: &Client) -> Result<(), Status> {
    client
        .clone()
        .list_services(ListServicesRequest::default())
        .await
        .map(drop)
}
