//! The throttle: how much a channel's calls fail, as one number.
//!
//! gRFC A6 counts it in thousandths of a token, so that no float is needed. A success while it is
//! full only reads, so calls that all go well never contend for it.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tonic::Code;

use super::policy::{Codes, Throttling};

/// One failure costs one token.
const TOKEN: u32 = 1000;

/// The tokens that all calls to one service share. Without settings nothing is ever throttled.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// 0 when nothing is throttled.
    full: u32,
    ratio: u32,
    // Alone it orders nothing: it is a count, and a stale view of it costs one retry.
    tokens: AtomicU32,
}

impl Throttle {
    /// Begins full.
    pub(crate) fn new(settings: Option<Throttling>) -> Self {
        let full = settings.map_or(0, |s| s.tokens_max.count());
        Self {
            full,
            ratio: settings.map_or(0, |s| s.token_ratio.count()),
            tokens: AtomicU32::new(full),
        }
    }

    /// With new settings, as full in proportion as this one: a changed configuration must not
    /// forgive a service that is down.
    #[cfg_attr(
        not(test),
        allow(dead_code, reason = "for a service config that is set at run time")
    )]
    pub(crate) fn resized(&self, settings: Option<Throttling>) -> Self {
        let mut new = Self::new(settings);
        if self.full > 0 {
            let tokens = u64::from(new.full) * u64::from(self.tokens.load(Relaxed));
            let share = tokens / u64::from(self.full);
            new.tokens = AtomicU32::new(u32::try_from(share).unwrap_or(new.full));
        }
        new
    }

    /// A call succeeded.
    pub(crate) fn succeeded(&self) {
        let mut tokens = self.tokens.load(Relaxed);
        while tokens < self.full {
            let more = tokens.saturating_add(self.ratio).min(self.full);
            match self
                .tokens
                .compare_exchange_weak(tokens, more, Relaxed, Relaxed)
            {
                Ok(_) => return,
                Err(now) => tokens = now,
            }
        }
    }

    /// An attempt failed with a status that another may mend, or was told not to try again.
    pub(crate) fn failed(&self) {
        let mut tokens = self.tokens.load(Relaxed);
        while tokens > 0 {
            let fewer = tokens.saturating_sub(TOKEN);
            match self
                .tokens
                .compare_exchange_weak(tokens, fewer, Relaxed, Relaxed)
            {
                Ok(_) => return,
                Err(now) => tokens = now,
            }
        }
    }

    /// Counts a call that was committed before its end: OK gives back, one of `codes` costs.
    pub(crate) fn settle(&self, codes: Codes, code: Code) {
        if code == Code::Ok {
            self.succeeded();
        } else if codes.contains(code) {
            self.failed();
        }
    }

    /// Whether a retry or a hedge may be sent: more than half is left.
    pub(crate) fn allows(&self) -> bool {
        self.full == 0 || u64::from(self.tokens.load(Relaxed)) * 2 > u64::from(self.full)
    }

    /// What is left, in thousandths of a token.
    #[cfg_attr(
        not(test),
        allow(dead_code, reason = "for the channel's statistics and metrics")
    )]
    pub(crate) fn left(&self) -> u32 {
        self.tokens.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use proptest::prelude::*;

    use super::*;
    use crate::retry::Thousandths;

    fn throttle(tokens: u32, ratio: u32) -> Throttle {
        Throttle::new(Some(Throttling {
            tokens_max: Thousandths::new(tokens),
            token_ratio: Thousandths::new(ratio),
        }))
    }

    #[test]
    fn at_half_nothing_is_retried_and_one_success_later_it_is() {
        let throttle = throttle(10_000, 100);
        for _ in 0..4 {
            throttle.failed();
            assert!(throttle.allows());
        }
        throttle.failed();
        assert!(!throttle.allows(), "5 of 10 is half");
        throttle.succeeded();
        assert!(throttle.allows(), "5.1 is above half");
    }

    #[test]
    fn without_settings_nothing_is_throttled() {
        let throttle = Throttle::new(None);
        (0..100).for_each(|_| throttle.failed());
        assert!(throttle.allows());
    }

    #[test]
    fn new_settings_keep_the_proportion() {
        let old = throttle(10_000, 100);
        (0..6).for_each(|_| old.failed());
        let settings = Throttling {
            tokens_max: Thousandths::whole(100),
            token_ratio: Thousandths::new(1),
        };
        assert_eq!(old.resized(Some(settings)).left(), 40_000);
        assert_eq!(Throttle::new(None).resized(Some(settings)).left(), 100_000);
    }

    #[test]
    fn what_threads_do_at_once_adds_up() {
        let throttle = Arc::new(throttle(1_000_000, 7));
        (0..500).for_each(|_| throttle.failed());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let throttle = throttle.clone();
                thread::spawn(move || {
                    (0..50).for_each(|_| throttle.failed());
                    (0..1000).for_each(|_| throttle.succeeded());
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(throttle.left(), 500_000 - 4 * 50_000 + 4 * 7_000);
    }

    proptest! {
        #[test]
        fn it_agrees_with_plain_arithmetic(
            full in 1_u32..1_000_000,
            ratio in 1_u32..5000,
            outcomes in prop::collection::vec(prop::option::of(0_i32..17), 0..400),
        ) {
            let codes = Codes::of(&[Code::Unavailable, Code::Aborted]);
            let throttle = throttle(full, ratio);
            let mut oracle = i64::from(full);
            for outcome in outcomes {
                let code = outcome.map_or(Code::Unavailable, Code::from_i32);
                throttle.settle(codes, code);
                oracle += match code {
                    Code::Ok => i64::from(ratio),
                    Code::Unavailable | Code::Aborted => -1000,
                    _ => 0,
                };
                oracle = oracle.clamp(0, i64::from(full));
                prop_assert_eq!(i64::from(throttle.left()), oracle);
                prop_assert_eq!(throttle.allows(), 2 * oracle > i64::from(full));
            }
        }
    }
}
