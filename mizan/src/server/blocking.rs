//! Handlers that block their thread: noticed, named, and kept from blocking others.
//!
//! A connection begins its calls itself, so a handler that computes for long, or waits without `await`,
//! keeps all other calls of its connection waiting. Whoever was seen to do so gets a task of its own from
//! then on, and blocks a thread, but no connection.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use super::seldom::Seldom;

/// From when on a handler is given a task of its own: far above what one takes that does not block, and
/// what the others can bear.
const APART: Duration = Duration::from_millis(10);

/// From when on it is said. On a busy machine a thread may stand still for some tens of milliseconds
/// without having done anything.
const SAID: Duration = Duration::from_millis(100);

/// How many methods are remembered. Far more than a server has that block.
const METHODS_MAX: usize = 256;

/// The methods that were seen to block.
#[derive(Debug, Default)]
pub(super) struct Blocking {
    any: AtomicBool,
    methods: RwLock<HashSet<Box<str>>>,
    said: Mutex<Seldom>,
}

impl Blocking {
    /// Runs a method's handler, and looks how long it keeps its thread at a time. Answers also how often
    /// that was too long.
    pub(super) async fn watch<F: Future>(&self, path: &str, handler: F) -> (F::Output, u64) {
        if self.any.load(Ordering::Relaxed) && self.methods.read().contains(path) {
            // What has to wait becomes a task.
            tokio::task::yield_now().await;
        }
        let mut handler = std::pin::pin!(handler);
        let mut times = 0;
        let ended = std::future::poll_fn(|context| {
            let (polled, took) = timed(handler.as_mut(), context);
            if took >= APART {
                times += 1;
                self.blocked(path, took);
            }
            polled
        });
        (ended.await, times)
    }

    #[cold]
    fn blocked(&self, path: &str, took: Duration) {
        if !self.methods.read().contains(path) {
            let mut methods = self.methods.write();
            if methods.len() < METHODS_MAX {
                methods.insert(path.into());
                self.any.store(true, Ordering::Relaxed);
            }
        }
        if took >= SAID
            && let Some(times) = self.said.lock().happened(Instant::now())
        {
            tracing::warn!(
                method = path,
                took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                times,
                "a handler blocked its thread; give such work to tokio::task::spawn_blocking"
            );
        }
    }
}

/// By the runtime's clock: where that stands still, as in a simulation, nobody takes any time, however
/// busy the machine is.
fn timed<F: Future>(
    handler: Pin<&mut F>,
    context: &mut Context<'_>,
) -> (Poll<F::Output>, Duration) {
    let begun = Instant::now();
    let polled = handler.poll(context);
    (polled, begun.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_blocked_once_is_begun_apart_from_then_on() {
        let blocking = Blocking::default();
        let mut first = std::pin::pin!(blocking.watch("/a/Quick", async { 1 }));
        assert_eq!(futures_util::poll!(first.as_mut()), Poll::Ready((1, 0)));
        let blocks = async {
            let begun = std::time::Instant::now();
            while begun.elapsed() < APART {
                std::hint::spin_loop();
            }
        };
        let mut blocked = std::pin::pin!(blocking.watch("/a/Slow", blocks));
        assert_eq!(futures_util::poll!(blocked.as_mut()), Poll::Ready(((), 1)));
        let mut again = std::pin::pin!(blocking.watch("/a/Slow", async { 2 }));
        assert!(futures_util::poll!(again.as_mut()).is_pending(), "apart");
        assert_eq!(again.await.0, 2);
        let mut quick = std::pin::pin!(blocking.watch("/a/Quick", async { 3 }));
        assert_eq!(futures_util::poll!(quick.as_mut()), Poll::Ready((3, 0)));
    }

    #[tokio::test]
    async fn made_up_methods_fill_no_memory() {
        let blocking = Blocking::default();
        for number in 0..1000 {
            blocking.blocked(&format!("/a/{number}"), APART);
        }
        assert_eq!(blocking.methods.read().len(), METHODS_MAX);
    }
}
