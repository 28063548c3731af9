//! How a cluster's endpoints are dialled.

use std::{
    cell::Cell,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use dashmap::DashMap;
use nix::libc;
use rustls::{ClientConfig, HandshakeKind, client::Resumption, pki_types::ServerName};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use weir_config::{ProxyVersion, Unusable, UpstreamTls};

use super::{ConnectionError, Transport};
use crate::{
    cluster::Cluster,
    descriptors,
    endpoint::Endpoint,
    room::Full,
    slots::{Recall, Slot, Slots},
    tls::{client_tls, contents},
};

/// Endpoints whose sessions are remembered; discovery may find ever others.
const REMEMBERED: usize = 4096;

/// Dials the endpoints of one cluster.
pub struct Connector {
    id: u64,
    tls: Option<Arc<Tls>>,
    pub(super) http2: bool,
    /// Most streams at once on a connection of HTTP/2.
    pub(super) streams: usize,
    introduces: Option<ProxyVersion>,
    timeout: Duration,
    pub(super) idle_connections: usize,
    pub(super) idle_timeout: Duration,
    slots: Arc<Slots>,
    most: Option<u32>,
    /// Of the files it was built from.
    contents: Vec<Option<Vec<u8>>>,
}

struct Tls {
    settings: UpstreamTls,
    /// Agrees on a version of HTTP.
    http: Arc<ClientConfig>,
    /// The same for each endpoint, and whether for HTTP, with the sessions that can be resumed there.
    by_endpoint: DashMap<(SocketAddr, bool), TlsConnector>,
    name: Option<ServerName<'static>>,
}

impl Tls {
    fn build(settings: &UpstreamTls, http2: bool) -> Result<Self, Unusable> {
        let name = settings.sni.clone().map(ServerName::try_from).transpose();
        let name = name.map_err(|error| Unusable::new("sni", error.to_string()))?;
        let http = client_tls(settings, http2)?;
        Ok(Self { settings: settings.clone(), http, by_endpoint: DashMap::new(), name })
    }

    /// For an endpoint. Another one could do nothing with its tickets.
    fn connector(&self, address: SocketAddr, http: bool) -> TlsConnector {
        if let Some(connector) = self.by_endpoint.get(&(address, http)) {
            return connector.clone();
        }
        let mut config = ClientConfig::clone(&self.http);
        if !http {
            config.alpn_protocols.clear();
        }
        config.resumption = Resumption::in_memory_sessions(1);
        let connector = TlsConnector::from(Arc::new(config));
        if self.by_endpoint.len() >= REMEMBERED {
            self.by_endpoint.clear();
        }
        self.by_endpoint.insert((address, http), connector.clone());
        connector
    }
}

/// A fresh connection and what it took.
#[derive(Debug)]
pub struct Dialled {
    /// The stream.
    pub transport: Transport,
    /// Time for TCP.
    pub connect: Duration,
    /// Time for TLS.
    pub tls: Duration,
    /// Whether TLS went on with an earlier session; none without TLS.
    pub resumed: Option<bool>,
}

impl Connector {
    /// As the cluster of this configuration says, which is yet to be built.
    ///
    /// # Errors
    /// A file of its TLS settings cannot be used.
    pub fn build(config: &weir_config::Cluster) -> Result<Self, Unusable> {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let contents = contents(config.tls());
        let tls = config.tls.as_ref().map(|tls| Tls::build(tls, config.http2).map(Arc::new)).transpose();
        Ok(Self {
            id: IDS.fetch_add(1, Relaxed),
            tls: tls.map_err(|unusable| unusable.below("tls"))?,
            contents,
            http2: config.http2,
            streams: config.h2_streams as usize,
            introduces: config.send_proxy_protocol,
            timeout: config.connect_timeout,
            idle_connections: config.idle_connections,
            idle_timeout: config.idle_timeout,
            slots: Arc::default(),
            most: None,
        })
    }

    /// Its connections count among those of a cluster.
    #[must_use]
    pub fn counted_by(self, cluster: &Cluster) -> Self {
        Self { slots: Arc::clone(cluster.slots()), most: cluster.most_connections(), ..self }
    }

    /// The longest wait for a connection, of whoever may wait `within` some time.
    pub(super) fn patience(&self, within: Option<Duration>) -> Duration {
        within.map_or(self.timeout, |within| within.min(self.timeout))
    }

    /// The place of a connection, once there is one. The wait for it is as long as that for a connection may be.
    ///
    /// # Errors
    /// [`ConnectionError::NoPlace`].
    pub async fn slot(
        &self,
        endpoint: &Endpoint,
        recall: &Recall,
        within: Option<Duration>,
    ) -> Result<Slot, ConnectionError> {
        let places = [(endpoint.slots(), endpoint.most_connections()), (&self.slots, self.most)];
        let missing = Cell::new(Full::Endpoint);
        let taken = timeout(self.patience(within), Slot::take(places, recall, &missing)).await;
        taken.map_err(|_| ConnectionError::NoPlace(missing.get()))
    }

    /// The same for a cluster that is yet to be built, whose connections go on; none where it dials otherwise now, or
    /// its files do not hold what they held.
    pub fn succeeded_by(&self, config: &weir_config::Cluster) -> Option<Self> {
        let same = self.tls.as_ref().map(|tls| &tls.settings) == config.tls.as_ref()
            && self.http2 == config.http2
            && self.introduces == config.send_proxy_protocol
            && self.timeout == config.connect_timeout
            && (self.idle_connections, self.idle_timeout) == (config.idle_connections, config.idle_timeout)
            && self.contents == contents(config.tls());
        same.then(|| Self {
            streams: config.h2_streams as usize,
            tls: self.tls.clone(),
            slots: Arc::clone(&self.slots),
            contents: self.contents.clone(),
            ..*self
        })
    }

    /// Tells connections of this connector from those of its predecessors.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Whether endpoints are spoken to over TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether endpoints speak HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.http2
    }

    /// Which PROXY header its connections begin with: each is then of one client.
    pub fn introduces(&self) -> Option<ProxyVersion> {
        self.introduces
    }

    /// A fresh connection for HTTP that begins with these octets, within the cluster's connect timeout or this.
    ///
    /// # Errors
    /// [`ConnectionError::Connect`], `Tls`, `ConnectTimeout`, `NoDescriptor` or `NoMeans`.
    pub async fn dial(
        &self,
        address: SocketAddr,
        preamble: &[u8],
        within: Option<Duration>,
    ) -> Result<Dialled, ConnectionError> {
        let dialled = timeout(self.patience(within), self.dial_slowly(address, preamble, true)).await;
        dialled.unwrap_or(Err(ConnectionError::ConnectTimeout))
    }

    /// The same for any other protocol.
    ///
    /// # Errors
    /// As [`Connector::dial`].
    pub async fn open(
        &self,
        address: SocketAddr,
        preamble: &[u8],
        within: Option<Duration>,
    ) -> Result<Dialled, ConnectionError> {
        let dialled = timeout(self.patience(within), self.dial_slowly(address, preamble, false)).await;
        dialled.unwrap_or(Err(ConnectionError::ConnectTimeout))
    }

    async fn dial_slowly(&self, address: SocketAddr, preamble: &[u8], http: bool) -> Result<Dialled, ConnectionError> {
        let started = Instant::now();
        if descriptors::are_reserved() {
            return Err(ConnectionError::NoDescriptor);
        }
        let mut tcp = TcpStream::connect(address).await.map_err(unconnected)?;
        tcp.set_nodelay(true).map_err(ConnectionError::Connect)?;
        if !preamble.is_empty() {
            tcp.write_all(preamble).await.map_err(ConnectionError::Connect)?;
        }
        let connect = started.elapsed();
        let Some(tls) = &self.tls else {
            return Ok(Dialled { transport: Transport::Tcp(tcp), connect, tls: Duration::ZERO, resumed: None });
        };
        let name = tls.name.clone().unwrap_or_else(|| ServerName::IpAddress(address.ip().into()));
        let stream = tls.connector(address, http).connect(name, tcp).await.map_err(ConnectionError::Tls)?;
        if http && self.http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            let refused = io::Error::other("the endpoint does not offer HTTP/2 by ALPN");
            return Err(ConnectionError::Tls(refused));
        }
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        let (transport, tls) = (Transport::Tls(Box::new(stream)), started.elapsed() - connect);
        Ok(Dialled { transport, connect, tls, resumed: Some(resumed) })
    }
}

/// What the system says to a connection that it does not make: some of it is no word of the endpoint.
fn unconnected(error: io::Error) -> ConnectionError {
    match error.raw_os_error() {
        _ if descriptors::are_missing(&error) => ConnectionError::NoDescriptor,
        Some(libc::EADDRNOTAVAIL | libc::ENOBUFS | libc::ENOMEM) => ConnectionError::NoMeans(error),
        _ => ConnectionError::Connect(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_lack_is_no_failure_of_an_endpoint() {
        let met = |code| unconnected(io::Error::from_raw_os_error(code));
        assert!(
            [libc::EMFILE, libc::EADDRNOTAVAIL, libc::ENOBUFS, libc::ENOMEM]
                .map(met)
                .iter()
                .all(ConnectionError::is_ours)
        );
        let endpoints = [libc::ECONNREFUSED, libc::ETIMEDOUT, libc::EHOSTUNREACH].map(met);
        assert!(endpoints.iter().all(|error| error.is_connect() && !error.is_ours()));
    }
}
