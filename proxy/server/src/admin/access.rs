//! Who may do what on an address of the admin interface.

use std::{net::IpAddr, sync::Arc};

use aws_lc_rs::{constant_time, digest};
use http::{HeaderMap, StatusCode, header, request::Parts, uri::Authority};
use weir_config::{Admin, AdminAddress, AdminRole, read_token};

use super::{ApiError, door::Peer};
use crate::tls::ServerTls;

/// What callers of an address may do.
#[derive(Debug)]
pub struct Access {
    kind: Kind,
    tokens: Vec<Token>,
    unauthenticated: AdminRole,
    certified: AdminRole,
    hosts: Vec<String>,
    /// TLS of connections to come.
    pub tls: Option<ServerTls>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unix,
    Tcp,
    ReadOnly,
}

struct Token {
    name: Arc<str>,
    role: AdminRole,
    digest: digest::Digest,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({})", self.name)
    }
}

/// A caller that is known as far as it can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The token's name, the user of the process, the certificate's subject, or `unauthenticated`.
    pub who: String,
    /// What it may do.
    pub role: AdminRole,
    /// Where it connects from.
    pub from: String,
    /// It showed a token or a certificate, or connects by the Unix socket.
    is_known: bool,
}

impl Caller {
    /// A caller that could not be identified, or is refused before it is.
    pub fn unknown(peer: &Peer) -> Self {
        Self { who: "unidentified".to_owned(), role: AdminRole::None, from: peer.to_string(), is_known: false }
    }
}

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The refusal.
    pub error: ApiError,
    /// A token would help: the answer has `WWW-Authenticate`.
    pub wants_token: bool,
}

impl Access {
    /// Of the configured address, with tokens read from their files.
    ///
    /// # Errors
    /// A token that cannot be used, for people.
    pub fn of(admin: &Admin, tls: Option<ServerTls>) -> Result<Self, String> {
        let token = |token: &weir_config::AdminToken| {
            let secret = read_token(&token.file)?;
            Ok(Token { name: Arc::clone(&token.name), role: token.role, digest: hash(secret.as_bytes()) })
        };
        let kind = match admin.address {
            AdminAddress::Unix(_) => Kind::Unix,
            AdminAddress::Tcp(_) => Kind::Tcp,
        };
        Ok(Self {
            kind,
            tokens: admin.tokens.iter().map(token).collect::<Result<_, String>>()?,
            unauthenticated: admin.unauthenticated,
            certified: admin.client_certificate_role,
            hosts: admin.hosts.clone(),
            tls,
        })
    }

    /// Of the second address, on which everybody may see and nobody may change.
    pub fn read_only(admin: &Admin) -> Self {
        Self {
            kind: Kind::ReadOnly,
            tokens: Vec::new(),
            unauthenticated: AdminRole::Read,
            certified: AdminRole::Read,
            hosts: admin.hosts.clone(),
            tls: None,
        }
    }

    /// The caller of a request.
    ///
    /// # Errors
    /// It shows a token that is none, or asks for a host that is not this one.
    pub fn identify(&self, head: &Parts, peer: &Peer) -> Result<Caller, Denied> {
        let caller = self.caller(&head.headers, peer)?;
        // A web page whose name is made to lead here has neither a token nor the Unix socket.
        if self.kind != Kind::Unix && !(caller.is_known && has_token(&head.headers)) {
            self.check_host(head)?;
        }
        Ok(caller)
    }

    fn caller(&self, headers: &HeaderMap, peer: &Peer) -> Result<Caller, Denied> {
        let from = peer.to_string();
        let certificate = match peer {
            Peer::Unix { uid, .. } => {
                let who = uid.map_or_else(|| "unix".to_owned(), |uid| format!("uid {uid}"));
                return Ok(Caller { who, role: AdminRole::Deploy, from, is_known: true });
            }
            Peer::Tcp { certificate, .. } => certificate,
        };
        if !self.tokens.is_empty() && has_token(headers) {
            let token = bearer(headers).and_then(|secret| self.find(secret));
            let token = token.ok_or_else(|| denied(StatusCode::UNAUTHORIZED, "this is not one of the tokens"))?;
            return Ok(Caller { who: format!("token {}", token.name), role: token.role, from, is_known: true });
        }
        Ok(match certificate {
            Some(subject) => {
                Caller { who: format!("certificate {subject}"), role: self.certified, from, is_known: true }
            }
            None => Caller { who: "unauthenticated".to_owned(), role: self.unauthenticated, from, is_known: false },
        })
    }

    /// Looks at every token, so that the time it takes tells nothing.
    fn find(&self, secret: &[u8]) -> Option<&Token> {
        let shown = hash(secret);
        self.tokens.iter().fold(None, |found, token| {
            let same = constant_time::verify_slices_are_equal(token.digest.as_ref(), shown.as_ref()).is_ok();
            if same { Some(token) } else { found }
        })
    }

    /// Whether the caller may do what needs this role.
    ///
    /// # Errors
    /// Which role it needs, and how to get it.
    pub fn allow(&self, caller: &Caller, needed: AdminRole) -> Result<(), Denied> {
        if caller.role >= needed {
            return Ok(());
        }
        let (needed, role) = (needed.as_str(), caller.role.as_str());
        if self.kind == Kind::ReadOnly {
            return Err(denied(
                StatusCode::FORBIDDEN,
                "this is the read-only address: send what changes something to the `address` of `[admin]`",
            ));
        }
        if caller.is_known {
            let how = match caller.who.starts_with("certificate") {
                true => "`client-certificate-role` of `[admin]` says so",
                false => "show another token",
            };
            let why = format!("this needs the role `{needed}`, and {} has the role `{role}`: {how}", caller.who);
            return Err(denied(StatusCode::FORBIDDEN, why));
        }
        if !self.tokens.is_empty() {
            let why = format!(
                "this needs a token with the role `{needed}`: `--token-file FILE`, or `Authorization: Bearer TOKEN`"
            );
            return Err(denied(StatusCode::UNAUTHORIZED, why));
        }
        if self.tls.is_some() && self.unauthenticated == AdminRole::None {
            let why = format!("this needs the role `{needed}`: show a client certificate (`--cert` and `--key`)");
            return Err(denied(StatusCode::FORBIDDEN, why));
        }
        let why = format!(
            "this needs the role `{needed}`, and without a token callers of this address have the role `{role}`: in \
             `[admin]`, use a Unix socket (`address = \"unix:/run/weir/admin.sock\"`), give out `tokens`, or let every \
             user of this machine in with `unauthenticated = \"{needed}\"`"
        );
        Err(denied(StatusCode::FORBIDDEN, why))
    }

    /// A browser that is told that its page's name leads here asks for that name (DNS rebinding).
    fn check_host(&self, head: &Parts) -> Result<(), Denied> {
        let field = head.headers.get(header::HOST).map(|value| value.to_str().unwrap_or("?"));
        let asked = [head.uri.authority().map(Authority::as_str), field];
        for name in asked.into_iter().flatten() {
            let host = host_of(name);
            if !is_ours(&host) && !self.hosts.contains(&host) {
                let why = format!(
                    "the host `{host}` is not a name of this address: use its IP address, or add it to `hosts` of `[admin]`"
                );
                return Err(denied(StatusCode::MISDIRECTED_REQUEST, why));
            }
        }
        Ok(())
    }
}

fn is_ours(host: &str) -> bool {
    host.is_empty() || host == "localhost" || host.parse::<IpAddr>().is_ok()
}

/// Without its port and brackets, in lower case.
fn host_of(authority: &str) -> String {
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}

fn has_token(headers: &HeaderMap) -> bool {
    headers.contains_key(header::AUTHORIZATION)
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.as_bytes();
    let (scheme, secret) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| secret.trim_ascii())
}

fn hash(secret: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, secret)
}

fn denied(status: StatusCode, why: impl Into<String>) -> Denied {
    Denied { error: ApiError::new(status, why), wants_token: status == StatusCode::UNAUTHORIZED }
}

#[cfg(test)]
impl Access {
    /// Of TCP, for tests.
    pub(crate) fn open(unauthenticated: AdminRole, tokens: &[(&str, &str, AdminRole)], hosts: &[&str]) -> Self {
        let token = |(name, secret, role): &(&str, &str, AdminRole)| Token {
            name: Arc::from(*name),
            role: *role,
            digest: hash(secret.as_bytes()),
        };
        Self {
            kind: Kind::Tcp,
            tokens: tokens.iter().map(token).collect(),
            unauthenticated,
            certified: AdminRole::Read,
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            tls: None,
        }
    }

    /// Of the second address, for tests.
    pub(super) fn second() -> Self {
        Self { kind: Kind::ReadOnly, ..Self::open(AdminRole::Read, &[], &[]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_from_its_port() {
        for (authority, host) in [
            ("127.0.0.1:9901", "127.0.0.1"),
            ("[::1]:9901", "::1"),
            ("[::1]", "::1"),
            ("LOCALHOST", "localhost"),
            ("weir.test.:1", "weir.test"),
            ("u@evil.test:1", "evil.test"),
        ] {
            assert_eq!(host_of(authority), host);
        }
        assert!(is_ours("::1") && is_ours("10.0.0.1") && is_ours("localhost"));
        assert!(!is_ours("10.0.0.1.evil.test") && !is_ours("localhost.evil.test"));
    }

    #[test]
    fn one_bearer_token_is_read_in_any_case() {
        let bearer_of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            bearer(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(bearer_of(&["bEarer abc "]).unwrap(), b"abc");
        for values in [&["Basic abc"][..], &["Bearer"], &["Bearer a", "Bearer b"], &["Bearerabc"]] {
            assert_eq!(bearer_of(values), None, "{values:?}");
        }
    }
}
