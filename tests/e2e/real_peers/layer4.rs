//! Databases and TLS of others behind connections that pass as they are.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, process::Command};

use super::peer::{Peer, command, output};
use crate::e2e::harness::{Ca, Setup, Weir, soon};

/// A listener `tcp` of this protocol before one endpoint.
async fn before(endpoint: SocketAddr, listener: &str, cluster: &str) -> Weir {
    Weir::start(&format!(
        r#"
        [listeners.tcp]
        address = "127.0.0.1:0"
        cluster = "c"
        {listener}
        [clusters.c]
        endpoints = ["{endpoint}"]
        {cluster}
        "#
    ))
    .await
}

fn redis(folder: &Path) -> Peer {
    Peer::start(&folder.join("redis.log"), |address| {
        let mut redis = command("redis-server", "redis-server");
        redis.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        redis.args(["--port", &address.port().to_string(), "--dir"]).arg(folder);
        redis
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_answers_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let redis = redis(folder.path());
    let weir = before(redis.address, "protocol = \"tcp\"", "").await;
    let port = weir.listener("tcp").port().to_string();
    let benchmark = |arguments: &[&str]| {
        let mut benchmark = command("redis-benchmark", "redis-tools");
        benchmark.args(["-h", "127.0.0.1", "-p", &port, "--csv"]);
        let said = output(benchmark.args(arguments));
        assert!(said.contains("\"GET\""), "{said}");
        assert!(!said.to_lowercase().contains("error"), "{said}");
    };
    benchmark(&["-t", "set,get", "-n", "4000", "-c", "20"]);
    benchmark(&["-t", "set,get", "-n", "4000", "-c", "5", "-P", "16"]);
    benchmark(&["-t", "set,get", "-n", "100", "-c", "2", "-d", "500000"]);
    let mut asked = command("redis-cli", "redis-tools");
    let said = output(asked.args(["-h", "127.0.0.1", "-p", &port, "--raw", "strlen", "key:__rand_int__"]));
    assert_eq!(said.trim(), "500000");
    weir.logged_where("a connection", |line| line["protocol"] == "tcp" && line["status"] == 200).await;
}

/// A PostgreSQL of the test's own. It does not run as root.
struct Postgres {
    _server: Peer,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

fn as_postgres(program: &str) -> Command {
    let mut command = command("setpriv", "util-linux");
    if nix::unistd::geteuid().is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.arg("--").arg(Path::new(PROGRAMS).join(program));
    command
}

fn postgres() -> Postgres {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    if nix::unistd::geteuid().is_root() {
        output(command("chown", "coreutils").arg("postgres:postgres").arg(&data));
    }
    output(as_postgres("initdb").args(["-A", "trust", "-U", "weir", "--no-sync", "-D"]).arg(&data));
    let server = Peer::start(&folder.path().join("log"), |address| {
        let mut server = as_postgres("postgres");
        server.arg("-D").arg(&data).args(["-h", "127.0.0.1", "-p", &address.port().to_string()]);
        server.args(["-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_connections=30"]);
        server
    });
    Postgres { address: server.address, _server: server, _folder: folder }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_commits_every_transaction() {
    let postgres = tokio::task::spawn_blocking(postgres).await.unwrap();
    let weir = before(postgres.address, "protocol = \"tcp\"", "").await;
    let port = weir.listener("tcp").port().to_string();
    let pgbench = |arguments: &[&str]| {
        let mut pgbench = command("pgbench", "postgresql-contrib");
        output(pgbench.args(["-h", "127.0.0.1", "-p", &port, "-U", "weir"]).args(arguments).arg("postgres"))
    };
    pgbench(&["-i", "-q"]);
    for protocol in ["simple", "prepared"] {
        let said = pgbench(&["-c", "4", "-j", "2", "-t", "50", "-n", "-M", protocol]);
        assert!(said.contains("number of transactions actually processed: 200/200"), "{said}");
        assert!(said.contains("number of failed transactions: 0 "), "{said}");
    }
    let mut asked = command("psql", "postgresql-client");
    asked.args(["-h", "127.0.0.1", "-p", &port, "-U", "weir", "-Atc"]);
    let octets = output(asked.args(["select repeat('weir', 2000000)", "postgres"]));
    assert_eq!(octets.trim().len(), 8_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_ends_what_openssl_begins() {
    let (folder, ca) = (tempfile::tempdir().unwrap(), Ca::new());
    let certificate = ca.issue(&["a.test"]);
    let path = |name: &str, content: &str| {
        fs::write(folder.path().join(name), content).unwrap();
        folder.path().join(name)
    };
    let (cert, key) = (path("a.pem", &certificate.cert), path("a.key", &certificate.key));
    let authority = path("ca.pem", &ca.pem());
    let server = Peer::start(&folder.path().join("log"), |address| {
        let mut server = command("openssl", "openssl");
        server.args(["s_server", "-www", "-accept", &address.to_string(), "-cert"]).arg(&cert).arg("-key").arg(&key);
        server
    });
    let weir = before(server.address, "protocol = \"tls-passthrough\"", "").await;
    for version in ["-tls1_2", "-tls1_3"] {
        let mut client = command("openssl", "openssl");
        client.args(["s_client", "-brief", "-verify_return_error", "-servername", "a.test", version, "-CAfile"]);
        client.arg(&authority).args(["-connect", &weir.listener("tcp").to_string()]);
        client.stdin(std::process::Stdio::null());
        let said = soon("a handshake", async { client.output().unwrap() }).await;
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains("CONNECTION ESTABLISHED") && said.contains("Verification: OK"), "{said}");
    }
    weir.logged_where("the name", |line| line["host"] == "a.test" && line["protocol"] == "tls-passthrough").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_tools_speak_tls_that_ends_at_weir() {
    let (folder, ca) = (tempfile::tempdir().unwrap(), Ca::new());
    let redis = redis(folder.path());
    let text = format!(
        "[listeners.tcp]\naddress = \"127.0.0.1:0\"\nprotocol = \"tls\"\ncluster = \"c\"\n\
         tls = {{ certificates = [{{ cert = \"a.pem\", key = \"a.key\" }}] }}\n\
         [clusters.c]\nendpoints = [\"{}\"]\n",
        redis.address
    );
    let setup = Setup::new(&text).certificate("a", &ca.issue(&["127.0.0.1"])).file("ca.pem", ca.pem());
    let weir = setup.start().await;
    let mut asked = command("redis-cli", "redis-tools");
    asked.args(["-h", "127.0.0.1", "-p", &weir.listener("tcp").port().to_string(), "--tls", "--cacert"]);
    let said = output(asked.arg(weir.path("ca.pem")).args(["set", "a", "b"]));
    assert_eq!(said.trim(), "OK");
}
