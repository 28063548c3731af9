//! Words of other proxies where Weir has its own, and the remedy for each.

/// Variables of nginx and haproxy, with the one that a template has for it.
const VARIABLES: [(&str, &str); 12] = [
    ("$remote_addr", "{client-address}"),
    ("$remote_port", "{client-port}"),
    ("$scheme", "{scheme}"),
    ("$host", "{host}"),
    ("$http_host", "{host}"),
    ("$request_method", "{method}"),
    ("$uri", "{path}"),
    ("$upstream_addr", "{endpoint}"),
    ("$proxy_add_x_forwarded_for", ""),
    ("%[src]", "{client-address}"),
    ("%[method]", "{method}"),
    ("%[path]", "{path}"),
];

/// Algorithms of other proxies, with the word that means the same here.
const ALGORITHMS: [(&str, &str); 13] = [
    ("least_conn", "least-request"),
    ("leastconn", "least-request"),
    ("least-conn", "least-request"),
    ("least_request", "least-request"),
    ("wrr", "round-robin"),
    ("roundrobin", "round-robin"),
    ("static-rr", "round-robin"),
    ("ip_hash", "source-hash"),
    ("iphash", "source-hash"),
    ("source", "source-hash"),
    ("least_time", "least-time"),
    ("peak_ewma", "least-time"),
    ("random2", "least-request"),
];

/// The remedy for a variable of another proxy within a header's value.
pub(crate) fn variable(text: &str) -> Option<(&'static str, String)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (found, ours) = VARIABLES.iter().find(|(foreign, _)| {
        text.match_indices(foreign).any(|(at, _)| {
            let after = text.get(at + foreign.len()..).and_then(|rest| rest.chars().next());
            !after.is_some_and(is_word)
        })
    })?;
    let remedy = match ours.is_empty() {
        true => "leave it out: Weir adds the client to `X-Forwarded-For`; see `forwarded` of a listener".to_owned(),
        false => format!("write `{ours}`"),
    };
    Some((found, remedy))
}

/// The word of Weir for an algorithm of another proxy.
pub(crate) fn algorithm(word: &str) -> Option<&'static str> {
    ALGORITHMS.iter().find(|(foreign, _)| *foreign == word.to_ascii_lowercase()).map(|(_, ours)| *ours)
}

/// The fault and the remedy for an address that is written as other proxies write it.
pub(crate) fn address(text: &str) -> Option<(String, String)> {
    if text.starts_with("unix:") || text.starts_with('/') {
        let remedy = "write the address and port that the program listens on, as in `127.0.0.1:8080`";
        return Some((format!("`{text}` is a Unix socket, which is not possible here"), remedy.to_owned()));
    }
    let (scheme, rest) = text.split_once("://")?;
    let authority = rest.split('/').next().unwrap_or(rest);
    let port = if scheme == "https" { 443 } else { 80 };
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
    let tls = if scheme == "https" { ", and `tls = {}` in the cluster" } else { "" };
    Some((format!("`{text}` is a URL, not an address"), format!("write `{address}`{tls}")))
}

/// The kind of file that a text which is no TOML looks like, with a remedy.
pub(crate) fn file(text: &str) -> Option<(&'static str, &'static str)> {
    const REMEDY: &str =
        "begin with `[listeners.web]`, `[[routes]]` and `[clusters.NAME]`; `weir check` explains each fault";
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let looks = lines.find_map(|line| {
        let word = line.split(|c: char| c.is_whitespace() || c == '{').next().unwrap_or(line);
        let opens = line.ends_with('{');
        match word {
            "server" | "http" | "events" | "upstream" | "location" | "stream" if opens => Some("of nginx"),
            "worker_processes" | "proxy_pass" | "listen" | "server_name" if line.ends_with(';') => Some("of nginx"),
            "global" | "defaults" if line == word => Some("of haproxy"),
            "frontend" | "backend" if line.split_whitespace().count() == 2 => Some("of haproxy"),
            "static_resources:" | "admin:" | "http:" | "entryPoints:" | "apiVersion:" | "---" => Some("in YAML"),
            _ if line.starts_with(':') && opens => Some("of Caddy"),
            _ => None,
        }
    })?;
    Some((looks, REMEDY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_whole_words() {
        assert_eq!(variable("for $remote_addr;").unwrap().1, "write `{client-address}`");
        assert_eq!(variable("$host:$remote_port").unwrap().0, "$remote_port");
        assert!(variable("$hostname").is_none());
        assert!(variable("costs $5").is_none());
    }

    #[test]
    fn addresses() {
        assert_eq!(address("http://10.0.0.1").unwrap().1, "write `10.0.0.1:80`");
        assert_eq!(
            address("https://app.test:8443/x").unwrap().1,
            "write `app.test:8443`, and `tls = {}` in the cluster"
        );
        assert!(address("unix:/run/app.sock").unwrap().0.contains("Unix socket"));
        assert_eq!(address("127.0.0.1:80"), None);
    }

    #[test]
    fn files() {
        assert_eq!(file("# site\nserver {\n  listen 80;\n}").unwrap().0, "of nginx");
        assert_eq!(file("global\n  daemon\n").unwrap().0, "of haproxy");
        assert_eq!(file("frontend www\n  bind :80\n").unwrap().0, "of haproxy");
        assert_eq!(file("http:\n  routers: {}\n").unwrap().0, "in YAML");
        assert_eq!(file("[listeners.web]\naddress = 5 5\n"), None);
    }
}
