//! How a client follows registries that fall silent or end the watch, with registries that the test plays.

use std::time::Duration;

use mizan::discover::{self, Discover as _, Discovery, Known, Registry, SourceState};
use mizan_contracts::registry::v1::{Instance, WatchInstancesRequest, WatchInstancesResponse};
use prost::Message as _;
use tokio::{net::TcpListener, time::advance};

use crate::{
    ends::{hold_the_clock, until, within},
    registering::{Played, is_not_asked},
};

/// The longest that a client waits for any answer of a registry.
const ANSWER: Duration = Duration::from_secs(2);
/// The shortest and the longest that the first pause may be; each one is twice the one before, until a
/// watch has lasted.
const PAUSE_MIN: Duration = Duration::from_millis(40);
const PAUSE_MAX: Duration = Duration::from_millis(60);
const LASTING: Duration = Duration::from_secs(1);
/// How often a watch on which nothing is said counts as a sign of life.
const ALIVE: Duration = Duration::from_secs(10);

fn follow(registries: &[String]) -> Discovery {
    let registry = Registry::new(registries.iter().map(String::as_str)).unwrap();
    let (updates, discovery) = discover::channel();
    tokio::spawn(Box::new(registry).discover("s".to_owned(), updates));
    discovery
}

async fn until_it_is(discovery: &Discovery, state: SourceState) {
    until(|| discovery.status().state == state).await;
}

fn snapshot(port: u32) -> Vec<u8> {
    let instance = Instance {
        address: "h".to_owned(),
        port,
        ..Instance::default()
    };
    let snapshot = WatchInstancesResponse {
        service: "s".to_owned(),
        instances: vec![instance],
        revision: 1,
        registry_epoch: "a".to_owned(),
    };
    snapshot.encode_to_vec()
}

#[tokio::test(start_paused = true)]
async fn registries_that_are_silent_are_passed_over_and_the_pauses_grow_until_a_watch_has_lasted() {
    let _clock = hold_the_clock();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut one, mut two) = (Played::start().await, Played::start().await);
    let [a, b] = [&one, &two].map(|played| played.wire.authority.clone());
    let discovery = follow(&[nobody.local_addr().unwrap().to_string(), a, b]);
    // The first takes connections and says nothing.
    let mut kept = within("it is called", nobody.accept()).await;
    advance(ANSWER).await;
    until_it_is(&discovery, SourceState::Lost).await;
    advance(PAUSE_MAX).await;
    // The second says nothing to what it is asked.
    let (_silent, _) = one.asked::<WatchInstancesRequest>("WatchInstances").await;
    advance(ANSWER).await;
    is_not_asked(&mut two).await;
    advance(PAUSE_MAX * 2).await;
    // The third begins to answer: that is a sign of life, before it says anything.
    let (mut call, _) = two.asked::<WatchInstancesRequest>("WatchInstances").await;
    let mut answer = call.begin();
    until_it_is(&discovery, SourceState::Connected).await;
    answer.message(&snapshot(7));
    let mut known = discovery.known();
    let named = known.wait_for(|known| matches!(known, Known::Instances(list) if list.len() == 1));
    within("its list is taken", named).await.unwrap();
    // It ends at once: that is not lasting, and the next pause is longer still.
    answer.end(0);
    until_it_is(&discovery, SourceState::Lost).await;
    drop(kept);
    advance(PAUSE_MIN * 4 - Duration::from_millis(1)).await;
    for _ in 0..5_000 {
        tokio::task::yield_now().await;
    }
    assert!(futures_util::FutureExt::now_or_never(nobody.accept()).is_none());
    advance(PAUSE_MAX * 4).await;
    kept = within("it is called again", nobody.accept()).await;
    drop(kept);
    until_it_is(&discovery, SourceState::Lost).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_silent_vouches_for_its_list_and_one_that_lasted_makes_the_pause_short() {
    let _clock = hold_the_clock();
    let mut registry = Played::start().await;
    let discovery = follow(&[registry.wire.authority.clone()]);
    // Refused three times: the pause has grown by then.
    for refused in 0..3 {
        let (call, _) = registry
            .asked::<WatchInstancesRequest>("WatchInstances")
            .await;
        call.refuse(14, &[]);
        until(|| discovery.status().failure.is_some()).await;
        is_not_asked(&mut registry).await;
        advance(PAUSE_MAX * 2_u32.pow(refused)).await;
    }
    let (mut call, _) = registry
        .asked::<WatchInstancesRequest>("WatchInstances")
        .await;
    let mut answer = call.begin();
    answer.message(&snapshot(7));
    until(|| discovery.status().age.is_some()).await;
    assert_eq!(discovery.status().failure, None);
    advance(ALIVE / 2).await;
    assert_eq!(discovery.status().age, Some(ALIVE / 2));
    advance(ALIVE / 2).await;
    until(|| discovery.status().age == Some(Duration::ZERO)).await;
    advance(LASTING).await;
    answer.end(0);
    until_it_is(&discovery, SourceState::Lost).await;
    advance(PAUSE_MAX).await;
    let (_call, again) = registry
        .asked::<WatchInstancesRequest>("WatchInstances")
        .await;
    assert_eq!(
        (again.after_revision["s"], &*again.registry_epoch),
        (1, "a")
    );
    // What is known grows old meanwhile.
    assert_eq!(discovery.status().age, Some(LASTING + PAUSE_MAX));
}
