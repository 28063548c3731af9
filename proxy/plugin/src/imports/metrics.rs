//! `weir:plugin/metrics`: figures on the metrics page.

use wasmtime::{
    Result,
    component::{LinkerInstance, WasmStr},
};

use crate::decision::Data;

pub(super) fn add<T: Data>(to: &mut LinkerInstance<'_, T>) -> Result<()> {
    to.func_wrap("count", |store, (name, by): (WasmStr, u64)| {
        store.data().ledger().custom.count(&name.to_str(&store)?, by);
        Ok(())
    })?;
    to.func_wrap("gauge", |store, (name, value): (WasmStr, f64)| {
        store.data().ledger().custom.gauge(&name.to_str(&store)?, value);
        Ok(())
    })?;
    to.func_wrap("observe", |store, (name, value): (WasmStr, f64)| {
        store.data().ledger().custom.observe(&name.to_str(&store)?, value);
        Ok(())
    })
}
