//! The services that are measured: the `mizan` program of this build, and where they keep their state.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use store::testing::{Server, Settings};
use tempfile::TempDir;

use crate::{Error, stats, usage};

/// What durable services are measured with.
#[derive(Debug)]
pub struct Ground {
    /// Where files are kept; gone when this is dropped.
    pub folder: TempDir,
    /// The program.
    pub program: PathBuf,
    /// A PostgreSQL of this run's own that syncs, where one is installed.
    pub postgres: Option<Server>,
}

impl Ground {
    /// Makes it, and says how long a sync takes here.
    ///
    /// # Errors
    /// What does not start or build.
    pub async fn prepare(output: &mut impl Write) -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        let sync = usage::sync_time(folder.path())?;
        writeln!(
            output,
            "fdatasync of 4 KiB takes {:.0} µs in {}.\n",
            stats::micros_each(sync, 1),
            folder.path().parent().unwrap_or(folder.path()).display(),
        )?;
        let program = program("mizan-cli", "mizan")?;
        let postgres = tokio::task::spawn_blocking(|| {
            Server::start(&Settings {
                sync: true,
                ..Settings::default()
            })
        });
        Ok(Self {
            folder,
            program,
            postgres: postgres.await?,
        })
    }
}

/// The path of a program of a package of ours, built first where cargo is, with this program's own
/// profile.
///
/// # Errors
/// When it does not build, or is not beside this program.
pub fn program(package: &str, name: &str) -> Result<PathBuf, Error> {
    let this = env::current_exe()?;
    let folder = this.parent().ok_or("no folder")?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut build = Command::new("cargo");
    build
        .args(["build", "--locked", "--quiet"])
        .args(["--package", package, "--bin", name])
        .arg("--target-dir")
        .arg(folder.parent().ok_or("no target folder")?)
        .current_dir(workspace);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    match build.status() {
        Ok(status) if !status.success() => return Err(format!("{name} does not build").into()),
        // Without cargo, what is there is taken.
        Ok(_) | Err(_) => {}
    }
    let program = folder.join(name);
    if program.exists() {
        Ok(program)
    } else {
        Err(format!("there is no {}", program.display()).into())
    }
}

/// Whether a service of the program can keep its state on PostgreSQL.
#[must_use]
pub fn takes_a_server(program: &Path, service: &str) -> bool {
    let help = Command::new(program).args([service, "--help"]).output();
    help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--database-url"))
}
