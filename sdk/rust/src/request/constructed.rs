//! In native code: a request made by hand.

use super::{ClientCertificate, Tls};

/// The request a decision is about.
///
/// In a plugin it is given; in a native test it is made with [`Request::builder`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    method: String,
    scheme: String,
    authority: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, String)>,
    client: String,
    tls: Option<Tls>,
    certificate: Option<ClientCertificate>,
    tenant: Option<String>,
    listener: String,
    route: String,
}

impl Request {
    /// A `GET` of `http://localhost/` from 127.0.0.1, to be changed.
    pub fn builder() -> RequestBuilder {
        RequestBuilder(Self {
            method: "GET".into(),
            scheme: "http".into(),
            authority: "localhost".into(),
            path: "/".into(),
            query: None,
            headers: Vec::new(),
            client: "127.0.0.1".into(),
            tls: None,
            certificate: None,
            tenant: None,
            listener: "web".into(),
            route: "route".into(),
        })
    }

    /// As sent: `GET`.
    pub fn method(&self) -> String {
        self.method.clone()
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> String {
        self.scheme.clone()
    }

    /// Host with port where one was sent: `api.example.com:8443`.
    pub fn authority(&self) -> String {
        self.authority.clone()
    }

    /// Path as sent, without the query.
    pub fn path(&self) -> String {
        self.path.clone()
    }

    /// Query as sent, without the question mark.
    pub fn query(&self) -> Option<String> {
        self.query.clone()
    }

    /// First value of a header. Names are compared without case.
    pub fn header(&self, name: &str) -> Option<String> {
        self.values(name).next().cloned()
    }

    /// Every value of a header, in order.
    pub fn headers(&self, name: &str) -> Vec<String> {
        self.values(name).cloned().collect()
    }

    /// Names of all header fields, lower case, in order, repeated where the field is.
    pub fn header_names(&self) -> Vec<String> {
        self.headers.iter().map(|(name, _)| name.clone()).collect()
    }

    /// First value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.values("cookie")
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value.to_owned())
    }

    /// The client's address without port: `203.0.113.7`, `2001:db8::1`.
    pub fn client_address(&self) -> String {
        self.client.clone()
    }

    /// None on a plain connection.
    pub fn tls(&self) -> Option<Tls> {
        self.tls.clone()
    }

    /// None where the client showed no certificate that was verified.
    pub fn client_certificate(&self) -> Option<ClientCertificate> {
        self.certificate.clone()
    }

    /// Customer of the operator this request belongs to.
    pub fn tenant(&self) -> Option<String> {
        self.tenant.clone()
    }

    /// Name of the listener it came in by.
    pub fn listener(&self) -> String {
        self.listener.clone()
    }

    /// Name of the route it matched.
    pub fn route(&self) -> String {
        self.route.clone()
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a String> {
        self.headers.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Makes a [`Request`] for a native test.
#[derive(Debug, Clone)]
pub struct RequestBuilder(Request);

impl RequestBuilder {
    /// The request.
    pub fn build(self) -> Request {
        self.0
    }

    /// With this method.
    pub fn method(mut self, method: &str) -> Self {
        self.0.method = method.into();
        self
    }

    /// With this host, and port where there is one.
    pub fn authority(mut self, authority: &str) -> Self {
        self.0.authority = authority.into();
        self
    }

    /// With this path; what follows a question mark is the query.
    pub fn path(mut self, path: &str) -> Self {
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (path, None),
        };
        self.0.path = path.into();
        self.0.query = query;
        self
    }

    /// With one more header field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.0.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// With one more cookie.
    pub fn cookie(self, name: &str, value: &str) -> Self {
        self.header("cookie", &format!("{name}={value}"))
    }

    /// From this client address.
    pub fn client_address(mut self, address: &str) -> Self {
        self.0.client = address.into();
        self
    }

    /// Over TLS; the scheme becomes `https`.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.0.scheme = "https".into();
        self.0.tls = Some(tls);
        self
    }

    /// From a client that showed this certificate.
    pub fn client_certificate(mut self, certificate: ClientCertificate) -> Self {
        self.0.certificate = Some(certificate);
        self
    }

    /// Of this tenant.
    pub fn tenant(mut self, tenant: &str) -> Self {
        self.0.tenant = Some(tenant.into());
        self
    }

    /// In by this listener.
    pub fn listener(mut self, listener: &str) -> Self {
        self.0.listener = listener.into();
        self
    }

    /// Matched by this route.
    pub fn route(mut self, route: &str) -> Self {
        self.0.route = route.into();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientCertificate, Request};

    #[test]
    fn answers_what_it_was_built_with() {
        let request = Request::builder()
            .path("/a?b=c")
            .header("X-Team", "blue")
            .header("cookie", "one=1; two=2")
            .cookie("three", "3")
            .client_certificate(ClientCertificate { subject: "CN=a".into(), ..ClientCertificate::default() })
            .build();
        assert_eq!(request.path(), "/a");
        assert_eq!(request.query().as_deref(), Some("b=c"));
        assert_eq!(request.header("x-TEAM").as_deref(), Some("blue"));
        assert_eq!(request.cookie("two").as_deref(), Some("2"));
        assert_eq!(request.cookie("three").as_deref(), Some("3"));
        assert_eq!(request.cookie("four"), None);
        assert_eq!(request.client_certificate().unwrap().subject, "CN=a");
        assert_eq!(request.header_names(), ["x-team", "cookie", "cookie"]);
    }
}
