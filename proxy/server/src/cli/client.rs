//! One HTTP request to the admin address of a running Weir.

use std::{io, process::ExitCode, time::Duration};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, runtime, time::timeout};

use super::{FAILED, exit, say};

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
/// Nobody answers, what answers is not Weir's admin address, or it refuses: then with its reason.
pub(super) async fn ask(address: &str, method: Method, path: &str, body: Bytes) -> anyhow::Result<Value> {
    let address = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
    let stream = connect(address).await?;
    let answer = timeout(ANSWER_TIMEOUT, exchange(stream, address, method, path, body)).await;
    answer.map_err(|_| anyhow!("{address} took more than five minutes to answer: see Weir's log"))?
}

async fn connect(address: &str) -> anyhow::Result<TcpStream> {
    let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut => {
            anyhow!("nothing answers at {address}: is weir running, and is its [admin] address the same? (--admin ADDR, or WEIR_ADMIN)")
        }
        _ => anyhow!("cannot reach {address}: {error} (an address looks like 127.0.0.1:9901)"),
    })
}

async fn exchange(stream: TcpStream, address: &str, method: Method, path: &str, body: Bytes) -> anyhow::Result<Value> {
    let not_weir = || format!("what answers at {address} is not Weir's admin address");
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.with_context(not_weir)?;
    let driving = tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header(header::HOST, address).body(Full::new(body))?;
    let response = client.send_request(request).await.with_context(not_weir)?;
    let status = response.status();
    let answer = response.into_body().collect().await.context("the answer broke off")?.to_bytes();
    driving.abort();
    let answer: Value = serde_json::from_slice(&answer).map_err(|_| anyhow!(not_weir()))?;
    if status.is_success() {
        return Ok(answer);
    }
    match answer.get("error").and_then(Value::as_str) {
        Some(why) => bail!("{why}"),
        None => bail!("{address} answers {status}"),
    }
}
