//! Which of a name's addresses is connected to: whichever answers first (RFC 8305, "happy eyeballs").
//!
//! *Problem.* A name may have an address that swallows what is sent to it: of another family that is
//! not routed here, of a machine that is gone. Tried one after another, the second is never reached
//! before the time is up.
//!
//! *What it does.* The addresses are tried in the resolver's order, families taking turns. The next
//! one is begun when the one before failed, or [`DELAY`] after it began; the others are dropped when
//! one is there.

use std::{collections::VecDeque, future::Future, io, net::SocketAddr, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};

/// How long an address has before the next one is tried beside it: RFC 8305, 5.
const DELAY: Duration = Duration::from_millis(250);

/// How many addresses of a name are tried: of more, two of the others would hardly be better.
const ADDRESSES_MAX: usize = 16;

/// The addresses in the order in which they are tried: families take turns, beginning with the
/// first address's.
fn in_turn(addresses: impl IntoIterator<Item = SocketAddr>) -> VecDeque<SocketAddr> {
    let mut all = addresses.into_iter().peekable();
    let Some(first) = all.peek().map(SocketAddr::is_ipv6) else {
        return VecDeque::new();
    };
    let (one, other): (Vec<_>, Vec<_>) = all.partition(|address| address.is_ipv6() == first);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut ordered = VecDeque::new();
    while ordered.len() < ADDRESSES_MAX {
        let pair = [one.next(), other.next()];
        let before = ordered.len();
        ordered.extend(pair.into_iter().flatten());
        if ordered.len() == before {
            break;
        }
    }
    ordered.truncate(ADDRESSES_MAX);
    ordered
}

/// Connects to whichever of the addresses is there first.
///
/// # Errors
/// That of the first address that failed, when all of them did; or that there is none.
pub(super) async fn connect<T, F: Future<Output = io::Result<T>>>(
    addresses: impl IntoIterator<Item = SocketAddr>,
    attempt: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let mut waiting = in_turn(addresses);
    let mut attempts = FuturesUnordered::new();
    let mut failure = None;
    while let Some(address) = waiting.pop_front() {
        attempts.push(attempt(address));
        let next = sleep_until(Instant::now() + DELAY);
        tokio::pin!(next);
        tokio::select! {
            Some(ended) = attempts.next() => match ended {
                Ok(there) => return Ok(there),
                Err(error) => failure = failure.or(Some(error)),
            },
            () = &mut next => {}
        }
    }
    while let Some(ended) = attempts.next().await {
        match ended {
            Ok(there) => return Ok(there),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure
        .unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Mutex};

    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn numbered(number: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], number))
    }

    /// What becomes of an address.
    #[derive(Clone, Copy, Debug)]
    enum Fate {
        Swallows,
        /// Fails, or is there, after so many milliseconds.
        Refuses(u64),
        Answers(u64),
    }

    /// Which address is connected, if any, when, and when each was begun.
    async fn raced(fates: &[Fate]) -> (Result<u16, io::Error>, Duration, Vec<(u16, Duration)>) {
        let begun = Instant::now();
        let tries = Mutex::new(Vec::new());
        let addresses = (0..).zip(fates).map(|(number, _)| numbered(number));
        let connected = connect(addresses, |address| {
            tries
                .lock()
                .unwrap()
                .push((address.port(), begun.elapsed()));
            let fate = fates[usize::from(address.port())];
            async move {
                let after = |ms| tokio::time::sleep(Duration::from_millis(ms));
                match fate {
                    Fate::Swallows => pending().await,
                    Fate::Answers(ms) => after(ms).await,
                    Fate::Refuses(ms) => {
                        after(ms).await;
                        return Err(io::Error::other(format!("no {}", address.port())));
                    }
                }
                Ok(address.port())
            }
        });
        (
            connected.await,
            begun.elapsed(),
            tries.into_inner().unwrap(),
        )
    }

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn an_address_that_swallows_costs_a_quarter_of_a_second() {
        let (connected, took, _) = raced(&[Fate::Swallows, Fate::Answers(1)]).await;
        assert_eq!(connected.unwrap(), 1);
        assert!((251 * MS..=255 * MS).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_refuses_costs_nothing_and_the_first_is_not_given_up() {
        let (connected, took, tries) = raced(&[Fate::Refuses(1), Fate::Answers(1)]).await;
        assert_eq!(connected.unwrap(), 1);
        assert!(took < 10 * MS && tries[1].1 < 5 * MS, "{tries:?}");
        // Slower than the delay, and still the first.
        let (connected, _, tries) = raced(&[Fate::Answers(300), Fate::Answers(100)]).await;
        assert_eq!(connected.unwrap(), 0);
        assert_eq!(tries.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_answers_at_once_is_the_only_one_tried() {
        let (connected, _, tries) = raced(&[Fate::Answers(200), Fate::Answers(0)]).await;
        assert_eq!((connected.unwrap(), tries.len()), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_fail_the_first_failure_is_told_after_all_were_tried() {
        let fates = [Fate::Refuses(300), Fate::Refuses(1), Fate::Refuses(1)];
        let (connected, _, tries) = raced(&fates).await;
        assert_eq!(tries.len(), 3);
        assert_eq!(connected.unwrap_err().to_string(), "no 1");
        let (connected, _, _) = raced(&[]).await;
        assert_eq!(connected.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn families_take_turns() {
        let six = ["[::1]:1", "[::2]:1", "[::3]:1"].map(address);
        let four = ["10.0.0.1:1"].map(address);
        let ordered = in_turn(six.into_iter().chain(four));
        assert_eq!(ordered, [six[0], four[0], six[1], six[2]]);
        let ordered = in_turn(four.into_iter().chain(six));
        assert_eq!(ordered, [four[0], six[0], six[1], six[2]]);
    }

    proptest! {
        #[test]
        fn every_address_is_tried_once_up_to_the_bound(kinds in prop::collection::vec(any::<bool>(), 0..40)) {
            let addresses: Vec<_> = (0..)
                .zip(&kinds)
                .map(|(port, six)| match six {
                    true => SocketAddr::from(([0_u16; 8], port)),
                    false => numbered(port),
                })
                .collect();
            let ordered = in_turn(addresses.clone());
            prop_assert_eq!(ordered.len(), addresses.len().min(ADDRESSES_MAX));
            let mut unique: Vec<_> = ordered.iter().collect();
            unique.sort_unstable();
            unique.dedup();
            prop_assert_eq!(unique.len(), ordered.len());
            prop_assert_eq!(ordered.front(), addresses.first());
        }
    }
}
