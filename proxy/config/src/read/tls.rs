//! `tls` of listeners and clusters.

use std::sync::Arc;

use super::{Names, acme::wanted, checked, edits, matching::alpn, text};
use crate::{
    model::{Certificate, ClientAuth, ClientFact, ClientIdentity, ListenerTls, Protocol, TlsVersion, UpstreamTls},
    node::{Node, Table},
    syntax,
};

const TLS_VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];

const CLIENT_FACTS: [(&str, ClientFact); 6] = [
    ("subject", ClientFact::Subject),
    ("common-name", ClientFact::CommonName),
    ("issuer", ClientFact::Issuer),
    ("serial", ClientFact::Serial),
    ("names", ClientFact::Names),
    ("fingerprint", ClientFact::Fingerprint),
];

const CERTIFICATES: &str = "`[{ cert = \"cert.pem\", key = \"key.pem\" }]`";

/// Whether a protocol goes with there being `tls`.
pub(super) fn fits(node: &Node<'_>, protocol: Protocol, tls: Option<&Node<'_>>) {
    match (protocol, tls) {
        (Protocol::Tls, None) => drop(node.fault::<()>(
            "there is no certificate to end TLS with",
            "add `tls = { certificates = [..] }`, or let it pass with `protocol = \"tls-passthrough\"`",
        )),
        (Protocol::Tcp | Protocol::TlsPassthrough | Protocol::Udp, Some(tls)) => {
            tls.key_fault(
                "this protocol passes on what comes as it is",
                "leave out `tls`, or set `protocol = \"tls\"`",
            );
        }
        _ => {}
    }
}

/// `tls` of a listener of this protocol.
pub(super) fn listener<'a>(node: &Node<'a>, protocol: Protocol, names: &Names<'a>) -> Option<ListenerTls> {
    let table = node.table("`{ certificates = [{ cert = \"cert.pem\", key = \"key.pem\" }] }`")?;
    let acme = table.get("acme");
    if let Some(stray) = table.entries().into_iter().find(|entry| matches!(entry.name(), "cert" | "key")) {
        let remedy = format!("write `certificates = {}`", CERTIFICATES.trim_matches('`'));
        stray.key_fault(format!("`{}` belongs to one of `certificates`", stray.name()), remedy);
        return None;
    }
    let certificates = match acme {
        Some(_) => table.get("certificates"),
        None => table.require("certificates", CERTIFICATES.trim_matches('`')),
    };
    let http2_node = table.get("http2");
    let http2 = http2_node.as_ref().and_then(Node::boolean).unwrap_or(true);
    let alpn_node = table.get("alpn");
    let alpn = alpn_node.as_ref().and_then(|node| node.each("`[\"h2\"]`", alpn)).unwrap_or_default();
    let min_version = table.read("min-version", |node| node.choice(&TLS_VERSIONS)).unwrap_or(TlsVersion::V1_2);
    let client_auth = table.read("client-auth", |node| client_auth(node, protocol));
    let ticket_keys = table.read("ticket-keys", Node::private_file);
    let strict_node = table.get("strict-host");
    let strict_host = strict_node.as_ref().and_then(Node::boolean).unwrap_or(false);
    table.done();
    if let (Protocol::Tls, true, Some(node)) = (protocol, strict_host, strict_node) {
        node.key_fault("only requests of HTTP have a host", "leave out `strict-host`");
    }
    match (protocol, http2_node, alpn_node) {
        (Protocol::Http, _, Some(node)) if !alpn.is_empty() => {
            node.key_fault("HTTP decides itself what it offers", "set `http2`, or `protocol = \"tls\"`");
        }
        (Protocol::Tls, Some(node), _) => node.key_fault("this is not HTTP", "list the protocols in `alpn`"),
        _ => {}
    }
    let acme = match &acme {
        Some(node) => wanted(node, names)?,
        None => Vec::new(),
    };
    let certificates = match certificates {
        Some(node) if acme.is_empty() && node.array(CERTIFICATES)?.is_empty() => {
            return node.fault("there is no certificate", format!("write {CERTIFICATES}"));
        }
        Some(node) => node.each(CERTIFICATES, |node| certificate(node, names))?,
        None if acme.is_empty() => return None,
        None => Vec::new(),
    };
    Some(ListenerTls { certificates, acme, http2, alpn, min_version, client_auth, strict_host, ticket_keys })
}

fn client_auth(node: &Node<'_>, protocol: Protocol) -> Option<ClientAuth> {
    let table = node.table("`{ mode = \"required\", ca = \"clients.pem\" }`")?;
    let modes = [("required", true), ("optional", false)];
    let required = table.read("mode", |node| node.choice(&modes)).unwrap_or(true);
    let ca = table.require("ca", "\"clients.pem\"").and_then(|node| node.file());
    let crl = table.read("crl", Node::file);
    let headers_node = table.get("headers");
    let headers = headers_node.as_ref().and_then(client_headers).unwrap_or_default();
    table.done();
    if let (Protocol::Tls, Some(node)) = (protocol, headers_node) {
        node.key_fault("only requests of HTTP have headers", "leave out `headers`");
    }
    Some(ClientAuth { required, ca: ca?, crl, headers })
}

fn client_headers(node: &Node<'_>) -> Option<Vec<(ClientFact, String)>> {
    let table = node.table("`{ subject = \"x-client-cert-subject\" }`")?;
    let mut headers: Vec<(ClientFact, String)> = Vec::new();
    for (key, fact) in CLIENT_FACTS {
        let Some(node) = table.get(key) else { continue };
        let Some(name) = checked(&node, "`\"x-client-cert-subject\"`", edits::request_header) else { continue };
        match headers.iter().any(|(_, taken)| *taken == name) {
            true => drop(node.fault::<()>(format!("`{name}` is there already"), "give each its own name")),
            false => headers.push((fact, name)),
        }
    }
    table.done();
    Some(headers)
}

fn certificate<'a>(node: &Node<'a>, names: &Names<'a>) -> Option<Certificate> {
    let table = node.table("`{ cert = \"cert.pem\", key = \"key.pem\" }`")?;
    let cert = table.require("cert", "\"cert.pem\"").and_then(|node| node.file());
    let key = table.require("key", "\"key.pem\"").and_then(|node| node.private_file());
    let ocsp = table.read("ocsp", Node::file);
    let name_node = table.get("name");
    let name = name_node.as_ref().and_then(|node| text(node, "`\"shop\"`", syntax::name));
    table.done();
    let certificate = Certificate { name: name.map(Arc::from), cert: cert?, key: key?, ocsp };
    let (name, mut known) = (&certificate.name, names.certificates.borrow_mut());
    let stranger = known.iter().any(|one| name.is_some() && one.name == *name && *one != certificate);
    if let (true, Some(node)) = (stranger, name_node) {
        return node.fault("another certificate has this name", "give each its own name");
    }
    known.push(certificate.clone());
    Some(certificate)
}

/// `tls` of a cluster.
pub(super) fn cluster(node: &Node<'_>) -> Option<UpstreamTls> {
    let table = node.table("`{}` for TLS with the defaults")?;
    let ca = table.read("ca", Node::file);
    let sni = table.read("sni", |node| checked(node, "a name in quotes", syntax::host_name));
    let verify_node = table.get("verify");
    let verify = verify_node.as_ref().and_then(Node::boolean).unwrap_or(true);
    let identity = identity(&table);
    table.done();
    if let (false, Some(node)) = (verify, verify_node) {
        node.key_warn(
            "certificates of endpoints are not verified: whoever is between can read and change all",
            "trust their authority by `ca` instead",
        );
    }
    Some(UpstreamTls { ca, sni, verify, identity })
}

/// `cert` and `key`, which are of no use alone.
fn identity(table: &Table<'_>) -> Option<ClientIdentity> {
    match (table.get("cert"), table.get("key")) {
        (Some(cert), Some(key)) => Some(ClientIdentity { cert: cert.file()?, key: key.private_file()? }),
        (Some(cert), None) => cert.fault("the certificate has no key", "add `key`"),
        (None, Some(key)) => key.fault("the key has no certificate", "add `cert`"),
        (None, None) => None,
    }
}
