//! What guests may call: one module an interface of the contract.
//!
//! Functions are linked by hand because text is lent: a header goes from the exchange's own buffer
//! into the guest's memory with nothing in between.

mod candidates;
mod clock;
mod kv;
mod log;
mod metrics;
mod random;
mod request;
mod target;

use wasmtime::{
    Engine, Result, StoreContextMut,
    component::{Linker, LinkerInstance},
};
use weir_config::Grant;

use crate::{
    checking::Checking,
    contract::{PACKAGE, VERSION},
    decision::{Data, Decision},
};

/// Everything a worker's guest may call.
pub(crate) fn for_decisions(engine: &Engine, grants: &[Grant]) -> Result<Linker<Decision>> {
    let mut linker = Linker::new(engine);
    add_shared(&mut linker, grants)?;
    target::add_errors(&mut interface(&mut linker, "target")?)?;
    Ok(linker)
}

/// Everything a guest may call during a health check.
pub(crate) fn for_checks(engine: &Engine, grants: &[Grant]) -> Result<Linker<Checking>> {
    let mut linker = Linker::new(engine);
    add_shared(&mut linker, grants)?;
    target::add(&mut interface(&mut linker, "target")?)?;
    Ok(linker)
}

/// The grant that an interface needs; none where there is no such interface.
pub(crate) fn grant_of(interface: &str) -> Option<Needs> {
    Some(match interface {
        "request" | "candidates" | "target" => Needs::Nothing,
        "log" => Needs::Grant(Grant::Log),
        "metrics" => Needs::Grant(Grant::Metrics),
        "clock" => Needs::Grant(Grant::Clock),
        "random" => Needs::Grant(Grant::Random),
        "kv" => Needs::Grant(Grant::Kv),
        _ => return None,
    })
}

/// The interface that a grant is for, as configurations name it.
pub(crate) fn interface_of(grant: Grant) -> &'static str {
    match grant {
        Grant::Log => "log",
        Grant::Metrics => "metrics",
        Grant::Clock => "clock",
        Grant::Random => "random",
        Grant::Kv => "kv",
    }
}

/// What must be granted for an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// It is there for all.
    Nothing,
    /// The operator must have given this.
    Grant(Grant),
}

fn add_shared<T: Data>(linker: &mut Linker<T>, grants: &[Grant]) -> Result<()> {
    request::add(&mut interface(linker, "request")?)?;
    candidates::add(&mut interface(linker, "candidates")?)?;
    for grant in grants {
        match grant {
            Grant::Log => log::add(&mut interface(linker, "log")?)?,
            Grant::Metrics => metrics::add(&mut interface(linker, "metrics")?)?,
            Grant::Clock => clock::add(&mut interface(linker, "clock")?)?,
            Grant::Random => random::add(&mut interface(linker, "random")?)?,
            Grant::Kv => kv::add(&mut interface(linker, "kv")?)?,
        }
    }
    Ok(())
}

fn interface<'a, T: 'static>(linker: &'a mut Linker<T>, name: &str) -> Result<LinkerInstance<'a, T>> {
    linker.instance(&format!("{PACKAGE}{name}@{VERSION}"))
}

/// Lend text that a view gave to the guest.
fn lend<T: Data>(
    store: &mut StoreContextMut<'_, T>,
    text: Option<std::borrow::Cow<'static, str>>,
) -> Option<&'static str> {
    text.map(|text| store.data_mut().lend(text))
}
