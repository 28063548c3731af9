//! Another process takes the place of the running one: nobody notices, or everything stays as it is.

mod alone;
mod kept;
mod load;
mod pushed;
mod refused;

use std::{net::SocketAddr, process::Output, sync::Arc};

use http::Method;
use nix::{
    sys::signal::{self, Signal::SIGUSR2},
    unistd::Pid,
};
use serde_json::Value;
use tokio::net::UdpSocket;

use self::load::Load;
use super::harness::{Ca, Client, Endpoint, Reply, Setup, Weir, empty, get, request, run, soon, until};

const SOCKET: &str = "upgrade.sock";

fn text(endpoint: SocketAddr, process: &str, cluster: &str) -> String {
    format!(
        r#"
        [process]
        workers = 2
        upgrade-socket = "{SOCKET}"
        {process}
        [listeners.web]
        address = "127.0.0.1:0"
        [[routes]]
        name = "web"
        cluster = "web"
        [clusters.web]
        endpoints = ["{endpoint}"]
        {cluster}
        "#
    )
}

/// `weir upgrade` with these arguments, in the folder of the running one.
async fn upgrade(weir: &Weir, arguments: &[&str]) -> Output {
    let mut all = vec!["upgrade".to_owned(), "--socket".to_owned(), weir.path(SOCKET).display().to_string()];
    all.extend(arguments.iter().map(ToString::to_string));
    let asked = tokio::task::spawn_blocking(move || run(&all.iter().map(String::as_str).collect::<Vec<_>>()));
    soon("the answer to an upgrade", asked).await.unwrap()
}

/// The process that serves after an upgrade which must succeed.
async fn upgraded(weir: &Weir) -> u32 {
    let output = upgrade(weir, &[]).await;
    let (said, why) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{why}");
    let pid = said.strip_prefix("process ").and_then(|rest| rest.split_once(" serves now")).unwrap().0;
    let pid = pid.parse().unwrap();
    weir.succeeded(pid).await;
    pid
}

/// Waits until a process that is no child of the test is gone.
async fn gone(pid: u32) {
    let exists = || signal::kill(Pid::from_raw(pid as i32), None).is_ok();
    until(&format!("process {pid} to end"), || !exists()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_under_load_fail_nobody() {
    let (ca, endpoint) = (Arc::new(Ca::new()), Endpoint::start("a").await);
    let tls = "[listeners.tls]\naddress = \"127.0.0.1:0\"\n\
               tls = { certificates = [{ cert = \"one.pem\", key = \"one.key\" }] }\n[[routes]]";
    let text = text(endpoint.address, "", "").replacen("[[routes]]", tls, 1);
    let text = format!("[access-log]\npath = \"access.log\"\n{text}");
    let mut weir = Setup::new(&text).certificate("one", &ca.issue(&["one.test"])).start().await;
    let load = Load::on(weir.web(), weir.listener("tls"), &ca);
    load.goes_on().await;
    let first = upgraded(&weir).await;
    assert_eq!(weir.ended().await.code(), Some(0));
    assert_eq!(weir.said("ended").await["clean"], true);
    load.goes_on().await;
    let second = upgraded(&weir).await;
    gone(first).await;
    load.goes_on().await;
    signal::kill(Pid::from_raw(second as i32), SIGUSR2).unwrap();
    gone(second).await;
    load.goes_on().await;
    load.end().await;
    let serving = weir.status().await["pid"].as_u64().unwrap();
    assert!(![first, second, weir.pid()].map(u64::from).contains(&serving));
    // Every line of every process is there and whole.
    let lines = || std::fs::read_to_string(weir.path("access.log")).unwrap();
    until("the access log", || lines().lines().count() >= endpoint.requests()).await;
    let statuses: Vec<Value> =
        lines().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["status"].clone()).collect();
    assert_eq!(statuses, vec![Value::from(200); endpoint.requests()]);
}

#[tokio::test]
async fn what_is_in_flight_is_finished_while_the_other_process_serves() {
    let endpoint = Endpoint::start("a").await;
    let mut weir = Weir::start(&text(endpoint.address, "", "")).await;
    let mut client = Client::http2(weir.web()).await;
    let response = client.send(request(Method::GET, "/half").body(empty()).unwrap()).await.unwrap();
    let pid = upgraded(&weir).await;
    assert_eq!(get(weir.web(), "/").await.text(), "a");
    assert_eq!(weir.status().await["pid"], pid);
    endpoint.open();
    assert_eq!(Reply::read(response).await.unwrap().text(), "first last");
    assert!(weir.ended().await.success());
    assert_eq!(weir.logged("/half").await["status"], 200);
}

#[tokio::test]
async fn the_other_process_goes_by_the_file_as_it_is_now() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let mut weir = Weir::start(&text(a.address, "watch = false", "")).await;
    weir.configure(&text(b.address, "watch = false", "").replace("workers = 2", "workers = 3"));
    assert_eq!(get(weir.web(), "/").await.text(), "a");
    upgraded(&weir).await;
    weir.ended().await;
    assert_eq!(get(weir.web(), "/").await.text(), "b");
    assert_eq!(weir.status().await["workers"], 3);
    let web = weir.web();
    weir.learn().await;
    assert_eq!(weir.web(), web, "the port stays");
}

#[tokio::test]
async fn datagrams_reach_the_other_process_whatever_its_number_of_workers() {
    let echo = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = echo.local_addr().unwrap();
    let echoing = tokio::spawn(async move {
        let mut octets = [0; 64];
        while let Ok((length, from)) = echo.recv_from(&mut octets).await {
            let _ = echo.send_to(&octets[..length], from).await;
        }
    });
    let config = |workers: u32| {
        format!(
            "[process]\nwatch = false\nworkers = {workers}\nupgrade-socket = \"{SOCKET}\"\n[listeners.udp]\n\
             address = \"127.0.0.1:0\"\nprotocol = \"udp\"\ncluster = \"c\"\n[clusters.c]\nendpoints = [\"{address}\"]\n"
        )
    };
    let mut weir = Weir::start(&config(3)).await;
    for workers in [1, 4] {
        weir.configure(&config(workers));
        let before = weir.status().await["pid"].as_u64().unwrap();
        let pid = upgraded(&weir).await;
        match before == u64::from(weir.pid()) {
            true => drop(weir.ended().await),
            false => gone(before as u32).await,
        }
        for number in 0..20 {
            let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            client.connect(weir.listener("udp")).await.unwrap();
            client.send(format!("{number}").as_bytes()).await.unwrap();
            let mut octets = [0; 64];
            let length = soon("an answer", client.recv(&mut octets)).await.unwrap();
            assert_eq!(&octets[..length], format!("{number}").as_bytes());
        }
        assert_eq!(weir.status().await["pid"], pid);
    }
    echoing.abort();
}

#[tokio::test]
async fn signals_reach_the_other_process_and_it_ends_as_any() {
    let endpoint = Endpoint::start("a").await;
    let mut weir = Weir::start(&text(endpoint.address, "", "")).await;
    let pid = upgraded(&weir).await;
    assert!(weir.ended().await.success());
    assert!(weir.path(SOCKET).exists(), "the other process is asked there");
    signal::kill(Pid::from_raw(pid as i32), signal::Signal::SIGTERM).unwrap();
    gone(pid).await;
    assert!(!weir.path(SOCKET).exists());
}
