//! No file descriptors left: admin answers, those who are served go on, and all is well afterwards.

use futures_util::future::join_all;
use http::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::{
    super::harness::{Client, Endpoint, Meter, Raw, RawEndpoint, Setup, Weir, eventually, get, soon, weir_with_files},
    text,
};

/// Both endpoints but one may be ejected, at the first failure.
const STRICT: &str =
    "outlier-detection = { consecutive-connect-failures = 1, consecutive-gateway-errors = 1, max-ejected = 100 }";

/// Fewer than the connections of [`flood`].
const FILES: u32 = 200;

async fn short_of_files(text: &str) -> Weir {
    let weir = Setup::new(text).launch(weir_with_files(FILES, &["run", "--config", "weir.toml"]));
    weir.begun().await
}

/// Connections that have begun to ask and never end, none of them idle.
async fn flood(weir: &Weir) -> Vec<TcpStream> {
    let mut flood = Vec::new();
    for _ in 0..400 {
        let mut stream = TcpStream::connect(weir.web()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        flood.push(stream);
    }
    flood
}

async fn is_short(weir: &Weir, short: bool) {
    let wanted = f64::from(u8::from(short));
    eventually(&format!("short of descriptors: {short}"), || async {
        (weir.metric(r#"weir_short_of{resource="descriptors"}"#).await == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_kept_back_keeps_admin_and_those_who_are_there_alive() {
    let (endpoint, other) = (Endpoint::start("a").await, Endpoint::start("a").await);
    let both = format!("\", \"{}\"]\n{STRICT}", other.address);
    let weir = short_of_files(&text(&endpoint, r#"header-timeout = "1h""#, "").replace("\"]", &both)).await;
    let mut others: Vec<Client> = Vec::new();
    for _ in 0..3 {
        let mut client = Client::http2(weir.web()).await;
        assert_eq!(client.get("/ping").await.text(), "pong");
        others.push(client);
    }
    let asking: Vec<Client> = others.iter().map(Client::another).collect();
    let held: Vec<_> =
        asking.into_iter().map(|mut client| tokio::spawn(async move { client.get("/late").await })).collect();
    eventually("all to be asked", || async { (endpoint.requests() + other.requests() == 3).then_some(()) }).await;

    let meter = Meter::start("no descriptors left", &weir);
    let flood = flood(&weir).await;
    is_short(&weir, true).await;
    for _ in 0..20 {
        assert_eq!(weir.command(Method::GET, "/healthz", "").await.status, 200);
        for client in &mut others {
            assert_eq!(client.get("/").await.text(), "a", "who is there is served, by an endpoint too");
        }
    }
    assert_eq!(weir.status().await["short_of"], serde_json::json!(["descriptors"]));
    for endpoint in [&endpoint, &other] {
        assert_eq!(weir.endpoint("web", endpoint.address).await["state"], "healthy");
    }
    meter.end(&weir);

    drop(flood);
    assert_eq!(get(weir.web(), "/").await.text(), "a");
    is_short(&weir, false).await;
    endpoint.open();
    other.open();
    for held in held {
        assert_eq!(held.await.unwrap().text(), "late");
    }
    let log = weir.stderr();
    let said = |message: &str| log.lines().filter(|line| line.contains(message)).count();
    assert_eq!(said("running short"), 1, "{log}");
    assert!(!log.contains("ERROR"), "{log}");
}

/// Idle connections go when there are no descriptors, so that those who ask are served all the while.
#[tokio::test]
async fn who_idles_makes_room() {
    let endpoint = Endpoint::start("a").await;
    let weir = short_of_files(&text(&endpoint, "", "")).await;
    let web = weir.web();
    let mut idle = Vec::new();
    super::endured("idle connections without end", &weir, async {
        for _ in 0..400 {
            idle.push(TcpStream::connect(web).await.unwrap());
        }
        is_short(&weir, true).await;
        assert_eq!(get(web, "/").await.text(), "a");
    })
    .await;
    drop(idle);
    is_short(&weir, false).await;
}

/// Connections that pass as they are wait in the backlog until there are two descriptors for each.
#[tokio::test]
async fn no_client_is_accepted_only_to_be_cut() {
    const CLIENTS: usize = 120;
    let echo = RawEndpoint::start(|mut raw, _| async move {
        let octet = raw.exactly(1).await;
        raw.send(octet).await;
        raw.rest().await;
    })
    .await;
    let weir = short_of_files(&format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\nprotocol = \"tcp\"\ncluster = \"echo\"\n\
         [clusters.echo]\nendpoints = [\"{}\"]\n",
        echo.address
    ))
    .await;
    let (served, mut all) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..CLIENTS {
        let (web, served) = (weir.web(), served.clone());
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(web).await.unwrap();
            stream.write_all(b"x").await.unwrap();
            let read = stream.read(&mut [0; 2]).await;
            let _ = served.send((read, stream));
        });
    }
    let mut held = std::collections::VecDeque::new();
    is_short(&weir, true).await;
    for _ in 0..CLIENTS {
        // Where all there is room for are served, one descriptor after the other becomes free.
        let (read, stream) = soon("the next to be served", async {
            loop {
                match tokio::time::timeout(std::time::Duration::from_millis(50), all.recv()).await {
                    Ok(next) => return next.unwrap(),
                    Err(_) => drop(held.pop_front()),
                }
            }
        })
        .await;
        assert_eq!(read.unwrap(), 1, "served, not cut");
        held.push_back(stream);
    }
    assert_eq!(weir.metric(r#"weir_connections_refused_total{listener="web",reason="descriptors"}"#).await, 0.0);
    drop(held);
    is_short(&weir, false).await;
}

/// Requests that cannot have a connection of their own to an endpoint are refused, and no endpoint is taken out.
#[tokio::test]
async fn no_endpoint_is_blamed_for_what_we_lack() {
    let (one, other) = (Endpoint::start("one").await, Endpoint::start("other").await);
    let both = format!("\", \"{}\"]\n{STRICT}", other.address);
    let weir = short_of_files(&text(&one, "", "").replace("\"]", &both)).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let client = Client::http2(weir.web()).await;
        for _ in 0..90 {
            let mut client = client.another();
            held.push(tokio::spawn(async move { client.get("/late").await.status }));
        }
    }
    weir.logged_where("a request without descriptor", |line| line["error"] == "no file descriptor left").await;
    is_short(&weir, true).await;
    for endpoint in [&one, &other] {
        assert_eq!(weir.endpoint("web", endpoint.address).await["state"], "healthy");
        endpoint.open();
    }
    let mut statuses = Vec::new();
    for held in held {
        statuses.push(held.await.unwrap().as_u16());
    }
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&200), "nobody was served: {statuses:?}");
    is_short(&weir, false).await;
    assert_eq!(get(weir.web(), "/").await.status, 200);
}

/// A connection to what never stops sending, of which much has come.
async fn streaming(weir: &Weir) -> Raw {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let mut raw = Raw::of(socket.connect(weir.web()).await.unwrap());
    raw.exactly(512 << 10).await;
    raw
}

/// Descriptors of the process, and how many of them are those of pipes.
fn open(weir: &Weir) -> (usize, usize) {
    let all = std::fs::read_dir(format!("/proc/{}/fd", weir.pid())).unwrap();
    let links: Vec<_> = all.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok()).collect();
    let pipes = links.iter().filter(|link| link.to_string_lossy().starts_with("pipe:")).count();
    (links.len(), pipes)
}

/// What moves much does so through a pipe of two descriptors: not where connections need them.
#[tokio::test]
async fn pipes_leave_descriptors_to_connections() {
    let source = RawEndpoint::start(|mut raw, _| async move {
        let octets = vec![7; 64 << 10];
        while raw.try_send(&octets).await.is_ok() {}
    })
    .await;
    let weir = short_of_files(&format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\nprotocol = \"tcp\"\ncluster = \"source\"\n\
         [clusters.source]\nendpoints = [\"{}\"]\n",
        source.address
    ))
    .await;
    let (_, before) = open(&weir);
    let mut streams = Vec::new();
    for _ in 0..45 {
        streams.push(streaming(&weir).await);
    }
    let (all, pipes) = open(&weir);
    assert!(pipes > before + 20, "{pipes} of {all}");
    assert!(all < FILES as usize * 7 / 8, "{all}");
    assert_eq!(weir.status().await["short_of"], serde_json::json!([]));
    // So many more find room only when pipes are given up.
    let further = (FILES as usize * 7 / 8 + 8 - all).div_ceil(2);
    let further: Vec<_> = (0..further).map(|_| streaming(&weir)).collect();
    let all_are_served = join_all(further);
    let others_go_on = async {
        loop {
            join_all(streams.iter_mut().map(|stream| stream.exactly(64 << 10))).await;
        }
    };
    let further = tokio::select! {
        further = all_are_served => further,
        () = others_go_on => unreachable!(),
    };
    assert_eq!(weir.command(Method::GET, "/healthz", "").await.status, 200);
    drop((streams, further));
    is_short(&weir, false).await;
}
