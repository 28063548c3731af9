//! What a route changes on messages: header fields, path and host.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header::HOST, uri::PathAndQuery};
use weir_config::{HeaderEdits, Piece, Template, Variable};

use crate::{
    error::ProxyError,
    identity::Reserved,
    path::{Rewriter, climbs},
    request::{Client, Request},
};

/// Most fields that a route sets and adds on a message.
const MOST_FIELDS: usize = 1_024;

/// Every edit of a route, ready to run.
#[derive(Debug)]
pub struct Edits {
    request: Fields,
    response: Fields,
    path: Option<Rewriter>,
    host: Option<HeaderValue>,
}

/// What values may speak of.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Who asks.
    pub client: &'a Client,
    /// As the client sent it.
    pub method: &'a Method,
    /// As the client sent it.
    pub host: &'a HeaderValue,
    /// As the client sent it, its path in normal form.
    pub uri: &'a Uri,
    /// The route that took the request.
    pub route: &'a str,
    /// Whose request it is.
    pub tenant: Option<&'a str>,
    /// The cluster it goes to.
    pub cluster: Option<&'a str>,
    /// The endpoint it went to.
    pub endpoint: Option<&'a str>,
}

#[derive(Debug)]
struct Fields {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, Value)>,
    add: Vec<(HeaderName, Value)>,
    /// What is removed or set, and trailers may therefore not say.
    decided: Arc<Reserved>,
}

#[derive(Debug)]
enum Value {
    Fixed(HeaderValue),
    Made(Vec<Piece>),
}

impl Edits {
    /// From the configuration; none where nothing is edited.
    ///
    /// # Errors
    /// A name, value or expression is none.
    pub fn build(config: &weir_config::Edits) -> Result<Option<Box<Self>>, String> {
        if *config == weir_config::Edits::default() {
            return Ok(None);
        }
        let host = config.rewrite.host.as_ref().map(|host| HeaderValue::from_str(host)).transpose();
        Ok(Some(Box::new(Self {
            request: Fields::build(&config.request)?,
            response: Fields::build(&config.response)?,
            path: config.rewrite.path.as_ref().map(Rewriter::build).transpose()?,
            host: host.map_err(|error| error.to_string())?,
        })))
    }

    /// Edit a request on its way to an endpoint. A path that a plugin wrote, so that it differs from
    /// the client's, stays as it is.
    ///
    /// # Errors
    /// A path to be rewritten climbs out of where it is put.
    pub fn request(&self, request: &mut Request, facts: &Facts<'_>) -> Result<(), ProxyError> {
        // Programs behind us may take `x_user` for `x-user`.
        self.request.decided.remove(&mut request.headers);
        self.request.apply(&mut request.headers, facts);
        if let Some(host) = &self.host {
            request.headers.insert(HOST, host.clone());
        }
        match &self.path {
            Some(rewriter) if request.uri == *facts.uri => rewrite(rewriter, request),
            _ => Ok(()),
        }
    }

    /// What the trailers of a request may not say: whoever puts them with the fields would undo what is edited.
    pub fn request_trailers(&self) -> &Arc<Reserved> {
        &self.request.decided
    }

    /// Edit a response on its way to the client.
    pub fn response(&self, headers: &mut HeaderMap, facts: &Facts<'_>) {
        self.response.apply(headers, facts);
    }

    /// Edit the trailers of a response: they say nothing of what is removed or set.
    pub fn response_trailers(&self, trailers: &mut HeaderMap) {
        self.response.decided.remove(trailers);
    }
}

fn rewrite(rewriter: &Rewriter, request: &mut Request) -> Result<(), ProxyError> {
    let path = request.uri.path();
    if !path.starts_with('/') {
        return Ok(());
    }
    let refused = |reason| ProxyError::Refused { status: StatusCode::BAD_REQUEST, reason };
    if climbs(path) {
        return Err(refused("path with .."));
    }
    if let Some(mut target) = rewriter.rewrite(path) {
        if rewriter.may_climb() && climbs(&target) {
            return Err(refused("path that is rewritten to one with .."));
        }
        if let Some(query) = request.uri.query() {
            target.push('?');
            target.push_str(query);
        }
        let target = PathAndQuery::try_from(target).map_err(|_| refused("path that cannot be rewritten"))?;
        request.rewrite(Uri::from(target));
    }
    Ok(())
}

impl Fields {
    fn build(config: &HeaderEdits) -> Result<Self, String> {
        let name = |name: &String| HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string());
        let values = |fields: &[(String, Template)]| -> Result<Vec<_>, String> {
            fields.iter().map(|(text, template)| Ok((name(text)?, Value::build(template)?))).collect()
        };
        if config.set.len() + config.add.len() > MOST_FIELDS {
            return Err(format!("more than {MOST_FIELDS} header fields to set and add"));
        }
        let remove: Vec<_> = config.remove.iter().map(name).collect::<Result<_, _>>()?;
        let set = values(&config.set)?;
        let decided = Reserved::from_iter(remove.iter().chain(set.iter().map(|(name, _)| name)).cloned());
        Ok(Self { remove, set, add: values(&config.add)?, decided: Arc::new(decided) })
    }

    fn apply(&self, headers: &mut HeaderMap, facts: &Facts<'_>) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            if let Some(value) = value.of(facts) {
                headers.insert(name, value);
            }
        }
        for (name, value) in &self.add {
            if let Some(value) = value.of(facts) {
                headers.append(name, value);
            }
        }
    }
}

impl Value {
    fn build(template: &Template) -> Result<Self, String> {
        let fixed = match template.0.as_slice() {
            [] => HeaderValue::from_str(""),
            [Piece::Text(text)] => HeaderValue::from_str(text),
            [Piece::Secret(secret)] => HeaderValue::from_str(secret.reveal()).map(|mut value| {
                value.set_sensitive(true);
                value
            }),
            pieces => return Ok(Self::Made(pieces.to_vec())),
        };
        fixed.map(Self::Fixed).map_err(|error| error.to_string())
    }

    /// None where a client's words are not fit for a field.
    fn of(&self, facts: &Facts<'_>) -> Option<HeaderValue> {
        let pieces = match self {
            Self::Fixed(value) => return Some(value.clone()),
            Self::Made(pieces) => pieces,
        };
        let mut value = Vec::with_capacity(64);
        for piece in pieces {
            match piece {
                Piece::Text(text) => value.extend_from_slice(text.as_bytes()),
                Piece::Secret(secret) => value.extend_from_slice(secret.reveal().as_bytes()),
                Piece::Variable(variable) => facts.write(*variable, &mut value),
            }
        }
        HeaderValue::from_maybe_shared(bytes::Bytes::from(value)).ok()
    }
}

impl Facts<'_> {
    fn write(&self, variable: Variable, out: &mut Vec<u8>) {
        let text = match variable {
            Variable::ClientAddress => {
                return out.extend_from_slice(self.client.ip_value().as_ref().map_or(b"", HeaderValue::as_bytes));
            }
            Variable::ClientPort => {
                return out.extend_from_slice(itoa::Buffer::new().format(self.client.address.port()).as_bytes());
            }
            Variable::Host => return out.extend_from_slice(self.host.as_bytes()),
            Variable::Scheme => self.client.scheme(),
            Variable::Method => self.method.as_str(),
            Variable::Path => self.uri.path(),
            Variable::Listener => self.client.listener.name(),
            Variable::Route => self.route,
            Variable::Tenant => self.tenant.unwrap_or_default(),
            Variable::Cluster => self.cluster.unwrap_or_default(),
            Variable::Endpoint => self.endpoint.unwrap_or_default(),
        };
        out.extend_from_slice(text.as_bytes());
    }
}
