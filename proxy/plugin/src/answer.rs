//! What a guest may answer, and what of it is believed.
//!
//! A guest's answer is foreign input: what would damage the message it ends up in (a line break in a
//! header, a status out of range) makes the whole answer a failure rather than being repaired.

use std::time::Duration;

use crate::Failure;

/// Longest session key in bytes.
pub const SESSION_KEY_LIMIT: usize = 512;
/// Longest explanation of a health verdict in bytes; what is above is cut.
const WHY_LIMIT: usize = 1024;

/// What a router said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteDecision {
    /// Nothing: the next plugin, then the route decides.
    Pass,
    /// Forward like this.
    Forward(Forward),
    /// Answer now.
    Respond(Response),
}

/// Where to forward, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forward {
    /// Another cluster than the route's. Whether it exists is for the caller to see.
    pub cluster: Option<String>,
    /// Request headers to set, replacing what is there.
    pub set_headers: Vec<(String, String)>,
    /// Request headers to remove, before any is set.
    pub remove_headers: Vec<String>,
    /// Path and query to send instead.
    pub path: Option<String>,
    /// Key for balancers that hash.
    pub hash_key: Option<String>,
    /// Labels an endpoint must have to be picked.
    pub labels: Vec<(String, String)>,
}

/// An answer of the plugin's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// Header fields in order.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// A session the client told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Tells it from others of the cluster: 1 to [`SESSION_KEY_LIMIT`] bytes.
    pub key: String,
    /// Ends this long after the last request; none is the cluster's.
    pub idle: Option<Duration>,
    /// Ends this long after the first request; none is the cluster's.
    pub max: Option<Duration>,
}

/// How a client is marked once bound.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mark {
    /// The session to remember for a request that had none.
    pub session: Option<Session>,
    /// Response headers to add.
    pub headers: Vec<(String, String)>,
}

/// State a health plugin gives an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    /// Picked as usual.
    Healthy,
    /// Picked only when no healthy endpoint is left.
    Degraded,
    /// Not picked.
    Unhealthy,
    /// Keeps its sessions and gets no new ones.
    Drain,
}

/// What a health plugin found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthVerdict {
    /// The state it gives.
    pub state: HealthState,
    /// Percent of the configured weight, 0 to 100.
    pub weight_percent: u32,
    /// For people.
    pub why: String,
}

impl RouteDecision {
    pub(crate) fn checked(self) -> Result<Self, Failure> {
        match &self {
            Self::Pass => {}
            Self::Forward(forward) => forward.check()?,
            Self::Respond(response) => response.check()?,
        }
        Ok(self)
    }
}

impl Forward {
    fn check(&self) -> Result<(), Failure> {
        check_headers(&self.set_headers)?;
        self.remove_headers.iter().try_for_each(|n| check_name(n))?;
        match &self.path {
            Some(path) if !is_target(path) => bad(format!("path {path:?} is not a request target")),
            _ => Ok(()),
        }
    }
}

impl Response {
    fn check(&self) -> Result<(), Failure> {
        if !(200..=599).contains(&self.status) {
            return bad(format!("status {} is not in 200 to 599", self.status));
        }
        check_headers(&self.headers)
    }
}

impl Session {
    pub(crate) fn checked(self) -> Result<Self, Failure> {
        match self.key.len() {
            0 => bad("empty session key"),
            1..=SESSION_KEY_LIMIT => Ok(self),
            long => bad(format!("session key of {long} bytes: at most {SESSION_KEY_LIMIT}")),
        }
    }
}

impl Mark {
    pub(crate) fn checked(mut self) -> Result<Self, Failure> {
        check_headers(&self.headers)?;
        self.session = self.session.map(Session::checked).transpose()?;
        Ok(self)
    }
}

impl HealthVerdict {
    pub(crate) fn checked(mut self) -> Result<Self, Failure> {
        if self.weight_percent > 100 {
            return bad(format!("weight of {} percent", self.weight_percent));
        }
        self.why.truncate(self.why.floor_char_boundary(WHY_LIMIT));
        Ok(self)
    }
}

fn check_headers(headers: &[(String, String)]) -> Result<(), Failure> {
    headers.iter().try_for_each(|(name, value)| {
        check_name(name)?;
        match value.bytes().all(is_value_octet) {
            true => Ok(()),
            false => bad(format!("value of header {name} has a control character")),
        }
    })
}

fn check_name(name: &str) -> Result<(), Failure> {
    match !name.is_empty() && name.bytes().all(is_token_octet) {
        true => Ok(()),
        false => bad(format!("{name:?} is not a header name")),
    }
}

/// `tchar` of RFC 9110 section 5.6.2.
fn is_token_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

/// `field-vchar`, space and tab of RFC 9110 section 5.5.
fn is_value_octet(octet: u8) -> bool {
    octet == b'\t' || (octet >= b' ' && octet != 0x7f)
}

fn is_target(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'#')
}

fn bad<T>(what: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::BadAnswer(what.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.into(), value.into())]
    }

    #[test]
    fn an_answer_cannot_split_a_message() {
        let split = Response { status: 200, headers: header("a", "b\r\nc: d"), body: vec![] };
        assert!(RouteDecision::Respond(split).checked().is_err());
        let forward = Forward { set_headers: header("a:b", "c"), ..Forward::default() };
        assert!(RouteDecision::Forward(forward).checked().is_err());
        let mark = Mark { session: None, headers: header("set-cookie", "a\0b") };
        assert!(mark.checked().is_err());
    }

    #[test]
    fn a_path_is_a_request_target() {
        let path = |path: &str| {
            let path = Some(path.to_owned());
            RouteDecision::Forward(Forward { path, ..Forward::default() }).checked().is_ok()
        };
        assert!(path("/a?b=%20c"));
        for refused in ["", "a", "/a b", "/a\r\n", "/é", "/a#b"] {
            assert!(!path(refused), "{refused:?}");
        }
    }

    #[test]
    fn a_session_key_has_a_length() {
        let key = |length| Session { key: "k".repeat(length), idle: None, max: None }.checked();
        assert!(key(0).is_err());
        assert!(key(512).is_ok());
        assert!(key(513).is_err());
    }
}
