//! Peers for tests: a network in memory, and servers on it whose every frame a test commands.

use std::{
    collections::HashMap,
    future::poll_fn,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream, server};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::{
    io::DuplexStream,
    sync::{broadcast, mpsc, watch},
    time::Instant,
};
use tonic::{Code, body::Body};
use tonic_health::pb::{HealthCheckResponse, health_check_response::ServingStatus};

use super::{Connecting, Connector, Transport};

/// A network in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Net(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    listeners: HashMap<String, mpsc::UnboundedSender<DuplexStream>>,
    tries: Vec<(String, Instant)>,
}

impl Connector for Net {
    fn connect<'a>(&'a self, authority: &'a str) -> Connecting<'a> {
        let mut state = self.0.lock();
        state.tries.push((authority.to_owned(), Instant::now()));
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let listener = state.listeners.get(authority);
        let accepted = listener.is_some_and(|listener| listener.send(theirs).is_ok());
        Box::pin(async move {
            let stream: Box<dyn Transport> = Box::new(ours);
            accepted
                .then_some(stream)
                .ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
        })
    }
}

impl Net {
    /// Accepts at `authority`; what is done with the streams is the test's affair.
    pub(crate) fn listen(&self, authority: &str) -> mpsc::UnboundedReceiver<DuplexStream> {
        let (sender, accepted) = mpsc::unbounded_channel();
        let mut state = self.0.lock();
        state.listeners.insert(authority.to_owned(), sender);
        accepted
    }

    /// Serves at `authority`.
    pub(crate) fn serve(&self, authority: &str) -> Server {
        self.serve_by(authority, server::Builder::new())
    }

    /// Serves at `authority` with these settings of HTTP/2.
    pub(crate) fn serve_by(&self, authority: &str, builder: server::Builder) -> Server {
        let mut accepted = self.listen(authority);
        let server = Server::new();
        let shared = server.clone();
        tokio::spawn(async move {
            while let Some(stream) = accepted.recv().await {
                shared.0.accepted.fetch_add(1, Ordering::SeqCst);
                let (shared, builder) = (shared.clone(), builder.clone());
                tokio::spawn(async move {
                    shared.clone().carry(stream, builder).await;
                    shared.0.ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        server
    }

    /// Nobody listens there any more.
    pub(crate) fn unlisten(&self, authority: &str) {
        self.0.lock().listeners.remove(authority);
    }

    /// When it was tried to connect there.
    pub(crate) fn tries(&self, authority: &str) -> Vec<Instant> {
        let state = self.0.lock();
        let there = state.tries.iter().filter(|(to, _)| to == authority);
        there.map(|(_, at)| *at).collect()
    }
}

/// What a server does to all its connections.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Command {
    /// GOAWAY, and finishes what is under way.
    Drain,
    /// GOAWAY with this code at once.
    Abrupt(Reason),
    /// Hangs up.
    Cut,
}

/// What its health service says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// Nothing yet.
    Silent,
    Says(ServingStatus),
    /// Ends the watch with a status.
    Ends(Code),
}

/// A server. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Server(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    accepted: AtomicUsize,
    ended: AtomicUsize,
    calls: AtomicUsize,
    cancelled: AtomicUsize,
    watches: AtomicUsize,
    flooded: AtomicUsize,
    commands: broadcast::Sender<Command>,
    health: watch::Sender<Health>,
    gate: watch::Sender<bool>,
}

impl Server {
    fn new() -> Self {
        Self(Arc::new(Shared {
            accepted: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
            watches: AtomicUsize::new(0),
            flooded: AtomicUsize::new(0),
            commands: broadcast::channel(8).0,
            health: watch::channel(Health::Silent).0,
            gate: watch::channel(false).0,
        }))
    }

    /// How many connections it accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.0.accepted.load(Ordering::SeqCst)
    }

    /// How many connections ended.
    pub(crate) fn ended(&self) -> usize {
        self.0.ended.load(Ordering::SeqCst)
    }

    /// How many calls came.
    pub(crate) fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// How many of the `/hang` were cancelled by their caller.
    pub(crate) fn cancelled(&self) -> usize {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// How many bytes of `/flood` were sent.
    pub(crate) fn flooded(&self) -> usize {
        self.0.flooded.load(Ordering::SeqCst)
    }

    /// How many health watches were asked for.
    pub(crate) fn watches(&self) -> usize {
        self.0.watches.load(Ordering::SeqCst)
    }

    pub(crate) fn command(&self, command: Command) {
        // Without connections there is nobody to tell.
        let _ = self.0.commands.send(command);
    }

    pub(crate) fn say(&self, health: Health) {
        self.0.health.send_replace(health);
    }

    /// Lets every `/hang` end well.
    pub(crate) fn release(&self) {
        self.0.gate.send_replace(true);
    }

    async fn carry(self, stream: DuplexStream, builder: server::Builder) {
        let mut commands = self.0.commands.subscribe();
        let Ok(mut connection) = builder.handshake(stream).await else {
            return;
        };
        loop {
            tokio::select! {
                accepted = connection.accept() => match accepted {
                    Some(Ok((request, respond))) => {
                        tokio::spawn(self.clone().answer(request, respond));
                    }
                    _ => return,
                },
                Ok(command) = commands.recv() => match command {
                    Command::Drain => connection.graceful_shutdown(),
                    Command::Abrupt(reason) => connection.abrupt_shutdown(reason),
                    Command::Cut => return,
                },
            }
        }
    }

    async fn answer(
        self,
        request: Request<RecvStream>,
        mut respond: server::SendResponse<Bytes>,
    ) -> Option<()> {
        let (head, mut body) = request.into_parts();
        if !head.uri.path().starts_with("/grpc.health") {
            self.0.calls.fetch_add(1, Ordering::SeqCst);
        }
        match head.uri.path() {
            "/hang" => {
                let mut gate = self.0.gate.subscribe();
                tokio::select! {
                    _ = gate.wait_for(|open| *open) => {}
                    _ = poll_fn(|context| respond.poll_reset(context)) => {
                        self.0.cancelled.fetch_add(1, Ordering::SeqCst);
                        return None;
                    }
                }
                respond.send_response(trailers_only(Code::Ok), true).ok()?;
            }
            "/flood" => {
                let mut stream = respond.send_response(Response::new(()), false).ok()?;
                loop {
                    write(&mut stream, Bytes::from_static(&[7; 1 << 14])).await?;
                    self.0.flooded.fetch_add(1 << 14, Ordering::SeqCst);
                }
            }
            "/refuse" => respond.send_reset(Reason::REFUSED_STREAM),
            "/reset" => respond.send_reset(Reason::CANCEL),
            "/echo" => {
                let mut stream = respond.send_response(Response::new(()), false).ok()?;
                while let Some(Ok(bytes)) = body.data().await {
                    body.flow_control().release_capacity(bytes.len()).ok()?;
                    write(&mut stream, bytes).await?;
                }
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", 0.into());
                stream.send_trailers(trailers).ok()?;
            }
            "/grpc.health.v1.Health/Watch" => {
                self.0.watches.fetch_add(1, Ordering::SeqCst);
                self.watch(respond).await;
            }
            _ => {
                respond.send_response(trailers_only(Code::Ok), true).ok()?;
            }
        }
        Some(())
    }

    async fn watch(&self, mut respond: server::SendResponse<Bytes>) -> Option<()> {
        let mut health = self.0.health.subscribe();
        let mut stream = None;
        loop {
            let said = *health.borrow_and_update();
            match (said, &mut stream) {
                (Health::Silent, _) => {}
                (Health::Says(status), opened) => {
                    if opened.is_none() {
                        *opened = Some(respond.send_response(Response::new(()), false).ok()?);
                    }
                    let message = HealthCheckResponse {
                        status: status.into(),
                    };
                    let stream = opened.as_mut()?;
                    stream.send_data(framed(&message), false).ok()?;
                }
                (Health::Ends(code), None) => {
                    respond.send_response(trailers_only(code), true).ok()?;
                    return Some(());
                }
                (Health::Ends(code), Some(stream)) => {
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", i32::from(code).into());
                    stream.send_trailers(trailers).ok()?;
                    return Some(());
                }
            }
            health.changed().await.ok()?;
        }
    }
}

fn framed(message: &HealthCheckResponse) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut bytes).unwrap();
    bytes.freeze()
}

async fn write(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> Option<()> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let room = poll_fn(|context| stream.poll_capacity(context))
            .await?
            .ok()?;
        stream
            .send_data(bytes.split_to(room.min(bytes.len())), false)
            .ok()?;
    }
    Some(())
}

fn trailers_only(code: Code) -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert("content-type", "application/grpc".parse().unwrap());
    headers.insert("grpc-status", i32::from(code).into());
    response
}

/// A unary request.
pub(crate) fn request(path: &str) -> Request<Body> {
    let body = Body::new(Full::new(Bytes::from_static(b"message")));
    let mut request = Request::post(path).body(body).unwrap();
    let headers = request.headers_mut();
    headers.insert("content-type", "application/grpc".parse().unwrap());
    headers.insert("te", "trailers".parse().unwrap());
    request
}

/// Waits until it holds, letting others run.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}
