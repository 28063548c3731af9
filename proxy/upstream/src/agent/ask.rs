//! One question to an agent.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// As much of an answer as is read.
const MOST: usize = 1_024;

/// The first line of an agent's answer. Errors are for people.
pub(super) async fn ask(endpoint: SocketAddr, config: &weir_config::Agent) -> Result<String, String> {
    let limit = config.timeout;
    let asked = timeout(limit, exchange(SocketAddr::new(endpoint.ip(), config.port), &config.send)).await;
    match asked {
        Ok(Ok(line)) if line.trim().is_empty() => Err("it said nothing".to_owned()),
        Ok(Ok(line)) => Ok(line),
        Ok(Err(error)) => Err(error.kind().to_string()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

async fn exchange(agent: SocketAddr, send: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(agent).await?;
    stream.write_all(send).await?;
    let mut answer = Vec::new();
    while !answer.iter().any(is_line_end) && answer.len() < MOST {
        if stream.read_buf(&mut answer).await? == 0 {
            break;
        }
    }
    let line = answer.split(is_line_end).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).into_owned())
}

fn is_line_end(byte: &u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}
