//! The `mizan` binary of this build.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The path of the binary, built first if it is not up to date: cargo builds another package's
/// binary for nobody's tests.
#[must_use]
pub fn mizan() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        // …/target/PROFILE/deps/TEST or …/target/PROFILE/PROGRAM; the binary is in …/target/PROFILE.
        let this = env::current_exe().unwrap();
        let folder = this.parent().unwrap();
        let folder = match folder.ends_with("deps") {
            true => folder.parent().unwrap(),
            false => folder,
        };
        let mut build = Command::new(env!("CARGO"));
        build.args([
            "build",
            "--locked",
            "--quiet",
            "--package",
            "mizan-cli",
            "--bin",
            "mizan",
        ]);
        build.arg("--target-dir").arg(folder.parent().unwrap());
        if folder.ends_with("release") {
            build.arg("--release");
        }
        let built = build
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(built.success(), "the mizan binary does not build");
        folder.join("mizan")
    })
}
