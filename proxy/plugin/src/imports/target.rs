//! `weir:plugin/target`: the endpoint under check, and nothing where no check is under way.

use std::sync::Arc;

use tokio::time::Instant;
use wasmtime::{
    Error, Result, StoreContextMut,
    component::{ComponentType, LinkerInstance, Lower, WasmList, WasmStr},
};

use crate::{BoxFuture, Target, TargetRequest, TargetResponse, checking::Checking, decision::Decision};

const NO_CHECK: &str = "no health check is under way";

/// Most bytes one `read` waits for.
const READ_LIMIT: u32 = 64 << 10;

#[derive(ComponentType, Lower)]
#[component(record)]
struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl From<TargetResponse> for Response {
    fn from(response: TargetResponse) -> Self {
        Self { status: response.status, headers: response.headers, body: response.body }
    }
}

type Http = (String, String, Vec<(String, String)>, Vec<u8>);

pub(super) fn add(to: &mut LinkerInstance<'_, Checking>) -> Result<()> {
    to.func_wrap("name", |store, ()| Ok((hold(&store)?.0.name(),)))?;
    to.func_wrap("label", |store, (key,): (WasmStr,)| Ok((hold(&store)?.0.label(&key.to_str(&store)?),)))?;
    to.func_wrap_async("http", |store, (method, path, headers, body): Http| {
        let held = hold(&store);
        let request = TargetRequest { method, path, headers, body };
        Box::new(async move {
            let (target, until) = held?;
            Ok((in_time(until, target.http(request)).await.map(Response::from),))
        })
    })?;
    add_stream(to)
}

fn add_stream(to: &mut LinkerInstance<'_, Checking>) -> Result<()> {
    to.func_wrap_async("open", |store, ()| {
        let held = hold(&store);
        Box::new(async move {
            let (target, until) = held?;
            Ok((in_time(until, target.open()).await,))
        })
    })?;
    to.func_wrap_async("write", |store, (connection, bytes): (u32, Vec<u8>)| {
        let held = hold(&store);
        Box::new(async move {
            let (target, until) = held?;
            Ok((in_time(until, target.write(connection, bytes)).await,))
        })
    })?;
    to.func_wrap_async("read", |store, (connection, most): (u32, u32)| {
        let held = hold(&store);
        Box::new(async move {
            let (target, until) = held?;
            Ok((in_time(until, target.read(connection, most.min(READ_LIMIT))).await,))
        })
    })?;
    to.func_wrap("close", |store, (connection,): (u32,)| {
        hold(&store)?.0.close(connection);
        Ok(())
    })
}

/// For workers: the same functions, all of which say no. A component links them whatever its roles.
pub(super) fn add_errors(to: &mut LinkerInstance<'_, Decision>) -> Result<()> {
    to.func_wrap("name", |_, ()| Err::<(String,), _>(Error::msg(NO_CHECK)))?;
    to.func_wrap("label", |_, (_,): (WasmStr,)| Ok((None::<&'static str>,)))?;
    to.func_wrap("http", |_, _: Http| Ok((refuse::<Response>(),)))?;
    to.func_wrap("open", |_, ()| Ok((refuse::<u32>(),)))?;
    to.func_wrap("write", |_, _: (u32, WasmList<u8>)| Ok((refuse::<()>(),)))?;
    to.func_wrap("read", |_, _: (u32, u32)| Ok((refuse::<Vec<u8>>(),)))?;
    to.func_wrap("close", |_, (_,): (u32,)| Ok(()))
}

fn refuse<R>() -> std::result::Result<R, &'static str> {
    Err(NO_CHECK)
}

/// The target, and the moment by which the guest must have its answer.
fn hold(store: &StoreContextMut<'_, Checking>) -> Result<(Arc<dyn Target>, Instant)> {
    let held = store.data().held.as_ref().ok_or_else(|| Error::msg(NO_CHECK))?;
    Ok((Arc::clone(&held.target), held.until))
}

/// Give up early enough that the guest can still say what it makes of the silence.
async fn in_time<R>(
    until: Instant,
    call: BoxFuture<'_, std::result::Result<R, String>>,
) -> std::result::Result<R, String> {
    let outcome = tokio::time::timeout_at(until, call).await;
    outcome.unwrap_or_else(|_| Err("timed out".into()))
}
