//! The server under ConnectRPC's conformance suite: `conformance-server mizan|tonic [web]`. Told what to
//! be on standard input, it says there where it is.

use std::{io, pin::Pin, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use mizan_peers::{
    COMPRESSIONS,
    conformance::{
        self,
        conformance_payload::RequestInfo,
        conformance_service_server::{ConformanceService, ConformanceServiceServer},
        unary_response_definition::Response as Wanted,
        *,
    },
    metadata::{self, WithMetadata},
    transport_wanted,
};
use prost::{Message, Name};
use prost_types::Any;
use tokio::{net::TcpListener, sync::mpsc, time::sleep};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Status, Streaming};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

struct Conformance;

/// `google.rpc.Status`, with details of any kind.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// What is said of a call: what its handler was sent.
#[derive(Clone)]
struct Came {
    headers: HeaderMap,
    metadata: metadata::Wanted,
}

impl Came {
    fn of<T>(request: &Request<T>) -> Self {
        Self {
            headers: request.metadata().clone().into_headers(),
            metadata: metadata::Wanted::of(request),
        }
    }

    fn info(&self, requests: Vec<Any>) -> RequestInfo {
        let header = |name: &HeaderName| {
            let values = self.headers.get_all(name).iter();
            Header {
                name: name.to_string(),
                value: values
                    .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
                    .collect(),
            }
        };
        RequestInfo {
            request_headers: self.headers.keys().map(header).collect(),
            timeout_ms: self.timeout(),
            requests,
            connect_get_info: None,
        }
    }

    fn timeout(&self) -> Option<i64> {
        let value = self.headers.get("grpc-timeout")?.to_str().ok()?;
        let (number, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
        let number: i64 = number.parse().ok()?;
        Some(match unit {
            "H" => number * 3_600_000,
            "M" => number * 60_000,
            "S" => number * 1000,
            "m" => number,
            "u" => number / 1000,
            "n" => number / 1_000_000,
            _ => return None,
        })
    }

    fn set(&self, headers: &[Header], trailers: &[Header]) {
        self.metadata.set(map(headers), map(trailers));
    }

    async fn unary(
        &self,
        wanted: Option<UnaryResponseDefinition>,
        requests: Vec<Any>,
    ) -> Result<ConformancePayload, Status> {
        let info = self.info(requests);
        let wanted = wanted.unwrap_or_default();
        self.set(&wanted.response_headers, &wanted.response_trailers);
        pause(wanted.response_delay_ms).await;
        match wanted.response {
            Some(Wanted::Error(error)) => Err(status(&error, Some(any(&info)))),
            Some(Wanted::ResponseData(data)) => Ok(payload(data, Some(info))),
            None => Ok(payload(Vec::new(), Some(info))),
        }
    }
}

fn map(headers: &[Header]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for header in headers {
        for value in &header.value {
            let name = HeaderName::from_bytes(header.name.as_bytes()).expect("a name");
            map.append(
                name,
                HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
            );
        }
    }
    map
}

/// A message as the suite wants it back.
fn any<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: format!("type.googleapis.com/{}", M::full_name()),
        value: message.encode_to_vec(),
    }
}

fn payload(data: Vec<u8>, request_info: Option<RequestInfo>) -> ConformancePayload {
    ConformancePayload { data, request_info }
}

fn status(error: &conformance::Error, also: Option<Any>) -> Status {
    let details: Vec<Any> = error.details.iter().cloned().chain(also).collect();
    let message = error.message.clone().unwrap_or_default();
    let code = error.code;
    let encoded = match details.is_empty() {
        true => Vec::new(),
        false => Details {
            code,
            message: message.clone(),
            details,
        }
        .encode_to_vec(),
    };
    Status::with_details(Code::from_i32(code), message, encoded.into())
}

async fn pause(milliseconds: u32) {
    sleep(Duration::from_millis(milliseconds.into())).await;
}

#[tonic::async_trait]
impl ConformanceService for Conformance {
    type ServerStreamStream = Answers<ServerStreamResponse>;
    type BidiStreamStream = Answers<BidiStreamResponse>;

    async fn unary(
        &self,
        request: Request<UnaryRequest>,
    ) -> Result<Response<UnaryResponse>, Status> {
        let came = Came::of(&request);
        let request = request.into_inner();
        let requests = vec![any(&request)];
        let payload = Some(came.unary(request.response_definition, requests).await?);
        Ok(Response::new(UnaryResponse { payload }))
    }

    async fn idempotent_unary(
        &self,
        request: Request<IdempotentUnaryRequest>,
    ) -> Result<Response<IdempotentUnaryResponse>, Status> {
        let came = Came::of(&request);
        let request = request.into_inner();
        let requests = vec![any(&request)];
        let payload = Some(came.unary(request.response_definition, requests).await?);
        Ok(Response::new(IdempotentUnaryResponse { payload }))
    }

    async fn unimplemented(
        &self,
        _: Request<UnimplementedRequest>,
    ) -> Result<Response<UnimplementedResponse>, Status> {
        Err(Status::unimplemented("as its name says"))
    }

    async fn client_stream(
        &self,
        request: Request<Streaming<ClientStreamRequest>>,
    ) -> Result<Response<ClientStreamResponse>, Status> {
        let came = Came::of(&request);
        let mut messages = request.into_inner();
        let (mut wanted, mut requests) = (None, Vec::new());
        while let Some(message) = messages.message().await? {
            let any = any(&message);
            if requests.is_empty() {
                wanted = message.response_definition;
            }
            requests.push(any);
        }
        let payload = Some(came.unary(wanted, requests).await?);
        Ok(Response::new(ClientStreamResponse { payload }))
    }

    async fn server_stream(
        &self,
        request: Request<ServerStreamRequest>,
    ) -> Result<Response<Self::ServerStreamStream>, Status> {
        let came = Came::of(&request);
        let request = request.into_inner();
        let mut info = Some(came.info(vec![any(&request)]));
        let wanted = request.response_definition.unwrap_or_default();
        came.set(&wanted.response_headers, &wanted.response_trailers);
        let (to, answers) = mpsc::channel(1);
        tokio::spawn(async move {
            for data in wanted.response_data {
                pause(wanted.response_delay_ms).await;
                let payload = Some(payload(data, info.take()));
                if to.send(Ok(ServerStreamResponse { payload })).await.is_err() {
                    return;
                }
            }
            if let Some(error) = wanted.error {
                let _ = to.send(Err(status(&error, info.as_ref().map(any)))).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn bidi_stream(
        &self,
        request: Request<Streaming<BidiStreamRequest>>,
    ) -> Result<Response<Self::BidiStreamStream>, Status> {
        let came = Came::of(&request);
        let mut messages = request.into_inner();
        let Some(first) = messages.message().await? else {
            return Ok(Response::new(Box::pin(tokio_stream::empty())));
        };
        if let Some(wanted) = &first.response_definition {
            came.set(&wanted.response_headers, &wanted.response_trailers);
        }
        let (to, answers) = mpsc::channel(1);
        tokio::spawn(async move {
            if let Err(status) = converse(came, first, messages, &to).await {
                let _ = to.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

/// Full duplex: an answer to each message; half duplex: all of them when the last has come.
async fn converse(
    came: Came,
    first: BidiStreamRequest,
    mut messages: Streaming<BidiStreamRequest>,
    to: &mpsc::Sender<Result<BidiStreamResponse, Status>>,
) -> Result<(), Status> {
    let full = first.full_duplex;
    let mut requests = vec![any(&first)];
    let wanted = first.response_definition.unwrap_or_default();
    let mut data = wanted.response_data.into_iter();
    let mut sent = 0;
    loop {
        if full {
            let Some(data) = data.next() else { break };
            let requests = std::mem::take(&mut requests);
            let info = match sent {
                0 => came.info(requests),
                _ => RequestInfo {
                    requests,
                    ..RequestInfo::default()
                },
            };
            pause(wanted.response_delay_ms).await;
            let payload = Some(payload(data, Some(info)));
            if to.send(Ok(BidiStreamResponse { payload })).await.is_err() {
                return Ok(());
            }
            sent += 1;
        }
        match messages.message().await? {
            Some(message) => requests.push(any(&message)),
            None => break,
        }
    }
    for data in data {
        let info = (sent == 0).then(|| came.info(std::mem::take(&mut requests)));
        pause(wanted.response_delay_ms).await;
        let payload = Some(payload(data, info));
        if to.send(Ok(BidiStreamResponse { payload })).await.is_err() {
            return Ok(());
        }
        sent += 1;
    }
    match wanted.error {
        Some(error) => Err(status(
            &error,
            (sent == 0).then(|| any(&came.info(requests))),
        )),
        None => Ok(()),
    }
}

#[tokio::main]
async fn main() {
    let wanted: ServerCompatRequest = mizan_peers::read(&mut io::stdin()).expect("a request");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let mut service = ConformanceServiceServer::new(Conformance);
    for encoding in COMPRESSIONS {
        service = service
            .accept_compressed(encoding)
            .send_compressed(encoding);
    }
    if let Ok(limit @ 1..) = usize::try_from(wanted.message_receive_limit) {
        service = service.max_decoding_message_size(limit);
    }
    let here = ServerCompatResponse {
        host: address.ip().to_string(),
        port: address.port().into(),
        pem_cert: Vec::new(),
    };
    mizan_peers::write(&here).expect("somebody who reads");
    let web = std::env::args().any(|argument| argument == "web");
    mizan_peers::serve(&transport_wanted(), web, listener, WithMetadata(service)).await;
}
