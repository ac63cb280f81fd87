//! The registries, each a process with a port and a folder of its own.

use std::{
    env, fmt, fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{net::TcpStream, time::sleep};

use crate::{Error, services};

/// Where nothing touches a disk.
const MEMORY: &str = "/dev/shm";

/// Who takes part, and how durable it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Mizan, durable before it answers.
    Mizan,
    /// Mizan without a folder.
    MizanMemory,
    /// etcd, durable before it answers: its default.
    Etcd,
    /// etcd with its folder in memory.
    EtcdMemory,
    /// r-nacos with persistent instances: it answers before it writes them, and never syncs.
    NacosPersistent,
    /// r-nacos with ephemeral instances, which it never writes.
    Nacos,
}

/// Where the others are: names to be found in `PATH`, or paths.
#[derive(Debug, Clone, clap::Args)]
pub struct Programs {
    /// The program of etcd.
    #[arg(long, value_name = "PROGRAM", default_value = "etcd")]
    etcd: PathBuf,
    /// The program of r-nacos.
    #[arg(long, value_name = "PROGRAM", default_value = "rnacos")]
    rnacos: PathBuf,
    /// The program of our registry: one of another build, say, to measure before and after a change
    /// by the same load. The one beside this program by default.
    #[arg(long, value_name = "PROGRAM")]
    mizan: Option<PathBuf>,
}

impl Default for Programs {
    fn default() -> Self {
        Self {
            etcd: "etcd".into(),
            rnacos: "rnacos".into(),
            mizan: None,
        }
    }
}

impl Programs {
    /// With a program of our registry, built if need be.
    ///
    /// # Errors
    /// When it does not build, or is not beside this program.
    pub(super) fn with_ours(&self) -> Result<Self, Error> {
        let mut programs = self.clone();
        if programs.mizan.is_none() {
            programs.mizan = Some(services::program("registry", "registry")?);
        }
        Ok(programs)
    }

    /// The program of one of them.
    fn of(&self, kind: Kind) -> Option<&Path> {
        match kind {
            Kind::Mizan | Kind::MizanMemory => self.mizan.as_deref(),
            Kind::Etcd | Kind::EtcdMemory => Some(&self.etcd),
            Kind::NacosPersistent | Kind::Nacos => Some(&self.rnacos),
        }
    }

    /// Why it cannot take part.
    pub(super) fn missing(&self, kind: Kind) -> Option<String> {
        let program = self.of(kind)?;
        let paths = env::var_os("PATH").unwrap_or_default();
        // A path with a folder in it stays as it is.
        let found = match program.components().nth(1) {
            Some(_) => program.is_file(),
            None => env::split_paths(&paths).any(|path| path.join(program).is_file()),
        };
        let memory = kind != Kind::EtcdMemory || Path::new(MEMORY).is_dir();
        match (found, memory) {
            (false, _) => Some(format!("there is no `{}`", program.display())),
            (_, false) => Some(format!("there is no {MEMORY}")),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mizan => "Mizan, durable",
            Self::MizanMemory => "Mizan, in memory",
            Self::Etcd => "etcd, durable",
            Self::EtcdMemory => "etcd, folder in memory",
            Self::NacosPersistent => "r-nacos, persistent",
            Self::Nacos => "r-nacos, ephemeral",
        })
    }
}

impl Kind {
    /// All of them, by durability.
    pub(super) const ALL: [Self; 6] = [
        Self::Mizan,
        Self::Etcd,
        Self::MizanMemory,
        Self::EtcdMemory,
        Self::NacosPersistent,
        Self::Nacos,
    ];

    /// Whether it is etcd, however durable.
    pub(super) fn is_etcd(self) -> bool {
        matches!(self, Self::Etcd | Self::EtcdMemory)
    }

    /// Whether it is r-nacos, however durable.
    pub(super) fn is_nacos(self) -> bool {
        matches!(self, Self::Nacos | Self::NacosPersistent)
    }
}

/// A running registry; dropped, it ends.
#[derive(Debug)]
pub(super) struct Server {
    kind: Kind,
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Server {
    /// Starts one and waits until it accepts.
    ///
    /// # Errors
    /// A process that could not be started or does not come up.
    pub(super) async fn start(kind: Kind, programs: &Programs) -> Result<Self, Error> {
        let folder = match kind {
            Kind::EtcdMemory => TempDir::new_in(MEMORY)?,
            _ => TempDir::new()?,
        };
        let (port, further) = free_ports()?;
        let program = programs.of(kind).ok_or("a registry without a program")?;
        let mut command = Command::new(program);
        let (own, other) = (
            format!("http://127.0.0.1:{port}"),
            format!("http://127.0.0.1:{further}"),
        );
        match kind {
            Kind::Mizan | Kind::MizanMemory => {
                let data = match kind {
                    Kind::Mizan => folder.path(),
                    _ => Path::new(""),
                };
                let listen = format!("127.0.0.1:{port}");
                command.args(["--listen", &listen, "--log", "warn"]);
                command.arg("--data").arg(data);
            }
            Kind::Etcd | Kind::EtcdMemory => {
                command.arg("--data-dir").arg(folder.path());
                command.args([
                    "--listen-client-urls",
                    &own,
                    "--advertise-client-urls",
                    &own,
                ]);
                command.args(["--listen-peer-urls", &other]);
                command.args(["--initial-advertise-peer-urls", &other]);
                command.args(["--initial-cluster", &format!("default={other}")]);
                command.args(["--log-level", "error"]);
            }
            Kind::NacosPersistent | Kind::Nacos => {
                let console = free_ports()?.0;
                command.current_dir(folder.path());
                command.env("RNACOS_DATA_DIR", folder.path());
                command.env("RNACOS_CONFIG_DB_DIR", folder.path());
                command.env("RNACOS_HTTP_PORT", further.to_string());
                command.env("RNACOS_GRPC_PORT", port.to_string());
                command.env("RNACOS_HTTP_CONSOLE_PORT", console.to_string());
                // It probes persistent instances itself; not while it is measured.
                command.env(
                    "RNACOS_NAMING_PERPETUAL_INSTANCE_PROBE_INTERVAL_SECOND",
                    "3600",
                );
                command.env("RUST_LOG", "error");
            }
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut server = Self {
            kind,
            child,
            port,
            _folder: folder,
        };
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .is_err()
        {
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("{kind} ended with {status}").into());
            }
            if Instant::now() > end {
                return Err(format!("{kind} does not accept connections").into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }

    /// Who it is.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it speaks gRPC.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Its resident memory, in KiB.
    ///
    /// # Errors
    /// A process that is gone.
    pub(super) fn resident(&self) -> Result<u64, Error> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(number.ok_or("no VmRSS")?.parse()?)
    }

    /// The processor time that it used so far.
    ///
    /// # Errors
    /// A process that is gone.
    pub(super) fn cpu_time(&self) -> Result<Duration, Error> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
        // A hundred a second, on every Linux there is.
        Ok(Duration::from_millis(ticks * 10))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that is gone already needs no ending.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two ports that nobody listens on.
fn free_ports() -> Result<(u16, u16), Error> {
    let one = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok((one.local_addr()?.port(), other.local_addr()?.port()))
}
