//! Calls by script on a paused clock: each row of gRFC A6's "Summary of Retry and Hedging Logic".

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::time::sleep;
use tokio_stream::StreamExt as _;
use tonic::body::Body;

use super::*;
use crate::retry::{
    Codes, HedgingPolicy, RetryPolicy, Thousandths, Throttling, replay::Memory, state::Kind,
};

const LONG: u64 = 1_000_000;

fn unavailable() -> End {
    End::of_code(Code::Unavailable)
}

fn fatal() -> End {
    End::of_code(Code::InvalidArgument)
}

fn pushed_back(pushback: Pushback) -> End {
    let code = Code::Unavailable;
    End::Failed { code, pushback }
}

fn after(millis: u64) -> End {
    pushed_back(Pushback::After(Duration::from_millis(millis)))
}

/// Pauses of 100, 200 and 400 ms, before jitter.
fn retrying(attempts_max: u32) -> Policy {
    Policy::Retry(RetryPolicy {
        attempts_max,
        ..RetryPolicy::default()
    })
}

/// A copy every 100 ms.
fn hedging(attempts_max: u32) -> Policy {
    Policy::Hedge(HedgingPolicy {
        attempts_max,
        ..HedgingPolicy::default()
    })
}

/// What each attempt does: take so many milliseconds, end like this.
struct Scene {
    policy: Policy,
    throttle: Throttle,
    deadline: Option<Duration>,
    script: Vec<(u64, End)>,
}

/// What came of it.
#[derive(Debug)]
struct Played {
    driven: Driven<u32>,
    /// When each attempt was started, in milliseconds, by id.
    started: Vec<u64>,
    previous: Vec<u32>,
    kinds: Vec<Kind>,
    /// How many were dropped before their end.
    cancelled: u32,
    took: u64,
}

/// Counts attempts that are dropped while under way.
struct UnderWay<'a>(Option<&'a Cell<u32>>);

impl UnderWay<'_> {
    fn over(mut self) {
        self.0 = None;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(cancelled) = self.0 {
            cancelled.set(cancelled.get() + 1);
        }
    }
}

impl Scene {
    fn new(policy: Policy, script: &[(u64, End)]) -> Self {
        Self {
            policy,
            throttle: Throttle::new(None),
            deadline: None,
            script: script.to_vec(),
        }
    }

    fn until(mut self, millis: u64) -> Self {
        self.deadline = Some(Duration::from_millis(millis));
        self
    }

    fn tokens(mut self, tokens_max: u16) -> Self {
        self.throttle = Throttle::new(Some(Throttling {
            tokens_max: Thousandths::whole(tokens_max),
            ..Throttling::default()
        }));
        self
    }

    async fn play(&self) -> Played {
        let request = Request::new(Body::empty());
        let request = Replay::new(request, &Memory::default()).await.unwrap();
        let begun = now();
        let millis = || u64::try_from((now() - begun).as_millis()).unwrap();
        let log = RefCell::new(Vec::new());
        let cancelled = Cell::new(0);
        let terms = Terms {
            policy: &self.policy,
            throttle: &self.throttle,
            request: &request,
            deadline: self.deadline.map(|limit| begun + limit),
        };
        let driven = drive(terms, begun, |attempt| {
            log.borrow_mut().push((millis(), attempt));
            let index = usize::try_from(attempt.id).unwrap();
            let (takes, end) = self.script.get(index).copied().unwrap_or((LONG, fatal()));
            let under_way = UnderWay(Some(&cancelled));
            async move {
                sleep(Duration::from_millis(takes)).await;
                under_way.over();
                let answer = attempt.id;
                Ended { end, answer }
            }
        })
        .await;
        let log = log.into_inner();
        Played {
            driven,
            started: log.iter().map(|(at, _)| *at).collect(),
            previous: log.iter().map(|(_, a)| a.previous).collect(),
            kinds: log.iter().map(|(_, a)| a.kind).collect(),
            cancelled: cancelled.get(),
            took: millis(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn retry_row_1_a_success_is_returned() {
    let played = Scene::new(retrying(4), &[(5, End::Answered)]).play().await;
    assert_eq!((played.driven.answer, played.started.len()), (0, 1));
    assert_eq!(played.driven.tally, Tally::default());
    assert!(!played.driven.exhausted);
}

#[tokio::test(start_paused = true)]
async fn hedge_row_1_a_success_cancels_previous_and_pending_hedges() {
    let script = [(500, unavailable()), (50, End::Answered)];
    let played = Scene::new(hedging(4), &script).play().await;
    assert_eq!((played.driven.answer, played.took), (1, 150));
    assert_eq!((played.started, played.cancelled), (vec![0, 100], 1));
    assert_eq!(played.previous, [0, 1]);
    assert_eq!(played.driven.tally.hedges, 1);
}

#[tokio::test(start_paused = true)]
async fn retry_row_2_a_retryable_status_is_retried_by_the_policy() {
    let script = [(0, unavailable()), (0, unavailable()), (0, End::Answered)];
    let played = Scene::new(retrying(4), &script).play().await;
    assert_eq!(played.driven.answer, 2);
    let pauses: Vec<_> = played.started.windows(2).map(|w| w[1] - w[0]).collect();
    assert!((80..=121).contains(&pauses[0]), "{pauses:?}");
    assert!((160..=242).contains(&pauses[1]), "{pauses:?}");
    assert_eq!(played.previous, [0, 1, 2]);
    assert_eq!(played.kinds, [Kind::First, Kind::Retry, Kind::Retry]);
    let paused = played.driven.tally.paused.as_millis();
    assert!(u128::from(played.took).abs_diff(paused) <= 2, "{played:?}");
}

#[tokio::test(start_paused = true)]
async fn hedge_row_2_a_non_fatal_status_sends_the_next_at_once_and_the_delay_goes_on() {
    let script = [(30, unavailable()), (LONG, fatal()), (20, End::Answered)];
    let played = Scene::new(hedging(4), &script).play().await;
    assert_eq!(played.started, [0, 30, 130]);
    assert_eq!((played.driven.answer, played.took), (2, 150));
}

#[tokio::test(start_paused = true)]
async fn retry_row_3_a_fatal_status_is_returned() {
    let played = Scene::new(retrying(4), &[(0, fatal())]).play().await;
    assert_eq!((played.driven.answer, played.started.len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn hedge_row_3_a_fatal_status_cancels_the_others() {
    let script = [(500, End::Answered), (50, fatal())];
    let played = Scene::new(hedging(4), &script).play().await;
    assert_eq!((played.driven.answer, played.took), (1, 150));
    assert_eq!((played.started.len(), played.cancelled), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn retry_row_4_told_to_stop_it_stops() {
    let script = [(0, pushed_back(Pushback::Stop))];
    let played = Scene::new(retrying(4), &script).play().await;
    assert_eq!(played.started, [0]);
    assert!(played.driven.exhausted);
}

#[tokio::test(start_paused = true)]
async fn hedge_row_4_told_to_stop_it_sends_no_more_and_waits_for_the_others() {
    let script = [(500, End::Answered), (50, pushed_back(Pushback::Stop))];
    let played = Scene::new(hedging(4), &script).play().await;
    assert_eq!(played.started, [0, 100]);
    assert_eq!((played.driven.answer, played.took), (0, 500));
}

#[tokio::test(start_paused = true)]
async fn retry_row_5_told_when_it_retries_exactly_then_and_begins_anew() {
    let script = [
        (0, unavailable()),
        (0, after(7)),
        (0, unavailable()),
        (0, End::Answered),
    ];
    let played = Scene::new(retrying(4), &script).play().await;
    let pauses: Vec<_> = played.started.windows(2).map(|w| w[1] - w[0]).collect();
    assert_eq!(pauses[1], 7);
    assert!(
        (80..=121).contains(&pauses[2]),
        "the first pause: {pauses:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn hedge_row_5_told_when_the_next_goes_then_and_the_delay_after_it() {
    let script = [(30, after(500)), (LONG, fatal()), (0, End::Answered)];
    let played = Scene::new(hedging(4), &script).play().await;
    assert_eq!(played.started, [0, 530, 630]);
}

#[tokio::test(start_paused = true)]
async fn in_all_rows_there_are_no_more_attempts_than_allowed() {
    let played = Scene::new(retrying(3), &[(0, after(1)); 9]).play().await;
    assert_eq!((played.started.len(), played.driven.answer), (3, 2));
    assert!(played.driven.exhausted);
    let played = Scene::new(hedging(3), &[(500, unavailable()); 9])
        .play()
        .await;
    assert_eq!(played.started, [0, 100, 200]);
    assert_eq!((played.driven.answer, played.took), (2, 700));
    assert!(played.driven.exhausted);
}

#[tokio::test(start_paused = true)]
async fn without_a_delay_all_hedges_go_at_once() {
    let policy = Policy::Hedge(HedgingPolicy {
        attempts_max: 3,
        delay: Duration::ZERO,
        non_fatal: Codes::default(),
        attempt_timeout: None,
    });
    let script = [
        (50, End::Answered),
        (20, End::Answered),
        (90, End::Answered),
    ];
    let played = Scene::new(policy, &script).play().await;
    assert_eq!(played.started, [0, 0, 0]);
    assert_eq!((played.driven.answer, played.cancelled), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn below_half_its_tokens_nothing_is_retried_but_the_first_is_sent() {
    let scene = Scene::new(retrying(2), &[(0, unavailable()); 2]).tokens(4);
    assert_eq!(scene.play().await.started.len(), 2, "3 of 4 are left");
    // What the first calls cost is at half now: calls are made, retries are not.
    for _ in 0..3 {
        let played = scene.play().await;
        assert_eq!(played.started, [0]);
        assert!(played.driven.exhausted);
    }
    assert_eq!(scene.throttle.left(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_cannot_be_afforded_is_not_sent() {
    let scene = Scene::new(hedging(3), &[(250, End::Answered)]).tokens(4);
    assert_eq!(scene.play().await.started, [0, 100, 200]);
    (0..2).for_each(|_| scene.throttle.failed());
    let played = scene.play().await;
    assert_eq!((played.started, played.driven.answer), (vec![0], 0));
}

#[tokio::test(start_paused = true)]
async fn a_pause_beyond_the_deadline_is_not_begun() {
    let scene = Scene::new(retrying(3), &[(10, after(100))]).until(110);
    let played = scene.play().await;
    assert_eq!((played.started.len(), played.took), (1, 10));
    let scene = Scene::new(retrying(3), &[(10, after(99))]).until(110);
    assert_eq!(scene.play().await.started, [0, 109]);
}

#[tokio::test(start_paused = true)]
async fn what_never_left_is_sent_again_at_once_and_counts_nothing() {
    let script = [
        (0, End::NeverSent),
        (0, End::NeverSent),
        (0, End::RefusedUnseen),
        (0, unavailable()),
        (0, End::Answered),
    ];
    let scene = Scene::new(retrying(2), &script).tokens(10);
    let played = scene.play().await;
    assert_eq!(played.driven.answer, 4);
    assert_eq!(played.previous, [0, 0, 0, 0, 1]);
    assert_eq!(played.started[..4], [0; 4]);
    assert_eq!(scene.throttle.left(), 9_000);
    let tally = played.driven.tally;
    assert_eq!((tally.transparent, tally.retries), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn where_nobody_is_a_call_fails_fast_and_costs_no_token() {
    let scene = Scene::new(retrying(3), &[(0, End::NoInstance); 9]).tokens(4);
    let played = scene.play().await;
    assert_eq!((played.started.len(), played.driven.answer), (3, 2));
    assert!(played.took <= 363, "{}", played.took);
    assert_eq!(scene.throttle.left(), 4_000);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_this_client_declines_leaves_the_others_alone() {
    let script = [(300, End::Answered), (0, End::Declined)];
    let played = Scene::new(hedging(4), &script).play().await;
    assert_eq!(played.started, [0, 100]);
    assert_eq!(played.driven.answer, 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_tried_again_while_the_call_has_time() {
    let policy = Policy::Retry(RetryPolicy {
        attempt_timeout: Some(Duration::from_millis(50)),
        ..RetryPolicy::default()
    });
    let script = [(50, End::TimedOut), (0, End::Answered)];
    let scene = Scene::new(policy, &script).until(1000).tokens(10);
    let played = scene.play().await;
    assert_eq!(played.driven.answer, 1);
    assert_eq!(scene.throttle.left(), 9_000);
}

#[test]
fn a_response_tells_how_its_attempt_ended() {
    let of = |status: Status| {
        let response = status.into_http::<Body>();
        End::of_response(response.headers())
    };
    assert_eq!(End::of_response(&HeaderMap::new()), End::Answered);
    assert_eq!(of(Status::ok("")), End::Answered);
    assert_eq!(of(Status::unavailable("")), unavailable());
    let mut told = Status::unavailable("");
    crate::retry::mark_exhausted(&mut told);
    assert_eq!(of(told), pushed_back(Pushback::Stop));
}

/// Reads a request to its end, as an attempt under way does; a request that is taken away is a
/// failure that would end a hedged call.
async fn reads(request: &Replay, attempt: Attempt) -> Ended<u32> {
    let mut body = request.attempt(attempt.id).unwrap().into_body();
    let answer = attempt.id;
    loop {
        match body.frame().await {
            Some(Ok(_)) => {}
            Some(Err(_)) => {
                return Ended {
                    end: fatal(),
                    answer,
                };
            }
            None => {
                let end = End::Answered;
                return Ended { end, answer };
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hedged_request_that_outgrows_the_buffer_stays_with_one_attempt() {
    let piece = || Ok::<_, Status>(Frame::data(Bytes::from_static(b"piece")));
    let pieces = tokio_stream::iter(std::iter::repeat_with(piece).take(20))
        .throttle(Duration::from_millis(10));
    let request = Request::new(Body::new(StreamBody::new(pieces)));
    let memory = Memory::new(70, 100);
    let request = Replay::new(request, &memory).await.unwrap();
    let policy = hedging(3);
    let throttle = Throttle::new(None);
    let terms = Terms {
        policy: &policy,
        throttle: &throttle,
        request: &request,
        deadline: None,
    };
    let driven = drive(terms, now(), |attempt| reads(&request, attempt)).await;
    // The copy was sent after 100 ms and the buffer was full after 140.
    assert_eq!(driven.tally.hedges, 1);
    assert_eq!(Some(driven.answer), request.committed_to());
    assert_eq!(memory.left(), 100);
}

#[tokio::test(start_paused = true)]
async fn the_answer_is_a_callees_word_rather_than_this_clients_own() {
    let script = [(150, unavailable()), (100, End::NoInstance)];
    let played = Scene::new(hedging(2), &script).play().await;
    assert_eq!((played.driven.answer, played.took), (0, 200));
}
