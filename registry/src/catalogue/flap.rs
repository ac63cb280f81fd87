//! Flapping: an instance that falls again and again is not handed out the moment it stands up.
//!
//! Four falls within two minutes, to warning or to critical, make an instance flap. From then on it
//! counts as warning, not as passing, until it stood for half a minute without another fall. Consul's
//! users have asked for this for years: every flap reloads every proxy that watches.
//!
//! It is held only while another instance of its service passes: one that may fall again serves
//! better than none at all.

use std::{collections::VecDeque, time::Duration};

use crate::catalogue::UnixMillis;

/// Falls that make an instance flap.
pub(crate) const FALLS: usize = 4;

/// The time within which they count.
pub(crate) const WINDOW: Duration = Duration::from_secs(120);

/// How long it must stand before it is believed.
pub(crate) const HOLD: Duration = Duration::from_secs(30);

/// The falls of one instance.
#[derive(Debug, Default)]
pub(crate) struct Flap {
    /// The last of them, the oldest first; at most [`FALLS`].
    falls: VecDeque<UnixMillis>,
    /// Until when it is held, once it stands.
    held_until: Option<UnixMillis>,
}

impl Flap {
    /// It was passing and no longer is.
    pub(crate) fn fell(&mut self, now: UnixMillis) {
        self.held_until = None;
        self.falls.push_back(now);
        if self.falls.len() > FALLS {
            self.falls.pop_front();
        }
    }

    /// It passes again. Answers until when it is held, if it is.
    pub(crate) fn stood(&mut self, now: UnixMillis) -> Option<UnixMillis> {
        self.falls.retain(|fall| now.since(*fall) <= WINDOW);
        self.held_until = (self.falls.len() >= FALLS).then(|| now.after(HOLD));
        self.held_until
    }

    /// It is needed: held no longer, until it falls again.
    pub(crate) fn release(&mut self) {
        self.held_until = None;
    }

    /// Whether it is held: it passes, and is not believed yet.
    pub(crate) fn holds(&self, now: UnixMillis) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixMillis {
        UnixMillis(seconds * 1000)
    }

    #[test]
    fn the_fourth_fall_within_two_minutes_is_held_and_the_hold_ends() {
        let mut flap = Flap::default();
        for fall in [0, 20, 40] {
            flap.fell(at(fall));
            assert_eq!(flap.stood(at(fall + 10)), None);
        }
        flap.fell(at(60));
        assert_eq!(flap.stood(at(70)), Some(at(100)));
        assert!(flap.holds(at(99)) && !flap.holds(at(100)));
        flap.fell(at(105));
        assert!(!flap.holds(at(106)));
        assert_eq!(flap.stood(at(110)), Some(at(140)));
    }

    #[test]
    fn falls_that_are_far_apart_are_no_flapping() {
        let mut flap = Flap::default();
        for fall in 0..20 {
            flap.fell(at(fall * 60));
            assert_eq!(flap.stood(at(fall * 60 + 30)), None);
        }
    }
}
