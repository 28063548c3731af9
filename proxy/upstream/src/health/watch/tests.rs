use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use tokio::sync::{mpsc, oneshot};
use weir_config::{HealthKind, TcpCheck};

use super::*;
use crate::{fixture, health::Checking, standing::Moment};

/// Gives prepared verdicts, then hangs; tells the moment of every check.
struct Script {
    verdicts: Mutex<VecDeque<Verdict>>,
    asked: mpsc::UnboundedSender<Instant>,
}

impl Probe for Script {
    fn check<'a>(&'a self, _: &'a Arc<Endpoint>) -> Checking<'a> {
        let _ = self.asked.send(Instant::now());
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        match verdicts.pop_front() {
            Some(verdict) => Box::pin(async { Ok(verdict) }),
            None => Box::pin(std::future::pending()),
        }
    }
}

struct Running {
    cluster: Arc<Cluster>,
    asked: mpsc::UnboundedReceiver<Instant>,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

fn start(verdicts: Vec<Verdict>) -> Running {
    let mut config = fixture::cluster(&[1]);
    config.health = Some(Health {
        interval: Duration::from_secs(10),
        fall: 2,
        ..Health::new(HealthKind::Tcp(TcpCheck::default()))
    });
    let cluster = Cluster::build(&config, None);
    let (sender, asked) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel();
    let probe = Arc::new(Script { verdicts: Mutex::new(verdicts.into()), asked: sender });
    let shutdown = async { drop(stopped.await) };
    let task = tokio::spawn(run(Arc::clone(&cluster), probe, shutdown));
    Running { cluster, asked, stop, task }
}

fn down() -> Verdict {
    Verdict::unhealthy("status 500")
}

#[tokio::test(start_paused = true)]
async fn the_first_check_comes_at_once_and_the_next_around_the_interval() {
    let begin = Instant::now();
    let mut running = start(vec![Verdict::healthy(""); 20]);
    let mut last = running.asked.recv().await.unwrap();
    assert_eq!(last, begin);
    for _ in 0..10 {
        let next = running.asked.recv().await.unwrap();
        let pause = next - last;
        assert!((8_999..=11_002).contains(&pause.as_millis()), "{pause:?}");
        last = next;
    }
}

#[tokio::test(start_paused = true)]
async fn checks_come_faster_while_a_state_is_changing() {
    let up = Verdict::healthy("");
    let mut running = start(vec![up.clone(), down(), down(), down(), up.clone(), up.clone(), up]);
    let mut moments = Vec::new();
    for _ in 0..7 {
        moments.push(running.asked.recv().await.unwrap());
    }
    let fast: Vec<bool> = moments.windows(2).map(|pair| pair[1] - pair[0] < Duration::from_secs(5)).collect();
    assert_eq!(fast, [false, true, false, false, true, false]);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_falls_and_rises_by_its_checks() {
    let up = Verdict::healthy("status 200");
    let mut running = start(vec![down(), down(), up.clone(), up]);
    let endpoint = Arc::clone(&running.cluster.endpoints()[0]);
    let mut states = Vec::new();
    for _ in 0..5 {
        running.asked.recv().await.unwrap();
        states.push(endpoint.state());
    }
    use State::{Healthy, Unhealthy};
    assert_eq!(states, [Healthy, Unhealthy, Unhealthy, Healthy, Healthy]);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_counts_as_a_failure() {
    let mut running = start(Vec::new());
    for _ in 0..3 {
        running.asked.recv().await.unwrap();
    }
    let status = running.cluster.endpoints()[0].status();
    assert_eq!((status.state, &*status.why), (State::Unhealthy, "no answer within 1s"));
    assert!(running.cluster.candidates().is_empty());
}

#[tokio::test(start_paused = true)]
async fn checks_follow_those_that_come_and_go() {
    let mut running = start(vec![down(); 100]);
    let endpoints = fixture::cluster(&[1, 1]).endpoints;
    running.asked.recv().await.unwrap();
    running.cluster.put(endpoints[1].clone());
    let begin = Instant::now();
    let mut times = Vec::new();
    for _ in 0..3 {
        times.push(running.asked.recv().await.unwrap() - begin);
    }
    assert_eq!(times[0], Duration::ZERO, "a newcomer is checked at once");
    running.cluster.delete(endpoints[0].address);
    let later = Moment::now().instant + Duration::from_secs(60);
    running.cluster.tick(Moment { instant: later, ..Moment::now() });
    running.asked.recv().await.unwrap();
    let last = running.asked.recv().await.unwrap();
    let next = running.asked.recv().await.unwrap();
    assert!(next - last > Duration::from_secs(8), "one is left");
}

/// Cannot ask.
struct Broken(mpsc::UnboundedSender<()>);

impl Probe for Broken {
    fn check<'a>(&'a self, _: &'a Arc<Endpoint>) -> Checking<'a> {
        let _ = self.0.send(());
        Box::pin(async { Err("trap".to_owned()) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_that_fails_itself_says_nothing_on_the_endpoint() {
    let mut config = fixture::cluster(&[1, 1]);
    config.health = Some(Health { fall: 1, ..Health::new(HealthKind::Tcp(TcpCheck::default())) });
    let cluster = Cluster::build(&config, None);
    let (sender, mut asked) = mpsc::unbounded_channel();
    let endpoint = Arc::clone(&cluster.endpoints()[0]);
    let task = tokio::spawn(run(Arc::clone(&cluster), Arc::new(Broken(sender)), std::future::pending()));
    cluster.eject(&endpoint, std::time::Instant::now() + Duration::from_secs(3_600), "failures");
    for _ in 0..6 {
        asked.recv().await.unwrap();
    }
    assert_eq!(endpoint.status().state, State::Ejected, "nor does it bring one back");
    assert_eq!(cluster.endpoints()[1].status().state, State::Healthy);
    let last = endpoint.last_check().unwrap();
    assert_eq!((last.well, &*last.why), (false, "trap"));
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_every_check() {
    let mut running = start(vec![down(); 20]);
    running.asked.recv().await.unwrap();
    running.stop.send(()).unwrap();
    running.task.await.unwrap();
    assert_eq!(running.asked.recv().await, None);
}
