//! Sockets that a process is given at its start: by the service manager (`sd_listen_fds(3)`), or by the
//! process whose place it takes.
//!
//! A listener takes the socket that bears its name, or else one at its address. The addresses of the admin interface
//! take those named `admin` and `admin-read-only`.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, FromRawFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
};

use nix::sys::socket::{getsockopt, sockopt::AcceptConn};
use serde::{Deserialize, Serialize};
use socket2::{SockRef, Type};

use crate::listening::{Bound, Kind};

/// Sockets that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<Given>,
    /// Unix sockets at their paths.
    unix: Vec<(Label, PathBuf, UnixListener)>,
}

/// What a socket is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The listener's name.
    pub name: String,
    /// The address in the configuration that it was bound under; none where somebody else bound it.
    pub configured: Option<SocketAddr>,
    /// It is the admin address's.
    pub admin: bool,
}

/// A socket, or those of the same listener.
#[derive(Debug)]
struct Given {
    label: Label,
    address: SocketAddr,
    bound: Bound,
}

impl Inherited {
    /// What the service manager passes.
    ///
    /// # Errors
    /// A variable of its protocol that cannot be read, or a socket that is of no use.
    pub fn from_service_manager() -> Result<Self, String> {
        let mut inherited = Self::default();
        let passed = sd_notify::listen_fds_with_names().map_err(|error| format!("LISTEN_FDS: {error}"))?;
        for (descriptor, name) in passed {
            // SAFETY: the service manager has opened it for this process, which takes it here and nowhere
            // else.
            let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
            let label = Label { name, configured: None, admin: false };
            let name = label.name.clone();
            inherited.add(label, socket).map_err(|fault| format!("the socket {name} that was passed: {fault}"))?;
        }
        Ok(inherited)
    }

    /// One more socket. Those for datagrams that bear the same label belong together.
    ///
    /// # Errors
    /// It is no socket of use to a listener.
    pub fn add(&mut self, label: Label, socket: OwnedFd) -> Result<(), String> {
        if let Some(path) = unix_path(&socket).map_err(|error| error.to_string())? {
            self.unix.push((label, path, socket.into()));
            return Ok(());
        }
        let (kind, address) = judge(&socket).map_err(|error| error.to_string())??;
        let same = |given: &&mut Given| given.label == label && given.address == address;
        if let Some(Bound::Datagrams(sockets)) = self.sockets.iter_mut().find(same).map(|given| &mut given.bound) {
            sockets.push(socket.into());
            return Ok(());
        }
        let bound = Bound::of(kind, socket).map_err(|error| error.to_string())?;
        self.sockets.push(Given { label, address, bound });
        Ok(())
    }

    /// The sockets of a listener; none where it has to bind its own.
    ///
    /// # Errors
    /// What bears its name is of another kind.
    pub fn take(&mut self, listener: &weir_config::Listener) -> Result<Option<Bound>, String> {
        let wanted = Kind::of(listener.protocol);
        let named = |given: &Given| !given.label.admin && *given.label.name == *listener.name;
        let place = self.find(listener.address, |given| named(given) && given.label.is_for(listener.address));
        let Some(place) = place.or_else(|| self.find(listener.address, |given| given.is_at(listener.address, wanted)))
        else {
            return Ok(None);
        };
        let given = self.sockets.swap_remove(place);
        match given.bound.kind() == wanted {
            true => Ok(Some(given.bound)),
            false => Err(format!("the socket that was passed for it takes {}", given.bound.kind())),
        }
    }

    /// The socket of an address of the admin interface, by its name; none where it has to be bound. To be asked when
    /// the listeners have theirs.
    pub fn take_admin(&mut self, name: &str, address: SocketAddr) -> Option<TcpListener> {
        let named = |given: &Given| given.label.name == name;
        let place = self
            .find(address, |given| named(given) && given.label.is_for(address))
            .or_else(|| self.find(address, |given| given.is_at(address, Kind::Connections)))?;
        match self.sockets.swap_remove(place).bound {
            Bound::Stream(socket) => Some(socket),
            Bound::Datagrams(_) => None,
        }
    }

    /// The Unix socket of the admin interface at this path; none where it has to be bound.
    pub fn take_admin_unix(&mut self, name: &str, path: &Path) -> Option<UnixListener> {
        let place = self.unix.iter().position(|(label, at, _)| label.name == name && at == path);
        let place = place.or_else(|| self.unix.iter().position(|(_, at, _)| at == path))?;
        Some(self.unix.swap_remove(place).2)
    }

    /// Names and addresses of those that nobody took.
    pub fn left(&self) -> impl Iterator<Item = (&str, String)> {
        let unix = self.unix.iter().map(|(label, path, _)| (&*label.name, path.display().to_string()));
        self.sockets.iter().map(|given| (&*given.label.name, given.address.to_string())).chain(unix)
    }

    /// One that fits, at this address rather than elsewhere.
    fn find(&self, address: SocketAddr, fits: impl Fn(&Given) -> bool) -> Option<usize> {
        let exact = self.sockets.iter().position(|given| given.address == address && fits(given));
        exact.or_else(|| self.sockets.iter().position(fits))
    }
}

impl Label {
    /// Whoever passes a socket by name has chosen its address; one that was bound under another address
    /// of the configuration is no longer what is wanted.
    fn is_for(&self, address: SocketAddr) -> bool {
        self.configured.is_none_or(|configured| configured == address)
    }
}

impl Given {
    fn is_at(&self, address: SocketAddr, kind: Kind) -> bool {
        address.port() != 0 && self.address == address && self.bound.kind() == kind
    }
}

/// The path of a Unix socket that listens; none of another socket.
fn unix_path(socket: &OwnedFd) -> io::Result<Option<PathBuf>> {
    let view = SockRef::from(socket);
    let path = view.local_addr()?.as_pathname().map(Path::to_owned);
    let listens = view.r#type()? == Type::STREAM && getsockopt(&socket.as_fd(), AcceptConn)?;
    Ok(path.filter(|_| listens))
}

/// What a descriptor is; the inner error says for people why it is of no use.
fn judge(socket: &OwnedFd) -> io::Result<Result<(Kind, SocketAddr), String>> {
    let view = SockRef::from(socket);
    let kind = match view.r#type()? {
        Type::STREAM if getsockopt(&socket.as_fd(), AcceptConn)? => Kind::Connections,
        Type::STREAM => return Ok(Err("it does not listen (a socket unit needs Accept=no)".to_owned())),
        Type::DGRAM => Kind::Datagrams,
        _ => return Ok(Err("it is for neither connections nor datagrams".to_owned())),
    };
    Ok(match view.local_addr()?.as_socket() {
        Some(address) => Ok((kind, address)),
        None => Err("it has no address of the Internet".to_owned()),
    })
}

#[cfg(test)]
mod tests;
