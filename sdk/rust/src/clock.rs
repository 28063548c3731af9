//! Time. Grant `clock`.

use std::time::Duration;

/// Time since 1970-01-01 UTC, in whole milliseconds.
pub fn wall() -> Duration {
    #[cfg(target_arch = "wasm32")]
    return Duration::from_millis(crate::wit::host::clock::wall());
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::with(|host| host.wall)
}

/// Time since some moment; never goes back.
pub fn monotonic() -> Duration {
    #[cfg(target_arch = "wasm32")]
    return Duration::from_nanos(crate::wit::host::clock::monotonic());
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::with(|host| host.monotonic)
}
