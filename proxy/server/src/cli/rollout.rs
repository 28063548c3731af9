//! `weir rollout`: commands to a running Weir, and what they print.

use std::process::ExitCode;

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use super::{
    RolloutCommand, Steered,
    client::{ask, finish},
    table::{list, table, text},
};

/// Does what was asked and prints the outcome.
pub fn rollout(command: &RolloutCommand) -> ExitCode {
    finish(run(command))
}

async fn run(command: &RolloutCommand) -> anyhow::Result<String> {
    match command {
        RolloutCommand::List { json, admin } => {
            let answer = ask(admin, Method::GET, "/v1/rollouts", Bytes::new()).await?;
            Ok(if *json { format!("{answer:#}\n") } else { listed(&answer) })
        }
        RolloutCommand::Advance(steered) => steer(steered, "advance").await,
        RolloutCommand::Pause(steered) => steer(steered, "pause").await,
        RolloutCommand::Resume(steered) => steer(steered, "resume").await,
        RolloutCommand::Rollback(steered) => steer(steered, "rollback").await,
        RolloutCommand::Restart(steered) => steer(steered, "restart").await,
    }
}

async fn steer(Steered { route, admin }: &Steered, order: &str) -> anyhow::Result<String> {
    let answer = ask(admin, Method::POST, &format!("/v1/rollouts/{route}/{order}"), Bytes::new()).await?;
    Ok(format!(
        "{route} is {}, with {} % on {}\n",
        text(&answer, "phase"),
        number(&answer, "percent"),
        cluster(&answer)
    ))
}

/// One line a rollout.
fn listed(answer: &Value) -> String {
    let mut rows = vec![["ROUTE", "PHASE", "SHARE", "CLUSTER", "SINCE", "WHY"].map(str::to_owned)];
    rows.extend(list(answer, "rollouts").iter().map(row));
    if rows.len() == 1 {
        return "no rollouts\n".to_owned();
    }
    table(&rows)
}

fn row(rollout: &Value) -> [String; 6] {
    [
        text(rollout, "route"),
        text(rollout, "phase"),
        format!("{} %", number(rollout, "percent")),
        cluster(rollout),
        text(rollout, "since"),
        text(rollout, "why"),
    ]
}

/// The cluster that is to have the traffic.
fn cluster(rollout: &Value) -> String {
    rollout.get("to").map_or_else(|| "-".to_owned(), |to| text(to, "cluster"))
}

fn number(value: &Value, key: &str) -> String {
    value.get(key).map_or_else(|| "-".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_a_table() {
        let rollouts = json!({ "rollouts": [{
            "route": "api", "phase": "rolling", "percent": 25, "to": { "cluster": "next" },
            "since": "2026-01-01T00:00:00Z", "why": "not worse so far",
        }]});
        assert_eq!(
            listed(&rollouts),
            "\
ROUTE  PHASE    SHARE  CLUSTER  SINCE                 WHY
api    rolling  25 %   next     2026-01-01T00:00:00Z  not worse so far
"
        );
        assert_eq!(listed(&json!({ "rollouts": [] })), "no rollouts\n");
    }
}
