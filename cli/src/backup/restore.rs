//! Putting copies back: all of them, or none.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use jiff::Timestamp;
use store::backup::{self, Alone};

use super::{FILES, Place, readable, told};

/// Puts a backup in place. Nothing of Mizan may be running.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// A folder that `mizan backup` made.
    #[arg(value_name = "FROM")]
    from: PathBuf,

    #[command(flatten)]
    place: Place,

    /// Put what is there aside, into a folder that is named, and the backup in its place.
    #[arg(long)]
    replace: bool,
}

/// Runs `mizan restore`.
pub(crate) fn run(args: &Args) -> ExitCode {
    told("restore", put_back(args))
}

fn put_back(args: &Args) -> Result<String, String> {
    let data = args.place.folder()?;
    let from = &args.from;
    readable(from)?;
    let files: Vec<&str> = FILES
        .into_iter()
        .filter(|name| from.join(name).exists())
        .collect();
    if files.is_empty() {
        return Err(format!("there is no backup in {}", from.display()));
    }
    // Before anything is touched.
    for name in &files {
        backup::check(&from.join(name)).map_err(|e| e.to_string())?;
    }
    backup::make_folder(data)
        .map_err(|e| format!("cannot use the data directory {}: {e}", data.display()))?;
    let mut held = Vec::new();
    for name in FILES {
        let file = data.join(name);
        let alone = Alone::take(&file).map_err(|e| e.to_string())?;
        let alone = alone.ok_or_else(|| {
            format!(
                "{} is in use: stop Mizan first, and anything else that has it open",
                file.display()
            )
        })?;
        held.push((name, alone));
    }
    let there = |(name, alone): &(&str, Alone)| alone.is_there().then(|| data.join(name));
    if let Some(file) = held.iter().find_map(there)
        && !args.replace
    {
        return Err(format!(
            "{} is there already: with --replace it is put aside, and the backup in its place",
            file.display()
        ));
    }
    let lacking = held.iter().filter(|(name, _)| !files.contains(name));
    if let Some(file) = lacking.clone().find_map(there) {
        return Err(format!(
            "the backup has no {}, which is here, and the files belong together: use a whole backup, or move {} away first",
            file.file_name().unwrap_or_default().to_string_lossy(),
            file.display()
        ));
    }
    let aside = held.iter().find_map(there).is_some();
    let aside = aside.then(|| free_name(data));
    let failed = |e: io::Error| format!("cannot use the data directory {}: {e}", data.display());
    backup::mark_folder(data).map_err(failed)?;
    let done = place(&mut held, &files, from, data, aside.as_deref());
    if let Err(error) = done {
        let mut words = format!("cannot put the backup into {}: {error}", data.display());
        let mut undone = true;
        for (_, alone) in held.iter_mut().rev() {
            if let Err(error) = alone.undo() {
                undone = false;
                words.push_str(&format!("; and what was there cannot be put back: {error}"));
                break;
            }
        }
        if undone && let Err(error) = backup::unmark_folder(data) {
            words.push_str(&format!("; {}", failed(error)));
        }
        return Err(words);
    }
    backup::unmark_folder(data).map_err(failed)?;
    let mut text = String::new();
    for name in &files {
        text.push_str(&format!("{name}  restored\n"));
    }
    for name in FILES.iter().filter(|name| !files.contains(name)) {
        text.push_str(&format!("{name}  is not in the backup\n"));
    }
    if let Some(aside) = aside {
        text.push_str(&format!("what was there is in {}\n", aside.display()));
    }
    Ok(text)
}

/// A folder for what was there, by the time.
fn free_name(data: &Path) -> PathBuf {
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let names = (1_u32..).map(|n| match n {
        1 => format!("replaced-{now}"),
        n => format!("replaced-{now}-{n}"),
    });
    let mut free = names.map(|name| data.join(name)).filter(|f| !f.exists());
    free.next().unwrap_or_else(|| data.join("replaced"))
}

/// Puts what is there aside, and the copies in place. Until the last step of all, what was done can
/// be undone; and until then a file that is opened is refused, since it is not what was acknowledged.
fn place(
    held: &mut [(&str, Alone)],
    files: &[&str],
    from: &Path,
    data: &Path,
    aside: Option<&Path>,
) -> io::Result<()> {
    let wanted = |name: &str| files.contains(&name);
    for (name, alone) in held.iter_mut() {
        if wanted(name) {
            alone.bring(&from.join(name))?;
        }
    }
    if let Some(aside) = aside {
        backup::make_folder(aside)?;
        // Also what the backup has nothing of: the files belong together.
        for (_, alone) in held.iter_mut() {
            alone.put_aside(aside)?;
        }
        backup::sync_folder(aside)?;
    }
    for (name, alone) in held.iter_mut() {
        if wanted(name) {
            alone.place()?;
        }
    }
    backup::sync_folder(data)?;
    for (_, alone) in held.iter() {
        alone.settle()?;
    }
    Ok(())
}
