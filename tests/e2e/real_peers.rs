//! Programs of other people as clients, as endpoints, and before Weir.

mod acme;
mod grpc;
mod layer4;
mod metrics;
mod peer;
mod proxy_protocol;
mod smuggling;
mod tls;
mod websocket;

use std::{fs, net::SocketAddr, path::Path, process::Command};

use self::peer::{Peer, command, output};
use super::harness::{Ca, Endpoint, Setup, Weir, get};

/// nginx on a free port, with its files in this folder, answering with what it was asked; `/read` waits for the body.
fn nginx(folder: &Path) -> Peer {
    Peer::start(&folder.join("nginx.log"), |address| {
        let path = folder.display();
        let config = format!(
            "daemon off; master_process off; pid {path}/nginx.pid; error_log stderr; events {{}}\n\
             http {{ access_log off; client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;\n\
             fastcgi_temp_path {path}/fastcgi; uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;\n\
             client_max_body_size 0; keepalive_requests 1000000;\n\
             server {{ listen {address}; root {path};\n\
             location /ask {{ return 200 \"nginx $request_uri $http_x_forwarded_for $http_host\"; }}\n\
             location /read {{ proxy_pass http://{address}/ask; }} }} }}\n"
        );
        fs::write(folder.join("nginx.conf"), config).unwrap();
        let mut nginx = command("nginx", "nginx");
        nginx.args(["-e", "stderr", "-c"]).arg(folder.join("nginx.conf"));
        nginx
    })
}

/// haproxy on a free port, before this address.
fn haproxy(folder: &Path, server: SocketAddr) -> Peer {
    Peer::start(&folder.join("haproxy.log"), |address| {
        let config = format!(
            "defaults\n mode http\n timeout connect 10s\n timeout client 30s\n timeout server 30s\n\
             frontend in\n bind {address}\n option forwardfor\n default_backend out\n\
             backend out\n server one {server}\n"
        );
        fs::write(folder.join("haproxy.cfg"), config).unwrap();
        let mut haproxy = command("haproxy", "haproxy");
        haproxy.args(["-db", "-f"]).arg(folder.join("haproxy.cfg"));
        haproxy
    })
}

/// A plain listener `web` and a TLS listener `secure` for `localhost`, before these endpoints.
async fn weir(ca: &Ca, endpoint: SocketAddr, cluster: &str) -> Weir {
    let config = format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        [listeners.secure]
        address = "127.0.0.1:0"
        tls = {{ certificates = [{{ cert = "localhost.pem", key = "localhost.key" }}] }}
        [[routes]]
        name = "all"
        cluster = "c"
        [clusters.c]
        endpoints = ["{endpoint}"]
        {cluster}
        [access-log]
        format = "off"
        "#
    );
    let setup = Setup::new(&config).certificate("localhost", &ca.issue(&["localhost"])).file("ca.pem", ca.pem());
    setup.start().await
}

/// curl's output, with status and version of HTTP at its end.
fn curl(arguments: &[&str]) -> String {
    let mut curl = command("curl", "curl");
    output(curl.args(["-sS", "--max-time", "30", "-w", " %{http_code} %{http_version}"]).args(arguments))
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_speaks_each_protocol() {
    let (ca, endpoint) = (Ca::new(), Endpoint::start("here").await);
    let weir = weir(&ca, endpoint.address, "").await;
    let plain = format!("http://{}/", weir.web());
    let secure = format!("https://localhost:{}/", weir.listener("secure").port());
    let authority = weir.path("ca.pem");
    let trusted = |protocol| curl(&["--cacert", authority.to_str().unwrap(), protocol, &secure]);
    assert_eq!(curl(&[&plain]), "here 200 1.1");
    assert_eq!(curl(&["--http1.0", &plain]), "here 200 1.1");
    assert_eq!(curl(&["--http2-prior-knowledge", &plain]), "here 200 2");
    assert_eq!(trusted("--http1.1"), "here 200 1.1");
    assert_eq!(trusted("--http2"), "here 200 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_sends_and_takes_bodies() {
    let (ca, endpoint) = (Ca::new(), Endpoint::start("here").await);
    let weir = weir(&ca, endpoint.address, "").await;
    let sent = weir.path("body");
    let octets: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    fs::write(&sent, &octets).unwrap();
    let (body, address) = (format!("@{}", sent.display()), format!("http://{}/echo", weir.web()));
    let got = weir.path("got");
    let forms =
        [&["-H", "content-length: 3000000"][..], &["-H", "transfer-encoding: chunked"], &["--http2-prior-knowledge"]];
    for form in forms {
        let arguments =
            [form, &["-H", "expect:", "--data-binary", &body, "-o", got.to_str().unwrap(), &address]].concat();
        assert!(curl(&arguments).starts_with(" 200 "), "{form:?}");
        assert!(fs::read(&got).unwrap() == octets, "{form:?}");
    }
    let counted = format!("http://{}/count", weir.web());
    let said = curl(&["-v", "--stderr", "-", "-H", "expect: 100-continue", "--data-binary", &body, &counted]);
    assert!(said.contains("< HTTP/1.1 100 Continue") && said.contains("\n3000000*"), "{said}");
    let line = curl(&["-I", &format!("http://{}/octets/5", weir.web())]);
    assert!(line.contains("content-length: 5") && line.ends_with(" 200 1.1"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_is_an_endpoint() {
    let folder = tempfile::tempdir().unwrap();
    let octets: Vec<u8> = (0..2_000_000_u32).map(|number| (number % 253) as u8).collect();
    fs::write(folder.path().join("file"), &octets).unwrap();
    let nginx = nginx(folder.path());
    let weir = Weir::before(&[nginx.address]).await;
    let reply = get(weir.web(), "/ask?a=b").await;
    assert_eq!(reply.text(), "nginx /ask?a=b 127.0.0.1 weir.test");
    assert_eq!(get(weir.web(), "/missing").await.status, 404);
    assert!(get(weir.web(), "/file").await.body == octets);
    let ranged = curl(&["-r", "10-13", "-o", "/dev/null", &format!("http://{}/file", weir.web())]);
    assert_eq!(ranged, " 206 1.1");
    assert!(weir.logged("/ask?a=b").await["endpoint"] == nginx.address.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_nginx_that_goes_away_is_502_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let nginx = nginx(folder.path());
    let weir = Weir::before(&[nginx.address]).await;
    assert_eq!(get(weir.web(), "/ask").await.status, 200);
    drop(nginx);
    assert_eq!(get(weir.web(), "/ask").await.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_stands_before_weir() {
    let (folder, endpoint) = (tempfile::tempdir().unwrap(), Endpoint::start("here").await);
    let weir = Weir::before(&[endpoint.address]).await;
    let haproxy = haproxy(folder.path(), weir.web());
    assert_eq!(get(haproxy.address, "/").await.text(), "here");
    // The first proxy is not trusted unless the listener says so.
    assert_eq!(endpoint.last().values("x-forwarded-for"), ["127.0.0.1"]);
    let mut client = super::harness::Client::http1(haproxy.address).await;
    for _ in 0..200 {
        assert_eq!(client.post("/echo", "a body").await.text(), "a body");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_stands_behind_weir() {
    let (folder, endpoint) = (tempfile::tempdir().unwrap(), Endpoint::start("here").await);
    let haproxy = haproxy(folder.path(), endpoint.address);
    for cluster in ["", "http2 = true\n"] {
        let weir = Weir::before_with(&[haproxy.address], cluster).await;
        assert_eq!(get(weir.web(), "/").await.text(), "here", "{cluster:?}");
        let mut client = super::harness::Client::http2(weir.web()).await;
        for _ in 0..100 {
            assert_eq!(client.post("/echo", "a body").await.text(), "a body", "{cluster:?}");
        }
    }
}

/// Runs h2load and sees that every request got 200.
fn h2load(arguments: &[&str], address: &str) {
    const REQUESTS: usize = 4_000;
    let mut load: Command = command("h2load", "nghttp2-client");
    let said = output(load.args(["-n", &REQUESTS.to_string(), "-c", "10"]).args(arguments).arg(address));
    let all = format!("{REQUESTS} done, {REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout");
    assert!(said.contains(&all), "{arguments:?} {address}\n{said}");
    assert!(said.contains(&format!("status codes: {REQUESTS} 2xx, 0 3xx, 0 4xx, 0 5xx")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn h2load_loses_no_request() {
    let (folder, ca) = (tempfile::tempdir().unwrap(), Ca::new());
    let nginx = nginx(folder.path());
    let weir = weir(&ca, nginx.address, "").await;
    let plain = format!("http://{}/ask", weir.web());
    let secure = format!("https://localhost:{}/ask", weir.listener("secure").port());
    h2load(&["--h1"], &plain);
    h2load(&["-m", "20"], &plain);
    h2load(&["--h1"], &secure);
    h2load(&["-m", "20"], &secure);
    let answered = weir.metrics().await;
    assert!(answered.contains("weir_requests_total"), "{answered}");
}

#[tokio::test]
async fn a_refused_upload_is_told_to_curl_and_to_python() {
    let setup = Setup::new(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\nlimits = { max-body = \"10KiB\" }\n\
         [[routes]]\nname = \"all\"\nrespond = { body = \"ok\" }\n[access-log]\nformat = \"off\"\n",
    );
    let weir = setup.file("big", "x".repeat(5_000_000)).file("small", "x".repeat(200_000)).start().await;
    let url = format!("http://{}/", weir.web());
    for file in ["small", "big"] {
        let file = weir.folder().join(file);
        for protocol in ["--http2-prior-knowledge", "--http1.1"] {
            let said = curl(&["-H", "Expect:", "-o", "/dev/null", protocol, "-T", file.to_str().unwrap(), &url]);
            assert!(said.starts_with(" 413 "), "{protocol}: {said}");
        }
    }
    let ask = "import http.client, sys\n\
               c = http.client.HTTPConnection(sys.argv[1], timeout=30)\n\
               c.request('PUT', '/', b'x' * 20000000)\nprint(c.getresponse().status, end='')\n";
    assert_eq!(output(command("python3", "python3").args(["-c", ask, &weir.web().to_string()])), "413");
}
