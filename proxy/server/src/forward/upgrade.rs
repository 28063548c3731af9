//! Requests to switch protocols, as either version of HTTP asks and answers: `Upgrade` and 101
//! (RFC 9110 section 7.8), or extended CONNECT and 200 (RFC 8441).

use std::time::Duration;

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
};
use tokio::time::timeout;
use weir_upstream::{
    connection::{ConnectionError, Lease, Outcome, Target},
    websocket,
};

use crate::{
    error::ProxyError,
    request::{self, Request},
    worker::Worker,
};

const NO_TUNNELS: ProxyError =
    ProxyError::Refused { status: StatusCode::NOT_IMPLEMENTED, reason: "the endpoint takes no tunnels" };

/// How an endpoint is asked to switch, where it is.
#[derive(Debug)]
pub enum Ask {
    /// By `Upgrade`.
    Upgrade {
        /// What the endpoint has to answer to a key of ours, for a client that has no key.
        accept: Option<(HeaderValue, HeaderValue)>,
    },
    /// By extended CONNECT.
    Connect {
        /// What the client is to be answered to its key.
        accept: Option<HeaderValue>,
        /// The one protocol that is asked for.
        protocol: String,
    },
}

impl Ask {
    /// For a request that wants to switch. None where it is forwarded as one that does not: the endpoint
    /// cannot, and the client is content without. It may take so long for an endpoint to say whether it can.
    ///
    /// # Errors
    /// The client is not content without.
    pub async fn prepare(
        request: &Request,
        lease: &Lease,
        http2: bool,
        patience: Duration,
        worker: &Worker,
    ) -> Result<Option<Self>, ProxyError> {
        let Some(upgrade) = &request.upgrade else { return Ok(None) };
        let protocol = protocol(upgrade);
        let is_websocket = protocol.as_deref() == Some("websocket");
        if !http2 {
            let own = request.is_extended_connect() && is_websocket;
            let accept = own.then(|| {
                let key = websocket::key(worker.by_chance(|rng| [rng.bits(), rng.bits()]));
                let accept = websocket::accept(&key);
                (key, accept)
            });
            return Ok(Some(Self::Upgrade { accept }));
        }
        let Some(protocol) = protocol else { return Ok(None) };
        if !timeout(patience, lease.stream.takes_tunnels()).await.unwrap_or(false) {
            return if request.is_extended_connect() { Err(NO_TUNNELS) } else { Ok(None) };
        }
        let key = request.headers.get(SEC_WEBSOCKET_KEY).filter(|_| is_websocket && !request.is_extended_connect());
        Ok(Some(Self::Connect { accept: key.map(websocket::accept), protocol }))
    }

    /// Send the request's head.
    ///
    /// # Errors
    /// As [`weir_upstream::connection::Stream::start`].
    pub fn start(&self, lease: &mut Lease, target: Target<'_>, request: &Request) -> Result<(), ConnectionError> {
        let mut headers: HeaderMap = request.headers.clone();
        // What comes after it is the tunnel's.
        headers.remove(CONTENT_LENGTH);
        match self {
            Self::Upgrade { accept } => {
                headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                headers.extend(request.upgrade.clone().map(|upgrade| (UPGRADE, upgrade)));
                if let Some((key, _)) = accept {
                    headers.insert(SEC_WEBSOCKET_KEY, key.clone());
                }
                lease.stream.start(target, &headers, request.length)
            }
            Self::Connect { protocol, .. } => {
                headers.remove(SEC_WEBSOCKET_KEY);
                lease.stream.start_tunnel(target, &headers, protocol)
            }
        }
    }

    /// The protocol that the response switches to, if it does. Its fields become those for the client.
    ///
    /// # Errors
    /// The endpoint switched to what was not asked for.
    pub fn switched(&self, request: &Request, response: &mut Outcome) -> Result<Option<HeaderValue>, ProxyError> {
        match self {
            Self::Upgrade { accept } if response.status == StatusCode::SWITCHING_PROTOCOLS => {
                if let Some((_, accept)) = accept
                    && response.headers.remove(SEC_WEBSOCKET_ACCEPT).as_ref() != Some(accept)
                {
                    return Err(ProxyError::Switch);
                }
                let switched =
                    response.upgrade.take().filter(|to| request.upgrade.as_ref().is_some_and(|of| offers(of, to)));
                switched.ok_or(ProxyError::Switch).map(Some)
            }
            Self::Connect { accept, protocol } if response.status.is_success() => {
                if let Some(accept) = accept {
                    response.headers.insert(SEC_WEBSOCKET_ACCEPT, accept.clone());
                }
                HeaderValue::from_str(protocol).map(Some).map_err(|_| ProxyError::Switch)
            }
            _ => Ok(None),
        }
    }
}

/// Whether all that an endpoint switches to is among what it was asked for.
fn offers(asked: &HeaderValue, switched: &HeaderValue) -> bool {
    switched.to_str().is_ok()
        && request::protocols(switched).all(|to| request::protocols(asked).any(|of| of.eq_ignore_ascii_case(to)))
}

/// The protocol that is asked for, where it is one. Names of HTTP/2's are in lower case.
fn protocol(upgrade: &HeaderValue) -> Option<String> {
    let name = upgrade.to_str().ok()?.trim();
    let is_one = !name.is_empty() && !name.contains([',', ' ']);
    is_one.then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_protocol_is_asked_for_by_its_name() {
        let read = |text: &str| protocol(&HeaderValue::from_str(text).unwrap());
        assert_eq!(read("WebSocket").as_deref(), Some("websocket"));
        assert_eq!(read("HTTP/3.0").as_deref(), Some("http/3.0"));
        assert_eq!(read("websocket, other"), None);
        assert_eq!(read(""), None);
    }

    #[test]
    fn endpoints_switch_to_what_was_asked_for() {
        let switches = |asked: &'static str, to: &'static str| {
            offers(&HeaderValue::from_static(asked), &HeaderValue::from_static(to))
        };
        assert!(switches("websocket", "WebSocket"));
        assert!(switches("other, websocket", "websocket"));
        assert!(!switches("websocket", "h2c"));
        assert!(!switches("websocket", "websocket, h2c"));
        let unreadable = HeaderValue::from_bytes(b"websocket\xff").unwrap();
        assert!(!offers(&unreadable, &unreadable));
    }
}
