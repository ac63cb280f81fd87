//! Watchers blocked on an index while the registry restarts.

use futures_util::future::join_all;

use super::client::{get, put, register};
use crate::support::Registry;

/// As many as wait on each service.
const WAITING: usize = 20;

#[tokio::test]
async fn all_who_wait_are_answered_and_none_is_parked_by_the_next_life() {
    let data = tempfile::tempdir().unwrap();
    let registry = Registry::keeping(data.path()).await;
    register(&registry, "a", "web").await;
    put(&registry, "/v1/agent/service/deregister/a", "").await;
    register(&registry, "a", "web").await;
    let index = get(&registry, "/v1/health/service/web").await.index();
    let wait = |registry: Registry, index: u64| async move {
        let path = format!("/v1/health/service/web?wait=10m&index={index}");
        let waiting = join_all((0..WAITING).map(|_| get(&registry, &path)));
        let stopping = async {
            // Once they all wait, the registry goes.
            while !get(&registry, "/metrics").await.body.contains(&format!(
                "mizan_registry_watchers{{api=\"consul\"}} {WAITING}\n"
            )) {
                tokio::task::yield_now().await;
            }
            registry.begin_stop();
        };
        let (answers, ()) = tokio::join!(waiting, stopping);
        for answer in &answers {
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(
                answer.json().as_array().unwrap().len(),
                1,
                "never an empty service"
            );
        }
        let authority = registry.authority();
        registry.stop().await;
        authority
    };
    let authority = wait(registry, index).await;

    // With the index of the life before: nothing is lost, so they are answered at once or with the
    // next change, and never wait in vain.
    let registry = Registry::restart_keeping(&authority, data.path()).await;
    let path = format!("/v1/health/service/web?wait=10m&index={index}");
    let resumed = join_all((0..WAITING).map(|_| get(&registry, &path)));
    let changes = register(&registry, "b", "web");
    let (answers, ()) = tokio::join!(resumed, changes);
    for answer in answers {
        assert!(answer.index() > index, "an index goes back: {answer:?}");
    }
    registry.stop().await;

    // One that forgot everything, as after a restore from nothing: they are ahead of it, and told so.
    let registry = Registry::restart(&authority).await;
    let path = format!("/v1/health/service/web?wait=10m&index={}", u64::MAX);
    assert_eq!(get(&registry, &path).await.json(), serde_json::json!([]));
    registry.stop().await;
}
