//! Where a running Weir is asked, and the connection to it: over a Unix socket, TCP or TLS.

use std::{
    fmt::{self, Display},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;
use weir_config::{AdminAddress as Configured, ClientIdentity, UpstreamTls, read_token};
use weir_upstream::client_tls;

use super::AdminAddress;

const SOCKET: &str = "/run/weir/admin.sock";
const ADDRESS: &str = "127.0.0.1:9901";

/// A connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The admin interface that is asked, and what it is shown.
pub(super) struct Target {
    place: Place,
    token: Option<String>,
    tls: Option<UpstreamTls>,
}

enum Place {
    Tcp(String),
    Unix(PathBuf),
}

impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp(address) => f.write_str(address),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Target {
    /// What the options name: an address, or the configuration that does.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub(super) fn of(admin: &AdminAddress) -> anyhow::Result<Self> {
        let configured = admin.config.as_deref().map(configured).transpose()?;
        let (place, https) = match (&admin.address, &configured) {
            (Some(address), _) => Place::read(address),
            (None, Some(configured)) => (Place::of(&configured.address)?, configured.tls.is_some()),
            (None, None) if Path::new(SOCKET).exists() => (Place::Unix(SOCKET.into()), false),
            (None, None) => (Place::Tcp(ADDRESS.to_owned()), false),
        };
        let over_tcp = matches!(place, Place::Tcp(_));
        let token = match (&admin.token_file, &configured) {
            (Some(file), _) => Some(read_token(file).map_err(anyhow::Error::msg)?),
            (None, Some(configured)) if over_tcp && admin.address.is_none() => strongest(configured),
            _ => None,
        };
        let identity = admin.cert.clone().zip(admin.key.clone());
        let identity = identity.map(|(cert, key)| ClientIdentity { cert, key });
        let wanted = over_tcp && (https || admin.ca.is_some() || identity.is_some());
        let tls = wanted.then(|| UpstreamTls { ca: admin.ca.clone(), sni: None, verify: true, identity });
        Ok(Self { place, token, tls })
    }

    /// For `Host`.
    pub(super) fn host(&self) -> &str {
        match &self.place {
            Place::Tcp(address) => address,
            Place::Unix(_) => "localhost",
        }
    }

    /// For `Authorization`.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// # Errors
    /// Nothing answers there, or it cannot be reached; for people.
    pub(super) async fn connect(&self) -> anyhow::Result<Box<dyn Stream>> {
        let address = match &self.place {
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| self.unreached(&error))?;
                return Ok(Box::new(stream));
            }
            Place::Tcp(address) => address,
        };
        let stream = TcpStream::connect(address).await.map_err(|error| self.unreached(&error))?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let host = address.rsplit_once(':').map_or(&**address, |(host, _)| host).trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).with_context(|| format!("{host} is not a name"))?;
        let config = client_tls(tls, false).map_err(|unusable| anyhow!("{}", unusable.why))?;
        let stream = TlsConnector::from(config).connect(name, stream).await;
        Ok(Box::new(stream.with_context(|| format!("TLS with {address} (--ca names its authorities)"))?))
    }

    fn unreached(&self, error: &io::Error) -> anyhow::Error {
        match (error.kind(), &self.place) {
            (io::ErrorKind::ConnectionRefused, _) | (io::ErrorKind::NotFound, Place::Unix(_)) => self.silent(),
            (io::ErrorKind::PermissionDenied, _) => {
                anyhow!(
                    "{self} cannot be opened: be a user that `mode`, `owner` and `group` of [admin] let in, or root"
                )
            }
            _ => anyhow!("cannot reach {self}: {error} (an address looks like {ADDRESS} or unix:{SOCKET})"),
        }
    }

    pub(super) fn silent(&self) -> anyhow::Error {
        anyhow!(
            "nothing answers at {self}: is weir running, and is its [admin] address the same? (--admin ADDR, --config \
             FILE, or WEIR_ADMIN)"
        )
    }
}

fn configured(path: &Path) -> anyhow::Result<weir_config::Admin> {
    let loaded = weir_config::load(path).map_err(|faults| anyhow!("{}: {faults}", path.display()))?;
    loaded.config.admin.ok_or_else(|| anyhow!("{} has no [admin]: add one, or use --admin ADDR", path.display()))
}

/// The token that may do the most, of those that this user can read.
fn strongest(admin: &weir_config::Admin) -> Option<String> {
    let mut tokens: Vec<_> = admin.tokens.iter().collect();
    tokens.sort_by_key(|token| std::cmp::Reverse(token.role));
    tokens.into_iter().find_map(|token| read_token(&token.file).ok())
}

impl Place {
    /// With whether it says that it has TLS.
    fn read(address: &str) -> (Self, bool) {
        if let Some(path) = address.strip_prefix("unix:") {
            return (Self::Unix(path.into()), false);
        }
        if address.starts_with('/') {
            return (Self::Unix(address.into()), false);
        }
        let (address, https) = match address.strip_prefix("https://") {
            Some(address) => (address, true),
            None => (address.strip_prefix("http://").unwrap_or(address), false),
        };
        (Self::Tcp(address.trim_end_matches('/').to_owned()), https)
    }

    /// A configured address as it is reached from this machine.
    fn of(address: &Configured) -> anyhow::Result<Self> {
        let mut address = match address {
            Configured::Unix(path) => return Ok(Self::Unix(path.clone())),
            Configured::Tcp(address) => *address,
        };
        anyhow::ensure!(address.port() != 0, "the [admin] address has port 0: use --admin ADDR");
        match address.ip() {
            IpAddr::V4(any) if any.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(any) if any.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        Ok(Self::Tcp(SocketAddr::to_string(&address)))
    }
}
