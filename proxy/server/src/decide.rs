//! Decisions on a request, each by a plugin where one is bound and natively otherwise: what the
//! router plugins say, which endpoint takes it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, Uri, header::HOST};
use weir_config::{Balance, HashKey, OnFailure};
use weir_plugin::{Bound, Budget, Failure, Forward, Role, RouteDecision};
use weir_upstream::{Candidates, Endpoint, KeyHash, connection::Pools};

use crate::{
    divide,
    edits::Facts,
    error::ProxyError,
    path::normal,
    request::{Client, Eligible, Request, View},
    snapshot::{Prepared, Route, Snapshot, Upstream, header_map},
    tenant::Tenant,
    trace::{Asking, Trace},
    worker::Worker,
};

/// Most fields of a request that plugins add to: each may add some, and a route may have many plugins.
const MOST_FIELDS: usize = 1_024;

/// Everything a decision needs.
pub struct Decision<'a> {
    /// Who decides.
    pub worker: &'a Worker,
    /// Who asks.
    pub client: &'a Client,
    /// What the client said, where it said anything.
    pub asking: Option<&'a Asking>,
    /// Under which snapshot.
    pub snapshot: &'a Snapshot,
    /// The route that took the request.
    pub route: &'a Arc<Route>,
}

/// Where a request goes.
pub enum Destination {
    /// To a cluster.
    Upstream(Arc<Upstream>),
    /// Nowhere: a plugin answers.
    Answer(Prepared),
}

impl Decision<'_> {
    /// Where connections to a cluster are kept: with the client where each names its client.
    pub fn pools(&self, upstream: &Upstream) -> &Pools {
        let shared = &self.worker.pools;
        self.client.own_pools(&upstream.connector, shared).unwrap_or(shared)
    }

    /// When the exchange has to be over: as the route says, or else the cluster; for a call of gRPC when its
    /// client says so, if that is sooner.
    pub fn until(&self, upstream: &Upstream, trace: &Trace) -> Option<Instant> {
        self.until_of(Some(upstream), trace)
    }

    fn until_of(&self, upstream: Option<&Upstream>, trace: &Trace) -> Option<Instant> {
        let ours = self.route.config.timeout.or_else(|| upstream?.cluster.config().timeout);
        let timeout = ours.into_iter().chain(trace.grpc.and_then(|call| call.timeout)).min();
        timeout.and_then(|timeout| trace.started.checked_add(timeout))
    }

    /// What plugins may take of the exchange from here on.
    pub fn budget(&self, upstream: Option<&Upstream>, trace: &Trace) -> Budget {
        let (spent, most) = (trace.plugin_spent, self.route.config.plugin_budget);
        Budget { spent, most, until: self.until_of(upstream, trace) }
    }

    /// How long a tunnel may be silent: as the route says, or else the cluster.
    pub fn tunnel_idle(&self, upstream: &Upstream) -> Duration {
        self.route.config.tunnel_idle_timeout.unwrap_or(upstream.cluster.config().tunnel_idle_timeout)
    }

    /// The request as plugins see it.
    pub fn view<'v>(&'v self, request: &'v Request) -> View<'v> {
        View { request, client: self.client, route: &self.route.config.name }
    }

    /// What edits of messages may speak of.
    pub fn facts<'f>(
        &'f self,
        tenant: Option<&'f Tenant>,
        cluster: Option<&'f str>,
        endpoint: Option<&'f str>,
    ) -> Option<Facts<'f>> {
        Some(self.asking?.facts(self.client, &self.route.config.name, tenant, cluster, endpoint))
    }

    /// Ask the route's plugins in order; the last word on each part counts.
    ///
    /// # Errors
    /// A plugin failed whose failure is to be felt.
    pub fn destination(&self, request: &mut Request, trace: &mut Trace) -> Result<Option<Destination>, ProxyError> {
        let mut chosen = None;
        for bound in &self.route.plugins {
            let budget = self.budget(None, trace);
            let ask = || self.worker.guests.route(bound, &budget, &self.view(request));
            let answer = trace.ask(&self.worker.guests, bound, Role::Router, ask);
            match native_after(bound, answer)? {
                None | Some(RouteDecision::Pass) => {}
                Some(RouteDecision::Respond(response)) => match fields(&response) {
                    Ok(head) => return own_answer(bound, head, response.body).map(Some),
                    Err(why) => self.retract(bound, &why, trace)?,
                },
                Some(RouteDecision::Forward(forward)) => match self.forward(forward, request) {
                    Ok(cluster) => chosen = cluster.or(chosen),
                    Err(why) => self.retract(bound, &why, trace)?,
                },
            }
        }
        let configured = || divide::upstream(&self.route.target, request, self.client, self.worker);
        Ok(chosen.or_else(configured).map(Destination::Upstream))
    }

    /// An answer cannot be carried out.
    ///
    /// # Errors
    /// The plugin's failure is to be felt.
    pub fn retract(&self, bound: &Bound, why: &str, trace: &mut Trace) -> Result<(), ProxyError> {
        let failure = self.worker.guests.reject(bound, why);
        trace.retract(failure.kind());
        native_after(bound, Err::<(), _>(failure)).map(drop)
    }

    /// Change the request as a plugin says: all of it, or none where any part is impossible.
    fn forward(&self, forward: Forward, request: &mut Request) -> Result<Option<Arc<Upstream>>, String> {
        let unknown = |name: &String| format!("there is no cluster {name}");
        let cluster = forward
            .cluster
            .as_ref()
            .map(|name| self.snapshot.clusters.get(name.as_str()).cloned().ok_or_else(|| unknown(name)));
        let cluster = cluster.transpose()?;
        let path = forward.path.map(Uri::try_from).transpose().map_err(|error| error.to_string())?;
        let path = path.map(normal::rewritten).transpose()?;
        let set = header_map(&forward.set_headers)?;
        if let Some(name) = set.keys().chain(&names(&forward.remove_headers)).find(|name| is_ours(name)) {
            return Err(format!("header {name} is not a plugin's to change"));
        }
        if set.get(HOST).is_some_and(|host| !host.to_str().is_ok_and(weir_http1::is_valid_authority)) {
            return Err("malformed host".to_owned());
        }
        if request.headers.len() + set.len() > MOST_FIELDS {
            return Err(format!("a request of more than {MOST_FIELDS} header fields"));
        }
        names(&forward.remove_headers).iter().filter(|name| *name != HOST).for_each(|name| {
            request.headers.remove(name);
        });
        request.headers.extend(set);
        if let Some(path) = path {
            request.rewrite(path);
        }
        request.hash_key = forward.hash_key.or(request.hash_key.take());
        if !forward.labels.is_empty() {
            request.labels = forward.labels;
        }
        Ok(cluster)
    }

    /// An endpoint for the next attempt; none when none may be picked.
    ///
    /// # Errors
    /// A plugin failed whose failure is to be felt.
    pub fn pick(
        &self,
        upstream: &Upstream,
        request: &Request,
        failed: &[u64],
        trace: &mut Trace,
    ) -> Result<Option<Arc<Endpoint>>, ProxyError> {
        let all = upstream.cluster.candidates();
        if request.labels.is_empty() && failed.is_empty() {
            return self.pick_among(upstream, request, &all, trace);
        }
        self.pick_among(upstream, request, &fitting(&all, request, failed), trace)
    }

    /// [`Self::pick`] among those that are not full.
    ///
    /// # Errors
    /// As [`Self::pick`].
    pub fn pick_with_room(
        &self,
        upstream: &Upstream,
        request: &Request,
        failed: &[u64],
        trace: &mut Trace,
    ) -> Result<Option<Arc<Endpoint>>, ProxyError> {
        let left = fitting(&upstream.cluster.candidates(), request, failed).with_room();
        self.pick_among(upstream, request, &left, trace)
    }

    fn pick_among(
        &self,
        upstream: &Upstream,
        request: &Request,
        candidates: &Candidates,
        trace: &mut Trace,
    ) -> Result<Option<Arc<Endpoint>>, ProxyError> {
        if candidates.is_empty() {
            return Ok(None);
        }
        let by_plugin = match &upstream.balancer {
            None => None,
            Some(bound) => {
                let eligible = Eligible { candidates, hash_key: request.hash_key.as_deref() };
                let budget = self.budget(Some(upstream), trace);
                let ask = || self.worker.guests.pick(bound, &budget, &self.view(request), &eligible);
                native_after(bound, trace.ask(&self.worker.guests, bound, Role::Balancer, ask))?.flatten()
            }
        };
        let index = match by_plugin {
            Some(index) => Some(index as usize),
            None => {
                let key = hash_key(&upstream.cluster.config().balance, request, self.client);
                self.worker.pick_natively(&upstream.cluster, candidates, key, trace.started)
            }
        };
        Ok(index.and_then(|index| candidates.get(index)).cloned())
    }
}

/// What the cluster's hash goes by: the key a router plugin named, or the request's own.
pub fn hash_key(balance: &Balance, request: &Request, client: &Client) -> Option<KeyHash> {
    let Balance::Hash(hash) = balance else { return None };
    if let Some(named) = &request.hash_key {
        return unless_empty(named.as_bytes());
    }
    match &hash.key {
        HashKey::Client(by) => request.keyed(by, client, KeyHash::of),
        HashKey::Path => unless_empty(request.uri.path().as_bytes()),
        HashKey::Router => None,
    }
}

fn unless_empty(key: &[u8]) -> Option<KeyHash> {
    (!key.is_empty()).then(|| KeyHash::of(key))
}

/// Candidates with the labels that the request wants, where any has them, without those that failed it.
fn fitting(all: &Candidates, request: &Request, failed: &[u64]) -> Candidates {
    let labelled = all.with_labels(&request.labels);
    let fitting = if labelled.is_empty() { all.clone() } else { labelled };
    if failed.is_empty() { fitting } else { fitting.without(failed) }
}

/// What to do with an answer: none is to go on natively.
///
/// # Errors
/// The plugin's failure is to be felt.
pub fn native_after<T>(bound: &Bound, answer: Result<T, Failure>) -> Result<Option<T>, ProxyError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(_) if bound.program.on_failure() == OnFailure::Native => Ok(None),
        Err(failure) => Err(ProxyError::Plugin { plugin: bound.program.name().to_string(), kind: failure.kind() }),
    }
}

/// Status and fields of a plugin's own answer.
fn fields(response: &weir_plugin::Response) -> Result<(StatusCode, HeaderMap), String> {
    let status = StatusCode::from_u16(response.status).map_err(|error| error.to_string())?;
    let mut headers = header_map(&response.headers)?;
    weir_http1::strip_hop_by_hop(&mut headers);
    headers.remove(http::header::CONTENT_LENGTH);
    Ok((status, headers))
}

/// A plugin's own answer, whose body is counted until the client has taken it.
///
/// # Errors
/// There is no room for it: the request does not go on natively, because the plugin has answered.
fn own_answer(bound: &Bound, head: (StatusCode, HeaderMap), body: Vec<u8>) -> Result<Destination, ProxyError> {
    let (status, headers) = head;
    let held = bound.program.hold(body);
    let held = held.ok_or_else(|| ProxyError::NoRoomForAnswer(Arc::clone(bound.program.name())))?;
    Ok(Destination::Answer(Prepared { status, headers, body: Bytes::from_owner(held) }))
}

/// Fields that a plugin marks a client with.
///
/// # Errors
/// Which of them is none, or not a plugin's to set.
pub fn marks(fields: &[(String, String)]) -> Result<HeaderMap, String> {
    let headers = header_map(fields)?;
    match headers.keys().find(|name| is_ours(name)) {
        Some(name) => Err(format!("header {name} is not a plugin's to set")),
        None => Ok(headers),
    }
}

fn names(names: &[String]) -> Vec<HeaderName> {
    names.iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect()
}

/// Fields that frame the message or belong to the connection.
fn is_ours(name: &HeaderName) -> bool {
    *name == http::header::CONTENT_LENGTH || weir_http1::is_hop_by_hop(name)
}

/// Add fields to those that are there, even under the same name.
pub fn append_all(headers: &mut HeaderMap, more: HeaderMap) {
    let mut last = None;
    for (name, value) in more {
        last = name.or(last);
        if let Some(name) = &last {
            headers.append(name.clone(), value);
        }
    }
}
