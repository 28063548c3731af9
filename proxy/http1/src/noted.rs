//! What a head says of its message and its connection, noted while its fields are read: most of what could be
//! said is not, and nobody has to look for it.

use http::{HeaderMap, HeaderName, Version};

use crate::fields::connection_has;

/// Values of one field, of which there is to be at most one.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Single<'a> {
    /// The first.
    pub value: Option<&'a [u8]>,
    /// Whether there are more.
    pub repeated: bool,
}

impl<'a> Single<'a> {
    fn take(&mut self, value: &'a [u8]) {
        self.repeated = self.value.is_some();
        self.value = self.value.or(Some(value));
    }
}

/// What was noted.
#[derive(Debug, Default)]
pub(crate) struct Noted<'a> {
    pub host: Single<'a>,
    pub content_length: Single<'a>,
    pub transfer_encoding: Single<'a>,
    /// Whether there are fields about the connection among those to be kept.
    pub hop_by_hop: bool,
    /// Whether there is `Expect`.
    pub expects: bool,
    close: bool,
    keep_alive: bool,
    options: bool,
}

impl<'a> Noted<'a> {
    /// Note a field. False for a `Connection` that says nothing but what is noted here.
    pub(crate) fn take(&mut self, name: &HeaderName, value: &'a [u8]) -> bool {
        match name.as_str() {
            "host" => self.host.take(value),
            "content-length" => self.content_length.take(value),
            "transfer-encoding" => {
                self.transfer_encoding.take(value);
                self.hop_by_hop = true;
            }
            "connection" if value.eq_ignore_ascii_case(b"close") => {
                self.close = true;
                return false;
            }
            "connection" if value.eq_ignore_ascii_case(b"keep-alive") => {
                self.keep_alive = true;
                return false;
            }
            "connection" => (self.options, self.hop_by_hop) = (true, true),
            "te" | "upgrade" | "keep-alive" | "proxy-connection" | "http2-settings" => self.hop_by_hop = true,
            "expect" => self.expects = true,
            _ => {}
        }
        true
    }

    /// Whether the peer wants to go on after this exchange (RFC 9112 section 9.3).
    pub(crate) fn keeps_alive(&self, headers: &HeaderMap, version: Version) -> bool {
        let says = |noted: bool, option| noted || (self.options && connection_has(headers, option));
        let closes = says(self.close, "close");
        match version {
            Version::HTTP_11 => !closes,
            _ => says(self.keep_alive, "keep-alive") && !closes,
        }
    }
}
