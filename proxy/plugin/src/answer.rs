//! What a guest may answer, and what of it is believed.
//!
//! A guest's answer is foreign input: what would damage the message it ends up in (a line break in a
//! header, a status out of range) makes the whole answer a failure rather than being repaired.

use std::time::Duration;

use crate::Failure;

/// Longest session key in bytes.
pub const SESSION_KEY_LIMIT: usize = 512;
/// Most header fields that an answer sets, removes or adds, and most labels it asks for: of each.
pub const FIELD_LIMIT: usize = 128;
/// Most bytes of text in an answer: names, values, path, cluster, key and labels together.
pub const TEXT_LIMIT: usize = 64 << 10;
/// Longest body of a plugin's own answer in bytes.
pub const BODY_LIMIT: usize = 1 << 20;
/// Most bytes that a guest hands over in one call. What lies far above the limits is refused before it is
/// copied or read, because copying is not under the deadline.
pub(crate) const HANDED_OVER: usize = BODY_LIMIT + 4 * TEXT_LIMIT;
/// Longest complaint about settings in bytes; what is above is cut.
const COMPLAINT_LIMIT: usize = 4 << 10;
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
        self.check_size()?;
        check_headers(&self.set_headers)?;
        self.remove_headers.iter().try_for_each(|n| check_name(n))?;
        if self.set_headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("host")).count() > 1 {
            return bad("header host is set twice");
        }
        match &self.path {
            Some(path) if !is_target(path) => bad(format!("path {path:?} is not a request target")),
            _ => Ok(()),
        }
    }
}

impl Forward {
    fn check_size(&self) -> Result<(), Failure> {
        check_count("headers to set", self.set_headers.len())?;
        check_count("headers to remove", self.remove_headers.len())?;
        check_count("labels", self.labels.len())?;
        let lists = octets(&self.set_headers) + octets(&self.labels);
        let removed: usize = self.remove_headers.iter().map(String::len).sum();
        let single = [&self.cluster, &self.path, &self.hash_key];
        check_text(lists + removed + single.into_iter().flatten().map(String::len).sum::<usize>())
    }
}

impl Response {
    fn check(&self) -> Result<(), Failure> {
        check_fields(&self.headers)?;
        if self.body.len() > BODY_LIMIT {
            return bad(format!("a body of {} bytes: at most {BODY_LIMIT}", self.body.len()));
        }
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
        check_fields(&self.headers)?;
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

/// A complaint about settings that an operator can read.
pub(crate) fn complaint(mut why: String) -> String {
    why.truncate(why.floor_char_boundary(COMPLAINT_LIMIT));
    why
}

/// How many header fields there are, and how long they are.
fn check_fields(headers: &[(String, String)]) -> Result<(), Failure> {
    check_count("headers", headers.len())?;
    check_text(octets(headers))
}

fn check_count(what: &str, count: usize) -> Result<(), Failure> {
    match count {
        0..=FIELD_LIMIT => Ok(()),
        _ => bad(format!("{count} {what}: at most {FIELD_LIMIT}")),
    }
}

fn check_text(octets: usize) -> Result<(), Failure> {
    match octets {
        0..=TEXT_LIMIT => Ok(()),
        _ => bad(format!("{octets} bytes of text: at most {TEXT_LIMIT}")),
    }
}

fn octets(pairs: &[(String, String)]) -> usize {
    pairs.iter().map(|(name, value)| name.len() + value.len()).sum()
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
    fn an_answer_has_a_size() {
        let forward = |forward: Forward| RouteDecision::Forward(forward).checked().map(drop);
        let respond =
            |headers, body| RouteDecision::Respond(Response { status: 200, headers, body }).checked().map(drop);
        let fields = |count: usize| -> Vec<_> { (0..count).map(|i| (format!("x-{i}"), String::new())).collect() };
        let names = |count: usize| (0..count).map(|i| format!("x-{i}")).collect();
        let value = |length: usize| vec![("x".to_owned(), "v".repeat(length))];
        assert!(
            forward(Forward { set_headers: fields(128), remove_headers: names(128), ..Forward::default() }).is_ok()
        );
        for large in [
            Forward { set_headers: fields(129), ..Forward::default() },
            Forward { remove_headers: names(129), ..Forward::default() },
            Forward { labels: fields(129), ..Forward::default() },
            Forward { set_headers: value(TEXT_LIMIT), ..Forward::default() },
            Forward { hash_key: Some("k".repeat(TEXT_LIMIT + 1)), ..Forward::default() },
        ] {
            assert_eq!(forward(large).unwrap_err().kind(), "bad-answer");
        }
        assert!(respond(fields(128), vec![0; BODY_LIMIT]).is_ok());
        assert!(respond(fields(129), vec![]).is_err());
        assert!(respond(vec![], vec![0; BODY_LIMIT + 1]).is_err());
        let mark = |headers| Mark { session: None, headers }.checked().map(drop);
        assert!(mark(value(TEXT_LIMIT - 1)).is_ok());
        assert!(mark(value(TEXT_LIMIT)).is_err());
        assert!(mark(fields(129)).is_err());
    }

    #[test]
    fn a_request_has_one_host() {
        let set = |names: &[&str]| {
            let set_headers = names.iter().map(|name| ((*name).to_owned(), "a".to_owned())).collect();
            RouteDecision::Forward(Forward { set_headers, ..Forward::default() }).checked().is_ok()
        };
        assert!(set(&["host", "x-a", "x-a"]));
        assert!(!set(&["host", "x-a", "Host"]));
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
