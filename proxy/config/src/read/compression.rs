//! `compression` of a route.

use super::checked;
use crate::{
    model::{Action, ByteSize, Coding, Compression},
    node::Node,
    syntax,
};

const CODINGS: [(&str, Coding); 3] = [("zstd", Coding::Zstd), ("br", Coding::Brotli), ("gzip", Coding::Gzip)];

/// What is text, and is not small already.
const TYPES: [&str; 11] = [
    "text/*",
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/xml",
    "application/atom+xml",
    "application/rss+xml",
    "application/xhtml+xml",
    "application/wasm",
    "image/svg+xml",
];

pub(super) fn compression(node: &Node<'_>) -> Option<Compression> {
    let table = node.table("`{ min-size = \"1KiB\" }`")?;
    let compression = Compression {
        types: table.read("types", types).unwrap_or_else(|| TYPES.map(str::to_owned).to_vec()),
        min_size: table.read("min-size", |node| node.size(0..=1 << 30)).unwrap_or(ByteSize(1 << 10)),
        algorithms: table.read("algorithms", codings).unwrap_or_else(|| CODINGS.map(|(_, coding)| coding).to_vec()),
    };
    table.done();
    Some(compression)
}

fn types(node: &Node<'_>) -> Option<Vec<String>> {
    let example = "`[\"text/*\"]`";
    let types = node.each(example, |node| checked(node, "`\"text/html\"`", syntax::media_type))?;
    listed(node, example, types)
}

fn codings(node: &Node<'_>) -> Option<Vec<Coding>> {
    let example = "`[\"gzip\"]`";
    let codings = node.each(example, |node| node.choice(&CODINGS))?;
    listed(node, example, codings)
}

fn listed<T>(node: &Node<'_>, example: &str, values: Vec<T>) -> Option<Vec<T>> {
    if node.array(example)?.is_empty() {
        return node.fault("nothing is listed: nothing is compressed", "list some, or leave out `compression`");
    }
    Some(values)
}

/// Notes what compresses nothing.
pub(super) fn warn_of_compression(action: &Action, has_plugins: bool, node: &Node<'_>) {
    if matches!(action, Action::Respond(_) | Action::Redirect(_)) && !has_plugins {
        node.key_warn("only responses of endpoints are compressed, and none answers here", "leave out `compression`");
    }
}
