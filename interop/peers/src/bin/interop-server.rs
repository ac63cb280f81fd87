//! gRPC's interop server: `interop-server mizan|tonic PORT`.

use std::{pin::Pin, time::Duration};

use http::HeaderMap;
use mizan_peers::{
    COMPRESSIONS,
    metadata::{Wanted, WithMetadata},
    testing::{
        test_service_server::{TestService, TestServiceServer},
        *,
    },
    transport_wanted,
};
use tokio::{net::TcpListener, sync::mpsc, time::sleep};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

type Outputs = Pin<Box<dyn Stream<Item = Result<StreamingOutputCallResponse, Status>> + Send>>;

/// The case "large_unary" of some suites wants more than the usual 4 MiB.
const MESSAGE_MAX: usize = 64 << 20;

struct Interop;

/// The metadata that comes is sent back, in headers and trailers.
fn echo<T>(request: &Request<T>) {
    let came = request.metadata().clone().into_headers();
    let only = |name: &'static str| {
        let value = came
            .get(name)
            .map(|value| (http::HeaderName::from_static(name), value.clone()));
        value.into_iter().collect::<HeaderMap>()
    };
    let initial = only("x-grpc-test-echo-initial");
    Wanted::of(request).set(initial, only("x-grpc-test-echo-trailing-bin"));
}

fn check(wanted: Option<&EchoStatus>) -> Result<(), Status> {
    match wanted {
        Some(status) if status.code != 0 => Err(Status::new(status.code.into(), &status.message)),
        _ => Ok(()),
    }
}

fn payload(size: i32) -> Option<Payload> {
    let body = vec![0; usize::try_from(size).unwrap_or_default()];
    Some(Payload {
        body,
        ..Payload::default()
    })
}

async fn output(
    parameters: Vec<ResponseParameters>,
    to: &mpsc::Sender<Result<StreamingOutputCallResponse, Status>>,
) -> bool {
    for one in parameters {
        sleep(Duration::from_micros(
            u64::try_from(one.interval_us).unwrap_or_default(),
        ))
        .await;
        let payload = payload(one.size);
        if to
            .send(Ok(StreamingOutputCallResponse {
                payload,
                ..StreamingOutputCallResponse::default()
            }))
            .await
            .is_err()
        {
            return false;
        }
    }
    true
}

#[tonic::async_trait]
impl TestService for Interop {
    type StreamingOutputCallStream = Outputs;
    type FullDuplexCallStream = Outputs;
    type HalfDuplexCallStream = Outputs;

    async fn empty_call(&self, request: Request<Empty>) -> Result<Response<Empty>, Status> {
        echo(&request);
        Ok(Response::new(Empty {}))
    }

    async fn unary_call(
        &self,
        request: Request<SimpleRequest>,
    ) -> Result<Response<SimpleResponse>, Status> {
        echo(&request);
        let request = request.into_inner();
        check(request.response_status.as_ref())?;
        let payload = payload(request.response_size);
        Ok(Response::new(SimpleResponse {
            payload,
            ..SimpleResponse::default()
        }))
    }

    async fn cacheable_unary_call(
        &self,
        request: Request<SimpleRequest>,
    ) -> Result<Response<SimpleResponse>, Status> {
        self.unary_call(request).await
    }

    async fn streaming_output_call(
        &self,
        request: Request<StreamingOutputCallRequest>,
    ) -> Result<Response<Outputs>, Status> {
        echo(&request);
        let request = request.into_inner();
        check(request.response_status.as_ref())?;
        let (to, outputs) = mpsc::channel(1);
        tokio::spawn(async move { output(request.response_parameters, &to).await });
        Ok(Response::new(Box::pin(ReceiverStream::new(outputs))))
    }

    async fn streaming_input_call(
        &self,
        request: Request<Streaming<StreamingInputCallRequest>>,
    ) -> Result<Response<StreamingInputCallResponse>, Status> {
        echo(&request);
        let mut inputs = request.into_inner();
        let mut size = 0;
        while let Some(input) = inputs.message().await? {
            size += input.payload.map_or(0, |payload| payload.body.len());
        }
        let aggregated_payload_size = i32::try_from(size).unwrap_or(i32::MAX);
        Ok(Response::new(StreamingInputCallResponse {
            aggregated_payload_size,
        }))
    }

    async fn full_duplex_call(
        &self,
        request: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Result<Response<Outputs>, Status> {
        echo(&request);
        let mut inputs = request.into_inner();
        let (to, outputs) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                let input = match inputs.message().await {
                    Ok(Some(input)) => input,
                    Ok(None) => return,
                    Err(status) => return drop(to.send(Err(status)).await),
                };
                if let Err(status) = check(input.response_status.as_ref()) {
                    return drop(to.send(Err(status)).await);
                }
                if !output(input.response_parameters, &to).await {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outputs))))
    }

    async fn half_duplex_call(
        &self,
        _: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Result<Response<Outputs>, Status> {
        Err(Status::unimplemented("no suite calls it"))
    }

    async fn unimplemented_call(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        Err(Status::unimplemented("as its name says"))
    }
}

#[tokio::main]
async fn main() {
    let port = std::env::args().nth(2).unwrap_or_else(|| "0".to_owned());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await;
    let listener = listener.expect("a free port");
    println!("{}", listener.local_addr().expect("an address").port());
    let mut service = TestServiceServer::new(Interop).max_decoding_message_size(MESSAGE_MAX);
    for encoding in COMPRESSIONS {
        service = service
            .accept_compressed(encoding)
            .send_compressed(encoding);
    }
    mizan_peers::serve(&transport_wanted(), false, listener, WithMetadata(service)).await;
}
