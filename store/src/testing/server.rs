//! A PostgreSQL server of one's own: started, killed, started again.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use rustix::process::{Pid, Signal, geteuid, kill_process};

/// Starts the server, says so, and waits for its standard input to end, which it does when the
/// process that started it ends, however that ends. Then the server is stopped and its folder
/// removed, unless a line says to keep it.
///
/// A server that was killed may leave processes behind that hold its memory for a moment, and is
/// refused a start until they are gone.
const KEEPER: &str = r#"
trap '' INT TERM
tries=0
until "$BIN/pg_ctl" start -w -t 120 -s -D "$FOLDER/data" -l "$FOLDER/log" -o "$OPTIONS"; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || exit 1
    sleep 0.1
done >"$FOLDER/pg_ctl" 2>&1
echo started
read -r word
[ "$word" != keep ] || exit 0
"$BIN/pg_ctl" stop -m immediate -s -D "$FOLDER/data" >/dev/null 2>&1
rm -rf "$FOLDER"
"#;

/// How a server of one's own is set up.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Whether commits are synced to the disk. Off is quicker, and loses nothing when processes are
    /// killed; measuring, and a cut of power, need it on.
    pub sync: bool,
    /// Further settings, as in `postgresql.conf`: name and value.
    pub more: Vec<(&'static str, String)>,
}

/// A PostgreSQL server in a temporary folder; dropped, it is gone.
#[derive(Debug)]
pub struct Server {
    programs: PathBuf,
    folder: PathBuf,
    options: String,
    /// Whom the server runs as: PostgreSQL refuses to run as root.
    user: Option<(u32, u32)>,
    keeper: Option<(Child, ChildStdin)>,
}

impl Server {
    /// Starts one. `None`, and a word on stderr, where no PostgreSQL is installed.
    ///
    /// # Panics
    /// When `MIZAN_TEST_POSTGRES=required` and there is none; when there is one and it does not
    /// start.
    #[must_use]
    pub fn start(settings: &Settings) -> Option<Self> {
        let Some(programs) = programs() else {
            super::skip("there is no /usr/lib/postgresql/*/bin/postgres");
            return None;
        };
        let user = geteuid().is_root().then(somebody);
        let folder = tempfile::Builder::new()
            .prefix("mizan-postgres-")
            .tempdir()
            .expect("a temporary folder")
            .keep();
        if let Some((user, group)) = user {
            chown(&folder, Some(user), Some(group)).expect("root may give a folder away");
        }
        let mut options = format!(
            "-k {} -c listen_addresses='' -c max_connections=300 -c shared_buffers=64MB",
            folder.display()
        );
        if !settings.sync {
            options += " -c fsync=off -c full_page_writes=off";
        }
        for (name, value) in &settings.more {
            options += &format!(" -c {name}={value}");
        }
        let mut server = Self {
            programs,
            folder,
            options,
            user,
            keeper: None,
        };
        server.make();
        server.run();
        Some(server)
    }

    /// The URL of the server's own database `postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "postgres:///postgres?host={}&user=postgres",
            self.folder.display()
        )
    }

    /// Makes a fresh, empty database, and returns its URL.
    pub async fn database(&self) -> String {
        super::fresh(&self.url()).await
    }

    /// Kills every process of the server, as `kill -9` does.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let postmaster = self.pid();
        let children = format!("/proc/{postmaster}/task/{postmaster}/children");
        let children = fs::read_to_string(children).unwrap_or_default();
        // The first first: it would start the others again.
        for process in [postmaster].into_iter().chain(
            children
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok()),
        ) {
            if let Some(process) = Pid::from_raw(process) {
                // A child may have ended by itself.
                let _ = kill_process(process, Signal::KILL);
            }
        }
        self.leave();
    }

    /// Starts a server that was killed, on the same files and at the same address.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.leave();
        self.run();
    }

    /// The process id of the server, and of none of its children.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> i32 {
        let file = self.folder.join("data/postmaster.pid");
        let text = fs::read_to_string(file).expect("the server runs");
        let first = text.lines().next().unwrap_or_default();
        first.trim().parse().expect("a process id")
    }

    fn make(&self) {
        let made = self
            .command(&self.programs.join("initdb"))
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8"])
            .args(["--no-locale", "--no-sync", "-D"])
            .arg(self.folder.join("data"))
            .output()
            .expect("initdb runs");
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
    }

    fn run(&mut self) {
        let mut keeper = self
            .command(Path::new("/bin/sh"))
            .args(["-c", KEEPER])
            .env("BIN", &self.programs)
            .env("FOLDER", &self.folder)
            .env("OPTIONS", &self.options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let stdin = keeper.stdin.take().expect("piped");
        let stdout = keeper.stdout.take().expect("piped");
        let mut said = String::new();
        let _ = BufReader::new(stdout).read_line(&mut said);
        assert_eq!(
            said.trim(),
            "started",
            "PostgreSQL does not start: {} {}",
            fs::read_to_string(self.folder.join("pg_ctl")).unwrap_or_default(),
            fs::read_to_string(self.folder.join("log")).unwrap_or_default(),
        );
        self.keeper = Some((keeper, stdin));
    }

    /// Lets the keeper go, and keeps the folder.
    fn leave(&mut self) {
        if let Some((mut keeper, mut stdin)) = self.keeper.take() {
            let _ = stdin.write_all(b"keep\n");
            drop(stdin);
            let _ = keeper.wait();
        }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // PostgreSQL looks at where it stands.
        command.current_dir(&self.folder);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match self.keeper.take() {
            Some((mut keeper, stdin)) => {
                drop(stdin);
                let _ = keeper.wait();
            }
            // Killed and not restarted: nobody else removes it.
            None => {
                let _ = fs::remove_dir_all(&self.folder);
            }
        }
    }
}

/// The newest PostgreSQL that Debian has installed.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let installed = versions.filter_map(|version| {
        let version = version.ok()?;
        let number: u32 = version.file_name().to_str()?.parse().ok()?;
        let programs = version.path().join("bin");
        ["initdb", "postgres", "pg_ctl"]
            .iter()
            .all(|program| programs.join(program).exists())
            .then_some((number, programs))
    });
    installed.max().map(|(_, programs)| programs)
}

/// User and group of one who is not root, for what is to run as such when we are.
pub(super) fn somebody() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    for name in ["postgres", "nobody"] {
        for line in users.lines() {
            let mut fields = line.split(':');
            if fields.next() == Some(name)
                && let Some(user) = fields.nth(1).and_then(|field| field.parse().ok())
                && let Some(group) = fields.next().and_then(|field| field.parse().ok())
            {
                return (user, group);
            }
        }
    }
    panic!("PostgreSQL refuses to run as root, and there is neither user postgres nor nobody")
}
