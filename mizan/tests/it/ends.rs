//! An end for whatever a test waits for: what never comes fails the test with a sentence, instead of
//! holding up all tests.

use std::{
    future::Future,
    panic::Location,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

/// Far longer than anything here takes, also on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Comes to what the future comes to, and fails if that takes too long by the machine's own clock:
/// a paused one stands still while a test asks again and again.
#[track_caller]
pub(crate) fn within<T>(
    what: &'static str,
    future: impl Future<Output = T>,
) -> impl Future<Output = T> {
    ended_by(PATIENCE, what, future)
}

#[track_caller]
fn ended_by<T>(
    patience: Duration,
    what: &'static str,
    future: impl Future<Output = T>,
) -> impl Future<Output = T> {
    let place = Location::caller();
    async move {
        let (_ended, end) = mpsc::channel::<()>();
        let (late, too_late) = oneshot::channel();
        thread::spawn(move || {
            if end.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                let _ = late.send(());
            }
        });
        tokio::select! {
            biased;
            came = future => came,
            Ok(()) = too_late => panic!("{place}: within {patience:?} it never came to this: {what}"),
        }
    }
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn until(is_so: impl Fn() -> bool) -> impl Future<Output = ()> {
    within("what the test waits for", async move {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
}

/// Keeps a paused clock from going on by itself while the test's tasks wait for the network: time
/// passes as the test says, until this is dropped.
pub(crate) fn hold_the_clock() -> impl Drop {
    AbortOnDropHandle::new(tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    }))
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "it never came to this: the end")]
async fn a_wait_without_end_is_told() {
    ended_by(Duration::from_millis(1), "the end", std::future::pending()).await
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "it never came to this: the end")]
async fn asking_without_end_is_told_too() {
    let asking = async {
        loop {
            tokio::task::yield_now().await;
        }
    };
    ended_by(Duration::from_millis(1), "the end", asking).await
}
