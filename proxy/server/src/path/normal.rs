//! Requests by the normal form of their paths: what routes, plugins and keys go by, and what endpoints are sent.

use std::{mem, sync::Arc};

use http::{
    Uri,
    uri::{InvalidUri, PathAndQuery},
};
use weir_config::{
    EncodedSlashes, Paths, SentPath,
    paths::{self, Refusal},
};

use crate::{
    request::{Client, Request},
    router::Router,
    snapshot::Route,
};

/// What is left of a path as its client sent it.
#[derive(Debug, Default)]
pub struct Spelling {
    /// What endpoints are sent in place of the normal form.
    sent: Option<PathAndQuery>,
    /// Whether an endpoint may read in another way what it is sent.
    doubtful: bool,
}

impl Spelling {
    /// What endpoints are sent in place of the normal form.
    pub fn sent(&self) -> Option<&PathAndQuery> {
        self.sent.as_ref()
    }
}

/// Puts the normal form in the place of a request's path. Gives the target as it was sent, where that is another.
///
/// # Errors
/// No route may take such a path.
pub fn settle(request: &mut Request, config: Paths) -> Result<Option<Uri>, Refusal> {
    let normal = paths::normalise(request.uri.path(), config.encoded_slashes)?;
    request.spelling.doubtful = normal.doubtful;
    let Some(path) = normal.path else { return Ok(None) };
    let uri = with_path(&request.uri, path).map_err(|_| "malformed path")?;
    let as_sent = mem::replace(&mut request.uri, uri);
    if config.send == SentPath::AsSent {
        request.spelling = Spelling { sent: as_sent.path_and_query().cloned(), doubtful: true };
    }
    Ok(Some(as_sent))
}

/// Whether a path leads to this route in every way in which endpoints may read what they are sent. Where it does not,
/// it would pass the gates of one route on its way to what stands behind another's.
pub fn is_certain(router: &Router, request: &Request, client: &Client, route: Option<&Arc<Route>>) -> bool {
    if !request.spelling.doubtful {
        return true;
    }
    let sent = request.spelling.sent.as_ref().map_or(request.uri.path(), PathAndQuery::path);
    let leads_here = |path: &str| match (router.find_by(path, request, client), route) {
        (Some(found), Some(route)) => Arc::ptr_eq(found, route),
        (found, route) => found.is_none() && route.is_none(),
    };
    paths::readings(sent).is_ok_and(|readings| readings.iter().all(|path| leads_here(path)))
}

/// A target whose path somebody else wrote, in its normal form.
///
/// # Errors
/// No request may have such a path.
pub fn rewritten(target: Uri) -> Result<Uri, String> {
    let normal = paths::normalise(target.path(), EncodedSlashes::Keep)?;
    normal.path.map_or(Ok(target.clone()), |path| with_path(&target, path).map_err(|error| error.to_string()))
}

fn with_path(uri: &Uri, mut path: String) -> Result<Uri, InvalidUri> {
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    PathAndQuery::try_from(path).map(Uri::from)
}
