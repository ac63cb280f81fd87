//! What listeners see of a source.

use tokio::time::advance;

use super::*;

fn list(ports: &[u16]) -> Vec<Endpoint> {
    let authorities = ports.iter().map(|port| format!("h:{port}"));
    authorities.map(|a| Endpoint::new(a).unwrap()).collect()
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn what_is_known_stays_and_grows_old_while_the_source_is_lost() {
    let (updates, discovery) = channel();
    assert_eq!(discovery.status().state, SourceState::Waiting);
    assert_eq!(discovery.status().age, None);
    updates.instances(list(&[1, 2, 1]));
    updates.unreachable("gone");
    advance(MINUTE).await;
    assert_eq!(*discovery.known().borrow(), Known::Instances(list(&[1, 2])));
    let status = discovery.status();
    assert_eq!(status.state, SourceState::Lost);
    assert_eq!(status.age, Some(MINUTE));
    assert_eq!(status.failure.as_deref(), Some("gone"));
    updates.alive();
    let status = discovery.status();
    assert_eq!(status.state, SourceState::Connected);
    assert_eq!((status.age, status.failure), (Some(Duration::ZERO), None));
}

#[tokio::test]
async fn nobody_is_woken_when_nothing_changed() {
    let (updates, discovery) = channel();
    updates.instances(list(&[1]));
    let mut known = discovery.known();
    known.mark_unchanged();
    updates.instances(list(&[1]));
    updates.alive();
    updates.unreachable("gone");
    assert!(!known.has_changed().unwrap());
    updates.instances(list(&[]));
    assert!(known.has_changed().unwrap());
    assert_eq!(*known.borrow_and_update(), Known::Instances(Vec::new()));
}

#[tokio::test]
async fn with_nothing_known_an_unreachable_source_says_why() {
    let (updates, discovery) = channel();
    updates.unreachable("one");
    updates.unreachable("two");
    assert_eq!(
        *discovery.known().borrow(),
        Known::Unreachable("two".to_owned())
    );
    // Its sign of life brings no list, so what was said stays until one comes.
    updates.alive();
    assert_eq!(discovery.status().age, None);
    drop(updates);
    let ended = Known::Unreachable("the source of instances ended".to_owned());
    assert_eq!(*discovery.known().borrow(), ended);
}

#[tokio::test(start_paused = true)]
async fn a_recalled_list_is_marked_and_never_overrides_a_fresh_one() {
    let (updates, discovery) = channel();
    updates.recall(list(&[1]), MINUTE);
    advance(MINUTE).await;
    // It is there, but it did not vouch for what is in the file.
    updates.alive();
    let status = discovery.status();
    assert!(status.recalled);
    assert_eq!(status.age, Some(2 * MINUTE));
    assert_eq!(updates.vouched(), None);
    updates.instances(list(&[1]));
    updates.recall(list(&[9]), Duration::ZERO);
    let status = discovery.status();
    assert!(!status.recalled);
    assert_eq!(status.age, Some(Duration::ZERO));
    assert_eq!(updates.latest(), Some(list(&[1])));
    assert_eq!(updates.vouched(), Some(list(&[1])));
}

#[tokio::test]
async fn a_source_is_dropped_when_nobody_listens() {
    struct Forever(tokio_util::sync::CancellationToken);
    impl crate::discover::Discover for Forever {
        fn discover(self: Box<Self>, _: String, updates: Updates) -> crate::discover::Discovering {
            let dropped = self.0.drop_guard();
            Box::pin(async move {
                let _both = (dropped, updates);
                std::future::pending().await
            })
        }
    }
    let dropped = tokio_util::sync::CancellationToken::new();
    let discovery = crate::discover::start("s", Box::new(Forever(dropped.clone())));
    let known = discovery.known();
    drop(discovery);
    tokio::task::yield_now().await;
    assert!(!dropped.is_cancelled());
    drop(known);
    dropped.cancelled().await;
}

#[tokio::test]
async fn many_asks_to_refresh_are_one() {
    let (updates, discovery) = channel();
    discovery.refresh();
    discovery.refresh();
    updates.refresh_asked().await;
    let again = tokio::time::timeout(Duration::ZERO, updates.refresh_asked()).await;
    assert!(again.is_err());
}

#[test]
fn a_list_over_its_limit_is_cut_and_the_rest_counted_however_lists_alternate() {
    let (updates, discovery) = channel();
    let list = |length: usize| -> Vec<Endpoint> {
        let authority = |n: usize| format!("h{}:{}", n / 60_000, n % 60_000 + 1);
        (0..length)
            .map(|n| Endpoint::new(authority(n)).unwrap())
            .collect()
    };
    for _ in 0..2 {
        for (length, used, left_out) in [
            (INSTANCES_MAX + 1, INSTANCES_MAX, 1),
            (2, 2, 0),
            (100_000, INSTANCES_MAX, 100_000 - INSTANCES_MAX),
            (0, 0, 0),
            (INSTANCES_MAX, INSTANCES_MAX, 0),
        ] {
            // Named twice, it is one.
            let named_twice = [list(length), list(length)].concat();
            updates.instances(named_twice);
            assert_eq!(updates.latest().unwrap(), list(used));
            assert_eq!(discovery.status().left_out, left_out);
        }
    }
}
