//! Settings of a connection.

use std::time::Duration;

/// How a connection is made and kept. The defaults suit callers and callees of one data centre.
///
/// # Keepalive
/// It is on, because a peer that vanished without a word (a partition, a machine that lost power)
/// is otherwise noticed only when the operating system gives up, after many minutes, and every call
/// until then runs into its deadline. A connection on which nothing arrived for
/// [`keep_alive_interval`](Self::keep_alive_interval) is sent a PING; without an answer within
/// [`keep_alive_timeout`](Self::keep_alive_timeout) it is closed. It is also asked, at once, when 20
/// calls were given up and nothing arrived meanwhile; until something does, further calls wait, or
/// go to other instances.
///
/// gRPC's own servers tolerate a ping without data every 5 minutes and end the connection of a
/// client that pings more often with GOAWAY, ENHANCE_YOUR_CALM and `too_many_pings` (gRFC A8). Each
/// time that happens the interval towards that instance doubles, so a few reconnections later both
/// agree. Towards a service that runs on such servers, set 5 minutes at once, or allow more there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How long a connection may take until the peer's SETTINGS have arrived. 20 s by default, the
    /// least that gRPC's connection backoff document gives an attempt; above 0, at most 1 h.
    pub connect_timeout: Duration,
    /// The silence after which the peer is asked whether it is still there; `None` never asks.
    /// 20 s by default; at least 10 s, the floor of gRFC A8.
    pub keep_alive_interval: Option<Duration>,
    /// How long the peer has to answer. 10 s by default, far above any round trip; 1 s to 1 h.
    pub keep_alive_timeout: Duration,
    /// Whether it is asked also while no call is under way. True by default, so that the first call
    /// after a quiet night does not find a dead connection.
    pub keep_alive_while_idle: bool,
    /// How many bytes of one response may be on their way unread. 2 MiB by default, so that a
    /// single stream fills 1 Gbit/s over 16 ms; 65,535 bytes to 2 GiB less one, HTTP/2's bounds.
    pub stream_window: u32,
    /// The same for all responses of the connection together. 2 GiB less one by default, HTTP/2's most,
    /// which a thousand streams do not fill: a response that its caller does not read holds its own
    /// window and nothing of the others', as in gRPC's own clients. Less bounds what callers who do not
    /// read can cost, and then their streams stop the others of the connection; at least twice
    /// `stream_window`, so that one cannot take it whole.
    pub connection_window: u32,
    /// The most bytes of headers and of trailers that a response may have. 16 KiB by default, what
    /// most servers and proxies allow; at least 1 KiB, or no status would fit. A larger one is refused
    /// with `ANSWER_METADATA_TOO_LARGE`; above 256 KiB, or four times this if that is more, the
    /// callee is taken for broken.
    pub headers_max: u32,
    /// How many connections one instance may have when all the streams that it allows are taken
    /// (gRFC A105): another is opened then, and closed when it has rested for half a minute to a
    /// minute. 4 by default; 1 to 64. Fewer than the channel's `connections` opens none.
    pub connections_max: u32,
    /// How many calls of a channel may wait for a stream when those of all instances are taken.
    /// Nothing of them was sent, and one that is given up is gone. 10,000 by default; 0 refuses them
    /// at once.
    pub waiting_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(20),
            keep_alive_interval: Some(Duration::from_secs(20)),
            keep_alive_timeout: Duration::from_secs(10),
            keep_alive_while_idle: true,
            stream_window: 2 << 20,
            connection_window: WINDOW_MAX,
            headers_max: 16 << 10,
            connections_max: 4,
            waiting_max: 10_000,
        }
    }
}

/// Why a connection's settings were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("connection: {0}")]
pub struct InvalidConfig(&'static str);

/// gRFC A8: a client that asks more often is raised to this.
const KEEP_ALIVE_MIN: Duration = Duration::from_secs(10);
/// Beyond that the server's port is the bottleneck.
const CONNECTIONS_MAX: u32 = 64;
const HOUR: Duration = Duration::from_secs(3600);
/// By RFC 9113, 6.9.1 and 6.5.2.
const WINDOW_MAX: u32 = (1 << 31) - 1;
const WINDOW_MIN: u32 = (1 << 16) - 1;

impl Config {
    /// Refuses settings out of their bounds.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the rule.
    pub fn validate(self) -> Result<Self, InvalidConfig> {
        let windows = WINDOW_MIN..=WINDOW_MAX;
        let rules = [
            (
                !self.connect_timeout.is_zero() && self.connect_timeout <= HOUR,
                "connect_timeout must be above 0, and 1 h at most",
            ),
            (
                self.keep_alive_interval.is_none_or(|i| i >= KEEP_ALIVE_MIN),
                "keep_alive_interval must be 10 s at least",
            ),
            (
                (Duration::from_secs(1)..=HOUR).contains(&self.keep_alive_timeout),
                "keep_alive_timeout must be 1 s to 1 h",
            ),
            (
                windows.contains(&self.stream_window),
                "stream_window must be 65535 to 2147483647 bytes",
            ),
            (
                windows.contains(&self.connection_window),
                "connection_window must be 65535 to 2147483647 bytes",
            ),
            (
                self.connection_window / 2 >= self.stream_window,
                "connection_window must be twice stream_window at least",
            ),
            (
                self.headers_max >= 1 << 10,
                "headers_max must be 1 KiB at least",
            ),
            (
                (1..=CONNECTIONS_MAX).contains(&self.connections_max),
                "connections_max must be 1 to 64",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(InvalidConfig(rule)),
            None => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_bounds_are_kept() {
        let valid = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.validate().map_err(|error| error.to_string())
        };
        assert!(valid(|_| {}).is_ok());
        assert!(valid(|c| c.keep_alive_interval = None).is_ok());
        assert_eq!(
            valid(|c| c.keep_alive_interval = Some(Duration::from_secs(9))).unwrap_err(),
            "connection: keep_alive_interval must be 10 s at least"
        );
        assert!(valid(|c| c.keep_alive_timeout = Duration::ZERO).is_err());
        assert!(valid(|c| c.connect_timeout = Duration::ZERO).is_err());
        assert!(valid(|c| c.connect_timeout = Duration::MAX).is_err());
        assert!(valid(|c| c.stream_window = 1000).is_err());
        assert!(valid(|c| c.connection_window = 1 << 31).is_err());
        assert_eq!(
            valid(|c| c.connection_window = 2 * c.stream_window - 1).unwrap_err(),
            "connection: connection_window must be twice stream_window at least"
        );
        assert!(valid(|c| c.connection_window = 2 * c.stream_window).is_ok());
        assert!(valid(|c| c.headers_max = 0).is_err());
        assert!(valid(|c| c.connections_max = 0).is_err());
        assert!(valid(|c| c.connections_max = 65).is_err());
        assert!(valid(|c| c.waiting_max = 0).is_ok());
    }
}
