//! Whose word the deadline is.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use mizan::{Channel, ChannelBuilder};
use mizan_contracts::registry::v1::{
    WatchInstancesRequest, registry_service_client::RegistryServiceClient,
};
use tokio::time::sleep;
use tonic::{Code, Request};

use crate::{support::call, wire::Wire};

const SECOND: Duration = Duration::from_secs(1);

type Client = RegistryServiceClient<Channel>;

/// Answers after so long, and notes the `grpc-timeout`s that it was sent.
async fn slow(time: Duration) -> (Wire, Arc<Mutex<Vec<Option<String>>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let server = Wire::start({
        let told = told.clone();
        move |mut call| {
            let timeout = call.headers.get("grpc-timeout");
            let timeout = timeout.map(|value| value.to_str().unwrap().to_owned());
            told.lock().unwrap().push(timeout);
            async move {
                while call.message().await.is_some() {}
                sleep(time).await;
                call.ok();
            }
        }
    })
    .await;
    (server, told)
}

fn client(server: &Wire, with: impl FnOnce(ChannelBuilder) -> ChannelBuilder) -> Client {
    let builder = Channel::builder("scripted").fixed(vec![server.authority.clone()]);
    Client::new(with(builder).connect().unwrap())
}

async fn call_within(client: &Client, time: Duration) -> Code {
    let mut request = Request::new(Default::default());
    request.set_timeout(time);
    let answer = client.clone().list_services(request).await;
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test(start_paused = true)]
async fn the_callers_thirty_seconds_are_not_cut_to_the_channels_five() {
    let (server, told) = slow(12 * SECOND).await;
    for built in [
        client(&server, |c| c),
        client(&server, |c| {
            c.contracts(mizan_contracts::FILE_DESCRIPTOR_SET)
        }),
        client(&server, |c| c.deadline(2 * SECOND)),
    ] {
        assert_eq!(call_within(&built, 30 * SECOND).await, Code::Ok);
        let told = told.lock().unwrap().pop().unwrap().unwrap();
        assert!(told.starts_with("30") || told.starts_with("29"), "{told}");
        // Who says nothing has the channel's.
        let late = call(&built).await.unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded);
    }
    // What an operator allows at most is for the callers too, by gRPC's rule.
    let most = r#"{"methodConfig": [{"name": [{}], "timeout": "8s"}]}"#;
    let bounded = client(&server, |c| c.service_config(most).unwrap());
    assert_eq!(
        call_within(&bounded, 30 * SECOND).await,
        Code::DeadlineExceeded
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_lasts_as_long_as_its_caller_unless_somebody_says_otherwise() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let server = Wire::start({
        let told = told.clone();
        move |mut call| {
            let timeout = call.headers.contains_key("grpc-timeout");
            told.lock().unwrap().push(timeout);
            async move {
                let mut answer = call.begin();
                for _ in 0..3 {
                    tokio::select! {
                        () = sleep(7 * SECOND) => answer.message(b""),
                        _ = answer.given_up() => return,
                    }
                }
                answer.end(0);
            }
        }
    })
    .await;
    let watch = WatchInstancesRequest::default;
    for contracts in [&[][..], mizan_contracts::FILE_DESCRIPTOR_SET] {
        let mut client = client(&server, |c| c.contracts(contracts));
        let mut answers = client.watch_instances(watch()).await.unwrap().into_inner();
        for _ in 0..3 {
            answers.message().await.unwrap().unwrap();
        }
        assert_eq!(answers.message().await.unwrap(), None);
        assert_eq!(
            told.lock().unwrap().pop(),
            Some(false),
            "the callee would end it"
        );
    }
    // Said: by the channel, by the caller.
    let mut bounded = client(&server, |c| c.deadline(5 * SECOND));
    let mut answers = bounded.watch_instances(watch()).await.unwrap().into_inner();
    assert_eq!(
        answers.message().await.unwrap_err().code(),
        Code::DeadlineExceeded
    );
    let mut request = Request::new(watch());
    request.set_timeout(10 * SECOND);
    let mut unbounded = client(&server, |c| c);
    let mut answers = unbounded
        .watch_instances(request)
        .await
        .unwrap()
        .into_inner();
    let over = loop {
        match answers.message().await {
            Ok(message) => drop(message.unwrap()),
            Err(over) => break over,
        }
    };
    assert_eq!(over.code(), Code::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn a_long_upload_has_no_deadline_that_nobody_said() {
    let (server, _) = slow(Duration::ZERO).await;
    let mut client = client(&server, |c| c);
    let beats = tokio_stream::StreamExt::throttle(
        tokio_stream::iter(vec![Default::default(); 4]),
        4 * SECOND,
    );
    let answers = client.heartbeat(beats).await;
    answers.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_callee_is_told_the_default_where_its_contract_says_that_it_is_unary() {
    let (server, told) = slow(Duration::ZERO).await;
    call(&client(&server, |c| c)).await.unwrap();
    assert_eq!(told.lock().unwrap().pop(), Some(None));
    let known = client(&server, |c| {
        c.contracts(mizan_contracts::FILE_DESCRIPTOR_SET)
    });
    call(&known).await.unwrap();
    let told = told.lock().unwrap().pop().unwrap().unwrap();
    assert!(
        told.starts_with("5000") || told.starts_with("4999"),
        "{told}"
    );
}
