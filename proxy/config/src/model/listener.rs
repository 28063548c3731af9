//! What `[listeners.NAME]` means.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{Access, ByteSize, ListenerTls, Network};

/// `[listeners.NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Its name in the file.
    pub name: Arc<str>,
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// What its clients speak. Default HTTP.
    pub protocol: Protocol,
    /// The cluster that takes its connections, routes aside; HTTP has none.
    pub cluster: Option<Arc<str>>,
    /// Present when connections are TLS.
    pub tls: Option<ListenerTls>,
    /// What a client may take.
    pub limits: Limits,
    /// Networks of clients that may come in.
    pub access: Access,
    /// Names of limits that its requests must keep to, where the protocol is HTTP.
    pub rate_limits: Vec<Arc<str>>,
    /// Names of limits that its connections must keep to, or its sessions of datagrams.
    pub connection_limits: Vec<Arc<str>>,
    /// How the client's address is told to endpoints.
    pub forwarded: Forwarded,
    /// Present when connections may begin with a PROXY header.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How paths of requests are read, and what endpoints are sent of them.
    pub paths: Paths,
}

/// `paths` of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paths {
    /// What `%2F`, `%5C` and `\` in a path are. Default keep.
    pub encoded_slashes: EncodedSlashes,
    /// What endpoints are sent. Default normalised.
    pub send: SentPath,
}

/// `encoded-slashes` of a listener's `paths`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodedSlashes {
    /// Part of a segment's name; refused where the path as slashes would be another route's.
    Keep,
    /// Slashes like others.
    Decode,
    /// The request gets 400.
    Refuse,
}

/// `send` of a listener's `paths`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentPath {
    /// The form by which the route was found.
    Normalised,
    /// As the client sent it, unless a plugin or the route rewrites it.
    AsSent,
}

/// `protocol` of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/2, over TLS where there is `tls`.
    Http,
    /// Anything over TCP, passed on as it is.
    Tcp,
    /// Anything over TLS, which ends here.
    Tls,
    /// TLS that passes as it is, with its first message looked at.
    TlsPassthrough,
    /// Anything over UDP, in sessions by the client's address.
    Udp,
}

impl Protocol {
    /// As in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::TlsPassthrough => "tls-passthrough",
            Self::Udp => "udp",
        }
    }
}

/// `proxy-protocol` of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Close connections that do not begin with a header, and those of peers that are not trusted.
    pub required: bool,
    /// Peers whose header is believed; at least one network.
    pub trusted: Vec<Network>,
}

/// `limits` of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open connections over all workers; further ones wait in the backlog. Default 8,000. Of UDP:
    /// sessions; datagrams of others are dropped.
    pub connections: usize,
    /// Request line and headers together. Default 32 KiB; larger ones get 431 (414 for the line alone).
    pub header_bytes: ByteSize,
    /// Number of header fields. Default 128; more get 431.
    pub headers: usize,
    /// Path and query together; more get 414. None is what `header_bytes` leaves.
    pub url_bytes: Option<ByteSize>,
    /// Body of a request, where neither its route nor its tenant says otherwise; more get 413. None is
    /// unlimited.
    pub max_body: Option<ByteSize>,
    /// From the first byte of a request (or the accept) to the end of its head. Default 10 s, then 408.
    pub header_timeout: Duration,
    /// Between two requests of a connection, 75 s by default; for other protocols longest silence of both
    /// sides, 10 min by default and 1 min for UDP.
    pub idle_timeout: Duration,
    /// Longest wait for the client to send or to take the next bytes of a body. Default 60 s.
    pub body_timeout: Duration,
    /// Octets of a body that earn a second of that patience; none lets any octet restore all of it.
    pub min_rate: Option<ByteSize>,
    /// Concurrent streams of an HTTP/2 connection. Default 128.
    pub h2_streams: u32,
}

/// `forwarded` of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// What happens to values the client sent. Default replace, and trusted where proxies are.
    pub mode: ForwardedMode,
    /// Which headers are set. Default `x-forwarded-for`, `x-forwarded-proto`, `x-forwarded-host`.
    pub headers: Vec<ForwardedHeader>,
    /// Proxies whose `X-Forwarded-For` names the client, and whose `X-Forwarded-Proto` its scheme. Default none.
    pub trusted: Vec<Network>,
}

/// What happens to forwarding headers that the client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedMode {
    /// They are removed, and ours are set: right at the edge.
    Replace,
    /// Those of trusted proxies are believed and added to, those of others replaced: right behind a CDN.
    Trusted,
    /// Ours are appended to those of trusted proxies, or to all where none are named.
    Append,
    /// They pass as they came and nothing is added.
    Off,
}

/// A forwarding header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `X-Forwarded-Proto`
    XForwardedProto,
    /// `X-Forwarded-Host`
    XForwardedHost,
    /// `X-Forwarded-Port`
    XForwardedPort,
    /// `X-Real-IP`
    XRealIp,
    /// `Forwarded` (RFC 7239)
    Forwarded,
}
