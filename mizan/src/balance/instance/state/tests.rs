//! Tests of the connection's state machine.

use proptest::prelude::*;

use super::*;

/// The middle of the jitter.
const EVEN: u32 = u32::MAX / 2;
const SECOND: Duration = Duration::from_secs(1);

struct Run {
    link: Link,
    now: Instant,
}

impl Run {
    fn new() -> Self {
        let mut link = Link::new();
        link.set_connect_timeout(20 * SECOND);
        Self {
            link,
            now: Instant::now(),
        }
    }

    fn on(&mut self, event: Event) -> Action {
        self.link.on(event, self.now, EVEN)
    }

    /// How long the pause is that an event brings, waited through.
    fn pause(&mut self, event: Event) -> Duration {
        match self.on(event) {
            Action::Pause { until } => {
                let pause = until - self.now;
                self.now = until;
                pause
            }
            other => panic!("a pause, not {other:?}"),
        }
    }
}

const SETTLED: Event = Event::Settled { checked: false };
const ENDED: Event = Event::Ended {
    pinged_too_often: false,
};

fn near(duration: Duration, millis: u128) -> bool {
    duration.as_millis().abs_diff(millis) <= 1 + millis / 500
}

#[test]
fn pauses_grow_from_the_start_of_a_try_up_to_two_minutes() {
    let mut run = Run::new();
    run.on(Event::Begin);
    let mut expected: u128 = 1000;
    for _ in 0..20 {
        let pause = run.pause(Event::Failed);
        assert!(near(pause, expected), "{pause:?}, not {expected} ms");
        run.on(Event::PauseOver);
        expected = (expected * 8 / 5).min(120_000);
    }
}

#[test]
fn the_time_that_a_try_took_is_part_of_the_pause() {
    let mut run = Run::new();
    run.on(Event::Begin);
    run.now += SECOND / 4;
    assert!(near(run.pause(Event::Failed), 750));
    run.on(Event::PauseOver);
    run.now += 20 * SECOND;
    assert_eq!(run.pause(Event::Failed), Duration::ZERO, "long over");
}

#[test]
fn a_try_has_twenty_seconds_and_later_as_long_as_the_pause() {
    let mut run = Run::new();
    let within = |action| match action {
        Action::Connect { within } => within,
        other => panic!("a try, not {other:?}"),
    };
    assert_eq!(within(run.on(Event::Begin)), 20 * SECOND);
    for _ in 0..15 {
        run.pause(Event::Failed);
        run.on(Event::PauseOver);
    }
    run.pause(Event::Failed);
    assert!(near(within(run.on(Event::PauseOver)), 120_000));
}

#[test]
fn settings_forget_the_failures() {
    let mut run = Run::new();
    run.on(Event::Begin);
    for _ in 0..5 {
        run.pause(Event::Failed);
        run.on(Event::PauseOver);
    }
    assert!(run.link.has_failed());
    run.on(SETTLED);
    assert_eq!(run.link.state(), State::Ready);
    assert!(!run.link.has_failed());
    run.now += LASTING;
    assert!(matches!(run.on(ENDED), Action::Connect { .. }), "at once");
    assert!(!run.link.has_failed(), "worth waiting for");
    assert!(near(run.pause(Event::Failed), 1000));
}

#[test]
fn a_peer_that_hangs_up_at_once_is_tried_at_once_only_once() {
    let mut run = Run::new();
    run.on(Event::Begin);
    run.on(SETTLED);
    assert!(matches!(run.on(ENDED), Action::Connect { .. }));
    run.on(SETTLED);
    let first = run.pause(ENDED);
    assert!(run.link.has_failed());
    run.on(Event::PauseOver);
    run.on(SETTLED);
    let second = run.pause(ENDED);
    assert!(second > first, "{second:?} after {first:?}");
}

#[test]
fn a_watch_decides_when_there_is_one() {
    let mut run = Run::new();
    run.on(Event::Begin);
    run.on(Event::Settled { checked: true });
    assert_eq!(run.link.state(), State::Checking);
    assert!(!run.link.has_failed(), "may yet become ready");
    run.on(Event::NotServing);
    assert_eq!(run.link.state(), State::Unhealthy);
    assert!(run.link.has_failed());
    run.on(Event::Serving);
    assert_eq!(run.link.state(), State::Ready);
    run.on(Event::NotServing);
    assert_eq!(run.link.state(), State::Unhealthy);
}

#[test]
fn an_unhealthy_one_that_ends_has_still_failed() {
    let mut run = Run::new();
    run.on(Event::Begin);
    run.on(Event::Settled { checked: true });
    run.on(Event::NotServing);
    run.now += LASTING;
    run.on(ENDED);
    assert_eq!(run.link.state(), State::Connecting);
    assert!(run.link.has_failed());
}

#[test]
fn each_complaint_doubles_the_keepalive() {
    let mut run = Run::new();
    run.on(Event::Begin);
    let complaint = Event::Ended {
        pinged_too_often: true,
    };
    for doubled in [40, 80, 160, 320, 640, 1280, 1280] {
        run.on(SETTLED);
        run.now += 60 * SECOND;
        run.on(complaint);
        assert_eq!(run.link.keep_alive(20 * SECOND), doubled * SECOND);
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        any::<bool>().prop_map(|checked| Event::Settled { checked }),
        Just(Event::Failed),
        any::<bool>().prop_map(|pinged_too_often| Event::Ended { pinged_too_often }),
        Just(Event::Serving),
        Just(Event::NotServing),
        Just(Event::PauseOver),
        Just(Event::Begin),
    ]
}

proptest! {
    /// Whatever happens, in whatever order: a peer is never besieged, and pauses have their bounds.
    #[test]
    fn tries_are_bounded(
        steps in prop::collection::vec((event(), 0_u64..3_000, any::<u32>()), 1..300),
    ) {
        let mut link = Link::new();
        let start = Instant::now();
        let mut now = start;
        let mut pause_until = None;
        let (mut tries, mut lasting) = (0_u32, 0_u32);
        let mut settled = None;
        for (event, millis, random) in steps {
            now += Duration::from_millis(millis);
            // The shell says that a pause is over when it is.
            let event = match (event, pause_until) {
                (Event::PauseOver, Some(until)) if until > now => { now = until; event }
                _ => event,
            };
            let before = link.state();
            match event {
                Event::Settled { .. } if before == State::Connecting => settled = Some(now),
                Event::Ended { .. } => {
                    lasting += u32::from(settled.take().is_some_and(|at| now - at >= LASTING));
                }
                _ => {}
            }
            match link.on(event, now, random) {
                Action::Connect { .. } => { tries += 1; pause_until = None; }
                Action::Pause { until } => {
                    prop_assert!(until >= now);
                    prop_assert!(until - now <= PAUSE_MAX * 6 / 5);
                    prop_assert_eq!(link.state(), State::Backoff);
                    pause_until = Some(until);
                }
                Action::Carry => {}
                Action::Stop => prop_assert!(false, "nobody removed it"),
            }
            if link.state() == State::Ready {
                prop_assert!(!link.has_failed());
            }
            // One to begin with, two for each that lasted, and one for each shortest pause.
            let paced = (now - start).as_millis() / 800;
            prop_assert!(u128::from(tries) <= 2 + 2 * u128::from(lasting) + paced);
        }
    }

    #[test]
    fn only_a_connection_can_be_ready(
        steps in prop::collection::vec((event(), any::<u32>()), 1..100),
    ) {
        let mut link = Link::new();
        let now = Instant::now();
        for (event, random) in steps {
            let before = link.state();
            link.on(event, now, random);
            let connected = |s| matches!(s, State::Checking | State::Ready | State::Unhealthy);
            if connected(link.state()) && !connected(before) {
                prop_assert_eq!(before, State::Connecting);
                let settled = matches!(event, Event::Settled { .. });
                prop_assert!(settled);
            }
        }
    }

    #[test]
    fn gone_is_for_ever(
        before in prop::collection::vec((event(), any::<u32>()), 0..30),
        after in prop::collection::vec((event(), any::<u32>()), 0..30),
    ) {
        let mut link = Link::new();
        let now = Instant::now();
        for (event, random) in before {
            link.on(event, now, random);
        }
        prop_assert_eq!(link.on(Event::Removed, now, 0), Action::Stop);
        for (event, random) in after {
            prop_assert_eq!(link.on(event, now, random), Action::Stop);
            prop_assert_eq!(link.state(), State::Gone);
        }
    }
}
