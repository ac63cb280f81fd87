//! What a server allows, and how its HTTP/2 is set.

use std::{collections::HashMap, time::Duration};

use crate::args::Http2Args;

/// What a server allows, each with its reason.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most calls handled, or waiting for their turn, at once; further ones are refused with
    /// RESOURCE_EXHAUSTED before they cost anything. A call counts until its answer begins: a
    /// stream that is quiet costs memory only, and the bound on that is the connections'. Health
    /// and reflection are exempt. 1024: far above what two cores keep busy, far below what memory
    /// holds, and worked off within the channel's default deadline at 205 calls a second. While there
    /// are other connections, the last quarter is for those that hold at most a sixteenth.
    pub calls_max: usize,
    /// The most connections at once, each with up to 1000 calls; for further ones those go that
    /// carry nothing, and where each carries a call, they are closed as they come. 10,000: more than a
    /// fleet of 300 services opens to one instance.
    pub connections_max: usize,
    /// The longest a handler may take until its response begins, for a caller that sets no deadline.
    /// A caller that sets one waits for as long as it says. 10 s: twice the channel's default
    /// deadline. For one method or service, see
    /// [`Server::handler_timeout`](super::Server::handler_timeout).
    pub handler_timeout: Duration,
    /// The longest a client may take to send the headers of an HTTP/1 request; and over HTTP/2 to begin
    /// the connection, and to finish each frame but DATA, and headers of several frames. 10 s.
    pub header_timeout: Duration,
    /// How long a connection may carry nothing before it is told to go. 60 s.
    pub idle_timeout: Duration,
    /// The most bytes of answers that wait for one connection's client. An answer that does not fit
    /// is refused with RESOURCE_EXHAUSTED, `ANSWERS_UNREAD` (a page with 503), unless it is the only
    /// one there; a stream that has begun waits. 64 MiB: sixteen messages of the most that gRPC
    /// clients take by default.
    pub unread_max: usize,
    /// How long a client may leave an answer unread, not taking a part of it, before its stream is
    /// reset; and its connection, before it is cut, if no byte of it leaves for so long. 60 s: a
    /// client on a slow line that has megabytes in its buffers asks for more only now and then.
    pub unread_timeout: Duration,
    /// The most bytes for all that is open: 6 KiB for each call, also a quiet stream, and the
    /// answers that wait. Beyond that the connection which holds most is cut. 512 MiB.
    pub held_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_max: 1024,
            connections_max: 10_000,
            handler_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            unread_max: 64 << 20,
            unread_timeout: Duration::from_secs(60),
            held_max: 512 << 20,
        }
    }
}

/// How a server speaks HTTP/2. An operator's flags (`--http2-…`) go before it.
///
/// A window is what a client may send before the handler reads it. The connection's is 128 times a
/// stream's: an upload whose handler does not read it holds its own window and nothing of the
/// others'. 128, because the HTTP/2 library ends a connection when the small frames that wait in it
/// cost more than half of the connection's window, at 256 bytes each; at this ratio the messages of
/// one stream cannot reach that, be they empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http2 {
    /// What a client may send on one stream unread. 256 KiB by default, so that one upload fills
    /// 1 Gbit/s over 2 ms; farther away a larger one is faster. 65,535 bytes to 16 MiB less one.
    pub stream_window: u32,
    /// The same for all streams of a connection together: 32 MiB by default; at least a stream's, and
    /// 2 GiB less one at most.
    pub connection_window: u32,
    /// The most calls that one connection may carry at once. 1000 by default; at least 1.
    pub streams_max: u32,
    /// How often a client is asked by a PING whether it is still there; `None` never asks. 20 s by
    /// default; at least 1 s.
    pub keep_alive_interval: Option<Duration>,
    /// How long it has to answer before its connection is closed. 60 s by default: a client that reads
    /// slowly finds the question behind all that is on its way to it. At least 1 s.
    pub keep_alive_timeout: Duration,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            stream_window: 256 << 10,
            connection_window: 32 << 20,
            streams_max: 1000,
            keep_alive_interval: Some(Duration::from_secs(20)),
            keep_alive_timeout: Duration::from_secs(60),
        }
    }
}

/// By RFC 9113, 6.9.1 and 6.5.2; a stream's stays below, so that a connection's can be a multiple.
const WINDOW_MIN: u32 = (1 << 16) - 1;
const STREAM_WINDOW_MAX: u32 = (1 << 24) - 1;
const WINDOW_MAX: u32 = (1 << 31) - 1;

/// What a connection's window is of a stream's.
const WINDOW_RATIO: u32 = 128;

impl Http2 {
    /// The same with what the operator says.
    pub(super) fn with(mut self, said: &Http2Args) -> Self {
        if let Some(window) = said.http2_stream_window {
            self.stream_window = window;
            self.connection_window = window.saturating_mul(WINDOW_RATIO).min(WINDOW_MAX);
        }
        if let Some(window) = said.http2_connection_window {
            self.connection_window = window;
        }
        self.streams_max = said.http2_streams_max.unwrap_or(self.streams_max);
        if let Some(seconds) = said.http2_keep_alive_seconds {
            self.keep_alive_interval = Some(Duration::from_secs(seconds)).filter(|_| seconds > 0);
        }
        if let Some(seconds) = said.http2_keep_alive_timeout_seconds {
            self.keep_alive_timeout = Duration::from_secs(seconds);
        }
        self
    }

    /// Which rule the settings break, if one.
    pub(super) fn broken_rule(&self) -> Option<&'static str> {
        let second = Duration::from_secs(1);
        let rules = [
            (
                (WINDOW_MIN..=STREAM_WINDOW_MAX).contains(&self.stream_window),
                "stream_window must be 65535 to 16777215 bytes",
            ),
            (
                (self.stream_window..=WINDOW_MAX).contains(&self.connection_window),
                "connection_window must be stream_window to 2147483647 bytes",
            ),
            (self.streams_max > 0, "streams_max must be 1 at least"),
            (
                self.keep_alive_interval.is_none_or(|every| every >= second),
                "keep_alive_interval must be 1 s at least",
            ),
            (
                self.keep_alive_timeout >= second,
                "keep_alive_timeout must be 1 s at least",
            ),
        ];
        rules
            .into_iter()
            .find(|(holds, _)| !holds)
            .map(|(_, rule)| rule)
    }
}

/// How long handlers may take.
#[derive(Debug, Clone)]
pub(super) struct HandlerTimes {
    /// Of a call whose caller says nothing.
    unsaid: Duration,
    /// By "Service" or "Service/Method": the most, whatever the caller says; with `None`, as long as
    /// the caller says, and without end if it says nothing.
    named: HashMap<String, Option<Duration>>,
}

impl HandlerTimes {
    pub(super) fn new(unsaid: Duration) -> Self {
        Self {
            unsaid,
            named: HashMap::new(),
        }
    }

    /// Sets it for a service, "package.Service", or a method, "package.Service/Method".
    pub(super) fn name(&mut self, name: &str, limit: Option<Duration>) {
        self.named
            .insert(name.trim_start_matches('/').to_owned(), limit);
    }

    /// How long the handler of this path may take, apart from what its caller says.
    pub(super) fn of(&self, path: &str, caller_says: bool) -> Option<Duration> {
        let unnamed = (!caller_says).then_some(self.unsaid);
        if self.named.is_empty() {
            return unnamed;
        }
        let method = path.strip_prefix('/').unwrap_or(path);
        let service = method
            .rsplit_once('/')
            .map_or(method, |(service, _)| service);
        let named = self.named.get(method).or_else(|| self.named.get(service));
        named.map_or(unnamed, |limit| *limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_nothing_gets_the_default_and_a_name_goes_before_it() {
        let seconds = |n| Some(Duration::from_secs(n));
        let mut times = HandlerTimes::new(Duration::from_secs(10));
        assert_eq!(times.of("/a.A/Get", false), seconds(10));
        assert_eq!(times.of("/a.A/Get", true), None);
        times.name("a.A", seconds(30));
        times.name("/a.A/Upload", None);
        for says in [true, false] {
            assert_eq!(times.of("/a.A/Get", says), seconds(30));
            assert_eq!(times.of("/a.A/Upload", says), None);
        }
        assert_eq!(times.of("/a.AB/Get", false), seconds(10));
        assert_eq!(times.of("/a.AB/Get", true), None);
    }

    #[test]
    fn what_the_operator_says_goes_before_what_was_built() {
        let built = Http2::default();
        assert_eq!(built.clone().with(&Http2Args::default()), built);
        let said = Http2Args {
            http2_stream_window: Some(1 << 20),
            http2_streams_max: Some(7),
            http2_keep_alive_seconds: Some(0),
            http2_keep_alive_timeout_seconds: Some(5),
            ..Http2Args::default()
        };
        let settings = built.with(&said);
        assert_eq!(settings.connection_window, 128 << 20);
        assert_eq!(settings.streams_max, 7);
        assert_eq!(settings.keep_alive_interval, None);
        assert_eq!(settings.keep_alive_timeout, Duration::from_secs(5));
        for (stream, rule_holds) in [((1 << 24) - 1, true), (1 << 24, false), (1, false)] {
            let said = Http2Args {
                http2_stream_window: Some(stream),
                ..Http2Args::default()
            };
            let rule = Http2::default().with(&said).broken_rule();
            assert_eq!(rule.is_none(), rule_holds, "{stream}: {rule:?}");
        }
    }

    #[test]
    fn windows_are_apart_and_one_stream_cannot_take_the_connection() {
        let default = Http2::default();
        assert_eq!(default.broken_rule(), None);
        // The HTTP/2 library's own cost of a small frame, and its bound; an empty message has 5 bytes.
        let small = u64::from(default.stream_window) / 5 * (256 - 5);
        assert!(small < u64::from(default.connection_window) / 2);
        let broken = |change: fn(&mut Http2)| {
            let mut settings = Http2::default();
            change(&mut settings);
            settings.broken_rule().is_some()
        };
        assert!(broken(|h| h.stream_window = 1));
        assert!(broken(|h| h.connection_window = h.stream_window - 1));
        assert!(broken(|h| h.streams_max = 0));
        assert!(broken(|h| h.keep_alive_interval = Some(Duration::ZERO)));
        assert!(broken(|h| h.keep_alive_timeout = Duration::ZERO));
        assert!(!broken(|h| h.keep_alive_interval = None));
    }
}
