//! In the sandbox: the request under way, asked of the host. Documented where it is constructed.
#![allow(missing_docs)]

use super::{ClientCertificate, Tls};
use crate::wit::host::request;

#[derive(Debug)]
pub struct Request(());

impl Request {
    pub(crate) const UNDER_WAY: Self = Self(());

    pub fn method(&self) -> String {
        request::method()
    }

    pub fn scheme(&self) -> String {
        request::scheme()
    }

    pub fn authority(&self) -> String {
        request::authority()
    }

    pub fn path(&self) -> String {
        request::path()
    }

    pub fn query(&self) -> Option<String> {
        request::query()
    }

    pub fn header(&self, name: &str) -> Option<String> {
        request::header(name)
    }

    pub fn headers(&self, name: &str) -> Vec<String> {
        request::headers(name)
    }

    pub fn header_names(&self) -> Vec<String> {
        request::header_names()
    }

    pub fn cookie(&self, name: &str) -> Option<String> {
        request::cookie(name)
    }

    pub fn client_address(&self) -> String {
        request::client_address()
    }

    pub fn tls(&self) -> Option<Tls> {
        request::tls().map(|tls| Tls { version: tls.version, sni: tls.sni, alpn: tls.alpn })
    }

    pub fn client_certificate(&self) -> Option<ClientCertificate> {
        request::client_certificate().map(|certificate| ClientCertificate {
            subject: certificate.subject,
            common_name: certificate.common_name,
            issuer: certificate.issuer,
            serial: certificate.serial,
            names: certificate.names,
            fingerprint: certificate.fingerprint,
        })
    }

    pub fn tenant(&self) -> Option<String> {
        request::tenant()
    }

    pub fn listener(&self) -> String {
        request::listener()
    }

    pub fn route(&self) -> String {
        request::route()
    }
}
