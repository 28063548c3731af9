//! Routes that move their requests to another cluster, and back when that is worse.

use http::{Method, StatusCode};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::harness::{Client, Endpoint, Raw, RawEndpoint, Weir, empty, eventually_within, request, run};

const LONG: std::time::Duration = std::time::Duration::from_secs(60);

/// Clients that ask until they are dropped.
struct Load(Vec<JoinHandle<()>>);

impl Load {
    fn start(address: std::net::SocketAddr, clients: usize) -> Load {
        Load((0..clients).map(|_| tokio::spawn(ask(address))).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

async fn ask(address: std::net::SocketAddr) {
    let mut client = Client::http1(address).await;
    loop {
        client.get("/").await;
    }
}

fn config(from: std::net::SocketAddr, to: std::net::SocketAddr, rollout: &str) -> String {
    format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"api\"\n\
         rollout = {{ from = \"stable\", to = \"next\", interval = \"300ms\", min-requests = 20, {rollout} }}\n\
         [clusters.stable]\nendpoints = [\"{from}\"]\n[clusters.next]\nendpoints = [\"{to}\"]\n"
    )
}

async fn rollout(weir: &Weir) -> Value {
    weir.command(Method::GET, "/v1/rollouts", "").await.json()["rollouts"][0].clone()
}

async fn reaches(weir: &Weir, phase: &str) -> Value {
    eventually_within(LONG, phase, || async {
        let rollout = rollout(weir).await;
        (rollout["phase"] == phase).then_some(rollout)
    })
    .await
}

/// As many answers as are surely judged alike, however busy the machine.
const TOLERANT: &str = "max-latency-increase = 100000, steps = [20, 60, 100]";

#[tokio::test]
async fn it_advances_to_the_end() {
    let (stable, next) = (Endpoint::start("stable").await, Endpoint::start("next").await);
    let weir = Weir::start(&config(stable.address, next.address, TOLERANT)).await;
    let _load = Load::start(weir.web(), 4);
    let complete = reaches(&weir, "complete").await;
    assert_eq!((&complete["percent"], &complete["route"]), (&100.into(), &"api".into()));
    assert!(complete["why"].as_str().unwrap().starts_with("not worse in "), "{complete}");
    for percent in [20, 60, 100] {
        let message = if percent == 20 { "rollout begins" } else { "rollout advances" };
        weir.said_where(message, |line| line["percent"] == percent && line["route"] == "api").await;
    }
    weir.said("rollout complete").await;
    let mut client = Client::http1(weir.web()).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.text(), "next");
    }
    assert!(stable.requests() > 0);
    assert_eq!(weir.metric("weir_rollout_percent{route=\"api\"}").await, 100.0);
    assert_eq!(weir.metric("weir_rollout_phase{route=\"api\",phase=\"complete\"}").await, 1.0);
    assert_eq!(weir.metric("weir_rollout_phase{route=\"api\",phase=\"rolling\"}").await, 0.0);
}

#[tokio::test]
async fn errors_send_it_back() {
    let stable = Endpoint::start("stable").await;
    let next = RawEndpoint::answering("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n").await;
    let weir = Weir::start(&config(stable.address, next.address, TOLERANT)).await;
    let _load = Load::start(weir.web(), 4);
    let back = reaches(&weir, "rolled-back").await;
    assert_eq!(back["percent"], 0);
    assert!(back["why"].as_str().unwrap().contains("100.0 % errors"), "{back}");
    let line = weir.said("rollout rolled back").await;
    assert_eq!((&line["level"], &line["why"]), (&"WARN".into(), &back["why"]));
    let mut client = Client::http1(weir.web()).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.text(), "stable");
    }
    assert_eq!(weir.status().await["rollouts"][0]["phase"], "rolled-back");
}

/// Answers on kept connections, after a while that no busy machine takes by accident.
async fn slow() -> RawEndpoint {
    RawEndpoint::start(|mut raw: Raw, _| async move {
        loop {
            raw.head().await;
            tokio::time::sleep(std::time::Duration::from_millis(1_000)).await;
            raw.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow").await;
        }
    })
    .await
}

#[tokio::test]
async fn slowness_sends_it_back() {
    let (stable, next) = (Endpoint::start("stable").await, slow().await);
    let steps = "max-latency-increase = 50, steps = [50, 100]";
    let weir = Weir::start(&config(stable.address, next.address, steps)).await;
    let _load = Load::start(weir.web(), 16);
    let back = reaches(&weir, "rolled-back").await;
    assert!(back["why"].as_str().unwrap().starts_with("95 % of next take up to"), "{back}");
    assert!(back["to"]["latency_us"].as_u64() > back["from"]["latency_us"].as_u64(), "{back}");
}

#[tokio::test]
async fn it_waits_for_requests_and_keeps_a_client_on_its_side() {
    let (stable, next) = (Endpoint::start("stable").await, Endpoint::start("next").await);
    let rolling = format!("{TOLERANT}, key = {{ header = \"x-user\" }}");
    let weir = Weir::start(&config(stable.address, next.address, &rolling)).await;
    let asked = |user: usize| request(Method::GET, "/").header("x-user", format!("u{user}")).body(empty()).unwrap();
    let mut client = Client::http1(weir.web()).await;
    let mut met = vec![];
    for user in 0..50 {
        met.push(client.ask(asked(user)).await.text().to_owned());
    }
    eventually_within(LONG, "a word on what it waits for", || async {
        rollout(&weir).await["why"].as_str().unwrap().contains("of 20 requests").then_some(())
    })
    .await;
    assert_eq!(rollout(&weir).await["step"], 1);
    for order in ["advance", "pause"] {
        let reply = weir.command(Method::POST, &format!("/v1/rollouts/api/{order}"), "").await;
        assert_eq!((reply.status, &reply.json()["percent"]), (StatusCode::OK, &60.into()));
    }
    for (user, before) in met.iter().enumerate() {
        let now = client.ask(asked(user)).await.text().to_owned();
        assert!(*before == now || now == "next", "user {user} went from {before} to {now}");
    }
}

#[tokio::test]
async fn operators_steer_it_from_the_command_line() {
    let (stable, next) = (Endpoint::start("stable").await, Endpoint::start("next").await);
    let text = config(stable.address, next.address, "steps = [5, 25, 100], max-latency-increase = 100000");
    let mut weir = Weir::start(&text).await;
    let admin = weir.admin.to_string();
    let say = |arguments: &[&str]| {
        let done = run(&[&["rollout"], arguments, &["--admin", &admin]].concat());
        let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
        (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
    };
    assert_eq!(say(&["pause", "api"]), (0, "api is paused, with 5 % on next\n".into(), String::new()));
    let (code, _, why) = say(&["pause", "api"]);
    assert_eq!((code, why.as_str()), (1, "error: rollout api: it is paused already\n"));
    let (_, list, _) = say(&["list"]);
    assert!(list.lines().nth(1).unwrap().starts_with("api    paused  5 %    next"), "{list}");
    assert_eq!(say(&["advance", "api"]).1, "api is rolling, with 25 % on next\n");
    // What changes elsewhere leaves it where it is; a change of its own begins anew.
    weir.reload(&format!("{text}idle-timeout = \"7s\"\n")).await.unwrap();
    assert_eq!(rollout(&weir).await["percent"], 25);
    assert_eq!(say(&["rollback", "api"]).1, "api is rolled-back, with 0 % on next\n");
    assert_eq!(Client::http1(weir.web()).await.get("/").await.text(), "stable");
    assert_eq!(say(&["advance", "api"]).2, "error: rollout api: it is rolled back: restart it\n");
    assert_eq!(say(&["restart", "api"]).1, "api is rolling, with 5 % on next\n");
    assert_eq!(say(&["pause", "api"]).0, 0);
    assert_eq!(say(&["resume", "api"]).1, "api is rolling, with 5 % on next\n");
    let (code, _, why) = say(&["pause", "web"]);
    assert_eq!((code, why.as_str()), (1, "error: there is no rollout on route web; there are: api\n"));
    weir.reload(&text.replace("[5, 25, 100]", "[10, 100]")).await.unwrap();
    assert_eq!(rollout(&weir).await["percent"], 10);
    weir.reload(&text.replace("rollout = ", "split = { stable = 1, next = 1 }\n#")).await.unwrap();
    assert_eq!(say(&["list"]).1, "no rollouts\n");
}
