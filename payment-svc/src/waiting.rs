//! Waiting for a payment that this process drives.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tonic::Status;

use crate::{domain::Payment, saga::Progress};

/// How long a step may be in trouble, however often it is repeated meanwhile, before the caller is
/// told: it may be about to succeed, and callers wait some 5 s.
const PATIENCE: Duration = Duration::from_secs(2);

/// No caller waits longer than this.
const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

/// How the waiting ended.
#[derive(Debug)]
pub(crate) enum Waited {
    /// It is final, or parked.
    Rested(Box<Payment>),
    /// A step cannot be done for now.
    Trouble(Status),
    /// The caller has to be answered now.
    TooLong,
    /// This process drives it no more.
    LetGo,
}

/// Waits until the payment is at rest, `until` at the longest. When its step is in trouble for
/// longer than a moment the caller learns why, and the payment goes on.
pub(crate) async fn rest(
    mut progress: watch::Receiver<Progress>,
    until: Option<Instant>,
) -> Waited {
    let until = until.unwrap_or_else(|| Instant::now() + FOR_EVER);
    let mut told_at = None;
    let mut seen = progress.borrow_and_update().clone();
    loop {
        let wait_until = match seen {
            Progress::Rested(payment) => return Waited::Rested(payment),
            Progress::Dropped => return Waited::LetGo,
            Progress::Running => {
                told_at = None;
                until
            }
            Progress::Trouble(_) => {
                let told_at = *told_at.get_or_insert_with(|| Instant::now() + PATIENCE);
                told_at.min(until)
            }
        };
        match timeout_at(wait_until, progress.changed()).await {
            Ok(Ok(())) => seen = progress.borrow_and_update().clone(),
            Ok(Err(_)) => return Waited::LetGo,
            Err(_) => {
                return match seen {
                    Progress::Trouble(trouble) if wait_until < until => Waited::Trouble(trouble),
                    _ => Waited::TooLong,
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_caller_learns_of_trouble_though_the_step_is_repeated_meanwhile() {
        let (report, progress) = watch::channel(Progress::Running);
        let repeating = async {
            for _ in 0..20 {
                report.send_replace(Progress::Trouble(Status::unavailable("away")));
                sleep(Duration::from_millis(500)).await;
            }
        };
        let begun = Instant::now();
        let told = tokio::select! {
            told = rest(progress, None) => told,
            () = repeating => panic!("a caller waited 10 s and was not told"),
        };
        assert!(
            matches!(&told, Waited::Trouble(status) if status.message() == "away"),
            "{told:?}"
        );
        assert!(begun.elapsed() < Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_is_answered_before_its_deadline() {
        let (_report, progress) = watch::channel(Progress::Running);
        let until = Instant::now() + Duration::from_secs(4);
        assert!(matches!(rest(progress, Some(until)).await, Waited::TooLong));
        assert!(Instant::now() < until + Duration::from_secs(1));
        // Also in trouble that has not lasted yet.
        let trouble = Progress::Trouble(Status::unavailable("away"));
        let (_report, progress) = watch::channel(trouble);
        let soon = Instant::now() + Duration::from_secs(1);
        assert!(matches!(rest(progress, Some(soon)).await, Waited::TooLong));
    }
}
