//! What an instrumented weir is made to serve.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{
    bench::{self, Traffic},
    http, paths,
    peers::{certificates, nginx_http, program, said},
    process::{Running, Scratch, free_addresses},
};

const REQUESTS: u64 = 20_000;

/// How to ask, and at which listener of the configuration.
type At = (&'static str, &'static str);

const PLAIN: At = ("http", "plain");
const SECURE: At = ("https", "secure");
const TLS: At = ("https", "tls");
const ANNOUNCING: At = ("http", "announcing");

/// Requests of one kind.
struct Load {
    at: At,
    traffic: Traffic,
    path: &'static str,
    /// Sent with each.
    header: &'static str,
    /// Of what is sent with each; 0 asks by GET.
    body: usize,
    requests: u64,
}

const fn get(at: At, traffic: Traffic, path: &'static str, header: &'static str) -> Load {
    Load { at, traffic, path, header, body: 0, requests: REQUESTS }
}

const fn few(load: Load) -> Load {
    Load { requests: REQUESTS / 40, ..load }
}

const fn post(load: Load, body: usize) -> Load {
    Load { body, ..load }
}

const ANNA: &str = "x-user: anna";

const LOADS: [Load; 24] = [
    get(PLAIN, Traffic::Http1, "/ping", ANNA),
    get(PLAIN, Traffic::TlsHttp2, "/ping", ANNA),
    get(PLAIN, Traffic::Http1, "/limited/tiny", ANNA),
    get(PLAIN, Traffic::Http1, "/repeated/tiny", ANNA),
    get(PLAIN, Traffic::Http1, "/mirrored/tiny", ANNA),
    get(PLAIN, Traffic::Http1, "/plugins/tiny", ANNA),
    get(PLAIN, Traffic::Http1, "/plugins/tiny", "x-user: berta"),
    get(PLAIN, Traffic::Http1, "/sticky/tiny", "x-user: carla"),
    get(PLAIN, Traffic::Http1, "/tiny", "x-forwarded-for: 192.0.2.7, 127.0.0.9"),
    get(PLAIN, Traffic::Http1, "/http2/tiny", ANNA),
    get(PLAIN, Traffic::TlsHttp2, "/http2/tiny", ANNA),
    get(PLAIN, Traffic::Http1, "/tls/tiny", ANNA),
    get(SECURE, Traffic::TlsHttp2, "/both/tiny", ANNA),
    get(SECURE, Traffic::TlsHttp1, "/repeated/tiny", ANNA),
    get(TLS, Traffic::TlsHttp1, "/tiny", ANNA),
    get(ANNOUNCING, Traffic::Http1, "/tiny", ANNA),
    few(get(PLAIN, Traffic::Http1, "/packed/64k", "accept-encoding: gzip, br;q=0.1")),
    few(get(PLAIN, Traffic::Http1, "/packed/64k", "accept-encoding: br")),
    few(get(SECURE, Traffic::TlsHttp2, "/packed/64k", "accept-encoding: zstd, br, gzip")),
    few(get(PLAIN, Traffic::Http1, "/both/64k", ANNA)),
    post(get(PLAIN, Traffic::Http1, "/repeated/tiny", ANNA), 2_000),
    post(few(get(PLAIN, Traffic::Http1, "/tiny", ANNA)), 200_000),
    post(few(get(SECURE, Traffic::TlsHttp2, "/both/tiny", ANNA)), 200_000),
    post(get(SECURE, Traffic::TlsHttp2, "/tiny", ANNA), 2_000),
];

/// Serve what the bench measures, then what else works on every request.
pub fn run(weir: &Path) -> Result<()> {
    bench::exercise(weir)?;
    let scratch = Scratch::build(&paths::target(), "training")?;
    let folder = scratch.path();
    certificates(folder)?;
    for file in ["64k", "body"] {
        fs::write(folder.join(file), vec![b'x'; 64 << 10])?;
    }
    let places = Places::find(folder)?;
    let _endpoint = places.endpoint()?;
    let mut process = places.weir(weir)?;
    let cookie = places.session()?;
    for load in &LOADS {
        eprintln!("  {} of {}", load.requests, load.path);
        places.ask(load, &cookie)?;
    }
    process.still_runs()?;
    let ended = process.stop()?;
    ensure!(ended.success(), "weir ended with {ended}: {}", said(folder));
    Ok(())
}

/// Where everything is.
struct Places<'a> {
    folder: &'a Path,
    /// By the name that the configuration has for it.
    addresses: Vec<(&'static str, SocketAddr)>,
}

const NAMES: [&str; 10] =
    ["admin", "plain", "secure", "tls", "announcing", "announced", "web", "other", "http2", "encrypted"];

impl<'a> Places<'a> {
    fn find(folder: &'a Path) -> Result<Self> {
        Ok(Self { folder, addresses: NAMES.into_iter().zip(free_addresses(NAMES.len())?).collect() })
    }

    fn address(&self, name: &str) -> Result<SocketAddr> {
        let found = self.addresses.iter().find(|(known, _)| *known == name);
        found.map(|(_, address)| *address).with_context(|| format!("no address is called {name}"))
    }

    fn configuration(&self) -> String {
        let mut text = include_str!("weir.toml").to_owned();
        for (name, address) in &self.addresses {
            text = text.replace(&format!("\"${name}\""), &format!("\"{address}\""));
        }
        text.replace("$certificates", &self.folder.display().to_string())
            .replace("$guests", &paths::guests().display().to_string())
    }

    fn weir(&self, program: &Path) -> Result<Running> {
        let file = self.folder.join("weir.toml");
        fs::write(&file, self.configuration())?;
        let log = File::create(self.folder.join("output"))?;
        let mut command = Command::new(program);
        command.args(["run", "--config"]).arg(&file).stderr(log.try_clone()?).stdout(log);
        let mut weir = Running::start("weir", &mut command)?;
        let listeners = ["plain", "secure", "tls", "announcing"].map(|name| self.address(name));
        let listeners = listeners.into_iter().collect::<Result<Vec<_>>>()?;
        weir.wait_until_listening(&listeners).with_context(|| said(self.folder))?;
        Ok(weir)
    }

    /// nginx, with HTTP/2 on one address and TLS on another.
    fn endpoint(&self) -> Result<Running> {
        let folder = self.folder.join("endpoint");
        fs::create_dir_all(&folder)?;
        let [web, other, http2, encrypted] = ["web", "other", "http2", "encrypted"].map(|name| self.address(name));
        let (web, other, http2, encrypted) = (web?, other?, http2?, encrypted?);
        let here = self.folder.display();
        let text = format!(
            "{}  access_log off;
  keepalive_requests 1000000000;
  client_max_body_size 1m;
  server {{
    listen {web} backlog=4096;
    listen {other} backlog=4096;
    listen {http2} http2 backlog=4096;
    listen {encrypted} ssl http2 backlog=4096;
    ssl_certificate {here}/cert.pem;
    ssl_certificate_key {here}/key.pem;
    location ~ tiny {{ return 200 \"hello, world\\n\"; }}
    location ~ 64k {{ root {here}; rewrite ^ /64k break; }}
  }}
}}
",
            nginx_http(&folder, 4096)
        );
        let file = folder.join("config");
        fs::write(&file, text)?;
        let mut command = Command::new(program("nginx")?);
        command.arg("-c").arg(&file).arg("-p").arg(&folder).stderr(Stdio::null());
        let mut endpoint = Running::start("endpoint", &mut command)?;
        endpoint.wait_until_listening(&[web, other, http2, encrypted]).with_context(|| said(&folder))?;
        Ok(endpoint)
    }

    /// A header with the cookie of a session.
    fn session(&self) -> Result<String> {
        let answer = http::send(self.address("plain")?, &http::Request::get("/sticky/tiny"))?;
        let cookie = answer.header("set-cookie").context("no session is begun")?;
        Ok(format!("cookie: {}", cookie.split(';').next().unwrap_or_default()))
    }

    fn ask(&self, load: &Load, cookie: &str) -> Result<()> {
        let (scheme, name) = load.at;
        let url = format!("{scheme}://{}{}", self.address(name)?, load.path);
        let body = self.folder.join("body");
        let text = body.display().to_string();
        let mut more = vec!["-H", load.header, "-H", cookie];
        if load.body > 0 {
            fs::write(&body, vec![b'x'; load.body])?;
            more.extend(["-d", &text]);
        }
        bench::ask(&load.traffic, &url, load.requests, &more).with_context(|| said(self.folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::checked;

    #[test]
    fn weir_is_configured_without_fault_or_warning() {
        let said =
            checked("weir-training", &["cert.pem", "key.pem", "canary.wasm", "tenant-affinity.wasm"], |folder| {
                let addresses = NAMES.into_iter().zip((1..).map(|port| SocketAddr::from(([127, 0, 0, 1], port))));
                let places = Places { folder, addresses: addresses.collect() };
                let text = places.configuration().replace(&paths::guests().display().to_string(), ".");
                assert!(!text.replace("`$name`", "").contains('$'), "{text}");
                text
            });
        assert_eq!(said, "");
    }
}
