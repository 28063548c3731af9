//! A request on its way through: what was asked, by whom, and how plugins see it.

use std::{
    borrow::Cow,
    cell::OnceCell,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
};

use http::{
    HeaderMap, HeaderValue, Method, Uri, Version,
    header::{COOKIE, HOST},
};
use weir_config::RequestKey;
use weir_http1::Length;
use weir_plugin::{CandidatesView, ClientCertificate, Figures, RequestView, TlsFacts};
use weir_preamble::{
    Header, Hello,
    proxy::{self, Ssl, Tlvs, Transport},
};
use weir_upstream::{
    Candidates, State,
    connection::{Connector, Pools},
};

use crate::{
    gate::Permit,
    listening::Listening,
    origin::{self, Origin, OwnPools},
    path::normal::Spelling,
    router::{host_of, lower_case},
    tenant::Tenant,
    tls::{Certificate, Session},
};

/// Who asks: the same for every exchange of a connection.
#[derive(Debug)]
pub struct Client {
    /// Its address, wherever it was learnt from: the one address that counts as the client's.
    pub address: SocketAddr,
    /// Whoever asked us: the client itself, or the trusted proxy that named it in a header field.
    pub peer: SocketAddr,
    /// Where it came in.
    pub listener: Arc<Listening>,
    /// What else is known of its connection.
    pub origin: Option<Box<Origin>>,
    /// What it says first in TLS that passes through.
    pub hello: Option<Box<Hello>>,
    /// None on a plain connection.
    pub tls: Option<TlsFacts>,
    /// The certificate it was shown, where its requests have to keep to the hosts of that.
    pub shown: Option<Arc<Certificate>>,
    /// What it holds of limits of connections.
    pub permit: Option<Box<Permit>>,
    /// How it came to the trusted proxy before us, as that says in a header field.
    told_scheme: Option<&'static str>,
    ip: OnceCell<Option<HeaderValue>>,
    own: OwnPools,
}

impl Client {
    /// At the other end of a connection, as far as that is known when it is accepted.
    pub fn new(address: SocketAddr, listener: Arc<Listening>) -> Self {
        let (ip, own) = Default::default();
        Self {
            address,
            peer: address,
            listener,
            origin: None,
            hello: None,
            tls: None,
            shown: None,
            permit: None,
            told_scheme: None,
            ip,
            own,
        }
    }

    /// Learn what is known of its TLS.
    pub fn learn(&mut self, session: Option<Session>) {
        if let Some(Session { facts, shown }) = session {
            (self.tls, self.shown) = (Some(facts), shown);
        }
    }

    /// By what it proved who it is.
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        self.tls.as_ref()?.client.as_deref()
    }

    /// Learn what the proxy before us says; about itself it says nothing of interest.
    pub fn introduce(&mut self, header: &Header) {
        if let Some(addresses) = &header.addresses {
            (self.address, self.peer) = (addresses.source, addresses.source);
        }
        if !header.local {
            let before = self.origin.take().and_then(|origin| origin.destination);
            let origin = Origin::from(header);
            self.origin = Some(Box::new(Origin { destination: origin.destination.or(before), ..origin }));
        }
    }

    /// Whom this one speaks for, as it says in a header field.
    pub fn speaking_for(&self, address: SocketAddr, told_scheme: Option<&'static str>) -> Self {
        let (origin, tls, shown) = (self.origin.clone(), self.tls.clone(), self.shown.clone());
        let (peer, listener) = (self.address, Arc::clone(&self.listener));
        Self { peer, origin, tls, shown, told_scheme, ..Self::new(address, listener) }
    }

    /// Its address without port, as a field value. Made when it is first needed.
    pub fn ip_value(&self) -> Option<HeaderValue> {
        self.ip.get_or_init(|| ip_value(self.address.ip())).clone()
    }

    /// The connections of its own that a cluster wants, where each begins by naming its client.
    pub fn own_pools(&self, connector: &Connector, worker: &Pools) -> Option<&Pools> {
        connector.introduces().map(|version| self.own.of(version, worker, |version| self.header(version)))
    }

    /// What a connection to an endpoint has to begin with; mostly nothing.
    pub fn introduction(&self, connector: &Connector) -> Vec<u8> {
        connector.introduces().map(|version| self.header(origin::version(version)).octets()).unwrap_or_default()
    }

    /// The server it asked for, as its TLS or the proxy before us says.
    pub fn sni(&self) -> Option<&str> {
        let own = self.tls.as_ref().and_then(|tls| tls.sni.as_deref());
        let seen = || self.hello.as_ref().and_then(|hello| hello.sni.as_deref());
        own.or_else(seen).or_else(|| self.origin.as_ref().and_then(|origin| origin.tlvs.authority.as_deref()))
    }

    /// Whether a protocol was agreed on by ALPN, or may be.
    pub fn speaks(&self, protocol: &str) -> bool {
        let agreed = self.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
        let told = || self.origin.as_ref().and_then(|origin| origin.tlvs.alpn.as_deref());
        match (&self.hello, agreed) {
            (Some(hello), _) => hello.alpn.iter().any(|name| name == protocol.as_bytes()),
            (None, Some(agreed)) => agreed == protocol,
            (None, None) => told() == Some(protocol.as_bytes()),
        }
    }

    /// [`Self::own_pools`] for work that may outlive the connection.
    pub fn lasting_pools(&self, connector: &Connector, worker: &Pools) -> Option<Rc<Pools>> {
        connector.introduces().map(|_| worker.beginning_with(self.introduction(connector)))
    }

    fn header(&self, version: proxy::Version) -> Header {
        let origin = self.origin.as_deref();
        let destination = self.destination();
        let transport = match self.listener.is_of_datagrams() {
            true => Transport::Datagram,
            false => Transport::Stream,
        };
        let (nothing, tls) = (Tlvs::default(), self.tls.as_ref());
        let told = origin.map_or(&nothing, |origin| &origin.tlvs);
        origin::header(version, transport, (self.address, destination), told, self.sni(), tls)
    }

    /// Its address without port; an IPv4 address in the clothes of IPv6 is an IPv4 address.
    pub fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }

    /// Where it connected to, as far as that is known.
    pub fn destination(&self) -> SocketAddr {
        self.origin.as_ref().and_then(|origin| origin.destination).unwrap_or(self.listener.address())
    }

    /// `http` or `https`, as a trusted proxy says in a header field, or else as its connection is.
    pub fn scheme(&self) -> &'static str {
        self.told_scheme.unwrap_or_else(|| self.connection_scheme())
    }

    /// `http` or `https`, as its own connection is or as a PROXY header says of the client's side.
    pub fn connection_scheme(&self) -> &'static str {
        let told = || self.origin.as_ref().and_then(|origin| origin.tlvs.ssl.as_ref());
        if self.tls.is_some() || told().is_some_and(Ssl::is_tls) { "https" } else { "http" }
    }
}

/// An address without port as a field value.
pub fn ip_value(ip: IpAddr) -> Option<HeaderValue> {
    let IpAddr::V4(ip) = ip else { return HeaderValue::try_from(ip.to_string()).ok() };
    // Made for every connection: as text it would cost several times as much.
    let mut value = Vec::with_capacity("255.255.255.255".len());
    for octet in ip.octets() {
        value.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
        value.push(b'.');
    }
    value.pop();
    HeaderValue::try_from(value).ok()
}

/// What is asked.
#[derive(Debug)]
pub struct Request {
    /// As sent.
    pub method: Method,
    /// Its path in normal form, or as it is rewritten.
    pub uri: Uri,
    /// Of the client's message.
    pub version: Version,
    /// Fields, `host` among them. Those about the connection are gone.
    pub headers: HeaderMap,
    /// Of the body.
    pub length: Length,
    /// Protocol the client wants to switch to.
    pub upgrade: Option<HeaderValue>,
    /// Key the router stage set for balancers that hash.
    pub hash_key: Option<String>,
    /// Labels an endpoint must have.
    pub labels: Vec<(String, String)>,
    /// Whose request it is.
    pub tenant: Option<Arc<Tenant>>,
    /// Its path as its client wrote it, as far as that still matters.
    pub spelling: Spelling,
}

impl Request {
    /// Host, with port where one was sent.
    pub fn authority(&self) -> &str {
        self.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
    }

    /// Path and query as endpoints are sent them, or `*`.
    pub fn target(&self) -> &str {
        self.spelling.sent().or(self.uri.path_and_query()).map_or("/", |target| target.as_str())
    }

    /// Ask for something else, in the words of a plugin or of the route.
    pub fn rewrite(&mut self, uri: Uri) {
        (self.uri, self.spelling) = (uri, Spelling::default());
    }

    /// Name of the tenant it belongs to.
    pub fn tenant_name(&self) -> Option<&Arc<str>> {
        self.tenant.as_ref().map(|tenant| tenant.name())
    }

    /// Whether it came as extended CONNECT, which is the GET with `Upgrade` of HTTP/2 (RFC 8441).
    pub fn is_extended_connect(&self) -> bool {
        self.upgrade.is_some() && self.version == Version::HTTP_2
    }

    /// How long its head is as HTTP/1.1 writes it.
    pub fn head_octets(&self) -> usize {
        let line = self.method.as_str().len() + self.target().len() + " HTTP/1.1\r\n ".len();
        let fields = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
        line + fields.sum::<usize>() + "\r\n".len()
    }

    /// Whether doing it twice is the same as doing it once (RFC 9110 section 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        self.method.is_idempotent()
    }

    /// First value of a query parameter, decoded.
    pub fn parameter(&self, name: &str) -> Option<Vec<u8>> {
        let mut pairs = self.uri.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let (_, value) = pairs.find(|(key, _)| decoded(key).eq(name.bytes()))?;
        Some(decoded(value).collect())
    }

    /// What is made of the value by which it is told from others; none where it has none.
    pub fn keyed<T>(&self, by: &RequestKey, client: &Client, make: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let known = |value: &&[u8]| !value.is_empty();
        match by {
            RequestKey::Header(name) => {
                self.key_field(name).filter(|value| known(&value.as_ref())).map(|value| make(&value))
            }
            RequestKey::Cookie(name) => self.cookie(name).map(str::as_bytes).filter(known).map(make),
            RequestKey::Query(name) => self.parameter(name).filter(|value| !value.is_empty()).map(|value| make(&value)),
            RequestKey::SourceIp => Some(match client.ip() {
                IpAddr::V4(v4) => make(&v4.octets()),
                // The host's part of an address changes by itself.
                IpAddr::V6(v6) => make(v6.octets().first_chunk::<8>()?),
            }),
        }
    }

    /// The value of a field by which requests are told apart. A host is the same in any case, with or without its port
    /// and the dot at its end.
    pub fn key_field(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let value = self.headers.get(name)?;
        match value.to_str() {
            Ok(host) if name.eq_ignore_ascii_case(HOST.as_str()) => Some(match lower_case(host_of(host)) {
                Cow::Borrowed(host) => Cow::Borrowed(host.as_bytes()),
                Cow::Owned(host) => Cow::Owned(host.into_bytes()),
            }),
            _ => Some(Cow::Borrowed(value.as_bytes())),
        }
    }

    /// First value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies(name).next()
    }

    /// All values of a cookie that are UTF-8; whatever other cookies hold.
    pub fn cookies(&self, name: &str) -> impl Iterator<Item = &str> {
        let lines = self.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
        let pairs = lines.flat_map(|line| line.split(|byte| *byte == b';'));
        let pairs = pairs.filter_map(|pair| str::from_utf8(pair.trim_ascii()).ok()?.split_once('='));
        pairs.filter_map(move |(key, value)| (key == name).then_some(value))
    }
}

/// The protocols that a field `Upgrade` or `:protocol` names; none where it cannot be read.
pub fn protocols(upgrade: &HeaderValue) -> impl Iterator<Item = &str> {
    upgrade.to_str().unwrap_or_default().split(',').map(str::trim)
}

/// Whether one of these protocols is HTTP again (`h2c`, `HTTP/2.0`, or `TLS/1.0` with HTTP in it): its requests would pass by
/// routes and limits. What cannot be read may be.
pub fn hides_http(upgrade: &HeaderValue) -> bool {
    upgrade.to_str().is_err()
        || protocols(upgrade).any(|protocol| {
            let name = protocol.split('/').next().unwrap_or_default();
            let is_h2c = name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("h2c"));
            is_h2c || name.eq_ignore_ascii_case("http") || name.eq_ignore_ascii_case("tls")
        })
}

/// A part of a query, with `+` and percent encoding undone.
pub fn decoded(encoded: &str) -> impl Iterator<Item = u8> {
    let mut octets = encoded.bytes();
    std::iter::from_fn(move || match octets.next()? {
        b'+' => Some(b' '),
        b'%' => {
            let (high, low) = (hex(octets.next()), hex(octets.next()));
            Some(high.zip(low).map_or(b'%', |(high, low)| high * 16 + low))
        }
        octet => Some(octet),
    })
}

fn hex(digit: Option<u8>) -> Option<u8> {
    char::from(digit?).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// What plugins see of a request.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// What is asked.
    pub request: &'a Request,
    /// Who asks.
    pub client: &'a Client,
    /// The route that took it.
    pub route: &'a str,
}

impl RequestView for View<'_> {
    fn method(&self) -> &str {
        self.request.method.as_str()
    }

    fn scheme(&self) -> &str {
        self.client.scheme()
    }

    fn authority(&self) -> &str {
        self.request.authority()
    }

    fn path(&self) -> &str {
        self.request.uri.path()
    }

    fn query(&self) -> Option<&str> {
        self.request.uri.query()
    }

    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.request.headers.get(name).map(lossy)
    }

    fn headers(&self, name: &str, each: &mut dyn FnMut(&str)) {
        self.request.headers.get_all(name).iter().for_each(|value| each(&lossy(value)));
    }

    fn header_names(&self, each: &mut dyn FnMut(&str)) {
        self.request.headers.iter().for_each(|(name, _)| each(name.as_str()));
    }

    fn cookie(&self, name: &str) -> Option<Cow<'_, str>> {
        self.request.cookie(name).map(Cow::Borrowed)
    }

    fn client(&self) -> IpAddr {
        self.client.ip()
    }

    fn tls(&self) -> Option<TlsFacts> {
        self.client.tls.clone()
    }

    fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.client.certificate()
    }

    fn tenant(&self) -> Option<&str> {
        self.request.tenant_name().map(AsRef::as_ref)
    }

    fn listener(&self) -> &str {
        self.client.listener.name()
    }

    fn route(&self) -> &str {
        self.route
    }
}

fn lossy(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

/// What balancer plugins see of the endpoints.
#[derive(Debug, Clone, Copy)]
pub struct Eligible<'a> {
    /// Those that may be picked.
    pub candidates: &'a Candidates,
    /// Key the router stage set.
    pub hash_key: Option<&'a str>,
}

impl CandidatesView for Eligible<'_> {
    fn len(&self) -> u32 {
        u32::try_from(self.candidates.len()).unwrap_or(u32::MAX)
    }

    fn epoch(&self) -> u64 {
        self.candidates.epoch()
    }

    fn figures(&self, index: u32) -> Option<Figures> {
        let endpoint = self.candidates.get(index as usize)?;
        Some(Figures {
            in_flight: endpoint.in_flight(),
            latency: endpoint.latency(),
            weight: endpoint.weight(),
            degraded: endpoint.state() == State::Degraded,
        })
    }

    fn name(&self, index: u32) -> Option<&str> {
        self.candidates.get(index as usize).map(|endpoint| endpoint.name())
    }

    fn label(&self, index: u32, key: &str) -> Option<&str> {
        self.candidates.get(index as usize)?.labels().get(key).map(String::as_str)
    }

    fn hash_key(&self) -> Option<&str> {
        self.hash_key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_not_hidden_in_a_tunnel() {
        let hides = |text| hides_http(&HeaderValue::from_static(text));
        for text in ["h2c", "H2C", "h2c-14", "foo, h2c", "websocket,h2c", "HTTP/2.0", "tls/1.0"] {
            assert!(hides(text), "{text}");
        }
        for octets in [&b"h2c, \xff"[..], b"\xff, h2c", b"websocket\xff"] {
            assert!(hides_http(&HeaderValue::from_bytes(octets).unwrap()), "{octets:?}");
        }
        for text in ["websocket", "h2", "ch2c", "SPDY/3.1", "tcp", "connect-udp", ""] {
            assert!(!hides(text), "{text}");
        }
    }

    #[test]
    fn addresses_read_as_usual() {
        for text in ["0.0.0.0", "10.9.200.1", "255.255.255.255", "::1", "2001:db8::7"] {
            assert_eq!(ip_value(text.parse().unwrap()).unwrap(), text);
        }
    }
}
