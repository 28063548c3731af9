//! What becomes of tunnels: how long they may be silent, what they outlive, how they are counted.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use nix::sys::signal::Signal::SIGTERM;
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use super::{
    harness::{RawEndpoint, Setup, Weir, eventually, get, guest, soon, until},
    shutdown::is_draining,
    websocket::{connect, echo, is_said_back, said_back},
};

fn text(endpoint: &RawEndpoint, process: &str, route: &str, cluster: &str) -> String {
    format!(
        "[process]\nworkers = 1\n{process}\n[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"web\"\ncluster = \"web\"\n{route}\n\
         [clusters.web]\nendpoints = [\"{}\"]\n{cluster}\n",
        endpoint.address
    )
}

/// Waits for the end of a WebSocket, whichever it is.
async fn over(socket: &mut WebSocketStream<TcpStream>) {
    while soon("the end", socket.next()).await.is_some_and(|message| message.is_ok()) {}
}

#[tokio::test]
async fn a_silent_tunnel_ends() {
    let endpoint = echo().await;
    let weir = Weir::start(&text(&endpoint, "", "", "tunnel-idle-timeout = \"300ms\"")).await;
    let mut socket = connect(&weir).await;
    over(&mut socket).await;
    let line = weir.logged("/chat").await;
    assert_eq!((&line["status"], &line["error"]), (&101.into(), &"idle for too long".into()));
    assert_eq!(weir.metric("weir_tunnels").await, 0.0);
    assert_eq!(weir.metric("weir_tunnels_total{cluster=\"web\",end=\"idle\"}").await, 1.0);
    assert!(weir.metric("weir_tunnel_seconds_total{cluster=\"web\"}").await >= 0.3);
    assert_eq!(weir.metric("weir_request_seconds_count{cluster=\"web\"}").await, 0.0, "told apart from responses");
}

/// A machine that is too busy to talk as fast as that gets another try.
#[tokio::test]
async fn any_octet_keeps_a_tunnel() {
    const IDLE: Duration = Duration::from_millis(500);
    let endpoint = echo().await;
    let weir = Weir::start(&text(&endpoint, "", "", "tunnel-idle-timeout = \"500ms\"")).await;
    let talked = || async {
        let (begun, mut said) = (Instant::now(), Instant::now());
        let mut socket = connect(&weir).await;
        while begun.elapsed() < 2 * IDLE {
            let now = Instant::now();
            if !is_said_back(&mut socket, Message::text("x")).await {
                assert!(said.elapsed() >= IDLE, "cut in the middle of talk");
                return None;
            }
            said = now;
        }
        Some(())
    };
    eventually("talk without a pause", talked).await;
}

#[tokio::test]
async fn the_route_has_the_last_word_on_silence() {
    let endpoint = echo().await;
    let weir = Weir::start(&text(&endpoint, "", "tunnel-idle-timeout = \"300ms\"", "")).await;
    let mut socket = connect(&weir).await;
    over(&mut socket).await;
    assert_eq!(weir.logged("/chat").await["error"], "idle for too long");
}

#[tokio::test]
async fn timeouts_of_exchanges_are_none_of_tunnels() {
    let endpoint = echo().await;
    let limits = "timeout = \"300ms\"\nresponse-timeout = \"300ms\"";
    let weir = Weir::start(&text(&endpoint, "", "attempt-timeout = \"300ms\"", limits)).await;
    let mut socket = connect(&weir).await;
    let begun = Instant::now();
    until("time to pass", || begun.elapsed() > Duration::from_secs(1)).await;
    said_back(&mut socket, Message::text("still here")).await;
}

#[tokio::test]
async fn a_tunnel_holds_no_version_of_a_plugin() {
    let endpoint = echo().await;
    let plugin = "[plugins.p]\npath = \"p.wasm\"\ndeadline = \"100ms\"\n";
    let route = "plugins = [{ plugin = \"p\", settings = { do = \"none\" } }]";
    let config = text(&endpoint, "", route, "") + plugin;
    let component = std::fs::read(guest("misbehave")).unwrap();
    let weir = Setup::new(&config).file("p.wasm", &component).start().await;
    let mut socket = connect(&weir).await;
    said_back(&mut socket, Message::text("before")).await;
    // An empty custom section makes it another version.
    let other = [&component[..], &[0, 2, 1, b'x']].concat();
    let reply = weir.command(http::Method::PUT, "/v1/plugins/p", other).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(get(weir.web(), "/plain").await.status, 502, "it speaks nothing but WebSocket");
    let instances = "weir_plugin_instances{plugin=\"p\"}";
    eventually("the former version to go", || async { (weir.metric(instances).await == 1.0).then_some(()) }).await;
    said_back(&mut socket, Message::text("after")).await;
    socket.close(None).await.unwrap();
    over(&mut socket).await;
    drop(socket);
    let line = weir.logged("/chat").await;
    assert_eq!(
        (&line["route"], &line["cluster"], &line["plugins"][0]["name"]),
        (&"web".into(), &"web".into(), &"p".into())
    );
    assert_eq!(weir.metric("weir_tunnels_total{cluster=\"web\",end=\"closed\"}").await, 1.0);
}

#[tokio::test]
async fn a_drain_gives_tunnels_the_grace() {
    let endpoint = echo().await;
    let mut weir = Weir::start(&text(&endpoint, "shutdown-grace = \"60s\"", "", "")).await;
    let mut socket = connect(&weir).await;
    weir.signal(SIGTERM);
    is_draining(&weir).await;
    said_back(&mut socket, Message::text("still here")).await;
    socket.close(None).await.unwrap();
    over(&mut socket).await;
    drop(socket);
    assert!(weir.ended().await.success());
    assert_eq!(weir.said("ended").await["clean"], true);
}

#[tokio::test]
async fn a_tunnel_that_outlasts_the_grace_is_cut() {
    let endpoint = echo().await;
    let mut weir = Weir::start(&text(&endpoint, "shutdown-grace = \"300ms\"", "", "")).await;
    let mut socket = connect(&weir).await;
    said_back(&mut socket, Message::text("before")).await;
    weir.signal(SIGTERM);
    over(&mut socket).await;
    assert!(weir.ended().await.success());
    assert_eq!(weir.said("ended").await["clean"], false);
    let line = weir.logged("/chat").await;
    assert_eq!((&line["status"], &line["error"]), (&101.into(), &"cut at shutdown".into()));
    assert!(line["bytes_in"].as_u64().unwrap() > 0, "{line}");
}
