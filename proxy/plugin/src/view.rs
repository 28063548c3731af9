//! What a decision is about, as the host sees it: implemented by whoever carries the exchange.
//!
//! The traits only lend. A guest that asks for one header causes one look-up and one copy into its
//! memory; what it doesn't ask for costs nothing.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

/// What is known of a client's TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: String,
    /// Server name the client asked for.
    pub sni: Option<String>,
    /// Application protocol agreed on: `h2` or `http/1.1`.
    pub alpn: Option<String>,
    /// By what the client proved who it is.
    pub client: Option<Arc<ClientCertificate>>,
}

/// The certificate of a client, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// RFC 4514, in printable ASCII: `CN=billing,O=Example`.
    pub subject: String,
    /// Common name of the subject.
    pub common_name: Option<String>,
    /// Name of the authority, written like the subject.
    pub issuer: String,
    /// Serial number in hexadecimal.
    pub serial: String,
    /// Alternative names with their kinds, in printable ASCII without commas: `DNS:a.example.com`.
    pub names: Vec<String>,
    /// SHA-256 in hexadecimal.
    pub fingerprint: String,
}

/// The request under decision.
///
/// Names of headers and cookies come from a guest and may hold anything. Values that are not UTF-8
/// are given with the offending octets replaced.
pub trait RequestView {
    /// As sent: `GET`.
    fn method(&self) -> &str;
    /// `http` or `https`.
    fn scheme(&self) -> &str;
    /// Host with port where one was sent.
    fn authority(&self) -> &str;
    /// Path as sent, without the query.
    fn path(&self) -> &str;
    /// Query as sent, without the question mark.
    fn query(&self) -> Option<&str>;
    /// First value of a header; the name compares without case.
    fn header(&self, name: &str) -> Option<Cow<'_, str>>;
    /// Every value of a header, in order.
    fn headers(&self, name: &str, each: &mut dyn FnMut(&str));
    /// Names of all header fields in lower case, in order, repeated where the field is.
    fn header_names(&self, each: &mut dyn FnMut(&str));
    /// First value of a cookie.
    fn cookie(&self, name: &str) -> Option<Cow<'_, str>>;
    /// The client's address.
    fn client(&self) -> IpAddr;
    /// None on a plain connection.
    fn tls(&self) -> Option<TlsFacts>;
    /// None where the client showed no certificate that was verified.
    fn client_certificate(&self) -> Option<&ClientCertificate> {
        None
    }
    /// Customer of the operator this request belongs to.
    fn tenant(&self) -> Option<&str>;
    /// Name of the listener it came in by.
    fn listener(&self) -> &str;
    /// Name of the route it matched.
    fn route(&self) -> &str;
}

/// Figures of one endpoint at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Requests in flight, over all workers.
    pub in_flight: u32,
    /// Smoothed time to the response's head in microseconds; 0 before the first response.
    pub latency: u32,
    /// As configured.
    pub weight: u32,
    /// Degraded rather than healthy.
    pub degraded: bool,
}

/// The endpoints that may be picked, by index from 0.
pub trait CandidatesView {
    /// How many there are.
    fn len(&self) -> u32;
    /// True where there is nothing to pick.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Changes when the set, its order or a weight does.
    fn epoch(&self) -> u64;
    /// Figures of one endpoint; none past the end.
    fn figures(&self, index: u32) -> Option<Figures>;
    /// Stable name of an endpoint: its address as text.
    fn name(&self, index: u32) -> Option<&str>;
    /// One label of an endpoint.
    fn label(&self, index: u32, key: &str) -> Option<&str>;
    /// Key the router stage set for hashing.
    fn hash_key(&self) -> Option<&str>;
}
