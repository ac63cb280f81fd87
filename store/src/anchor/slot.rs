//! What an anchor says, as bytes. Pure: no file is touched here.
//!
//! An anchor is a page of slots, and a commit is noted in the slot of its number. So two processes
//! that share a file and note their commits out of order do not write over each other's; a slot that
//! was torn by a crash fails its checksum and counts for nothing; and the greatest number that any
//! slot holds is what was acknowledged.

use std::hash::Hasher as _;

use twox_hash::XxHash64;

/// How many slots there are: a process may be that many commits behind another and note its own.
pub(crate) const SLOTS: usize = 64;

/// The length of a slot. A sector of a disk holds whole ones.
pub(crate) const SLOT: usize = 64;

/// The length of an anchor.
pub(crate) const LENGTH: usize = SLOTS * SLOT;

/// The length of the name of a file's life.
pub(crate) const LIFE: usize = 32;

/// What a slot begins with: its format, so that a later one can be told from it.
const FORMAT: &[u8; 8] = b"MIZANCH1";

/// What is known of a file apart from the file and its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// Which file: one that was put in its place has another.
    pub(crate) life: String,
    /// The number of the last commit that callers were told of.
    pub(crate) acknowledged: u64,
    /// The number of the last commit that is in the main file and needs the log no more.
    pub(crate) floor: u64,
}

impl Known {
    /// Both, as far as they are of one life: numbers only grow.
    pub(crate) fn and(self, other: &Self) -> Self {
        if self.life != other.life {
            return self;
        }
        Self {
            acknowledged: self.acknowledged.max(other.acknowledged),
            floor: self.floor.max(other.floor),
            life: self.life,
        }
    }

    /// Where the slot for this begins.
    pub(crate) fn place(&self) -> usize {
        let slots = u64::try_from(SLOTS).unwrap_or(1);
        usize::try_from(self.acknowledged % slots).unwrap_or(0) * SLOT
    }

    /// The slot's bytes.
    pub(crate) fn encode(&self) -> [u8; SLOT] {
        let mut slot = [0; SLOT];
        let life = self.life.as_bytes();
        let words = [self.acknowledged, self.floor].map(u64::to_le_bytes);
        let said = FORMAT
            .iter()
            .chain(life.iter().take(LIFE))
            .chain(words.as_flattened());
        for (byte, said) in slot.iter_mut().zip(said) {
            *byte = *said;
        }
        let (said, sum) = slot.split_at_mut(SLOT - 8);
        sum.copy_from_slice(&checksum(said));
        slot
    }

    /// What a slot says, unless it is empty, torn or damaged.
    pub(crate) fn decode(slot: &[u8]) -> Option<Self> {
        let (said, sum) = slot.split_last_chunk::<8>()?;
        if slot.len() != SLOT || *sum != checksum(said) {
            return None;
        }
        let rest = said.strip_prefix(FORMAT)?;
        let (life, numbers) = rest.split_at_checked(LIFE)?;
        let (acknowledged, floor) = numbers.split_first_chunk::<8>()?;
        Some(Self {
            life: str::from_utf8(life).ok()?.to_owned(),
            acknowledged: u64::from_le_bytes(*acknowledged),
            floor: u64::from_le_bytes(floor.try_into().ok()?),
        })
    }
}

/// An anchor that holds no slot that can be read, or slots of several files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// What all slots together say; nothing, if nothing was ever written.
pub(crate) fn read(anchor: &[u8]) -> Result<Option<Known>, Unreadable> {
    // A crash may leave a new file long and empty.
    if anchor.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let mut slots = anchor.chunks(SLOT).filter_map(Known::decode);
    let first = slots.next().ok_or(Unreadable)?;
    slots
        .try_fold(first, |known, slot| {
            (known.life == slot.life).then(|| known.and(&slot))
        })
        .map(Some)
        .ok_or(Unreadable)
}

fn checksum(said: &[u8]) -> [u8; 8] {
    let mut hasher = XxHash64::with_seed(0);
    hasher.write(said);
    hasher.finish().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known(acknowledged: u64) -> Known {
        Known {
            life: "0123456789abcdef".repeat(2),
            acknowledged,
            floor: acknowledged / 2,
        }
    }

    fn note(anchor: &mut [u8], known: &Known) {
        let place = known.place();
        anchor[place..place + SLOT].copy_from_slice(&known.encode());
    }

    #[test]
    fn an_anchor_that_was_never_written_says_nothing() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[0; LENGTH]), Ok(None));
        assert_eq!(read(&[7; LENGTH]), Err(Unreadable));
    }

    #[test]
    fn slots_of_two_files_say_nothing_of_either() {
        let mut anchor = vec![0; LENGTH];
        note(&mut anchor, &known(1));
        let other = Known {
            life: "f".repeat(LIFE),
            ..known(2)
        };
        note(&mut anchor, &other);
        assert_eq!(read(&anchor), Err(Unreadable));
        assert_eq!(known(9).and(&other), known(9));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(acknowledged: u64, floor: u64) {
            let known = Known { floor, ..known(acknowledged) };
            prop_assert_eq!(Known::decode(&known.encode()), Some(known));
        }

        /// Two processes write their slots in any order, each its own in theirs.
        #[test]
        fn the_greatest_number_is_what_was_acknowledged(
            first in 0_u64..1_000_000,
            mut order in Just((0..64_u64).collect::<Vec<_>>()).prop_shuffle(),
            written in 1_usize..=64,
        ) {
            order.truncate(written);
            let mut anchor = vec![0; LENGTH];
            for commit in &order {
                note(&mut anchor, &known(first + commit));
            }
            let greatest = first + order.iter().max().unwrap();
            prop_assert_eq!(read(&anchor), Ok(Some(known(greatest))));
        }

        /// No byte of a slot can change unseen; the slot before it counts then.
        #[test]
        fn a_torn_slot_counts_for_nothing(
            commit in 1_u64..1_000_000,
            at in 0..SLOT,
            flip in 1_u8..=255,
        ) {
            let mut anchor = vec![0; LENGTH];
            note(&mut anchor, &known(commit - 1));
            note(&mut anchor, &known(commit));
            anchor[known(commit).place() + at] ^= flip;
            prop_assert_eq!(read(&anchor), Ok(Some(known(commit - 1))));
        }
    }
}
