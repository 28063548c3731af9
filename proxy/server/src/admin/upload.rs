//! What a request brings along: read whole up to a limit, and what is left of it read past.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::ApiError;

const KIB: usize = 1024;
/// Longest time for a body to arrive.
const ARRIVAL: Duration = Duration::from_secs(60);
/// Longest time for what nobody wants to arrive.
const LINGER: Duration = Duration::from_secs(10);
/// Most octets that are read past: twice the largest body that is taken.
const MOST_UNWANTED: usize = 128 * KIB * KIB;

/// A request's body. It is to be given up by [`Upload::discard`] once the answer is known.
pub(super) struct Upload {
    body: Incoming,
    /// Whether it can be waited for: a client may hold it back until it is told to go on.
    is_coming: bool,
}

impl Upload {
    pub(super) fn new(headers: &HeaderMap, body: Incoming) -> Self {
        Self { is_coming: !headers.contains_key(header::EXPECT), body }
    }

    /// Refuses it before anything of it is read, where its length is told.
    pub(super) fn fits(&self, what: &str, most: usize) -> Result<(), ApiError> {
        if self.body.size_hint().lower() > most as u64 { Err(too_large(what, most)) } else { Ok(()) }
    }

    /// All of it; `what` names it for people.
    pub(super) async fn whole(&mut self, what: &str, most: usize) -> Result<Bytes, ApiError> {
        self.fits(what, most)?;
        self.is_coming = true;
        let Ok(collected) = timeout(ARRIVAL, Limited::new(&mut self.body, most).collect()).await else {
            self.is_coming = false;
            return Err(ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("the {what} did not arrive within a minute"),
            ));
        };
        match collected {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(too_large(what, most)),
            Err(error) => Err(ApiError::new(StatusCode::BAD_REQUEST, format!("the {what} did not arrive: {error}"))),
        }
    }

    /// Reads past what is left, while the answer is on its way: most clients read it only once they have sent
    /// everything, and would see a broken connection in its place.
    pub(super) fn discard(self) {
        let mut body = self.body;
        if !self.is_coming || body.is_end_stream() {
            return;
        }
        tokio::spawn(timeout(LINGER, async move {
            let mut seen = 0;
            while let Some(Ok(frame)) = body.frame().await {
                seen += frame.data_ref().map_or(0, Bytes::len);
                if seen > MOST_UNWANTED {
                    break;
                }
            }
        }));
    }
}

fn too_large(what: &str, most: usize) -> ApiError {
    let most = match most / (KIB * KIB) {
        0 => format!("{} KiB", most / KIB),
        mib => format!("{mib} MiB"),
    };
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a {what} may have at most {most}"))
}
