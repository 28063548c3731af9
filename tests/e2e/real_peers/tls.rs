//! Those who do nothing but TLS, before Weir and behind it: hitch and stunnel.

use std::{fs, net::SocketAddr, path::PathBuf};

use rcgen::DnType;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    curl,
    peer::{Peer, command},
};
use crate::e2e::harness::{Ca, Certificate, Client, Endpoint, Setup, Weir, get, soon, until};

/// Where the client is, told apart from the programs between it and the endpoint.
const CLIENT: &str = "127.0.0.9";

/// A folder with `ca.pem` and, for each name, `NAME.pem` with key and certificate in one file, as both programs take them.
struct Files {
    folder: TempDir,
    ca: Ca,
}

impl Files {
    fn new(names: &[&str]) -> Files {
        let files = Files { folder: tempfile::tempdir().unwrap(), ca: Ca::new() };
        fs::write(files.path("ca.pem"), files.ca.pem()).unwrap();
        names.iter().for_each(|name| files.add(name, &files.ca.issue(&[name])));
        files
    }

    fn add(&self, name: &str, certificate: &Certificate) {
        fs::write(self.path(&format!("{name}.pem")), format!("{}{}", certificate.key, certificate.cert)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// hitch with the certificates of these names, before this address.
    async fn hitch(&self, names: &[&str], backend: SocketAddr, more: &str) -> Peer {
        let hitch = Peer::start(&self.path("hitch.log"), |address| {
            let (host, port) = (backend.ip(), backend.port());
            let mut config = format!(
                "frontend = \"[{}]:{}\"\nbackend = \"[{host}]:{port}\"\nworkers = 1\nocsp-dir = \"\"\n{more}\n",
                address.ip(),
                address.port()
            );
            for name in names {
                config += &format!("pem-file = \"{}\"\n", self.path(&format!("{name}.pem")).display());
            }
            // As root it wants to become somebody else.
            if nix::unistd::geteuid().is_root() {
                config += "user = \"nobody\"\n";
            }
            fs::write(self.path("hitch.conf"), config).unwrap();
            let mut hitch = command("hitch", "hitch");
            hitch.arg(format!("--config={}", self.path("hitch.conf").display()));
            hitch
        });
        // The socket that it tries first is not the one that its worker accepts from.
        let serves = || fs::read_to_string(self.path("hitch.log")).unwrap().contains("Process 0 online");
        until("hitch to serve", serves).await;
        hitch
    }

    /// stunnel before this address; `FOLDER` stands for this one.
    fn stunnel(&self, connect: SocketAddr, more: &str) -> Peer {
        Peer::start(&self.path("stunnel.log"), |address| {
            let more = more.replace("FOLDER", &self.folder.path().display().to_string());
            let config =
                format!("foreground = yes\npid =\n[service]\naccept = {address}\nconnect = {connect}\n{more}\n");
            fs::write(self.path("stunnel.conf"), config).unwrap();
            let mut stunnel = command("stunnel4", "stunnel4");
            stunnel.arg(self.path("stunnel.conf"));
            stunnel
        })
    }

    /// Asks for this URL's host at this address, as the client.
    fn ask(&self, address: SocketAddr, version: &str, host: &str) -> String {
        let (ca, port) = (self.path("ca.pem"), address.port());
        let resolve = format!("{host}:{port}:{}", address.ip());
        let url = format!("https://{host}:{port}/");
        curl(&["--interface", CLIENT, "--cacert", ca.to_str().unwrap(), "--resolve", &resolve, version, &url])
    }
}

/// A listener `web` that requires PROXY headers, with routes for what they can tell.
async fn told(endpoint: SocketAddr) -> Weir {
    Weir::start(&format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        proxy-protocol = {{ accept = "required", trusted = ["127.0.0.1"] }}
        [[routes]]
        name = "a-by-h2"
        match = {{ sni = "a.test", alpn = "h2", scheme = "https" }}
        cluster = "web"
        [[routes]]
        name = "a"
        match = {{ sni = "a.test", scheme = "https" }}
        cluster = "web"
        [[routes]]
        name = "b"
        match = {{ sni = "b.test", scheme = "https" }}
        cluster = "web"
        [[routes]]
        name = "rest"
        cluster = "web"
        [clusters.web]
        endpoints = ["{endpoint}"]
        "#
    ))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn hitch_tells_of_clients_and_of_their_tls() {
    let (files, endpoint) = (Files::new(&["a.test", "b.test"]), Endpoint::start("here").await);
    let weir = told(endpoint.address).await;
    let hitch =
        files.hitch(&["a.test", "b.test"], weir.web(), "write-proxy-v2 = on\nalpn-protos = \"h2,http/1.1\"").await;
    for (version, host, said, route) in [
        ("--http2", "a.test", "here 200 2", "a-by-h2"),
        ("--http1.1", "a.test", "here 200 1.1", "a"),
        ("--http2", "b.test", "here 200 2", "b"),
    ] {
        assert_eq!(files.ask(hitch.address, version, host), said);
        let line = weir.logged_where(route, |line| line["route"] == route).await;
        assert!(line["client"].as_str().unwrap().starts_with(&format!("{CLIENT}:")), "{line}");
        assert_eq!(endpoint.last().values("x-forwarded-for"), [CLIENT]);
        assert_eq!(endpoint.last().values("x-forwarded-proto"), ["https"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hitch_passes_on_what_weir_tells_it() {
    let (files, endpoint) = (Files::new(&["a.test"]), Endpoint::start("here").await);
    let inner = told(endpoint.address).await;
    let hitch = files.hitch(&["a.test"], inner.web(), "proxy-proxy = on").await;
    let config = format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        tls = {{ certificates = [{{ cert = "b.pem", key = "b.key" }}] }}
        [[routes]]
        name = "all"
        cluster = "hitch"
        [clusters.hitch]
        endpoints = ["{}"]
        send-proxy-protocol = "v2"
        tls = {{ ca = "ca.pem", sni = "a.test" }}
        "#,
        hitch.address
    );
    let setup = Setup::new(&config).certificate("b", &files.ca.issue(&["b.test"])).file("ca.pem", files.ca.pem());
    let outer = setup.start().await;
    assert_eq!(files.ask(outer.web(), "--http1.1", "b.test"), "here 200 1.1");
    let line = inner.logged("/").await;
    assert_eq!((&line["client"], &line["route"]), (&outer.logged("/").await["client"], &"b".into()));
    assert!(line["client"].as_str().unwrap().starts_with(&format!("{CLIENT}:")), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stunnel_tells_of_clients_by_version_1() {
    let (files, endpoint) = (Files::new(&["a.test"]), Endpoint::start("here").await);
    let weir = told(endpoint.address).await;
    let stunnel = files.stunnel(weir.web(), "protocol = proxy\ncert = FOLDER/a.test.pem");
    assert_eq!(files.ask(stunnel.address, "--http1.1", "a.test"), "here 200 1.1");
    assert_eq!(endpoint.last().values("x-forwarded-for"), [CLIENT]);
    // Version 1 says nothing of TLS.
    assert_eq!(endpoint.last().values("x-forwarded-proto"), ["http"]);
    let line = weir.logged("/").await;
    assert!(line["client"].as_str().unwrap().starts_with(&format!("{CLIENT}:")), "{line}");
    assert_eq!(line["route"], "rest");
}

#[tokio::test(flavor = "multi_thread")]
async fn stunnel_brings_clients_without_tls_and_shows_their_certificate() {
    let (files, endpoint) = (Files::new(&[]), Endpoint::start("here").await);
    let (stranger, clients) = (Ca::new(), Ca::new());
    let joe = clients.issue_client(&[(DnType::CommonName, "joe")], Vec::new(), 7);
    files.add("joe", &joe);
    fs::write(files.path("stranger.pem"), stranger.pem()).unwrap();
    let config = format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        tls = {{ certificates = [{{ cert = "a.pem", key = "a.key" }}], client-auth = {{ ca = "clients.pem" }} }}
        [[routes]]
        name = "all"
        match = {{ sni = "a.test" }}
        cluster = "web"
        [clusters.web]
        endpoints = ["{}"]
        "#,
        endpoint.address
    );
    let setup = Setup::new(&config).certificate("a", &files.ca.issue(&["a.test"])).file("clients.pem", clients.pem());
    let weir = setup.start().await;
    let brought = |ca: &str, more: &str| {
        let more = format!(
            "client = yes\nsni = a.test\nverifyChain = yes\ncheckHost = a.test\nCAfile = FOLDER/{ca}.pem\n{more}"
        );
        files.stunnel(weir.web(), &more)
    };
    for version in ["TLSv1.2", "TLSv1.3"] {
        let stunnel = brought("ca", &format!("cert = FOLDER/joe.pem\nsslVersion = {version}"));
        let mut client = Client::http1(stunnel.address).await;
        for _ in 0..3 {
            assert_eq!(client.post("/echo", "x".repeat(300_000)).await.body.len(), 300_000, "{version}");
        }
        assert_eq!(get(stunnel.address, "/").await.text(), "here", "{version}");
    }
    let line = weir.logged("/").await;
    assert_eq!((&line["client_subject"], &line["status"]), (&"CN=joe".into(), &200.into()));
    // Who shows nothing, and who is not shown what it trusts, hears nothing.
    for stunnel in [brought("ca", ""), brought("stranger", "cert = FOLDER/joe.pem")] {
        assert_eq!(heard(stunnel.address).await, "");
    }
}

/// What a request is told by someone who may close the connection at any time.
async fn heard(address: SocketAddr) -> String {
    let mut said = String::new();
    if let Ok(mut stream) = TcpStream::connect(address).await {
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n").await;
        let _ = soon("the end", stream.read_to_string(&mut said)).await;
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn stunnel_ends_tls_of_a_cluster() {
    let (files, endpoint) = (Files::new(&["a.test"]), Endpoint::start("here").await);
    let clients = Ca::new();
    fs::write(files.path("clients.pem"), clients.pem()).unwrap();
    let asking = "cert = FOLDER/a.test.pem\nrequireCert = yes\nverifyChain = yes\nCAfile = FOLDER/clients.pem";
    let stunnel = files.stunnel(endpoint.address, asking);
    let config = |tls: &str| {
        format!(
            r#"
            [listeners.web]
            address = "127.0.0.1:0"
            [listeners.tcp]
            address = "127.0.0.1:0"
            protocol = "tcp"
            cluster = "c"
            [[routes]]
            name = "all"
            cluster = "c"
            [clusters.c]
            endpoints = ["{}"]
            tls = {{ {tls} }}
            "#,
            stunnel.address
        )
    };
    let own = clients.issue_client(&[(DnType::CommonName, "weir")], Vec::new(), 1);
    let setup = Setup::new(&config("ca = \"ca.pem\", sni = \"a.test\", cert = \"own.pem\", key = \"own.key\""));
    let setup = setup.file("ca.pem", files.ca.pem()).file("stranger.pem", Ca::new().pem()).certificate("own", &own);
    let mut weir = setup.start().await;
    for listener in ["web", "tcp"] {
        let mut client = Client::http1(weir.listener(listener)).await;
        for _ in 0..3 {
            assert_eq!(client.post("/echo", "x".repeat(300_000)).await.body.len(), 300_000, "{listener}");
        }
    }
    // Whom it does not trust, a name that is another's, and who is not told who we are.
    for tls in [
        "ca = \"stranger.pem\", sni = \"a.test\", cert = \"own.pem\", key = \"own.key\"",
        "ca = \"ca.pem\", sni = \"b.test\", cert = \"own.pem\", key = \"own.key\"",
        "ca = \"ca.pem\", sni = \"a.test\"",
    ] {
        let before = endpoint.requests();
        weir.reload(&config(tls)).await.unwrap();
        assert_eq!(get(weir.web(), "/").await.status, 502, "{tls}");
        assert_eq!(endpoint.requests(), before, "{tls}");
    }
}
