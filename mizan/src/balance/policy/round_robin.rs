//! Round robin: everyone in turn, in proportion to the weights.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{Call, Candidate, Picker, Policy, rotation::Rotation, sample};

/// Everyone in turn, smoothly: an instance of weight w gets w turns a round, as far apart as
/// possible. Over equal instances that are all usable, the numbers of sequential calls never differ
/// by more than one.
///
/// Whose turn it is survives a change of the instances. An instance that cannot be used loses its
/// turn to the next, and the turn of the next is taken too: what it would have carried is spread
/// over all others, not heaped on its neighbour.
#[derive(Debug)]
pub struct RoundRobin {
    cursor: Arc<Cursor>,
}

/// Alone on its cache lines (two, since processors fetch them in pairs): every call writes it.
#[derive(Debug)]
#[repr(align(128))]
struct Cursor(AtomicUsize);

/// How many turns a pick takes before it looks at the instances one by one, beyond one for each: a
/// weight of hundreds that cannot be used is not waited out.
const SKIPS: usize = 64;

impl RoundRobin {
    /// Begins with the `turn`-th turn of the round.
    #[must_use]
    pub fn starting_at(turn: usize) -> Self {
        Self {
            cursor: Arc::new(Cursor(AtomicUsize::new(turn))),
        }
    }
}

/// Begins anywhere, so that the channels of many processes do not all begin with the same instance.
impl Default for RoundRobin {
    fn default() -> Self {
        Self::starting_at(fastrand::usize(..1 << 16))
    }
}

impl Policy for RoundRobin {
    fn starts_slowly(&self) -> bool {
        true
    }

    fn picker(&self, candidates: &[Candidate]) -> Box<dyn Picker> {
        let weights: Vec<_> = candidates.iter().map(|c| c.weight).collect();
        let rotation = Rotation::new(&weights);
        Box::new(Turns {
            cursor: self.cursor.clone(),
            draws: rotation.len().min(candidates.len().max(SKIPS)),
            candidates: candidates.len(),
            rotation,
        })
    }
}

#[derive(Debug)]
struct Turns {
    cursor: Arc<Cursor>,
    rotation: Rotation,
    candidates: usize,
    draws: usize,
}

impl Picker for Turns {
    fn pick(&self, call: &Call, usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        for _ in 0..self.draws {
            let turn = self.cursor.0.fetch_add(1, Ordering::Relaxed);
            let index = self.rotation.at(turn)?;
            if usable(index) {
                return Some(index);
            }
        }
        sample::from_anywhere(call.random, self.candidates).find(|&index| usable(index))
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::balance::policy::testing::{call, candidates, counts};

    #[test]
    fn equal_instances_differ_by_at_most_one_call_at_any_time() {
        for start in 0..7 {
            let policy = RoundRobin::starting_at(start);
            let picker = policy.picker(&candidates(&[1, 1, 1]));
            let mut counts = [0_u32; 3];
            for _ in 0..2000 {
                counts[picker.pick(&call(1), &|_| true).unwrap()] += 1;
                let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
                assert!(spread <= 1, "{counts:?}");
            }
        }
    }

    #[test]
    fn weights_are_met_exactly() {
        let picker = RoundRobin::starting_at(5).picker(&candidates(&[3, 2, 1]));
        assert_eq!(counts(&*picker, 3, 600, &|_| true), [300, 200, 100]);
    }

    #[test]
    fn what_an_unusable_instance_would_carry_is_spread_over_the_others() {
        let picker = RoundRobin::starting_at(0).picker(&candidates(&[1, 1, 1, 1]));
        assert_eq!(counts(&*picker, 4, 300, &|i| i != 2), [100, 100, 0, 100]);
        let picker = RoundRobin::starting_at(0).picker(&candidates(&[2, 1, 1]));
        assert_eq!(counts(&*picker, 3, 300, &|i| i != 1), [200, 0, 100]);
    }

    #[test]
    fn a_heavy_instance_that_is_unusable_is_not_waited_out() {
        let picker = RoundRobin::starting_at(0).picker(&candidates(&[999, 1]));
        let asked = std::cell::Cell::new(0);
        let picked = picker.pick(&call(1), &|i| {
            asked.set(asked.get() + 1);
            i == 1
        });
        assert_eq!(picked, Some(1));
        assert!(asked.get() <= SKIPS + 2);
    }

    #[test]
    fn the_turn_survives_a_change_of_the_instances() {
        let policy = RoundRobin::starting_at(0);
        let mut picked = Vec::new();
        for _ in 0..6 {
            // As if something else had changed after every call.
            let picker = policy.picker(&candidates(&[1, 1, 1]));
            picked.push(picker.pick(&call(1), &|_| true).unwrap());
        }
        assert_eq!(picked, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn nobody_usable_is_nobody() {
        let policy = RoundRobin::default();
        assert_eq!(policy.picker(&[]).pick(&call(1), &|_| true), None);
        let picker = policy.picker(&candidates(&[1, 5, 1]));
        assert_eq!(picker.pick(&call(1), &|_| false), None);
    }

    #[test]
    fn threads_share_the_rotation() {
        let policy = RoundRobin::starting_at(0);
        let picker: Arc<dyn Picker> = policy.picker(&candidates(&[1, 1, 1])).into();
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let picker = picker.clone();
                thread::spawn(move || counts(&*picker, 3, 1000, &|_| true))
            })
            .collect();
        let mut sum = [0; 3];
        for thread in threads {
            for (sum, count) in sum.iter_mut().zip(thread.join().unwrap()) {
                *sum += count;
            }
        }
        assert_eq!(sum, [1000, 1000, 1000]);
    }
}
