//! Queries without the values of parameters that hold secrets.

use std::borrow::Cow;

use crate::request::decoded;

/// What stands in the place of a value.
const MASK: &str = "***";

/// Parameters by which secrets are usually sent, in lower case; `-` and `_` count as the same.
const USUAL: [&str; 50] = [
    "access_key",
    "access_token",
    "accesstoken",
    "api-key",
    "api_key",
    "apikey",
    "assertion",
    "auth",
    "auth_token",
    "authorization",
    "client_assertion",
    "client_secret",
    "code",
    "code_verifier",
    "credential",
    "credentials",
    "csrf_token",
    "id_token",
    "id_token_hint",
    "jwt",
    "key",
    "new_password",
    "otp",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "password_confirmation",
    "private_token",
    "pwd",
    "refresh_token",
    "refreshtoken",
    "reset_token",
    "samlresponse",
    "secret",
    "session",
    "session_id",
    "sessionid",
    "sid",
    "sig",
    "signature",
    "ticket",
    "token",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
    "x-api-key",
    "x-auth-token",
    "x-goog-credential",
    "x-goog-signature",
];

/// Names of parameters whose values are not logged.
#[derive(Debug, Default)]
pub(super) struct Redaction {
    /// In lower case, by their length.
    names: Vec<Vec<Vec<u8>>>,
}

impl Redaction {
    /// The usual names and further ones; nothing where none are given.
    pub(super) fn of(further: Option<&[String]>) -> Self {
        let mut redaction = Self::default();
        let Some(further) = further else { return redaction };
        let further = further.iter().map(|name| name.to_ascii_lowercase());
        for name in USUAL.iter().map(|name| (*name).to_owned()).chain(further) {
            if redaction.names.len() <= name.len() {
                redaction.names.resize(name.len() + 1, Vec::new());
            }
            if let Some(of_length) = redaction.names.get_mut(name.len()) {
                of_length.push(name.into_bytes());
            }
        }
        redaction
    }

    /// A target as it may be logged.
    pub(super) fn target<'t>(&self, target: &'t str) -> Cow<'t, str> {
        let Some((path, query)) = target.split_once('?') else { return target.into() };
        if !pairs(query).any(|pair| self.hides(pair)) {
            return target.into();
        }
        let mut shown = String::with_capacity(target.len());
        shown.push_str(path);
        shown.push('?');
        for (number, part) in query.split('&').enumerate() {
            if number > 0 {
                shown.push('&');
            }
            self.push(part, &mut shown);
        }
        shown.into()
    }

    /// Appends what stands between two `&`. Some programs separate by `;` too, and for others that is a part of the
    /// value: behind a secret nothing is shown.
    fn push(&self, part: &str, shown: &mut String) {
        for (number, pair) in part.split(';').enumerate() {
            if number > 0 {
                shown.push(';');
            }
            if let Some((name, _)) = pair.split_once('=').filter(|_| self.hides(pair)) {
                shown.extend([name, "=", MASK]);
                return;
            }
            shown.push_str(pair);
        }
    }

    fn hides(&self, pair: &str) -> bool {
        let Some((name, value)) = pair.split_once('=') else { return false };
        !value.is_empty()
            && (self.has(name.as_bytes()) || (is_encoded(name) && self.has(&decoded(name).collect::<Vec<_>>())))
    }

    fn has(&self, name: &[u8]) -> bool {
        self.names.get(name.len()).is_some_and(|names| names.iter().any(|one| is_same(one, name)))
    }
}

/// Whether a name is this one, which is in lower case.
fn is_same(one: &[u8], name: &[u8]) -> bool {
    let plain = |byte: &u8| if *byte == b'-' { b'_' } else { byte.to_ascii_lowercase() };
    one.iter().map(plain).eq(name.iter().map(plain))
}

fn is_encoded(name: &str) -> bool {
    name.contains(['%', '+'])
}

/// Parameters, separated as some programs do as well.
fn pairs(query: &str) -> impl Iterator<Item = &str> {
    query.split(['&', ';'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(target: &str) -> String {
        Redaction::of(Some(&["Invite".to_owned()])).target(target).into_owned()
    }

    #[test]
    fn values_of_usual_names_are_not_shown() {
        for (target, redacted) in [
            ("/reset?token=abc", "/reset?token=***"),
            ("/x?a=1&Access_Token=abc&b=2", "/x?a=1&Access_Token=***&b=2"),
            ("/x?a=1;token=abc;b", "/x?a=1;token=***"),
            ("/x?password=abc;rest&b=1", "/x?password=***&b=1"),
            ("/x?access-token=abc", "/x?access-token=***"),
            ("/x?%74oken=abc", "/x?%74oken=***"),
            ("/x?invite=abc", "/x?invite=***"),
            ("/x?token=a=b&token=", "/x?token=***&token="),
            ("/x?X-Amz-Signature=abc&X-Amz-Date=1", "/x?X-Amz-Signature=***&X-Amz-Date=1"),
            ("/callback?code=abc&state=xyz", "/callback?code=***&state=xyz"),
            ("/token=abc", "/token=abc"),
            ("/x?page=2&tokens=3&token", "/x?page=2&tokens=3&token"),
            ("/x?", "/x?"),
            ("*", "*"),
        ] {
            assert_eq!(shown(target), redacted);
        }
        assert_eq!(Redaction::of(None).target("/x?token=abc"), "/x?token=abc");
    }

    #[test]
    fn what_has_no_secret_is_not_copied() {
        let redaction = Redaction::of(Some(&[]));
        assert!(matches!(redaction.target("/x?page=2&sort=up"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn no_other_part_changes(path in "/[a-z]{0,5}", pairs in prop::collection::vec("(token|page|%74oken|a)(=[a-z]{0,4})?", 0..5)) {
            let target = format!("{path}?{}", pairs.join("&"));
            let redacted = shown(&target);
            let before = target.split(['?', '&']).map(|pair| pair.split('=').next());
            let after = redacted.split(['?', '&']).map(|pair| pair.split('=').next());
            prop_assert!(before.eq(after), "{target} -> {redacted}");
        }
    }
}
