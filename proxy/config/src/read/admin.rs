//! `[admin]`.

use std::{net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use super::{Names, checked, process::socket_path, text, tls};
use crate::{
    model::{Admin, AdminAddress, AdminRole, AdminToken, ListenerTls, Protocol, SocketFile},
    node::{Node, Table},
    syntax,
};

const EXAMPLE: &str = "\"unix:/run/weir/admin.sock\"";
/// Fewest characters of a token.
const TOKEN: usize = 16;

const ROLES: [(&str, AdminRole); 3] =
    [("read", AdminRole::Read), ("operate", AdminRole::Operate), ("deploy", AdminRole::Deploy)];
const ROLES_AND_NONE: [(&str, AdminRole); 4] = [
    ("none", AdminRole::None),
    ("read", AdminRole::Read),
    ("operate", AdminRole::Operate),
    ("deploy", AdminRole::Deploy),
];

/// With the nodes of its addresses over TCP.
pub(super) fn admin<'a>(root: &Table<'a>, names: &Names<'a>) -> Option<(Admin, Vec<(SocketAddr, Node<'a>)>)> {
    let table = root.read("admin", |node| node.table("`[admin]` above its keys"))?;
    let address_node = table.require("address", EXAMPLE);
    let address = address_node.as_ref().and_then(address);
    let socket = socket(&table, address.as_ref());
    let read_only_node = table.get("read-only");
    let read_only = read_only_node.as_ref().and_then(Node::address);
    let hosts = table.read("hosts", |node| node.each("`[\"weir.example.com\"]`", host)).unwrap_or_default();
    let tokens = tokens(&table);
    let open_node = table.get("unauthenticated");
    let open = open_node.as_ref().and_then(|node| node.choice(&ROLES_AND_NONE));
    let tls_node = table.get("tls");
    let tls = tls_node.as_ref().and_then(|node| admin_tls(node, names));
    let certified_node = table.get("client-certificate-role");
    let certified = certified_node.as_ref().and_then(|node| node.choice(&ROLES));
    let for_tcp = ["tokens", "unauthenticated", "tls", "client-certificate-role"].map(|key| table.get(key));
    table.done();
    let (address_node, address) = (address_node?, address?);
    if let AdminAddress::Unix(_) = address {
        for node in for_tcp.into_iter().flatten() {
            node.key_fault(
                "the permissions of the Unix socket decide who may connect, and each may do everything",
                "leave this out, or set `mode`, `owner` and `group`",
            );
        }
    }
    if let Some(node) = certified_node.filter(|_| tls.as_ref().is_none_or(|tls| tls.client_auth.is_none())) {
        node.key_fault("clients show no certificate", "add `client-auth = { ca = \"clients.pem\" }` to `tls`");
    }
    let unauthenticated =
        open.unwrap_or(match tokens.is_empty() && tls.as_ref().is_none_or(|tls| tls.client_auth.is_none()) {
            true => AdminRole::Read,
            false => AdminRole::None,
        });
    let admin = Admin {
        address,
        socket,
        read_only,
        hosts,
        tokens,
        unauthenticated,
        tls,
        client_certificate_role: certified.unwrap_or(AdminRole::Read),
    };
    let mut addresses = Vec::new();
    if let AdminAddress::Tcp(address) = admin.address {
        warn_of_reach(&admin, address, &address_node);
        addresses.push((address, address_node));
    }
    addresses.extend(read_only.zip(read_only_node));
    Some((admin, addresses))
}

/// `127.0.0.1:9901` or `unix:PATH`.
fn address(node: &Node<'_>) -> Option<AdminAddress> {
    let text = node.string(EXAMPLE)?;
    if let Some(path) = text.strip_prefix("unix:") {
        return match path.is_empty() {
            true => node.fault("the Unix socket has no path", format!("write {EXAMPLE}")),
            false => socket_path(node, node.beside(path)).map(AdminAddress::Unix),
        };
    }
    if text.starts_with('/') || text.ends_with(".sock") {
        return node.fault(format!("`{text}` is a path, not an address"), format!("write `\"unix:{text}\"`"));
    }
    node.address().map(AdminAddress::Tcp)
}

fn socket(table: &Table<'_>, address: Option<&AdminAddress>) -> SocketFile {
    let nodes = ["mode", "owner", "group"].map(|key| table.get(key));
    if let Some(AdminAddress::Tcp(_)) = address {
        for node in nodes.iter().flatten() {
            node.key_fault("only a Unix socket has an owner and a mode", format!("write `address = {EXAMPLE}`"));
        }
    }
    let [mode_node, owner, group] = nodes;
    let name = |node: Option<Node<'_>>| node.and_then(|node| account(&node)).map(Arc::from);
    SocketFile { mode: mode_node.and_then(|node| mode(&node)).unwrap_or(0o600), owner: name(owner), group: name(group) }
}

fn mode(node: &Node<'_>) -> Option<u32> {
    let example = "three octal digits in quotes, as in `\"0660\"`";
    let text = node.string(example)?;
    let digits = (3..=4).contains(&text.len()) && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
    let Some(mode) = mode else {
        return node.fault(format!("`{text}` is not a mode"), format!("write {example}"));
    };
    if mode & 0o200 == 0 {
        return node
            .fault("not even the owner may connect", "a mode of a socket needs write permission, as `\"0600\"` has");
    }
    if mode & 0o002 != 0 {
        node.warn("every user of this machine may change plugins", "use `\"0660\"` and a `group`");
    }
    Some(mode)
}

fn account<'a>(node: &Node<'a>) -> Option<&'a str> {
    let text = node.string("a name or a number in quotes")?;
    match text.is_empty() || text.contains(['\0', ':']) {
        true => node.fault(format!("`{text}` is not an account"), "write a name or a number, as in `\"weir\"`"),
        false => Some(text),
    }
}

fn host(node: &Node<'_>) -> Option<String> {
    checked(node, "a name in quotes", |text| syntax::host_name(&text.to_ascii_lowercase()))
}

fn tokens(table: &Table<'_>) -> Vec<AdminToken> {
    let example = "`[{ file = \"deploy.token\", role = \"deploy\" }]`";
    let Some(node) = table.get("tokens") else { return Vec::new() };
    let mut seen: Vec<String> = Vec::new();
    let each = node.array(example).unwrap_or_default();
    if each.is_empty() {
        node.fault::<()>("there is no token", format!("write {example}, or leave this out"));
    }
    let mut tokens = Vec::new();
    for node in &each {
        let Some((token, secret)) = token(node, example) else { continue };
        if seen.contains(&secret) {
            node.fault::<()>("another file has the same token", "give each holder its own token");
        }
        seen.push(secret);
        tokens.push(token);
    }
    tokens
}

fn token(node: &Node<'_>, example: &str) -> Option<(AdminToken, String)> {
    let table = node.table(example.trim_matches(['`', '[', ']']))?;
    let file_node = table.require("file", "\"deploy.token\"");
    let role = table.require("role", "\"deploy\"").and_then(|node| node.choice(&ROLES));
    let name = table.read("name", |node| text(node, "`\"ci\"`", syntax::name));
    table.done();
    let file_node = file_node?;
    let file = file_node.file()?;
    let open = file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0);
    if open {
        let shown = file.display();
        let problem = format!("{shown} is open to every user of this machine");
        return file_node.fault(problem, format!("take their rights away: `chmod o= {shown}`"));
    }
    let secret = match read_token(&file) {
        Ok(secret) => secret,
        Err(why) => return file_node.fault(why, "write one with `openssl rand -hex 32`"),
    };
    let stem = || file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name = Arc::from(name.unwrap_or_else(stem));
    Some((AdminToken { name, file, role: role? }, secret))
}

/// The token in a file: one line of at least 16 visible characters.
///
/// # Errors
/// The file cannot be read, or holds something else; for people, without what it holds.
pub fn read_token(file: &Path) -> Result<String, String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let token = text.trim();
    match token.len() {
        0 => Err(format!("{shown} is empty: it has no token")),
        _ if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(format!("{shown} holds something else than one token: visible ASCII characters without spaces"))
        }
        1..TOKEN => Err(format!("the token in {shown} has fewer than {TOKEN} characters: it could be guessed")),
        _ => Ok(token.to_owned()),
    }
}

/// TLS of the admin address: HTTP/1.1, with certificates from files.
fn admin_tls<'a>(node: &Node<'a>, names: &Names<'a>) -> Option<ListenerTls> {
    let tls = tls::listener(node, Protocol::Http, names)?;
    if !tls.acme.is_empty() {
        return node
            .fault("the admin address takes certificates from files", "write `certificates = [..]` instead of `acme`");
    }
    Some(ListenerTls { http2: false, ..tls })
}

fn warn_of_reach(admin: &Admin, address: SocketAddr, node: &Node<'_>) {
    if address.ip().is_loopback() {
        return;
    }
    let (problem, remedy) = match (admin.unauthenticated, &admin.tls) {
        (AdminRole::Operate | AdminRole::Deploy, _) => (
            "every host that reaches the admin address may change endpoints or plugins",
            "use a Unix socket, or `tokens` with `tls`, and leave `unauthenticated` out",
        ),
        (_, None) if !admin.tokens.is_empty() => (
            "tokens and answers cross the network in clear text",
            "add `tls = { certificates = [..] }`, or use a Unix socket",
        ),
        (AdminRole::Read, None) => (
            "every host that reaches the admin address sees the status and the metrics",
            "use a Unix socket, and `read-only` for those that scrape metrics",
        ),
        _ => return,
    };
    node.warn(problem, remedy);
}
