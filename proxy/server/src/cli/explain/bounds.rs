//! What clients and the process may take, where that is said.

use weir_config::{ByteSize, EncodedSlashes, Limits, Paths, Process, SentPath};

use super::{count, size};

/// Where the process as a whole has a limit.
pub fn of_process(process: &Process) -> Option<(&'static str, String)> {
    let connections = process.max_connections.map(|most| count(most, "connection"));
    let memory = process.max_memory.map(|most| format!("{} of memory", size(most)));
    let limits: Vec<String> = connections.into_iter().chain(memory).collect();
    (!limits.is_empty()).then(|| ("at most", limits.join(", ")))
}

/// Limits of a listener that are off by default.
pub fn of_listener(limits: &Limits) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(limits.url_bytes.map(|most| format!("URLs of at most {}", size(most))));
    lines.extend(limits.max_body.map(body));
    lines.extend(limits.min_rate.map(|rate| format!("bodies at {} a second or faster", size(rate))));
    lines
}

/// How paths are read where that is said.
pub fn of_paths(paths: Paths) -> Vec<String> {
    let mut lines = Vec::new();
    match paths.encoded_slashes {
        EncodedSlashes::Keep => {}
        EncodedSlashes::Decode => lines.push("an encoded slash in a path is a slash".to_owned()),
        EncodedSlashes::Refuse => lines.push("paths with an encoded slash get 400".to_owned()),
    }
    if paths.send == SentPath::AsSent {
        lines.push("endpoints are sent paths as they came".to_owned());
    }
    lines
}

/// Bodies of requests.
pub fn body(most: ByteSize) -> String {
    format!("bodies of at most {}", size(most))
}
