//! Where a session's key is found in a request.

use serde::Deserialize;
use weir_sdk::Request;

use crate::token;

/// Where a session's key is found.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A cookie of our own, given to clients that have none.
    Own(Own),
    /// A cookie of the application's.
    Cookie(String),
    /// A request header.
    Header(String),
    /// A query parameter.
    Query(String),
    /// A claim of a JSON Web Token.
    Jwt(Jwt),
}

impl Default for Source {
    fn default() -> Self {
        Self::Own(Own::default())
    }
}

impl Source {
    /// The key of a request, unless it is absent or empty.
    pub fn value(&self, request: &Request) -> Option<String> {
        let value = match self {
            Self::Own(own) => request.cookie(&own.name).filter(|id| is_id(id)),
            Self::Cookie(name) => request.cookie(name),
            Self::Header(name) => request.header(name),
            Self::Query(name) => parameter(&request.query()?, name),
            Self::Jwt(jwt) => jwt.value(request),
        };
        value.filter(|value| !value.is_empty())
    }
}

/// A cookie of our own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Own {
    name: String,
    path: String,
}

impl Default for Own {
    fn default() -> Self {
        Self { name: "weir-session".into(), path: "/".into() }
    }
}

impl Own {
    /// A `Set-Cookie` value. It ends with the browser's session: the table behind it ends sooner.
    pub fn set(&self, id: &str, request: &Request) -> String {
        let secure = if request.scheme() == "https" { "; Secure" } else { "" };
        let Self { name, path } = self;
        format!("{name}={id}; Path={path}; HttpOnly; SameSite=Lax{secure}")
    }
}

/// A claim of a JSON Web Token. The token is **not** verified.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Jwt {
    claim: String,
    /// A cookie that holds the token, instead of `authorization: Bearer`.
    cookie: Option<String>,
}

impl Jwt {
    fn value(&self, request: &Request) -> Option<String> {
        match &self.cookie {
            Some(name) => token::claim(&request.cookie(name)?, &self.claim),
            None => {
                let field = request.header("authorization")?;
                let (scheme, token) = field.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| token::claim(token.trim(), &self.claim))?
            }
        }
    }
}

/// Ids we gave; anything else gets one.
fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The value as sent: it is compared, not read.
fn parameter(query: &str, name: &str) -> Option<String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value.to_owned())
}
