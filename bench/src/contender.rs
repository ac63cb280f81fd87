//! Who is measured, and how each is set up.

use std::{fmt, time::Duration};

use mizan::limit::Rate;
use tonic::transport::{Channel, Endpoint};

use crate::{
    Error,
    load::{Round, closed_loop},
};

/// One way to call the echo.
#[derive(Debug, Clone)]
pub struct Contender {
    /// What it is.
    pub kind: Kind,
    way: Way,
}

/// The kinds, in the order of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// tonic's `Channel`, to one server: the ceiling.
    Bare,
    /// Ours with everything on, to one server.
    Ours,
    /// Three of tonic's channels and a counter.
    Rotation,
    /// tonic's `Channel::balance_list` over three servers.
    BalanceList,
    /// Ours with everything on, over three servers.
    OursOverThree,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Bare,
        Self::Ours,
        Self::Rotation,
        Self::BalanceList,
        Self::OursOverThree,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bare => "bare tonic Channel, 1 server",
            Self::Ours => "Mizan's channel, 1 server",
            Self::Rotation => "rotation of 3 bare Channels, 3 servers",
            Self::BalanceList => "tonic balance_list, 3 servers",
            Self::OursOverThree => "Mizan's channel, 3 servers",
        })
    }
}

/// The two types behind the five contenders.
#[derive(Debug, Clone)]
enum Way {
    Tonic(Vec<Channel>),
    Mizan(mizan::Channel),
}

impl Contender {
    /// Sets one up against servers at these addresses, HOST:PORT. Needs a tokio runtime.
    ///
    /// # Errors
    /// An address that is none.
    pub fn new(kind: Kind, servers: &[String]) -> Result<Self, Error> {
        let first = servers.get(..1).unwrap_or_default();
        let way = match kind {
            Kind::Bare => Way::Tonic(bare(first)?),
            Kind::Ours => Way::Mizan(full(first)?),
            Kind::Rotation => Way::Tonic(bare(servers)?),
            Kind::BalanceList => {
                let endpoints: Vec<_> = endpoints(servers).collect::<Result<_, _>>()?;
                Way::Tonic(vec![Channel::balance_list(endpoints.into_iter())])
            }
            Kind::OursOverThree => Way::Mizan(full(servers)?),
        };
        Ok(Self { kind, way })
    }

    /// Calls it in a closed loop of `concurrency` callers for a while.
    ///
    /// # Errors
    /// A caller that died.
    pub async fn run(&self, concurrency: usize, length: Duration) -> Result<Round, Error> {
        match &self.way {
            Way::Tonic(channels) => closed_loop(channels.clone(), concurrency, length).await,
            Way::Mizan(channel) => closed_loop(vec![channel.clone()], concurrency, length).await,
        }
    }

    /// Makes so many calls, one after another.
    ///
    /// # Errors
    /// The first call that failed.
    pub async fn calls(&self, count: u64) -> Result<(), Error> {
        match &self.way {
            Way::Tonic(channels) => crate::load::sequence(channels.clone(), count).await,
            Way::Mizan(channel) => crate::load::sequence(vec![channel.clone()], count).await,
        }
    }
}

fn endpoints(servers: &[String]) -> impl Iterator<Item = Result<Endpoint, Error>> {
    let parse = |server: &String| Ok(Endpoint::from_shared(format!("http://{server}"))?);
    servers.iter().map(parse)
}

fn bare(servers: &[String]) -> Result<Vec<Channel>, Error> {
    let connect = |endpoint: Result<Endpoint, Error>| Ok(endpoint?.connect_lazy());
    endpoints(servers).map(connect).collect()
}

/// Everything on: the defaults (deadline, retry, breaker, metrics) and a limiter that never binds.
fn full(servers: &[String]) -> Result<mizan::Channel, Error> {
    let rate = Rate::new(10_000_000, 100_000).ok_or("a rate above zero")?;
    let channel = mizan::Channel::builder("echo")
        .fixed(servers.to_vec())
        .limit(rate);
    Ok(channel.connect()?)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::echo;

    #[tokio::test]
    async fn every_contender_gets_its_echo() {
        let mut servers = Vec::new();
        for _ in 0..3 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            servers.push(listener.local_addr().unwrap().to_string());
            tokio::spawn(echo::serve(listener));
        }
        for kind in Kind::ALL {
            let contender = Contender::new(kind, &servers).unwrap();
            contender.calls(7).await.unwrap();
        }
    }
}
