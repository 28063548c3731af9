//! `weir:plugin/clock`: time.

use std::time::SystemTime;

use wasmtime::{Result, component::LinkerInstance};

use crate::decision::Data;

pub(super) fn add<T: Data>(to: &mut LinkerInstance<'_, T>) -> Result<()> {
    to.func_wrap("wall", |_, ()| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok((u64::try_from(since.as_millis()).unwrap_or(u64::MAX),))
    })?;
    to.func_wrap("monotonic", |store, ()| {
        let since = store.data().ledger().born.elapsed();
        Ok((u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),))
    })
}
