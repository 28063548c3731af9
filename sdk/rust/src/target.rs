//! The endpoint under check. Only a health check has one, and it reaches this endpoint and nothing else.

#[cfg(target_arch = "wasm32")]
mod ambient;
#[cfg(not(target_arch = "wasm32"))]
mod constructed;

#[cfg(target_arch = "wasm32")]
pub use ambient::{Connection, Target};
#[cfg(not(target_arch = "wasm32"))]
pub use constructed::{Connection, Target, TargetBuilder};

/// What the endpoint answered to an HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// At most 1 MiB; longer ones are an error.
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer without headers.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }
}

impl Target {
    /// `GET` of a path, which includes the query.
    ///
    /// # Errors
    /// When no answer came; the text says why.
    pub fn get(&self, path: &str) -> Result<Answer, String> {
        self.http("GET", path, &[], &[])
    }
}
