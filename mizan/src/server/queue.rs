//! Calls that were read and not begun.

use super::sync::{Mutex, MutexGuard, PoisonError};

/// A queue that can end. What waits in it then is dropped, and so is what comes later: a call that
/// waits holds the queue it waits in (the HTTP library gives each of them its executor), so without
/// an end both would keep each other, and what the call holds, for ever.
#[derive(Debug)]
pub(super) struct Queue<T>(Mutex<Option<Vec<T>>>);

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }
}

impl<T> Queue<T> {
    /// Adds one, or drops it once the queue has ended.
    pub(super) fn push(&self, one: T) {
        let mut late = Some(one);
        if let Some(waiting) = &mut *self.lock() {
            waiting.extend(late.take());
        }
        // Not under the lock: dropping it may come back here.
        drop(late);
    }

    /// Takes all that wait.
    pub(super) fn take(&self) -> Vec<T> {
        self.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Drops all that wait and all that will come.
    pub(super) fn end(&self) {
        let waiting = self.lock().take();
        // Not under the lock, as above.
        drop(waiting);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
