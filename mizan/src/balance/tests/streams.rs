//! Instances that take so many streams and no more.

use super::*;

/// Serves at `authority`, so many streams at once on a connection.
fn serve(net: &Net, authority: &str, streams: u32) -> Server {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(streams);
    net.serve_by(authority, builder)
}

/// Takes a stream, and keeps it.
async fn hold(world: &World, server: &Server) -> tokio::task::JoinHandle<()> {
    let before = server.calls();
    let picked = world.pick().await.unwrap();
    let held = tokio::spawn(async move {
        let _ = picked.send(request("/hang")).await;
    });
    until(|| server.calls() > before).await;
    held
}

#[tokio::test]
async fn another_instance_with_a_free_stream_is_picked() {
    let net = Net::default();
    let (narrow, wide) = (serve(&net, "a:1", 1), serve(&net, "b:1", 100));
    let world = World::new(net, &["a:1", "b:1"], |s| s.connection.connections_max = 1);
    world.until("a:1", InstanceState::Ready).await;
    world.until("b:1", InstanceState::Ready).await;
    let mut held = Vec::new();
    while narrow.calls() == 0 {
        let picked = world.pick().await.unwrap();
        held.push(tokio::spawn(async move {
            let _ = picked.send(request("/hang")).await;
        }));
        until(|| narrow.calls() + wide.calls() == held.len()).await;
    }
    for _ in 0..20 {
        assert_eq!(&*world.pick().await.unwrap().authority, "b:1");
    }
}

#[tokio::test]
async fn those_who_wait_are_bounded_and_cost_nothing_when_they_leave() {
    let net = Net::default();
    let server = serve(&net, "a:1", 1);
    let world = World::new(net, &["a:1"], |s| {
        s.connection.connections_max = 1;
        s.connection.waiting_max = 2;
    });
    let held = hold(&world, &server).await;
    let mut waiting = [Box::pin(world.pick()), Box::pin(world.pick())];
    for waits in &mut waiting {
        assert!(futures_util::poll!(waits).is_pending());
    }
    let refused = world.pick().await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(status::reason(&refused).as_deref(), Some("STREAMS_TAKEN"));
    // One leaves, and there is room for another; and a free stream goes to who waits.
    let [left, stays] = waiting;
    drop(left);
    let mut another = Box::pin(world.pick());
    assert!(futures_util::poll!(&mut another).is_pending());
    held.abort();
    let first = stays.await.unwrap();
    assert!(futures_util::poll!(&mut another).is_pending());
    drop(first);
    assert!(another.await.is_ok());
    assert_eq!(server.accepted(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_instance_gets_another_connection_which_ends_when_it_rests() {
    let net = Net::default();
    let server = serve(&net, "a:1", 1);
    let world = World::new(net, &["a:1"], |s| s.connection.connections_max = 3);
    let connections = || world.balancer.stats()[0].connections;
    let first = hold(&world, &server).await;
    assert_eq!(connections(), 1, "nobody waits");
    let second = hold(&world, &server).await;
    assert_eq!(connections(), 2);
    let third = hold(&world, &server).await;
    assert_eq!((connections(), server.accepted()), (3, 3));
    // No more than that: the next one waits.
    let mut fourth = Box::pin(world.pick());
    let beyond = tokio::time::timeout(10 * SECOND, &mut fourth).await;
    assert!(beyond.is_err());
    assert_eq!(server.accepted(), 3);
    // While they carry something they stay, however long.
    tokio::time::sleep(300 * SECOND).await;
    assert_eq!(connections(), 3);
    first.abort();
    fourth.await.unwrap();
    second.abort();
    third.abort();
    tokio::time::sleep(90 * SECOND).await;
    assert_eq!((connections(), server.ended()), (1, 2));
    world.call().await.unwrap();
    assert_eq!(server.accepted(), 3, "the first one is still there");
}

#[tokio::test]
async fn one_connection_is_enough_for_those_who_need_no_more() {
    let net = Net::default();
    let server = serve(&net, "a:1", 100);
    let world = World::new(net, &["a:1"], |_| {});
    for _ in 0..100 {
        hold(&world, &server).await;
    }
    assert_eq!(server.accepted(), 1);
    hold(&world, &server).await;
    assert_eq!(server.accepted(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_carries_nothing_to_its_end_is_shown_and_gets_another_beside_it() {
    let net = Net::default();
    let server = serve(&net, "a:1", 1_000);
    let world = World::new(net, &["a:1"], |_| {});
    let stats = || world.balancer.stats().remove(0);
    let first = world.pick().await.unwrap().connection.id();
    for given_up in 1..=20 {
        assert_eq!((stats().connections, stats().connections_stalled), (1, 0));
        let picked = world.pick().await.unwrap();
        tokio::select! {
            _ = picked.send(request("/hang")) => panic!("it hangs"),
            () = until(|| server.calls() == given_up) => {}
        }
    }
    // It answers PINGs, so it is there; and who calls is better off elsewhere.
    until(|| stats().connections == 2).await;
    assert_eq!(stats().connections_stalled, 1);
    for _ in 0..5 {
        let picked = world.pick().await.unwrap();
        assert_ne!(picked.connection.id(), first);
        picked.send(request("/ok")).await.unwrap();
    }
    // When the other has rested it ends; and the first is asked again, and found to be well.
    tokio::time::sleep(90 * SECOND).await;
    assert_eq!((stats().connections, stats().connections_stalled), (1, 1));
    world.call().await.unwrap();
    assert_eq!(stats().connections_stalled, 0);
    assert_eq!(server.accepted(), 2);
}
