//! What [`life`](super::life) and [`queue`](super::queue) are made of. They name it by this module,
//! so that `tests/model.rs` can compile the same files over the types of a model checker.

pub(super) use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};
