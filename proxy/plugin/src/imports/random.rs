//! `weir:plugin/random`: chance.

use wasmtime::{Error, Result, component::LinkerInstance};

use crate::decision::Data;

/// Most bytes a call gives.
const BYTES: u32 = 1_024;

pub(super) fn add<T: Data>(to: &mut LinkerInstance<'_, T>) -> Result<()> {
    to.func_wrap("number", |_, ()| {
        let mut bytes = [0; 8];
        fill(&mut bytes)?;
        Ok((u64::from_le_bytes(bytes),))
    })?;
    to.func_wrap("bytes", |_, (len,): (u32,)| {
        let mut bytes = vec![0_u8; len.min(BYTES) as usize];
        fill(&mut bytes)?;
        Ok((bytes,))
    })
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| Error::msg(error.to_string()))
}
