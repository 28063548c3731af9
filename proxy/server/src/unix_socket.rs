//! Unix sockets at a path: bound with their permissions, and taken from a process that has ended.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt, chown},
        net::{UnixListener, UnixStream},
    },
    path::Path,
};

use nix::unistd::{Group, User};
use socket2::{Domain, SockAddr, Socket, Type};
use weir_config::SocketFile;

const BACKLOG: i32 = 128;

/// Listens at a path. The socket file of a process that has ended is replaced; one that is in use is an error.
///
/// # Errors
/// Of the system, or an owner that does not exist.
pub fn bind(path: &Path, file: &SocketFile) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_left(path) => {
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    // Nothing can connect before the socket listens: the permissions are those wanted from the first moment.
    permit(path, file).inspect_err(|_| drop(fs::remove_file(path)))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Gives the socket file its owner and mode.
///
/// # Errors
/// Of the system, or an owner that does not exist.
pub fn permit(path: &Path, file: &SocketFile) -> io::Result<()> {
    let (owner, group) = owners(file)?;
    if owner.is_some() || group.is_some() {
        chown(path, owner, group)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(file.mode))
}

/// The numbers of a socket's user and group.
///
/// # Errors
/// The account does not exist.
pub fn owners(file: &SocketFile) -> io::Result<(Option<u32>, Option<u32>)> {
    let user = |name: &str| Ok(User::from_name(name)?.map(|user| user.uid.as_raw()));
    let group = |name: &str| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()));
    let owner = file.owner.as_deref().map(|name| number("user", name, user)).transpose()?;
    Ok((owner, file.group.as_deref().map(|name| number("group", name, group)).transpose()?))
}

fn number(kind: &str, name: &str, find: impl Fn(&str) -> nix::Result<Option<u32>>) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    find(name)?.ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("there is no {kind} `{name}`")))
}

/// A socket on which no process listens any more.
fn is_left(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    is_socket && UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: u32) -> SocketFile {
        SocketFile { mode, ..SocketFile::default() }
    }

    #[test]
    fn a_socket_that_was_left_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let first = bind(&path, &file(0o600)).unwrap();
        assert_eq!(mode(), 0o600);
        assert_eq!(bind(&path, &file(0o600)).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(first);
        drop(bind(&path, &file(0o660)).unwrap());
        assert_eq!(mode(), 0o660);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "no socket").unwrap();
        assert!(bind(&path, &file(0o600)).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"no socket");
    }

    #[test]
    fn an_owner_that_does_not_exist_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let group = Some("no-such-group".into());
        let error = bind(&path, &SocketFile { group, ..SocketFile::default() }).unwrap_err();
        assert_eq!(error.to_string(), "there is no group `no-such-group`");
        assert!(!path.exists());
    }
}
