//! The breakers of a service: one, or one for each method.

use std::{collections::HashMap, sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::{Breaker, Config, Open, OwnedPermit, Scope};

/// How many methods get a breaker of their own; the rest share one. Far more than a service has:
/// only so that paths made up by a caller cannot fill the memory.
const METHODS_MAX: usize = 256;

/// The breakers in front of a service, by the scope of their settings; clones share them.
#[derive(Debug, Clone)]
pub struct Breakers {
    set: Arc<Set>,
}

#[derive(Debug)]
enum Set {
    Service(Breaker),
    /// None here: each instance has its own.
    Instance,
    Method(Methods),
}

#[derive(Debug)]
struct Methods {
    service: String,
    config: Config,
    /// Read by every call without a lock, replaced when a method is new.
    known: ArcSwap<HashMap<Box<str>, Breaker>>,
    adding: Mutex<()>,
    /// Of the methods beyond the limit.
    rest: Breaker,
}

impl Breakers {
    /// None is open.
    #[must_use]
    pub fn new(service: &str, config: Config) -> Self {
        let set = match config.scope {
            Scope::Service => Set::Service(Breaker::new(service, config)),
            Scope::Instance => Set::Instance,
            Scope::Method => Set::Method(Methods {
                service: service.to_owned(),
                rest: Breaker::new(&format!("{service}/*"), config.clone()),
                config,
                known: ArcSwap::default(),
                adding: Mutex::new(()),
            }),
        };
        Self { set: Arc::new(set) }
    }

    /// Admits a call of a method, given by its path, or refuses it. No permit if the scope is the
    /// instance, for then there is nobody to ask yet.
    ///
    /// # Errors
    /// [`Open`].
    pub fn admit(&self, method: &str, now: Instant) -> Result<Option<OwnedPermit>, Open> {
        match &*self.set {
            Set::Service(breaker) => breaker.admit_owned(now).map(Some),
            Set::Instance => Ok(None),
            Set::Method(methods) => {
                // Not by a clone of the breaker: its count of clones is shared by all threads.
                if let Some(breaker) = methods.known.load().get(method) {
                    return breaker.admit_owned(now).map(Some);
                }
                methods.add(method, now).admit_owned(now).map(Some)
            }
        }
    }

    /// The breaker of a method, made if it is new; none if the scope is the instance.
    #[must_use]
    pub fn get(&self, method: &str, now: Instant) -> Option<Breaker> {
        match &*self.set {
            Set::Service(breaker) => Some(breaker.clone()),
            Set::Instance => None,
            Set::Method(methods) => {
                let known = methods.known.load().get(method).cloned();
                Some(known.unwrap_or_else(|| methods.add(method, now)))
            }
        }
    }

    /// All there are, for metrics.
    #[must_use]
    pub fn all(&self) -> Vec<Breaker> {
        match &*self.set {
            Set::Service(breaker) => vec![breaker.clone()],
            Set::Instance => Vec::new(),
            Set::Method(methods) => {
                let known = methods.known.load();
                let rest = (known.len() >= METHODS_MAX).then_some(&methods.rest);
                known.values().chain(rest).cloned().collect()
            }
        }
    }
}

impl Methods {
    fn add(&self, method: &str, now: Instant) -> Breaker {
        let known = self.known.load();
        if known.len() >= METHODS_MAX {
            return self.rest.clone();
        }
        let _adding = self.adding.lock();
        // Somebody else may have added it, or the last one.
        let mut known = HashMap::clone(&self.known.load());
        if let Some(breaker) = known.get(method) {
            return breaker.clone();
        }
        if known.len() >= METHODS_MAX {
            return self.rest.clone();
        }
        let name = format!("{}{method}", self.service);
        let breaker = Breaker::beginning(&name, self.config.clone(), now);
        known.insert(method.into(), breaker.clone());
        self.known.store(Arc::new(known));
        breaker
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Outcome, *};

    fn breakers(scope: Scope) -> Breakers {
        let config = Config {
            scope,
            ..Config::gobreaker()
        };
        Breakers::new("invoice", config)
    }

    fn fail(breakers: &Breakers, method: &str, now: Instant) {
        for _ in 0..3 {
            let permit = breakers.admit(method, now).unwrap().unwrap();
            permit.record(Outcome::Failure, now);
        }
    }

    #[test]
    fn a_method_that_fails_does_not_close_the_others() {
        let now = Instant::now();
        let breakers = breakers(Scope::Method);
        fail(&breakers, "/a.A/One", now);
        let open = breakers.admit("/a.A/One", now).unwrap_err();
        assert_eq!(
            open.to_string(),
            "the circuit breaker of invoice/a.A/One is open"
        );
        assert!(breakers.admit("/a.A/Two", now).unwrap().is_some());
        assert_eq!(breakers.all().len(), 2);
    }

    #[test]
    fn a_service_has_one_and_instances_have_theirs_elsewhere() {
        let now = Instant::now();
        let service = breakers(Scope::Service);
        fail(&service, "/a.A/One", now);
        assert!(service.admit("/a.A/Two", now).is_err());
        let instance = breakers(Scope::Instance);
        assert!(instance.admit("/a.A/One", now).unwrap().is_none());
        assert!(instance.get("/a.A/One", now).is_none());
    }

    #[test]
    fn methods_beyond_the_limit_share_one() {
        let now = Instant::now();
        let breakers = breakers(Scope::Method);
        for index in 0..METHODS_MAX {
            drop(breakers.admit(&format!("/{index}"), now));
        }
        fail(&breakers, "/one-more", now);
        assert!(breakers.admit("/and-another", now).is_err());
        assert!(breakers.admit("/0", now).is_ok());
        assert_eq!(breakers.all().len(), METHODS_MAX + 1);
    }
}
