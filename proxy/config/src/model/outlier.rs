//! How endpoints are taken out for what requests meet on them, and what endpoints say of themselves.

use std::time::Duration;

/// `outlier-detection` of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlierDetection {
    /// Connections that could not be opened, in a row, that eject an endpoint; 0 never does. Default 3.
    pub connect_failures: u32,
    /// Statuses 502 to 504, time-outs, broken connections and responses in a row; 0 never does. Default 5.
    pub gateway_errors: u32,
    /// Statuses from 500 and everything that counts as a gateway error, in a row; 0 never does. Default 0.
    pub server_errors: u32,
    /// Between two comparisons of endpoints with each other. Default 10 s.
    pub interval: Duration,
    /// Length of a first ejection; the n-th lasts n times as long. Default 30 s.
    pub ejection: Duration,
    /// Longest ejection. Default 5 min.
    pub max_ejection: Duration,
    /// Percent of the endpoints that may be ejected at a time; one always may. Default 10.
    pub max_ejected: u32,
    /// Percent of the endpoints that may be picked but for ejections; where fewer are left, these do not count.
    /// Default 50, or what `max_ejected` leaves where that is less.
    pub panic_threshold: u32,
    /// A health check that succeeds ends an ejection. Default false.
    pub check_ends_ejection: bool,
    /// Comparison by the share of requests that succeed. Default none.
    pub success_rate: Option<SuccessRate>,
    /// Comparison by the time to a response's head. Default none.
    pub latency: Option<Latency>,
}

/// `outlier-detection.success-rate`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuccessRate {
    /// Endpoints that must have had enough requests. Default 5.
    pub endpoints: u32,
    /// Requests in an interval that are enough. Default 100.
    pub requests: u32,
    /// Standard deviations below the mean, in hundredths. Default 1.9.
    pub deviations: u32,
}

/// `outlier-detection.latency`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// Endpoints that must have had enough requests. Default 3.
    pub endpoints: u32,
    /// Requests in an interval that are enough. Default 100.
    pub requests: u32,
    /// Times the median of all, in hundredths. Default 3.
    pub factor: u32,
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            connect_failures: 3,
            gateway_errors: 5,
            server_errors: 0,
            interval: Duration::from_secs(10),
            ejection: Duration::from_secs(30),
            max_ejection: Duration::from_secs(300),
            max_ejected: 10,
            panic_threshold: 50,
            check_ends_ejection: false,
            success_rate: None,
            latency: None,
        }
    }
}

impl Default for SuccessRate {
    fn default() -> Self {
        Self { endpoints: 5, requests: 100, deviations: 190 }
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self { endpoints: 3, requests: 100, factor: 300 }
    }
}

/// `agent` of a cluster: where endpoints say how they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Port of the endpoint's address.
    pub port: u16,
    /// Between two questions. Default 2 s.
    pub interval: Duration,
    /// Longest time of one. Default 1 s.
    pub timeout: Duration,
    /// Sent at once; may be empty.
    pub send: Vec<u8>,
}
