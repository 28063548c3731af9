//! Sessions: the endpoint a request's session is kept on, and what the response carries to keep it
//! there.

mod cookies;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use cookies::{last_set, put_mark, take_marks};
use http::{HeaderMap, HeaderValue, header::SET_COOKIE};
use weir_config::{AffinityKind, OnLost, ResponseKey};
use weir_plugin::{Bound, Role, Session};
use weir_upstream::{Affinity as Kind, AffinityTable, CookieAffinity, CookieSession, Endpoint, affinity::Key};

use crate::{
    access_log::Affinity,
    decide::{Decision, append_all, marks, native_after},
    error::ProxyError,
    request::Request,
    snapshot::Upstream,
    tenant::Tenant,
    trace::Trace,
};

/// Most marks of a request that are looked at: each costs a decryption.
const MOST_MARKS: usize = 4;

/// What is known of a request's session, before and after the pick.
pub enum Keeping {
    /// No sessions are kept.
    Nothing,
    /// By a mark of ours: as it was sent.
    Cookie(Option<CookieSession>),
    /// By a value of the request.
    Key(Option<Key>),
    /// By a plugin's key.
    Plugin(Option<Session>),
}

/// What keeps the sessions of a request.
struct Keeper<'a> {
    kind: &'a Kind,
    config: &'a weir_config::Affinity,
    plugin: Option<&'a Bound>,
    scope: &'a str,
    upstream: &'a Upstream,
}

impl<'a> Keeper<'a> {
    /// The tenant's own, or else the cluster's, where sessions of tenants are apart.
    fn of(upstream: &'a Upstream, tenant: Option<&'a Tenant>) -> Option<Self> {
        if let Some(own) = tenant.and_then(|tenant| tenant.affinity.as_ref()) {
            let (kind, plugin) = (&*own.affinity, own.plugin.as_ref());
            return Some(Self { kind, config: &own.config, plugin, scope: upstream.cluster.name(), upstream });
        }
        let kind = upstream.cluster.affinity()?;
        let config = upstream.cluster.config().affinity.as_ref()?;
        Some(Self {
            kind,
            config,
            plugin: upstream.affinity.as_ref(),
            scope: tenant.map_or("", |tenant| tenant.name()),
            upstream,
        })
    }

    fn put(&self, table: &AffinityTable, key: Key, endpoint: &Endpoint, own: Option<&Session>) {
        let own_idle = own.and_then(|session| session.idle).or(self.config.idle);
        let own_max = own.and_then(|session| session.max).or(self.config.max);
        let times = [own_idle, own_max].map(|time| time.unwrap_or(Duration::MAX));
        table.put(self.scope, key, endpoint.id(), times, Instant::now());
    }
}

/// Where a session is kept, once it is known at all: an endpoint that the cluster still has, or none.
type Place = Option<Option<Arc<Endpoint>>>;

impl Decision<'_> {
    /// The session of a request, and the endpoint it is kept on where that may take it. A mark before
    /// a cookie of the application is taken off the request.
    ///
    /// # Errors
    /// A plugin failed whose failure is to be felt, or the session may be nowhere but at an endpoint
    /// that cannot take it.
    pub fn session(
        &self,
        upstream: &Upstream,
        request: &mut Request,
        trace: &mut Trace,
    ) -> Result<(Keeping, Option<Arc<Endpoint>>), ProxyError> {
        let tenant = request.tenant.clone();
        let Some(keeper) = Keeper::of(upstream, tenant.as_deref()) else { return Ok((Keeping::Nothing, None)) };
        let cluster = &upstream.cluster;
        let (keeping, place): (_, Place) = match (keeper.kind, &keeper.config.kind, keeper.plugin) {
            (Kind::Cookie(cookie), ..) => {
                let session = marked(cookie, keeper.scope, request);
                (Keeping::Cookie(session), session.map(|session| cluster.find_address(session.endpoint)))
            }
            (Kind::Table(table), AffinityKind::Key { by, .. }, _) => {
                let key = request.keyed(by, self.client, |value| table.key(keeper.scope, value));
                let id = key.and_then(|key| table.get(key, Instant::now()));
                (Keeping::Key(key), id.map(|id| cluster.find(id)))
            }
            (Kind::Table(table), _, Some(bound)) => {
                let budget = self.budget(Some(upstream), trace);
                let ask = || self.worker.guests.session(bound, &budget, &self.view(request));
                let answer = trace.ask(&self.worker.guests, bound, Role::Affinity, ask);
                let Some(session) = native_after(bound, answer)? else { return Ok((Keeping::Nothing, None)) };
                let key = session.as_ref().map(|session| table.key(keeper.scope, session.key.as_bytes()));
                let id = key.and_then(|key| table.get(key, Instant::now()));
                (Keeping::Plugin(session), id.map(|id| cluster.find(id)))
            }
            _ => return Ok((Keeping::Nothing, None)),
        };
        let Some(endpoint) = place else {
            trace.affinity = Some(Affinity::Miss);
            return Ok((keeping, None));
        };
        let usable = endpoint.as_ref().filter(|endpoint| endpoint.keeps_sessions()).cloned();
        match usable {
            Some(_) => trace.affinity = Some(Affinity::Hit),
            None if keeper.config.on_lost == OnLost::Rebind => trace.affinity = Some(Affinity::Moved),
            None => {
                trace.affinity = Some(Affinity::Lost);
                return Err(ProxyError::SessionLost(why_lost(endpoint.as_deref())));
            }
        }
        Ok((keeping, usable))
    }

    /// The endpoint that a request waits for takes it no more, as one under maintenance does not: it may go elsewhere.
    ///
    /// # Errors
    /// Its session may not.
    pub fn unbind(&self, upstream: &Upstream, endpoint: &Endpoint, trace: &mut Trace) -> Result<(), ProxyError> {
        if self.is_bound(upstream, trace) {
            trace.affinity = Some(Affinity::Lost);
            return Err(ProxyError::SessionLost(why_lost(Some(endpoint))));
        }
        trace.affinity = trace.affinity.map(Affinity::moved);
        Ok(())
    }

    /// Whether the session of an exchange may be nowhere but where it is.
    pub fn is_bound(&self, upstream: &Upstream, trace: &Trace) -> bool {
        let stays = |keeper: Keeper<'_>| keeper.config.on_lost == OnLost::Reject;
        trace.affinity == Some(Affinity::Hit) && Keeper::of(upstream, trace.tenant.as_deref()).is_some_and(stays)
    }

    /// Why an exchange failed whose last attempt failed so: a session that may not move has lost an
    /// endpoint that cannot be reached.
    pub fn judge(&self, upstream: &Upstream, endpoint: &Endpoint, error: ProxyError, trace: &mut Trace) -> ProxyError {
        match &error {
            ProxyError::Upstream(why) if why.is_unsent() && !why.is_ours() && self.is_bound(upstream, trace) => {
                trace.affinity = Some(Affinity::Lost);
                ProxyError::SessionLost(format!("endpoint {} cannot be reached: {why}", endpoint.name()))
            }
            _ => error,
        }
    }

    /// Change the response so that the client's session stays where it was served.
    ///
    /// # Errors
    /// A plugin failed whose failure is to be felt.
    pub fn keep(
        &self,
        upstream: &Upstream,
        request: &Request,
        keeping: &Keeping,
        endpoint: &Endpoint,
        response: &mut HeaderMap,
        trace: &mut Trace,
    ) -> Result<(), ProxyError> {
        let Some(keeper) = Keeper::of(upstream, request.tenant.as_deref()) else { return Ok(()) };
        let hit = trace.affinity == Some(Affinity::Hit);
        match (keeping, keeper.kind) {
            (Keeping::Cookie(session), Kind::Cookie(cookie)) => {
                let stays = session.filter(|session| session.endpoint == endpoint.address());
                self.mark(cookie, keeper.scope, stays, endpoint, response);
            }
            (Keeping::Key(asked), Kind::Table(table)) => {
                let given = given(&keeper.config.kind, response).map(|value| table.key(keeper.scope, value));
                let key = given.or(*asked).filter(|key| !(hit && *asked == Some(*key)));
                if let Some(key) = key {
                    keeper.put(table, key, endpoint, None);
                }
            }
            (Keeping::Plugin(session), Kind::Table(table)) if !hit => {
                let marks = self.bind(&keeper, table, request, session.as_ref(), endpoint, trace)?;
                append_all(response, marks);
            }
            _ => {}
        }
        Ok(())
    }

    fn mark(
        &self,
        cookie: &CookieAffinity,
        scope: &str,
        stays: Option<CookieSession>,
        endpoint: &Endpoint,
        response: &mut HeaderMap,
    ) {
        let now = SystemTime::now();
        let first = stays.map_or(now, |session| session.first);
        if cookie.is_prefix() {
            return put_mark(cookie.name(), response, || cookie.mark(endpoint, first, scope, now));
        }
        if stays.is_some_and(|session| !session.refresh) {
            return;
        }
        let mut value = cookie.seal(endpoint, first, scope, now);
        if self.client.scheme() == "https" {
            value.push_str("; Secure");
        }
        if let Ok(value) = HeaderValue::try_from(value) {
            response.append(SET_COOKIE, value);
        }
    }

    fn bind(
        &self,
        keeper: &Keeper<'_>,
        table: &AffinityTable,
        request: &Request,
        session: Option<&Session>,
        endpoint: &Endpoint,
        trace: &mut Trace,
    ) -> Result<HeaderMap, ProxyError> {
        let Some(bound) = keeper.plugin else { return Ok(HeaderMap::new()) };
        let key = session.map(|session| session.key.as_str());
        let budget = self.budget(Some(keeper.upstream), trace);
        let ask = || self.worker.guests.bound(bound, &budget, &self.view(request), key, endpoint.name());
        let mark = native_after(bound, trace.ask(&self.worker.guests, bound, Role::Affinity, ask))?.unwrap_or_default();
        if let Some(session) = session.or(mark.session.as_ref()) {
            keeper.put(table, table.key(keeper.scope, session.key.as_bytes()), endpoint, Some(session));
        }
        match marks(&mark.headers) {
            Ok(headers) => Ok(headers),
            Err(why) => self.retract(bound, &why, trace).map(|()| HeaderMap::new()),
        }
    }
}

fn why_lost(endpoint: Option<&Endpoint>) -> String {
    match endpoint {
        Some(endpoint) => format!("endpoint {} is {}", endpoint.name(), endpoint.state()),
        None => "its endpoint is gone".to_owned(),
    }
}

/// What the first mark says that is valid: a client may have cookies of one name from several hosts and paths.
fn marked(cookie: &CookieAffinity, scope: &str, request: &mut Request) -> Option<CookieSession> {
    let (name, now) = (cookie.name(), SystemTime::now());
    let open = |mark: &str| cookie.open(mark, scope, now);
    if cookie.is_prefix() {
        return take_marks(name, &mut request.headers).iter().take(MOST_MARKS).find_map(|mark| open(mark));
    }
    request.cookies(name).take(MOST_MARKS).find_map(open)
}

/// The value that a response gives a session.
fn given<'r>(kind: &AffinityKind, response: &'r HeaderMap) -> Option<&'r [u8]> {
    let AffinityKind::Key { learn: Some(learn), .. } = kind else { return None };
    let value = match learn {
        ResponseKey::Header(name) => response.get(name)?.as_bytes(),
        ResponseKey::Cookie(name) => {
            let lines = response.get_all(SET_COOKIE).iter().map(HeaderValue::as_bytes);
            last_set(name, lines, SystemTime::now())?
        }
    };
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests;
