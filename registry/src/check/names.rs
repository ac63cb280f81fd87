//! What names stand for: one resolver for all checks, which holds no thread while it waits.
//!
//! The system's own function blocks a thread for each name, for as long as its servers are silent; a
//! hundred names of a zone that is down would have every other check wait. Here a zone has so many
//! questions open and no more, and who waits for it waits alone. Answers are kept for as long as they
//! say, in bounded number.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use hickory_resolver::{
    TokioResolver,
    config::LookupIpStrategy,
    net::{DnsError, NetError},
};
use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::Instant};

use super::outcome::{Fault, Trouble};

/// Questions about one zone that are open at once.
const ZONE_MAX: usize = 16;

/// Answers that are kept.
const KEPT_MAX: u64 = 4096;

/// Questions that one connection to a server carries. Zones bound them, not this.
const ACTIVE_MAX: usize = 4096;

/// How long an answer is kept at most: an instance that moved is checked where it is soon.
const KEPT: Duration = Duration::from_secs(60);

/// The same, of the answer that there is no such name.
const KEPT_ABSENT: Duration = Duration::from_secs(5);

/// Before the system's settings and its hosts file are read anew.
const SETTINGS: Duration = Duration::from_secs(60);

/// When names were answered this lately, silence is the zone's and not ours.
const LATELY: Duration = Duration::from_secs(60);

/// Why a name is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// There is no such name, or it has no address.
    Absent,
    /// Nobody answered, and why.
    Silent(String),
    /// We cannot ask, for lack of something.
    Own(Trouble, String),
}

/// Who answers.
pub(crate) trait Resolve: Send + Sync + fmt::Debug {
    /// The addresses of a name.
    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, Unknown>>;
}

/// The shared resolver. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Names(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    resolver: Box<dyn Resolve>,
    zones: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// When somebody answered last, whatever the answer.
    answered: Mutex<Option<Instant>>,
}

impl Default for Names {
    fn default() -> Self {
        Self::by(Box::new(System::default()))
    }
}

impl Names {
    /// By this resolver.
    pub(crate) fn by(resolver: Box<dyn Resolve>) -> Self {
        Self(Arc::new(Shared {
            resolver,
            zones: Mutex::default(),
            answered: Mutex::default(),
        }))
    }

    /// The addresses behind HOST:PORT.
    pub(crate) async fn look_up(&self, target: &str) -> Result<Vec<SocketAddr>, Fault> {
        let (host, port) = target
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse().ok()?)))
            .ok_or_else(|| format!("{target} is not HOST:PORT"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let at = |ip| SocketAddr::new(ip, port);
        if let Ok(ip) = host.parse() {
            return Ok(vec![at(ip)]);
        }
        let zone = Held {
            names: self,
            zone: zone(host),
        };
        let gate = zone.gate();
        let found = {
            // Never closed.
            let _turn = gate.acquire().await;
            self.0.resolver.addresses(host).await
        };
        drop((gate, zone));
        if matches!(found, Ok(_) | Err(Unknown::Absent)) {
            *self.0.answered.lock() = Some(Instant::now());
        }
        match found {
            Ok(found) if !found.is_empty() => Ok(found.into_iter().map(at).collect()),
            Ok(_) | Err(Unknown::Absent) => Err(format!("there is no address of {host}").into()),
            Err(Unknown::Own(trouble, why)) => {
                Err(Fault::own(trouble, format!("cannot look {host} up: {why}")))
            }
            Err(Unknown::Silent(why)) => Err(self.silent(&format!("cannot look {host} up: {why}"))),
        }
    }

    /// A question that nobody answered: the zone's trouble when others were answered, else ours.
    pub(crate) fn silent(&self, reason: &str) -> Fault {
        let lately = self
            .0
            .answered
            .lock()
            .is_some_and(|at| at.elapsed() < LATELY);
        Fault {
            trouble: (!lately).then_some(Trouble::Names),
            reason: reason.to_owned(),
        }
    }
}

/// The last two labels: what has servers of its own, as a rule.
fn zone(host: &str) -> String {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let mut labels = host.rsplitn(3, '.');
    match (labels.next(), labels.next()) {
        (Some(top), Some(next)) => format!("{next}.{top}"),
        _ => host,
    }
}

/// A zone that somebody asks about. Forgotten with the last who does.
struct Held<'a> {
    names: &'a Names,
    zone: String,
}

impl Held<'_> {
    fn gate(&self) -> Arc<Semaphore> {
        let mut zones = self.names.0.zones.lock();
        let gate = zones.entry(self.zone.clone());
        Arc::clone(gate.or_insert_with(|| Arc::new(Semaphore::new(ZONE_MAX))))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut zones = self.names.0.zones.lock();
        // Ours is dropped before this, or, when the look-up was given up, right after: then the next
        // who asks about this zone cleans up.
        zones.retain(|_, gate| Arc::strong_count(gate) > 1);
    }
}

/// The servers, search domains and hosts file that this system is set to.
#[derive(Default)]
struct System(Mutex<Option<(Instant, Arc<TokioResolver>)>>);

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("System")
    }
}

impl System {
    fn resolver(&self) -> Result<Arc<TokioResolver>, NetError> {
        let mut held = self.0.lock();
        if let Some((read, resolver)) = &*held
            && read.elapsed() < SETTINGS
        {
            return Ok(Arc::clone(resolver));
        }
        let built = TokioResolver::builder_tokio().and_then(|mut builder| {
            let options = builder.options_mut();
            options.cache_size = KEPT_MAX;
            options.positive_max_ttl = Some(KEPT);
            options.negative_max_ttl = Some(KEPT_ABSENT);
            options.max_active_requests = ACTIVE_MAX;
            options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            builder.build()
        });
        match (built, &*held) {
            (Ok(built), _) => {
                let built = Arc::new(built);
                *held = Some((Instant::now(), Arc::clone(&built)));
                Ok(built)
            }
            // Files are short, say: what was read before will do.
            (Err(_), Some((_, before))) => Ok(Arc::clone(before)),
            (Err(error), None) => Err(error),
        }
    }
}

impl Resolve for System {
    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, Unknown>> {
        Box::pin(async move {
            let resolver = self.resolver().map_err(|error| unknown(&error))?;
            let found = resolver.lookup_ip(name).await;
            Ok(found.map_err(|error| unknown(&error))?.iter().collect())
        })
    }
}

fn unknown(error: &NetError) -> Unknown {
    if let NetError::Io(io) = error {
        let own = Trouble::of(io);
        return own.map_or_else(
            || Unknown::Silent(super::reason::readable(&io.to_string())),
            |trouble| Unknown::Own(trouble, super::reason::readable(&io.to_string())),
        );
    }
    let absent = error.is_nx_domain()
        || matches!(error, NetError::Dns(DnsError::NoRecordsFound(none))
            if none.response_code == hickory_resolver::proto::op::ResponseCode::NoError);
    if absent {
        Unknown::Absent
    } else {
        Unknown::Silent(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::timeout;

    use super::*;

    /// `*.dead.test` is never answered, `*.absent.example` is not there, the rest is.
    #[derive(Debug, Default)]
    struct Scripted {
        open: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
    }

    /// A question that is open, until it is given up.
    struct Open(Arc<AtomicUsize>);

    impl Drop for Open {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    impl Resolve for Scripted {
        fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, Unknown>> {
            Box::pin(async move {
                if name.ends_with("absent.example") {
                    return Err(Unknown::Absent);
                }
                if !name.ends_with("dead.test") {
                    return Ok(vec![[192, 0, 2, 1].into()]);
                }
                let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(open, Ordering::SeqCst);
                let _open = Open(Arc::clone(&self.open));
                std::future::pending().await
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_and_twenty_names_of_a_dead_zone_hold_up_nobody_elses() {
        let scripted = Scripted::default();
        let most = Arc::clone(&scripted.most);
        let names = Names::by(Box::new(scripted));
        let dead = (0..120).map(|n| {
            let names = names.clone();
            tokio::spawn(async move {
                let target = format!("host-{n}.dead.test:80");
                let looked = names.look_up(&target);
                assert!(timeout(Duration::from_secs(2), looked).await.is_err());
            })
        });
        let dead: Vec<_> = dead.collect();
        tokio::task::yield_now().await;
        let asked = Instant::now();
        let found = names.look_up("host.live.example:80").await.unwrap();
        assert_eq!(found, ["192.0.2.1:80".parse().unwrap()]);
        assert_eq!(asked.elapsed(), Duration::ZERO);
        for one in dead {
            one.await.unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), ZONE_MAX);
        // Nothing is kept of a zone that nobody asks about.
        names.look_up("one.more.example:80").await.unwrap();
        assert!(names.0.zones.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_ours_until_somebody_answered_and_the_zones_then() {
        let names = Names::by(Box::new(Scripted::default()));
        assert_eq!(names.silent("").trouble, Some(Trouble::Names));
        let absent = names.look_up("a.absent.example:1").await.unwrap_err();
        assert_eq!(absent.trouble, None);
        assert_eq!(absent.reason, "there is no address of a.absent.example");
        assert_eq!(names.silent("").trouble, None);
        tokio::time::advance(LATELY).await;
        assert_eq!(names.silent("").trouble, Some(Trouble::Names));
    }

    #[tokio::test]
    async fn addresses_stand_for_themselves_and_localhost_is_here() {
        let names = Names::default();
        for (target, at) in [("127.0.0.1:8", "127.0.0.1:8"), ("[::1]:8", "[::1]:8")] {
            assert_eq!(names.look_up(target).await.unwrap(), [at.parse().unwrap()]);
        }
        for wrong in ["host", "host:", "host:x", "host:65536"] {
            assert!(names.look_up(wrong).await.is_err(), "{wrong}");
        }
        let here = names.look_up("localhost:8").await.unwrap();
        assert!(here.iter().all(|at| at.ip().is_loopback()), "{here:?}");
    }

    #[test]
    fn a_zone_is_the_last_two_labels() {
        for (host, expected) in [
            ("a.b.example.com.", "example.com"),
            ("A.Example.COM", "example.com"),
            ("db.svc", "db.svc"),
            ("db", "db"),
        ] {
            assert_eq!(zone(host), expected);
        }
    }
}
