//! Discovery by DNS: A and AAAA, or SRV records, asked again and again.

mod resolver;
mod state;
#[cfg(test)]
mod tests;

use std::{fmt, net::IpAddr, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};

use super::{Discover, Discovering, Endpoint, Updates, backoff::Backoff};
use resolver::{Resolve, System};
use state::{ASKED_AGAIN_MIN, Failure};

/// How often DNS is asked by default: the shortest that grpc-go asks at, and far below how long a
/// rolling replacement takes.
const INTERVAL: Duration = Duration::from_secs(30);

/// How long one look may take, all servers and their repetitions together.
const LOOK_MAX: Duration = Duration::from_secs(15);

/// The pause after a failure, doubling.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The instances that DNS names.
///
/// Every answer is a whole new list. When asking fails, what is known goes on, and DNS is asked
/// again after 1 s, doubling to 30 s; a name that does not exist is such a failure. Between its
/// times it is asked again, at most once a second, when instances cannot be reached.
///
/// ```
/// use std::time::Duration;
/// use mizan::discover::Dns;
///
/// // Every address of the name is an instance; the port is always this one.
/// let headless = Dns::addresses("invoice.default.svc.cluster.local", 7001)?;
/// // Host, port and weight of every instance; asked again when the answer is out of date.
/// let consul = Dns::services("_invoice._tcp.service.consul")?.by_ttl();
/// let eager = Dns::addresses("invoice.internal", 7001)?.every(Duration::from_secs(5))?;
/// # Ok::<(), mizan::discover::InvalidDns>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    name: String,
    records: Wanted,
    again: Again,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Addresses { port: u16 },
    Services,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Every(Duration),
    ByTtl,
}

/// A setting of [`Dns`] that makes no sense; says which rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid DNS discovery: {0}")]
pub struct InvalidDns(&'static str);

impl Dns {
    /// Every address (A and AAAA) of `name` is an instance, at `port`. An IP address stands for
    /// itself.
    ///
    /// # Errors
    /// [`InvalidDns`] when the name is not a DNS name or the port is 0.
    pub fn addresses(name: impl Into<String>, port: u16) -> Result<Self, InvalidDns> {
        if port == 0 {
            return Err(InvalidDns("the port must be 1 to 65535"));
        }
        Self::new(name.into(), Wanted::Addresses { port })
    }

    /// The SRV records of `name` say host, port and weight; of several priorities only the lowest
    /// counts. The host of a record stays a name, which is looked up whenever it is connected to.
    ///
    /// # Errors
    /// [`InvalidDns`] when the name is not a DNS name.
    pub fn services(name: impl Into<String>) -> Result<Self, InvalidDns> {
        Self::new(name.into(), Wanted::Services)
    }

    fn new(name: String, records: Wanted) -> Result<Self, InvalidDns> {
        let ip = name.parse::<IpAddr>().is_ok() && records != Wanted::Services;
        if !ip && Endpoint::new(format!("{name}:1")).is_err() {
            return Err(InvalidDns("the name must be a DNS name"));
        }
        Ok(Self {
            name,
            records,
            again: Again::Every(INTERVAL),
        })
    }

    /// Asks again after this long, at least 1 s, whatever the records say. 30 s by default.
    ///
    /// # Errors
    /// [`InvalidDns`] when it is shorter.
    pub fn every(mut self, interval: Duration) -> Result<Self, InvalidDns> {
        if interval < ASKED_AGAIN_MIN {
            return Err(InvalidDns("the interval must be at least 1 s"));
        }
        self.again = Again::Every(interval);
        Ok(self)
    }

    /// Asks again when the records' time to live is over: 1 s to 5 min, whatever they say.
    #[must_use]
    pub fn by_ttl(mut self) -> Self {
        self.again = Again::ByTtl;
        self
    }

    /// How long after an answer that holds for `ttl` to ask again.
    fn wait(&self, ttl: Duration) -> Duration {
        match self.again {
            Again::Every(interval) => interval,
            Again::ByTtl => ttl,
        }
    }

    async fn look(
        &self,
        resolver: &dyn Resolve,
        known: &[Endpoint],
    ) -> Result<(Vec<Endpoint>, Duration), Failure> {
        let look = async {
            match self.records {
                Wanted::Addresses { port } => {
                    if let Ok(ip) = self.name.parse() {
                        return Ok((vec![Endpoint::at(ip, port)], INTERVAL));
                    }
                    let both = (resolver.v4(&self.name), resolver.v6(&self.name));
                    let (v4, v6) = tokio::join!(both.0, both.1);
                    state::addresses(v4, v6, port, known)
                }
                Wanted::Services => state::services(resolver.services(&self.name).await),
            }
        };
        let looked = timeout(LOOK_MAX, look).await;
        looked.unwrap_or_else(|_| Err(Failure(format!("no answer within {LOOK_MAX:?}"))))
    }
}

impl Discover for Dns {
    fn discover(self: Box<Self>, service: String, updates: Updates) -> Discovering {
        let system = || -> Result<Box<dyn Resolve>, Failure> { Ok(Box::new(System::read()?)) };
        Box::pin(follow(*self, service, updates, system))
    }
}

/// Asks again and again. The resolver is made anew after a failure: the system's settings may have
/// changed, as they do when a machine joins a network.
async fn follow(
    dns: Dns,
    service: String,
    updates: Updates,
    mut resolver: impl FnMut() -> Result<Box<dyn Resolve>, Failure> + Send,
) {
    let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
    let mut made = None;
    loop {
        let result = match made.take().map_or_else(&mut resolver, Ok) {
            Ok(resolver) => {
                let known = updates.vouched().unwrap_or_default();
                let result = dns.look(&*resolver, &known).await;
                if result.is_ok() {
                    made = Some(resolver);
                }
                result
            }
            Err(failure) => Err(failure),
        };
        let failed = result.is_err();
        let wait = match result {
            Ok((endpoints, ttl)) => {
                tracing::debug!(%service, name = %dns.name, instances = endpoints.len(), "looked up");
                updates.instances(endpoints);
                backoff.reset();
                dns.wait(ttl)
            }
            Err(Failure(reason)) => {
                // Said once, not at every try.
                if backoff.is_fresh() {
                    tracing::warn!(%service, name = %dns.name, %reason, "not found in DNS, going on with the instances known");
                }
                updates.unreachable(format!("DNS name {}: {reason}", dns.name));
                backoff.pause(fastrand::u32(..))
            }
        };
        let looked = Instant::now();
        let due = looked + wait;
        let granted = state::granted(looked.into_std(), due.into_std(), failed);
        tokio::select! {
            () = sleep_until(due) => {}
            () = async {
                updates.refresh_asked().await;
                sleep_until(granted.into()).await;
            } => {}
        }
    }
}

impl fmt::Debug for dyn Resolve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolve")
    }
}
