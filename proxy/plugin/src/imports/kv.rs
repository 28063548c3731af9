//! `weir:plugin/kv`: the store a plugin's instances share.
//!
//! The one place where a decision may wait for another worker: for as long as a map takes.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Instant,
};

use wasmtime::{
    Result, StoreContextMut,
    component::{LinkerInstance, WasmList, WasmStr},
};

use crate::{decision::Data, kv::Kv};

pub(super) fn add<T: Data>(to: &mut LinkerInstance<'_, T>) -> Result<()> {
    to.func_wrap("get", |store, (key,): (WasmStr,)| {
        let (mut kv, tenant) = open(&store);
        let value = kv.get(tenant, &key.to_str(&store)?, Instant::now());
        Ok((value.map(<[u8]>::to_vec),))
    })?;
    to.func_wrap("set", |store, (key, value, ttl): (WasmStr, WasmList<u8>, u32)| {
        let (mut kv, tenant) = open(&store);
        let value = value.as_le_slice(&store);
        Ok((kv.set(tenant, &key.to_str(&store)?, value, ttl, Instant::now()),))
    })?;
    to.func_wrap("delete", |store, (key,): (WasmStr,)| {
        let (mut kv, tenant) = open(&store);
        kv.delete(tenant, &key.to_str(&store)?);
        Ok(())
    })?;
    to.func_wrap("add", |store, (key, by, ttl): (WasmStr, i64, u32)| {
        let (mut kv, tenant) = open(&store);
        Ok((kv.add(tenant, &key.to_str(&store)?, by, ttl, Instant::now()),))
    })
}

/// The store, and the tenant whose part of it is meant.
fn open<'a, T: Data>(store: &'a StoreContextMut<'_, T>) -> (MutexGuard<'a, Kv>, &'a str) {
    let kv = store.data().ledger().kv.lock().unwrap_or_else(PoisonError::into_inner);
    let tenant = store.data().request().and_then(|request| request.tenant());
    (kv, tenant.unwrap_or_default())
}
