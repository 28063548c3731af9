use std::sync::Mutex;

use tokio::time::{Instant, sleep};

use super::*;
use crate::{Discovery, fixture};

fn endpoint_at(port: u16) -> Endpoint {
    Endpoint::at(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn found(ports: &[u16], seconds: u64) -> Result<Found, String> {
    let endpoints = ports.iter().map(|port| endpoint_at(*port)).collect();
    Ok(Found { endpoints, for_now: Duration::from_secs(seconds), fault: None })
}

/// Gives these answers, the last of them for ever; notes the moments at which it looked.
struct Script {
    answers: Vec<Result<Vec<u16>, &'static str>>,
    begin: Instant,
    times: Arc<Mutex<Vec<u64>>>,
}

impl Look for Script {
    async fn look(&mut self, _: Early<'_>) -> Result<Found, String> {
        let mut times = self.times.lock().unwrap();
        let answer = self.answers.get(times.len()).or(self.answers.last()).unwrap();
        times.push(self.begin.elapsed().as_millis() as u64);
        match answer {
            Ok(ports) => found(ports, 20),
            Err(why) => Err((*why).to_owned()),
        }
    }
}

/// Follows these answers until so many looks are done; gives their moments.
async fn followed(cluster: &Cluster, answers: Vec<Result<Vec<u16>, &'static str>>, looks: usize) -> Vec<u64> {
    let times = Arc::new(Mutex::new(Vec::new()));
    let script = Script { answers, begin: Instant::now(), times: Arc::clone(&times) };
    let enough = async {
        while times.lock().unwrap().len() < looks {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! { () = follow(cluster, script) => {}, () = enough => {} }
    times.lock().unwrap().clone()
}

fn names(cluster: &Cluster) -> Vec<u16> {
    let candidates = cluster.candidates();
    candidates.iter().map(|endpoint| endpoint.address().port()).collect()
}

fn empty() -> Arc<Cluster> {
    Cluster::build(&fixture::cluster(&[]), None)
}

#[tokio::test(start_paused = true)]
async fn what_is_found_is_followed_when_its_time_is_over() {
    let cluster = empty();
    let times = followed(&cluster, vec![Ok(vec![1]), Ok(vec![1, 2]), Ok(vec![2])], 2).await;
    assert_eq!(times, [0, 20_000]);
    assert_eq!(names(&cluster), [1, 2]);
    assert_eq!(cluster.discovery().fault, None);
    followed(&cluster, vec![Ok(vec![2])], 2).await;
    assert_eq!(names(&cluster), [2]);
    assert_eq!(cluster.endpoints().len(), 2, "the one that is gone drains");
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_the_last_one_goes_on_and_tries_get_rarer() {
    let cluster = empty();
    let times = followed(&cluster, vec![Ok(vec![1]), Err("no answer")], 12).await;
    assert_eq!(names(&cluster), [1]);
    let discovery = cluster.discovery();
    assert_eq!((discovery.answered.is_some(), discovery.fault.as_deref()), (true, Some("no answer")));
    let pauses: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((800..=1_210).contains(&pauses[1]), "{pauses:?}");
    assert!(pauses[11..].iter().chain(&pauses[8..]).all(|pause| (24_000..=36_010).contains(pause)), "{pauses:?}");
    followed(&cluster, vec![Ok(vec![1])], 1).await;
    assert_eq!(cluster.discovery().fault, None);
}

/// Knows one endpoint early, and both a second later.
struct Slow(u16, u16);

impl Look for Slow {
    async fn look(&mut self, early: Early<'_>) -> Result<Found, String> {
        early(vec![endpoint_at(self.0)], self.0 == 3);
        sleep(Duration::from_secs(1)).await;
        found(&[self.0, self.1], 20)
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_found_early_adds_to_what_is_there_and_is_no_answer_yet() {
    let cluster = empty();
    let during = Duration::from_millis(500);
    tokio::select! { () = follow(&cluster, Slow(1, 2)) => {}, () = sleep(during) => {} }
    assert_eq!((names(&cluster), cluster.discovery()), (vec![1], Discovery::default()));
    tokio::select! { () = follow(&cluster, Slow(1, 2)) => {}, () = sleep(during * 3) => {} }
    assert_eq!((names(&cluster), cluster.discovery().answered.is_some()), (vec![1, 2], true));
    tokio::select! { () = follow(&cluster, Slow(3, 4)) => {}, () = sleep(during) => {} }
    assert_eq!(names(&cluster), [1, 2, 3], "nobody leaves before the look is over");
    tokio::select! { () = follow(&cluster, Slow(3, 4)) => {}, () = sleep(during * 3) => {} }
    assert_eq!(names(&cluster), [3, 4]);
}

#[tokio::test(start_paused = true)]
async fn part_of_an_answer_may_suffice_to_begin_with() {
    let cluster = empty();
    tokio::select! { () = follow(&cluster, Slow(3, 4)) => {}, () = sleep(Duration::from_millis(500)) => {} }
    assert_eq!(cluster.discovery(), Discovery { suffices: true, ..Discovery::default() });
}

#[test]
fn half_of_the_first_level_suffices_and_backups_do_not() {
    let service = |priority, target: &str| Service { priority, weight: 1, port: 80, target: target.to_owned() };
    let services = [service(1, "a"), service(1, "b"), service(1, "c"), service(2, "backup"), service(2, "another")];
    for (known, is_enough) in [
        (&["a", "b"][..], true),
        (&["b", "c", "backup"], true),
        (&["a", "backup", "another"], false),
        (&["backup", "another"], false),
        (&[], false),
    ] {
        assert_eq!(suffice(&services, |target| known.contains(&target)), is_enough, "{known:?}");
    }
}

#[test]
fn a_service_says_weight_and_priority() {
    let service = Service { priority: 2, weight: 0, port: 80, target: "a".to_owned() };
    let described = endpoint(&service, "::1".parse().unwrap());
    assert_eq!((described.weight, described.priority, described.address), (1, 2, "[::1]:80".parse().unwrap()));
}

#[test]
fn of_services_at_one_place_that_of_the_lower_priority_and_higher_weight_is_first() {
    let service = |priority, weight| Service { priority, weight, port: 80, target: "a".to_owned() };
    let wanted = [service(0, 5), service(0, 1), service(1, 9)];
    for turn in 0..wanted.len() {
        let mut services = wanted.clone();
        services.rotate_left(turn);
        rank(&mut services);
        assert_eq!(services, wanted);
    }
}

#[tokio::test]
async fn a_file_lists_endpoints_or_says_why_it_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("endpoints.json");
    assert!(file(&path).await.unwrap_err().contains("endpoints.json"));
    std::fs::write(&path, r#"{"endpoints": ["127.0.0.1:1"]}"#).unwrap();
    assert_eq!(file(&path).await.unwrap().endpoints, [endpoint_at(1)]);
    std::fs::write(&path, r#"{"endpoints": ["nowhere"]}"#).unwrap();
    assert!(file(&path).await.unwrap_err().contains("endpoints[0]"));
}
