//! How a writer waits: for work, for a pause in it, and for the end.

use std::{io, time::Duration};

use tokio::{
    runtime::{self, Runtime},
    sync::{mpsc, watch},
    time::sleep,
};

/// Asks a writer to come to its end, and waits for it. Clones are of the same writer.
#[derive(Debug, Clone)]
pub(crate) struct Closer {
    asked: watch::Sender<bool>,
    ended: watch::Receiver<()>,
}

/// The writer's side: that it has ended is told when this is dropped.
#[derive(Debug)]
pub(crate) struct Closing {
    asked: watch::Receiver<bool>,
    _ended: watch::Sender<()>,
}

/// The two sides of one writer's end.
pub(crate) fn closing() -> (Closer, Closing) {
    let (ask, asked) = watch::channel(false);
    let (end, ended) = watch::channel(());
    let closer = Closer { asked: ask, ended };
    let closing = Closing { asked, _ended: end };
    (closer, closing)
}

impl Closer {
    /// Lets the writer do what waits already, and nothing more; resolves when it has ended.
    pub(crate) async fn close(&self) {
        self.asked.send_replace(true);
        // Nothing is ever sent: this resolves when the other side is gone.
        let _ = self.ended.clone().changed().await;
    }
}

impl Closing {
    /// Whether the end was asked for: otherwise every handle is gone.
    pub(crate) fn was_asked(&self) -> bool {
        *self.asked.borrow()
    }
}

/// What a writer waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// There is something to do.
    Work,
    /// Nothing came for as long as it was to wait.
    Quiet,
    /// Nothing will come any more.
    End,
}

/// Takes what waits, at most so many; or says that nothing came for so long, or will any more.
pub(crate) async fn next<T>(
    waiting: &mut mpsc::Receiver<T>,
    closing: &mut Closing,
    taken: &mut Vec<T>,
    most: usize,
    patience: Option<Duration>,
) -> Next {
    loop {
        let open = !waiting.is_closed();
        tokio::select! {
            biased;
            // Handles that are all gone end it too; and what waited when it was closed comes first.
            _ = closing.asked.wait_for(|asked| *asked), if open => waiting.close(),
            count = waiting.recv_many(taken, most) => {
                return if count > 0 { Next::Work } else { Next::End };
            }
            () = sleep(patience.unwrap_or_default()), if patience.is_some() => return Next::Quiet,
        }
    }
}

/// What a thread of its own waits with: a clock, and nothing else.
pub(crate) fn clock() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_time().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_waited_before_the_end_is_done_and_what_comes_after_is_refused() {
        let (queue, mut waiting) = mpsc::channel(8);
        let (closer, mut closing) = closing();
        queue.send(1).await.unwrap();
        queue.send(2).await.unwrap();
        let ask = closer.clone();
        let closed = tokio::spawn(async move { ask.close().await });
        while !*closer.asked.borrow() {
            tokio::task::yield_now().await;
        }
        let mut taken = Vec::new();
        let mut waits = async || next(&mut waiting, &mut closing, &mut taken, 1, None).await;
        assert_eq!(waits().await, Next::Work);
        assert!(queue.send(3).await.is_err());
        assert_eq!((waits().await, waits().await), (Next::Work, Next::End));
        assert_eq!(taken, [1, 2]);
        assert!(!closed.is_finished());
        drop(closing);
        closed.await.unwrap();
        closer.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_told_and_handles_that_are_gone_are_the_end() {
        let (queue, mut waiting) = mpsc::channel::<u8>(8);
        let (closer, mut closing) = closing();
        let mut taken = Vec::new();
        let pause = Some(Duration::from_secs(1));
        let mut waits = async || next(&mut waiting, &mut closing, &mut taken, 1, pause).await;
        assert_eq!(waits().await, Next::Quiet);
        queue.send(1).await.unwrap();
        drop(closer);
        drop(queue);
        assert_eq!((waits().await, waits().await), (Next::Work, Next::End));
    }
}
