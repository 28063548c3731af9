//! Whether a connection or an exchange may go on: past the gates of its listener, its tenant and its route.
//!
//! What one gate refuses takes nothing at the others.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use weir_config::{KeyPart, Listener, WithoutKey};
use weir_limits::{Digest, Key, Limit, Refused, Taken};

use crate::{
    error::ProxyError,
    gate::{Announcement, Gate, Permit},
    listening::Listening,
    metrics,
    request::{Client, Request},
    snapshot::{Route, Snapshot},
    trace::Trace,
    worker::Worker,
};

/// What is known of whoever wants to pass.
#[derive(Clone, Copy)]
struct Shown<'a> {
    ip: IpAddr,
    request: Option<&'a Request>,
    route: Option<&'a Route>,
}

/// A client's connection or session of datagrams that has just come in: what it holds of limits, or none when it is to
/// be closed, which is counted.
pub fn of_arrival(
    worker: &Worker,
    listening: &Listening,
    config: &Listener,
    address: SocketAddr,
) -> Option<Option<Box<Permit>>> {
    let why = match of_connection(&worker.pin().snapshot, config, address.ip()) {
        Ok(permit) => return Some(permit),
        Err(why) => why,
    };
    tracing::debug!(listener = listening.name(), client = %address, %why, "connection refused");
    let denied = matches!(why, ProxyError::Denied);
    if denied {
        listening.metrics.deny(worker.index());
    }
    listening.metrics.refuse(worker.index(), if denied { metrics::Refused::Denied } else { metrics::Refused::Limited });
    None
}

/// A connection, before anything is read of it but who it is from. A trusted proxy speaks for others: for those
/// its requests are looked at.
///
/// # Errors
/// It is to be closed.
fn of_connection(snapshot: &Snapshot, listener: &Listener, ip: IpAddr) -> Result<Option<Box<Permit>>, ProxyError> {
    let Some(entrance) = snapshot.entrance(&listener.name) else { return Ok(None) };
    if listener.forwarded.trusted.iter().any(|network| network.contains(ip)) {
        return Ok(None);
    }
    if entrance.gate.as_ref().is_some_and(|gate| !gate.allows(ip)) {
        return Err(ProxyError::Denied);
    }
    let (mut permit, now) = (Permit::default(), Instant::now());
    let shown = Shown { ip: ip.to_canonical(), request: None, route: None };
    for limit in &entrance.connections {
        match take(&permit, limit, shown, now) {
            Ok(taken) => taken.into_iter().for_each(|taken| permit.hold(taken)),
            Err(refused) => {
                permit.give_back();
                return Err(limited(limit, refused));
            }
        }
    }
    Ok(permit.lasting())
}

/// An exchange, once its route is known, or that it has none; or a connection that is passed on as it is. Where
/// limits are to be told of, the trace has what to tell.
///
/// # Errors
/// It may not go on.
pub fn of_exchange(
    worker: &Worker,
    snapshot: &Snapshot,
    client: &Client,
    request: Option<&Request>,
    route: Option<&Arc<Route>>,
    trace: &mut Trace,
) -> Result<Option<Box<Permit>>, ProxyError> {
    let gates = gates(snapshot, client, request, route);
    if gates.iter().all(Option::is_none) {
        return Ok(None);
    }
    let shown = Shown { ip: client.ip(), request, route: route.map(AsRef::as_ref) };
    let passed = pass(&gates, shown, trace);
    if let Err(ProxyError::Denied) = passed {
        client.listener.metrics.deny(worker.index());
    }
    passed
}

/// Whether one who has passed could come in now, as far as networks decide.
pub fn is_allowed(snapshot: &Snapshot, client: &Client, request: &Request, route: Option<&Arc<Route>>) -> bool {
    gates(snapshot, client, Some(request), route).iter().flatten().all(|gate| gate.allows(client.ip()))
}

/// What stands in the way.
fn gates<'a>(
    snapshot: &'a Snapshot,
    client: &Client,
    request: Option<&'a Request>,
    route: Option<&'a Arc<Route>>,
) -> [Option<&'a Gate>; 3] {
    let entrance = snapshot.entrance(client.listener.name()).and_then(|entrance| entrance.gate.as_deref());
    let tenant = request.and_then(|request| request.tenant.as_ref()).and_then(|tenant| tenant.gate.as_deref());
    [entrance, tenant, route.and_then(|route| route.gate.as_deref())]
}

fn pass(gates: &[Option<&Gate>], shown: Shown<'_>, trace: &mut Trace) -> Result<Option<Box<Permit>>, ProxyError> {
    let gates = gates.iter().flatten();
    if !gates.clone().all(|gate| gate.allows(shown.ip)) {
        return Err(ProxyError::Denied);
    }
    let (mut permit, mut told, now) = (Permit::default(), Announcement::default(), Instant::now());
    for limit in gates.flat_map(|gate| gate.limits()) {
        match take(&permit, limit, shown, now) {
            Ok(Some(taken)) => {
                told.add(limit, &taken);
                permit.hold(taken);
            }
            Ok(None) => {}
            Err(refused) => {
                permit.give_back();
                trace.announcement = Announcement::of_refusal(limit, refused).boxed();
                return Err(limited(limit, refused));
            }
        }
    }
    trace.announcement = told.boxed();
    Ok(permit.lasting())
}

/// What a limit lets somebody take; nothing where it does not apply, was passed already, or would refuse and only
/// says so.
fn take(permit: &Permit, limit: &Arc<Limit>, shown: Shown<'_>, now: Instant) -> Result<Option<Taken>, Refused> {
    let Some(key) = key(limit, shown) else { return Ok(None) };
    match permit.take(limit, key, now) {
        Err(_) if limit.config().dry_run => {
            tracing::debug!(limit = &**limit.name(), client = %shown.ip, "rate limit would refuse");
            Ok(None)
        }
        taken => taken,
    }
}

fn limited(limit: &Limit, refused: Refused) -> ProxyError {
    ProxyError::RateLimit { limit: Arc::clone(limit.name()), refused }
}

/// The key for a limit; none where it does not apply.
fn key(limit: &Limit, shown: Shown<'_>) -> Option<Key> {
    let (mut digest, config) = (limit.digest(), limit.config());
    if config.except.iter().any(|network| network.contains(shown.ip)) {
        return None;
    }
    for part in &config.key {
        if add(part, shown, &mut digest).is_none() {
            match config.without_key {
                WithoutKey::Pass => return None,
                WithoutKey::Share => digest.nothing(),
            }
        }
    }
    Some(digest.key())
}

fn add(part: &KeyPart, shown: Shown<'_>, digest: &mut Digest) -> Option<()> {
    match part {
        KeyPart::Client { ipv4, ipv6 } => match shown.ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(*ipv4)).unwrap_or(0);
                digest.part(&(ip.to_bits() & mask).to_be_bytes());
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(*ipv6)).unwrap_or(0);
                digest.part(&(ip.to_bits() & mask).to_be_bytes());
            }
        },
        KeyPart::Header(name) => digest.part(said(&shown.request?.key_field(name)?)?),
        KeyPart::Cookie(name) => digest.part(said(shown.request?.cookie(name)?.as_bytes())?),
        KeyPart::Tenant => digest.part(shown.request?.tenant_name()?.as_bytes()),
        KeyPart::Route => digest.part(shown.route?.config.name.as_bytes()),
    }
    Some(())
}

/// An empty value says as much as none.
fn said(value: &[u8]) -> Option<&[u8]> {
    (!value.is_empty()).then_some(value)
}
