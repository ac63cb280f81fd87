//! A server that does on the wire what a test says: whole control over frames, trailers and resets.

use std::{
    future::{Future, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, Request, Response};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// One call as the server sees it.
pub(crate) struct Received {
    /// Which call of this server, from 0.
    pub(crate) number: usize,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    buffer: BytesMut,
    cut: CancellationToken,
}

impl Received {
    /// The next message's bytes, without its prefix; `None` at the end of the stream.
    pub(crate) async fn message(&mut self) -> Option<Bytes> {
        loop {
            if let Some(prefix) = self.buffer.get(1..5) {
                let size = u32::from_be_bytes(prefix.try_into().unwrap());
                let size = usize::try_from(size).unwrap();
                if self.buffer.len() >= 5 + size {
                    return Some(self.buffer.split_to(5 + size).freeze().slice(5..));
                }
            }
            let data = self.body.data().await?.ok()?;
            self.body
                .flow_control()
                .release_capacity(data.len())
                .unwrap();
            self.buffer.extend_from_slice(&data);
        }
    }

    /// A response without messages: the status is in the headers.
    pub(crate) fn refuse(mut self, code: i32, also: &[(&'static str, &str)]) {
        let mut headers = vec![("grpc-status", code.to_string())];
        headers.extend(
            also.iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        let mut response = Response::builder().header("content-type", "application/grpc");
        for (name, value) in headers {
            response = response.header(name, value);
        }
        // Gone already is as good.
        let _ = self.respond.send_response(response.body(()).unwrap(), true);
    }

    /// What a proxy says in plain HTTP, with a page.
    pub(crate) fn page(mut self, status: u16) {
        let response = Response::builder()
            .status(status)
            .header("retry-after", "1")
            .header("content-type", "text/html");
        let page = self
            .respond
            .send_response(response.body(()).unwrap(), false);
        let _ = page.unwrap().send_data("<html>".into(), true);
    }

    pub(crate) fn reset(mut self, reason: h2::Reason) {
        self.respond.send_reset(reason);
    }

    /// Begins a response of messages.
    pub(crate) fn begin(&mut self) -> Answering {
        let response = Response::builder().header("content-type", "application/grpc");
        let stream = self
            .respond
            .send_response(response.body(()).unwrap(), false);
        Answering(stream.unwrap())
    }

    /// A response of these headers, no message, and these trailers.
    pub(crate) fn answer(mut self, headers: &[(&str, &str)], trailers: &[(&str, &str)]) {
        let map = |fields: &[(&str, &str)]| -> HeaderMap {
            let field = |&(name, value): &(&str, &str)| -> (http::HeaderName, _) {
                (name.parse().unwrap(), value.parse().unwrap())
            };
            fields.iter().map(field).collect()
        };
        let mut response = Response::new(());
        *response.headers_mut() = map(headers);
        let stream = self.respond.send_response(response, false);
        stream.unwrap().send_trailers(map(trailers)).unwrap();
    }

    /// The same, with more headers.
    pub(crate) fn begin_with(&mut self, also: &[(&str, &str)]) -> Answering {
        let mut response = Response::builder().header("content-type", "application/grpc");
        for (name, value) in also {
            response = response.header(*name, *value);
        }
        let stream = self
            .respond
            .send_response(response.body(()).unwrap(), false);
        Answering(stream.unwrap())
    }

    /// One empty message and OK.
    pub(crate) fn ok(mut self) {
        let mut answer = self.begin();
        answer.message(b"");
        answer.end(0);
    }

    /// Cuts the connection, as the death of its process does.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }

    /// Waits until the caller resets the call.
    pub(crate) async fn given_up(&mut self) -> h2::Reason {
        poll_fn(|context| self.respond.poll_reset(context))
            .await
            .unwrap()
    }
}

/// A response that was begun.
pub(crate) struct Answering(SendStream<Bytes>);

impl Answering {
    pub(crate) fn message(&mut self, message: &[u8]) {
        let mut framed = BytesMut::new();
        framed.put_u8(0);
        framed.put_u32(message.len().try_into().unwrap());
        framed.put_slice(message);
        self.0.send_data(framed.freeze(), false).unwrap();
    }

    /// Bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0
            .send_data(Bytes::copy_from_slice(bytes), false)
            .unwrap();
    }

    /// The end, without trailers.
    pub(crate) fn close(mut self) {
        self.0.send_data(Bytes::new(), true).unwrap();
    }

    pub(crate) fn end(mut self, code: i32) {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", code.to_string().parse().unwrap());
        self.0.send_trailers(trailers).unwrap();
    }

    pub(crate) async fn given_up(&mut self) -> h2::Reason {
        poll_fn(|context| self.0.poll_reset(context)).await.unwrap()
    }
}

/// The server.
pub(crate) struct Wire {
    pub(crate) authority: String,
    calls: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    go_away: CancellationToken,
    task: JoinHandle<()>,
}

impl Wire {
    pub(crate) async fn start<F, A>(handler: F) -> Self
    where
        F: Fn(Received) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        Self::start_by(h2::server::Builder::new(), handler).await
    }

    /// With these settings of HTTP/2.
    pub(crate) async fn start_by<F, A>(builder: h2::server::Builder, handler: F) -> Self
    where
        F: Fn(Received) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let calls = Arc::new(AtomicUsize::new(0));
        let connections = Arc::new(AtomicUsize::new(0));
        let open = Arc::new(AtomicUsize::new(0));
        let go_away = CancellationToken::new();
        let task = tokio::spawn({
            let (calls, connections) = (calls.clone(), connections.clone());
            let open = open.clone();
            let go_away = go_away.clone();
            async move {
                while let Ok((socket, _)) = listener.accept().await {
                    connections.fetch_add(1, Ordering::SeqCst);
                    open.fetch_add(1, Ordering::SeqCst);
                    let handler = handler.clone();
                    let serving = serve(
                        socket,
                        builder.clone(),
                        handler,
                        calls.clone(),
                        go_away.clone(),
                    );
                    let open = open.clone();
                    tokio::spawn(async move {
                        serving.await;
                        open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            }
        });
        Self {
            authority,
            calls,
            connections,
            open,
            go_away,
            task,
        }
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Says GOAWAY on every connection, those to come included.
    pub(crate) fn go_away(&self) {
        self.go_away.cancel();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<F, A>(
    socket: tokio::net::TcpStream,
    builder: h2::server::Builder,
    handler: F,
    calls: Arc<AtomicUsize>,
    go_away: CancellationToken,
) where
    F: Fn(Received) -> A,
    A: Future<Output = ()> + Send + 'static,
{
    let mut server = builder.handshake(socket).await.unwrap();
    let mut going = false;
    let cut = CancellationToken::new();
    loop {
        let next = tokio::select! {
            next = server.accept() => next,
            () = cut.cancelled() => return,
            () = go_away.cancelled(), if !going => {
                going = true;
                server.graceful_shutdown();
                continue;
            }
        };
        let Some(Ok((request, respond))) = next else {
            return;
        };
        let path = request.uri().path().to_owned();
        let (parts, body) = Request::into_parts(request);
        tokio::spawn(handler(Received {
            number: calls.fetch_add(1, Ordering::SeqCst),
            path,
            headers: parts.headers,
            body,
            respond,
            buffer: BytesMut::new(),
            cut: cut.clone(),
        }));
    }
}
