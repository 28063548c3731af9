//! Taking up another configuration: whole or not at all, and nobody notices.

use std::{
    fs::{self, Permissions},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use nix::sys::signal::Signal::SIGHUP;
use tokio::{net::TcpStream, task::JoinSet};

use super::harness::{
    Ca, Client, Endpoint, Reserved, Setup, Weir, eventually, get, guest, plain, until, weir_without_privilege,
};

const REFUSED: &str = "configuration refused, the former one goes on";

/// Clients that ask without a pause, one of them by HTTP/2.
pub struct Load {
    ended: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    clients: JoinSet<()>,
}

impl Load {
    pub fn on(address: SocketAddr) -> Load {
        let mut load = Load { ended: Arc::default(), asked: Arc::default(), clients: JoinSet::new() };
        for number in 0..4 {
            let (ended, asked) = (Arc::clone(&load.ended), Arc::clone(&load.asked));
            load.clients.spawn(async move {
                let mut client = match number {
                    0 => Client::http2(address).await,
                    _ => Client::http1(address).await,
                };
                while !ended.load(SeqCst) {
                    let reply = match asked.fetch_add(1, SeqCst) % 3 {
                        0 => client.post("/echo", "body").await,
                        1 => get(address, "/fresh").await,
                        _ => client.get("/").await,
                    };
                    assert_eq!(reply.status, 200);
                }
            });
        }
        load
    }

    pub async fn goes_on(&self) {
        let before = self.asked.load(SeqCst);
        until("twenty more requests", || self.asked.load(SeqCst) > before + 20).await;
    }

    pub async fn end(mut self) {
        self.ended.store(true, SeqCst);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_fail_nobody() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let mut weir = Weir::start(&plain(&[a.address], "")).await;
    let load = Load::on(weir.web());
    for round in 0..15 {
        let endpoints: &[SocketAddr] = if round % 2 == 0 { &[b.address] } else { &[a.address, b.address] };
        weir.reload(&plain(endpoints, &format!("response-timeout = \"{}s\"", 10 + round))).await.unwrap();
        load.goes_on().await;
    }
    load.end().await;
    assert!(a.requests() > 0 && b.requests() > 0);
    let failed =
        weir.metric(r#"weir_requests_total{listener="web",route="web",cluster="web",status_class="5xx"}"#).await;
    assert_eq!(failed, 0.0);
}

#[tokio::test]
async fn a_signal_reloads() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let weir = Weir::start(&(plain(&[a.address], "") + "[process]\nwatch = false\n")).await;
    let before = weir.snapshot().await;
    weir.configure(&(plain(&[b.address], "") + "[process]\nwatch = false\n"));
    weir.signal(SIGHUP);
    weir.after(before).await;
    assert_eq!(get(weir.web(), "/").await.text(), "b");
}

#[tokio::test]
async fn a_changed_file_reloads() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let weir = Weir::start(&plain(&[a.address], "")).await;
    let before = weir.snapshot().await;
    weir.configure(&plain(&[b.address], ""));
    weir.after(before).await;
    assert_eq!(get(weir.web(), "/").await.text(), "b");
}

#[tokio::test]
async fn a_reload_says_whether_files_are_watched() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let unwatched = |endpoint: &Endpoint| plain(&[endpoint.address], "") + "[process]\nwatch = false\n";
    let weir = Weir::start(&unwatched(&a)).await;
    for _ in 0..2 {
        let before = weir.snapshot().await;
        weir.configure(&plain(&[a.address], ""));
        weir.signal(SIGHUP);
        weir.after(before).await;
        weir.configure(&plain(&[b.address], ""));
        eventually("the change", || async { (get(weir.web(), "/").await.text() == "b").then_some(()) }).await;
        weir.configure(&unwatched(&a));
        eventually("the last change", || async { (get(weir.web(), "/").await.text() == "a").then_some(()) }).await;
    }
}

#[tokio::test]
async fn files_that_could_not_be_watched_for_a_moment_are_watched_again() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let weir = Weir::start(&plain(&[a.address], "")).await;
    let files = |limit: &str| {
        let limit = format!("--nofile={limit}:");
        let pid = weir.pid().to_string();
        assert!(std::process::Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
    };
    files("8");
    weir.configure(&plain(&[a.address], "[access-log]\nformat = \"off\"\n"));
    until("the failure", || weir.stderr().contains("files are not watched")).await;
    files("1000");
    weir.configure(&plain(&[b.address], ""));
    eventually("the change", || async { (get(weir.web(), "/").await.text() == "b").then_some(()) }).await;
    weir.configure(&plain(&[a.address], ""));
    eventually("the next change", || async { (get(weir.web(), "/").await.text() == "a").then_some(()) }).await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_read_keeps_no_other_from_being_watched() {
    let (a, b, ca) = (Endpoint::start("a").await, Endpoint::start("b").await, Ca::new());
    let certificate = ca.issue(&["weir.test"]);
    let tls = "[listeners.tls]\naddress = \"127.0.0.1:0\"\n\
               tls = { certificates = [{ cert = \"closed/weir.pem\", key = \"closed/weir.key\" }] }\n";
    let setup = Setup::new(&plain(&[a.address], tls));
    let closed = setup.folder().join("closed");
    fs::create_dir(&closed).unwrap();
    let setup = setup.certificate("closed/weir", &certificate);
    fs::set_permissions(&closed, Permissions::from_mode(0o300)).unwrap();
    let weir = setup.launch(weir_without_privilege(&["run", "--config", "weir.toml"])).begun().await;
    assert!(weir.said("a folder is not watched").await["folder"].as_str().unwrap().ends_with("/closed"));
    weir.configure(&plain(&[b.address], tls));
    eventually("the change", || async { (get(weir.web(), "/").await.text() == "b").then_some(()) }).await;
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test]
async fn connections_and_pools_of_what_stays_survive() {
    let a = Endpoint::start("a").await;
    let one_worker = "[process]\nworkers = 1\n";
    let mut weir = Weir::start(&(plain(&[a.address], "") + one_worker)).await;
    let mut client = Client::http1(weir.web()).await;
    client.get("/").await;
    for timeout in [3, 4, 5] {
        let other = format!("[[routes]]\nname = \"other\"\nmatch = {{ path = \"/{timeout}\" }}\nrespond = {{}}\n");
        weir.reload(&(other + &plain(&[a.address], "") + one_worker)).await.unwrap();
        assert_eq!(client.get("/").await.text(), "a");
    }
    assert_eq!(a.connections(), 1);
    assert_eq!(weir.metric(r#"weir_connections_total{listener="web"}"#).await, 1.0);
}

#[tokio::test]
async fn listeners_come_and_go() {
    let mut weir = Weir::start(&listeners(&["web", "old"])).await;
    let (web, old) = (weir.web(), weir.listener("old"));
    let mut kept = Client::http1(old).await;
    kept.get("/").await;
    weir.reload(&listeners(&["web", "fresh"])).await.unwrap();
    assert_eq!(weir.web(), web, "a listener that stays keeps its port");
    assert_eq!(get(weir.listener("fresh"), "/").await.text(), "ok");
    eventually("the old listener to refuse", || async { TcpStream::connect(old).await.is_err().then_some(()) }).await;
}

fn listeners(names: &[&str]) -> String {
    let listeners: String =
        names.iter().map(|name| format!("[listeners.{name}]\naddress = \"127.0.0.1:0\"\n")).collect();
    listeners + "[[routes]]\nname = \"all\"\nrespond = { body = \"ok\" }\n"
}

/// Has something faulty refused by both ways, and shows that the former configuration goes on.
async fn refused(weir: &Weir, why: &str, put: impl Fn()) {
    let before = weir.snapshot().await;
    put();
    let by_file = weir.said(REFUSED).await;
    assert!(by_file["faults"].as_str().unwrap().contains(why), "{by_file}");
    let refusals = weir.metric(r#"weir_reloads_total{result="refused"}"#).await;
    weir.signal(SIGHUP);
    eventually("the signal to be refused too", || async {
        (weir.metric(r#"weir_reloads_total{result="refused"}"#).await > refusals).then_some(())
    })
    .await;
    assert_eq!(weir.snapshot().await, before);
}

#[tokio::test]
async fn a_faulty_configuration_leaves_the_former_running() {
    let a = Endpoint::start("a").await;
    let mut weir = Weir::start(&plain(&[a.address], "")).await;
    let faulty = plain(&[a.address], "balanse = \"random\"");
    refused(&weir, "did you mean `balance`", || weir.configure(&faulty)).await;
    assert_eq!(get(weir.web(), "/").await.text(), "a");
    let why = weir.reload(&faulty).await.unwrap_err();
    assert!(why.contains("balanse"), "{why}");
    weir.reload(&plain(&[a.address], "balance = \"random\"")).await.unwrap();
}

#[tokio::test]
async fn a_listener_that_cannot_be_bound_leaves_the_former_running() {
    let a = Endpoint::start("a").await;
    let mut weir = Weir::start(&plain(&[a.address], "")).await;
    let taken = format!("[listeners.taken]\naddress = \"{}\"\n", a.address);
    let why = weir.reload(&(taken + &plain(&[], ""))).await.unwrap_err();
    assert!(!why.is_empty());
    assert_eq!(get(weir.web(), "/").await.text(), "a");
}

#[tokio::test]
async fn a_faulty_plugin_leaves_the_former_running() {
    let a = Endpoint::start("a").await;
    let routes = "[listeners.web]\naddress = \"127.0.0.1:0\"\n[plugins.canary]\npath = \"canary.wasm\"\n\
                  [[routes]]\nname = \"web\"\ncluster = \"web\"\nplugins = [{ plugin = \"canary\", settings = { key = { header = \"x-user\" }, percent = 100, labels = { v = \"1\" } } }]\n";
    let text = format!("{routes}[clusters.web]\nendpoints = [\"{}\"]\n", a.address);
    let component = fs::read(guest("canary")).unwrap();
    let weir = Setup::new(&text).file("canary.wasm", &component).start().await;
    refused(&weir, "canary", || weir.write("canary.wasm", "no component at all")).await;
    get(weir.web(), "/plugin").await;
    let line = weir.logged("/plugin").await;
    assert_eq!(
        (&line["plugins"][0]["name"], &line["plugins"][0]["failed"]),
        (&"canary".into(), &serde_json::Value::Null)
    );
}

#[tokio::test]
async fn a_faulty_certificate_leaves_the_former_running() {
    let (ca, a) = (Ca::new(), Endpoint::start("a").await);
    let tls = r#"tls = { certificates = [{ cert = "one.pem", key = "one.key" }] }"#;
    let text = plain(&[a.address], "").replace("[[routes]]", &format!("{tls}\n[[routes]]"));
    let weir = Setup::new(&text).certificate("one", &ca.issue(&["one.test"])).start().await;
    refused(&weir, "one.pem", || weir.write("one.pem", "not a certificate")).await;
    let mut client = Client::tls(weir.web(), &ca, "one.test", &["h2"]).await;
    assert_eq!(client.get("/").await.text(), "a");
}

#[tokio::test]
async fn a_key_of_another_certificate_is_refused() {
    let (ca, a) = (Ca::new(), Endpoint::start("a").await);
    let tls = r#"tls = { certificates = [{ cert = "one.pem", key = "one.key" }] }"#;
    let text = plain(&[a.address], "").replace("[[routes]]", &format!("{tls}\n[[routes]]"));
    let weir = Setup::new(&text).certificate("one", &ca.issue(&["one.test"])).start().await;
    refused(&weir, "one.", || weir.write("one.key", ca.issue(&["two.test"]).key)).await;
    assert_eq!(Client::tls(weir.web(), &ca, "one.test", &["h2"]).await.get("/").await.text(), "a");
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_up() {
    let (ca, a) = (Ca::new(), Endpoint::start("a").await);
    let tls = r#"tls = { certificates = [{ cert = "one.pem", key = "one.key" }] }"#;
    let text = plain(&[a.address], "").replace("[[routes]]", &format!("{tls}\n[[routes]]"));
    let weir = Setup::new(&text).certificate("one", &ca.issue(&["one.test"])).start().await;
    let mut old = Client::tls(weir.web(), &ca, "one.test", &["h2"]).await;
    let renewed = ca.issue(&["one.test"]);
    weir.write("one.key", &renewed.key);
    weir.write("one.pem", &renewed.cert);
    eventually("the renewed certificate", || async {
        let client = Client::tls(weir.web(), &ca, "one.test", &["h2"]).await;
        (client.certificate != old.certificate).then_some(())
    })
    .await;
    assert_eq!(old.get("/").await.text(), "a", "connections of before go on");
}

#[tokio::test]
async fn a_listener_takes_another_name_and_answers_on() {
    let reserved = Reserved::new();
    let named = |name: &str| listeners(&[name]).replace("127.0.0.1:0", &reserved.address.to_string());
    let mut weir = Weir::start(&named("old")).await;
    assert_eq!(get(reserved.address, "/before").await.text(), "ok");
    weir.reload(&named("fresh")).await.unwrap();
    assert_eq!(weir.listener("fresh"), reserved.address);
    for _ in 0..10 {
        assert_eq!(get(reserved.address, "/after").await.text(), "ok");
    }
    // A connection that arrived at the old socket while that closed is answered under the old name.
    weir.logged_where("a request under the new name", |line| line["listener"] == "fresh").await;
}
