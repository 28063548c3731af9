//! The agent check: a program on each endpoint's host says how the endpoint is (haproxy's agent
//! protocol). Its words go to the endpoint's standing, as those of an authority of its own.

mod ask;
mod words;

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep_until};

use self::words::Words;
use crate::{
    cluster::Cluster,
    endpoint::{Endpoint, LastCheck},
    follow::follow,
    rng::Rng,
};

/// Ask the agent of every endpoint of a cluster until `shutdown` comes. A cluster without `agent` has none.
pub async fn run(cluster: Arc<Cluster>, shutdown: impl Future<Output = ()>) {
    let Some(config) = cluster.config().agent.clone() else { return };
    let start = |endpoint| {
        let listener = Listener { cluster: Arc::clone(&cluster), endpoint, config: config.clone() };
        listener.run()
    };
    follow(&cluster, shutdown, start).await;
}

/// Listens to one agent.
struct Listener {
    cluster: Arc<Cluster>,
    endpoint: Arc<Endpoint>,
    config: weir_config::Agent,
}

impl Listener {
    async fn run(self) {
        let mut rng = Rng::seeded();
        let mut words = Words::after(self.endpoint.standing().agent());
        let mut answers = true;
        loop {
            let begun = Instant::now();
            let heard = ask::ask(self.endpoint.address(), &self.config).await;
            if let Ok(line) = &heard {
                self.hear(&mut words, line);
            }
            self.note(&mut answers, heard, begun.elapsed());
            sleep_until(begun + self.pause(&mut rng)).await;
        }
    }

    fn hear(&self, words: &mut Words, line: &str) {
        for unknown in words.hear(line) {
            let (cluster, endpoint) = (&**self.cluster.name(), self.endpoint.name());
            tracing::debug!(cluster, endpoint, word = unknown, "agent says what is not understood");
        }
        self.cluster.set_agent(&self.endpoint, Some(&words.report()));
    }

    /// Silence changes nothing, but must not go unnoticed.
    fn note(&self, answers: &mut bool, heard: Result<String, String>, took: Duration) {
        let well = heard.is_ok();
        self.cluster.agent_figures().count(well, took);
        let (cluster, endpoint) = (&**self.cluster.name(), self.endpoint.name());
        match (std::mem::replace(answers, well), &heard) {
            (true, Err(why)) => {
                tracing::warn!(cluster, endpoint, why, "agent does not answer, its last words count on")
            }
            (false, Ok(_)) => tracing::info!(cluster, endpoint, "agent answers again"),
            _ => {}
        }
        let why = heard.unwrap_or_else(|why| why);
        self.endpoint.asked(LastCheck { at: SystemTime::now(), took, well, why });
    }

    /// A tenth shorter or longer, so that questions do not gather.
    fn pause(&self, rng: &mut Rng) -> Duration {
        self.config.interval.mul_f64(0.9 + 0.2 * rng.fraction())
    }
}
