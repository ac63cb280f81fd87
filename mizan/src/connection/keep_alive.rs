//! Keepalive: noticing a peer that vanished without a word.

use std::{sync::Arc, time::Duration};

use h2::{Ping, PingPong};
use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::{Config, exchange::Peer, wire::Wire};

/// Silence is measured in quarters of the interval: nothing on the way of a call has to read a
/// clock, and a ping is late by a quarter at most.
const PARTS: u32 = 4;

/// Asks a silent peer whether it is there, and ends the connection when it is not. Ends with the
/// connection.
pub(super) async fn keep(
    mut pings: PingPong,
    wire: Arc<Wire>,
    calls: CallCount,
    config: Config,
    connection: AbortHandle,
) {
    let Some(interval) = config.keep_alive_interval else {
        return;
    };
    let silent = tokio::select! {
        () = wire.gone() => return,
        silent = silence(&mut pings, &wire, &calls, interval, &config) => silent,
    };
    wire.end(|| silent);
    connection.abort();
}

/// How many calls a connection carries: its exchanges hold the peer, and so does the connection.
pub(super) struct CallCount(pub(super) std::sync::Weak<Peer>);

impl CallCount {
    fn is_idle(&self) -> bool {
        self.0.strong_count() <= 1
    }
}

/// Returns when the peer is gone, with the reason.
async fn silence(
    pings: &mut PingPong,
    wire: &Wire,
    calls: &CallCount,
    interval: Duration,
    config: &Config,
) -> String {
    let mut heard = wire.reads();
    let mut quiet = 0;
    loop {
        let wanted = tokio::select! {
            () = sleep(interval / PARTS) => false,
            // Calls are given up and wait for a sign of life.
            () = wire.asked() => wire.is_stalled(),
        };
        let reads = wire.reads();
        if reads != heard && !wanted {
            heard = reads;
            quiet = 0;
            continue;
        }
        quiet += u32::from(!wanted);
        let idle = !config.keep_alive_while_idle && calls.is_idle();
        if !wanted && (quiet < PARTS || idle) {
            continue;
        }
        quiet = 0;
        match timeout(config.keep_alive_timeout, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => heard = wire.reads(),
            Ok(Err(error)) => return error.to_string(),
            Err(_) => {
                return format!(
                    "no answer to a keepalive ping within {:?}",
                    config.keep_alive_timeout
                );
            }
        }
    }
}
