//! A configuration in sentences: what `weir check` prints.

mod acme;
mod admin;
mod attempts;
mod bounds;
mod limits;
mod spoken;
mod traffic;

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use weir_config::{
    Affinity, AffinityKind, Agent, Balance, Binding, ByteSize, Choices, ClientAuth, Cluster, Config, Discover,
    Endpoint, Hash, HashAlgorithm, HashKey, Health, HealthKind, HostMatch, HttpCheck, Initial, Listener, ListenerTls,
    LoadReports, MarkCookie, MarkMode, Match, Network, OnFailure, OnLost, OutlierDetection, PathMatch, Plugin, Process,
    Protocol, ProxyProtocol, ProxyVersion, RequestKey, ResponseKey, Route, Tenant, TlsVersion,
};

use super::check::count;

/// Endpoints named in full.
const ENDPOINTS_SHOWN: usize = 8;

/// Listeners, routes in order with what they match, clusters and plugins.
pub fn explain(config: &Config) -> String {
    let mut page = String::new();
    section(&mut page, "Listeners", config.listeners.iter().map(|listener| (&*listener.name, of_listener(listener))));
    section(&mut page, "Authorities", config.acme.iter().map(|acme| (&*acme.name, acme::of_authority(acme))));
    let limits = config.rate_limits.iter();
    section(&mut page, "Rate limits", limits.map(|limit| (&*limit.name, limits::of_limit(limit))));
    let tenants: Vec<_> = config.tenants.iter().zip(1..).map(|(tenant, number)| of_tenant(tenant, number)).collect();
    section(
        &mut page,
        "Tenants: the first that matches wins",
        tenants.iter().map(|(name, lines)| (&**name, lines.clone())),
    );
    let routes: Vec<_> = config.routes.iter().zip(1..).map(|(route, number)| of_route(route, number)).collect();
    section(
        &mut page,
        "Routes: the first that matches wins",
        routes.iter().map(|(name, lines)| (&**name, lines.clone())),
    );
    let (uses, clusters) = (spoken::Uses::of(config), config.clusters.iter());
    let clusters = clusters.map(|cluster| (&*cluster.name, of_cluster(cluster, &uses.spoken(cluster))));
    section(&mut page, "Clusters", clusters);
    section(&mut page, "Plugins", config.plugins.iter().map(|plugin| (&*plugin.name, of_plugin(plugin))));
    let _ = writeln!(page, "Admin\n  {}", admin::of_admin(config.admin.as_ref()).join("\n  "));
    let process = of_process(&config.process);
    if !process.is_empty() {
        page.push('\n');
        section(&mut page, "Process", process.into_iter().map(|(name, line)| (name, vec![line])));
    }
    page
}

fn of_process(process: &Process) -> Vec<(&'static str, String)> {
    let delay = (!process.drain_delay.is_zero()).then(|| {
        let (delay, grace) = (time(process.drain_delay), time(process.shutdown_grace));
        ("shutdown", format!("readiness fails, {delay} later listeners close, and what is left after {grace} is cut"))
    });
    let socket = process.upgrade_socket.as_ref();
    let upgrade = socket.map(|path| ("upgrade", format!("`weir upgrade` is heard at {}", path.display())));
    delay.into_iter().chain(upgrade).chain(bounds::of_process(process)).collect()
}

/// A heading, then names in one column and what is said of them beside it.
fn section<'a>(page: &mut String, heading: &str, entries: impl Iterator<Item = (&'a str, Vec<String>)>) {
    let entries: Vec<_> = entries.collect();
    if entries.is_empty() {
        return;
    }
    let width = entries.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let _ = writeln!(page, "{heading}");
    for (name, lines) in entries {
        let mut label = name;
        for line in lines {
            let _ = writeln!(page, "  {label:width$}  {line}");
            label = "";
        }
    }
    page.push('\n');
}

fn of_listener(listener: &Listener) -> Vec<String> {
    let certificates = |tls: &ListenerTls| {
        let oldest = if tls.min_version == TlsVersion::V1_3 { ", version 1.3 alone" } else { "" };
        count(tls.certificates.len() + tls.acme.len(), "certificate") + oldest
    };
    let shape = match (listener.protocol, &listener.tls) {
        (Protocol::Http, Some(tls)) if tls.http2 => format!("TLS: h2 and http/1.1, {}", certificates(tls)),
        (Protocol::Http, Some(tls)) => format!("TLS: http/1.1, {}", certificates(tls)),
        (Protocol::Http, None) => "http/1.1 and h2c".to_owned(),
        (Protocol::Tls, Some(tls)) => format!("anything over TLS, {}", certificates(tls)),
        (Protocol::TlsPassthrough, _) => "TLS that passes as it is".to_owned(),
        (Protocol::Udp, _) => "anything over UDP".to_owned(),
        _ => "anything over TCP".to_owned(),
    };
    let leads = listener.cluster.as_ref().map(|cluster| format!(", to cluster {cluster}")).unwrap_or_default();
    let mut lines = vec![format!("{}  {shape}{leads}", listener.address)];
    lines.extend(listener.tls.iter().flat_map(acme::of_listener));
    lines.extend(limits::of_access(&listener.access));
    lines.extend(limits::uses("its connections keep to", &listener.connection_limits));
    lines.extend(limits::uses("its requests keep to", &listener.rate_limits));
    lines.extend(listener.tls.as_ref().and_then(|tls| tls.client_auth.as_ref()).map(of_client_auth));
    lines.extend(listener.proxy_protocol.as_ref().map(of_proxy_protocol));
    if listener.tls.as_ref().is_some_and(|tls| tls.strict_host) {
        lines.push("hosts that the connection's certificate is not for get 421".to_owned());
    }
    if !listener.forwarded.trusted.is_empty() {
        lines.push(format!(
            "X-Forwarded-For and X-Forwarded-Proto are believed from {}",
            networks(&listener.forwarded.trusted)
        ));
    }
    lines.extend(bounds::of_paths(listener.paths));
    lines.extend(bounds::of_listener(&listener.limits));
    lines
}

fn of_client_auth(config: &ClientAuth) -> String {
    let shows = if config.required { "clients must show" } else { "clients may show" };
    let revoked = config.crl.as_ref().map(|crl| format!(", unless {} revokes it", crl.display())).unwrap_or_default();
    let told: Vec<&str> = config.headers.iter().map(|(_, name)| name.as_str()).collect();
    let told = if told.is_empty() { String::new() } else { format!("; endpoints are told by {}", told.join(", ")) };
    format!("{shows} a certificate of {}{revoked}{told}", config.ca.display())
}

fn of_proxy_protocol(config: &ProxyProtocol) -> String {
    let from = networks(&config.trusted);
    match config.required {
        true => format!("a PROXY header is required, from {from}"),
        false => format!("a PROXY header is taken from {from}"),
    }
}

fn networks(networks: &[Network]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn of_route(route: &Route, number: usize) -> (String, Vec<String>) {
    let matches = of_match(&route.matcher);
    let mut lines = vec![if route.connect { format!("CONNECT alone: {matches}") } else { matches }];
    let asked: Vec<&str> = route.plugins.iter().map(|binding| &*binding.plugin).collect();
    let asks = if asked.is_empty() { String::new() } else { format!("asks {}, then ", asked.join(", ")) };
    let within = route.timeout.map(|limit| format!(", within {}", time(limit))).unwrap_or_default();
    let does = traffic::action(&route.action);
    lines.extend(limits::of_access(&route.access));
    lines.extend(limits::uses("keeps to", &route.rate_limits));
    lines.push(format!("-> {asks}{does}{within}"));
    lines.extend(attempts::of_route(route));
    lines.extend(route.max_body.map(bounds::body));
    lines.extend(traffic::changes(route));
    (format!("{number}. {}", route.name), lines)
}

fn of_tenant(tenant: &Tenant, number: usize) -> (String, Vec<String>) {
    let matcher = &tenant.matcher;
    let hosts = |hosts: &[HostMatch]| hosts.iter().map(of_host).collect::<Vec<_>>().join(" or ");
    let mut parts = Vec::new();
    if !matcher.hosts.is_empty() {
        parts.push(format!("host {}", hosts(&matcher.hosts)));
    }
    if !matcher.sni.is_empty() {
        parts.push(format!("server name {}", hosts(&matcher.sni)));
    }
    parts.extend(
        matcher.headers.iter().map(|(name, value)| format!("header {name}: {}", traffic::unless_secret(name, value))),
    );
    if !matcher.networks.is_empty() {
        parts.push(format!("client in {}", networks(&matcher.networks)));
    }
    let mut lines = vec![parts.join(", ")];
    lines.extend(tenant.clusters.iter().map(|(of, own)| format!("-> cluster {own} in place of {of}")));
    lines.extend(tenant.affinity.as_ref().map(of_affinity));
    lines.extend(limits::uses("keeps to", &tenant.rate_limits));
    lines.extend(tenant.limits.requests.map(|most| format!("at most {} in flight", count(most as usize, "request"))));
    lines.extend(tenant.limits.headers.map(|most| format!("at most {} a request", count(most, "header field"))));
    lines.extend(tenant.limits.header_bytes.map(|most| format!("headers up to {}", size(most))));
    lines.extend(tenant.limits.max_body.map(bounds::body));
    (format!("{number}. {}", tenant.name), lines)
}

fn of_host(host: &HostMatch) -> String {
    match host {
        HostMatch::Exact(host) => host.clone(),
        HostMatch::Suffix(suffix) => format!("*{suffix}"),
    }
}

fn of_match(matcher: &Match) -> String {
    let mut parts = Vec::new();
    parts.extend(matcher.scheme.map(|scheme| format!("by {}", scheme.as_str())));
    parts.extend(matcher.tenant.as_ref().map(|tenant| format!("tenant {tenant}")));
    parts.extend(matcher.host.as_ref().map(|host| format!("host {}", of_host(host))));
    parts.extend(matcher.path.as_ref().map(|path| match path {
        PathMatch::Exact(path) => format!("path {path}"),
        PathMatch::Prefix(prefix) => format!("path {prefix} and below"),
    }));
    if !matcher.methods.is_empty() {
        parts.push(format!("method {}", matcher.methods.join(" or ")));
    }
    parts.extend(
        matcher.headers.iter().map(|(name, value)| format!("header {name}: {}", traffic::unless_secret(name, value))),
    );
    parts.extend(
        matcher.query.iter().map(|(name, value)| format!("query {name}={}", traffic::unless_secret(name, value))),
    );
    parts.extend(
        matcher.cookies.iter().map(|(name, value)| format!("cookie {name}={}", traffic::unless_secret(name, value))),
    );
    parts.extend(matcher.sni.as_ref().map(|sni| match sni {
        HostMatch::Exact(name) => format!("server name {name}"),
        HostMatch::Suffix(suffix) => format!("server name *{suffix}"),
    }));
    if !matcher.alpn.is_empty() {
        parts.push(format!("ALPN {}", matcher.alpn.join(" or ")));
    }
    if !matcher.client.is_empty() {
        parts.push(format!("client in {}", networks(&matcher.client)));
    }
    parts.extend(matcher.listener.as_ref().map(|name| format!("listener {name}")));
    if parts.is_empty() { "every request".to_owned() } else { parts.join(", ") }
}

fn of_cluster(cluster: &Cluster, spoken: &str) -> Vec<String> {
    let listed = match cluster.endpoints.len() {
        0 => "no endpoint listed".to_owned(),
        number => format!("{}: {}", count(number, "endpoint"), of_endpoints(&cluster.endpoints)),
    };
    let mut lines = vec![format!("{listed}; {spoken}")];
    lines.extend(cluster.send_proxy_protocol.map(|version| match version {
        ProxyVersion::V1 => "connections begin with a PROXY header, version 1".to_owned(),
        ProxyVersion::V2 => "connections begin with a PROXY header, version 2".to_owned(),
    }));
    lines.extend(cluster.discover.as_ref().map(of_discover));
    lines.push(format!("balance: {}", of_balance(&cluster.balance)));
    lines.extend(cluster.load_reports.as_ref().map(of_load_reports));
    lines.extend(of_levels(cluster));
    lines.extend(cluster.affinity.as_ref().map(of_affinity));
    lines.push(cluster.health.as_ref().map_or("health: not checked".to_owned(), of_health));
    lines.extend(cluster.agent.as_ref().map(of_agent));
    lines.push(cluster.outlier_detection.as_ref().map_or("outliers: not looked for".to_owned(), of_outliers));
    lines.extend(attempts::of_cluster(cluster));
    lines
}

fn of_discover(discover: &Discover) -> String {
    match discover {
        Discover::Dns { name, port } => format!("discovers: the addresses of {name}, at port {port}"),
        Discover::Srv(name) => format!("discovers: the services {name}"),
        Discover::File(path) => format!("discovers: what {} lists", path.display()),
        Discover::Names(named) => {
            let places = named.iter().map(|named| format!("{}:{}", named.name, named.like.address.port()));
            format!("discovers: the addresses of {}", places.collect::<Vec<_>>().join(", "))
        }
    }
}

/// What is said on standing in for one another, where it matters.
fn of_levels(cluster: &Cluster) -> Vec<String> {
    let first = cluster.endpoints.first();
    let differ =
        cluster.endpoints.iter().any(|endpoint| first.is_some_and(|first| first.priority != endpoint.priority));
    let zones = cluster.zone.as_ref().filter(|_| cluster.endpoints.iter().any(|endpoint| endpoint.zone.is_some()));
    let mut lines = Vec::new();
    if differ || zones.is_some() {
        let order = zones.map_or("by priority".to_owned(), |zone| format!("by priority, zone {zone} first"));
        lines.push(format!("levels: {order}; one spills over below {} percent healthy", cluster.min_healthy));
    }
    if cluster.panic_threshold > 0 {
        lines.push(format!("panic: below {} percent all endpoints are picked", cluster.panic_threshold));
    }
    lines.extend(cluster.slow_start.map(|over| format!("slow start: over {}", time(over))));
    lines
}

fn of_endpoints(endpoints: &[Endpoint]) -> String {
    let shown: Vec<String> = endpoints.iter().take(ENDPOINTS_SHOWN).map(of_endpoint).collect();
    let more = endpoints.len() - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

fn of_endpoint(endpoint: &Endpoint) -> String {
    let mut notes = Vec::new();
    if endpoint.weight != 1 {
        notes.push(format!("weight {}", endpoint.weight));
    }
    notes.extend(endpoint.max_requests.map(|most| format!("at most {}", count(most as usize, "request"))));
    notes.extend(endpoint.max_connections.map(|most| format!("at most {}", count(most as usize, "connection"))));
    notes.extend(labels(&endpoint.labels));
    notes.extend((endpoint.priority > 0).then(|| format!("priority {}", endpoint.priority)));
    notes.extend(endpoint.zone.as_ref().map(|zone| format!("zone {zone}")));
    notes.extend(endpoint.backup.then(|| "backup".to_owned()));
    if notes.is_empty() { endpoint.address.to_string() } else { format!("{} ({})", endpoint.address, notes.join(", ")) }
}

fn labels(labels: &BTreeMap<String, String>) -> impl Iterator<Item = String> {
    labels.iter().map(|(key, value)| format!("{key}={value}"))
}

fn of_balance(balance: &Balance) -> String {
    match balance {
        Balance::RoundRobin => "round robin by weight".to_owned(),
        Balance::Random => "random by weight".to_owned(),
        Balance::LeastRequest(Choices::Drawn(choices)) => format!("the least loaded of {choices} random endpoints"),
        Balance::LeastRequest(Choices::All) => "the least loaded endpoint".to_owned(),
        Balance::LeastTime { decay } => {
            format!("the quicker of 2 random endpoints by latency and load, remembered for {}", time(*decay))
        }
        Balance::First { max_requests } => {
            format!("the first endpoint in file order with fewer than {}", count(*max_requests as usize, "request"))
        }
        Balance::Hash(hash) => of_hash(hash),
        Balance::Plugin(binding) => format!("{}, else round robin", of_binding(binding)),
    }
}

fn of_load_reports(reports: &LoadReports) -> String {
    let metric = reports.metric.as_deref().unwrap_or("application_utilization, else cpu_utilization");
    format!("weights follow load reports: {metric}; as configured {} after the last", time(reports.expire))
}

fn of_hash(hash: &Hash) -> String {
    let key = match &hash.key {
        HashKey::Client(by) => of_request_key(by),
        HashKey::Path => "the path".to_owned(),
        HashKey::Router => "the key a router plugin names".to_owned(),
    };
    let table = match hash.algorithm {
        HashAlgorithm::Ring => "on a ketama ring",
        HashAlgorithm::Maglev => "in a Maglev table",
    };
    let bound = hash.balance_factor.map(|percent| format!(", at most {percent} percent of its share of the load"));
    let keyless = if hash.key == HashKey::SOURCE || hash.key == HashKey::Path { "" } else { "; without it random" };
    format!("by {key} {table}{}{keyless}", bound.unwrap_or_default())
}

fn of_affinity(affinity: &Affinity) -> String {
    let kind = match &affinity.kind {
        AffinityKind::Cookie(MarkCookie { name, mode: MarkMode::Insert { .. }, .. }) => format!("cookie {name}"),
        AffinityKind::Cookie(MarkCookie { name, mode: MarkMode::Prefix, .. }) => {
            format!("a mark before the application's cookie {name}")
        }
        AffinityKind::Key { by, learn: None } => of_request_key(by),
        AffinityKind::Key { by, learn: Some(learn) } => {
            format!("{}, as responses give it in {}", of_request_key(by), of_response_key(learn))
        }
        AffinityKind::Plugin(binding) => of_binding(binding),
    };
    let end = match (affinity.idle, affinity.max) {
        (Some(idle), Some(max)) => {
            format!("ends {} after the last request or {} after the first", time(idle), time(max))
        }
        (Some(idle), None) => format!("ends {} after the last request", time(idle)),
        (None, Some(max)) => format!("ends {} after the first request", time(max)),
        (None, None) => "never ends".to_owned(),
    };
    let lost = match affinity.on_lost {
        OnLost::Rebind => "",
        OnLost::Reject => "; 503 while its endpoint cannot be used",
    };
    format!("affinity: {kind}, {end}{lost}")
}

fn of_request_key(key: &RequestKey) -> String {
    match key {
        RequestKey::Header(name) => format!("header {name}"),
        RequestKey::Cookie(name) => format!("cookie {name}"),
        RequestKey::Query(name) => format!("query parameter {name}"),
        RequestKey::SourceIp => "the client's address".to_owned(),
    }
}

fn of_response_key(key: &ResponseKey) -> String {
    match key {
        ResponseKey::Header(name) => format!("header {name}"),
        ResponseKey::Cookie(name) => format!("cookie {name}"),
    }
}

fn of_health(health: &Health) -> String {
    let kind = match &health.kind {
        HealthKind::Http(check) => of_http_check(check),
        HealthKind::Tcp(check) if check.expect.is_empty() => "TCP connect".to_owned(),
        HealthKind::Tcp(check) => format!("TCP answer with \"{}\"", check.expect.escape_ascii()),
        HealthKind::Grpc(check) if check.service.is_empty() => "gRPC health".to_owned(),
        HealthKind::Grpc(check) => format!("gRPC health of {}", check.service),
        HealthKind::Exec(check) => format!("command {}", check.command),
        HealthKind::Plugin(binding) => of_binding(binding),
    };
    let port = health.port.map(|port| format!(" on port {port}")).unwrap_or_default();
    let initial = match health.initial {
        Initial::Healthy => "",
        Initial::Unhealthy => "; down until then",
        Initial::Checking => "; not picked before the first check",
    };
    format!(
        "health: {kind}{port} every {}, {} while it changes, down after {}, up after {}{initial}",
        time(health.interval),
        time(health.fast_interval),
        count(health.fall as usize, "failure"),
        count(health.rise as usize, "success").replace("successs", "successes"),
    )
}

fn of_agent(agent: &Agent) -> String {
    format!("agent: port {} every {}", agent.port, time(agent.interval))
}

fn of_outliers(detection: &OutlierDetection) -> String {
    let rows = [
        (detection.connect_failures, "failed connection"),
        (detection.gateway_errors, "gateway error"),
        (detection.server_errors, "server error"),
    ];
    let rows = rows.iter().filter(|(limit, _)| *limit > 0);
    let mut rules: Vec<String> =
        rows.map(|(limit, what)| format!("{} in a row", count(*limit as usize, what))).collect();
    rules.extend(detection.success_rate.map(|_| "a low success rate".to_owned()));
    rules.extend(detection.latency.map(|_| "high latency".to_owned()));
    if rules.is_empty() {
        return "outliers: nothing ejects an endpoint".to_owned();
    }
    let share = detection.max_ejected;
    let check = if detection.check_ends_ejection { ", or until a check succeeds" } else { "" };
    format!(
        "outliers: out for {}{check} after {}; at most {share} % or one at a time, ignored below {} % left",
        time(detection.ejection),
        rules.join(", "),
        detection.panic_threshold
    )
}

fn of_http_check(check: &HttpCheck) -> String {
    let body = match (&check.body, &check.body_regex) {
        (None, None) => String::new(),
        (Some(text), None) => format!(" with {text:?} in its body"),
        (None, Some(regex)) => format!(" with a body that matches {regex:?}"),
        (Some(text), Some(regex)) => format!(" with {text:?} in its body, which matches {regex:?}"),
    };
    format!("{} {}{body}", check.method, check.path)
}

fn of_binding(binding: &Binding) -> String {
    format!("plugin {}", binding.plugin)
}

fn of_plugin(plugin: &Plugin) -> Vec<String> {
    let failure = match plugin.on_failure {
        OnFailure::Native => "on failure Weir decides itself",
        OnFailure::Reject => "on failure the client gets 503",
    };
    let limits = format!("at most {} a call and {} an instance; {failure}", time(plugin.deadline), size(plugin.memory));
    vec![plugin.path.display().to_string(), limits]
}

/// As one would write it in the file: the largest unit that needs no fraction.
fn time(duration: Duration) -> String {
    let micros = duration.as_micros();
    let units = [(3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s"), (1_000, "ms")];
    let fits = units.into_iter().find(|(unit, _)| micros >= *unit && micros.is_multiple_of(*unit));
    fits.map_or_else(|| format!("{micros}us"), |(unit, name)| format!("{}{name}", micros / unit))
}

fn size(ByteSize(bytes): ByteSize) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let fits = units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    fits.map_or_else(|| format!("{bytes} bytes"), |(unit, name)| format!("{} {name}", bytes / unit))
}

#[cfg(test)]
mod tests;
