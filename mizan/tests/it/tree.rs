//! A call that makes calls: what the tree inherits from its root, and what it tells it.

use std::{future::pending, sync::Arc, time::Duration};

use mizan::status;
use mizan_contracts::registry::v1::ListServicesRequest;
use tokio::sync::Notify;
use tonic::{Code, Request, Status};

use crate::{
    ends::until,
    support::{Client, Running, Scripted, call, client},
};

/// A service that passes each call on.
async fn passing_on(next: &Running) -> (Scripted, Running) {
    let onward = client(vec![next.authority()]);
    let service = Scripted::new(move |_| {
        let onward = onward.clone();
        async move { call(&onward).await }
    });
    let server = Running::start(&service).await;
    (service, server)
}

async fn call_within(client: &Client, timeout: Duration) -> Result<(), Status> {
    let mut request = Request::new(ListServicesRequest::default());
    request.set_timeout(timeout);
    client.clone().list_services(request).await.map(drop)
}

fn header(service: &Scripted, name: &str) -> String {
    let value = service.seen()[0].get(name).unwrap().clone();
    value.to_str().unwrap().to_owned()
}

/// Tells when a handler's future is dropped.
struct Dropped(Arc<Notify>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// The last of the chain, which never answers, and what tells of its end.
fn last() -> (Scripted, Arc<Notify>) {
    let dropped = Arc::new(Notify::new());
    let told = dropped.clone();
    let service = Scripted::new(move |_| {
        let guard = Dropped(told.clone());
        async move {
            let _guard = guard;
            pending().await
        }
    });
    (service, dropped)
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_the_whole_tree() {
    let (c, dropped) = last();
    let c_server = Running::start(&c).await;
    let (_b, b_server) = passing_on(&c_server).await;
    let (_a, a_server) = passing_on(&b_server).await;
    let caller = client(vec![a_server.authority()]);
    let waiting = tokio::spawn(async move { call(&caller).await });
    until(|| c.calls() > 0).await;
    waiting.abort();
    dropped.notified().await;
    assert_eq!(c.calls(), 1, "and nobody tried again");
}

#[tokio::test]
async fn a_deadline_reaches_the_end_and_shrinks_at_each_hop() {
    let c = Scripted::ok();
    let c_server = Running::start(&c).await;
    let (b, b_server) = passing_on(&c_server).await;
    let (a, a_server) = passing_on(&b_server).await;
    let minute = Duration::from_secs(60);
    call_within(&client(vec![a_server.authority()]), minute)
        .await
        .unwrap();
    let micros = |service: &Scripted| -> u64 {
        let text = header(service, "grpc-timeout");
        text.strip_suffix('u').unwrap().parse().unwrap()
    };
    let left = [micros(&a), micros(&b), micros(&c)];
    assert!(60_000_000 >= left[0], "{left:?}");
    assert!(left[0] > left[1] && left[1] > left[2], "{left:?}");
}

#[tokio::test]
async fn every_hop_and_the_caller_see_deadline_exceeded_and_the_tree_ends() {
    let (c, dropped) = last();
    let c_server = Running::start(&c).await;
    let (_b, b_server) = passing_on(&c_server).await;
    let seen = Arc::new(std::sync::Mutex::new(None));
    let (onward, note) = (client(vec![b_server.authority()]), seen.clone());
    let a = Scripted::new(move |before| {
        let (onward, note) = (onward.clone(), note.clone());
        async move {
            // Less than the caller allows, so that this hop is there to see the answer. More each
            // time: on a busy machine a call may be late before it reaches the end.
            let limit = Duration::from_millis(100 << before.min(8));
            let answer = call_within(&onward, limit).await;
            *note.lock().unwrap() = answer.as_ref().err().map(Status::code);
            answer
        }
    });
    let a_server = Running::start(&a).await;
    let caller = client(vec![a_server.authority()]);
    while c.calls() == 0 {
        let late = call_within(&caller, Duration::from_secs(60)).await;
        assert_eq!(late.unwrap_err().code(), Code::DeadlineExceeded);
    }
    assert_eq!(*seen.lock().unwrap(), Some(Code::DeadlineExceeded));
    dropped.notified().await;
}

#[tokio::test]
async fn a_handler_whose_callers_deadline_passed_is_dropped() {
    let (service, dropped) = last();
    let server = Running::start(&service).await;
    let client = client(vec![server.authority()]);
    let mut limit = Duration::from_millis(50);
    // On a busy machine a call may be late before its handler begins, and then it does not.
    while service.calls() == 0 {
        let late = call_within(&client, limit).await.unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded);
        assert_eq!(status::reason(&late).as_deref(), Some("DEADLINE_EXCEEDED"));
        limit *= 2;
    }
    dropped.notified().await;
}

#[tokio::test]
async fn a_request_id_goes_down_the_tree() {
    let c = Scripted::ok();
    let c_server = Running::start(&c).await;
    let (b, b_server) = passing_on(&c_server).await;
    let caller = client(vec![b_server.authority()]);
    let mut request = Request::new(ListServicesRequest::default());
    let id = "order-17".parse().unwrap();
    request.metadata_mut().insert("x-request-id", id);
    caller.clone().list_services(request).await.unwrap();
    assert_eq!(header(&b, "x-request-id"), "order-17");
    assert_eq!(header(&c, "x-request-id"), "order-17");
}

#[tokio::test]
async fn a_server_makes_the_request_id_that_nobody_sent() {
    let c = Scripted::ok();
    let c_server = Running::start(&c).await;
    let (b, b_server) = passing_on(&c_server).await;
    call(&client(vec![b_server.authority()])).await.unwrap();
    assert!(b.seen()[0].get("x-request-id").is_none());
    assert_eq!(header(&c, "x-request-id").len(), 32);
}

#[tokio::test]
async fn what_was_retried_at_one_hop_is_not_retried_at_every_hop() {
    let c = Scripted::new(|_| async { Err(Status::unavailable("always")) });
    let c_server = Running::start(&c).await;
    let (b, b_server) = passing_on(&c_server).await;
    let (a, a_server) = passing_on(&b_server).await;
    let answer = call(&client(vec![a_server.authority()])).await.unwrap_err();
    assert_eq!(answer.code(), Code::Unavailable);
    assert_eq!([a.calls(), b.calls(), c.calls()], [1, 1, 3]);
}

#[tokio::test]
async fn a_handler_that_has_its_own_say_keeps_it() {
    let c = Scripted::new(|_| async { Err(Status::unavailable("always")) });
    let c_server = Running::start(&c).await;
    let onward = client(vec![c_server.authority()]);
    let b = Scripted::new(move |_| {
        let onward = onward.clone();
        async move {
            let mut answer = call(&onward).await.unwrap_err();
            let soon = "1".parse().unwrap();
            answer.metadata_mut().insert("grpc-retry-pushback-ms", soon);
            Err(answer)
        }
    });
    let b_server = Running::start(&b).await;
    call(&client(vec![b_server.authority()])).await.unwrap_err();
    assert_eq!(b.calls(), 3);
}
