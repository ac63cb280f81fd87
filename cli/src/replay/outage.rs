//! Whether the services are away, or one row alone comes to no end.

use std::cell::Cell;

/// So many rows that wait in vain while nothing is settled are no accident of theirs.
const ROWS: usize = 3;

/// Judges by the rows that are asked for. A row whose end stays unknown while others come to theirs
/// tells nothing of the services; when nothing comes to its end, they are away, and asking for more
/// rows would only leave more that nobody knows of.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    /// How many rows came to an end.
    settled: Cell<u64>,
    /// How many rows are asked for now.
    asked: Cell<usize>,
    /// How many rows in succession waited in vain, none being settled meanwhile.
    in_vain: Cell<usize>,
}

/// A row that is asked for: how many were settled when it began.
#[derive(Debug)]
pub(crate) struct Asked(u64);

impl Outage {
    /// A row is asked for.
    pub(crate) fn asks(&self) -> Asked {
        self.asked.set(self.asked.get() + 1);
        Asked(self.settled.get())
    }

    /// A row came to its end, paid or refused: the services are there.
    pub(crate) fn settled(&self, _: Asked) {
        self.asked.set(self.asked.get() - 1);
        self.settled.set(self.settled.get() + 1);
        self.in_vain.set(0);
    }

    /// A row is out of patience. Whether the services are away.
    pub(crate) fn waited_in_vain(&self, row: Asked) -> bool {
        self.asked.set(self.asked.get() - 1);
        if row.0 != self.settled.get() {
            return false;
        }
        let before = self.in_vain.replace(self.in_vain.get() + 1);
        // A row begins when another ends. So those on their way with the first one that waited in
        // vain began no later, and have waited as long; of those with the next that is not so.
        let with_it = if before == 0 { self.asked.get() } else { 0 };
        before + 1 + with_it >= ROWS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_alone_is_no_outage() {
        let outage = Outage::default();
        let poison = outage.asks();
        let rows = [(); 31].map(|()| outage.asks());
        rows.into_iter().for_each(|row| outage.settled(row));
        assert!(!outage.waited_in_vain(poison));
    }

    #[test]
    fn one_at_a_time_three_in_succession_are() {
        let outage = Outage::default();
        let in_vain = || outage.waited_in_vain(outage.asks());
        assert_eq!([in_vain(), in_vain()], [false, false]);
        outage.settled(outage.asks());
        assert_eq!([in_vain(), in_vain(), in_vain()], [false, false, true]);
    }

    #[test]
    fn many_at_a_time_are_when_the_first_has_waited() {
        let outage = Outage::default();
        outage.settled(outage.asks());
        let [first, _second, _third] = [(); 3].map(|()| outage.asks());
        assert!(outage.waited_in_vain(first));
    }

    #[test]
    fn a_row_that_has_only_begun_counts_for_nothing() {
        let outage = Outage::default();
        let [first, second] = [(); 2].map(|()| outage.asks());
        assert!(!outage.waited_in_vain(first));
        let third = outage.asks();
        assert!(!outage.waited_in_vain(second));
        assert!(outage.waited_in_vain(third));
    }
}
