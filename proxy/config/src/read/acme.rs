//! `[acme.NAME]`, and `tls.acme` of a listener.

use std::{collections::BTreeSet, ops::RangeInclusive, path::PathBuf, sync::Arc, time::Duration};

use super::{Names, checked, named, text};
use crate::{
    model::{Acme, Challenge, Eab, HostMatch, KeyType, Listener, Protocol, Wanted},
    node::{Node, Table},
    suggest,
    syntax::{self, Wrong},
};

const DIRECTORY: &str = "`\"letsencrypt\"`, or the URL of a directory";
const WANTED: &str = "`{ use = \"letsencrypt\", names = [\"www.example.com\"] }`";
const HOSTS: &str = "`[\"www.example.com\"]`";
const MAIL: &str = "`\"ops@example.com\"`";
/// Most names an authority puts into one certificate.
const MOST_NAMES: usize = 100;
const RENEW_BEFORE: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(365 * 86_400);

const DIRECTORIES: [(&str, &str); 2] = [
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
];

const CHALLENGES: [(&str, Challenge); 2] = [("http-01", Challenge::Http), ("tls-alpn-01", Challenge::TlsAlpn)];

const KEY_TYPES: [(&str, KeyType); 4] = [
    ("ecdsa-p256", KeyType::EcdsaP256),
    ("ecdsa-p384", KeyType::EcdsaP384),
    ("rsa-2048", KeyType::Rsa2048),
    ("rsa-4096", KeyType::Rsa4096),
];

/// Every authority with its node. Two of them may not share an account's file.
pub(super) fn authorities<'a>(nodes: &[Node<'a>]) -> Vec<(Acme, Node<'a>)> {
    let read: Vec<_> = nodes.iter().filter_map(|node| Some((authority(node)?, node.clone()))).collect();
    for (index, (acme, node)) in read.iter().enumerate() {
        let same = |(other, _): &&(Acme, Node<'_>)| other.storage == acme.storage && other.directory == acme.directory;
        if let Some((other, _)) = read.iter().take(index).find(same) {
            let problem = format!("`{}` has its account with this authority in the same folder", other.name);
            node.key_fault(problem, "give one of them another `storage`");
        }
    }
    read
}

fn authority(node: &Node<'_>) -> Option<Acme> {
    let table = node.table("`[acme.NAME]` above its keys")?;
    let directory = table.require("directory", "\"letsencrypt\"").and_then(|node| checked(&node, DIRECTORY, directory));
    agreement(&table);
    let acme = Acme {
        name: named(node),
        directory: directory.unwrap_or_default(),
        contact: table.read("contact", |node| node.each(&format!("[{MAIL}]"), mail)).unwrap_or_default(),
        storage: table.read("storage", storage).unwrap_or_else(|| node.beside("acme")),
        challenge: table.read("challenge", |node| node.choice(&CHALLENGES)).unwrap_or(Challenge::TlsAlpn),
        ca: table.read("ca", Node::file),
        key_type: table.read("key-type", |node| node.choice(&KEY_TYPES)).unwrap_or(KeyType::EcdsaP256),
        renew_before: table.read("renew-before", |node| node.duration(RENEW_BEFORE)),
        eab: table.read("eab", eab),
    };
    table.done();
    Some(acme)
}

/// The URL of a directory, or the name of one that is well known.
fn directory(text: &str) -> Result<String, Wrong> {
    if let Some((_, url)) = DIRECTORIES.iter().find(|(name, _)| *name == text) {
        return Ok((*url).to_owned());
    }
    let Some(rest) = text.strip_prefix("https://") else {
        let problem = match text.starts_with("http://") {
            true => format!("`{text}` is not encrypted"),
            false => format!("`{text}` is no directory"),
        };
        let remedy = suggest::remedy(text, &DIRECTORIES.map(|(name, _)| name), "well-known directories");
        return Err((problem, format!("{remedy}; write others as a URL that begins with `https://`")));
    };
    let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => host,
        _ => authority,
    };
    syntax::host_name(&host.to_ascii_lowercase())?;
    match rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err((format!("`{text}` is not a URL"), "write it as the authority's documentation has it".to_owned())),
    }
}

/// Authorities have their customers agree to something; it is the operator who does.
fn agreement(table: &Table<'_>) {
    let Some(node) = table.require("terms-agreed", "true") else { return };
    if node.boolean() == Some(false) {
        let remedy = "read the authority's terms of service and write `terms-agreed = true`";
        node.fault::<()>("an authority issues nothing to who does not agree to its terms", remedy);
    }
}

/// A mail address, as a URL.
fn mail(node: &Node<'_>) -> Option<String> {
    let address = text(node, MAIL, |text| {
        let address = text.strip_prefix("mailto:").unwrap_or(text);
        let plain = address.bytes().all(|byte| byte.is_ascii_graphic() && !b",?;".contains(&byte));
        match address.split_once('@') {
            Some((user, host)) if plain && !user.is_empty() && syntax::host_name(host).is_ok() => Ok(()),
            _ => Err((format!("`{text}` is not a mail address"), format!("write {MAIL}"))),
        }
    })?;
    Some(if address.starts_with("mailto:") { address } else { format!("mailto:{address}") })
}

/// A folder that is there or can be made.
fn storage(node: &Node<'_>) -> Option<PathBuf> {
    let path = node.path()?;
    match path.exists() && !path.is_dir() {
        true => node.fault(format!("{} is not a folder", path.display()), "name a folder; it is made if need be"),
        false => Some(path),
    }
}

fn eab(node: &Node<'_>) -> Option<Eab> {
    let table = node.table("`{ key-id = \"kid-1\", key = \"eab.key\" }`")?;
    let key_id = table.require("key-id", "\"kid-1\"").and_then(|node| node.string("`\"kid-1\"`").map(str::to_owned));
    let key = table.require("key", "\"eab.key\"").and_then(|node| node.private_file());
    table.done();
    Some(Eab { key_id: key_id?, key: key? })
}

/// `tls.acme`: one certificate, or an array of them.
pub(super) fn wanted<'a>(node: &Node<'a>, names: &Names<'a>) -> Option<Vec<Wanted>> {
    if !node.is_array() {
        return Some(vec![certificate(node, names)?]);
    }
    match node.is_empty_array() {
        true => node.fault("there is no certificate", format!("write {WANTED}")),
        false => node.each(WANTED, |node| certificate(node, names)),
    }
}

fn certificate<'a>(node: &Node<'a>, names: &Names<'a>) -> Option<Wanted> {
    let table = node.table(WANTED)?;
    let authority = table.require("use", "\"letsencrypt\"").and_then(|node| node.reference("authority", &names.acme));
    let hosts = table.require("names", "[\"www.example.com\"]").and_then(|node| hosts(&node));
    table.done();
    let authority = authority?;
    names.used_acme.borrow_mut().insert(authority);
    Some(Wanted { authority: Arc::from(authority), names: hosts? })
}

fn hosts(node: &Node<'_>) -> Option<Vec<String>> {
    let number = node.array(HOSTS)?.len();
    if number == 0 || number > MOST_NAMES {
        return node.fault(
            format!("{number} names are not what an authority certifies"),
            format!("write 1 to {MOST_NAMES}; `acme` may be an array of certificates"),
        );
    }
    let read = node.each(HOSTS, |node| Some((checked(node, "`\"www.example.com\"`", host)?, node.clone())))?;
    let mut seen = BTreeSet::new();
    for (host, node) in &read {
        if !seen.insert(host) {
            node.fault::<()>(format!("`{host}` is named twice"), "name it once");
        }
    }
    Some(read.iter().map(|(host, _)| host.clone()).collect())
}

/// What can be proven to be ours by answering for it.
fn host(text: &str) -> Result<String, Wrong> {
    let name = match syntax::host(text)? {
        HostMatch::Exact(name) => name,
        HostMatch::Suffix(suffix) => {
            let problem = format!("`*{suffix}` cannot be proven by `http-01` or `tls-alpn-01`");
            return Err((problem, "name each host, or have a certificate in files".to_owned()));
        }
    };
    let is_address = name.starts_with('[') || name.parse::<std::net::IpAddr>().is_ok();
    match !is_address && name.contains('.') {
        true => Ok(name),
        false => Err((
            format!("`{text}` is no public host name"),
            "write a name as clients know it, as in `www.example.com`".to_owned(),
        )),
    }
}

/// Whoever proves names by HTTP has to be asked by HTTP.
pub(super) fn challenges_are_met(
    authorities: &[(Acme, Node<'_>)],
    listeners: &[(Listener, Node<'_>)],
    used: &BTreeSet<&str>,
) {
    let plain = |(listener, _): &(Listener, Node<'_>)| listener.protocol == Protocol::Http && listener.tls.is_none();
    if listeners.iter().any(plain) {
        return;
    }
    let by_http = |(acme, _): &&(Acme, Node<'_>)| acme.challenge == Challenge::Http && used.contains(&*acme.name);
    for (acme, node) in authorities.iter().filter(by_http) {
        let problem = format!("`{}` asks by plain HTTP on port 80, and no listener is for that", acme.name);
        node.key_warn(problem, "add a listener without `tls`, or write `challenge = \"tls-alpn-01\"`");
    }
}
