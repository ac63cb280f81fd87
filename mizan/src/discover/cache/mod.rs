//! A list kept in a file, for a client that restarts while its source is away.

mod file;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};

use super::{Discover, Discovering, Endpoint, Updates, updates::Heard};

/// How old a file may be: a day, the longest that the instances of a service that is deployed now
/// and then are likely to stand where they stood.
const AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long reading may take: a disk that hangs must not hold up a source that works.
const READING_MAX: Duration = Duration::from_secs(1);

/// At most one write in this time; the latest list wins.
const WRITE_PAUSE: Duration = Duration::from_secs(1);

/// How often the time in the file is renewed while the list does not change.
const RENEWAL: Duration = Duration::from_secs(60);

/// Larger files are not read: no list of instances is that long.
const FILE_LEN_MAX: u64 = 16 << 20;

/// A source whose latest list is kept in a file, one file for each service.
///
/// A client that restarts begins with the list in the file at once, marked as recalled and with its
/// age, until the source speaks; never does it override an answer of the source. A file that is
/// corrupt, foreign, or older than a day is ignored with a warning.
#[derive(Debug)]
pub struct Cached {
    source: Box<dyn Discover>,
    path: PathBuf,
    age_max: Duration,
}

impl Cached {
    /// Keeps what `source` says at `path`. The folder must exist and be writable: the file is
    /// replaced as a whole, through another one beside it.
    pub fn new(source: impl Discover, path: impl Into<PathBuf>) -> Self {
        Self::boxed(Box::new(source), path)
    }

    /// The same for a source that is boxed already.
    pub fn boxed(source: Box<dyn Discover>, path: impl Into<PathBuf>) -> Self {
        Self {
            source,
            path: path.into(),
            age_max: AGE_MAX,
        }
    }

    /// The oldest file that is used. 24 h by default.
    #[must_use]
    pub fn age_max(mut self, age_max: Duration) -> Self {
        self.age_max = age_max;
        self
    }
}

impl Discover for Cached {
    fn discover(self: Box<Self>, service: String, updates: Updates) -> Discovering {
        Box::pin(async move {
            let Self {
                source,
                path,
                age_max,
            } = *self;
            if let Some((endpoints, age)) = recalled(&path, &service, age_max).await {
                tracing::info!(%service, instances = endpoints.len(), age_s = age.as_secs(), "beginning with the instances known last time");
                updates.recall(endpoints, age);
            }
            let heard = updates.heard();
            let keeping = keep(heard, service.clone(), path);
            // The list of a source that ends stays, and so does the file.
            tokio::join!(source.discover(service, updates), keeping);
        })
    }
}

/// The list in the file, unless it is empty: that would keep calls from waiting for the source.
async fn recalled(
    path: &Path,
    service: &str,
    age_max: Duration,
) -> Option<(Vec<Endpoint>, Duration)> {
    let unused = |reason: &dyn std::fmt::Display| {
        tracing::warn!(%service, path = %path.display(), %reason, "discovery's cache is not used");
    };
    let owned = path.to_owned();
    let bytes = match timeout(READING_MAX, spawn_blocking(move || read(&owned))).await {
        Ok(Ok(Ok(bytes))) => bytes,
        Ok(Ok(Err(error))) if error.kind() == io::ErrorKind::NotFound => return None,
        Ok(Ok(Err(error))) => {
            unused(&error);
            return None;
        }
        Ok(Err(error)) => {
            unused(&error);
            return None;
        }
        Err(_) => {
            unused(&"it takes too long to read");
            return None;
        }
    };
    match file::decode(&bytes, service, since_1970(), age_max) {
        Ok((endpoints, age)) => (!endpoints.is_empty()).then_some((endpoints, age)),
        Err(reason) => {
            unused(&reason);
            None
        }
    }
}

/// Writes what the source vouches for, for as long as it is run.
async fn keep(mut heard: Heard, service: String, path: PathBuf) {
    let mut written: Option<(Vec<Endpoint>, Instant)> = None;
    let mut failing = false;
    while let Some(endpoints) = heard.next().await {
        let current = written
            .as_ref()
            .is_some_and(|(last, at)| *last == endpoints && at.elapsed() < RENEWAL);
        if current {
            continue;
        }
        let bytes = file::encode(&service, &endpoints, since_1970());
        let owned = path.clone();
        let result = match spawn_blocking(move || write(&owned, &bytes)).await {
            Ok(result) => result,
            Err(error) => Err(io::Error::other(error)),
        };
        match result {
            Ok(()) => {
                written = Some((endpoints, Instant::now()));
                failing = false;
            }
            // Said once, not at every try.
            Err(error) => {
                if !failing {
                    tracing::warn!(%service, path = %path.display(), %error, "discovery's cache cannot be written");
                }
                failing = true;
            }
        }
        sleep(WRITE_PAUSE).await;
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let len = fs::metadata(path)?.len();
    if len > FILE_LEN_MAX {
        let message = format!("it has {len} bytes, more than {FILE_LEN_MAX}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    fs::read(path)
}

/// Whole or not at all: readers see the file before or the file after.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(
        ".{}-{:08x}.tmp",
        std::process::id(),
        fastrand::u32(..)
    ));
    let beside = PathBuf::from(beside);
    let written = fs::File::create_new(&beside).and_then(|mut file| {
        io::Write::write_all(&mut file, bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    if written.is_err() {
        // What cannot be removed either is left to who cleans up the folder.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
