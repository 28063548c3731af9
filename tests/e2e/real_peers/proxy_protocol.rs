//! The PROXY protocol with those who speak it: each as sender before Weir and as receiver behind it.

use std::{fs, net::SocketAddr, path::Path};

use super::{
    curl,
    peer::{Peer, command},
};
use crate::e2e::harness::{Endpoint, Weir, get};

/// nginx with this in its configuration, which names its address as `ADDRESS`.
fn nginx(folder: &Path, blocks: &str) -> Peer {
    Peer::start(&folder.join("nginx.log"), |address| {
        let path = folder.display();
        let config = format!(
            "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
             daemon off; master_process off; pid {path}/nginx.pid; error_log stderr; events {{}}\n{}",
            blocks.replace("ADDRESS", &address.to_string()).replace("FOLDER", &path.to_string())
        );
        fs::write(folder.join("nginx.conf"), config).unwrap();
        let mut nginx = command("nginx", "nginx libnginx-mod-stream");
        nginx.args(["-e", "stderr", "-c"]).arg(folder.join("nginx.conf"));
        nginx
    })
}

fn haproxy(folder: &Path, mode: &str, bind: &str, server: &str) -> Peer {
    Peer::start(&folder.join("haproxy.log"), |address| {
        let config = format!(
            "defaults\n mode {mode}\n timeout connect 10s\n timeout client 30s\n timeout server 30s\n\
             frontend in\n bind {address} {bind}\n default_backend out\n\
             backend out\n server one {server}\n"
        );
        fs::write(folder.join("haproxy.cfg"), config).unwrap();
        let mut haproxy = command("haproxy", "haproxy");
        haproxy.args(["-db", "-f"]).arg(folder.join("haproxy.cfg"));
        haproxy
    })
}

async fn requiring(endpoint: SocketAddr) -> Weir {
    Weir::start(&format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        proxy-protocol = {{ accept = "required", trusted = ["127.0.0.0/8"] }}
        [[routes]]
        name = "web"
        cluster = "web"
        [clusters.web]
        endpoints = ["{endpoint}"]
        "#
    ))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_sends_both_versions() {
    for send in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority"] {
        let (folder, endpoint) = (tempfile::tempdir().unwrap(), Endpoint::start("here").await);
        let weir = requiring(endpoint.address).await;
        // Its own address, which haproxy binds before it connects, must not count.
        let server = format!("{} {send} source 127.0.0.9", weir.web());
        let haproxy = haproxy(folder.path(), "tcp", "", &server);
        assert_eq!(get(haproxy.address, "/").await.text(), "here", "{send}");
        assert_eq!(endpoint.last().values("x-forwarded-for"), ["127.0.0.1"], "{send}");
        let client = weir.logged("/").await["client"].as_str().unwrap().to_owned();
        assert!(client.starts_with("127.0.0.1:"), "{client}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_sends_version_1() {
    let (folder, endpoint) = (tempfile::tempdir().unwrap(), Endpoint::start("here").await);
    let weir = requiring(endpoint.address).await;
    let blocks = format!(
        "stream {{ server {{ listen ADDRESS; proxy_pass {}; proxy_bind 127.0.0.9; proxy_protocol on; }} }}\n",
        weir.web()
    );
    let nginx = nginx(folder.path(), &blocks);
    assert_eq!(get(nginx.address, "/").await.text(), "here");
    assert_eq!(endpoint.last().values("x-forwarded-for"), ["127.0.0.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_sends_version_1() {
    let endpoint = Endpoint::start("here").await;
    let weir = requiring(endpoint.address).await;
    assert_eq!(curl(&["--haproxy-protocol", &format!("http://{}/", weir.web())]), "here 200 1.1");
    assert_eq!(endpoint.last().values("x-forwarded-for"), ["127.0.0.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_takes_both_versions() {
    let (folder, endpoint) = (tempfile::tempdir().unwrap(), Endpoint::start("here").await);
    let haproxy = haproxy(folder.path(), "http", "accept-proxy", &endpoint.address.to_string());
    for version in ["v1", "v2"] {
        let weir = Weir::before_with(&[haproxy.address], &format!("send-proxy-protocol = \"{version}\"")).await;
        assert_eq!(get(weir.web(), "/").await.text(), "here", "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_takes_both_versions() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = "http { access_log off; client_body_temp_path FOLDER/body; proxy_temp_path FOLDER/proxy;\n\
                  fastcgi_temp_path FOLDER/fastcgi; uwsgi_temp_path FOLDER/uwsgi; scgi_temp_path FOLDER/scgi;\n\
                  server { listen ADDRESS proxy_protocol; location / {\n\
                  return 200 \"$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port\"; } } }\n";
    let nginx = nginx(folder.path(), blocks);
    for version in ["v1", "v2"] {
        let weir = Weir::before_with(&[nginx.address], &format!("send-proxy-protocol = \"{version}\"")).await;
        let told = get(weir.web(), "/").await.text().to_owned();
        let client = weir.logged("/").await["client"].as_str().unwrap().to_owned();
        let (ip, port) = client.rsplit_once(':').unwrap();
        assert_eq!(told, format!("{ip} {port} {}", weir.web().port()), "{version}");
    }
}
