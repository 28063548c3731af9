//! How handshakes are made: under what all share, or each under something of its own where more has to be known than
//! that it was done.

use std::{io::Result, sync::Arc, time::SystemTime};

use arc_swap::ArcSwapOption;
use rustls::{
    ConfigBuilder, ServerConfig, WantsVerifier,
    server::{
        ClientHello, ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache, StoresServerSessions,
        danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
};
use tokio::net::TcpStream;
use tokio_rustls::{StartHandshake, TlsAcceptor, server::TlsStream};

use super::{Certificate, Resolver, lasting::Lasting};

/// Sessions that are kept for clients of TLS 1.2 that take no tickets.
const KEPT: usize = 256;

/// What the handshakes of a listener are made of.
pub struct Ingredients {
    /// The versions.
    pub builder: ConfigBuilder<ServerConfig, WantsVerifier>,
    /// What verifies clients, where they show certificates.
    pub verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// Chooses what they are shown.
    pub resolver: Arc<Resolver>,
    /// Under what sessions go on.
    pub ticketer: Arc<dyn ProducesTickets>,
    /// The protocols to agree on.
    pub alpn: Vec<Vec<u8>>,
    /// Whether it has to be known what was shown.
    pub strict_host: bool,
}

impl Ingredients {
    fn mix(
        &self,
        verifier: Option<Arc<dyn ClientCertVerifier>>,
        resolver: Arc<dyn ResolvesServerCert>,
        ticketer: Arc<dyn ProducesTickets>,
        kept: Arc<dyn StoresServerSessions>,
    ) -> Arc<ServerConfig> {
        let builder = self.builder.clone();
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols.clone_from(&self.alpn);
        config.send_tls13_tickets = 1;
        config.ticketer = ticketer;
        config.session_storage = kept;
        Arc::new(config)
    }
}

/// Makes the handshakes of a listener.
pub struct Handshakes {
    ingredients: Ingredients,
    kept: Arc<ServerSessionMemoryCache>,
    /// Where all have the same.
    shared: Option<Arc<ServerConfig>>,
}

impl Handshakes {
    /// Of these.
    pub fn new(ingredients: Ingredients) -> Self {
        let kept = ServerSessionMemoryCache::new(KEPT);
        let shared = (ingredients.verifier.is_none() && !ingredients.strict_host).then(|| {
            let (resolver, ticketer) =
                (Arc::<Resolver>::clone(&ingredients.resolver), Arc::clone(&ingredients.ticketer));
            ingredients.mix(None, resolver, ticketer, Arc::<ServerSessionMemoryCache>::clone(&kept))
        });
        Self { ingredients, kept, shared }
    }

    /// The next one.
    pub fn next(&self) -> Handshake {
        match &self.shared {
            Some(shared) => Handshake { config: Arc::clone(shared), shown: None },
            None => self.single(),
        }
    }

    fn single(&self) -> Handshake {
        let Ingredients { verifier, resolver, ticketer, strict_host, .. } = &self.ingredients;
        let shown = strict_host.then(|| Arc::new(Shown::new(Arc::clone(resolver))));
        let resolver: Arc<dyn ResolvesServerCert> = match &shown {
            Some(shown) => Arc::<Shown>::clone(shown),
            None => Arc::<Resolver>::clone(resolver),
        };
        let (ticketer, kept) = (Arc::clone(ticketer), Arc::<ServerSessionMemoryCache>::clone(&self.kept));
        let config = match verifier {
            None => self.ingredients.mix(None, resolver, ticketer, kept),
            Some(verifier) => {
                let lasting = Arc::new(Lasting::new(Arc::clone(verifier), ticketer, kept, SystemTime::now));
                let (tickets, kept) = (Arc::<Lasting>::clone(&lasting), Arc::<Lasting>::clone(&lasting));
                self.ingredients.mix(Some(lasting), resolver, tickets, kept)
            }
        };
        Handshake { config, shown }
    }
}

/// One handshake.
pub struct Handshake {
    config: Arc<ServerConfig>,
    shown: Option<Arc<Shown>>,
}

impl Handshake {
    /// Make it.
    ///
    /// # Errors
    /// Of the handshake.
    pub async fn make(self, stream: TcpStream) -> Result<Shaken> {
        let stream = TlsAcceptor::from(self.config).accept(stream).await?;
        Ok(Shaken::new(stream, self.shown.as_deref()))
    }

    /// Make it with a client that has said what it wants.
    ///
    /// # Errors
    /// Of the handshake.
    pub async fn go_on(self, hello: StartHandshake<TcpStream>) -> Result<Shaken> {
        let stream = hello.into_stream(self.config).await?;
        Ok(Shaken::new(stream, self.shown.as_deref()))
    }
}

/// A handshake that was made.
pub struct Shaken {
    /// What both agreed on.
    pub stream: TlsStream<TcpStream>,
    /// The certificate that the client was shown, where it has to be known.
    pub shown: Option<Arc<Certificate>>,
}

impl Shaken {
    fn new(stream: TlsStream<TcpStream>, shown: Option<&Shown>) -> Self {
        Self { stream, shown: shown.and_then(|shown| shown.certificate.load_full()) }
    }
}

/// Knows what one client was shown.
#[derive(Debug)]
struct Shown {
    resolver: Arc<Resolver>,
    certificate: ArcSwapOption<Certificate>,
}

impl Shown {
    fn new(resolver: Arc<Resolver>) -> Self {
        Self { resolver, certificate: ArcSwapOption::empty() }
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = self.resolver.choose(hello.server_name(), hello.signature_schemes())?;
        let key = Arc::clone(chosen.shown());
        self.certificate.store(Some(chosen));
        Some(key)
    }
}
