//! The admin interface as operators and others meet it: Unix socket, tokens, certificates, audit lines.

use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixListener,
    },
    path::PathBuf,
    process::Output,
};

use http::{Method, StatusCode};
use nix::sys::signal::Signal::{SIGHUP, SIGTERM};
use rcgen::DnType;
use serde_json::Value;

use super::harness::{Ca, Client, Endpoint, Reply, Setup, Weir, empty, eventually, get, plain, request, run, until};

const DEPLOY: &str = "deploy-0123456789abcdef";
const OPERATE: &str = "operate-0123456789abcdef";

/// Files are not watched: a reload comes when the test wants it.
const PROCESS: &str = "[process]\nworkers = 1\nwatch = false\nupgrade-socket = \"upgrade.sock\"\n";

fn text(endpoint: &Endpoint, admin: &str) -> String {
    format!("{}\n[admin]\n{admin}\n{PROCESS}", plain(&[endpoint.address], ""))
}

const SOCKET: &str = "address = \"unix:admin.sock\"\nread-only = \"127.0.0.1:0\"";

fn socket(weir: &Weir) -> (PathBuf, String) {
    let path = weir.path("admin.sock");
    let admin = format!("unix:{}", path.display());
    (path, admin)
}

/// A command line to its end, away from the test's runtime.
async fn cli(arguments: &[&str]) -> Output {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let done = move || run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(done).await.unwrap()
}

async fn done(arguments: &[&str]) -> String {
    let output = cli(arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn refused(arguments: &[&str]) -> String {
    let output = cli(arguments).await;
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

async fn audited(weir: &Weir, action: &str) -> Value {
    weir.said_where("audit", |line| line["action"] == action).await
}

#[tokio::test]
async fn a_unix_socket_lets_its_owner_do_everything_and_goes_at_the_end() {
    let endpoint = Endpoint::start("a").await;
    let mut weir = Weir::start(&text(&endpoint, SOCKET)).await;
    let (path, admin) = socket(&weir);
    let meta = fs::metadata(&path).unwrap();
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    let address = endpoint.address.to_string();
    let drained = done(&["--admin", &admin, "endpoint", "drain", "web", &address]).await;
    assert!(drained.contains("is draining"), "{drained}");
    let config = weir.path("weir.toml").display().to_string();
    assert!(done(&["reload", "--config", &config]).await.contains("snapshot 2"));
    let shown = done(&["status", "--config", &config]).await;
    assert!(shown.contains("1 draining") && shown.contains(&format!("process {}", weir.pid())), "{shown}");
    assert!(done(&["status", "web", "--admin", &admin]).await.contains("CLUSTER"));
    assert!(refused(&["status", "other", "--admin", &admin]).await.contains("there is no cluster other"));
    let line = audited(&weir, "drain").await;
    assert_eq!(line["who"], format!("uid {}", nix::unistd::getuid()));
    assert!(line["from"].as_str().unwrap().starts_with("pid "), "{line}");
    assert_eq!(line["subject"], format!("endpoint web/{address}"));
    let state = |key: &str| serde_json::from_str::<Value>(line[key].as_str().unwrap()).unwrap()["state"].clone();
    assert_eq!((state("before"), state("after")), ("healthy".into(), "draining".into()), "{line}");
    assert_eq!(
        (&line["outcome"], &line["role"], &line["target"]),
        (&"done".into(), &"deploy".into(), &"weir::audit".into())
    );
    weir.signal(SIGTERM);
    assert!(weir.ended().await.success());
    assert!(!path.exists(), "its file is gone");
    assert_eq!(audited(&weir, "shut down").await["who"], "signal TERM or INT");
}

#[tokio::test]
async fn a_socket_file_that_was_left_is_replaced_and_one_in_use_is_a_fault() {
    let endpoint = Endpoint::start("a").await;
    let setup = Setup::new(&text(&endpoint, SOCKET));
    drop(UnixListener::bind(setup.folder().join("admin.sock")).unwrap());
    let weir = setup.start().await;
    assert!(done(&["status", "--admin", &socket(&weir).1]).await.contains("weir "));
    let other = Setup::new(&text(&endpoint, &SOCKET.replace("admin.sock", weir.path("admin.sock").to_str().unwrap())));
    let output = tokio::task::spawn_blocking(move || other.run()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("admin.sock") && said.contains("in use"), "{said}");
    assert!(done(&["status", "--admin", &socket(&weir).1]).await.contains("weir "), "the first one goes on");
}

#[tokio::test]
async fn an_upgrade_hands_the_unix_socket_over() {
    let endpoint = Endpoint::start("a").await;
    let mut weir = Weir::start(&text(&endpoint, SOCKET)).await;
    let (path, admin) = socket(&weir);
    done(&["upgrade", "--socket", weir.path("upgrade.sock").to_str().unwrap()]).await;
    assert!(weir.ended().await.success());
    assert!(path.exists(), "it is the other process's now");
    let shown = done(&["status", "--admin", &admin]).await;
    assert!(!shown.contains(&format!("process {}", weir.pid())), "{shown}");
    assert_eq!(audited(&weir, "upgrade").await["outcome"], "done");
}

#[tokio::test]
async fn a_reload_moves_the_admin_interface() {
    let endpoint = Endpoint::start("a").await;
    let mut weir = Weir::start(&text(&endpoint, "address = \"127.0.0.1:0\"\nunauthenticated = \"deploy\"")).await;
    let before = weir.admin;
    weir.configure(&text(&endpoint, SOCKET));
    assert_eq!(
        weir.command(Method::POST, "/v1/reload", "").await.status,
        StatusCode::OK,
        "answered where it was asked"
    );
    let (path, admin) = socket(&weir);
    assert!(done(&["status", "--admin", &admin]).await.contains("snapshot 2"));
    until("the former address to be closed", || std::net::TcpStream::connect(before).is_err()).await;
    weir.admin = weir.second_admin().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    weir.configure(&text(&endpoint, &format!("address = \"{}\"", taken.local_addr().unwrap())));
    let said = refused(&["reload", "--admin", &admin]).await;
    assert!(said.contains("admin") && said.contains("in use"), "{said}");
    weir.configure(&text(&endpoint, "address = \"unix:other.sock\"\nmode = \"0660\"\nread-only = \"127.0.0.1:0\""));
    done(&["reload", "--admin", &admin]).await;
    until("the former file to be gone", || !path.exists()).await;
    assert_eq!(fs::metadata(weir.path("other.sock")).unwrap().permissions().mode() & 0o777, 0o660);
    assert_eq!(get_status(&weir, "").await.status, StatusCode::OK, "the read-only address goes on");
}

async fn get_status(weir: &Weir, token: &str) -> Reply {
    let mut asked = request(Method::GET, "/v1/status").header("host", "localhost");
    if !token.is_empty() {
        asked = asked.header("authorization", format!("Bearer {token}"));
    }
    Client::http1(weir.admin).await.ask(asked.body(empty()).unwrap()).await
}

#[tokio::test]
async fn tcp_without_tokens_shows_and_changes_nothing() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&text(&endpoint, "address = \"127.0.0.1:0\"")).await;
    let (admin, address) = (weir.admin.to_string(), endpoint.address.to_string());
    assert!(done(&["endpoint", "list", "--admin", &admin]).await.contains("healthy"));
    for command in [&["endpoint", "drain", "web", &address][..], &["reload"]] {
        let said = refused(&[command, &["--admin", &admin]].concat()).await;
        assert!(said.contains("unauthenticated = ") && said.contains("unix:"), "{said}");
    }
    assert_eq!(weir.endpoint("web", endpoint.address).await["state"], "healthy");
    let line = audited(&weir, "drain").await;
    assert_eq!((&line["who"], &line["outcome"]), (&"unauthenticated".into(), &"denied".into()));
    assert!(line["from"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
}

#[tokio::test]
async fn tokens_have_roles_and_are_read_again() {
    let endpoint = Endpoint::start("a").await;
    let admin = "address = \"127.0.0.1:0\"\nread-only = \"127.0.0.1:0\"\ntokens = [{ file = \"deploy.token\", role = \"deploy\" }, \
                 { file = \"run.token\", role = \"operate\", name = \"night-shift\" }]";
    let text = text(&endpoint, admin);
    let setup = Setup::new(&text).file("deploy.token", DEPLOY).file("run.token", OPERATE);
    let mut weir = setup.launch(super::harness::weir(&["run"]));
    weir.said("ready").await;
    let main = weir.said("admin listening").await["address"].as_str().unwrap().to_owned();
    weir.admin = weir.second_admin().await;
    assert_eq!(get_status(&weir, "").await.status, StatusCode::OK, "the read-only address needs none");
    let by = |file: &str, line: &[&str]| {
        let file = weir.path(file).display().to_string();
        let line: Vec<String> = line
            .iter()
            .map(ToString::to_string)
            .chain(["--token-file".into(), file, "--admin".into(), main.clone()])
            .collect();
        line
    };
    let asked = |line: Vec<String>| async move { cli(&line.iter().map(String::as_str).collect::<Vec<_>>()).await };
    let address = endpoint.address.to_string();
    let bare = refused(&["status", "--admin", &main]).await;
    assert!(bare.contains("needs a token") && bare.contains("--token-file"), "{bare}");
    assert!(asked(by("run.token", &["endpoint", "drain", "web", &address])).await.status.success());
    assert_eq!(audited(&weir, "drain").await["who"], "token night-shift");
    let guess = request(Method::POST, "/v1/reload").header("host", "localhost").header("authorization", "Bearer guess");
    let guessed = Client::http1(main.parse().unwrap()).await.ask(guess.body(empty()).unwrap()).await;
    assert_eq!(guessed.status, StatusCode::UNAUTHORIZED);
    let line = weir.said_where("audit", |line| line["who"] == "unidentified").await;
    assert_eq!((&line["action"], &line["outcome"]), (&"reload".into(), &"denied".into()));
    let output = asked(by("run.token", &["reload"])).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("needs the role `deploy`") && said.contains("`operate`"), "{said}");
    assert!(asked(by("deploy.token", &["reload"])).await.status.success());
    weir.write("former.token", DEPLOY);
    weir.write("deploy.token", "another-0123456789abcdef");
    weir.signal(SIGHUP);
    weir.said_where("audit", |line| line["who"] == "signal HUP").await;
    let output = asked(by("former.token", &["reload"])).await;
    assert!(String::from_utf8(output.stderr).unwrap().contains("not one of the tokens"));
    assert!(asked(by("deploy.token", &["status"])).await.status.success());
    assert!(!weir.stderr().contains("0123456789abcdef"), "no secret is logged");
}

#[tokio::test]
async fn tls_and_client_certificates_as_listeners_have_them() {
    let (endpoint, ca) = (Endpoint::start("a").await, Ca::new());
    let admin = "address = \"127.0.0.1:0\"\nread-only = \"127.0.0.1:0\"\nclient-certificate-role = \"operate\"\n\
                 tls = { certificates = [{ cert = \"a.pem\", key = \"a.key\" }], client-auth = { ca = \"ca.pem\" } }";
    let setup =
        Setup::new(&text(&endpoint, admin)).certificate("a", &ca.issue(&["127.0.0.1"])).file("ca.pem", ca.pem());
    let client = ca.issue_client(&[(DnType::CommonName, "night")], Vec::new(), 7);
    let mut weir = setup.certificate("client", &client).launch(super::harness::weir(&["run"]));
    weir.said("ready").await;
    let main = weir.said("admin listening").await["address"].as_str().unwrap().to_owned();
    weir.admin = weir.second_admin().await;
    let path = |name: &str| weir.path(name).display().to_string();
    let (ca, cert, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
    let shown = ["--admin", &main, "--ca", &ca, "--cert", &cert, "--key", &key];
    let address = endpoint.address.to_string();
    done(&[&["endpoint", "drain", "web", &address], &shown[..]].concat()).await;
    assert_eq!(audited(&weir, "drain").await["who"], "certificate CN=night");
    let said = refused(&[&["reload"], &shown[..]].concat()).await;
    assert!(said.contains("client-certificate-role"), "{said}");
    refused(&["status", "--admin", &main, "--ca", &ca]).await;
    refused(&["status", "--admin", &main]).await;
    assert_eq!(get_status(&weir, "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn pages_whose_name_leads_here_see_nothing() {
    let endpoint = Endpoint::start("a").await;
    let admin = "address = \"127.0.0.1:0\"\nread-only = \"127.0.0.1:0\"\nhosts = [\"weir.internal\"]";
    let weir = Weir::start(&text(&endpoint, admin)).await;
    for address in [weir.admin, weir.second_admin().await] {
        for (host, status) in [("evil.test", 421), ("weir.internal:9901", 200), ("127.0.0.1:1", 200)] {
            let asked = request(Method::GET, "/v1/status").header("host", host).body(empty()).unwrap();
            let reply = Client::http1(address).await.ask(asked).await;
            assert_eq!(reply.status, status, "{host}: {}", reply.text());
        }
    }
    assert_eq!(get(weir.web(), "/").await.text(), "a");
}

#[tokio::test]
async fn every_change_is_a_line() {
    let endpoint = Endpoint::start("a").await;
    let text = text(&endpoint, "address = \"127.0.0.1:0\"\nunauthenticated = \"deploy\"");
    let mut weir = Weir::start(&text).await;
    let path = format!("/v1/clusters/web/endpoints/{}", endpoint.address);
    weir.command(Method::PUT, &path, "{\"weight\": 7}").await;
    let line = audited(&weir, "put").await;
    let weight = |key: &str| serde_json::from_str::<Value>(line[key].as_str().unwrap()).unwrap()["weight"].clone();
    assert_eq!((weight("before"), weight("after")), (1.into(), 7.into()), "{line}");
    weir.command(Method::PUT, "/v1/plugins/none", "\0asm").await;
    let line = audited(&weir, "push").await;
    assert_eq!((&line["outcome"], &line["subject"]), (&"failed".into(), &"plugin none".into()));
    assert!(line["why"].as_str().unwrap().contains("none"), "{line}");
    let watching = text.replace("watch = false", "watch = true");
    weir.reload(&watching).await.unwrap();
    let line = audited(&weir, "reload").await;
    assert_eq!((&line["before"], &line["after"]), (&r#"{"snapshot":1}"#.into(), &r#"{"snapshot":2}"#.into()));
    eventually("a reload by the watch", || async {
        weir.configure(&format!("{watching}# touched\n"));
        weir.stderr().lines().any(|line| line.contains("\"audit\"") && line.contains("file watch")).then_some(())
    })
    .await;
}
