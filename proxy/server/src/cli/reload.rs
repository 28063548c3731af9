//! `weir reload`: the running Weir reads its configuration again.

use std::process::ExitCode;

use bytes::Bytes;
use http::Method;

use super::{
    Reload,
    client::{ask, finish},
};

/// Does what was asked and prints the outcome.
pub fn reload(command: &Reload) -> ExitCode {
    finish(run(command))
}

async fn run(command: &Reload) -> anyhow::Result<String> {
    let answer = ask(&command.admin, Method::POST, "/v1/reload", Bytes::new()).await?;
    let number = answer.get("snapshot").map(ToString::to_string).unwrap_or_default();
    Ok(format!("the configuration is in force: snapshot {number}\n"))
}
