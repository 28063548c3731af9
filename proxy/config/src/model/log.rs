//! What `[access-log]` means.

use std::path::PathBuf;

/// `[access-log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// Shape of a line. Default JSON.
    pub format: LogFormat,
    /// Where lines go; none is standard output.
    pub path: Option<PathBuf>,
    /// Further query parameters whose values are not logged, beside those of usual names. None logs every value.
    pub redact: Option<Vec<String>>,
}

/// Shape of an access log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// `key=value` pairs.
    Logfmt,
    /// No access log.
    Off,
}
