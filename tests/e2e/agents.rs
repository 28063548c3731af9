//! Agents say how their endpoints are.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use super::harness::{Endpoint, Weir, eventually, get, until};

/// Answers the question `state?` with one line.
struct Agent {
    port: u16,
    line: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

impl Agent {
    async fn start(line: &str) -> Agent {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let line = Arc::new(Mutex::new(line.to_owned()));
        let kept = Arc::clone(&line);
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let line = kept.lock().unwrap().clone();
                tokio::spawn(async move {
                    let mut asked = [0; 7];
                    stream.read_exact(&mut asked).await.unwrap();
                    assert_eq!(&asked, b"state?\n");
                    let _ = stream.write_all(format!("{line}\nmore\n").as_bytes()).await;
                });
            }
        });
        Agent { port, line, task }
    }

    fn say(&self, line: &str) {
        line.clone_into(&mut self.line.lock().unwrap());
    }
}

async fn asking(agent: &Agent, endpoint: SocketAddr) -> Weir {
    let cluster =
        format!("agent = {{ port = {}, interval = \"50ms\", timeout = \"10s\", send = \"state?\\n\" }}", agent.port);
    Weir::before_with(&[endpoint], &cluster).await
}

async fn is(weir: &Weir, endpoint: SocketAddr, state: &str, percent: u64) {
    eventually(&format!("{state} at {percent} %"), || async {
        let status = weir.endpoint("web", endpoint).await;
        (status["state"] == state && status["weight_percent"] == percent).then_some(())
    })
    .await;
}

#[tokio::test]
async fn its_words_count_at_once_and_stay_until_it_takes_them_back() {
    let (agent, endpoint) = (Agent::start("up 50% maxconn:30").await, Endpoint::start("a").await);
    let weir = asking(&agent, endpoint.address).await;
    is(&weir, endpoint.address, "healthy", 50).await;
    let weight = format!(r#"weir_endpoint_weight{{cluster="web",endpoint="{}"}}"#, endpoint.address);
    assert_eq!(weir.metric(&weight).await, 0.5);
    assert_eq!(weir.endpoint("web", endpoint.address).await["agent"]["max_connections"], 30);
    agent.say("down # disk full");
    is(&weir, endpoint.address, "unhealthy", 50).await;
    assert_eq!(weir.endpoint("web", endpoint.address).await["why"], "agent: disk full");
    assert_eq!(get(weir.web(), "/").await.status, 503);
    agent.say("drain");
    agent.say("up drain");
    is(&weir, endpoint.address, "draining", 50).await;
    agent.say("maint");
    is(&weir, endpoint.address, "maintenance", 50).await;
    agent.say("ready 100%");
    is(&weir, endpoint.address, "healthy", 100).await;
    assert_eq!(get(weir.web(), "/").await.status, 200);
}

#[tokio::test]
async fn its_silence_changes_nothing_but_is_told() {
    let (agent, endpoint) = (Agent::start("25%").await, Endpoint::start("a").await);
    let weir = asking(&agent, endpoint.address).await;
    is(&weir, endpoint.address, "healthy", 25).await;
    agent.task.abort();
    let said = weir.said("agent does not answer, its last words count on").await;
    assert_eq!(said["endpoint"], endpoint.address.to_string());
    let status = weir.endpoint("web", endpoint.address).await;
    assert_eq!((&status["state"], &status["weight_percent"]), (&"healthy".into(), &25.into()));
    assert_eq!(status["agent_check"]["ok"], false);
    for result in ["answered", "silent"] {
        let series = format!(r#"weir_agent_reports_total{{cluster="web",result="{result}"}}"#);
        assert!(weir.metric(&series).await > 0.0, "{series}");
    }
}

#[tokio::test]
async fn what_it_takes_at_a_time_is_no_more_than_its_agent_says() {
    let (agent, endpoint) = (Agent::start("up maxconn:1").await, Endpoint::start("a").await);
    let weir = asking(&agent, endpoint.address).await;
    let limit = |most: u64| {
        let (weir, address) = (&weir, endpoint.address);
        eventually("the limit", move || async move {
            (weir.endpoint("web", address).await["max_requests"] == most).then_some(())
        })
    };
    limit(1).await;
    let held = tokio::spawn(get(weir.web(), "/late"));
    until("a request to arrive", || endpoint.requests() == 1).await;
    let refused = get(weir.web(), "/").await;
    assert_eq!((refused.status.as_u16(), endpoint.requests()), (503, 1), "it waited for a second in vain");
    agent.say("maxconn:2");
    limit(2).await;
    assert_eq!(get(weir.web(), "/").await.text(), "a");
    endpoint.open();
    assert_eq!(held.await.unwrap().text(), "late");
}
