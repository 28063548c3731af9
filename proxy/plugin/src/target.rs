//! The endpoint under a health check, as the host sees it: implemented by whoever can reach it.

use std::pin::Pin;

/// A future in a box, for traits that are used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One HTTP request to the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRequest {
    /// `GET`; what a guest gave, so check it.
    pub method: String,
    /// Path with query; what a guest gave, so check it.
    pub path: String,
    /// Header fields; what a guest gave, so check them.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// What the endpoint answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetResponse {
    /// Its status.
    pub status: u16,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// At most 1 MiB.
    pub body: Vec<u8>,
}

/// The endpoint under check and nothing else. Errors are texts for the guest. One value serves one
/// check: connections still open when it is dropped are closed.
pub trait Target: Send + Sync {
    /// Address of the endpoint as text.
    fn name(&self) -> String;
    /// One label of the endpoint.
    fn label(&self, key: &str) -> Option<String>;
    /// One request, by the cluster's own protocol and TLS.
    fn http(&self, request: TargetRequest) -> BoxFuture<'_, Result<TargetResponse, String>>;
    /// Open a raw connection and number it.
    fn open(&self) -> BoxFuture<'_, Result<u32, String>>;
    /// Send all of the bytes.
    fn write(&self, connection: u32, bytes: Vec<u8>) -> BoxFuture<'_, Result<(), String>>;
    /// Wait for some bytes, at most `most`; empty at the end of the stream.
    fn read(&self, connection: u32, most: u32) -> BoxFuture<'_, Result<Vec<u8>, String>>;
    /// Close early.
    fn close(&self, connection: u32);
}
