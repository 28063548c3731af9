//! What a route does, in words.

use weir_config::{
    Action, Compression, HeaderEdits, Mirror, PathRewrite, Piece, Redirect, RequestKey, Rewrite, Rollout, Route,
    Scheme, Split, Template, Variable, is_secret_name,
};

use super::{count, size, time};

/// What stands in the place of a value that is not to be seen.
const HIDDEN: &str = "***";

/// Where a request ends.
pub(super) fn action(action: &Action) -> String {
    match action {
        Action::Cluster(cluster) => format!("forwards to cluster {cluster}"),
        Action::Split(split) => of_split(split),
        Action::Rollout(rollout) => of_rollout(rollout),
        Action::Respond(respond) => format!("answers {} with {}", respond.status, count(respond.body.len(), "byte")),
        Action::Redirect(redirect) => of_redirect(redirect),
    }
}

/// What is changed on the way, a line each.
pub(super) fn changes(route: &Route) -> Vec<String> {
    let mut lines = Vec::new();
    if let Action::Rollout(rollout) = &route.action {
        lines.push(of_steps(rollout));
    }
    lines.extend(of_rewrite(&route.edits.rewrite));
    lines.extend(of_edits("request headers", &route.edits.request));
    lines.extend(of_edits("response headers", &route.edits.response));
    lines.extend(route.mirror.as_ref().map(of_mirror));
    lines.extend(route.compression.as_ref().map(of_compression));
    lines
}

fn of_split(split: &Split) -> String {
    let total: u64 = split.shares.iter().map(|(_, share)| u64::from(*share)).sum();
    let percent = |share: u32| (f64::from(share) * 1_000.0 / total.max(1) as f64).round() / 10.0;
    let shares: Vec<String> =
        split.shares.iter().map(|(name, share)| format!("{name} ({} %)", percent(*share))).collect();
    format!("splits over clusters {}{}", shares.join(", "), of_key(split.key.as_ref()))
}

fn of_key(key: Option<&RequestKey>) -> String {
    match key {
        None => ", request by request".to_owned(),
        Some(RequestKey::Header(name)) => format!(", each value of header {name} on one"),
        Some(RequestKey::Cookie(name)) => format!(", each value of cookie {name} on one"),
        Some(RequestKey::Query(name)) => format!(", each value of query parameter {name} on one"),
        Some(RequestKey::SourceIp) => ", each client address on one".to_owned(),
    }
}

fn of_rollout(rollout: &Rollout) -> String {
    format!("rolls out cluster {} in place of {}{}", rollout.to, rollout.from, of_key(rollout.key.as_ref()))
}

fn of_steps(rollout: &Rollout) -> String {
    let steps: Vec<String> = rollout.steps.iter().map(|percent| format!("{percent} %")).collect();
    format!(
        "steps: {}, each at least {} and {}; back at {} more of errors or a {}th percentile {} % slower",
        steps.join(", "),
        time(rollout.interval),
        count(rollout.min_requests as usize, "request"),
        count(rollout.max_error_increase as usize, "point"),
        rollout.latency_percentile,
        rollout.max_latency_increase
    )
}

fn of_redirect(redirect: &Redirect) -> String {
    let scheme = redirect.scheme.map_or("SCHEME", Scheme::as_str);
    let host = redirect.host.as_deref().unwrap_or("HOST");
    let port = redirect.port.map(|port| format!(":{port}")).unwrap_or_default();
    let path = redirect.path.as_ref().map_or("/PATH".to_owned(), of_path);
    let query = if redirect.strip_query { ", without the query" } else { "" };
    format!("redirects with {} to {scheme}://{host}{port}{path}{query}", redirect.status)
}

fn of_path(path: &PathRewrite) -> String {
    match path {
        PathRewrite::Prefix { with, .. } => format!("{}/REST", with.trim_end_matches('/')),
        PathRewrite::Whole(path) => path.clone(),
        PathRewrite::Regex { with, .. } => with.clone(),
    }
}

fn of_rewrite(rewrite: &Rewrite) -> Option<String> {
    let path = rewrite.path.as_ref().map(|path| match path {
        PathRewrite::Prefix { matched, with } => format!("path {matched} becomes {with}"),
        PathRewrite::Whole(whole) => format!("the path becomes {whole}"),
        PathRewrite::Regex { pattern, with } => format!("what matches {pattern} in the path becomes {with}"),
    });
    let host = rewrite.host.as_ref().map(|host| format!("the host becomes {host}"));
    let parts: Vec<String> = path.into_iter().chain(host).collect();
    (!parts.is_empty()).then(|| format!("rewrite: {}", parts.join(", ")))
}

fn of_edits(what: &str, edits: &HeaderEdits) -> Option<String> {
    let removed = edits.remove.iter().map(|name| format!("without {name}"));
    let set = edits.set.iter().map(|(name, value)| format!("{name}: {}", shown(name, value)));
    let added = edits.add.iter().map(|(name, value)| format!("also {name}: {}", shown(name, value)));
    let parts: Vec<String> = removed.chain(set).chain(added).collect();
    (!parts.is_empty()).then(|| format!("{what}: {}", parts.join(", ")))
}

/// A value, or that there is one which is not to be seen.
pub(super) fn unless_secret<'v>(name: &str, value: &'v str) -> &'v str {
    if is_secret_name(name) { HIDDEN } else { value }
}

fn shown(header: &str, template: &Template) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => unless_secret(header, text).to_owned(),
        Piece::Secret(_) => HIDDEN.to_owned(),
        Piece::Variable(variable) => format!("{{{}}}", name(*variable)),
    };
    template.0.iter().map(piece).collect()
}

fn name(variable: Variable) -> &'static str {
    match variable {
        Variable::ClientAddress => "client-address",
        Variable::ClientPort => "client-port",
        Variable::Scheme => "scheme",
        Variable::Host => "host",
        Variable::Method => "method",
        Variable::Path => "path",
        Variable::Listener => "listener",
        Variable::Route => "route",
        Variable::Tenant => "tenant",
        Variable::Cluster => "cluster",
        Variable::Endpoint => "endpoint",
    }
}

fn of_compression(compression: &Compression) -> String {
    let by: Vec<&str> = compression.algorithms.iter().map(|coding| coding.as_str()).collect();
    let (by, types) = (by.join(", "), compression.types.join(", "));
    format!("compression: {by} of {types} from {}", size(compression.min_size))
}

fn of_mirror(mirror: &Mirror) -> String {
    let share = if mirror.percent == 100 { "every request".to_owned() } else { format!("{} %", mirror.percent) };
    format!(
        "mirror: copies {share} to cluster {}, bodies up to {}, at most {} under way",
        mirror.cluster,
        size(mirror.max_body),
        mirror.max_in_flight
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weir_config::{ByteSize, Coding, Edits};

    use super::*;

    #[test]
    fn actions_read_as_sentences() {
        let shares = vec![("stable".into(), 19), ("next".into(), 1)];
        let split = Action::Split(Split { shares, key: Some(RequestKey::Cookie("user".into())) });
        assert_eq!(action(&split), "splits over clusters stable (95 %), next (5 %), each value of cookie user on one");
        let rollout = Rollout {
            from: "stable".into(),
            to: "next".into(),
            steps: vec![5, 100],
            interval: Duration::from_secs(300),
            min_requests: 100,
            max_error_increase: 1,
            max_latency_increase: 50,
            latency_percentile: 95,
            key: None,
        };
        assert_eq!(
            of_steps(&rollout),
            "steps: 5 %, 100 %, each at least 5m and 100 requests; back at 1 point more of errors or a 95th percentile \
             50 % slower"
        );
        let rollout = Action::Rollout(rollout);
        assert_eq!(action(&rollout), "rolls out cluster next in place of stable, request by request");
        let to_https = Redirect {
            status: 308,
            scheme: Some(Scheme::Https),
            host: None,
            port: None,
            path: None,
            strip_query: false,
        };
        assert_eq!(action(&Action::Redirect(to_https)), "redirects with 308 to https://HOST/PATH");
    }

    #[test]
    fn changes_read_as_sentences() {
        let template = Template(vec![Piece::Text("by ".into()), Piece::Variable(Variable::Endpoint)]);
        let path = Some(PathRewrite::Prefix { matched: "/v1".into(), with: "/".into() });
        let route = Route {
            edits: Edits {
                response: HeaderEdits {
                    set: vec![("x-by".into(), template)],
                    remove: vec!["server".into()],
                    add: vec![],
                },
                rewrite: Rewrite { path, host: Some("in.example".into()) },
                ..Edits::default()
            },
            compression: Some(Compression {
                types: vec!["text/*".into(), "application/json".into()],
                min_size: ByteSize(1024),
                algorithms: vec![Coding::Brotli, Coding::Gzip],
            }),
            mirror: Some(Mirror {
                cluster: "shadow".into(),
                percent: 10,
                max_in_flight: 64,
                max_body: ByteSize(64 << 10),
            }),
            ..Route::to("web".into())
        };
        assert_eq!(
            changes(&route),
            [
                "rewrite: path /v1 becomes /, the host becomes in.example",
                "response headers: without server, x-by: by {endpoint}",
                "mirror: copies 10 % to cluster shadow, bodies up to 64 KiB, at most 64 under way",
                "compression: br, gzip of text/*, application/json from 1 KiB",
            ]
        );
    }
}
