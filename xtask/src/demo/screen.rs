//! The demo's terminal: the lines to try stay at the top, requests pass below them, a short line each.

use std::{
    collections::HashMap,
    io::{self, BufRead, IsTerminal, Write},
};

use terminal_size::{Height, terminal_size};

use super::users;

/// Rows below the fixed part that are worth a scroll region.
const LEAST_ROWS: u16 = 6;

/// Standard output, with a fixed part at the top where it is a terminal that is high enough.
pub struct Screen {
    colour: bool,
    fixed: bool,
}

impl Screen {
    /// Shows `top`, which stays in sight on a terminal.
    pub fn open(top: &str) -> Screen {
        let terminal = io::stdout().is_terminal();
        let lines = u16::try_from(top.lines().count()).unwrap_or(u16::MAX);
        let height = terminal_size().map_or(0, |(_, Height(height))| height);
        let fixed = terminal && height > lines.saturating_add(LEAST_ROWS);
        let colour = terminal && std::env::var_os("NO_COLOR").is_none();
        if fixed {
            // Clear, print the fixed part, then let only the rows below it scroll (DECSTBM).
            print!("\x1b[2J\x1b[H{top}\x1b[{};{height}r\x1b[{};1H", lines + 1, lines + 1);
        } else {
            print!("{top}");
        }
        flush();
        Screen { colour, fixed }
    }

    /// Shows each request that Weir logs, until its log ends.
    pub fn follow(&self, log: impl BufRead) {
        for line in log.lines().map_while(Result::ok) {
            if let Some(short) = shorten(&line, self.colour) {
                println!("{short}");
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.fixed {
            println!("\x1b[r\x1b[999;1H");
            flush();
        }
    }
}

fn flush() {
    // A terminal that went away takes nothing from the demo.
    drop(io::stdout().flush());
}

/// One line of the access log as the demo shows it; none for other lines, and for the demo's own requests.
fn shorten(line: &str, colour: bool) -> Option<String> {
    let fields = fields(line);
    let get = |key| fields.get(key).copied();
    let (method, path, status) = (get("method")?, get("path")?, get("status")?);
    if path == users::PATH {
        return None;
    }
    let milliseconds = get("total_us")?.parse::<f64>().ok()? / 1000.0;
    let endpoint = get("endpoint").map_or("Weir itself", name_of);
    let plugins: Vec<&str> = get("plugins").unwrap_or_default().split_whitespace().map(until_version).collect();
    let by = if plugins.is_empty() { String::new() } else { format!("  by {}", plugins.join(", ")) };
    let status = match (colour, status.as_bytes().first()) {
        (false, _) => status.to_owned(),
        (true, Some(b'2' | b'3')) => format!("\x1b[32m{status}\x1b[0m"),
        (true, _) => format!("\x1b[31m{status}\x1b[0m"),
    };
    Some(format!("{status} {method} {path} -> {endpoint}  {milliseconds:.1} ms{by}"))
}

/// The names that the demo gives to its endpoints.
fn name_of(address: &str) -> &str {
    match address.rsplit(':').next() {
        Some("9001") => "one (v1)",
        Some("9002") => "two (v1)",
        Some("9003") => "three (v2)",
        _ => address,
    }
}

/// `canary/router` of `canary/router@0123456789ab`; a failure stays in sight.
fn until_version(plugin: &str) -> &str {
    if plugin.contains('!') { plugin } else { plugin.split('@').next().unwrap_or(plugin) }
}

/// The fields of a line in logfmt; values in quotes lose these.
fn fields(line: &str) -> HashMap<&str, &str> {
    let mut fields = HashMap::new();
    let mut rest = line;
    while let Some((key, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(' ').unwrap_or((after, "")),
        };
        fields.insert(key.trim_start(), value);
        rest = next;
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "time=2026-01-01T00:00:00.000000Z client=127.0.0.1:40000 listener=web protocol=http/1.1 \
        host=127.0.0.1:8080 method=GET path=/hello status=200 bytes_in=0 bytes_out=18 route=hello cluster=hello \
        endpoint=127.0.0.1:9003 attempts=1 reused=true total_us=1234 read_us=1 \
        plugins=\"canary/router@0123456789ab consistent-hash/balancer@ba9876543210!deadline\"";

    #[test]
    fn a_request_is_one_short_line() {
        let short =
            "200 GET /hello -> three (v2)  1.2 ms  by canary/router, consistent-hash/balancer@ba9876543210!deadline";
        assert_eq!(shorten(LINE, false).as_deref(), Some(short));
        assert!(shorten(LINE, true).unwrap().starts_with("\x1b[32m200\x1b[0m GET"));
    }

    #[test]
    fn an_answer_of_weir_itself_names_no_endpoint() {
        let line = "method=GET path=/ping status=404 total_us=80 plugins=\"\"";
        assert_eq!(shorten(line, false).as_deref(), Some("404 GET /ping -> Weir itself  0.1 ms"));
        assert_eq!(shorten("{\"message\":\"ready\"}", false), None);
        assert_eq!(shorten(&LINE.replace("path=/hello", "path=\"/?users\""), false), None);
    }
}
