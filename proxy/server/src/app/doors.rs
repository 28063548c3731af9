//! The addresses of the admin interface: those of a configuration that is to run, and those that are open.

use std::{
    io::ErrorKind,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use weir_config::{AdminAddress, Config, Protocol, SocketFile};

use super::{App, control::Admin};
use crate::{
    admin::{self, Access, Door, Socket},
    inherited::Inherited,
    tls::{ServerTls, Terms},
    unix_socket,
};

/// Names of the addresses, and of sockets that are passed for them.
const ADMIN: &str = "admin";
const READ_ONLY: &str = "admin-read-only";

/// A door of the next configuration: one that goes on under other terms, or another one.
pub(super) struct Change {
    door: Arc<Door>,
    access: Option<Access>,
}

/// Open doors.
#[derive(Debug, Default)]
pub(super) struct Doors {
    open: Mutex<Vec<Arc<Door>>>,
}

impl Doors {
    pub(super) fn all(&self) -> Vec<Arc<Door>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those of a start.
    pub(super) fn begin(&self, changes: Vec<Change>) {
        self.replace(changes.into_iter().map(|change| change.door).collect());
    }

    fn replace(&self, next: Vec<Arc<Door>>) -> Vec<Arc<Door>> {
        std::mem::replace(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner), next)
    }

    /// Closes every door, at the end of the process.
    pub(super) fn close(&self) {
        self.replace(Vec::new()).iter().for_each(|door| door.close(false));
    }
}

struct Wanted {
    name: &'static str,
    address: AdminAddress,
    access: Access,
}

fn wanted(config: &Config, terms: &Terms) -> Result<Vec<Wanted>, String> {
    let Some(admin) = &config.admin else { return Ok(Vec::new()) };
    let load =
        |tls| ServerTls::load(tls, Protocol::Http, terms, None).map_err(|unusable| format!("admin: {}", unusable.why));
    let tls = admin.tls.as_ref().map(load).transpose()?;
    let access = Access::of(admin, tls).map_err(|why| format!("admin: {why}"))?;
    unix_socket::owners(&admin.socket).map_err(|error| format!("admin: {error}"))?;
    let first = Wanted { name: ADMIN, address: admin.address.clone(), access };
    let second = admin.read_only.map(|address| Wanted {
        name: READ_ONLY,
        address: AdminAddress::Tcp(address),
        access: Access::read_only(admin),
    });
    Ok([first].into_iter().chain(second).collect())
}

/// What `weir check` finds wrong with the admin interface.
pub(super) fn fault(config: &Config, terms: &Terms) -> Option<String> {
    wanted(config, terms).err()
}

/// The doors of a configuration, those that are new with their sockets.
pub(super) fn bind(
    config: &Config,
    open: &[Arc<Door>],
    inherited: &mut Inherited,
    terms: &Terms,
) -> Result<Vec<Change>, String> {
    let file = config.admin.as_ref().map(|admin| admin.socket.clone()).unwrap_or_default();
    wanted(config, terms)?.into_iter().map(|wanted| bind_one(wanted, &file, open, inherited)).collect()
}

fn bind_one(
    Wanted { name, address, access }: Wanted,
    file: &SocketFile,
    open: &[Arc<Door>],
    inherited: &mut Inherited,
) -> Result<Change, String> {
    if let Some(door) = open.iter().find(|door| door.name == name && door.wanted == address) {
        return Ok(Change { door: Arc::clone(door), access: Some(access) });
    }
    let passed = match &address {
        AdminAddress::Tcp(address) => inherited.take_admin(name, *address).map(Socket::tcp),
        AdminAddress::Unix(path) => {
            inherited.take_admin_unix(name, path).map(|socket| Socket::unix(socket, path.clone()))
        }
    };
    let socket = passed.unwrap_or_else(|| Socket::bind(&address, file));
    let socket = socket.map_err(|error| unbound(name, &address, &error))?;
    let closing = CancellationToken::new();
    let door = Arc::new(Door { name, wanted: address, socket, access: ArcSwap::from_pointee(access), closing });
    Ok(Change { door, access: None })
}

fn unbound(name: &str, address: &AdminAddress, error: &std::io::Error) -> String {
    match (address, error.kind()) {
        (AdminAddress::Unix(path), ErrorKind::NotFound) if path.parent().is_some_and(|folder| !folder.exists()) => {
            format!("{name}: {address}: its folder does not exist: create it (`RuntimeDirectory=` of systemd does)")
        }
        _ => format!("{name}: {address}: {error}"),
    }
}

impl App {
    /// Puts the doors of a configuration in the place of those that are open.
    pub(super) fn take_up_doors(self: &Arc<Self>, changes: Vec<Change>, config: &Config) {
        let mut next = Vec::with_capacity(changes.len());
        for Change { door, access } in changes {
            match access {
                Some(access) => {
                    door.access.store(Arc::new(access));
                    keep_file(&door, config);
                }
                None => self.serve(&door),
            }
            next.push(door);
        }
        let former = self.admin.replace(next.clone());
        for gone in former.iter().filter(|old| !next.iter().any(|new| Arc::ptr_eq(old, new))) {
            tracing::info!(address = %gone.socket, "admin no longer listening");
            gone.close(next.iter().any(|new| new.wanted == gone.wanted));
        }
    }

    /// Answers at a door.
    pub(super) fn serve(self: &Arc<Self>, door: &Arc<Door>) {
        match door.name {
            ADMIN => tracing::info!(address = %door.socket, "admin listening"),
            _ => tracing::info!(address = %door.socket, "admin listening, read-only"),
        }
        let control = Arc::new(Admin(Arc::clone(self)));
        tokio::spawn(admin::serve(Arc::clone(door), control, self.relieved.clone().cancelled_owned()));
    }
}

/// Owner and mode of the socket file may have changed.
fn keep_file(door: &Door, config: &Config) {
    let (AdminAddress::Unix(path), Some(admin)) = (&door.wanted, &config.admin) else { return };
    if let Err(error) = unix_socket::permit(path, &admin.socket) {
        tracing::warn!(path = %path.display(), %error, "owner and mode of the admin socket stay as they are");
    }
}
