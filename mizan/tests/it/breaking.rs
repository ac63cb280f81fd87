//! The breaker and the limiter, in the stack.

use std::time::Duration;

use mizan::{Channel, breaker, limit::Rate, retry::Policy, status};
use mizan_contracts::registry::v1::registry_service_client::RegistryServiceClient;
use tonic::{Code, Status};

use crate::support::{Running, Scripted, call};

#[tokio::test]
async fn an_open_breaker_spares_the_callee() {
    let service = Scripted::new(|_| async { Err(Status::internal("broken")) });
    let server = Running::start(&service).await;
    let channel = Channel::builder("scripted")
        .fixed(vec![server.authority()])
        .breaker(breaker::Config::gobreaker())
        .connect()
        .unwrap();
    let client = RegistryServiceClient::new(channel);
    for _ in 0..3 {
        assert_eq!(call(&client).await.unwrap_err().code(), Code::Internal);
    }
    let refusal = call(&client).await.unwrap_err();
    assert_eq!(status::reason(&refusal).as_deref(), Some("BREAKER_OPEN"));
    assert!(status::retry_after(&refusal).unwrap() > Duration::from_secs(25));
    assert_eq!(service.calls(), 3);
}

#[tokio::test]
async fn a_callers_mistakes_do_not_open_it() {
    let service = Scripted::new(|_| async { Err(Status::not_found("no such thing")) });
    let server = Running::start(&service).await;
    let channel = Channel::builder("scripted")
        .fixed(vec![server.authority()])
        .connect()
        .unwrap();
    let client = RegistryServiceClient::new(channel);
    for _ in 0..20 {
        assert_eq!(call(&client).await.unwrap_err().code(), Code::NotFound);
    }
}

#[tokio::test(start_paused = true)]
async fn beyond_the_rate_a_call_that_cannot_wait_is_refused_unsent() {
    let service = Scripted::ok();
    let server = Running::start(&service).await;
    let channel = Channel::builder("scripted")
        .fixed(vec![server.authority()])
        .limit(Rate::new(1, 2).unwrap())
        .deadline(Duration::from_millis(300))
        .retry(Policy::never())
        .connect()
        .unwrap();
    let client = RegistryServiceClient::new(channel);
    call(&client).await.unwrap();
    call(&client).await.unwrap();
    let refusal = call(&client).await.unwrap_err();
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    assert_eq!(status::reason(&refusal).as_deref(), Some("RATE_LIMITED"));
    assert_eq!(service.calls(), 2);
}
