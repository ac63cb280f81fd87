//! The services that are measured: the `mizan` program of this build.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::Error;

/// The path of the program, built first where cargo is, with this program's own profile.
///
/// # Errors
/// When it does not build, or is not beside this program.
pub fn program() -> Result<PathBuf, Error> {
    let this = env::current_exe()?;
    let folder = this.parent().ok_or("no folder")?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut build = Command::new("cargo");
    build
        .args(["build", "--locked", "--quiet"])
        .args(["--package", "mizan-cli", "--bin", "mizan"])
        .arg("--target-dir")
        .arg(folder.parent().ok_or("no target folder")?)
        .current_dir(workspace);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    match build.status() {
        Ok(status) if !status.success() => return Err("the mizan program does not build".into()),
        // Without cargo, what is there is taken.
        Ok(_) | Err(_) => {}
    }
    let program = folder.join("mizan");
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
