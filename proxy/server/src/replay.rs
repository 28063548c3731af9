//! A request's body kept in case the request has to be sent again.

use bytes::Bytes;
use http::HeaderMap;
use weir_http1::Frame;

/// What was taken of a request's body, up to a limit. It is copied: pieces of large reads would hold
/// far more memory than they count.
#[derive(Debug)]
pub struct Replay {
    kept: Vec<u8>,
    trailers: Option<HeaderMap>,
    room: usize,
    whole: bool,
}

impl Replay {
    /// Nothing taken yet, and room for this many octets.
    pub fn new(room: usize) -> Self {
        Self { kept: Vec::new(), trailers: None, room, whole: true }
    }

    /// Keep a piece; past the limit everything is let go.
    pub fn keep(&mut self, frame: &Frame) {
        match frame {
            Frame::Data(data) if self.whole && self.kept.len() + data.len() <= self.room => {
                self.kept.extend_from_slice(data);
            }
            Frame::Data(_) => self.clear(),
            Frame::Trailers(trailers) => self.trailers = Some(trailers.clone()),
        }
    }

    /// Let go of everything: the request is not sent again.
    pub fn clear(&mut self) {
        self.whole = false;
        self.kept = Vec::new();
    }

    /// Whether everything that was taken is here.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// What is here, to be sent once more.
    pub fn frames(&self) -> Vec<Frame> {
        let data = (!self.kept.is_empty()).then(|| Frame::Data(Bytes::copy_from_slice(&self.kept)));
        data.into_iter().chain(self.trailers.clone().map(Frame::Trailers)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(text: &'static str) -> Frame {
        Frame::Data(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn pieces_come_back_in_order() {
        let mut replay = Replay::new(6);
        assert!(replay.is_whole() && replay.frames().is_empty());
        replay.keep(&data("one"));
        replay.keep(&data("two"));
        replay.keep(&Frame::Trailers(HeaderMap::new()));
        let [Frame::Data(body), Frame::Trailers(_)] = &replay.frames()[..] else { panic!("{replay:?}") };
        assert_eq!(body, "onetwo");
    }

    #[test]
    fn a_body_past_the_limit_is_let_go() {
        let mut replay = Replay::new(5);
        replay.keep(&data("one"));
        replay.keep(&data("two"));
        replay.keep(&data("3"));
        assert!(!replay.is_whole() && replay.kept.capacity() == 0);
    }
}
