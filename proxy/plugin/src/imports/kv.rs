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

use crate::{
    decision::Data,
    kv::{Kv, Place},
};

pub(super) fn add<T: Data>(to: &mut LinkerInstance<'_, T>) -> Result<()> {
    to.func_wrap("get", |store, (key,): (WasmStr,)| {
        let (mut kv, place) = open(&store);
        let value = kv.get(place, &key.to_str(&store)?, Instant::now());
        Ok((value.map(<[u8]>::to_vec),))
    })?;
    to.func_wrap("set", |store, (key, value, ttl): (WasmStr, WasmList<u8>, u32)| {
        let (mut kv, place) = open(&store);
        let value = value.as_le_slice(&store);
        Ok((kv.set(place, &key.to_str(&store)?, value, ttl, Instant::now()),))
    })?;
    to.func_wrap("delete", |store, (key,): (WasmStr,)| {
        let (mut kv, place) = open(&store);
        kv.delete(place, &key.to_str(&store)?);
        Ok(())
    })?;
    to.func_wrap("add", |store, (key, by, ttl): (WasmStr, i64, u32)| {
        let (mut kv, place) = open(&store);
        Ok((kv.add(place, &key.to_str(&store)?, by, ttl, Instant::now()),))
    })
}

/// The store, and whose part of it is meant.
fn open<'a, T: Data>(store: &'a StoreContextMut<'_, T>) -> (MutexGuard<'a, Kv>, Place<'a>) {
    let kv = store.data().ledger().kv.lock().unwrap_or_else(PoisonError::into_inner);
    let place = match store.data().request() {
        None => Place::Common,
        Some(request) => request.tenant().map_or(Place::NoTenant, Place::Tenant),
    };
    (kv, place)
}
