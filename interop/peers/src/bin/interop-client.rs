//! gRPC's interop client: `interop-client mizan|mizan-default|tonic PORT CASE...`. Says how each case went;
//! ends with the number of those that failed.

use std::{process::ExitCode, time::Duration};

use mizan_peers::{
    Client, connect,
    testing::{
        test_service_client::TestServiceClient,
        unimplemented_service_client::UnimplementedServiceClient, *,
    },
    transport_wanted,
};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Status, Streaming,
    codec::CompressionEncoding,
    metadata::{MetadataMap, MetadataValue},
};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Outcome = Result<(), Error>;
type Calls = TestServiceClient<Client>;

/// The messages of "large_unary".
const LARGE_REQUEST: usize = 271_828;
const LARGE_RESPONSE: i32 = 314_159;

/// The messages of the streaming cases: what is sent, and what is asked for.
const REQUESTS: [usize; 4] = [27_182, 8, 1_828, 45_904];
const RESPONSES: [i32; 4] = [31_415, 9, 2_653, 58_979];

const INITIAL: &str = "x-grpc-test-echo-initial";
const TRAILING: &str = "x-grpc-test-echo-trailing-bin";

/// When a case counts as hung.
const CASE_MAX: Duration = Duration::from_secs(60);

const CASES: &[&str] = &[
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "unimplemented_method",
    "unimplemented_service",
    "custom_metadata",
    "compressed_unary",
    "compressed_streaming",
    "unknown_compression",
    "concurrent_large_unary",
    "soak",
];

fn ensure(holds: bool, otherwise: impl std::fmt::Debug) -> Outcome {
    match holds {
        true => Ok(()),
        false => Err(format!("{otherwise:?}").into()),
    }
}

fn payload(size: usize) -> Option<Payload> {
    Some(Payload {
        body: vec![0; size],
        ..Payload::default()
    })
}

fn large() -> SimpleRequest {
    SimpleRequest {
        response_size: LARGE_RESPONSE,
        payload: payload(LARGE_REQUEST),
        ..SimpleRequest::default()
    }
}

fn wanting(sizes: &[i32], sent: usize) -> StreamingOutputCallRequest {
    let parameters = sizes.iter().map(|size| ResponseParameters {
        size: *size,
        ..ResponseParameters::default()
    });
    StreamingOutputCallRequest {
        response_parameters: parameters.collect(),
        payload: payload(sent),
        ..StreamingOutputCallRequest::default()
    }
}

fn inputs() -> Vec<StreamingInputCallRequest> {
    let input = |size| StreamingInputCallRequest {
        payload: payload(size),
        ..StreamingInputCallRequest::default()
    };
    REQUESTS.into_iter().map(input).collect()
}

fn size(payload: Option<Payload>) -> i32 {
    i32::try_from(payload.unwrap_or_default().body.len()).unwrap_or(i32::MAX)
}

async fn sizes(mut answers: Streaming<StreamingOutputCallResponse>) -> Result<Vec<i32>, Status> {
    let mut sizes = Vec::new();
    while let Some(answer) = answers.message().await? {
        sizes.push(size(answer.payload));
    }
    Ok(sizes)
}

async fn large_unary(client: &mut Calls) -> Outcome {
    let answer = client.unary_call(large()).await?.into_inner();
    ensure(size(answer.payload) == LARGE_RESPONSE, "another size")
}

/// How a call failed.
fn failed<T: std::fmt::Debug>(answer: Result<T, Status>) -> Result<Status, Error> {
    answer.err().ok_or_else(|| "it went well".into())
}

async fn streaming_input(client: &mut Calls) -> Outcome {
    let answer = client
        .streaming_input_call(tokio_stream::iter(inputs()))
        .await?;
    ensure(
        answer.get_ref().aggregated_payload_size == 74_922,
        answer.get_ref(),
    )
}

async fn ping_pong(client: &mut Calls) -> Outcome {
    let (to, requests) = mpsc::channel(1);
    let mut rest = RESPONSES.into_iter().zip(REQUESTS);
    let mut send = async |to: &mpsc::Sender<_>| match rest.next() {
        Some((response, request)) => to.send(wanting(&[response], request)).await.is_ok(),
        None => false,
    };
    send(&to).await;
    let call = client.full_duplex_call(ReceiverStream::new(requests));
    let mut answers = call.await?.into_inner();
    let (mut to, mut came) = (Some(to), Vec::new());
    while let Some(answer) = answers.message().await? {
        came.push(size(answer.payload));
        if let Some(sender) = &to
            && !send(sender).await
        {
            to = None;
        }
    }
    ensure(came == RESPONSES, came)
}

async fn timeout_on_sleeping_server(client: &mut Calls) -> Outcome {
    let (to, requests) = mpsc::channel(1);
    to.send(wanting(&[], REQUESTS[0])).await?;
    let mut request = Request::new(ReceiverStream::new(requests));
    request.set_timeout(Duration::from_millis(1));
    let status = match client.full_duplex_call(request).await {
        Ok(answers) => failed(answers.into_inner().message().await)?,
        Err(status) => status,
    };
    ensure(status.code() == Code::DeadlineExceeded, status)
}

async fn cancel_after_begin(client: &mut Calls) -> Outcome {
    let (to, requests) = mpsc::channel::<StreamingInputCallRequest>(1);
    let call = client.streaming_input_call(ReceiverStream::new(requests));
    let begun = timeout(Duration::from_millis(50), call).await;
    ensure(begun.is_err(), "it was answered")?;
    to.closed().await;
    client.empty_call(Empty {}).await?;
    Ok(())
}

async fn cancel_after_first_response(client: &mut Calls) -> Outcome {
    let (to, requests) = mpsc::channel(1);
    to.send(wanting(&RESPONSES[..1], REQUESTS[0])).await?;
    let call = client.full_duplex_call(ReceiverStream::new(requests));
    let mut answers = call.await?.into_inner();
    ensure(answers.message().await?.is_some(), "no answer")?;
    drop(answers);
    to.closed().await;
    client.empty_call(Empty {}).await?;
    Ok(())
}

async fn status_code_and_message(client: &mut Calls) -> Outcome {
    let (code, message) = (2, "test status message".to_owned());
    let response_status = Some(EchoStatus { code, message });
    let unary = SimpleRequest {
        response_status: response_status.clone(),
        ..SimpleRequest::default()
    };
    let told = |status: Status| {
        let as_wanted = status.code() == Code::Unknown && status.message() == "test status message";
        ensure(as_wanted, status)
    };
    told(failed(client.unary_call(unary).await)?)?;
    let streaming = tokio_stream::once(StreamingOutputCallRequest {
        response_status,
        ..StreamingOutputCallRequest::default()
    });
    let status = match client.full_duplex_call(streaming).await {
        Ok(answers) => failed(answers.into_inner().message().await)?,
        Err(status) => status,
    };
    told(status)
}

async fn special_status_message(client: &mut Calls) -> Outcome {
    let message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";
    let request = SimpleRequest {
        response_status: Some(EchoStatus {
            code: 2,
            message: message.to_owned(),
        }),
        ..SimpleRequest::default()
    };
    let status = failed(client.unary_call(request).await)?;
    ensure(
        status.code() == Code::Unknown && status.message() == message,
        status,
    )
}

async fn custom_metadata(client: &mut Calls) -> Outcome {
    fn with<T>(message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert(
            INITIAL,
            MetadataValue::from_static("test_initial_metadata_value"),
        );
        metadata.insert_bin(TRAILING, MetadataValue::from_bytes(&[0xab; 3]));
        request
    }
    let initial = |metadata: &MetadataMap| {
        metadata
            .get(INITIAL)
            .is_some_and(|value| value == "test_initial_metadata_value")
    };
    let trailing = |metadata: &MetadataMap| {
        let value = metadata
            .get_bin(TRAILING)
            .and_then(|value| value.to_bytes().ok());
        value.is_some_and(|bytes| *bytes == [0xab; 3])
    };
    let answer = client.unary_call(with(large())).await?;
    ensure(
        initial(answer.metadata()) && trailing(answer.metadata()),
        answer.metadata(),
    )?;
    let request = with(tokio_stream::once(wanting(
        &[LARGE_RESPONSE],
        LARGE_REQUEST,
    )));
    let answer = client.full_duplex_call(request).await?;
    ensure(initial(answer.metadata()), answer.metadata())?;
    let mut answers = answer.into_inner();
    while answers.message().await?.is_some() {}
    let trailers = answers.trailers().await?.unwrap_or_default();
    ensure(trailing(&trailers), trailers)
}

async fn compressed_streaming(client: &mut Calls) -> Outcome {
    streaming_input(client).await?;
    let answers = client
        .streaming_output_call(wanting(&[31_415, 92_653], 0))
        .await?;
    let came = sizes(answers.into_inner()).await?;
    ensure(came == [31_415, 92_653], came)
}

async fn concurrent(client: &Calls) -> Outcome {
    let mut calls = JoinSet::new();
    for _ in 0..200 {
        let mut client = client.clone();
        calls.spawn(async move { large_unary(&mut client).await });
    }
    while let Some(call) = calls.join_next().await {
        call??;
    }
    Ok(())
}

async fn run(channel: Client, case: &str) -> Outcome {
    let mut client = TestServiceClient::new(channel.clone());
    let zipped = |client: Calls| {
        let gzip = CompressionEncoding::Gzip;
        client.send_compressed(gzip).accept_compressed(gzip)
    };
    match case {
        "empty_unary" => drop(client.empty_call(Empty {}).await?),
        "large_unary" => large_unary(&mut client).await?,
        "client_streaming" => streaming_input(&mut client).await?,
        "server_streaming" => {
            let answers = client.streaming_output_call(wanting(&RESPONSES, 0)).await?;
            let came = sizes(answers.into_inner()).await?;
            ensure(came == RESPONSES, came)?;
        }
        "ping_pong" => ping_pong(&mut client).await?,
        "empty_stream" => {
            let answers = client.full_duplex_call(tokio_stream::empty()).await?;
            let came = sizes(answers.into_inner()).await?;
            ensure(came.is_empty(), came)?;
        }
        "timeout_on_sleeping_server" => timeout_on_sleeping_server(&mut client).await?,
        "cancel_after_begin" => cancel_after_begin(&mut client).await?,
        "cancel_after_first_response" => cancel_after_first_response(&mut client).await?,
        "status_code_and_message" => status_code_and_message(&mut client).await?,
        "special_status_message" => special_status_message(&mut client).await?,
        "unimplemented_method" => {
            let status = failed(client.unimplemented_call(Empty {}).await)?;
            ensure(status.code() == Code::Unimplemented, status)?;
        }
        "unimplemented_service" => {
            let mut nobody = UnimplementedServiceClient::new(channel);
            let status = failed(nobody.unimplemented_call(Empty {}).await)?;
            ensure(status.code() == Code::Unimplemented, status)?;
        }
        "custom_metadata" => custom_metadata(&mut client).await?,
        "compressed_unary" => large_unary(&mut zipped(client)).await?,
        "compressed_streaming" => compressed_streaming(&mut zipped(client)).await?,
        // The Go server knows gzip alone.
        "unknown_compression" => {
            let mut client = client.send_compressed(CompressionEncoding::Zstd);
            let status = failed(client.empty_call(Empty {}).await)?;
            ensure(status.code() == Code::Unimplemented, status)?;
        }
        "concurrent_large_unary" => concurrent(&client).await?,
        "soak" => {
            for _ in 0..1_000 {
                large_unary(&mut client).await?;
            }
        }
        other => return Err(format!("there is no case {other}").into()),
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(2);
    let port = arguments.next().unwrap_or_default();
    let mut cases: Vec<String> = arguments.collect();
    if cases.is_empty() {
        cases = CASES.iter().map(|case| (*case).to_owned()).collect();
    }
    let channel = connect(&transport_wanted(), &format!("127.0.0.1:{port}"));
    let mut failures = 0;
    for case in &cases {
        let ran = timeout(CASE_MAX, run(channel.clone(), case)).await;
        match ran.unwrap_or_else(|_| Err("it hung".into())) {
            Ok(()) => println!("passed {case}"),
            Err(error) => {
                failures += 1;
                println!("FAILED {case}: {error}");
            }
        }
    }
    println!(
        "{} passed, {failures} failed",
        cases.len() - usize::from(failures)
    );
    ExitCode::from(failures)
}
