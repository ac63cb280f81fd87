//! The client under ConnectRPC's conformance suite: `conformance-client mizan|mizan-default|tonic`. It is
//! told the calls on standard input and tells there how they went.

use std::{io, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use mizan_peers::{
    Client,
    conformance::{
        self, client_compat_request::cancel::CancelTiming,
        client_compat_response::Result as Outcome,
        conformance_service_client::ConformanceServiceClient, *,
    },
    connect, transport_wanted,
};
use prost::Message;
use prost_types::Any;
use tokio::{
    sync::{Notify, Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Response, Status, Streaming, codec::CompressionEncoding, metadata::MetadataMap,
};

type Conformance = ConformanceServiceClient<Client>;

/// How many calls are under way at once.
const CALLS_MAX: usize = 8;

/// When a call counts as hung.
const CALL_MAX: Duration = Duration::from_secs(30);

/// `google.rpc.Status`, with details of any kind.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// A call of the suite's.
struct Call(ClientCompatRequest);

impl Call {
    fn timing(&self) -> Option<CancelTiming> {
        self.0.cancel.as_ref()?.cancel_timing
    }

    /// How long after the last message was sent the call is cancelled.
    fn cancelled_after_close(&self) -> Option<Duration> {
        match (&self.0.cancel, self.timing()) {
            (_, Some(CancelTiming::AfterCloseSendMs(ms))) => Some(Duration::from_millis(ms.into())),
            (Some(_), None) => Some(Duration::ZERO),
            _ => None,
        }
    }

    fn cancelled_before_close(&self) -> bool {
        matches!(self.timing(), Some(CancelTiming::BeforeCloseSend(_)))
    }

    /// After how many answers it is cancelled.
    fn answers_max(&self) -> usize {
        match self.timing() {
            Some(CancelTiming::AfterNumResponses(number)) => usize::try_from(number).unwrap_or(0),
            _ => usize::MAX,
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(ms) = self.0.timeout_ms {
            request.set_timeout(Duration::from_millis(ms.into()));
        }
        let mut headers = std::mem::take(request.metadata_mut()).into_headers();
        for header in &self.0.request_headers {
            for value in &header.value {
                let name = HeaderName::from_bytes(header.name.as_bytes()).expect("a name");
                headers.append(
                    name,
                    HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
                );
            }
        }
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        request
    }

    fn messages<M: Message + Default>(&self) -> Vec<M> {
        let messages = self.0.request_messages.iter();
        messages
            .map(|any| M::decode(&*any.value).expect("a message"))
            .collect()
    }

    fn message<M: Message + Default>(&self) -> M {
        self.messages().into_iter().next().unwrap_or_default()
    }

    async fn pause(&self) {
        sleep(Duration::from_millis(self.0.request_delay_ms.into())).await;
    }

    fn client(&self, transport: &str) -> Conformance {
        let authority = format!("{}:{}", self.0.host, self.0.port);
        let mut client = ConformanceServiceClient::new(connect(transport, &authority));
        let encoding = match self.0.compression() {
            Compression::Gzip => Some(CompressionEncoding::Gzip),
            Compression::Zstd => Some(CompressionEncoding::Zstd),
            Compression::Deflate => Some(CompressionEncoding::Deflate),
            _ => None,
        };
        if let Some(encoding) = encoding {
            client = client.send_compressed(encoding).accept_compressed(encoding);
        }
        if let Ok(limit @ 1..) = usize::try_from(self.0.message_receive_limit) {
            client = client.max_decoding_message_size(limit);
        }
        client
    }
}

/// What is told of a call.
#[derive(Default)]
struct Told(ClientResponseResult);

impl Told {
    fn failed(&mut self, status: &Status) {
        self.0.error = Some(conformance::Error {
            code: i32::from(status.code()),
            message: Some(status.message().to_owned()),
            details: details(status),
        });
        let metadata = headers(status.metadata());
        if self.0.response_headers.is_empty() {
            self.0.response_headers.clone_from(&metadata);
        }
        if self.0.response_trailers.is_empty() {
            self.0.response_trailers = metadata;
        }
    }

    /// tonic gives headers and trailers of a unary call as one.
    fn unary<T>(
        mut self,
        answer: Result<Response<T>, Status>,
        payload: impl FnOnce(T) -> Option<ConformancePayload>,
    ) -> ClientResponseResult {
        match answer {
            Ok(response) => {
                let metadata = headers(response.metadata());
                self.0.response_headers.clone_from(&metadata);
                self.0.response_trailers = metadata;
                self.0
                    .payloads
                    .push(payload(response.into_inner()).unwrap_or_default());
            }
            Err(status) => self.failed(&status),
        }
        self.0
    }
}

/// A status's details, without the reason that Mizan's own refusals carry: the suite knows no refusal by the
/// client itself that says more than its code.
fn details(status: &Status) -> Vec<Any> {
    let mut details = Details::decode(status.details())
        .unwrap_or_default()
        .details;
    if mizan::status::reason(status).is_some() {
        details.retain(|any| !any.type_url.starts_with("type.googleapis.com/google.rpc."));
    }
    details
}

fn headers(metadata: &MetadataMap) -> Vec<Header> {
    let map: HeaderMap = metadata.clone().into_headers();
    let header = |name: &HeaderName| {
        let values = map.get_all(name).iter();
        Header {
            name: name.to_string(),
            value: values
                .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
                .collect(),
        }
    };
    map.keys().map(header).collect()
}

fn cancelled() -> Status {
    Status::cancelled("by the suite")
}

/// The answer, unless the call is cancelled before.
async fn unless_cancelled<T>(
    call: &Call,
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    match call.cancelled_after_close() {
        Some(after) => tokio::select! {
            answer = answer => answer,
            () = sleep(after) => Err(cancelled()),
        },
        None => answer.await,
    }
}

async fn client_stream(call: &Call, mut client: Conformance) -> ClientResponseResult {
    let (to, requests) = mpsc::channel(1);
    let answer = client.client_stream(call.request(ReceiverStream::new(requests)));
    let cancel = Notify::new();
    let sending = async {
        for message in call.messages::<ClientStreamRequest>() {
            call.pause().await;
            if to.send(message).await.is_err() {
                break;
            }
        }
        if call.cancelled_before_close() {
            cancel.notify_one();
            return std::future::pending().await;
        }
        drop(to);
        if let Some(after) = call.cancelled_after_close() {
            sleep(after).await;
            cancel.notify_one();
        }
        std::future::pending::<()>().await;
    };
    let answer = tokio::select! {
        answer = answer => answer,
        () = cancel.notified() => Err(cancelled()),
        () = sending => unreachable!("it waits for ever"),
    };
    Told::default().unary(answer, |response| response.payload)
}

async fn server_stream(call: &Call, mut client: Conformance) -> ClientResponseResult {
    let mut told = Told::default();
    let begun = Instant::now();
    let until = call.cancelled_after_close().map(|after| begun + after);
    let request = call.request(call.message::<ServerStreamRequest>());
    let answer = tokio::select! {
        answer = client.server_stream(request) => answer,
        () = at(until) => Err(cancelled()),
    };
    match answer {
        Ok(response) => {
            told.0.response_headers = headers(response.metadata());
            let payload = |response: ServerStreamResponse| response.payload;
            read(call, &mut told, response.into_inner(), until, payload).await;
        }
        Err(status) => told.failed(&status),
    }
    told.0
}

/// Reads a stream to its end.
async fn read<T>(
    call: &Call,
    told: &mut Told,
    mut answers: Streaming<T>,
    until: Option<Instant>,
    payload: fn(T) -> Option<ConformancePayload>,
) {
    loop {
        if told.0.payloads.len() >= call.answers_max() {
            return told.failed(&cancelled());
        }
        let message = tokio::select! {
            message = answers.message() => message,
            () = at(until) => Err(cancelled()),
        };
        match message {
            Ok(Some(message)) => told.0.payloads.push(payload(message).unwrap_or_default()),
            Ok(None) => {
                if let Ok(Some(trailers)) = answers.trailers().await {
                    told.0.response_trailers = headers(&trailers);
                }
                return;
            }
            Err(status) => return told.failed(&status),
        }
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

async fn bidi_stream(call: &Call, mut client: Conformance) -> ClientResponseResult {
    let mut told = Told::default();
    let full = call.0.stream_type() == StreamType::FullDuplexBidiStream;
    let (to, requests) = mpsc::channel(1);
    let request = call.request(ReceiverStream::new(requests));
    // The call is under way while its messages are sent.
    let mut answer = Some(tokio::spawn(
        async move { client.bidi_stream(request).await },
    ));
    let mut answers = None;
    let payload = |response: BidiStreamResponse| response.payload;
    let messages: Vec<BidiStreamRequest> = call.messages();
    for (index, message) in messages.iter().enumerate() {
        call.pause().await;
        if to.send(message.clone()).await.is_err() {
            told.0.num_unsent_requests = i32::try_from(messages.len() - index).unwrap_or(i32::MAX);
            break;
        }
        if !full {
            continue;
        }
        if answers.is_none()
            && let Some(answer) = answer.take()
        {
            match answer.await.expect("no panic") {
                Ok(response) => {
                    told.0.response_headers = headers(response.metadata());
                    answers = Some(response.into_inner());
                }
                Err(status) => {
                    told.failed(&status);
                    return told.0;
                }
            }
        }
        let Some(stream) = answers.as_mut() else {
            break;
        };
        match stream.message().await {
            Ok(Some(message)) => {
                told.0.payloads.push(payload(message).unwrap_or_default());
                if told.0.payloads.len() == call.answers_max() {
                    told.failed(&cancelled());
                    return told.0;
                }
            }
            Ok(None) => break,
            Err(status) => {
                told.failed(&status);
                return told.0;
            }
        }
    }
    if call.cancelled_before_close() {
        if let Some(answer) = answer {
            answer.abort();
        }
        told.failed(&cancelled());
        return told.0;
    }
    drop(to);
    let until = call
        .cancelled_after_close()
        .map(|after| Instant::now() + after);
    if let Some(answer) = answer {
        let answer = tokio::select! {
            answer = answer => answer.expect("no panic"),
            () = at(until) => Err(cancelled()),
        };
        match answer {
            Ok(response) => {
                told.0.response_headers = headers(response.metadata());
                answers = Some(response.into_inner());
            }
            Err(status) => told.failed(&status),
        }
    }
    if let Some(stream) = answers {
        read(call, &mut told, stream, until, payload).await;
    }
    told.0
}

async fn made(call: &Call, transport: &str) -> Outcome {
    let mut client = call.client(transport);
    let told = Told::default();
    let result = match call.0.method() {
        "Unary" => {
            let request = call.request(call.message::<UnaryRequest>());
            told.unary(unless_cancelled(call, client.unary(request)).await, |r| {
                r.payload
            })
        }
        "IdempotentUnary" => {
            let request = call.request(call.message::<IdempotentUnaryRequest>());
            let answer = unless_cancelled(call, client.idempotent_unary(request)).await;
            told.unary(answer, |r| r.payload)
        }
        "Unimplemented" => {
            let request = call.request(call.message::<UnimplementedRequest>());
            let answer = unless_cancelled(call, client.unimplemented(request)).await;
            told.unary(answer, |_| None)
        }
        "ClientStream" => client_stream(call, client).await,
        "ServerStream" => server_stream(call, client).await,
        "BidiStream" => bidi_stream(call, client).await,
        other => {
            let message = format!("there is no method {other}");
            return Outcome::Error(ClientErrorResult { message });
        }
    };
    debug_assert!(
        result
            .error
            .as_ref()
            .is_none_or(|e| e.code != i32::from(Code::Ok))
    );
    Outcome::Response(result)
}

#[tokio::main]
async fn main() {
    let transport: Arc<str> = transport_wanted().into();
    let (to, mut calls) = mpsc::channel(1);
    std::thread::spawn(move || {
        while let Some(call) = mizan_peers::read(&mut io::stdin()) {
            if to.blocking_send(Call(call)).is_err() {
                return;
            }
        }
    });
    let places = Arc::new(Semaphore::new(CALLS_MAX));
    let mut under_way = JoinSet::new();
    while let Some(call) = calls.recv().await {
        let place = places.clone().acquire_owned().await.expect("never closed");
        let transport = transport.clone();
        under_way.spawn(async move {
            let _place = place;
            let message = "the call hung".to_owned();
            let made = timeout(CALL_MAX, made(&call, &transport)).await;
            let response = ClientCompatResponse {
                test_name: call.0.test_name,
                result: Some(made.unwrap_or(Outcome::Error(ClientErrorResult { message }))),
            };
            mizan_peers::write(&response).expect("somebody who reads");
        });
    }
    while under_way.join_next().await.is_some() {}
}
