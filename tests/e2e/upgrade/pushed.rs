//! What came to one process by the admin interface, or was made there, is in force in the next.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use rustls::HandshakeKind;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use super::{
    super::{
        harness::*,
        plugins::stage::{all, ask, command, component, current, push, variant},
    },
    SOCKET, upgrade, upgraded,
};

/// `misbehave` in a file of its own, which answers one word and may become `keeper`, which answers four.
fn answering(plugin: &str, cluster: &str) -> String {
    format!(
        "[process]\nworkers = 1\nwatch = false\nupgrade-socket = \"{SOCKET}\"\n\
         [listeners.web]\naddress = \"127.0.0.1:0\"\n[plugins.p]\npath = \"p.wasm\"\n{plugin}\n\
         settings = {{ do = \"bindings\" }}\ngrants = [\"log\", \"metrics\", \"clock\", \"random\", \"kv\"]\n{}",
        all("plugins = [\"p\"]", &["127.0.0.1:1"], cluster)
    )
}

const PLAIN: &str = "deadline = \"100ms\"";

async fn start() -> Weir {
    Setup::new(&answering(PLAIN, "")).file("p.wasm", component("misbehave")).start().await
}

async fn words(weir: &Weir) -> usize {
    ask(weir, "/", &[]).await.text().split_whitespace().count()
}

/// An upgrade which must succeed, to the end of the process before: until then that may accept what comes.
async fn replaced(weir: &Weir) {
    let ended = || weir.stderr().matches("\"message\":\"ended\"").count();
    let before = ended();
    upgraded(weir).await;
    until("the process before to end", || ended() > before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_plugin_version_decides_on_and_can_be_brought_back() {
    let weir = start().await;
    let first = current(&weir).await;
    push(&weir, "p", &component("keeper")).await.unwrap();
    let pushed = current(&weir).await;
    replaced(&weir).await;
    assert_eq!((words(&weir).await, current(&weir).await), (4, pushed.clone()));
    let list = command(&weir, &["list"]).unwrap();
    assert!(list.contains(&format!("{}*", &pushed[..12])) && list.contains(&first[..12]), "{list}");
    command(&weir, &["rollback", "p"]).unwrap();
    assert_eq!((words(&weir).await, current(&weir).await), (1, first));
    replaced(&weir).await;
    assert_eq!(words(&weir).await, 1);
    command(&weir, &["rollback", "p", "--to", &pushed[..12]]).unwrap();
    assert_eq!((words(&weir).await, current(&weir).await), (4, pushed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_was_brought_back_is_not_replaced_by_the_file() {
    let mut weir = start().await;
    let first = current(&weir).await;
    weir.write("p.wasm", component("keeper"));
    weir.reload(&answering(PLAIN, "")).await.unwrap();
    assert_eq!(words(&weir).await, 4);
    command(&weir, &["rollback", "p"]).unwrap();
    replaced(&weir).await;
    assert_eq!((words(&weir).await, current(&weir).await), (1, first));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_whose_file_has_changed_meanwhile_goes_by_the_file() {
    let weir = start().await;
    push(&weir, "p", &component("keeper")).await.unwrap();
    let pushed = current(&weir).await;
    weir.write("p.wasm", variant(&component("misbehave"), 1));
    replaced(&weir).await;
    assert_eq!(words(&weir).await, 1);
    command(&weir, &["rollback", "p"]).unwrap();
    assert_eq!((words(&weir).await, current(&weir).await), (4, pushed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_under_other_limits_goes_by_the_file() {
    let weir = start().await;
    push(&weir, "p", &component("keeper")).await.unwrap();
    weir.configure(&answering("deadline = \"90ms\"", ""));
    replaced(&weir).await;
    assert_eq!(words(&weir).await, 1);
    weir.said("limits, grants or path have changed, the file decides").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_plugin_version_that_cannot_go_on_lets_no_upgrade_succeed() {
    let weir = start().await;
    push(&weir, "p", &component("keeper")).await.unwrap();
    weir.configure(&answering(PLAIN, "balance = { plugin = \"p\" }"));
    let output = upgrade(&weir, &[]).await;
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && why.contains("has not the role `balancer`"), "{why}");
    assert_eq!((words(&weir).await, weir.status().await["pid"].as_u64()), (4, Some(weir.pid().into())));
    command(&weir, &["rollback", "p"]).unwrap();
    replaced(&weir).await;
    assert_eq!(words(&weir).await, 1);
}

/// What the program says to a process that hands over this, and no sockets.
fn answers(handover: &Value) -> Value {
    let setup = Setup::new(&answering(PLAIN, "")).file("p.wasm", component("misbehave"));
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let config = setup.folder().join("weir.toml").to_str().unwrap().to_owned();
    let mut process = weir(&["run", "--take-over", "--config", &config]);
    process.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = process.spawn().unwrap();
    let said = handover.to_string();
    ours.write_all(&u32::try_from(said.len()).unwrap().to_be_bytes()).unwrap();
    ours.write_all(said.as_bytes()).unwrap();
    let mut length = [0; 4];
    ours.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    ours.read_exact(&mut answer).unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    serde_json::from_slice(&answer).unwrap()
}

#[test]
fn a_program_that_refuses_a_version_takes_over_only_where_another_decides() {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &component("misbehave"));
    let file: String = digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
    let (strange, base) = ("ab".repeat(32), json!({ "sockets": [], "requests": null, "secret": vec![7; 32] }));
    assert_eq!(answers(&base), "ready", "a program of an earlier version hands over less");
    for (current, ready) in [(&file, true), (&strange, false)] {
        let mut handover = base.clone();
        handover["kept"] = json!({ "plugins": { "p": {
            "terms": {}, "file": file, "current": current, "all": [strange, file], "former": [strange],
            "components": { strange.clone(): STANDARD.encode("no component") },
        } } });
        let answer = answers(&handover);
        match ready {
            true => assert_eq!(answer, "ready"),
            false => {
                let why = answer["failed"].as_str().unwrap();
                assert!(why.contains("version abababababab, which decides, cannot go on: "), "{why}");
            }
        }
    }
}

fn secure(tls: &str) -> String {
    format!(
        "[process]\nworkers = 1\nwatch = false\nupgrade-socket = \"{SOCKET}\"\n\
         [listeners.secure]\naddress = \"127.0.0.1:0\"\n[listeners.secure.tls]\n\
         certificates = [{{ name = \"shop\", cert = \"a.pem\", key = \"a.key\" }}]\n{tls}\n\
         [[routes]]\nname = \"all\"\nrespond = {{ body = \"ok\" }}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_certificate_is_shown_on_until_the_file_changes() {
    let ca = Ca::new();
    let [first, second, third] = [(); 3].map(|()| ca.issue(&["a.test"]));
    let weir = Setup::new(&secure("")).certificate("a", &first).start().await;
    let shown = async || Client::tls(weir.listener("secure"), &ca, "a.test", &["h2"]).await.certificate;
    let own = shown().await;
    let pem = format!("{}{}", second.cert, second.key);
    assert_eq!(weir.command(Method::PUT, "/v1/certificates/shop", pem).await.status, 200);
    let pushed = shown().await;
    assert_ne!(pushed, own);
    let listed = weir.status().await["listeners"][0]["certificates"].clone();
    // The second time it comes from a process that was left it.
    for _ in 0..2 {
        replaced(&weir).await;
        assert_eq!(shown().await, pushed);
        assert_eq!(weir.status().await["listeners"][0]["certificates"], listed);
    }
    assert!(!weir.stderr().contains("PRIVATE KEY"));
    weir.write("a.pem", &third.cert);
    weir.write("a.key", &third.key);
    replaced(&weir).await;
    let file = shown().await;
    assert!(file != pushed && file != own);
}

/// What openssl says of one exchange, which begins or goes on with a session in a file.
async fn s_client(address: SocketAddr, session: PathBuf, more: &'static [&'static str]) -> String {
    let exchange = move || {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &address.to_string(), "-servername", "a.test", "-ign_eof"]).args(more);
        command.arg(if session.exists() { "-sess_in" } else { "-sess_out" }).arg(&session);
        let stdio = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = stdio.spawn().expect("openssl");
        let request = b"GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";
        child.stdin.take().unwrap().write_all(request).unwrap();
        String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned()
    };
    soon("openssl", tokio::task::spawn_blocking(exchange)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_tls_go_on_without_configured_keys() {
    let weir = Setup::new(&secure("")).certificate("a", &Ca::new().issue(&["a.test"])).start().await;
    let address = weir.listener("secure");
    let versions: [(&str, &[&str], &str); 2] = [("1.2", &["-tls1_2"], "TLSv1.2"), ("1.3", &["-tls1_3"], "TLSv1.3")];
    for (file, more, version) in versions {
        let said = s_client(address, weir.path(file), more).await;
        assert!(said.contains(&format!("New, {version}")), "{said}");
    }
    for _ in 0..2 {
        replaced(&weir).await;
        for (file, more, version) in versions {
            let said = s_client(address, weir.path(file), more).await;
            assert!(said.contains(&format!("Reused, {version}")), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_not_a_way_around_what_verifies_clients_after_an_upgrade() {
    let (ca, other) = (Ca::new(), Ca::new());
    let auth = "client-auth = { ca = \"clients.pem\", mode = \"optional\" }";
    let setup = Setup::new(&secure(auth)).certificate("a", &ca.issue(&["a.test"])).file("clients.pem", ca.pem());
    let weir = setup.start().await;
    let client = ca.client_with(&["http/1.1"], &ca.issue_client(&[], vec![], 7));
    let shake = async || Client::handshake(weir.listener("secure"), client.clone(), "a.test").await;
    let resumes = async || {
        let stream = shake().await.unwrap();
        let kind = stream.get_ref().1.handshake_kind();
        assert_eq!(Client::over(stream).await.get("/").await.text(), "ok");
        kind == Some(HandshakeKind::Resumed)
    };
    assert!(!resumes().await && resumes().await);
    replaced(&weir).await;
    assert!(resumes().await, "what verifies clients is the same");
    weir.write("clients.pem", other.pem());
    replaced(&weir).await;
    // A client learns that it is refused after its part of the handshake.
    if let Ok(mut stream) = shake().await {
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        assert!(soon("the end", stream.read(&mut [0])).await.map_or(true, |octets| octets == 0));
    }
}
