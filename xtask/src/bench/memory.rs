//! Memory of an idle process, and what thousands of idle connections add to it.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::{
    cpu::{self, Memory},
    proxy::Yard,
};
use crate::{
    http::{self, Connection, Request},
    peers::Kind,
};

/// Idle connections, each after one request.
pub const CONNECTIONS: usize = 5_000;
/// Lets a process settle before we look at its memory.
const SETTLE: Duration = Duration::from_millis(500);

/// One proxy's memory.
pub struct Footprint {
    /// Whose.
    pub proxy: Kind,
    /// Just started.
    pub idle: Memory,
    /// Added by each idle plain connection.
    pub plain: Growth,
    /// Added by each idle TLS connection.
    pub tls: Growth,
}

/// Bytes a connection.
#[derive(Debug, Clone, Copy)]
pub struct Growth {
    /// By resident memory.
    pub resident: f64,
    /// By proportional memory.
    pub proportional: f64,
}

/// Plain and TLS, each in a process of its own.
pub fn measure(yard: &Yard, kind: Kind) -> Result<Footprint> {
    let (idle, plain) = with_connections(yard, kind, |plain, _| open_plain(plain))?;
    let tls = tls_client(&yard.certificates().join("cert.pem"))?;
    let (_, tls) = with_connections(yard, kind, |_, secure| open_tls(secure, &tls))?;
    eprintln!(
        "  {:<8} idle {:.1} MB, {:.1} KB a plain connection, {:.1} KB a TLS connection (resident)",
        kind.name(),
        idle.resident as f64 / 1e6,
        plain.resident / 1e3,
        tls.resident / 1e3
    );
    Ok(Footprint { proxy: kind, idle, plain, tls })
}

fn with_connections<C>(
    yard: &Yard,
    kind: Kind,
    open: impl Fn(SocketAddr, SocketAddr) -> Result<C>,
) -> Result<(Memory, Growth)> {
    let proxy = yard.start_untouched(kind)?;
    let idle = settled(proxy.id())?;
    // What the first requests need once (buffers, lazy tables) is the process's, not the connections'.
    let first: Vec<C> = (0..100).map(|_| open(proxy.plain(), proxy.secure())).collect::<Result<_>>()?;
    let before = settled(proxy.id())?;
    let connections: Vec<C> = (0..CONNECTIONS)
        .map(|at| open(proxy.plain(), proxy.secure()).with_context(|| format!("connection {at} to {}", kind.name())))
        .collect::<Result<_>>()?;
    let after = settled(proxy.id())?;
    drop((first, connections));
    proxy.stop()?;
    Ok((idle, growth(before, after)))
}

fn settled(id: u32) -> Result<Memory> {
    thread::sleep(SETTLE);
    cpu::memory(id)
}

fn growth(before: Memory, after: Memory) -> Growth {
    let each = |before: u64, after: u64| (after as f64 - before as f64) / CONNECTIONS as f64;
    Growth {
        resident: each(before.resident, after.resident),
        proportional: each(before.proportional, after.proportional),
    }
}

fn open_plain(address: SocketAddr) -> Result<Connection<TcpStream>> {
    used(Connection::open(address)?)
}

fn open_tls(
    address: SocketAddr,
    client: &Arc<ClientConfig>,
) -> Result<Connection<StreamOwned<ClientConnection, TcpStream>>> {
    let session = ClientConnection::new(Arc::clone(client), ServerName::try_from("localhost")?)?;
    used(Connection::over(StreamOwned::new(session, http::connect(address)?), "localhost"))
}

fn used<S: Read + Write>(mut connection: Connection<S>) -> Result<Connection<S>> {
    let answer = connection.send(&Request::get("/tiny"))?;
    ensure!(answer.status == 200, "status {}", answer.status);
    Ok(connection)
}

/// Trusts the certificate itself; every handshake is a full one.
fn tls_client(certificate: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&fs::read(certificate)?)?)?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}
