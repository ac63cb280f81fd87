//! The settings that every Mizan process takes: flags, each with an environment variable.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use crate::{
    connection::{Connector, Tcp},
    discover::{self, Endpoint, InvalidAuthority},
};

/// An hour: crashed instances on ports that nobody will use again do not pile up, and one that a person
/// is looking into is still there.
const DEREGISTER_AFTER_SECONDS: u64 = 3600;

/// Flags of a server, for `#[command(flatten)]` in a service's own.
#[derive(Debug, Clone, clap::Args)]
pub struct ServerArgs {
    /// The registries to register with and to discover others by, comma-separated HOST:PORT.
    #[arg(
        long,
        env = "MIZAN_REGISTRY",
        value_delimiter = ',',
        value_parser = registry,
        default_value = "127.0.0.1:8500"
    )]
    pub registry: Vec<String>,

    /// The HOST:PORT that others connect to, when it is not the listening address.
    #[arg(long, env = "MIZAN_ADVERTISE")]
    pub advertise: Option<String>,

    /// The instance's id in the registry [default: SERVICE-HOST:PORT].
    #[arg(long, env = "MIZAN_INSTANCE_ID")]
    pub instance_id: Option<String>,

    /// The failure zone, such as a rack or a data centre.
    #[arg(long, env = "MIZAN_ZONE", default_value = "")]
    pub zone: String,

    /// The share of the load relative to other instances, 1 to 1000.
    #[arg(long, env = "MIZAN_WEIGHT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub weight: u32,

    /// The longest a drain may take, in seconds.
    #[arg(long, env = "MIZAN_DRAIN_SECONDS", default_value_t = 30)]
    pub drain_seconds: u64,

    /// How long the registry keeps an instance that is critical before it removes it, in seconds; 0 for
    /// ever. One that lives registers again by itself.
    #[arg(long, env = "MIZAN_DEREGISTER_AFTER_SECONDS", default_value_t = DEREGISTER_AFTER_SECONDS)]
    pub deregister_after_seconds: u64,

    /// Names by which plain HTTP may be called on a loopback address, comma-separated, beside addresses,
    /// localhost and names without a dot: for a proxy on this machine that passes on the name it was
    /// called by.
    #[arg(long, env = "MIZAN_ALLOW_HOST", value_delimiter = ',')]
    pub allow_host: Vec<String>,

    /// Origins of pages that may call the services by gRPC-Web, comma-separated, each as browsers write
    /// it: `https://app.example`. Naming one has the server speak gRPC-Web.
    #[arg(long, env = "MIZAN_CORS_ORIGIN", value_delimiter = ',')]
    pub cors_origin: Vec<String>,

    /// How HTTP/2 is spoken.
    #[command(flatten)]
    pub http2: Http2Args,

    /// What the connections to the registries, and to what a service calls, are made of. No flag:
    /// TCP, unless an embedder says otherwise.
    #[arg(skip = tcp())]
    pub connector: Arc<dyn Connector>,
}

/// A registry's HOST:PORT; empty for none.
fn registry(text: &str) -> Result<String, InvalidAuthority> {
    if text.is_empty() {
        return Ok(String::new());
    }
    Ok(Endpoint::new(text)?.authority().to_owned())
}

fn tcp() -> Arc<dyn Connector> {
    Arc::new(Tcp)
}

impl ServerArgs {
    /// What tests and embedders start from: no flags read, this registry.
    #[must_use]
    pub fn with_registry(registry: Vec<String>) -> Self {
        Self {
            registry,
            advertise: None,
            instance_id: None,
            zone: String::new(),
            weight: 1,
            drain_seconds: 30,
            deregister_after_seconds: DEREGISTER_AFTER_SECONDS,
            allow_host: Vec::new(),
            cors_origin: Vec::new(),
            http2: Http2Args::default(),
            connector: tcp(),
        }
    }

    /// How long the registry keeps an instance that is critical; nothing for ever.
    #[must_use]
    pub fn deregister_after(&self) -> Option<Duration> {
        (self.deregister_after_seconds > 0)
            .then(|| Duration::from_secs(self.deregister_after_seconds))
    }

    /// The longest a drain may take.
    #[must_use]
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}

/// Flags of HTTP/2. What is not said is as the server was built.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Http2Args {
    /// What a client may send on one stream before the handler reads it, in bytes. The connection's
    /// window is 128 times that, unless it is set too [default: 262144].
    #[arg(long, env = "MIZAN_HTTP2_STREAM_WINDOW")]
    pub http2_stream_window: Option<u32>,

    /// The same for all streams of a connection together, in bytes [default: 33554432].
    #[arg(long, env = "MIZAN_HTTP2_CONNECTION_WINDOW")]
    pub http2_connection_window: Option<u32>,

    /// The most calls that one connection may carry at once [default: 1000].
    #[arg(long, env = "MIZAN_HTTP2_STREAMS_MAX")]
    pub http2_streams_max: Option<u32>,

    /// How often a client is asked whether it is still there, in seconds; 0 never asks [default: 20].
    #[arg(long, env = "MIZAN_HTTP2_KEEP_ALIVE_SECONDS")]
    pub http2_keep_alive_seconds: Option<u64>,

    /// How long it has to answer before its connection is closed, in seconds [default: 60].
    #[arg(long, env = "MIZAN_HTTP2_KEEP_ALIVE_TIMEOUT_SECONDS")]
    pub http2_keep_alive_timeout_seconds: Option<u64>,
}

/// Flags of the process itself: where it listens and how it logs.
#[derive(Debug, Clone, clap::Args)]
pub struct ProcessArgs {
    /// What to log: a level, or directives such as `info,mizan=debug`.
    #[arg(long, env = "MIZAN_LOG", default_value = "info")]
    pub log: String,

    /// How to log: JSON lines, text for people, or text on a terminal and JSON elsewhere.
    #[arg(long, env = "MIZAN_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,

    /// Drain when standard input closes, so that a child does not outlive its supervisor.
    #[arg(long, env = "MIZAN_STOP_WITH_STDIN", hide = true)]
    pub stop_with_stdin: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text when standard error is a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// Text for people.
    Pretty,
}

/// Where a process listens: `IP:PORT`, or `unix:PATH` as in gRPC's names.
///
/// ```
/// use mizan::args::{Listen, local};
///
/// assert_eq!("127.0.0.1:7001".parse(), Ok(Listen::Tcp(local(7001))));
/// assert_eq!("unix:/run/a.sock".parse(), Ok(Listen::Unix("/run/a.sock".into())));
/// assert!("localhost".parse::<Listen>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// TCP; port 0 is any that is free.
    Tcp(SocketAddr),
    /// A Unix socket, for the same user alone (mode 0600).
    Unix(PathBuf),
}

/// What was given is no place to listen at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is neither an IP address and a port, such as 127.0.0.1:7001, nor unix:PATH")]
pub struct InvalidListen;

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        match discover::unix_path(text) {
            Some("") => Err(InvalidListen),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| InvalidListen),
        }
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Where a server listens when nobody says.
#[must_use]
pub const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}
