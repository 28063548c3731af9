//! `weir:plugin/log`: lines in the process log.

use wasmtime::{
    Result,
    component::{ComponentType, Lift, LinkerInstance, WasmStr},
};

use crate::{decision::Data, ledger::Ledger};

/// Longest line in bytes; what is above is cut.
const LINE_LIMIT: usize = 4 << 10;

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by lifting alone")]
enum Level {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

pub(super) fn add<T: Data>(to: &mut LinkerInstance<'_, T>) -> Result<()> {
    to.func_wrap("write", |store, (level, message): (Level, WasmStr)| {
        let ledger = store.data().ledger();
        if ledger.lines.pass(ledger.born.elapsed()) {
            write(ledger, level, &message.to_str(&store)?);
        }
        Ok(())
    })
}

fn write(ledger: &Ledger, level: Level, message: &str) {
    let plugin = &*ledger.name;
    let text = message.get(..message.floor_char_boundary(LINE_LIMIT)).unwrap_or_default();
    match level {
        Level::Debug => tracing::debug!(plugin, text, "plugin says"),
        Level::Info => tracing::info!(plugin, text, "plugin says"),
        Level::Warn => tracing::warn!(plugin, text, "plugin says"),
        Level::Error => tracing::error!(plugin, text, "plugin says"),
    }
}
