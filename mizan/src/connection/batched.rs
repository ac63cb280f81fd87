//! The connection's driver, one turn later than it is woken.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// Polls a connection only once everything that was ready beside it had its turn.
///
/// A call that writes into the connection's buffers wakes its driver, and tokio runs what was woken
/// last first: every call would be a system call of its own. One turn later, the driver finds the
/// requests of all callers that were ready, and sends them in one.
#[derive(Debug)]
pub(super) struct Batched<F> {
    connection: F,
    turn_given: bool,
}

impl<F> Batched<F> {
    pub(super) fn new(connection: F) -> Self {
        Self {
            connection,
            turn_given: false,
        }
    }
}

impl<F: Future + Unpin> Future for Batched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.turn_given = !self.turn_given;
        if self.turn_given {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.connection).poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn, rc::Rc};

    use super::*;

    #[tokio::test]
    async fn others_that_are_ready_go_first() {
        let polls = Rc::new(Cell::new(0));
        let local = tokio::task::LocalSet::new();
        let counted = polls.clone();
        let driver = Batched::new(poll_fn(move |_| {
            counted.set(counted.get() + 1);
            Poll::<()>::Pending
        }));
        local.spawn_local(driver);
        let (first, second) = (polls.clone(), polls.clone());
        let before = local.spawn_local(async move { first.get() });
        assert_eq!(
            local.run_until(before).await.unwrap(),
            0,
            "spawned after it, run before it"
        );
        local
            .run_until(async move {
                while second.get() == 0 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        assert_eq!(polls.get(), 1, "and once it had its turn, it waits");
    }
}
