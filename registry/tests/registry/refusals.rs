//! Bad input: told field by field, and nothing half done.

use std::time::Duration;

use mizan_contracts::registry::v1::{
    DeregisterRequest, Instance, ListInstancesRequest, ListServicesRequest, RegisterRequest,
    WatchInstancesRequest,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{Registry, checked, list, soon};

/// The fields that a refusal names.
fn fields(refused: &Status) -> Vec<String> {
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    let reason = mizan::status::reason(refused);
    assert_eq!(reason.as_deref(), Some("INVALID_REQUEST"));
    let violations = refused.get_details_bad_request().unwrap().field_violations;
    assert!(violations.iter().all(|v| !v.description.is_empty()));
    violations.into_iter().map(|v| v.field).collect()
}

#[tokio::test]
async fn a_bad_registration_is_told_field_by_field() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let instance = Instance {
        service: "Invoice".to_owned(),
        port: 0,
        address: "127.0.0.1:80".to_owned(),
        tags: vec![String::new()],
        metadata: [(String::new(), String::new())].into(),
        weight: 1001,
        ..checked("not an id", 1, None, Duration::from_millis(1))
    };
    let request = RegisterRequest {
        instance: Some(instance),
        ..RegisterRequest::default()
    };
    let refused = soon(client.register(request)).await.unwrap_err();
    let expected = [
        "instance.instance_id",
        "instance.service",
        "instance.address",
        "instance.port",
        "instance.tags[0]",
        "instance.metadata",
        "instance.weight",
        "instance.check.interval",
    ];
    assert_eq!(fields(&refused), expected);
    assert!(list(&mut client, true).await.instances.is_empty());

    let nothing = RegisterRequest::default();
    let refused = soon(client.register(nothing)).await.unwrap_err();
    assert_eq!(fields(&refused), ["instance"]);
}

#[tokio::test]
async fn a_registration_wrong_in_every_field_is_still_refused_in_words() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let metadata = (0..64).map(|i| (format!("{i}").repeat(70), "€".repeat(600)));
    let instance = Instance {
        metadata: metadata.collect(),
        ..Instance::default()
    };
    let request = RegisterRequest {
        instance: Some(instance),
        ..RegisterRequest::default()
    };
    let refused = soon(client.register(request)).await.unwrap_err();
    // As many as fit into the headers that carry them; the rest is told when these are mended.
    let told = fields(&refused);
    assert_eq!(told[..2], ["instance.instance_id", "instance.service"]);
    assert!(told.len() > 8);
}

#[tokio::test]
async fn other_bad_requests_name_their_field() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let refused = soon(client.deregister(DeregisterRequest::default())).await;
    assert_eq!(fields(&refused.unwrap_err()), ["instance_id"]);

    let refused = soon(client.list_instances(ListInstancesRequest::default())).await;
    assert_eq!(fields(&refused.unwrap_err()), ["service"]);

    let request = ListServicesRequest {
        page_size: -1,
        page_token: "foreign".to_owned(),
    };
    let refused = soon(client.list_services(request)).await;
    assert_eq!(fields(&refused.unwrap_err()), ["page_size", "page_token"]);

    for (services, field) in [
        (vec![], "services"),
        (vec!["a".to_owned(); 101], "services"),
        (vec!["a".to_owned(), String::new()], "services[1]"),
    ] {
        let request = WatchInstancesRequest {
            services,
            include_unhealthy: false,
            ..WatchInstancesRequest::default()
        };
        let refused = soon(client.watch_instances(request)).await.unwrap_err();
        assert_eq!(fields(&refused), [field]);
    }
}
