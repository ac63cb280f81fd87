//! Counters that threads do not share: one cache line per thread, or per few.
//!
//! Two threads that add to one counter pass its cache line to and fro, some 40 ns each time. So each
//! thread has a lane, and what all lanes counted is gathered when somebody wants to know. A lane's
//! counter holds, in one word, how many calls it admitted, how many of them succeeded, and a mark of
//! the ticket that they bear. Whoever changes the breaker takes the marks off first, so no call can
//! be counted past it or into the wrong interval.

use std::{
    cell::Cell,
    sync::{
        LazyLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use super::state::Ticket;

/// The most lanes of a breaker, each some 400 bytes: threads beyond share.
const LANES_MAX: usize = 16;

/// ```text
/// | mark: 20 bits | requests: 22 bits | successes: 22 bits |
/// ```
/// A mark of 0 is a closed lane. Full counters send the call the slow way, which empties them.
const COUNTER_BITS: u32 = 22;
const COUNTER_MAX: u64 = (1 << COUNTER_BITS) - 1;
const MARK_SHIFT: u32 = 2 * COUNTER_BITS;
const MARK_MAX: u64 = (1 << (64 - MARK_SHIFT)) - 1;

/// How many lanes a breaker has here: a power of two.
pub(super) fn count() -> usize {
    static COUNT: LazyLock<usize> = LazyLock::new(|| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        threads.next_power_of_two().min(LANES_MAX)
    });
    *COUNT
}

/// A number of the current thread, for choosing its lane.
#[inline]
pub(super) fn thread_number() -> usize {
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    match NUMBER.get() {
        usize::MAX => {
            let number = next_number();
            NUMBER.set(number);
            number
        }
        number => number,
    }
}

#[cold]
fn next_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed) % usize::MAX
}

/// A lane's counter, alone on its cache lines: processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Counter(AtomicU64);

/// Odd, so never 0. It repeats only after some 500,000 tickets, all of them during one addition.
fn mark(ticket: Ticket) -> u64 {
    ((ticket << 1) | 1) & MARK_MAX
}

impl Counter {
    /// Counts a call of `ticket`, if its lane is open.
    pub(super) fn request(&self, ticket: Ticket) -> bool {
        self.add(ticket, COUNTER_BITS)
    }

    /// Counts the success of a call of `ticket`, if its lane is open.
    pub(super) fn success(&self, ticket: Ticket) -> bool {
        self.add(ticket, 0)
    }

    #[inline]
    fn add(&self, ticket: Ticket, shift: u32) -> bool {
        let mark = mark(ticket);
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let full = (word >> shift) & COUNTER_MAX == COUNTER_MAX;
            if word >> MARK_SHIFT != mark || full {
                return false;
            }
            let (before, after) = (word, word + (1 << shift));
            let added =
                self.0
                    .compare_exchange_weak(before, after, Ordering::AcqRel, Ordering::Acquire);
            match added {
                Ok(_) => return true,
                Err(other) => word = other,
            }
        }
    }

    /// Closes the lane: the requests and successes it counted.
    pub(super) fn close(&self) -> (u64, u64) {
        let word = self.0.swap(0, Ordering::AcqRel);
        ((word >> COUNTER_BITS) & COUNTER_MAX, word & COUNTER_MAX)
    }

    /// Opens a closed lane for calls of `ticket`.
    pub(super) fn open(&self, ticket: Ticket) {
        self.0.store(mark(ticket) << MARK_SHIFT, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_lane_and_another_ticket_count_nothing() {
        let counter = Counter::default();
        assert!(!counter.request(1));
        counter.open(1);
        assert!(counter.request(1) && counter.request(1) && counter.success(1));
        assert!(!counter.request(2) && !counter.success(0));
        assert_eq!(counter.close(), (2, 1));
        assert!(!counter.success(1));
    }

    #[test]
    fn full_counters_take_no_more_and_do_not_spill_over() {
        let counter = Counter::default();
        counter.open(7);
        let full = COUNTER_MAX << COUNTER_BITS;
        counter.0.fetch_add(full, Ordering::Relaxed);
        assert!(!counter.request(7));
        assert!(counter.success(7));
        counter.0.fetch_add(COUNTER_MAX - 1, Ordering::Relaxed);
        assert!(!counter.success(7));
        assert_eq!(counter.close(), (COUNTER_MAX, COUNTER_MAX));
    }
}
