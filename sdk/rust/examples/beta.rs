//! The plugin of the author's guide, docs/plugins.md, which shows parts of this file.
#![cfg_attr(test, allow(clippy::unwrap_used))]

use serde::Deserialize;
use weir_sdk::{Decision, Forward, Request, Response, Router};

/// Sends people who carry a cookie to endpoints with a label, and keeps everyone else out of `/beta`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beta {
    cookie: String,
    #[serde(default = "next")]
    version: String,
}

fn next() -> String {
    "next".to_owned()
}

impl Router for Beta {
    fn route(&mut self, request: &Request) -> Decision {
        if let Some(group) = request.cookie(&self.cookie) {
            let forward = Forward::default().label("version", &self.version);
            return forward.set_header("x-beta-group", group).into();
        }
        if request.path().starts_with("/beta") {
            return Response::new(404).body("not here\n").into();
        }
        Decision::Pass
    }
}

weir_sdk::export!(router: Beta);

#[cfg(test)]
mod tests {
    use weir_sdk::{Forward, Request, Router, settings};

    use super::Beta;

    #[test]
    fn people_with_the_cookie_get_the_next_version() {
        let mut beta: Beta = settings::parse(r#"{ "cookie": "beta" }"#).unwrap();
        let request = Request::builder().path("/beta").cookie("beta", "7").build();
        let expected = Forward::default().label("version", "next").set_header("x-beta-group", "7");
        assert_eq!(beta.route(&request), expected.into());
    }

    #[test]
    fn settings_that_are_wrong_name_the_key() {
        let error = settings::parse::<Beta>(r#"{ "cookie": 7 }"#).unwrap_err();
        assert_eq!(error, "settings.cookie: invalid type: integer `7`, expected a string");
    }
}
