//! The health watch of gRFC A17, as the picks see it.

use super::*;

fn checked(settings: &mut Settings) {
    settings.health_check = Some("s".to_owned());
}

#[tokio::test(start_paused = true)]
async fn the_health_watch_decides() {
    let net = Net::default();
    let server = net.serve("a:1");
    let world = World::new(net, &["a:1"], checked);
    // Connected, but silent about its health: waited for.
    until(|| server.watches() == 1).await;
    assert_eq!(world.state("a:1"), Some(InstanceState::Connecting));
    for (says, state) in [
        (ServingStatus::NotServing, InstanceState::Unhealthy),
        (ServingStatus::Serving, InstanceState::Ready),
        (ServingStatus::ServiceUnknown, InstanceState::Unhealthy),
        (ServingStatus::Serving, InstanceState::Ready),
        (ServingStatus::Unknown, InstanceState::Unhealthy),
    ] {
        server.say(Health::Says(says));
        world.until("a:1", state).await;
        match state {
            InstanceState::Ready => world.call().await.unwrap(),
            _ => {
                let refusal = world.refusal().await;
                let message = refusal.message();
                assert!(message.contains(says.as_str_name()), "{message}");
            }
        }
    }
    assert_eq!(server.watches(), 1, "one stream said it all");
    assert_eq!(server.accepted(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_health_service_an_instance_is_healthy_and_not_asked_again() {
    let net = Net::default();
    let server = net.serve("a:1");
    server.say(Health::Ends(Code::Unimplemented));
    let world = World::new(net, &["a:1"], checked);
    world.until("a:1", InstanceState::Ready).await;
    tokio::time::sleep(1000 * SECOND).await;
    assert_eq!(server.watches(), 1);
    world.call().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_service_unknown_by_status_is_unknown_and_asked_about_again() {
    let net = Net::default();
    let server = net.serve("a:1");
    server.say(Health::Ends(Code::NotFound));
    let world = World::new(net, &["a:1"], checked);
    world.until("a:1", InstanceState::Unhealthy).await;
    let refusal = world.refusal().await;
    assert!(refusal.message().contains("SERVICE_UNKNOWN"), "{refusal:?}");
    server.say(Health::Says(ServingStatus::Serving));
    let wait = Wait {
        deadline: None,
        for_ready: true,
    };
    assert!(world.balancer.pick(&call(), &[], wait).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_health_watch_that_breaks_is_asked_for_again_after_growing_pauses() {
    let net = Net::default();
    let server = net.serve("a:1");
    server.say(Health::Says(ServingStatus::Serving));
    let world = World::new(net, &["a:1"], checked);
    world.until("a:1", InstanceState::Ready).await;
    server.say(Health::Ends(Code::Internal));
    world.until("a:1", InstanceState::Unhealthy).await;
    // 1 + 1.6 + 2.56 + 4.1 + 6.6 s, ±20 %: five more within 20 s, not a thousand.
    tokio::time::sleep(20 * SECOND).await;
    let watches = server.watches();
    assert!((5..=8).contains(&watches), "{watches}");
    server.say(Health::Says(ServingStatus::Serving));
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(world.state("a:1"), Some(InstanceState::Ready));
    assert_eq!(server.accepted(), 1, "the connection was never at fault");
}

#[tokio::test(start_paused = true)]
async fn a_health_check_can_be_set_and_unset_without_losing_connections() {
    let net = Net::default();
    let server = net.serve("a:1");
    let world = World::new(net, &["a:1"], |_| {});
    world.until("a:1", InstanceState::Ready).await;
    world.balancer.set(World::settings(&world.net, checked));
    until(|| server.watches() == 1).await;
    world.call().await.expect("ready until the first answer");
    server.say(Health::Says(ServingStatus::NotServing));
    world.until("a:1", InstanceState::Unhealthy).await;
    world.balancer.set(World::settings(&world.net, |_| {}));
    world.until("a:1", InstanceState::Ready).await;
    world.call().await.unwrap();
    assert_eq!(server.accepted(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_over_is_still_told() {
    let net = Net::default();
    let server = net.serve("a:1");
    let world = World::new(net, &["a:1"], |_| {});
    world.until("a:1", InstanceState::Ready).await;
    let before = world.balancer.stats()[0].since;
    tokio::time::sleep(2 * SECOND).await;
    server.command(Command::Abrupt(h2::Reason::INTERNAL_ERROR));
    until(|| server.accepted() == 2).await;
    world.until("a:1", InstanceState::Ready).await;
    let stats = world.balancer.stats();
    let error = stats[0].last_error.as_deref().unwrap();
    assert!(error.contains("GOAWAY"), "{error}");
    assert_eq!(stats[0].connections, 1);
    assert!(stats[0].since >= before + 2 * SECOND);
}
