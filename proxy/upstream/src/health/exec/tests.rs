use std::{fs, future::Future, path::Path};

use weir_config::{Health, HealthKind};

use super::*;
use crate::{cluster::Cluster as Running, fixture, health::probe, standing::State};

fn config(script: &str) -> Cluster {
    let mut config = fixture::cluster(&[1]);
    let check = ExecCheck { command: "sh".to_owned(), args: vec!["-c".to_owned(), script.to_owned()] };
    config.health = Some(Health { port: Some(81), ..Health::new(HealthKind::Exec(check)) });
    config
}

async fn check(script: &str) -> Verdict {
    let config = config(script);
    let cluster = Running::build(&config, None);
    probe(&config).unwrap().unwrap().check(&cluster.endpoints()[0]).await.unwrap()
}

#[tokio::test]
async fn the_exit_decides_and_the_first_line_says_why() {
    assert_eq!(check("exit 0").await, Verdict::healthy("exit 0"));
    assert_eq!(check("echo all well; echo more").await, Verdict::healthy("exit 0: all well"));
    assert_eq!(check("echo disk full >&2; exit 3").await, Verdict::unhealthy("exit 3: disk full"));
    assert_eq!(check("kill -9 $$").await, Verdict::unhealthy("killed by signal 9"));
}

#[tokio::test]
async fn it_knows_the_endpoint_and_has_no_input() {
    let told =
        "$WEIR_ENDPOINT_NAME $WEIR_ENDPOINT_ADDRESS $WEIR_ENDPOINT_HOST $WEIR_ENDPOINT_PORT $WEIR_ENDPOINT_CLUSTER";
    let why = check(&format!("cat; echo {told}")).await.why;
    assert_eq!(why, "exit 0: 127.0.0.1:9000 127.0.0.1:81 127.0.0.1 81 web");
}

#[tokio::test]
async fn much_output_and_children_left_behind_hold_nothing_up() {
    let verdict = check("sleep 1000 & yes | head -c 1000000; echo $! >&2").await;
    assert_eq!(verdict, Verdict::healthy("exit 0: y"));
}

#[tokio::test]
async fn a_command_that_is_not_there_is_named() {
    let mut config = config("");
    let check = ExecCheck { command: "no-such-command-of-weir".to_owned(), args: Vec::new() };
    config.health = Some(Health::new(HealthKind::Exec(check)));
    let cluster = Running::build(&config, None);
    let verdict = probe(&config).unwrap().unwrap().check(&cluster.endpoints()[0]).await.unwrap();
    assert_eq!(verdict.state, State::Unhealthy);
    assert!(verdict.why.starts_with("no-such-command-of-weir: No such file"), "{}", verdict.why);
}

async fn eventually<T, F: Future<Output = Option<T>>>(mut condition: impl FnMut() -> F) -> T {
    let found = async {
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), found).await.expect("in time")
}

/// A zombie waits only for its parent to notice.
fn lives(process: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(process).join("stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

#[tokio::test]
async fn a_check_that_is_given_up_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("child");
    let script = format!("sleep 1000 & echo $! > {0}.draft; mv {0}.draft {0}; wait", file.display());
    let child = tokio::select! {
        verdict = check(&script) => panic!("it ended: {verdict:?}"),
        child = eventually(async || fs::read_to_string(&file).ok()) => child.trim().to_owned(),
    };
    eventually(async || (!lives(&child)).then_some(())).await;
}

#[tokio::test]
async fn few_run_at_one_time() {
    let probe = probe(&config("exit 0")).unwrap().unwrap();
    let mut turns = Vec::new();
    while let Ok(turn) = timeout(Duration::ZERO, probe.turn()).await {
        turns.push(turn);
    }
    assert!((1..=8).contains(&turns.len()), "{}", turns.len());
    turns.pop();
    assert!(probe.turn().await.is_some());
}
