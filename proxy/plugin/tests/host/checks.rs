//! Health checks reach their target and nothing else, and end in time.

use std::{
    future::{pending, ready},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use weir_config::Plugin;
use weir_plugin::{BoxFuture, Failure, HealthState, HealthVerdict, Role, Skip, Target, TargetRequest, TargetResponse};

use crate::harness::{Stage, plugin};

/// An endpoint that answers by number, or never.
struct Endpoint {
    status: Option<u16>,
    said: Mutex<Vec<u8>>,
}

impl Target for Endpoint {
    fn name(&self) -> String {
        "127.0.0.1:9".into()
    }
    fn label(&self, _: &str) -> Option<String> {
        None
    }
    fn http(&self, request: TargetRequest) -> BoxFuture<'_, Result<TargetResponse, String>> {
        assert_eq!((&*request.method, &*request.path), ("GET", "/health"));
        match self.status {
            Some(status) => {
                let body = b"all well".to_vec();
                Box::pin(ready(Ok(TargetResponse { status, headers: vec![], body })))
            }
            None => Box::pin(pending()),
        }
    }
    fn open(&self) -> BoxFuture<'_, Result<u32, String>> {
        Box::pin(ready(Ok(3)))
    }
    fn write(&self, connection: u32, bytes: Vec<u8>) -> BoxFuture<'_, Result<(), String>> {
        assert_eq!(connection, 3);
        self.said.lock().unwrap().extend(bytes);
        Box::pin(ready(Ok(())))
    }
    fn read(&self, _: u32, _: u32) -> BoxFuture<'_, Result<Vec<u8>, String>> {
        let said = self.said.lock().unwrap().clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(said)
        })
    }
    fn close(&self, _: u32) {}
}

async fn check(stage: &Stage, what: &str, status: Option<u16>) -> Result<HealthVerdict, Failure> {
    let target = Arc::new(Endpoint { status, said: Mutex::default() });
    stage.host.check(&stage.bind(Role::Health, what), target, Duration::from_millis(300)).await
}

#[tokio::test]
async fn a_check_tells_what_the_endpoint_said() {
    let stage = Stage::new();
    let well = check(&stage, "http", Some(200)).await.unwrap();
    let expected = HealthVerdict { state: HealthState::Healthy, weight_percent: 100, why: "all well".into() };
    assert_eq!(well, expected);
    let ill = check(&stage, "http", Some(500)).await.unwrap();
    assert_eq!((ill.state, &*ill.why), (HealthState::Degraded, "status 500"));
    let spoken = check(&stage, "stream", None).await.unwrap();
    assert_eq!((spoken.state, &*spoken.why), (HealthState::Healthy, "ping"));
    let drained = check(&stage, "drain", None).await.unwrap();
    assert_eq!((drained.state, drained.weight_percent), (HealthState::Drain, 50));
    assert!(stage.page().contains("weir_plugin_calls_total{plugin=\"misbehave\",role=\"health\"} 4\n"));
    assert!(stage.page().contains("weir_plugin_instances{plugin=\"misbehave\"} 1\n"), "one guest served all");
}

#[tokio::test]
async fn a_silent_endpoint_leaves_the_guest_time_to_say_so() {
    let stage = Stage::new();
    let silent = check(&stage, "http", None).await.unwrap();
    assert_eq!((silent.state, &*silent.why), (HealthState::Unhealthy, "timed out"));
}

#[tokio::test]
async fn a_loop_blocks_nobody_and_ends_with_the_timeout() {
    let stage = Stage::new();
    let begun = Instant::now();
    let beside = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        for _ in 0..5 {
            ticks.tick().await;
        }
        begun.elapsed()
    };
    let (looped, beside) = tokio::join!(check(&stage, "loop", None), beside);
    assert_eq!(looped, Err(Failure::Deadline));
    assert!(beside < Duration::from_millis(250), "others waited: {beside:?}");
    assert_eq!(check(&stage, "http", Some(200)).await.unwrap().state, HealthState::Healthy);
}

#[tokio::test]
async fn a_failed_check_is_no_verdict() {
    let stage = Stage::new();
    assert_eq!(check(&stage, "trap", None).await, Err(Failure::Trap));
    assert_eq!(check(&stage, "memory", None).await, Err(Failure::Memory));
    assert_eq!(check(&stage, "recurse", None).await, Err(Failure::Trap));
    assert_eq!(check(&stage, "heavy", None).await.unwrap_err().kind(), "bad-answer");
}

#[tokio::test]
async fn many_checks_run_at_once() {
    let stage = Stage::new();
    let begun = Instant::now();
    let checks: Vec<_> = (0..20).map(|_| check(&stage, "http", None)).collect();
    let mut running = Vec::from_iter(checks.into_iter().map(Box::pin));
    for check in &mut running {
        // Each is begun here and waits for its endpoint.
        std::future::poll_fn(|context| {
            let _ = Future::poll(check.as_mut(), context);
            std::task::Poll::Ready(())
        })
        .await;
    }
    for check in running {
        assert_eq!(check.await.unwrap().state, HealthState::Unhealthy);
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_loop_ends_once_it_has_had_its_cpu_time() {
    let stage = Stage::with(Plugin { check_cpu: Duration::from_millis(20), ..plugin("misbehave", &[]) });
    let target = Arc::new(Endpoint { status: None, said: Mutex::default() });
    // A timeout that the test would not survive.
    let (bound, far) = (stage.bind(Role::Health, "loop"), Duration::from_secs(3_600));
    assert_eq!(stage.host.check(&bound, target, far).await, Err(Failure::Deadline));
}

#[tokio::test]
async fn checks_that_fail_in_a_row_are_not_made_for_a_while() {
    let stage = Stage::new();
    let (_held, mut failures) = (stage.bind(Role::Health, "trap"), Vec::new());
    for _ in 0..7 {
        failures.push(check(&stage, "trap", None).await.unwrap_err());
    }
    let skipped = Failure::Skipped(Skip::Breaker);
    assert_eq!(failures[3..], [Failure::Trap, Failure::Trap, skipped.clone(), skipped]);
    assert_eq!(check(&stage, "http", Some(200)).await.unwrap().state, HealthState::Healthy, "another binding");
    let open = stage.host.open_breakers("misbehave");
    assert_eq!((open.len(), open[0].worker, open[0].role), (1, None, Role::Health));
}
