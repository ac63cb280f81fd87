//! Streaming calls through the whole stack.

use std::{sync::Arc, time::Duration};

use mizan::{Channel, breaker, retry::Policy, status};
use mizan_contracts::registry::v1::{
    HeartbeatRequest, WatchInstancesRequest, registry_service_client::RegistryServiceClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};

use crate::{
    ends::until,
    support::{Client, call},
    wire::Wire,
};

const SECOND: Duration = Duration::from_secs(1);

fn client(server: &Wire) -> Client {
    let channel = Channel::builder("scripted").fixed(vec![server.authority.clone()]);
    RegistryServiceClient::new(channel.connect().unwrap())
}

fn beat(id: usize) -> HeartbeatRequest {
    HeartbeatRequest {
        instance_id: id.to_string(),
        ..HeartbeatRequest::default()
    }
}

/// Echoes a stream; an empty message is a valid one.
async fn echoing() -> Wire {
    Wire::start(|mut call| async move {
        let mut answer = call.begin();
        while call.message().await.is_some() {
            answer.message(b"");
        }
        answer.end(0);
    })
    .await
}

#[tokio::test]
async fn both_directions_at_once() {
    let server = echoing().await;
    let (beats, stream) = mpsc::channel(1);
    let mut client = client(&server);
    let answers = client.heartbeat(ReceiverStream::new(stream)).await;
    let mut answers = answers.unwrap().into_inner();
    for i in 0..100 {
        beats.send(beat(i)).await.unwrap();
        assert!(answers.message().await.unwrap().is_some());
    }
    drop(beats);
    assert!(answers.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_stream_dropped_is_reset_at_the_server() {
    let (told, mut reset) = mpsc::channel(1);
    let server = Wire::start(move |mut call| {
        let told = told.clone();
        async move {
            let mut answer = call.begin();
            answer.message(b"");
            told.send(answer.given_up().await).await.unwrap();
        }
    })
    .await;
    let mut client = client(&server);
    let answers = client
        .watch_instances(WatchInstancesRequest::default())
        .await;
    let mut answers = answers.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    drop(answers);
    assert_eq!(reset.recv().await, Some(h2::Reason::CANCEL));
}

#[tokio::test]
async fn a_stream_that_is_refused_early_is_sent_again_from_its_beginning() {
    let (told, mut seen) = mpsc::channel(8);
    let server = Wire::start(move |mut call| {
        let told = told.clone();
        async move {
            // Two messages in, the first attempt is turned away without an answer begun.
            call.message().await.unwrap();
            let second = call.message().await.unwrap();
            if call.number == 0 {
                return call.refuse(14, &[]);
            }
            told.send(second).await.unwrap();
            let mut answer = call.begin();
            while let Some(message) = call.message().await {
                told.send(message).await.unwrap();
            }
            answer.message(b"");
            answer.end(0);
        }
    })
    .await;
    let (beats, stream) = mpsc::channel(8);
    let mut client = client(&server);
    for i in 0..2 {
        beats.send(beat(i)).await.unwrap();
    }
    let answers = client.heartbeat(ReceiverStream::new(stream)).await;
    let mut answers = answers.unwrap().into_inner();
    beats.send(beat(2)).await.unwrap();
    drop(beats);
    assert!(answers.message().await.unwrap().is_some());
    let mut messages = Vec::new();
    while let Ok(message) = seen.try_recv() {
        messages.push(message[message.len() - 1]);
    }
    assert_eq!(server.calls(), 2);
    assert_eq!(messages, *b"12", "the second again, and the third once");
}

#[tokio::test]
async fn how_a_stream_ends_is_what_the_breaker_counts() {
    let server = Wire::start(|mut call| async move {
        let mut answer = call.begin();
        answer.message(b"");
        answer.end(14);
    })
    .await;
    let channel = Channel::builder("scripted")
        .fixed(vec![server.authority.clone()])
        .breaker(breaker::Config::gobreaker())
        .retry(Policy::never());
    let mut client = RegistryServiceClient::new(channel.connect().unwrap());
    for _ in 0..3 {
        let answers = client
            .watch_instances(WatchInstancesRequest::default())
            .await;
        let mut answers = answers.unwrap().into_inner();
        assert!(answers.message().await.unwrap().is_some());
        assert_eq!(
            answers.message().await.unwrap_err().code(),
            Code::Unavailable
        );
    }
    let refused = call(&client).await.unwrap_err();
    assert_eq!(status::reason(&refused).as_deref(), Some("BREAKER_OPEN"));
}

#[tokio::test]
async fn a_stream_that_has_begun_is_not_tried_again() {
    let server = Wire::start(|mut call| async move {
        let mut answer = call.begin();
        answer.message(b"");
        answer.end(14);
    })
    .await;
    let mut client = client(&server);
    let answers = client
        .watch_instances(WatchInstancesRequest::default())
        .await;
    let mut answers = answers.unwrap().into_inner();
    answers.message().await.unwrap();
    answers.message().await.unwrap_err();
    assert_eq!(server.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_to_the_end_of_a_stream() {
    let released = Arc::new(tokio::sync::Notify::new());
    let server = Wire::start({
        let released = released.clone();
        move |mut call| {
            let released = released.clone();
            async move {
                let mut answer = call.begin();
                answer.message(b"");
                released.notify_waiters();
                answer.given_up().await;
            }
        }
    })
    .await;
    let mut client = client(&server);
    let mut request = Request::new(WatchInstancesRequest::default());
    request.set_timeout(SECOND / 5);
    let mut answers = client.watch_instances(request).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    let late = answers.message().await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
}

/// A breaker that one failure opens.
fn touchy(server: &Wire) -> Channel {
    let config = breaker::Config {
        trip: breaker::Trip::ConsecutiveFailures(1),
        ..breaker::Config::default()
    };
    let channel = Channel::builder("scripted")
        .fixed(vec![server.authority.clone()])
        .breaker(config)
        .message_bytes(Some(5), None);
    channel.connect().unwrap()
}

#[tokio::test]
async fn a_message_of_a_stream_that_is_too_large_is_said_to_be_and_is_no_failure_of_the_callee() {
    // Before the answer begins, and after it.
    for begins in [false, true] {
        let server = Wire::start(move |mut call| async move {
            let mut answer = begins.then(|| call.begin());
            while call.message().await.is_some() {
                if let Some(answer) = &mut answer {
                    answer.message(b"");
                }
            }
        })
        .await;
        let channel = touchy(&server);
        let (beats, stream) = mpsc::channel(1);
        let mut client = RegistryServiceClient::new(channel.clone());
        let call = tokio::spawn(async move { client.heartbeat(ReceiverStream::new(stream)).await });
        // Seen by the server, so that what follows is no beginning that is looked at beforehand.
        until(|| server.calls() > 0).await;
        beats.send(beat(1)).await.unwrap();
        let refused = if begins {
            let mut answers = call.await.unwrap().unwrap().into_inner();
            answers.message().await.unwrap().unwrap();
            beats.send(beat(1_000_000)).await.unwrap();
            answers.message().await.unwrap_err()
        } else {
            beats.send(beat(1_000_000)).await.unwrap();
            call.await.unwrap().unwrap_err()
        };
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
        let reason = status::reason(&refused);
        assert_eq!(reason.as_deref(), Some("MESSAGE_TOO_LARGE"));
        assert_eq!(server.calls(), 1, "and it is not tried again");
        let phase = channel.breakers()[0].phase(std::time::Instant::now());
        assert_eq!(phase, breaker::Phase::Closed);
    }
}
