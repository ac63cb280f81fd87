//! Registering and looking up, as fast as so many callers can.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use super::{
    Plan, SIZE,
    client::{Client, Instance},
    fill, histogram,
    server::{Kind, Server},
};
use crate::{
    Error,
    stats::{each, median, per_second},
};

/// How many there are.
pub(super) const INSTANCES: usize = 5_000;

const CONNECTIONS: usize = 8;

/// What one registry showed, a figure a round.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) register_1: Vec<f64>,
    pub(super) register_64: Vec<f64>,
    pub(super) lookup_64: Vec<f64>,
    p99: Vec<f64>,
    register_cpu: Vec<f64>,
    lookup_cpu: Vec<f64>,
}

impl Figures {
    pub(super) fn register_1(&self) -> f64 {
        median(self.register_1.clone())
    }

    pub(super) fn register_64(&self) -> f64 {
        median(self.register_64.clone())
    }

    pub(super) fn lookup_64(&self) -> f64 {
        median(self.lookup_64.clone())
    }

    pub(super) fn register_p99(&self) -> f64 {
        median(self.p99.clone())
    }

    /// The server's processor time for one call of 64 callers, in microseconds: registering, and
    /// looking up. What the load program costs is no part of it.
    pub(super) fn cpu(&self) -> (f64, f64) {
        let each = |all: &[f64]| median(all.to_vec());
        (each(&self.register_cpu), each(&self.lookup_cpu))
    }
}

/// What each showed, in the order asked for.
#[derive(Debug)]
pub(super) struct Rounds(pub(super) Vec<Figures>);

#[derive(Debug, Clone, Copy)]
enum What {
    Register,
    Lookup,
}

impl Rounds {
    pub(super) async fn measure(plan: &Plan, kinds: &[Kind]) -> Result<Self, Error> {
        let (rounds, length) = match plan.quick {
            true => (1, Duration::from_millis(300)),
            false => (5, Duration::from_millis(1_500)),
        };
        let mut servers = Vec::new();
        for kind in kinds {
            let server = Server::start(*kind, &plan.programs).await?;
            let mut clients = Vec::new();
            for _ in 0..CONNECTIONS {
                clients.push(Client::connect(*kind, server.port()).await?);
            }
            if let Some(client) = clients.first() {
                fill(client, INSTANCES).await?;
            }
            servers.push((server, clients, Figures::default()));
        }
        for round in 0..rounds {
            let count = servers.len();
            for place in 0..count {
                // Who begins changes, so that nobody always follows the same one.
                let Some((server, clients, figures)) = servers.get_mut((place + round) % count)
                else {
                    continue;
                };
                let one = looped(server, clients, 1, length, What::Register).await?;
                figures.register_1.push(one.rate);
                let all = looped(server, clients, 64, length, What::Register).await?;
                figures.register_64.push(all.rate);
                figures.p99.push(all.p99);
                figures.register_cpu.push(all.cpu);
                let all = looped(server, clients, 64, length, What::Lookup).await?;
                figures.lookup_64.push(all.rate);
                figures.lookup_cpu.push(all.cpu);
            }
        }
        Ok(Self(
            servers.into_iter().map(|(.., figures)| figures).collect(),
        ))
    }
}

/// What one round showed.
struct Looped {
    /// Calls a second.
    rate: f64,
    /// The 99th percentile in milliseconds.
    p99: f64,
    /// The server's processor time for each, in microseconds.
    cpu: f64,
}

async fn looped(
    server: &Server,
    clients: &[Client],
    callers: usize,
    length: Duration,
    what: What,
) -> Result<Looped, Error> {
    let (begun, cpu) = (Instant::now(), server.cpu_time()?);
    let loops = (0..callers).zip(clients.iter().cycle());
    let loops = loops.map(|(caller, client)| async move {
        let mut latencies = histogram()?;
        // Each caller has instances of its own: nobody waits for another's.
        let mut number = caller;
        let mut change = 1;
        while begun.elapsed() < length {
            let before = Instant::now();
            match what {
                What::Register => {
                    change += 1;
                    let instance = Instance {
                        service: number / SIZE,
                        number,
                        // Another one each time, in every round.
                        change: change + u64::from(begun.elapsed().subsec_nanos()),
                    };
                    client.register(instance).await?;
                }
                What::Lookup => {
                    let found = client.lookup(number / SIZE).await?;
                    if found == 0 {
                        return Err(Error::from("a lookup found nobody"));
                    }
                }
            }
            latencies.saturating_record(u64::try_from(before.elapsed().as_micros())?);
            number = (number + callers) % INSTANCES;
        }
        Ok(latencies)
    });
    let mut all = histogram()?;
    for latencies in try_join_all(loops).await? {
        all.add(latencies)?;
    }
    let cpu = server.cpu_time()?.saturating_sub(cpu);
    Ok(Looped {
        rate: per_second(all.len(), begun.elapsed()),
        p99: each(all.value_at_quantile(0.99), 1000),
        cpu: each(u64::try_from(cpu.as_micros())?, all.len()),
    })
}
