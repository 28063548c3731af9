//! Octets on their way out: small ones copied together, large ones passed on without a copy.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

/// Below this a copy costs less than a segment of its own.
const COPY_BELOW: usize = 4 * 1024;
const MAX_SLICES: usize = 32;

/// A queue of octets. `sealed` goes out first, then `open`.
#[derive(Debug, Default)]
pub(crate) struct Output {
    sealed: VecDeque<Bytes>,
    open: BytesMut,
}

impl Output {
    /// Where small pieces are appended.
    pub(crate) fn small(&mut self) -> &mut BytesMut {
        &mut self.open
    }

    pub(crate) fn push(&mut self, data: Bytes) {
        if data.len() < COPY_BELOW {
            self.open.extend_from_slice(&data);
            return;
        }
        if !self.open.is_empty() {
            self.sealed.push_back(self.open.split().freeze());
        }
        self.sealed.push_back(data);
    }

    /// Octets waiting.
    pub(crate) fn len(&self) -> usize {
        self.sealed.iter().map(Bytes::len).sum::<usize>() + self.open.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.sealed.is_empty()
    }

    /// Give back the memory.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    pub(crate) fn poll_write_all<T: AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let written = if self.sealed.is_empty() {
                ready!(Pin::new(&mut *io).poll_write(cx, &self.open))?
            } else {
                ready!(self.poll_write_slices(io, cx))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_slices<T: AsyncWrite + Unpin>(&self, io: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let parts = self.sealed.iter().map(Bytes::as_ref).chain((!self.open.is_empty()).then_some(self.open.as_ref()));
        let mut used = 0;
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
            used += 1;
        }
        Pin::new(io).poll_write_vectored(cx, slices.get(..used).unwrap_or_default())
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(front) = self.sealed.front_mut() {
            if front.len() > written {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.sealed.pop_front();
        }
        if written >= self.open.len() {
            self.open.clear();
        } else {
            self.open.advance(written);
        }
    }
}
