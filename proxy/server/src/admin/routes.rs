//! Which request does what.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use serde_json::{Map, Value};
use weir_config::AdminRole;
use weir_upstream::{Order, rollout::Steer};

use super::{
    Answer, ApiError, BoxFuture, Control, EndpointChange,
    access::{Access, Caller, Denied},
    answer::{AdminResponse, denial, json, metrics, only, outcome, refusal, text},
    audit::{Change, Subject},
    desk::{Desk, Turn},
    door::Peer,
    upload::Upload,
};

/// Largest component that may be pushed.
const LARGEST_COMPONENT: usize = 64 * 1024 * 1024;
/// Largest description of an endpoint.
const LARGEST_DESCRIPTION: usize = 64 * 1024;
/// Largest chain with its key.
const LARGEST_CERTIFICATE: usize = 1024 * 1024;

/// What a path stands for.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Health,
    Ready,
    Metrics,
    Status,
    Plugins,
    Plugin(&'a str),
    Rollback(&'a str),
    Certificate(&'a str),
    Endpoint(&'a str, &'a str),
    Order(&'a str, &'a str, Option<Order>),
    Rollouts,
    Rollout(&'a str, Steer),
    Acme,
    Renew(&'a str),
    Reload,
}

/// What a rollout may be told, as the end of its path.
const ORDERS: [(&str, Steer); 5] = [
    ("/advance", Steer::Advance),
    ("/pause", Steer::Pause),
    ("/resume", Steer::Resume),
    ("/rollback", Steer::RollBack),
    ("/restart", Steer::Restart),
];

impl Place<'_> {
    fn find(path: &str) -> Option<Place<'_>> {
        Some(match path {
            "/healthz" => Place::Health,
            "/readyz" => Place::Ready,
            "/metrics" => Place::Metrics,
            "/v1/status" => Place::Status,
            "/v1/plugins" => Place::Plugins,
            "/v1/rollouts" => Place::Rollouts,
            "/v1/acme" => Place::Acme,
            "/v1/reload" => Place::Reload,
            _ => {
                return Place::find_plugin(path)
                    .or_else(|| Place::find_endpoint(path))
                    .or_else(|| Place::find_rollout(path))
                    .or_else(|| Place::find_certificate(path));
            }
        })
    }

    fn find_plugin(path: &str) -> Option<Place<'_>> {
        let rest = path.strip_prefix("/v1/plugins/")?;
        let (name, place): (_, fn(&str) -> Place<'_>) = match rest.strip_suffix("/rollback") {
            Some(name) => (name, |name| Place::Rollback(name)),
            None => (rest, |name| Place::Plugin(name)),
        };
        is_name(name).then(|| place(name))
    }

    /// `/v1/clusters/NAME/endpoints/ADDRESS` and what may follow.
    fn find_endpoint(path: &str) -> Option<Place<'_>> {
        let (cluster, rest) = path.strip_prefix("/v1/clusters/")?.split_once("/endpoints/")?;
        let (address, order) = rest.split_once('/').map_or((rest, None), |(address, order)| (address, Some(order)));
        if !is_name(cluster) || address.is_empty() {
            return None;
        }
        Some(match order {
            None => Place::Endpoint(cluster, address),
            Some("drain") => Place::Order(cluster, address, Some(Order::Drain)),
            Some("maintenance") => Place::Order(cluster, address, Some(Order::Maintenance)),
            Some("ready") => Place::Order(cluster, address, None),
            Some(_) => return None,
        })
    }

    fn find_rollout(path: &str) -> Option<Place<'_>> {
        let rest = path.strip_prefix("/v1/rollouts/")?;
        let (name, order) = ORDERS.iter().find_map(|(end, order)| Some((rest.strip_suffix(end)?, *order)))?;
        is_name(name).then_some(Place::Rollout(name, order))
    }

    fn find_certificate(path: &str) -> Option<Place<'_>> {
        if let Some(name) = path.strip_prefix("/v1/certificates/") {
            return is_name(name).then_some(Place::Certificate(name));
        }
        let name = path.strip_prefix("/v1/acme/")?.strip_suffix("/renew")?;
        is_name(name).then_some(Place::Renew(name))
    }

    /// The one table of methods and of the role that they need. What a query may hold stands beside them; probes and
    /// scrapers may send what they like.
    const fn terms(&self) -> Terms {
        use AdminRole::{Deploy, Operate, Read};
        match self {
            Place::Health | Place::Ready => Terms { methods: SHOWN, role: AdminRole::None, query: None },
            Place::Metrics => Terms { methods: SHOWN, role: Read, query: None },
            Place::Status => Terms { methods: SHOWN, role: Read, query: Some(&["cluster"]) },
            Place::Plugins | Place::Rollouts | Place::Acme => Terms::of(SHOWN, Read),
            Place::Endpoint(..) => Terms::of("PUT, DELETE", Operate),
            Place::Order(..) | Place::Rollout(..) | Place::Renew(_) => Terms::of("POST", Operate),
            Place::Certificate(_) => Terms::of("PUT", Operate),
            Place::Plugin(_) => Terms::of("PUT", Deploy),
            Place::Rollback(_) => Terms { methods: "POST", role: Deploy, query: Some(&["version"]) },
            Place::Reload => Terms::of("POST", Deploy),
        }
    }

    /// How the audit log names what is done, and to what.
    fn change(&self, method: &Method) -> (&'static str, Subject) {
        let endpoint = |cluster: &str, address: &str| Subject::Endpoint(cluster.to_owned(), unescaped(address));
        match *self {
            Place::Plugin(name) => ("push", Subject::Plugin(name.to_owned())),
            Place::Rollback(name) => ("rollback", Subject::Plugin(name.to_owned())),
            Place::Certificate(name) => ("push", Subject::Certificate(name.to_owned())),
            Place::Renew(name) => ("renew", Subject::Order(name.to_owned())),
            Place::Endpoint(cluster, address) if *method == Method::DELETE => ("remove", endpoint(cluster, address)),
            Place::Endpoint(cluster, address) => ("put", endpoint(cluster, address)),
            Place::Order(cluster, address, order) => {
                let action = match order {
                    Some(Order::Drain) => "drain",
                    Some(Order::Maintenance) => "maintenance",
                    None => "ready",
                };
                (action, endpoint(cluster, address))
            }
            Place::Rollout(route, steer) => {
                let action = ORDERS.iter().find(|(_, order)| *order == steer);
                (action.map_or("steer", |(end, _)| end.trim_start_matches('/')), Subject::Rollout(route.to_owned()))
            }
            _ => ("reload", Subject::Configuration),
        }
    }
}

const SHOWN: &str = "GET, HEAD";

/// On which terms a path is answered.
#[derive(Debug, Clone, Copy)]
struct Terms {
    methods: &'static str,
    role: AdminRole,
    /// Parameters; none are not looked at.
    query: Option<&'static [&'static str]>,
}

impl Terms {
    fn takes(&self, method: &Method) -> bool {
        self.methods.split(", ").any(|taken| taken == method.as_str())
    }

    const fn of(methods: &'static str, role: AdminRole) -> Self {
        Self { methods, role, query: Some(&[]) }
    }

    fn check_query(&self, query: Option<&str>) -> Result<(), ApiError> {
        let (Some(known), Some(query)) = (self.query, query) else { return Ok(()) };
        let keys = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').map_or(pair, |(key, _)| key));
        for key in keys {
            if !known.contains(&key) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let why = format!("there is no parameter `{key}` here; there is: {known}");
                return Err(ApiError::new(StatusCode::BAD_REQUEST, why));
            }
        }
        Ok(())
    }
}

/// Answers one request.
pub(super) async fn answer(
    request: Request<Incoming>,
    control: Arc<dyn Control>,
    access: &Access,
    peer: &Peer,
    desk: &Desk,
) -> AdminResponse {
    let (head, body) = request.into_parts();
    let mut upload = Upload::new(&head.headers, body);
    let response = match access.identify(&head, peer) {
        Ok(caller) => answer_to(&head, &mut upload, (control, access), caller, desk).await,
        Err(denied) => {
            note_refused(&head, peer, &denied.error.message);
            denial(&denied)
        }
    };
    upload.discard();
    response
}

/// Logs a command of a caller that is not identified.
fn note_refused(head: &Parts, peer: &Peer, why: &str) {
    let place = Place::find(head.uri.path()).filter(|place| place.terms().takes(&head.method));
    if let (Some(place), true) = (place, is_command(&head.method)) {
        let (action, subject) = place.change(&head.method);
        Change { caller: Caller::unknown(peer), action, subject }.denied(why);
    }
}

async fn answer_to(
    head: &Parts,
    upload: &mut Upload,
    (control, access): (Arc<dyn Control>, &Access),
    caller: Caller,
    desk: &Desk,
) -> AdminResponse {
    let uri = &head.uri;
    let Some(place) = Place::find(uri.path()) else {
        return refusal(&nothing_here(uri.path()));
    };
    let terms = place.terms();
    if !terms.takes(&head.method) {
        return only(terms.methods);
    }
    // Whatever the table says, a role that may only see changes nothing.
    let least = if is_command(&head.method) { AdminRole::Operate } else { AdminRole::None };
    let allowed = access.allow(&caller, terms.role.max(least));
    if !is_command(&head.method) {
        return match (allowed, terms.check_query(uri.query())) {
            (Err(denied), _) => denial(&denied),
            (_, Err(error)) => refusal(&error),
            _ => show(&place, uri.query(), &*control),
        };
    }
    let (action, subject) = place.change(&head.method);
    let change = Change { caller, action, subject };
    if let Err(denied) = allowed.and_then(|()| refuse_web_pages(&head.headers)) {
        change.denied(&denied.error.message);
        return denial(&denied);
    }
    let turn = terms.check_query(uri.query()).and_then(|()| desk.command());
    match turn {
        Ok(turn) => outcome(command(&place, head, upload, control, desk, (turn, change)).await),
        Err(error) => {
            change.denied(&error.message);
            refusal(&error)
        }
    }
}

async fn command(
    place: &Place<'_>,
    head: &Parts,
    upload: &mut Upload,
    control: Arc<dyn Control>,
    desk: &Desk,
    (turn, change): (Turn, Change),
) -> Answer {
    match *place {
        Place::Plugin(name) => {
            upload.fits("component", LARGEST_COMPONENT)?;
            let turns = Box::new((turn, desk.component().await?));
            let component = upload.whole("component", LARGEST_COMPONENT).await?;
            let logged = Logged::begin(&control, change);
            // Here, so that compiling for it ends when the client leaves.
            let pushed = control.plugin_push(name.to_owned(), component, turns).await;
            logged.end(&pushed);
            pushed
        }
        Place::Rollback(name) => {
            let (name, version) = (name.to_owned(), version(head.uri.query()));
            finish(control, turn, change, |control| control.plugin_rollback(name, version)).await
        }
        Place::Certificate(name) => {
            let (name, pem) = (name.to_owned(), upload.whole("certificate", LARGEST_CERTIFICATE).await?);
            finish(control, turn, change, |control| control.certificate_push(name, pem)).await
        }
        Place::Endpoint(cluster, address) => {
            let (cluster, address) = (cluster.to_owned(), unescaped(address));
            let wanted = match head.method {
                Method::DELETE => EndpointChange::Delete,
                _ => EndpointChange::Put(description(upload).await?),
            };
            finish(control, turn, change, |control| control.endpoint(cluster, address, wanted)).await
        }
        Place::Order(cluster, address, order) => {
            let (cluster, address) = (cluster.to_owned(), unescaped(address));
            let wanted = EndpointChange::Order(order);
            finish(control, turn, change, |control| control.endpoint(cluster, address, wanted)).await
        }
        Place::Rollout(route, order) => {
            let route = route.to_owned();
            let steer = move |control: &dyn Control| control.rollout_order(&route, order);
            finish(control, turn, change, |control| Box::pin(async move { steer(control) })).await
        }
        Place::Renew(certificate) => {
            let certificate = certificate.to_owned();
            let renew = move |control: &dyn Control| control.acme_renew(&certificate);
            finish(control, turn, change, |control| Box::pin(async move { renew(control) })).await
        }
        Place::Reload => finish(control, turn, change, |control| control.reload()).await,
        _ => Err(nothing_here(head.uri.path())),
    }
}

fn show(place: &Place<'_>, query: Option<&str>, control: &dyn Control) -> AdminResponse {
    match place {
        Place::Ready => readiness(control),
        Place::Metrics => {
            let mut page = String::with_capacity(16 * 1024);
            control.metrics(&mut page);
            metrics(page)
        }
        Place::Status => outcome(of_cluster(control.status(), parameter(query, "cluster"))),
        Place::Plugins => json(StatusCode::OK, &control.plugin_list()),
        Place::Rollouts => json(StatusCode::OK, &control.rollout_list()),
        Place::Acme => json(StatusCode::OK, &control.acme_list()),
        _ => text(StatusCode::OK, "ok\n".to_owned()),
    }
}

fn readiness(control: &dyn Control) -> AdminResponse {
    match control.ready() {
        Ok(()) => text(StatusCode::OK, "ready\n".to_owned()),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}

/// The status with one cluster only, where one is asked for.
fn of_cluster(mut status: Value, wanted: Option<&str>) -> Answer {
    let Some(wanted) = wanted else { return Ok(status) };
    let clusters = status.get_mut("clusters").and_then(Value::as_array_mut);
    let found = clusters.is_some_and(|clusters| {
        clusters.retain(|cluster| cluster.get("name").is_some_and(|name| name == wanted));
        !clusters.is_empty()
    });
    match found {
        true => Ok(status),
        false => Err(ApiError::new(StatusCode::NOT_FOUND, format!("there is no cluster {wanted}"))),
    }
}

/// A JSON object; nothing at all is an empty one.
async fn description(upload: &mut Upload) -> Result<Map<String, Value>, ApiError> {
    let bad = |why: String| ApiError::new(StatusCode::BAD_REQUEST, why);
    let text = upload.whole("description", LARGEST_DESCRIPTION).await?;
    if text.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&text) {
        Ok(Value::Object(said)) => Ok(said),
        Ok(_) => Err(bad("a description is a JSON object, as in {\"weight\": 3}".to_owned())),
        Err(error) => Err(bad(format!("not JSON: {error}"))),
    }
}

/// A command under way, which is logged when it ends and when it is given up because its client left.
struct Logged {
    control: Arc<dyn Control>,
    change: Change,
    before: Value,
    ended: bool,
}

impl Logged {
    fn begin(control: &Arc<dyn Control>, change: Change) -> Self {
        let before = control.state(&change.subject);
        Self { control: Arc::clone(control), change, before, ended: false }
    }

    fn end(mut self, outcome: &Answer) {
        self.ended = true;
        self.log(outcome);
    }

    fn log(&self, outcome: &Answer) {
        self.change.log(&self.before, &self.control.state(&self.change.subject), outcome);
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        if !self.ended {
            self.log(&Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the client left before the answer")));
        }
    }
}

/// Runs a command to its end even when the client does not wait for it, and logs it. The turns it has are kept as long.
async fn finish<F>(control: Arc<dyn Control>, turns: impl Send + 'static, change: Change, command: F) -> Answer
where
    F: FnOnce(&dyn Control) -> BoxFuture<'_, Answer> + Send + 'static,
{
    let done = tokio::spawn(async move {
        let logged = Logged::begin(&control, change);
        let outcome = command(&*control).await;
        logged.end(&outcome);
        drop(turns);
        outcome
    });
    done.await.unwrap_or_else(|error| {
        tracing::error!(%error, "an admin command broke off");
        Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the command broke off: see the log"))
    })
}

fn is_command(method: &Method) -> bool {
    method != Method::GET && method != Method::HEAD
}

/// A browser says where a page's request comes from. Operators' tools do not send this.
fn refuse_web_pages(headers: &HeaderMap) -> Result<(), Denied> {
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
        let error = ApiError::new(StatusCode::FORBIDDEN, "commands from web pages are refused: use `weir` or curl");
        return Err(Denied { error, wants_token: false });
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.bytes().all(valid)
}

/// The brackets of an IPv6 address may come percent-encoded.
fn unescaped(address: &str) -> String {
    let pairs = [("%5B", "["), ("%5b", "["), ("%5D", "]"), ("%5d", "]"), ("%3A", ":"), ("%3a", ":")];
    pairs.iter().fold(address.to_owned(), |text, (code, char)| text.replace(code, char))
}

fn version(query: Option<&str>) -> Option<String> {
    parameter(query, "version").map(str::to_ascii_lowercase)
}

/// A parameter's value; one that is empty is none.
fn parameter<'a>(query: Option<&'a str>, key: &str) -> Option<&'a str> {
    let value = query?.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))?;
    Some(value).filter(|value| !value.is_empty())
}

fn nothing_here(path: &str) -> ApiError {
    let known = "/healthz, /readyz, /metrics, /v1/status, /v1/plugins, /v1/plugins/NAME, \
                 /v1/plugins/NAME/rollback, /v1/clusters/NAME/endpoints/ADDRESS, \
                 /v1/clusters/NAME/endpoints/ADDRESS/drain (or maintenance, ready), /v1/rollouts, \
                 /v1/rollouts/ROUTE/advance (or pause, resume, rollback, restart), /v1/acme, \
                 /v1/acme/CERTIFICATE/renew, /v1/certificates/NAME, /v1/reload";
    ApiError::new(StatusCode::NOT_FOUND, format!("nothing at {path}; there is {known}"))
}

#[cfg(test)]
mod tests;
