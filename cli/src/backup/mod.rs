//! `mizan backup` and `mizan restore`: copies of what is kept, made while everything runs.
//!
//! *In which order.* A payment refers to an invoice and to a transaction, and neither of these to a
//! payment. So payments are copied first: whatever a copy refers to was written before it was, and is
//! in the copies made after it. What a later copy holds beyond that is of payments that go on by
//! themselves, with the same ids, once the copies are served.

mod restore;

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use store::backup;

pub(crate) use restore::{Args as RestoreArgs, run as restore};

use crate::terminal::{print, say};

/// The files, in the order in which they are copied.
const FILES: [&str; 4] = [
    payment_svc::FILE,
    invoice_svc::FILE,
    accounting_svc::store::FILE,
    registry::FILE,
];

/// Where everything is kept.
#[derive(Debug, Clone, clap::Args)]
struct Place {
    /// Where all state is kept.
    #[arg(long, env = "MIZAN_DATA", default_value = ".mizan", value_name = "DIR")]
    data: PathBuf,

    /// A PostgreSQL server that holds the books instead: it is backed up there, with pg_dump.
    #[arg(
        long,
        env = "MIZAN_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    database_url: Option<String>,
}

impl Place {
    /// The folder, unless the books are elsewhere.
    fn folder(&self) -> Result<&Path, String> {
        match &self.database_url {
            None => Ok(&self.data),
            Some(_) => Err(format!(
                "the books are on PostgreSQL (MIZAN_DATABASE_URL): back them up and restore them \
                 there, with pg_dump and pg_restore. For the files in {}, run this without it",
                self.data.display()
            )),
        }
    }
}

/// Copies what is kept to a new folder, while everything runs or not.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The folder to make.
    #[arg(value_name = "TO")]
    to: PathBuf,

    #[command(flatten)]
    place: Place,
}

/// Runs `mizan backup`.
pub(crate) fn run(args: &Args) -> ExitCode {
    told("backup", back_up(args))
}

/// What was done, or one line that says why nothing was.
fn told(command: &str, done: Result<String, String>) -> ExitCode {
    match done {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(line) => {
            say(&format!("mizan {command}: {line}"));
            ExitCode::FAILURE
        }
    }
}

/// Refuses a folder that is there and cannot be looked into: what is in it is not to be taken for
/// missing.
fn readable(folder: &Path) -> Result<(), String> {
    match folder.read_dir() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("cannot read {}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn back_up(args: &Args) -> Result<String, String> {
    let data = args.place.folder()?;
    readable(data)?;
    if let Some(gone) = FILES
        .iter()
        .find(|name| backup::is_missing(&data.join(name)))
    {
        return Err(format!(
            "{} is gone, though its anchor is there: a backup without it would not be whole. Restore a backup (`mizan restore`), or remove the anchor to do without it",
            data.join(gone).display()
        ));
    }
    let files: Vec<&str> = FILES
        .into_iter()
        .filter(|name| data.join(name).exists())
        .collect();
    if files.is_empty() {
        return Err(format!("there is nothing to copy in {}", data.display()));
    }
    let to = &args.to;
    if fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
        let to = to.display();
        return Err(format!(
            "{to} is not empty: name a folder that is to be made"
        ));
    }
    // Beside it, so that it can be renamed; then either all of it is there or nothing.
    let beside = unfinished(to)?;
    backup::make_folder(&beside)
        .map_err(|e| format!("cannot make the folder {}: {e}", beside.display()))?;
    let copied = copy(data, &files, &beside).and_then(|lines| {
        let parent = to.parent().unwrap_or(Path::new(""));
        backup::sync_folder(&beside)
            .and_then(|()| fs::rename(&beside, to))
            .and_then(|()| backup::sync_folder(parent))
            .map_err(|e| format!("cannot make the folder {}: {e}", to.display()))?;
        Ok(lines)
    });
    if copied.is_err() {
        // What was copied so far is of no use; why it failed is what is told.
        let _ = fs::remove_dir_all(&beside);
    }
    copied
}

/// The name of a folder until it is finished.
fn unfinished(folder: &Path) -> Result<PathBuf, String> {
    let name = folder.file_name();
    let name = name.ok_or_else(|| format!("{} is no name of a folder", folder.display()))?;
    let mut beside = OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.unfinished", std::process::id()));
    Ok(folder.with_file_name(beside))
}

fn copy(data: &Path, files: &[&str], to: &Path) -> Result<String, String> {
    let mut lines = String::new();
    for name in files {
        let copy = to.join(name);
        backup::copy(&data.join(name), &copy).map_err(|e| e.to_string())?;
        let bytes = fs::metadata(&copy).map_or(0, |copy| copy.len());
        lines.push_str(&format!("{name}  {} KiB\n", bytes.div_ceil(1024)));
    }
    Ok(lines)
}
