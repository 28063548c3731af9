//! A small store shared by all instances of a plugin, apart for each tenant. Grant `kv`. At most 10,000
//! keys of 256 bytes with values of 4 KiB a tenant; the oldest of the same tenant go first. What health checks and
//! `configure` write is read by requests of all tenants.

use std::time::Duration;

#[cfg(target_arch = "wasm32")]
use crate::wit::host::kv;

/// The value of a key, unless it is absent or expired.
pub fn get(key: &str) -> Option<Vec<u8>> {
    #[cfg(target_arch = "wasm32")]
    return kv::get(key);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::with(|host| host.value(key))
}

/// Keep a value for at most this long, in whole seconds.
///
/// # Errors
/// Names the limit that was passed.
pub fn set(key: &str, value: &[u8], ttl: Duration) -> Result<(), String> {
    #[cfg(target_arch = "wasm32")]
    return kv::set(key, value, seconds(ttl));
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::with(|host| host.keep(key, value.to_vec(), seconds(ttl)))
}

/// Forget a key.
pub fn delete(key: &str) {
    #[cfg(target_arch = "wasm32")]
    kv::delete(key);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::with(|host| host.values.remove(key));
}

/// Add to a number and return the sum; an absent or expired key starts at 0.
///
/// # Errors
/// Names the limit that was passed, or says that the value is no number.
pub fn add(key: &str, by: i64, ttl: Duration) -> Result<i64, String> {
    #[cfg(target_arch = "wasm32")]
    return kv::add(key, by, seconds(ttl));
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::with(|host| host.add(key, by, seconds(ttl)))
}

/// Rounded up: a short time is not none.
fn seconds(ttl: Duration) -> u32 {
    let more = u64::from(ttl.subsec_nanos() > 0);
    u32::try_from(ttl.as_secs().saturating_add(more)).unwrap_or(u32::MAX)
}
