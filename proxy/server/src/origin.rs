//! Where a client's connection came from as others told us, and how endpoints are told of it.

use std::{cell::OnceCell, net::SocketAddr, rc::Rc};

use weir_config::ProxyVersion;
use weir_plugin::TlsFacts;
use weir_preamble::{
    Header,
    proxy::{Addresses, Ssl, Tlvs, Transport, Version},
};
use weir_upstream::{Rng, connection::Pools};

/// What is known of a client's connection beside the client's address.
#[derive(Debug, Default, Clone)]
pub struct Origin {
    /// Where the client connected to.
    pub destination: Option<SocketAddr>,
    /// What the proxy before us said of the client's side.
    pub tlvs: Tlvs,
}

impl Origin {
    /// Of a client that connected to this address of ours.
    pub fn at(destination: SocketAddr) -> Self {
        Self { destination: Some(destination), tlvs: Tlvs::default() }
    }
}

impl From<&Header> for Origin {
    fn from(header: &Header) -> Self {
        Self { destination: header.addresses.map(|addresses| addresses.destination), tlvs: header.tlvs.clone() }
    }
}

/// Connections to endpoints that begin with a client's own PROXY header. They end with it.
#[derive(Default)]
pub struct OwnPools {
    v1: OnceCell<Rc<Pools>>,
    v2: OnceCell<Rc<Pools>>,
}

impl std::fmt::Debug for OwnPools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnPools")
    }
}

impl OwnPools {
    /// Those of this version, on a worker with these pools; `header` is asked for the first time only.
    pub fn of(&self, version: ProxyVersion, worker: &Pools, header: impl FnOnce(Version) -> Header) -> &Pools {
        let pools = match version {
            ProxyVersion::V1 => &self.v1,
            ProxyVersion::V2 => &self.v2,
        };
        pools.get_or_init(|| worker.beginning_with(header(self::version(version)).octets()))
    }
}

/// The version a cluster wants, in the words of those who write it.
pub fn version(wanted: ProxyVersion) -> Version {
    match wanted {
        ProxyVersion::V1 => Version::V1,
        ProxyVersion::V2 => Version::V2,
    }
}

/// The header that tells an endpoint of a client. What a proxy before us said is passed on where
/// this side of the connection does not know better.
pub fn header(
    version: Version,
    transport: Transport,
    (source, destination): (SocketAddr, SocketAddr),
    told: &Tlvs,
    authority: Option<&str>,
    tls: Option<&TlsFacts>,
) -> Header {
    let addresses = Addresses { transport, source, destination };
    if version == Version::V1 {
        return Header::of(version, addresses, Tlvs::default());
    }
    let alpn = tls.and_then(|tls| tls.alpn.as_ref()).map(|alpn| alpn.clone().into_bytes());
    let tlvs = Tlvs {
        alpn: alpn.or_else(|| told.alpn.clone()),
        authority: authority.map(str::to_owned),
        unique_id: Some(told.unique_id.clone().unwrap_or_else(unique_id)),
        ssl: tls.map(ssl).or_else(|| told.ssl.clone()),
        namespace: None,
    };
    Header::of(version, addresses, tlvs)
}

fn ssl(tls: &TlsFacts) -> Ssl {
    match &tls.client {
        Some(certificate) => Ssl::verified(&tls.version, certificate.common_name.as_deref()),
        None => Ssl::anonymous(&tls.version),
    }
}

/// 32 hexadecimal digits that no other connection has.
fn unique_id() -> Vec<u8> {
    let mut rng = Rng::seeded();
    format!("{:016x}{:016x}", rng.bits(), rng.bits()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(told: &Tlvs, tls: Option<&TlsFacts>) -> Tlvs {
        let ends = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap());
        header(Version::V2, Transport::Stream, ends, told, Some("a.test"), tls).tlvs
    }

    #[test]
    fn each_connection_has_an_id_of_its_own() {
        let id = |told: &Tlvs| headers(told, None).unique_id.unwrap();
        assert_eq!(id(&Tlvs::default()).len(), 32);
        assert_ne!(id(&Tlvs::default()), id(&Tlvs::default()));
        assert_eq!(id(&Tlvs { unique_id: Some(b"its".to_vec()), ..Tlvs::default() }), b"its");
    }

    #[test]
    fn our_own_side_is_known_better_than_what_was_told() {
        let told = Tlvs { alpn: Some(b"h2".to_vec()), ssl: Some(Ssl::anonymous("TLSv1.2")), ..Tlvs::default() };
        let passed = headers(&told, None);
        assert_eq!((&passed.alpn, &passed.ssl), (&told.alpn, &told.ssl));
        let tls = TlsFacts { version: "TLSv1.3".into(), sni: Some("a.test".into()), alpn: None, client: None };
        let own = headers(&told, Some(&tls));
        assert_eq!((own.authority.as_deref(), own.alpn), (Some("a.test"), told.alpn));
        assert_eq!(own.ssl.unwrap().version.as_deref(), Some("TLSv1.3"));
    }
}
