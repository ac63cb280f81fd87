//! Methods by name, read without a lock and bounded in number.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;

/// The most methods told apart; further ones are counted together as [`OTHER`]. 256: many times
/// what a service has, and a bound on what a scrape returns.
const METHODS_MAX: usize = 256;

/// A66's word for methods that are not told apart.
pub(super) const OTHER: &str = "other";

type Map<T> = HashMap<Box<str>, Arc<T>>;

/// What is kept for each method.
#[derive(Debug)]
pub(super) struct Methods<T> {
    known: ArcSwap<Map<T>>,
    other: Arc<T>,
}

impl<T: Default> Default for Methods<T> {
    fn default() -> Self {
        Self {
            known: ArcSwap::default(),
            other: Arc::default(),
        }
    }
}

impl<T: Default> Methods<T> {
    /// What is kept for the method of a request's path, if it is known.
    pub(super) fn get(&self, path: &str) -> Option<Arc<T>> {
        self.known.load().get(name(path)).cloned()
    }

    /// What is kept for it; from now on it is known, if there is room.
    pub(super) fn learn(&self, path: &str) -> Arc<T> {
        if let Some(known) = self.get(path) {
            return known;
        }
        let new = Arc::<T>::default();
        self.known.rcu(|known| {
            let mut map = Map::clone(known);
            if map.len() < METHODS_MAX {
                // Another thread may have been here first; its entry stands.
                map.entry(name(path).into()).or_insert_with(|| new.clone());
            }
            map
        });
        self.get(path).unwrap_or_else(|| self.other.clone())
    }

    /// What is kept for methods that are not told apart.
    pub(super) fn other(&self) -> Arc<T> {
        self.other.clone()
    }

    /// Every method with what is kept for it.
    pub(super) fn all(&self) -> Vec<(Box<str>, Arc<T>)> {
        let known = self.known.load();
        let known = known.iter().map(|(name, it)| (name.clone(), it.clone()));
        known.chain([(OTHER.into(), self.other.clone())]).collect()
    }

    /// Whether somebody outside still holds a method and may record.
    pub(super) fn in_use(&self) -> bool {
        let held = |it: &Arc<T>| Arc::strong_count(it) > 1;
        held(&self.other) || self.known.load().values().any(held)
    }
}

/// `package.Service/Method`, as A66 writes it.
fn name(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_one_thing_with_or_without_the_slash() {
        let methods = Methods::<u8>::default();
        assert!(methods.get("/a.B/C").is_none());
        let learnt = methods.learn("/a.B/C");
        assert!(Arc::ptr_eq(&learnt, &methods.get("a.B/C").unwrap()));
        assert!(methods.in_use());
        drop(learnt);
        assert!(!methods.in_use());
    }

    #[test]
    fn methods_past_the_bound_are_others() {
        let methods = Methods::<u8>::default();
        for number in 0..METHODS_MAX {
            methods.learn(&format!("/a.B/{number}"));
        }
        let late = methods.learn("/a.B/late");
        assert!(Arc::ptr_eq(&late, &methods.other()));
        assert_eq!(methods.all().len(), METHODS_MAX + 1);
    }
}
