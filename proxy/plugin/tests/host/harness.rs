//! Guests, requests and candidates for tests.

use std::{
    borrow::Cow,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use weir_config::{ByteSize, Grant, OnFailure, Plugin};
use weir_plugin::{
    Bound, CandidatesView, ClientCertificate, Figures, Guests, Host, HostOptions, Program, RequestView, Role, TlsFacts,
};

/// The component of a guest.
pub fn guest(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests");
    let path = root.join(format!("{name}.wasm"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}: run cargo xtask guests", path.display()))
}

/// A host that shares its cache with the other tests.
pub fn host() -> Arc<Host> {
    let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache");
    Host::try_new(HostOptions { cache: Some(cache), ..HostOptions::default() }).unwrap()
}

/// The operator's words on a plugin.
pub fn plugin(name: &str, grants: &[Grant]) -> Plugin {
    Plugin {
        name: name.into(),
        path: PathBuf::new(),
        settings: json!({}),
        deadline: Duration::from_millis(50),
        worker_share: 50,
        check_cpu: Duration::from_millis(100),
        memory: ByteSize(16 << 20),
        on_failure: OnFailure::Native,
        grants: grants.to_vec(),
    }
}

/// A host, a worker's guests, and the guest that misbehaves.
pub struct Stage {
    pub host: Arc<Host>,
    pub guests: Guests,
    pub program: Arc<Program>,
}

impl Stage {
    pub fn new() -> Self {
        Self::with(plugin("misbehave", &[]))
    }

    pub fn with(plugin: Plugin) -> Self {
        let host = host();
        let program = host.load(&plugin, &guest("misbehave")).unwrap();
        Self { guests: Guests::new(), host, program }
    }

    pub fn bind(&self, role: Role, what: &str) -> Bound {
        self.program.bind(role, &json!({ "do": what })).unwrap()
    }

    /// The metrics page.
    pub fn page(&self) -> String {
        let mut page = String::new();
        self.host.metrics(&mut page);
        page
    }
}

/// A request.
#[derive(Default)]
pub struct Asked {
    pub headers: Vec<(&'static str, &'static str)>,
    pub tenant: Option<&'static str>,
    pub tls: bool,
    pub certificate: Option<ClientCertificate>,
}

impl Asked {
    pub fn with(headers: &[(&'static str, &'static str)]) -> Self {
        Self { headers: headers.to_vec(), ..Self::default() }
    }
}

impl RequestView for Asked {
    fn method(&self) -> &str {
        "GET"
    }
    fn scheme(&self) -> &str {
        "https"
    }
    fn authority(&self) -> &str {
        "api.example.com:8443"
    }
    fn path(&self) -> &str {
        "/v1/things"
    }
    fn query(&self) -> Option<&str> {
        Some("q=1")
    }
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        let value = self.headers.iter().find(|(field, _)| field.eq_ignore_ascii_case(name))?.1;
        // One value is made up for the occasion, as one that is not UTF-8 is.
        Some(if value == "made up" { Cow::Owned(value.to_owned()) } else { value.into() })
    }
    fn headers(&self, name: &str, each: &mut dyn FnMut(&str)) {
        self.headers.iter().filter(|(field, _)| *field == name).for_each(|(_, value)| each(value));
    }
    fn header_names(&self, each: &mut dyn FnMut(&str)) {
        self.headers.iter().for_each(|(name, _)| each(name));
    }
    fn cookie(&self, name: &str) -> Option<Cow<'_, str>> {
        let (_, cookies) = self.headers.iter().find(|(field, _)| *field == "cookie")?;
        let pair = cookies.split("; ").find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        pair.map(Cow::Borrowed)
    }
    fn client(&self) -> IpAddr {
        "2001:db8::1".parse().unwrap()
    }
    fn tls(&self) -> Option<TlsFacts> {
        let facts = TlsFacts { version: "TLSv1.3".into(), sni: Some("api".into()), alpn: None, client: None };
        self.tls.then_some(facts)
    }
    fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.as_ref()
    }
    fn tenant(&self) -> Option<&str> {
        self.tenant
    }
    fn listener(&self) -> &str {
        "secure"
    }
    fn route(&self) -> &str {
        "api"
    }
}

/// Endpoints by their requests in flight.
pub struct Among(pub Vec<u32>);

impl CandidatesView for Among {
    fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap()
    }
    fn epoch(&self) -> u64 {
        7
    }
    fn figures(&self, index: u32) -> Option<Figures> {
        let in_flight = *self.0.get(index as usize)?;
        Some(Figures { in_flight, latency: 100, weight: 1, degraded: false })
    }
    fn name(&self, index: u32) -> Option<&str> {
        ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"].get(index as usize).copied()
    }
    fn label(&self, index: u32, key: &str) -> Option<&str> {
        ["a", "b", "c"].get(index as usize).copied().filter(|_| key == "zone")
    }
    fn hash_key(&self) -> Option<&str> {
        Some("c")
    }
}

/// One idle endpoint, and no key.
pub struct Keyless;

impl CandidatesView for Keyless {
    fn len(&self) -> u32 {
        1
    }
    fn epoch(&self) -> u64 {
        8
    }
    fn figures(&self, index: u32) -> Option<Figures> {
        (index == 0).then_some(Figures { in_flight: 0, latency: 0, weight: 1, degraded: false })
    }
    fn name(&self, _: u32) -> Option<&str> {
        None
    }
    fn label(&self, _: u32, _: &str) -> Option<&str> {
        None
    }
    fn hash_key(&self) -> Option<&str> {
        None
    }
}

/// Three endpoints, the second of them the least busy.
pub fn three() -> Among {
    Among(vec![5, 2, 9])
}
