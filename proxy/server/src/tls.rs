//! TLS towards clients: which certificate a client gets, ALPN, and what plugins may know of a session.

mod certificate;
mod client;
mod expiry;
mod handshake;
mod lasting;
mod ocsp;
mod pushed;
mod resolver;
mod tickets;

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use rustls::{
    HandshakeKind, ServerConfig, ServerConnection, SupportedProtocolVersion, crypto::aws_lc_rs,
    server::ProducesTickets, version,
};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use weir_config::{Protocol, TlsVersion, Unusable};
use weir_plugin::TlsFacts;

pub use self::{
    certificate::{Certificate, Validity, left, second},
    expiry::Expiry,
    handshake::{Handshake, Shaken},
    pushed::Pushed,
    resolver::{Certificates, Issued, Resolver},
};
use self::{
    client::Verifier,
    handshake::{Handshakes, Ingredients},
    tickets::{RandomKeys, TicketKeys},
};
use crate::{
    identity::Identity,
    metrics::{Handshake as Kind, HandshakeFailure as Failure, ListenerMetrics},
    upgrade::TicketSecrets,
};

/// TLS of one listener.
#[derive(Clone)]
pub struct ServerTls {
    handshakes: Arc<Handshakes>,
    /// Chooses the certificate of each handshake.
    pub resolver: Arc<Resolver>,
    /// How endpoints are told of clients' certificates.
    pub identity: Option<Arc<Identity>>,
    /// When the first list of revoked certificates wants to be replaced.
    pub revoked_until: Option<SystemTime>,
    tickets: Tickets,
}

/// Under what sessions can be resumed.
#[derive(Debug, Clone)]
pub struct Tickets {
    ticketer: Arc<dyn ProducesTickets>,
    /// The same where its keys are random: those go on over reloads and upgrades.
    random: Option<Arc<RandomKeys>>,
    context: String,
}

impl Tickets {
    /// `context` tells by what clients were verified: what counts here need not count elsewhere.
    fn load(keys: Option<&Path>, context: String, former: Option<&Self>) -> Result<Self, Unusable> {
        let unusable = |why: String| Unusable::new("ticket-keys", why);
        if let Some(path) = keys {
            let keys = TicketKeys::load(path, context.as_bytes()).map_err(unusable)?;
            return Ok(Self { ticketer: Arc::new(keys), random: None, context });
        }
        match former {
            Some(former) if former.random.is_some() && former.context == context => Ok(former.clone()),
            _ => {
                let keys = RandomKeys::make(context.as_bytes(), SystemTime::now);
                let keys = keys.ok_or_else(|| unusable("the system gives no random octets".to_owned()))?;
                Ok(Self::over(keys, context))
            }
        }
    }

    fn over(keys: RandomKeys, context: String) -> Self {
        let keys = Arc::new(keys);
        Self { ticketer: Arc::<RandomKeys>::clone(&keys), random: Some(keys), context }
    }

    /// Those of another process; none where they are of no use.
    pub fn inherit(left: &TicketSecrets) -> Option<Self> {
        let keys = RandomKeys::inherit(left, SystemTime::now)?;
        Some(Self::over(keys, left.context.clone()))
    }
}

/// What is known of a session once its handshake is over.
#[derive(Debug)]
pub struct Session {
    /// What plugins may know of it.
    pub facts: TlsFacts,
    /// The certificate that the client was shown, where requests have to keep to its hosts.
    pub shown: Option<Arc<Certificate>>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls")
    }
}

/// On which terms certificates are taken up.
#[derive(Debug)]
pub struct Terms {
    /// They have to be valid now.
    pub now: SystemTime,
    /// Fingerprints of those that are served already, which go on though they expire. None at the start: one
    /// that has expired is better than no listener.
    pub served: Option<HashSet<Arc<str>>>,
    /// What authorities issue.
    pub issued: Vec<Arc<Issued>>,
    /// What takes the place of certificates in files.
    pub pushed: Pushed,
    /// What another process made tickets with, by listener.
    pub tickets: BTreeMap<String, TicketSecrets>,
}

impl Terms {
    /// Those of a start.
    pub fn at_start() -> Self {
        Self {
            now: SystemTime::now(),
            served: None,
            issued: Vec::new(),
            pushed: Pushed::default(),
            tickets: BTreeMap::new(),
        }
    }

    /// # Errors
    /// Why it must not take the place of what is served.
    pub fn accept(&self, certificate: &Certificate) -> Result<(), String> {
        match (&self.served, certificate.validity.fault(self.now)) {
            (Some(served), Some(fault)) if !served.contains(&certificate.fingerprint) => {
                Err(format!("{}: {fault}", certificate.name))
            }
            _ => Ok(()),
        }
    }
}

impl ServerTls {
    /// Read every file. Sessions under the former tickets can be resumed where the same counts for clients.
    ///
    /// # Errors
    /// Which file cannot be used and why: missing, not PEM, a key that is not the certificate's, or out of its time.
    pub fn load(
        config: &weir_config::ListenerTls,
        protocol: Protocol,
        terms: &Terms,
        former: Option<&Tickets>,
    ) -> Result<Self, Unusable> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let read = |(index, one): (usize, &weir_config::Certificate)| {
            let read = Certificate::read(one, &provider).and_then(|read| {
                let certificate = terms.pushed.in_place_of(read);
                terms.accept(&certificate).map_err(|why| Unusable::new("cert", why))?;
                Ok(certificate)
            });
            read.map_err(|unusable| unusable.below(&format!("certificates[{index}]")))
        };
        let certificates = config.certificates.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        let wanted = |issued: &&Arc<Issued>| {
            config.acme.iter().any(|wanted| wanted.authority == issued.authority && wanted.names == issued.names)
        };
        let issued = terms.issued.iter().filter(wanted).cloned().collect();
        let resolver = Arc::new(Resolver::new(Certificates::new(certificates), issued));
        let versions: &[&SupportedProtocolVersion] = match config.min_version {
            TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12],
            TlsVersion::V1_3 => &[&version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions);
        let builder = builder.map_err(|error| Unusable::new("min-version", error.to_string()))?;
        let verify = |auth| Verifier::load(auth, &provider).map_err(|unusable| unusable.below("client-auth"));
        let verifier = config.client_auth.as_ref().map(verify).transpose()?;
        let revoked_until = verifier.as_ref().and_then(|verifier| verifier.revoked_until);
        let context = verifier.as_ref().map(|verifier| verifier.context.clone()).unwrap_or_default();
        let tickets = Tickets::load(config.ticket_keys.as_deref(), context, former)?;
        let alpn = match (protocol, config.http2) {
            (Protocol::Http, true) => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            (Protocol::Http, false) => vec![b"http/1.1".to_vec()],
            _ => config.alpn.iter().map(|name| name.clone().into_bytes()).collect(),
        };
        let handshakes = Handshakes::new(Ingredients {
            builder,
            verifier: verifier.map(|verifier| verifier.verifier),
            resolver: Arc::clone(&resolver),
            ticketer: Arc::clone(&tickets.ticketer),
            alpn,
            strict_host: config.strict_host,
        });
        Ok(Self {
            handshakes: Arc::new(handshakes),
            resolver,
            identity: config.client_auth.as_ref().and_then(Identity::of).map(Arc::new),
            revoked_until,
            tickets,
        })
    }

    /// Under what its sessions can be resumed.
    pub fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    /// For the process that takes the place of this one; none where a file has the keys.
    pub fn ticket_secrets(&self) -> Option<TicketSecrets> {
        let keys = self.tickets.random.as_ref()?;
        Some(keys.secrets(&self.tickets.context))
    }

    /// The handshake of a client.
    pub fn handshake(&self) -> Handshake {
        self.handshakes.next()
    }
}

impl Session {
    /// What is known once a handshake is over.
    pub fn of(shaken: Shaken) -> (TlsStream<TcpStream>, Self) {
        let Shaken { stream, shown } = shaken;
        let facts = facts(stream.get_ref().1);
        (stream, Self { facts, shown })
    }
}

/// Count a handshake, also one that is given up; those of authorities are none of clients.
///
/// # Errors
/// Of the handshake.
pub async fn counted(
    metrics: &ListenerMetrics,
    worker: usize,
    handshake: impl Future<Output = std::io::Result<Option<Shaken>>>,
) -> std::io::Result<Option<Shaken>> {
    let mut outcome = Outcome { metrics, worker, handshake: Some(Kind::Failed(Failure::Timeout)) };
    let done = handshake.await;
    outcome.handshake = match &done {
        Ok(Some(shaken)) => Some(match shaken.stream.get_ref().1.handshake_kind() {
            Some(HandshakeKind::Resumed) => Kind::Resumed,
            _ => Kind::Full,
        }),
        Ok(None) => None,
        Err(error) => Some(Kind::Failed(Failure::of(error))),
    };
    done
}

struct Outcome<'a> {
    metrics: &'a ListenerMetrics,
    worker: usize,
    handshake: Option<Kind>,
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        self.handshake.into_iter().for_each(|handshake| self.metrics.handshake(self.worker, handshake));
    }
}

fn facts(connection: &ServerConnection) -> TlsFacts {
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    };
    TlsFacts {
        version: version.to_owned(),
        sni: connection.server_name().map(str::to_owned),
        alpn: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        client: client::certificate(connection),
    }
}
