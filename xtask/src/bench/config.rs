//! The configurations: the same work for each proxy, as its own documentation would have it.
//!
//! All of them: one worker; upstream connections kept, at most 64 idle; the three `X-Forwarded` headers
//! set; an access log to a file; TLS 1.3 with the same certificate; long idle time-outs.

use std::{net::SocketAddr, path::Path};

use crate::peers::nginx_http;

/// Connections of nginx, those to endpoints among them.
const CONNECTIONS: u32 = 16384;

/// Where things are for one proxy.
pub struct Places<'a> {
    /// Its own folder.
    pub folder: &'a Path,
    /// Plain listener.
    pub plain: SocketAddr,
    /// TLS listener.
    pub secure: SocketAddr,
    /// Weir's admin address.
    pub admin: SocketAddr,
    /// Listener that passes TCP on.
    pub tcp: SocketAddr,
    /// Listener that passes datagrams on.
    pub udp: SocketAddr,
    /// Who gives datagrams back.
    pub echo: SocketAddr,
    /// The endpoints.
    pub endpoints: &'a [SocketAddr],
    /// Folder of `cert.pem`, `key.pem` and `both.pem`.
    pub certificates: &'a Path,
    /// The consistent-hash component.
    pub picker: &'a Path,
}

impl Places<'_> {
    fn first_endpoint(&self) -> String {
        self.endpoints.iter().take(1).map(SocketAddr::to_string).collect()
    }

    /// Every endpoint through `shape`, one after another.
    fn each_endpoint(&self, shape: impl Fn(usize, &SocketAddr) -> String) -> String {
        self.endpoints.iter().enumerate().map(|(at, address)| shape(at, address)).collect()
    }
}

/// nginx as the endpoint behind them all.
pub fn endpoint(folder: &Path, files: &Path, addresses: &[SocketAddr]) -> String {
    let listens: String = addresses.iter().map(|address| format!("    listen {address} backlog=4096;\n")).collect();
    format!(
        "{}  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  sendfile on;
  tcp_nopush on;
  server {{
{listens}    root {};
    location ~ tiny {{ return 200 \"hello, world\\n\"; }}
  }}
}}
",
        nginx_http(folder, CONNECTIONS),
        files.display()
    )
}

/// nginx as a proxy.
pub fn nginx(places: &Places<'_>) -> String {
    let upstream = |name: &str, balance: &str, endpoints: &str| {
        format!(
            "  upstream {name} {{ {balance} {endpoints} keepalive 64; keepalive_requests 1000000000; keepalive_timeout 300s; }}\n"
        )
    };
    let one = format!("server {};", places.first_endpoint());
    let all = places.each_endpoint(|_, address| format!("server {address}; "));
    let folder = places.folder.display();
    let certificates = places.certificates.display();
    format!(
        "{}  access_log {folder}/access.log combined buffer=64k flush=1s;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
{}{}{}  proxy_http_version 1.1;
  proxy_set_header Connection \"\";
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Host $http_host;
  proxy_max_temp_file_size 0;
  server {{
    listen {} backlog=4096;
    listen {} ssl http2 backlog=4096;
    ssl_certificate {certificates}/cert.pem;
    ssl_certificate_key {certificates}/key.pem;
    ssl_protocols TLSv1.3;
    location ~ ^/(hash|plugin)/ {{ proxy_pass http://hash; }}
    location /three/ {{ proxy_pass http://three; }}
    location / {{ proxy_pass http://one; }}
  }}
}}
stream {{
  log_format stream '$remote_addr [$time_local] $protocol $status $bytes_sent $bytes_received $session_time';
  access_log {folder}/stream.log stream buffer=64k flush=1s;
  proxy_timeout 300s;
  server {{ listen {} backlog=4096; proxy_pass {}; }}
  server {{ listen {} udp; proxy_pass {}; }}
}}
",
        nginx_http(places.folder, CONNECTIONS),
        upstream("hash", "hash $http_x_user consistent;", &all),
        upstream("three", "", &all),
        upstream("one", "", &one),
        places.plain,
        places.secure,
        places.tcp,
        places.first_endpoint(),
        places.udp,
        places.echo,
    )
}

/// haproxy; its log goes to standard output, which is a file.
pub fn haproxy(places: &Places<'_>) -> String {
    let backend = |name: &str, balance: &str, servers: &str| {
        format!("backend {name}\n  balance {balance}\n  http-reuse always\n{servers}")
    };
    let server = |at: usize, address: &SocketAddr| format!("  server e{at} {address} pool-max-conn 64\n");
    let one: String = places.endpoints.iter().take(1).map(|address| server(0, address)).collect();
    let all = places.each_endpoint(server);
    format!(
        "global
  nbthread 1
  maxconn 7900
  log stdout format raw local0 info
defaults
  mode http
  log global
  option httplog
  option forwardfor
  timeout connect 5s
  timeout client 300s
  timeout http-keep-alive 300s
  timeout server 60s
frontend all
  bind {} backlog 4096
  bind {} backlog 4096 ssl crt {}/both.pem alpn h2,http/1.1 ssl-min-ver TLSv1.3
  http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
  http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  use_backend hash if {{ path_beg /hash/ /plugin/ }}
  use_backend three if {{ path_beg /three/ }}
  default_backend one
frontend tcp
  mode tcp
  option tcplog
  option splice-auto
  bind {} backlog 4096
  default_backend tcp
backend tcp
  mode tcp
  option splice-auto
  server e0 {}
{}  hash-type consistent
{}{}",
        places.plain,
        places.secure,
        places.certificates.display(),
        places.tcp,
        places.first_endpoint(),
        backend("hash", "hdr(x-user)", &all),
        backend("three", "roundrobin", &all),
        backend("one", "roundrobin", &one),
    )
}

/// Weir.
pub fn weir(places: &Places<'_>) -> String {
    let all: Vec<String> = places.endpoints.iter().map(|address| format!("\"{address}\"")).collect();
    let all = all.join(", ");
    let certificates = places.certificates.display();
    format!(
        r#"[process]
workers = 1

[admin]
address = "{}"

[access-log]
format = "json"
path = "access.log"

[listeners.plain]
address = "{}"
limits = {{ idle-timeout = "300s" }}

[listeners.secure]
address = "{}"
limits = {{ idle-timeout = "300s" }}
tls = {{ certificates = [{{ cert = "{certificates}/cert.pem", key = "{certificates}/key.pem" }}] }}

[listeners.tcp]
address = "{}"
protocol = "tcp"
cluster = "one"
limits = {{ idle-timeout = "300s" }}

[listeners.udp]
address = "{}"
protocol = "udp"
cluster = "echo"
limits = {{ idle-timeout = "300s" }}

[plugins.picker]
path = "{}"

[[routes]]
name = "hash"
match = {{ path-prefix = "/hash" }}
cluster = "hash"

[[routes]]
name = "plugin"
match = {{ path-prefix = "/plugin" }}
cluster = "plugin"

[[routes]]
name = "three"
match = {{ path-prefix = "/three" }}
cluster = "three"

[[routes]]
name = "one"
cluster = "one"

[clusters.hash]
endpoints = [{all}]
balance = {{ hash = {{ header = "x-user" }} }}

[clusters.plugin]
endpoints = [{all}]
balance = {{ plugin = "picker", settings = {{ header = "x-user" }} }}

[clusters.three]
endpoints = [{all}]
balance = "round-robin"

[clusters.one]
endpoints = ["{}"]
balance = "round-robin"

[clusters.echo]
endpoints = ["{}"]
"#,
        places.admin,
        places.plain,
        places.secure,
        places.tcp,
        places.udp,
        places.picker.display(),
        places.first_endpoint(),
        places.echo,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::checked;

    #[test]
    fn weir_is_configured_without_fault_or_warning() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let said = checked("weir-bench-config", &["cert.pem", "key.pem", "picker.wasm"], |folder| {
            weir(&Places {
                folder,
                plain: address(8080),
                secure: address(8443),
                admin: address(9901),
                tcp: address(8081),
                udp: address(8053),
                echo: address(9053),
                endpoints: &[address(9001), address(9002)],
                certificates: folder,
                picker: &folder.join("picker.wasm"),
            })
        });
        assert_eq!(said, "");
    }
}
