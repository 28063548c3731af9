//! Bodies of any size at flat memory, each as fast as its receiver.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Method, Request, Response, header::CONTENT_LENGTH};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{net::TcpSocket, task::AbortHandle};

use super::harness::{Body, Client, Endpoint, Raw, RawEndpoint, Reply, Weir, empty, get, octets, request, soon, until};

const GIB: u64 = 1 << 30;
/// More than all buffers on the way hold, the system's included.
const BUFFERS: u64 = 64 << 20;
/// What a process may grow by however long a body is.
const FLAT: u64 = 24 << 20;

/// Watches the memory of a process until it is dropped.
struct Peak(Arc<AtomicU64>, AbortHandle);

impl Peak {
    fn of(weir: &Weir) -> Peak {
        let (peak, path) = (Arc::new(AtomicU64::new(0)), format!("/proc/{}/statm", weir.pid()));
        let kept = Arc::clone(&peak);
        let watch = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            loop {
                ticks.tick().await;
                let Ok(pages) = std::fs::read_to_string(&path) else { return };
                let resident: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
                kept.fetch_max(resident * 4096, SeqCst);
            }
        });
        Peak(peak, watch.abort_handle())
    }
}

impl Drop for Peak {
    fn drop(&mut self) {
        self.1.abort();
    }
}

async fn drain(response: Response<Incoming>) -> u64 {
    let (mut body, mut length) = (response.into_body(), 0);
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().data_ref().map_or(0, |data| data.len() as u64);
    }
    length
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_comes_down_at_flat_memory() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::before(&[endpoint.address]).await;
    let mut client = Client::http1(weir.web()).await;
    client.get("/octets/1000000").await;
    let (before, peak) = (weir.rss(), Peak::of(&weir));
    let response = client.send(request(Method::GET, &format!("/octets/{GIB}")).body(empty()).unwrap()).await.unwrap();
    assert_eq!(drain(response).await, GIB);
    let grown = peak.0.load(SeqCst).saturating_sub(before);
    assert!(grown < FLAT, "grew by {grown}");
    assert_eq!(weir.logged(&format!("/octets/{GIB}")).await["bytes_out"], GIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_goes_up_at_flat_memory() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::before(&[endpoint.address]).await;
    let mut client = Client::http1(weir.web()).await;
    client.post("/count", vec![b'x'; 1_000_000]).await;
    let (before, peak) = (weir.rss(), Peak::of(&weir));
    let response = client.send(request(Method::POST, "/count").body(octets(GIB, false)).unwrap()).await.unwrap();
    let counted = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(counted, GIB.to_string());
    let grown = peak.0.load(SeqCst).saturating_sub(before);
    assert!(grown < FLAT, "grew by {grown}");
}

/// Sends a body without end and counts what was taken of it.
async fn firehose() -> (RawEndpoint, Arc<AtomicU64>) {
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let endpoint = RawEndpoint::start(move |mut raw, _| {
        let count = Arc::clone(&count);
        async move {
            raw.head().await;
            raw.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1_u64 << 40)).await;
            let piece = [b'x'; 64 * 1024];
            while raw.try_send(piece).await.is_ok() {
                count.fetch_add(piece.len() as u64, SeqCst);
            }
        }
    })
    .await;
    (endpoint, sent)
}

/// Waits until a figure has stood still for a while.
async fn stalls(figure: &AtomicU64) -> u64 {
    let (mut last, mut still) = (0, 0);
    until("sending to stop", || {
        let now = figure.load(SeqCst);
        still = if now == last && now > 0 { still + 1 } else { 0 };
        last = now;
        still > 40
    })
    .await;
    last
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_endpoint() {
    let (endpoint, sent) = firehose().await;
    let weir = Weir::before(&[endpoint.address]).await;
    let mut client = Raw::connect(weir.web()).await;
    client.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    client.head().await;
    let stood = stalls(&sent).await;
    assert!(stood < BUFFERS, "{stood} octets were taken for a client that takes none");
    for _ in 0..(stood >> 20) + 8 {
        client.exactly(1 << 20).await;
    }
    until("sending to go on", || sent.load(SeqCst) > stood).await;
}

#[tokio::test]
async fn an_http2_client_that_does_not_read_stops_the_endpoint_and_no_other_stream() {
    let (endpoint, sent) = firehose().await;
    let other = Endpoint::start("other").await;
    let weir = Weir::start(&format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        [[routes]]
        name = "hose"
        match = {{ path = "/hose" }}
        cluster = "hose"
        [[routes]]
        name = "rest"
        cluster = "web"
        [clusters.hose]
        endpoints = ["{}"]
        [clusters.web]
        endpoints = ["{}"]
        "#,
        endpoint.address, other.address
    ))
    .await;
    let mut client = Client::http2(weir.web()).await;
    let response = client.send(request(Method::GET, "/hose").body(empty()).unwrap()).await.unwrap();
    let stood = stalls(&sent).await;
    assert!(stood < BUFFERS, "{stood} octets were taken for a client that takes none");
    assert_eq!(client.another().get("/").await.text(), "other");
    drop(response);
}

#[tokio::test]
async fn an_endpoint_that_does_not_read_stops_the_client() {
    let endpoint = RawEndpoint::start(|mut raw, _| async move {
        raw.head().await;
        std::future::pending().await
    })
    .await;
    let weir = Weir::before(&[endpoint.address]).await;
    let mut client = Raw::connect(weir.web()).await;
    client.send(format!("POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: {}\r\n\r\n", 1_u64 << 40)).await;
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let sending = tokio::spawn(async move {
        while client.try_send([b'x'; 64 * 1024]).await.is_ok() {
            count.fetch_add(64 * 1024, SeqCst);
        }
    });
    let stood = stalls(&sent).await;
    assert!(stood < BUFFERS, "{stood} octets were taken for an endpoint that takes none");
    sending.abort();
}

#[tokio::test]
async fn pieces_pass_as_they_come() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::before(&[endpoint.address]).await;
    for mut client in [Client::http1(weir.web()).await, Client::http2(weir.web()).await] {
        let (sender, body) = super::harness::channel();
        sender.data("one");
        let response = client.send(request(Method::POST, "/echo").body(body).unwrap()).await.unwrap();
        let mut echo = response.into_body();
        for piece in ["one", "two", "three"] {
            let frame = soon(piece, echo.frame()).await.unwrap().unwrap();
            assert_eq!(frame.data_ref().unwrap(), piece);
            let next = match piece {
                "one" => "two",
                _ => "three",
            };
            if piece != "three" {
                sender.data(next);
            }
        }
        drop(sender);
        assert_eq!(soon("the end", echo.collect()).await.unwrap().to_bytes(), "");
    }
}

/// Between two reads of a client that is slow on purpose.
const PACE: Duration = Duration::from_millis(30);

/// A client whose system takes little for it.
async fn narrow(weir: &Weir) -> Raw {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    Raw::of(socket.connect(weir.web()).await.unwrap())
}

#[tokio::test]
async fn a_slow_reader_that_goes_on_reading_gets_all() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::start(&format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\nlimits = {{ body-timeout = \"1s\" }}\n\
         [[routes]]\nname = \"web\"\ncluster = \"web\"\n[clusters.web]\nendpoints = [\"{}\"]\n",
        endpoint.address
    ))
    .await;
    let mut client = narrow(&weir).await;
    client.send(format!("GET /octets/{} HTTP/1.1\r\nHost: weir.test\r\n\r\n", 6 << 20)).await;
    client.head().await;
    for _ in 0..96 {
        tokio::time::sleep(PACE).await;
        client.exactly(64 << 10).await;
    }
}

#[tokio::test]
async fn clients_that_do_not_read_hold_up_no_other_client_of_an_http2_cluster() {
    let endpoint = Endpoint::start("a").await;
    let weir = Weir::before_with(&[endpoint.address], "http2 = true\n[process]\nworkers = 1").await;
    let mut deaf = Vec::new();
    for _ in 0..12 {
        let mut client = narrow(&weir).await;
        client.send("GET /chunks/1000000000 HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
        client.head().await;
        deaf.push(client);
    }
    stalls(endpoint.sent()).await;
    assert_eq!(get(weir.web(), "/").await.text(), "a");
    assert_eq!(get(weir.web(), "/octets/100000").await.body.len(), 100_000);
}

/// A body that counts what is taken of it.
fn upload(length: u64, told: bool, taken: &Arc<AtomicU64>) -> Request<Body> {
    let taken = Arc::clone(taken);
    let body = octets(length, false).map_frame(move |frame| {
        taken.fetch_add(frame.data_ref().map_or(0, |data| data.len() as u64), SeqCst);
        frame
    });
    let asked = request(Method::POST, "/begun");
    let asked = if told { asked.header(CONTENT_LENGTH, length) } else { asked };
    asked.body(body.boxed_unsync()).unwrap()
}

#[tokio::test]
async fn an_endpoint_that_answers_first_and_reads_later_gets_all() {
    for (http2, told) in [(false, false), (false, true), (true, false), (true, true)] {
        let endpoint = Endpoint::start("a").await;
        let weir = Weir::before_with(&[endpoint.address], &format!("http2 = {http2}")).await;
        let (taken, mut begun) = (Arc::default(), Vec::new());
        for length in (300 << 10..8 << 20).step_by(200 << 10) {
            let mut client = Client::http1(weir.web()).await;
            let response = soon("a head", client.send(upload(length, told, &taken))).await.unwrap();
            begun.push((length, client, response));
        }
        stalls(&taken).await;
        endpoint.open();
        for (length, _client, response) in begun {
            assert_eq!(Reply::read(response).await.unwrap().text(), length.to_string(), "{http2}, {told}");
        }
    }
}
