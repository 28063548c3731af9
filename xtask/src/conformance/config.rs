//! The configurations: what each proxy's documentation gives for this work, and else its defaults.

use std::{net::SocketAddr, path::Path};

use crate::peers::nginx_http;

/// Connections of nginx, those to endpoints among them.
const CONNECTIONS: u32 = 4096;

/// Addresses of one proxy's listeners.
#[derive(Debug, Clone, Copy)]
pub struct Listens {
    /// HTTP/1.1.
    pub plain: SocketAddr,
    /// HTTP/2 with prior knowledge.
    pub h2c: SocketAddr,
    /// HTTP over TLS.
    pub secure: SocketAddr,
    /// HTTP behind a PROXY header of either version.
    pub proxied: SocketAddr,
    /// Weir's admin address.
    pub admin: SocketAddr,
}

/// A TCP listener that introduces its clients to another proxy.
#[derive(Debug, Clone, Copy)]
pub struct Introduction {
    /// Where clients connect to.
    pub from: SocketAddr,
    /// The other proxy's listener.
    pub to: SocketAddr,
    /// Version of the header, 1 or 2.
    pub version: u8,
}

/// What stands behind all of them.
#[derive(Debug, Clone, Copy)]
pub struct Endpoints {
    /// Files, fixed answers and the client's address.
    pub web: SocketAddr,
    /// WebSocket echo, below `/ws`.
    pub echo: SocketAddr,
    /// What varnishtest plays, below `/vtc`.
    pub played: SocketAddr,
}

/// All that one configuration is made of.
pub struct Places<'a> {
    /// A folder of its own.
    pub folder: &'a Path,
    /// Folder of `cert.pem`, `key.pem` and `both.pem`.
    pub certificates: &'a Path,
    /// Where it listens.
    pub listens: Listens,
    /// To whom it introduces clients.
    pub introductions: &'a [Introduction],
    /// What it serves.
    pub endpoints: Endpoints,
}

/// nginx as the endpoint of all.
pub fn endpoint(folder: &Path, files: &Path, address: SocketAddr) -> String {
    format!(
        "{}  access_log off;
  client_max_body_size 0;
  server {{
    listen {address} backlog=4096;
    root {};
    location /ask {{ return 200 \"asked for $request_uri\"; }}
    location /read {{ proxy_pass http://{address}/ask; }}
    location /address {{ return 200 \"$http_x_forwarded_for\"; }}
  }}
}}
",
        nginx_http(folder, CONNECTIONS),
        files.display()
    )
}

/// nginx as a proxy.
pub fn nginx(places: &Places<'_>) -> String {
    let Places { folder, certificates, listens, endpoints, .. } = places;
    let certificates = certificates.display();
    let introductions: String = places
        .introductions
        .iter()
        .map(|one| {
            format!("  server {{ listen {} backlog=4096; proxy_pass {}; proxy_protocol on; }}\n", one.from, one.to)
        })
        .collect();
    let locations = format!(
        "    proxy_http_version 1.1;
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $remote_addr;
    location /ws {{
      proxy_pass http://{};
      proxy_read_timeout 300s;
      proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
    }}
    location /vtc {{ proxy_pass http://played; }}
    location / {{ proxy_pass http://{}; }}
",
        endpoints.echo, endpoints.web
    );
    format!(
        "{}  access_log off;
  upstream played {{ server {} max_fails=0; }}
  proxy_set_header Connection \"\";
  server {{
    listen {} backlog=4096;
    listen {} http2 backlog=4096;
    listen {} ssl http2 backlog=4096;
    ssl_certificate {certificates}/cert.pem;
    ssl_certificate_key {certificates}/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
{locations}  }}
  server {{
    listen {} proxy_protocol;
    set_real_ip_from 127.0.0.0/8;
    real_ip_header proxy_protocol;
{locations}  }}
}}
stream {{
{introductions}}}
",
        nginx_http(folder, CONNECTIONS),
        endpoints.played,
        listens.plain,
        listens.h2c,
        listens.secure,
        listens.proxied,
    )
}

/// haproxy.
pub fn haproxy(places: &Places<'_>) -> String {
    let Places { certificates, listens, endpoints, .. } = places;
    let introductions: String = places
        .introductions
        .iter()
        .enumerate()
        .map(|(at, one)| {
            let send = if one.version == 1 { "send-proxy" } else { "send-proxy-v2" };
            format!("listen introduce{at}\n  mode tcp\n  bind {}\n  server other {} {send}\n", one.from, one.to)
        })
        .collect();
    format!(
        "global
  nbthread 1
  maxconn 4000
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  option forwardfor
  timeout connect 5s
  timeout client 60s
  timeout http-request 60s
  timeout server 60s
  timeout tunnel 300s
frontend all
  bind {} backlog 4096
  bind {} proto h2
  bind {} ssl crt {}/both.pem alpn h2,http/1.1
  bind {} accept-proxy
  use_backend echo if {{ path_beg /ws }}
  use_backend played if {{ path_beg /vtc }}
  default_backend web
backend echo
  server one {}
backend played
  server one {}
backend web
  server one {}
{introductions}",
        listens.plain,
        listens.h2c,
        listens.secure,
        certificates.display(),
        listens.proxied,
        endpoints.echo,
        endpoints.played,
        endpoints.web,
    )
}

/// Weir.
pub fn weir(places: &Places<'_>) -> String {
    let Places { certificates, listens, endpoints, .. } = places;
    let certificates = certificates.display();
    let introductions: String = places
        .introductions
        .iter()
        .enumerate()
        .map(|(at, one)| {
            format!(
                r#"
[listeners.introduce{at}]
address = "{}"
protocol = "tcp"
cluster = "other{at}"

[clusters.other{at}]
endpoints = ["{}"]
send-proxy-protocol = "v{}"
"#,
                one.from, one.to, one.version
            )
        })
        .collect();
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

[listeners.h2c]
address = "{}"

[listeners.secure]
address = "{}"
tls = {{ certificates = [{{ cert = "{certificates}/cert.pem", key = "{certificates}/key.pem" }}] }}

[listeners.proxied]
address = "{}"
proxy-protocol = {{ accept = "required", trusted = ["127.0.0.0/8"] }}

[[routes]]
name = "echo"
match = {{ path-prefix = "/ws" }}
cluster = "echo"

[[routes]]
name = "played"
match = {{ path-prefix = "/vtc" }}
cluster = "played"

[[routes]]
name = "web"
cluster = "web"

[clusters.echo]
endpoints = ["{}"]

[clusters.played]
endpoints = ["{}"]
outlier-detection = false

[clusters.web]
endpoints = ["{}"]
{introductions}"#,
        listens.admin,
        listens.plain,
        listens.h2c,
        listens.secure,
        listens.proxied,
        endpoints.echo,
        endpoints.played,
        endpoints.web,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::checked;

    #[test]
    fn weir_is_configured_without_fault_or_warning() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let said = checked("weir-conformance-config", &["cert.pem", "key.pem"], |folder| {
            weir(&Places {
                folder,
                certificates: folder,
                listens: Listens {
                    plain: address(8080),
                    h2c: address(8081),
                    secure: address(8443),
                    proxied: address(8082),
                    admin: address(9901),
                },
                introductions: &[
                    Introduction { from: address(7001), to: address(7002), version: 1 },
                    Introduction { from: address(7003), to: address(7002), version: 2 },
                ],
                endpoints: Endpoints { web: address(9001), echo: address(9002), played: address(9003) },
            })
        });
        assert_eq!(said, "");
    }
}
