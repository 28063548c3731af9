//! Which endpoint a request goes to, by each algorithm, between real endpoints.

use std::{
    cell::Cell,
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::Method;
use tokio::{sync::Semaphore, time::sleep};

use super::{
    attempts::waiting,
    harness::{
        Client, Endpoint, Raw, RawEndpoint, Reply, Reserved, Setup, Weir, channel, empty, eventually, plain_of,
        request, until,
    },
};

const BY_USER: &str = r#"balance = { hash = { header = "x-user" } }"#;
const USERS: usize = 24;

async fn three() -> [Endpoint; 3] {
    [Endpoint::start("a").await, Endpoint::start("b").await, Endpoint::start("c").await]
}

fn addresses(endpoints: &[Endpoint]) -> Vec<SocketAddr> {
    endpoints.iter().map(|endpoint| endpoint.address).collect()
}

async fn ask(weir: &Weir, path: &str, header: Option<(&str, &str)>) -> Reply {
    let asked = request(Method::GET, path);
    let asked = if let Some((name, value)) = header { asked.header(name, value) } else { asked };
    Client::http1(weir.web()).await.ask(asked.body(empty()).unwrap()).await
}

/// Which endpoint each user meets; twice, over fresh connections and so by any worker.
async fn homes(weir: &Weir) -> BTreeMap<String, String> {
    let mut homes = BTreeMap::new();
    for user in (0..USERS).chain(0..USERS).map(|number| format!("user-{number}")) {
        let met = ask(weir, "/", Some(("x-user", &user))).await.text().to_owned();
        let before = homes.insert(user, met.clone());
        assert!(before.is_none_or(|before| before == met));
    }
    homes
}

#[tokio::test]
async fn a_user_meets_the_same_endpoint_and_a_removal_moves_only_its_users() {
    for balance in [BY_USER, r#"balance = { hash = { header = "x-user" }, algorithm = "maglev" }"#] {
        let endpoints = three().await;
        let checks =
            r#"health = { http = { path = "/health" }, interval = "20ms", timeout = "5s", fall = 1, rise = 1 }"#;
        let weir = Weir::before_with(&addresses(&endpoints), &format!("{balance}\n{checks}")).await;
        let before = homes(&weir).await;
        let out = &endpoints[0];
        assert!(before.values().any(|met| met == out.name) && before.values().any(|met| met != out.name));
        out.set_healthy(false);
        weir.endpoint_is("web", out.address, "unhealthy").await;
        for (user, met) in homes(&weir).await {
            assert!(met != out.name && (met == before[&user] || before[&user] == out.name), "{user}");
        }
        out.set_healthy(true);
        weir.endpoint_is("web", out.address, "healthy").await;
        assert_eq!(homes(&weir).await, before);
    }
}

#[tokio::test]
async fn an_endpoint_that_refuses_gives_its_users_to_the_next() {
    let endpoints = three().await;
    let weir = Weir::before_with(&addresses(&endpoints), BY_USER).await;
    let before = homes(&weir).await;
    let [a, _b, _c] = endpoints;
    let _refusing: Reserved = a.stop().await;
    for (user, met) in homes(&weir).await {
        assert!(met != "a" && (met == before[&user] || before[&user] == "a"), "{user}");
    }
}

#[tokio::test]
async fn keys_come_from_where_the_cluster_says() {
    let endpoints = three().await;
    let listed = addresses(&endpoints);
    for (hash, path, header) in [
        (r#"{ cookie = "user" }"#, "/x", Some(("cookie", "a=1; user=ada"))),
        (r#"{ query = "user" }"#, "/x?a=1&user=ada", None),
        (r#""path""#, "/ada?x=1", None),
        (r#""source""#, "/x", None),
    ] {
        let weir = Weir::before_with(&listed, &format!("balance = {{ hash = {hash} }}")).await;
        let home = ask(&weir, path, header).await.text().to_owned();
        for _ in 0..12 {
            assert_eq!(ask(&weir, path, header).await.text(), home, "{hash}");
        }
    }
}

#[tokio::test]
async fn keyless_requests_are_spread() {
    let endpoints = three().await;
    let weir = Weir::before_with(&addresses(&endpoints), BY_USER).await;
    for _ in 0..60 {
        assert_eq!(ask(&weir, "/", None).await.status, 200);
    }
    assert!(endpoints.iter().all(|endpoint| endpoint.requests() > 4));
}

/// Opens requests that stay under way, one after the other.
async fn hang(weir: &Weir, endpoints: &[Endpoint], count: usize, user: &str) -> Vec<tokio::task::JoinHandle<()>> {
    let before: usize = endpoints.iter().map(Endpoint::requests).sum();
    let mut open = Vec::new();
    for number in 1..=count {
        let mut client = Client::http1(weir.web()).await;
        let asked = request(Method::GET, "/late").header("x-user", user).body(empty()).unwrap();
        open.push(tokio::spawn(async move { drop(client.send(asked).await) }));
        until("the request to arrive", || endpoints.iter().map(Endpoint::requests).sum::<usize>() == before + number)
            .await;
    }
    open
}

fn loads(endpoints: &[Endpoint]) -> Vec<usize> {
    let mut loads: Vec<_> = endpoints.iter().map(Endpoint::requests).collect();
    loads.sort_unstable();
    loads
}

#[tokio::test]
async fn a_bounded_load_spills_to_the_next() {
    let endpoints = three().await;
    let balance = r#"balance = { hash = { header = "x-user" }, balance-factor = 1.5 }"#;
    let weir = Weir::before_with(&addresses(&endpoints), balance).await;
    let _open = hang(&weir, &endpoints, 12, "ada").await;
    let loads = loads(&endpoints);
    assert!(loads[2] <= 6 && loads[1] > 0, "of 12, none beyond 1.5 times a third: {loads:?}");
    let weir = Weir::before_with(&addresses(&endpoints), BY_USER).await;
    let before: Vec<_> = endpoints.iter().map(Endpoint::requests).collect();
    let _open = hang(&weir, &endpoints, 6, "ada").await;
    let more: Vec<_> = endpoints.iter().zip(before).map(|(endpoint, before)| endpoint.requests() - before).collect();
    assert!(more.contains(&6), "without a bound all go home: {more:?}");
}

#[tokio::test]
async fn endpoints_fill_in_order() {
    let endpoints = three().await;
    let weir = Weir::before_with(&addresses(&endpoints), "balance = { first = { max-requests = 2 } }").await;
    let open = hang(&weir, &endpoints, 5, "any").await;
    assert_eq!(endpoints.each_ref().map(Endpoint::requests), [2, 2, 1]);
    endpoints[0].open();
    for request in open.into_iter().take(2) {
        request.await.unwrap();
    }
    assert_eq!(ask(&weir, "/", None).await.text(), "a", "room again");
}

#[tokio::test]
async fn the_full_choice_finds_the_idle_one() {
    let endpoints = three().await;
    let weir = Weir::before_with(&addresses(&endpoints), r#"balance = { least-request = "full" }"#).await;
    let _open = hang(&weir, &endpoints, 6, "any").await;
    assert_eq!(endpoints.each_ref().map(Endpoint::requests), [2, 2, 2]);
}

#[tokio::test]
async fn least_time_avoids_the_slow_one() {
    let endpoints = three().await;
    let weir = Weir::before_with(&addresses(&endpoints), r#"balance = { least-time = { decay = "1d" } }"#).await;
    let mut waiting = hang(&weir, &endpoints, 1, "any").await;
    let slow = endpoints.iter().position(|endpoint| endpoint.requests() == 1).unwrap();
    // Its first answer takes as long as all these; until then it gets no other request.
    for _ in 0..100 {
        assert_eq!(ask(&weir, "/", None).await.status, 200);
    }
    endpoints[slow].open();
    waiting.remove(0).await.unwrap();
    for _ in 0..30 {
        assert_eq!(ask(&weir, "/", None).await.status, 200);
    }
    assert_eq!(endpoints[slow].requests(), 1);
}

#[tokio::test]
async fn least_time_does_not_blame_an_endpoint_for_a_slow_client() {
    let endpoints = three().await;
    let weir = Weir::before_with(&addresses(&endpoints), r#"balance = { least-time = { decay = "1d" } }"#).await;
    let (sender, body) = channel();
    sender.data("slow");
    let mut client = Client::http1(weir.web()).await;
    let upload = tokio::spawn(async move { client.ask(request(Method::POST, "/count").body(body).unwrap()).await });
    until("the upload", || endpoints.iter().any(|endpoint| endpoint.requests() == 1)).await;
    let asked = endpoints.iter().position(|endpoint| endpoint.requests() == 1).unwrap();
    for _ in 0..300 {
        assert_eq!(ask(&weir, "/", None).await.status, 200);
    }
    assert_eq!(endpoints[asked].requests(), 1);
    sender.data("ly");
    drop(sender);
    assert_eq!(upload.await.unwrap().text(), "6");
    for _ in 0..300 {
        assert_eq!(ask(&weir, "/", None).await.status, 200);
    }
    assert!(endpoints[asked].requests() > 1, "it has answered at once");
}

/// What an endpoint takes for an answer: more than for a failure, and less than what it must not be blamed for.
const TAKEN: Duration = Duration::from_millis(10);

/// Answers what has no body, and closes where it has all of another.
async fn breaking_off(asked: &Arc<AtomicUsize>) -> RawEndpoint {
    let asked = Arc::clone(asked);
    RawEndpoint::start(move |mut raw, _| {
        let asked = Arc::clone(&asked);
        async move {
            loop {
                let head = raw.head().await;
                asked.fetch_add(1, SeqCst);
                if head.starts_with("POST") {
                    raw.until("slowly").await;
                    return;
                }
                sleep(TAKEN).await;
                raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn least_time_does_not_blame_an_endpoint_that_fails_for_a_slow_client() {
    let asked: [Arc<AtomicUsize>; 3] = Default::default();
    let endpoints = [breaking_off(&asked[0]).await, breaking_off(&asked[1]).await, breaking_off(&asked[2]).await];
    let addresses = endpoints.each_ref().map(|endpoint| endpoint.address);
    let weir = Weir::before_with(&addresses, r#"balance = { least-time = { decay = "1d" } }"#).await;
    let mut upload = Raw::connect(weir.web()).await;
    upload.send("POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 6\r\n\r\nslow").await;
    until("the upload", || asked.iter().any(|asked| asked.load(SeqCst) == 1)).await;
    let one = asked.iter().find(|asked| asked.load(SeqCst) == 1).unwrap();
    for _ in 0..30 {
        assert_eq!(ask(&weir, "/", None).await.status, 200);
    }
    upload.send("ly").await;
    assert!(upload.head().await.starts_with("HTTP/1.1 502 "));
    for _ in 0..30 {
        assert_eq!(ask(&weir, "/", None).await.status, 200);
    }
    assert!(one.load(SeqCst) > 1, "it has failed at once");
}

/// Answers, but all of `/held` only when it is let go, and what is posted not at all.
async fn holding(posts: &Arc<AtomicUsize>, asked: &Arc<AtomicUsize>, go: &Arc<Semaphore>) -> RawEndpoint {
    let (posts, asked, go) = (Arc::clone(posts), Arc::clone(asked), Arc::clone(go));
    RawEndpoint::start(move |mut raw, _| {
        let (posts, asked, go) = (Arc::clone(&posts), Arc::clone(&asked), Arc::clone(&go));
        async move {
            loop {
                let head = raw.head().await;
                asked.fetch_add(1, SeqCst);
                if head.starts_with("POST") {
                    posts.fetch_add(1, SeqCst);
                    return;
                }
                sleep(TAKEN).await;
                raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").await;
                if head.starts_with("GET /held") {
                    go.acquire().await.unwrap().forget();
                }
                raw.send("ok").await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn least_time_does_not_blame_an_endpoint_that_fails_for_the_queue() {
    let (posts, asked): ([Arc<AtomicUsize>; 3], [Arc<AtomicUsize>; 3]) = Default::default();
    let go = Arc::new(Semaphore::new(0));
    let mut endpoints = Vec::new();
    for (posts, asked) in posts.iter().zip(&asked) {
        endpoints.push(holding(posts, asked, &go).await);
    }
    let listed: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect();
    let config = format!(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        [[routes]]
        name = "ping"
        match = {{ path = "/ping" }}
        respond = {{ status = 200 }}
        [[routes]]
        name = "all"
        cluster = "web"
        [clusters.web]
        endpoints = {listed:?}
        balance = {{ least-time = {{ decay = "1d" }} }}
        limits = {{ requests = 1 }}
        queue = {{ length = 9, timeout = "60s" }}
        "#
    );
    let weir = Setup::new(&config).start().await;
    let mut held = Raw::connect(weir.web()).await;
    held.send("GET /held HTTP/1.1\r\nHost: weir.test\r\n\r\n").await;
    until("the request that holds all up", || asked.iter().any(|asked| asked.load(SeqCst) == 1)).await;
    let mut queued = Raw::connect(weir.web()).await;
    queued.send("POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 0\r\n\r\n").await;
    waiting(&weir, 1.0).await;
    for _ in 0..300 {
        assert_eq!(ask(&weir, "/ping", None).await.status, 200);
    }
    go.add_permits(1);
    assert!(queued.head().await.starts_with("HTTP/1.1 502 "));
    for _ in 0..30 {
        assert_eq!(ask(&weir, "/", None).await.status, 200);
    }
    let one = posts.iter().position(|posts| posts.load(SeqCst) == 1).unwrap();
    assert!(asked[one].load(SeqCst) > 1, "it has failed at once");
}

#[test]
fn the_check_says_how_requests_are_spread() {
    let checked = Setup::new(&plain_of("[\"127.0.0.1:9001\"]", BY_USER)).check();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("balance: by header x-user on a ketama ring; without it random"), "{said}");
}

const BUSY: &str = "HTTP/1.1 200 OK\r\nEndpoint-Load-Metrics: TEXT cpu_utilization=0.8, rps_fractional=100\r\n\
                    Content-Length: 4\r\n\r\nbusy";
const QUIET: &str = "HTTP/1.1 200 OK\r\nEndpoint-Load-Metrics: JSON {\"cpu_utilization\":0.2,\"rpsFractional\":100}\r\n\
                     Content-Length: 5\r\n\r\nquiet";
const WRONG: &str =
    "HTTP/1.1 200 OK\r\nEndpoint-Load-Metrics: TEXT cpu_utilization=much\r\nContent-Length: 2\r\n\r\nok";

/// The percents of the weights of these endpoints.
async fn percents(weir: &Weir, endpoints: [&RawEndpoint; 2]) -> [u64; 2] {
    let mut percents = [0; 2];
    for (percent, endpoint) in percents.iter_mut().zip(endpoints) {
        *percent = weir.endpoint("web", endpoint.address).await["weight_percent"].as_u64().unwrap();
    }
    percents
}

#[tokio::test]
async fn load_reports_move_requests_to_the_quiet_endpoint() {
    let (busy, quiet) = (RawEndpoint::answering(BUSY).await, RawEndpoint::answering(QUIET).await);
    let weir = Weir::before_with(&[busy.address, quiet.address], "load-reports = {}").await;
    let mut client = Client::http1(weir.web()).await;
    for _ in 0..4 {
        assert_eq!(client.get("/").await.header("endpoint-load-metrics"), "", "not the client's business");
    }
    assert_eq!(percents(&weir, [&busy, &quiet]).await, [100, 100]);
    let asked = Cell::new(4_u32);
    eventually("weights to follow the reports", || async {
        for _ in 0..4 {
            ask(&weir, "/", None).await;
            asked.set(asked.get() + 1);
        }
        (percents(&weir, [&busy, &quiet]).await == [40, 160]).then_some(())
    })
    .await;
    let mut met = 0;
    for _ in 0..100 {
        met += usize::from(client.get("/").await.text() == "quiet");
    }
    assert!((76..=84).contains(&met), "{met} of 100 where 80 are due");
    assert_eq!(
        weir.metric(r#"weir_load_reports_total{cluster="web",result="used"}"#).await,
        f64::from(asked.get() + 100)
    );
}

#[tokio::test]
async fn reports_may_be_kept_and_are_only_read_where_asked_for() {
    let quiet = RawEndpoint::answering(QUIET).await;
    let told = r#"JSON {"cpu_utilization":0.2,"rpsFractional":100}"#;
    let weir = Weir::before_with(&[quiet.address], "load-reports = { keep = true }").await;
    assert_eq!(Client::http1(weir.web()).await.get("/").await.header("endpoint-load-metrics"), told);
    assert_eq!(weir.metric(r#"weir_load_reports_total{cluster="web",result="used"}"#).await, 1.0);
    let weir = Weir::before(&[quiet.address]).await;
    assert_eq!(Client::http1(weir.web()).await.get("/").await.header("endpoint-load-metrics"), told);
    assert!(!weir.metrics().await.contains("weir_load_reports_total{"));
}

#[tokio::test]
async fn a_report_that_is_none_is_counted_and_harms_nothing() {
    let wrong = RawEndpoint::answering(WRONG).await;
    let weir = Weir::before_with(&[wrong.address], "load-reports = {}").await;
    let reply = Client::http1(weir.web()).await.get("/").await;
    assert_eq!((reply.text(), reply.header("endpoint-load-metrics")), ("ok", ""));
    assert_eq!(weir.metric(r#"weir_load_reports_total{cluster="web",result="unusable"}"#).await, 1.0);
}

/// `cpu_utilization` 0.5 and `rps_fractional` 100.
const BINARY: &str = "CQAAAAAAAOA/MQAAAAAAAFlA";

#[tokio::test]
async fn reports_may_be_binary_and_in_trailers() {
    let header = format!("endpoint-load-metrics-bin: {BINARY}\r\n");
    let trailer = format!("x-sum: 2\r\n{header}");
    let endpoint = RawEndpoint::start(move |mut raw, _| {
        let (header, trailer) = (header.clone(), trailer.clone());
        async move {
            loop {
                let answer = match raw.head().await.contains("/trailers") {
                    true => {
                        format!("Transfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\n{trailer}\r\n")
                    }
                    false => format!("{header}Content-Length: 2\r\n\r\nok"),
                };
                raw.send(format!("HTTP/1.1 200 OK\r\n{answer}")).await;
            }
        }
    })
    .await;
    let weir = Weir::before_with(&[endpoint.address], "load-reports = {}").await;
    let used = r#"weir_load_reports_total{cluster="web",result="used"}"#;
    let mut client = Client::http2(weir.web()).await;
    let reply = client.get("/header").await;
    assert_eq!((reply.text(), reply.header("endpoint-load-metrics-bin")), ("ok", ""));
    assert_eq!(weir.metric(used).await, 1.0);
    let reply = client.get("/trailers").await;
    let trailers = reply.trailers.clone().unwrap();
    assert_eq!((reply.text(), &trailers["x-sum"]), ("ok", &"2".parse().unwrap()));
    assert!(!trailers.contains_key("endpoint-load-metrics-bin"), "not the client's business");
    assert_eq!(weir.metric(used).await, 2.0);
}
