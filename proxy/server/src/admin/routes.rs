//! Which request does what.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use serde_json::{Map, Value};
use weir_upstream::{Order, rollout::Steer};

use super::{
    Answer, ApiError, BoxFuture, Control, EndpointChange,
    answer::{AdminResponse, json, metrics, only, outcome, refusal, text},
    desk::{Desk, Turn},
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

    fn method(&self) -> &'static str {
        match self {
            Place::Plugin(_) | Place::Certificate(_) => "PUT",
            Place::Endpoint(..) => "PUT, DELETE",
            Place::Rollback(_) | Place::Order(..) | Place::Rollout(..) | Place::Renew(_) | Place::Reload => "POST",
            _ => "GET, HEAD",
        }
    }
}

/// Answers one request.
pub(super) async fn answer(request: Request<Incoming>, control: Arc<dyn Control>, desk: &Desk) -> AdminResponse {
    let (head, body) = request.into_parts();
    let mut upload = Upload::new(&head.headers, body);
    let response = answer_to(&head, &mut upload, control, desk).await;
    upload.discard();
    response
}

async fn answer_to(head: &Parts, upload: &mut Upload, control: Arc<dyn Control>, desk: &Desk) -> AdminResponse {
    let uri = &head.uri;
    let Some(place) = Place::find(uri.path()) else {
        return refusal(&nothing_here(uri.path()));
    };
    if !place.method().split(", ").any(|method| method == head.method.as_str()) {
        return only(place.method());
    }
    if !is_command(&head.method) {
        return show(&place, &*control);
    }
    if let Err(error) = refuse_web_pages(&head.headers) {
        return refusal(&error);
    }
    match desk.command() {
        Ok(turn) => outcome(command(&place, head, upload, control, desk, turn).await),
        Err(error) => refusal(&error),
    }
}

async fn command(
    place: &Place<'_>,
    head: &Parts,
    upload: &mut Upload,
    control: Arc<dyn Control>,
    desk: &Desk,
    turn: Turn,
) -> Answer {
    match *place {
        Place::Plugin(name) => {
            upload.fits("component", LARGEST_COMPONENT)?;
            let turns = (turn, desk.component().await?);
            let (name, component) = (name.to_owned(), upload.whole("component", LARGEST_COMPONENT).await?);
            finish(control, turns, |control| control.plugin_push(name, component)).await
        }
        Place::Rollback(name) => {
            let (name, version) = (name.to_owned(), version(head.uri.query()));
            finish(control, turn, |control| control.plugin_rollback(name, version)).await
        }
        Place::Certificate(name) => {
            let (name, pem) = (name.to_owned(), upload.whole("certificate", LARGEST_CERTIFICATE).await?);
            finish(control, turn, |control| control.certificate_push(name, pem)).await
        }
        Place::Endpoint(cluster, address) => {
            let (cluster, address) = (cluster.to_owned(), unescaped(address));
            let change = match head.method {
                Method::DELETE => EndpointChange::Delete,
                _ => EndpointChange::Put(description(upload).await?),
            };
            finish(control, turn, |control| control.endpoint(cluster, address, change)).await
        }
        Place::Order(cluster, address, order) => {
            let (cluster, address) = (cluster.to_owned(), unescaped(address));
            finish(control, turn, move |control| control.endpoint(cluster, address, EndpointChange::Order(order))).await
        }
        Place::Rollout(route, order) => control.rollout_order(route, order),
        Place::Renew(certificate) => control.acme_renew(certificate),
        Place::Reload => finish(control, turn, |control| control.reload()).await,
        _ => Err(nothing_here(head.uri.path())),
    }
}

fn show(place: &Place<'_>, control: &dyn Control) -> AdminResponse {
    match place {
        Place::Ready => readiness(control),
        Place::Metrics => {
            let mut page = String::with_capacity(16 * 1024);
            control.metrics(&mut page);
            metrics(page)
        }
        Place::Status => json(StatusCode::OK, &control.status()),
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

/// Runs a command to its end even when the client does not wait for it. The turns it has are kept as long.
async fn finish<F>(control: Arc<dyn Control>, turns: impl Send + 'static, command: F) -> Answer
where
    F: FnOnce(&dyn Control) -> BoxFuture<'_, Answer> + Send + 'static,
{
    let done = tokio::spawn(async move {
        let outcome = command(&*control).await;
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
fn refuse_web_pages(headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "commands from web pages are refused: use `weir` or curl"));
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
    let version = query?.split('&').find_map(|pair| pair.strip_prefix("version="))?;
    (!version.is_empty()).then(|| version.to_ascii_lowercase())
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
mod place_tests {
    use super::*;

    #[test]
    fn plugin_paths_hold_a_name() {
        assert_eq!(Place::find("/v1/plugins/canary"), Some(Place::Plugin("canary")));
        assert_eq!(Place::find("/v1/plugins/a.b-c_1/rollback"), Some(Place::Rollback("a.b-c_1")));
        for path in ["/v1/plugins/", "/v1/plugins//rollback", "/v1/plugins/a/b", "/v1/plugins/a%2fb", "/", "/V1/status"]
        {
            assert_eq!(Place::find(path), None, "{path}");
        }
    }

    #[test]
    fn endpoint_paths_hold_a_cluster_an_address_and_perhaps_an_order() {
        let path = "/v1/clusters/web/endpoints/127.0.0.1:80";
        assert_eq!(Place::find(path), Some(Place::Endpoint("web", "127.0.0.1:80")));
        let drain = Place::find("/v1/clusters/web/endpoints/%5B::1%5D:80/drain").unwrap();
        assert_eq!(drain, Place::Order("web", "%5B::1%5D:80", Some(Order::Drain)));
        assert_eq!(unescaped("%5B::1%5d%3A80"), "[::1]:80");
        for path in ["/v1/clusters/web/endpoints/", "/v1/clusters//endpoints/a", "/v1/clusters/web/endpoints/a/stop"] {
            assert_eq!(Place::find(path), None, "{path}");
        }
    }

    #[test]
    fn rollout_paths_hold_a_route_and_an_order() {
        assert_eq!(Place::find("/v1/rollouts/api/advance"), Some(Place::Rollout("api", Steer::Advance)));
        assert_eq!(Place::find("/v1/rollouts/a.b/rollback"), Some(Place::Rollout("a.b", Steer::RollBack)));
        for path in ["/v1/rollouts/", "/v1/rollouts/api", "/v1/rollouts//pause", "/v1/rollouts/api/stop"] {
            assert_eq!(Place::find(path), None, "{path}");
        }
    }

    #[test]
    fn certificate_paths_hold_a_name() {
        assert_eq!(Place::find("/v1/certificates/shop"), Some(Place::Certificate("shop")));
        assert_eq!(Place::find("/v1/certificates/a/b"), None);
        assert_eq!(Place::find("/v1/acme/a.test_1_0f/renew"), Some(Place::Renew("a.test_1_0f")));
        for path in ["/v1/acme/", "/v1/acme/a.test", "/v1/acme//renew", "/v1/acme/a/b/renew"] {
            assert_eq!(Place::find(path), None, "{path}");
        }
    }

    #[test]
    fn the_version_is_found_among_parameters() {
        assert_eq!(version(Some("a=b&version=0AB")), Some("0ab".into()));
        assert_eq!(version(Some("version=")), None);
        assert_eq!(version(None), None);
    }
}
