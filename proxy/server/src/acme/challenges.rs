//! What authorities want to see at the moment: put up by orders, read by workers.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::PrivateKeyDer,
    server::{Acceptor, ClientHello},
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::{Mutex, OwnedMutexGuard},
};
use tokio_rustls::LazyConfigAcceptor;

use crate::tls::{ServerTls, Shaken};

/// Where an authority asks by HTTP (RFC 8555 section 8.3).
const PATH: &str = "/.well-known/acme-challenge/";
/// The protocol it asks for by ALPN (RFC 8737 section 4).
const PROTOCOL: &[u8] = b"acme-tls/1";

/// What is put up now. Looking whether there is anything costs one load.
#[derive(Debug, Default)]
pub struct Challenges {
    by_http: AtomicUsize,
    by_tls: AtomicUsize,
    put_up: ArcSwap<PutUp>,
    /// Handshakes do not say which authority looks: there is one order at a time that is proved by them.
    turn: Arc<Mutex<()>>,
}

#[derive(Debug, Default, Clone)]
struct PutUp {
    /// By token.
    http: HashMap<String, Bytes>,
    /// By host.
    tls: HashMap<String, Arc<ServerConfig>>,
}

impl Challenges {
    /// What is to be said to a request for this path.
    pub fn http(&self, path: &str) -> Option<Bytes> {
        if self.by_http.load(Relaxed) == 0 {
            return None;
        }
        self.put_up.load().http.get(path.strip_prefix(PATH)?).cloned()
    }

    /// Shake hands. None when it was an authority that wanted to see the host's proof, and has.
    ///
    /// # Errors
    /// Of the handshake.
    pub async fn accept(&self, tls: &ServerTls, stream: TcpStream) -> std::io::Result<Option<Shaken>> {
        if self.by_tls.load(Relaxed) == 0 {
            return tls.handshake().make(stream).await.map(Some);
        }
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let Some(proof) = self.proof(&hello.client_hello()) else {
            return tls.handshake().go_on(hello).await.map(Some);
        };
        hello.into_stream(proof).await?.shutdown().await?;
        Ok(None)
    }

    /// How to shake hands with an authority; none where the client is another.
    fn proof(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let asks = hello.alpn()?.any(|protocol| protocol == PROTOCOL);
        let name = hello.server_name().filter(|_| asks)?.to_ascii_lowercase();
        self.put_up.load().tls.get(&name).cloned()
    }

    /// Wait until no other order is proved by handshakes.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Answer requests for a token, until the answer is dropped.
    pub(super) fn answer_http(self: &Arc<Self>, token: &str, authorization: &str) -> Answer {
        let body = Bytes::copy_from_slice(authorization.as_bytes());
        self.change(|put_up| drop(put_up.http.insert(token.to_owned(), body.clone())));
        self.by_http.fetch_add(1, Relaxed);
        Answer { challenges: Arc::clone(self), key: Key::Token(token.to_owned()) }
    }

    /// Answer handshakes for a host, until the answer is dropped. `digest` is the SHA-256 of the key
    /// authorization.
    pub(super) fn answer_tls(self: &Arc<Self>, host: &str, digest: [u8; 32]) -> Result<Answer, String> {
        let config = Arc::new(proof(host, &digest)?);
        self.change(|put_up| drop(put_up.tls.insert(host.to_owned(), Arc::clone(&config))));
        self.by_tls.fetch_add(1, Relaxed);
        Ok(Answer { challenges: Arc::clone(self), key: Key::Host(host.to_owned()) })
    }

    fn change(&self, change: impl Fn(&mut PutUp)) {
        self.put_up.rcu(|put_up| {
            let mut next = PutUp::clone(put_up);
            change(&mut next);
            next
        });
    }
}

/// What an authority is shown. It is gone with this.
#[derive(Debug)]
pub(super) struct Answer {
    challenges: Arc<Challenges>,
    key: Key,
}

#[derive(Debug)]
enum Key {
    Token(String),
    Host(String),
}

impl Drop for Answer {
    fn drop(&mut self) {
        let counter = match &self.key {
            Key::Token(_) => &self.challenges.by_http,
            Key::Host(_) => &self.challenges.by_tls,
        };
        counter.fetch_sub(1, Relaxed);
        self.challenges.change(|put_up| match &self.key {
            Key::Token(token) => drop(put_up.http.remove(token)),
            Key::Host(host) => drop(put_up.tls.remove(host)),
        });
    }
}

/// A certificate that says nothing but what the authority wants to see (RFC 8737 section 3).
fn proof(host: &str, digest: &[u8; 32]) -> Result<ServerConfig, String> {
    let fault = |error: rcgen::Error| error.to_string();
    let mut params = CertificateParams::new(vec![host.to_owned()]).map_err(fault)?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate().map_err(fault)?;
    let certificate = params.self_signed(&key).map_err(fault)?.der().clone();
    let key = aws_lc_rs::sign::any_supported_type(&PrivateKeyDer::try_from(key.serialize_der())?);
    let key = key.map_err(|error| error.to_string())?;
    // Not by way of what checks certificates: what this one says is critical, and for authorities alone.
    let shown = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::CertifiedKey as CertifiedPair;
    use rustls::ClientConfig;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;
    use weir_config::{Protocol, UpstreamTls};

    use super::*;
    use crate::tls::Terms;

    #[test]
    fn an_answer_stands_until_it_is_dropped() {
        let challenges = Arc::new(Challenges::default());
        assert_eq!(challenges.http("/.well-known/acme-challenge/one"), None);
        let one = challenges.answer_http("one", "one.thumb");
        let two = challenges.answer_http("two", "two.thumb");
        assert_eq!(challenges.http("/.well-known/acme-challenge/one").as_deref(), Some(&b"one.thumb"[..]));
        assert_eq!(challenges.http("/.well-known/acme-challenge/two").as_deref(), Some(&b"two.thumb"[..]));
        assert_eq!(challenges.http("/.well-known/acme-challenge/"), None);
        assert_eq!(challenges.http("/one"), None);
        drop(one);
        assert_eq!(challenges.http("/.well-known/acme-challenge/one"), None);
        drop(two);
        assert_eq!(challenges.by_http.load(Relaxed), 0);
    }

    /// A listener's TLS.
    fn listener(folder: &Path) -> ServerTls {
        let CertifiedPair { cert, signing_key } = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        std::fs::write(folder.join("a.pem"), cert.pem()).unwrap();
        std::fs::write(folder.join("a.key"), signing_key.serialize_pem()).unwrap();
        let text = "[listeners.a]\naddress = \"127.0.0.1:0\"\n\
                    tls = { certificates = [{ cert = \"a.pem\", key = \"a.key\" }] }\n\
                    [[routes]]\nname = \"r\"\nrespond = {}\n";
        std::fs::write(folder.join("weir.toml"), text).unwrap();
        let config = weir_config::load(&folder.join("weir.toml")).unwrap().config;
        let tls = config.listeners[0].tls.as_ref().unwrap();
        ServerTls::load(tls, Protocol::Http, &Terms::at_start(), None).unwrap()
    }

    /// Whether an authority that looks at a host by a handshake is shown a proof, which clients of ours do not take:
    /// the listener itself speaks no such protocol.
    async fn shown(challenges: &Challenges, tls: &ServerTls, host: &'static str) -> bool {
        let settings = UpstreamTls { verify: false, ca: None, sni: None, identity: None };
        let mut client = ClientConfig::clone(&weir_upstream::client_tls(&settings, false).unwrap());
        client.alpn_protocols = vec![PROTOCOL.to_vec()];
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let asking = TlsConnector::from(Arc::new(client)).connect(host.try_into().unwrap(), stream);
        let (accepted, _) = socket.accept().await.unwrap();
        let (answered, _) = tokio::join!(challenges.accept(tls, accepted), asking);
        let error = answered.map(drop).unwrap_err().into_inner().unwrap();
        !matches!(error.downcast_ref(), Some(rustls::Error::NoApplicationProtocol))
    }

    #[tokio::test]
    async fn handshakes_are_looked_at_only_while_something_is_put_up() {
        let folder = tempfile::tempdir().unwrap();
        let (challenges, tls) = (Arc::new(Challenges::default()), listener(folder.path()));
        let answer = challenges.answer_tls("a.test", [7; 32]).unwrap();
        assert!(shown(&challenges, &tls, "a.test").await);
        assert!(!shown(&challenges, &tls, "b.test").await);
        // As if nothing were put up: what is there would be found by who looked.
        challenges.by_tls.store(0, Relaxed);
        assert!(!shown(&challenges, &tls, "a.test").await);
        challenges.by_tls.store(1, Relaxed);
        drop(answer);
        assert_eq!(challenges.by_tls.load(Relaxed), 0);
        assert!(!shown(&challenges, &tls, "a.test").await);
    }
}
