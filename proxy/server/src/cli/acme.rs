//! `weir acme`: commands to a running Weir, and what they print.

use std::process::ExitCode;

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use super::{
    AcmeCommand,
    client::{ask, finish},
    table::{list, table, text},
};

/// Does what was asked and prints the outcome.
pub fn acme(command: &AcmeCommand) -> ExitCode {
    finish(run(command))
}

async fn run(command: &AcmeCommand) -> anyhow::Result<String> {
    match command {
        AcmeCommand::List { json, admin } => {
            let answer = ask(admin, Method::GET, "/v1/acme", Bytes::new()).await?;
            Ok(if *json { format!("{answer:#}\n") } else { listed(&answer) })
        }
        AcmeCommand::Renew { certificate, admin } => {
            ask(admin, Method::POST, &format!("/v1/acme/{certificate}/renew"), Bytes::new()).await?;
            Ok(format!("{certificate} is ordered: `weir acme list` and the log tell what becomes of it\n"))
        }
    }
}

/// One line a certificate.
fn listed(answer: &Value) -> String {
    let mut rows =
        vec![["CERTIFICATE", "AUTHORITY", "STATE", "UNTIL", "NEXT ATTEMPT", "FAILURES", "WHY"].map(str::to_owned)];
    rows.extend(list(answer, "acme").iter().map(row));
    if rows.len() == 1 {
        return "no certificates of authorities\n".to_owned();
    }
    table(&rows)
}

fn row(certificate: &Value) -> [String; 7] {
    [
        text(certificate, "certificate"),
        text(certificate, "acme"),
        text(certificate, "state"),
        text(certificate, "not_after"),
        text(certificate, "next_attempt"),
        certificate.get("failures").map_or_else(|| "-".to_owned(), ToString::to_string),
        text(certificate, "why"),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_a_table() {
        let certificates = json!({ "acme": [
            {
                "certificate": "a.test", "acme": "le", "state": "valid", "not_after": "2026-04-01T00:00:00Z",
                "next_attempt": "2026-03-01T00:00:00Z", "failures": 0, "why": null,
            },
            {
                "certificate": "b.test", "acme": "le", "state": "wanted", "not_after": null,
                "next_attempt": "2026-01-01T00:05:00Z", "failures": 1, "why": "b.test: no address",
            },
        ]});
        assert_eq!(
            listed(&certificates),
            "\
CERTIFICATE  AUTHORITY  STATE   UNTIL                 NEXT ATTEMPT          FAILURES  WHY
a.test       le         valid   2026-04-01T00:00:00Z  2026-03-01T00:00:00Z  0         -
b.test       le         wanted  -                     2026-01-01T00:05:00Z  1         b.test: no address
"
        );
        assert_eq!(listed(&json!({ "acme": [] })), "no certificates of authorities\n");
    }
}
