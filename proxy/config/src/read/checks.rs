//! What a health check asks: `http`, `tcp`, `grpc` and `exec` of `health`.

use super::{checked, text};
use crate::{
    model::{ExecCheck, GrpcCheck, HealthKind, HttpCheck, TcpCheck, UpstreamTls},
    node::Node,
    read::{
        matching::{header_name, header_text, pairs},
        secrets::secret,
    },
    syntax::{self, Wrong},
};

/// Headers of a check that have keys of their own or belong to the connection.
const OURS: [&str; 7] = ["connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade"];

/// How a cluster is spoken to, which its checks follow unless they say otherwise.
pub(super) struct Protocol<'p> {
    /// Over HTTP/2.
    pub http2: bool,
    /// Over TLS.
    pub tls: Option<&'p UpstreamTls>,
    /// A route forwards requests to it.
    pub takes_requests: bool,
}

pub(super) fn http(node: &Node<'_>, protocol: &Protocol<'_>) -> Option<HealthKind> {
    let table = node.table("`{ path = \"/healthz\" }`")?;
    let default = HttpCheck::default();
    let check = HttpCheck {
        path: table.read("path", |node| text(node, "`\"/healthz\"`", syntax::target)).unwrap_or(default.path),
        host: table.read("host", host),
        method: table.read("method", |node| checked(node, "`\"GET\"`", syntax::method)).unwrap_or(default.method),
        headers: pairs(&table, "headers", own_header).unwrap_or_default(),
        expect: table.read("expect", expect).unwrap_or(default.expect),
        body: table.read("body", |node| text(node, "the text in quotes", not_empty)),
        body_regex: table.read("body-regex", |node| text(node, "`\"^ok\"`", regex)),
        http2: table.read("http2", Node::boolean).unwrap_or(protocol.http2),
    };
    if check.method == "HEAD" {
        let wanted = table.get("body").or_else(|| table.get("body-regex"));
        wanted.inspect(|node| node.key_fault("an answer to HEAD has no body", "ask by `GET`"));
    }
    table.done();
    Some(HealthKind::Http(check))
}

pub(super) fn tcp(node: &Node<'_>, protocol: &Protocol<'_>) -> Option<HealthKind> {
    let table = node.table("`{}`, or `{ send = \"PING\\r\\n\", expect = \"+PONG\" }`")?;
    let send = table.read("send", octets).unwrap_or_default();
    let expect = table.read("expect", octets).unwrap_or_default();
    table.done();
    if protocol.takes_requests && expect.is_empty() {
        node.key_warn(
            "only that a connection can be made is checked: a process that hangs still accepts connections",
            "ask for a page that only a working process answers: `http = { path = \"/healthz\" }`",
        );
    }
    Some(HealthKind::Tcp(TcpCheck { send, expect }))
}

pub(super) fn grpc(node: &Node<'_>) -> Option<HealthKind> {
    let table = node.table("`{}`, or `{ service = \"shop.Orders\" }`")?;
    let service = table.read("service", |node| node.string("the service's name in quotes"));
    let host = table.read("host", host);
    table.done();
    Some(HealthKind::Grpc(GrpcCheck { service: service.unwrap_or_default().to_owned(), host }))
}

pub(super) fn exec(node: &Node<'_>) -> Option<HealthKind> {
    let example = "`{ command = \"/usr/local/bin/check\" }`";
    let table = node.table(example)?;
    let command = table.require("command", "\"/usr/local/bin/check\"").and_then(|node| command(&node));
    let args = table.read("args", |node| node.each("`[\"--fast\"]`", argument)).unwrap_or_default();
    table.done();
    Some(HealthKind::Exec(ExecCheck { command: command?, args }))
}

/// A path to a file that is there, or a name without `/`.
fn command(node: &Node<'_>) -> Option<String> {
    let command = argument(node)?;
    if command.contains('/') {
        return Some(node.file()?.to_string_lossy().into_owned());
    }
    match command.is_empty() || command.contains(char::is_whitespace) {
        true => node.fault(
            format!("`{command}` is not a command: no shell takes it apart"),
            "write the program, and what follows it in `args`",
        ),
        false => Some(command),
    }
}

fn argument(node: &Node<'_>) -> Option<String> {
    let no_zero = |text: &str| match text.contains('\0') {
        true => Err(("a program cannot be given the character zero".to_owned(), "leave it out".to_owned())),
        false => Ok(()),
    };
    text(node, "text in quotes", no_zero)
}

/// A Host header: here a port may follow.
pub(super) fn host(node: &Node<'_>) -> Option<String> {
    let check = |text: &str| {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => (host, Some(port)),
            _ => (text, None),
        };
        let host = syntax::host_name(&host.to_ascii_lowercase())?;
        Ok(port.map_or(host.clone(), |port| format!("{host}:{port}")))
    };
    checked(node, "a host in quotes", check)
}

fn own_header(node: &Node<'_>) -> Option<(String, String)> {
    let value = match node.is_table() {
        true => secret(node).map(|secret| secret.reveal().to_owned()),
        false => header_text(node),
    };
    let (name, value) = header_name(node).zip(value)?;
    if OURS.contains(&&*name) {
        let remedy = if name == "host" { "write it as `host` of the check" } else { "leave it out" };
        node.key_fault(format!("`{name}` is not for a check to set"), remedy);
    }
    Some((name, value))
}

fn not_empty(text: &str) -> Result<(), Wrong> {
    match text.is_empty() {
        true => Err(("every body contains the empty text".to_owned(), "leave it out".to_owned())),
        false => Ok(()),
    }
}

fn regex(text: &str) -> Result<(), Wrong> {
    not_empty(text)?;
    match regex::bytes::Regex::new(text) {
        Ok(_) => Ok(()),
        Err(error) => {
            let shown = error.to_string();
            let why = shown.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Err((format!("this is not a regular expression: {why}"), "see docs.rs/regex for its syntax".to_owned()))
        }
    }
}

/// Text, or `{ hex = "2b 4f 4b" }`.
pub(super) fn octets(node: &Node<'_>) -> Option<Vec<u8>> {
    node.hide();
    if let Some(text) = node.as_string() {
        return Some(text.as_bytes().to_vec());
    }
    let table = node.table("`\"PING\\r\\n\"` or `{ hex = \"50 49 4e 47\" }`")?;
    let hex = table.require("hex", "\"50 49 4e 47\"");
    table.done();
    checked(&hex?, "`\"50 49 4e 47\"`", from_hex)
}

fn from_hex(text: &str) -> Result<Vec<u8>, Wrong> {
    let wrong = || ("this is not hexadecimal".to_owned(), "write two digits for each octet".to_owned());
    let mut octets = Vec::new();
    for group in text.split_ascii_whitespace() {
        for pair in group.as_bytes().chunks(2) {
            let digits = std::str::from_utf8(pair).map_err(|_| wrong())?;
            let whole = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            octets.push(u8::from_str_radix(digits, 16).ok().filter(|_| whole).ok_or_else(wrong)?);
        }
    }
    if octets.is_empty() { Err(wrong()) } else { Ok(octets) }
}

fn expect(node: &Node<'_>) -> Option<Vec<(u16, u16)>> {
    let example = "`[\"200-299\", 302]`";
    if node.array(example)?.is_empty() {
        return node.fault("no status counts as healthy", format!("write {example}"));
    }
    node.each(example, |node| statuses(node, 200))
}

/// `302` or `"200-299"`; a single one is none below `least`.
pub(super) fn statuses(node: &Node<'_>, least: u16) -> Option<(u16, u16)> {
    if node.is_integer() {
        let status = u16::try_from(node.integer(u32::from(least)..=599)?).ok()?;
        return Some((status, status));
    }
    let text = node.string("`302` or `\"200-299\"`")?;
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (low.trim().parse::<u16>(), high.trim().parse::<u16>()) {
        (Ok(low), Ok(high)) if 200 <= low && low <= high && high <= 599 => Some((low, high)),
        _ => node.fault(format!("`{text}` is not a range of statuses"), range_remedy(text)),
    }
}

/// `2xx` is how people say it.
fn range_remedy(text: &str) -> String {
    match text.to_ascii_lowercase().strip_suffix("xx") {
        Some(hundreds @ ("2" | "3" | "4" | "5")) => {
            format!("did you mean `\"{hundreds}00-{hundreds}99\"`?")
        }
        _ => "write two statuses from 200 to 599, the lower first, as in `\"200-299\"`".to_owned(),
    }
}
