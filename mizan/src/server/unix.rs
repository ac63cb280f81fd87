//! Unix sockets: for callers on the same machine, by the permissions of a file.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::{Errno, ioctl_fionbio},
    net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket},
};
use tokio::net::{UnixListener, UnixSocket};

use super::listen::{Accept, Accepted, Accepting};

/// How many connections may wait to be accepted, as for TCP.
const BACKLOG: u32 = 1024;

/// How long others who bind in the same folder are waited for: each takes well under a millisecond.
const ALONE_WITHIN: Duration = Duration::from_secs(1);

/// Before it is looked again.
const ALONE_AGAIN: Duration = Duration::from_millis(2);

/// A listening Unix socket. Handlers find tonic's `UdsConnectInfo` in the extensions of a request,
/// with the process at the other end. The file is removed when this is dropped.
///
/// There is no host and port by which others could reach it, so the server registers only if told
/// one to advertise.
#[derive(Debug)]
pub struct Unix {
    listener: UnixListener,
    path: PathBuf,
    /// Device and number of the file, by which it is known to be still ours.
    file: (u64, u64),
}

impl Unix {
    /// Listens at a path. Who may connect is who may write the file: `mode` is its permissions, such
    /// as `0o600` for the same user alone, and holds before anybody can connect. A socket that a
    /// process left there which no longer listens is replaced.
    ///
    /// # Errors
    /// `AddrInUse` where somebody listens there, `AlreadyExists` where there is a file that is no
    /// socket, `ResourceBusy` where another process locks the folder for a second, or the system's.
    pub fn bind(path: impl Into<PathBuf>, mode: u32) -> io::Result<Self> {
        let path = path.into();
        // Between here and `listen` another process would take the socket for one left behind.
        let _alone = alone(&path)?;
        make_way(&path)?;
        let socket = UnixSocket::new_stream()?;
        socket.bind(&path)?;
        // Until `listen` nobody can connect, whatever the permissions.
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        let file = identity(&path)?;
        let listener = socket.listen(BACKLOG)?;
        Ok(Self {
            listener,
            path,
            file,
        })
    }
}

impl Drop for Unix {
    fn drop(&mut self) {
        // Another one may have taken the place since.
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Accept for Unix {
    fn accept(&self) -> Accepting<'_> {
        Box::pin(async move {
            let (stream, _) = self.listener.accept().await?;
            Ok(Accepted::connected(stream))
        })
    }

    fn place(&self) -> String {
        format!("unix:{}", self.path.display())
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Holds off others who bind in the same folder, until it is dropped. Nothing where a folder cannot
/// be read or locked: then two that start in the same instant may take the place from each other.
#[expect(
    clippy::disallowed_methods,
    reason = "the bind of a socket does not wait elsewhere, and so not long"
)]
fn alone(path: &Path) -> io::Result<Option<File>> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) else {
        return Ok(None);
    };
    let end = Instant::now() + ALONE_WITHIN;
    loop {
        match folder.try_lock() {
            Ok(()) => return Ok(Some(folder)),
            Err(TryLockError::Error(_)) => return Ok(None),
            Err(TryLockError::WouldBlock) if Instant::now() >= end => {
                let text = "another process holds the lock of its folder";
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(ALONE_AGAIN),
        }
    }
}

/// Connects, to learn whether somebody listens, without waiting where too many wait already.
fn knock(path: &Path) -> Result<(), Errno> {
    let door = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    ioctl_fionbio(&door, true)?;
    connect(&door, &SocketAddrUnix::new(path)?)
}

/// Removes a socket to which nobody listens any more.
fn make_way(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            let text = "there is a file that is no socket; remove it or choose another path";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        Ok(_) => {}
    }
    match knock(path) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path),
        Err(Errno::NOENT) => Ok(()),
        // Full, or not for us: somebody listens.
        Ok(()) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as Plain;

    use super::*;

    #[tokio::test]
    async fn a_socket_at_which_too_many_wait_is_in_use_and_nobody_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let busy = UnixSocket::new_stream().unwrap();
        busy.bind(&path).unwrap();
        let busy = busy.listen(1).unwrap();
        let mut waiting = Vec::new();
        loop {
            let door = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
            ioctl_fionbio(&door, true).unwrap();
            let came = connect(&door, &SocketAddrUnix::new(&path).unwrap());
            waiting.push(door);
            if came.is_err() {
                break;
            }
        }
        let refused = Unix::bind(&path, 0o600).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop(busy);
    }

    #[test]
    fn of_many_that_start_where_one_was_killed_one_listens_and_can_be_reached() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _entered = runtime.enter();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        for _ in 0..50 {
            drop(Plain::bind(&path).unwrap());
            let begin = std::sync::Barrier::new(4);
            let bind = || {
                let _entered = runtime.enter();
                begin.wait();
                Unix::bind(&path, 0o600)
            };
            let bound: Vec<_> = thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(bind)).collect();
                threads.into_iter().map(|t| t.join().unwrap()).collect()
            });
            assert_eq!(bound.iter().filter(|bound| bound.is_ok()).count(), 1);
            std::os::unix::net::UnixStream::connect(&path).unwrap();
        }
    }

    #[test]
    fn a_folder_that_somebody_locks_is_waited_for_and_not_for_ever() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _entered = runtime.enter();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let held = File::open(folder.path()).unwrap();
        held.lock().unwrap();
        let refused = Unix::bind(&path, 0o600).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
        drop(held);
        Unix::bind(&path, 0o600).unwrap();
    }
}
