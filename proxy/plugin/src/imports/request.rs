//! `weir:plugin/request`: the request under decision.

use std::borrow::Cow;

use wasmtime::{
    Result, StoreContextMut,
    component::{ComponentType, LinkerInstance, Lower, WasmStr},
};

use super::lend;
use crate::{ClientCertificate, RequestView, TlsFacts, decision::Data};

#[derive(ComponentType, Lower)]
#[component(record)]
struct Facts {
    version: String,
    sni: Option<String>,
    alpn: Option<String>,
}

impl From<TlsFacts> for Facts {
    fn from(facts: TlsFacts) -> Self {
        Self { version: facts.version, sni: facts.sni, alpn: facts.alpn }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Certificate {
    subject: String,
    #[component(name = "common-name")]
    common_name: Option<String>,
    issuer: String,
    serial: String,
    names: Vec<String>,
    fingerprint: String,
}

impl From<&ClientCertificate> for Certificate {
    fn from(certificate: &ClientCertificate) -> Self {
        let ClientCertificate { subject, common_name, issuer, serial, names, fingerprint } = certificate.clone();
        Self { subject, common_name, issuer, serial, names, fingerprint }
    }
}

pub(super) fn add<T: Data>(to: &mut LinkerInstance<'_, T>) -> Result<()> {
    text(to, "method", |request| request.method())?;
    text(to, "scheme", |request| request.scheme())?;
    text(to, "authority", |request| request.authority())?;
    text(to, "path", |request| request.path())?;
    text(to, "listener", |request| request.listener())?;
    text(to, "route", |request| request.route())?;
    to.func_wrap("query", |store, ()| Ok((of(&store)?.query(),)))?;
    to.func_wrap("tenant", |store, ()| Ok((of(&store)?.tenant(),)))?;
    to.func_wrap("tls", |store, ()| Ok((of(&store)?.tls().map(Facts::from),)))?;
    to.func_wrap("client-certificate", |store, ()| Ok((of(&store)?.client_certificate().map(Certificate::from),)))?;
    to.func_wrap("client-address", |mut store, ()| {
        let address = of(&store)?.client().to_string();
        Ok((store.data_mut().lend(Cow::Owned(address)),))
    })?;
    to.func_wrap("header", |mut store, (name,): (WasmStr,)| {
        let request = of(&store)?;
        let value = request.header(&name.to_str(&store)?);
        Ok((lend(&mut store, value),))
    })?;
    to.func_wrap("cookie", |mut store, (name,): (WasmStr,)| {
        let request = of(&store)?;
        let value = request.cookie(&name.to_str(&store)?);
        Ok((lend(&mut store, value),))
    })?;
    lists(to)
}

fn lists<T: Data>(to: &mut LinkerInstance<'_, T>) -> Result<()> {
    to.func_wrap("headers", |store, (name,): (WasmStr,)| {
        let mut values = Vec::<String>::new();
        of(&store)?.headers(&name.to_str(&store)?, &mut |value| values.push(value.to_owned()));
        Ok((values,))
    })?;
    to.func_wrap("header-names", |store, ()| {
        let mut names = Vec::<String>::new();
        of(&store)?.header_names(&mut |name| names.push(name.to_owned()));
        Ok((names,))
    })
}

fn text<T: Data>(
    to: &mut LinkerInstance<'_, T>,
    name: &str,
    read: fn(&'static dyn RequestView) -> &'static str,
) -> Result<()> {
    to.func_wrap(name, move |store, ()| Ok((read(of(&store)?),)))
}

pub(super) fn of<T: Data>(store: &StoreContextMut<'_, T>) -> Result<&'static dyn RequestView> {
    let request = store.data().request();
    request.ok_or_else(|| wasmtime::Error::msg("no decision on a request is under way"))
}
