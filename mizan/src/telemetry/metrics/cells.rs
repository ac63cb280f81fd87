//! Where the numbers are: one cell per status and shard, made when first needed.

use std::{
    cell::Cell,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use tonic::Code;

/// How many copies of a cell there are at most. Two threads that count into one cache line pay
/// five times what one does; threads take turns to be given a shard, so that four busy workers do
/// not meet.
const SHARDS: usize = 4;

/// The statuses of gRPC, in the order of their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

thread_local! {
    static SHARD: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The shard of this thread.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // While a thread ends its locals are gone; any shard is right then.
    let shard = SHARD.try_with(|shard| {
        shard.get().unwrap_or_else(|| {
            let given = NEXT.fetch_add(1, Relaxed) % SHARDS;
            shard.set(Some(given));
            given
        })
    });
    shard.unwrap_or(0)
}

/// The number of a status.
pub(super) fn index(code: Code) -> usize {
    usize::try_from(i32::from(code)).unwrap_or(0)
}

/// The name of a status by its number, as gRPC writes it.
pub(super) fn name(index: usize) -> &'static str {
    CODES.get(index).copied().unwrap_or("UNKNOWN")
}

/// One `T`, shared out over shards. Aligned, so that neighbours do not share a cache line.
#[derive(Debug)]
pub(super) struct Sharded<T>([OnceLock<Box<Aligned<T>>>; SHARDS]);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Aligned<T>(T);

impl<T> Default for Sharded<T> {
    fn default() -> Self {
        Self([const { OnceLock::new() }; SHARDS])
    }
}

impl<T: Default> Sharded<T> {
    /// This thread's part. Allocates the first time.
    pub(super) fn here(&self) -> &T {
        let cell = self.0.get(shard()).unwrap_or(&self.0[0]);
        &cell.get_or_init(Box::default).0
    }

    /// All parts that exist.
    pub(super) fn parts(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(|part| part.get().map(|it| &it.0))
    }
}

/// One `T` per status.
#[derive(Debug)]
pub(super) struct ByStatus<T>([Sharded<T>; CODES.len()]);

impl<T> Default for ByStatus<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Sharded::default()))
    }
}

impl<T: Default> ByStatus<T> {
    /// This thread's part of a status.
    pub(super) fn of(&self, code: Code) -> &T {
        let unknown = &self.0[2];
        self.0.get(index(code)).unwrap_or(unknown).here()
    }

    /// Every status that was recorded, by number, with its parts.
    pub(super) fn recorded(&self) -> impl Iterator<Item = (usize, impl Iterator<Item = &T>)> {
        let statuses = self.0.iter().enumerate();
        statuses
            .filter(|(_, cells)| cells.parts().next().is_some())
            .map(|(index, cells)| (index, cells.parts()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn every_status_has_its_own_cell_and_name() {
        let cells = ByStatus::<AtomicU64>::default();
        for number in 0..17 {
            let code = Code::from_i32(number);
            cells.of(code).fetch_add(1, Relaxed);
            let named = format!("{code:?}").to_uppercase();
            let name = match code {
                Code::Ok => "OK".to_owned(),
                _ => name(index(code)).replace('_', ""),
            };
            assert_eq!(named, name);
        }
        assert_eq!(cells.recorded().count(), 17);
    }

    #[test]
    fn threads_together_lose_no_count() {
        let cells = Sharded::<AtomicU64>::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        cells.here().fetch_add(1, Relaxed);
                    }
                });
            }
        });
        let total: u64 = cells.parts().map(|part| part.load(Relaxed)).sum();
        assert_eq!(total, 8000);
        assert!(cells.parts().count() <= SHARDS);
    }
}
