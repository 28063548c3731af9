//! In the sandbox: the target of the check under way, asked of the host. Documented where it is constructed.
#![allow(missing_docs)]

use std::io;

use super::Answer;
use crate::wit::host::target;

#[derive(Debug)]
pub struct Target(());

impl Target {
    pub(crate) const UNDER_WAY: Self = Self(());

    pub fn name(&self) -> String {
        target::name()
    }

    pub fn label(&self, key: &str) -> Option<String> {
        target::label(key)
    }

    pub fn http(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, String> {
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        target::http(method, path, &headers, body).map(|response| Answer {
            status: response.status,
            headers: response.headers,
            body: response.body,
        })
    }

    pub fn connect(&self) -> Result<Connection, String> {
        target::open().map(Connection)
    }
}

#[derive(Debug)]
pub struct Connection(u32);

impl io::Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = u32::try_from(into.len()).unwrap_or(u32::MAX);
        let bytes = target::read(self.0, most).map_err(io::Error::other)?;
        bytes.as_slice().read(into)
    }
}

impl io::Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        target::write(self.0, bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        target::close(self.0);
    }
}
