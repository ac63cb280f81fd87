//! Unix sockets: for callers on the same machine, by the permissions of a file.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixSocket};

use super::listen::{Accept, Accepted, Accepting};

/// How many connections may wait to be accepted, as for TCP.
const BACKLOG: u32 = 1024;

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
    /// socket, or the system's.
    pub fn bind(path: impl Into<PathBuf>, mode: u32) -> io::Result<Self> {
        let path = path.into();
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
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Full, or not for us: somebody listens.
        Ok(_) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}
