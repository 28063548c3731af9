//! The TCP check: a connection, and an answer where one is expected.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_config::{Cluster, TcpCheck, Unusable};

use super::{Checking, Probe, Verdict, http::contains};
use crate::{dial::Dial, endpoint::Endpoint};

/// As much of an answer as is looked at.
const MOST_ANSWER: usize = 64 * 1024;
/// As much of it as a reason shows.
const SHOWN: usize = 60;

/// Asks by TCP, over TLS where the cluster has it.
#[derive(Debug)]
pub struct TcpProbe {
    dial: Dial,
    check: TcpCheck,
}

impl TcpProbe {
    /// The probe of a cluster. Errors are of its TLS settings.
    pub fn try_new(cluster: &Cluster, check: &TcpCheck) -> Result<Self, Unusable> {
        Ok(Self { dial: Dial::try_new(cluster)?, check: check.clone() })
    }

    async fn ask(&self, endpoint: &Endpoint) -> Result<&'static str, String> {
        let mut stream = self.dial.open(endpoint).await?;
        if !self.check.send.is_empty() {
            let sent = async {
                stream.write_all(&self.check.send).await?;
                stream.flush().await
            };
            sent.await.map_err(|error: std::io::Error| format!("send: {}", error.kind()))?;
        }
        if self.check.expect.is_empty() {
            return Ok("connected");
        }
        let mut answer = Vec::new();
        while !contains(&answer, &self.check.expect) {
            if answer.len() >= MOST_ANSWER {
                return Err(format!("not in the first {MOST_ANSWER} bytes: {}", shown(&self.check.expect)));
            }
            let read = stream.read_buf(&mut answer).await.map_err(|error| format!("read: {}", error.kind()))?;
            if read == 0 {
                return Err(format!("expected {}, got {}", shown(&self.check.expect), shown(&answer)));
            }
        }
        Ok("answered as expected")
    }
}

impl Probe for TcpProbe {
    fn check<'a>(&'a self, endpoint: &'a Arc<Endpoint>) -> Checking<'a> {
        Box::pin(async move {
            let verdict = self.ask(endpoint).await;
            Ok(verdict.map_or_else(Verdict::unhealthy, Verdict::healthy))
        })
    }
}

/// The beginning of some bytes, in quotes.
fn shown(bytes: &[u8]) -> String {
    match bytes.get(..SHOWN) {
        Some(start) => format!("\"{}..\"", start.escape_ascii()),
        None => format!("\"{}\"", bytes.escape_ascii()),
    }
}

#[cfg(test)]
mod tests;
