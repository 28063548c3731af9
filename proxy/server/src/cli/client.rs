//! One HTTP request to the admin interface of a running Weir.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{runtime, time::timeout};

use super::{
    AdminAddress, FAILED,
    connect::{Stream, Target},
    exit, say,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Compiling a large plugin takes a while.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// Does what was asked and prints the outcome.
pub(super) fn finish(command: impl Future<Output = anyhow::Result<String>>) -> ExitCode {
    let done = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")
        .and_then(|runtime| runtime.block_on(command));
    match done {
        Ok(text) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            exit(FAILED)
        }
    }
}

/// Sends one request and reads the JSON answer.
///
/// # Errors
/// Nothing answers, what answers is not Weir's admin interface, or it refuses: then with its reason.
pub(super) async fn ask(admin: &AdminAddress, method: Method, path: &str, body: Bytes) -> anyhow::Result<Value> {
    let target = Target::of(admin)?;
    let stream = timeout(CONNECT_TIMEOUT, target.connect());
    let stream = stream.await.unwrap_or_else(|_| Err(target.silent()))?;
    let answer = timeout(ANSWER_TIMEOUT, exchange(stream, &target, method, path, body)).await;
    answer.map_err(|_| anyhow!("{target} took more than five minutes to answer: see Weir's log"))?
}

async fn exchange(
    stream: Box<dyn Stream>,
    target: &Target,
    method: Method,
    path: &str,
    body: Bytes,
) -> anyhow::Result<Value> {
    let not_weir = || format!("what answers at {target} is not Weir's admin interface");
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.with_context(not_weir)?;
    let driving = tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, target.host());
    if let Some(token) = target.token() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let response = client.send_request(request.body(Full::new(body))?).await.with_context(not_weir)?;
    let status = response.status();
    let answer = response.into_body().collect().await.context("the answer broke off")?.to_bytes();
    driving.abort();
    let answer: Value = serde_json::from_slice(&answer).map_err(|_| anyhow!(not_weir()))?;
    if status.is_success() {
        return Ok(answer);
    }
    match answer.get("error").and_then(Value::as_str) {
        Some(why) => bail!("{why}"),
        None => bail!("{target} answers {status}"),
    }
}
