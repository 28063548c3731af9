//! The addresses of names. What a name was found to be lasts until it is found to be otherwise: one that gets
//! no answer keeps what it had, and keeps nobody waiting for the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    FIRST_RETRY, LAST_RETRY, Resolver, SHORTEST,
    resolver::{Answer, Family},
};

/// Of which a name may have addresses.
const FAMILIES: usize = 2;
/// Questions under way at a time: for both families of sixteen names.
const AT_ONCE: usize = 32;
/// After so long a look is used as far as it has come, and so on.
const PROGRESS: Duration = Duration::from_secs(1);

/// What names are known to be. Clones share it, so that it can outlive the task that looks.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<Mutex<BTreeMap<String, Host>>>);

#[derive(Debug, Default)]
struct Host {
    addresses: BTreeMap<Family, Vec<IpAddr>>,
    /// Whether a question about it got no answer the last time.
    is_silent: bool,
    /// Why its addresses are at best those known before.
    fault: Option<String>,
    /// When it is asked for again; at the next look without it.
    due: Option<Instant>,
    /// How long to leave it after another fault.
    retry: Option<Duration>,
}

impl Host {
    fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due <= now)
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.addresses.values().flatten().copied().collect()
    }
}

type Reply = Result<Answer<IpAddr>, String>;

impl Known {
    /// The addresses of a name, those of IPv4 first.
    pub(super) fn addresses(&self, name: &str) -> Vec<IpAddr> {
        self.hosts().get(name).map(Host::addresses).unwrap_or_default()
    }

    /// Everything is to be asked for at the next look, whatever its time.
    pub(super) fn hasten(&self) {
        for host in self.hosts().values_mut() {
            host.due = None;
        }
    }

    /// Until the first is to be asked for again.
    pub(super) fn pause(&self) -> Duration {
        let now = Instant::now();
        let pauses = self.hosts().values().map(|host| host.due.map_or(Duration::ZERO, |due| due - now)).min();
        pauses.unwrap_or(Duration::MAX)
    }

    /// Ask for those of these names whose time is over, which is `longest` at most, and forget any other. Says of each why it has no addresses, or
    /// none but those known before. While some are waited for, `progress` hears now and then that more is known.
    pub(super) async fn look(
        &self,
        names: &BTreeSet<String>,
        resolver: &Arc<Resolver>,
        longest: Duration,
        progress: &(dyn Fn() + Send + Sync),
    ) -> Vec<Result<(), String>> {
        let mut heard: BTreeMap<String, Heard> = BTreeMap::new();
        let mut questions = self.questions(names, Instant::now()).into_iter();
        let mut asking = JoinSet::new();
        let (mut news, mut due) = (false, Instant::now() + PROGRESS);
        loop {
            for (name, family) in questions.by_ref().take(AT_ONCE.saturating_sub(asking.len())) {
                let resolver = Arc::clone(resolver);
                asking.spawn(async move {
                    let reply = resolver.addresses(&name, family).await;
                    (name, family, reply)
                });
            }
            tokio::select! {
                reply = asking.join_next() => match reply {
                    Some(Ok((name, family, reply))) => {
                        news |= reply.is_ok();
                        let heard = heard.entry(name.clone()).or_default();
                        heard.note(family, reply, self.hosts().entry(name).or_default());
                    }
                    Some(Err(error)) => tracing::error!(%error, "a question to a name server broke off"),
                    None => break,
                },
                () = sleep_until(due), if news => {
                    progress();
                    (news, due) = (false, Instant::now() + PROGRESS);
                }
            }
        }
        let (now, mut hosts) = (Instant::now(), self.hosts());
        for (name, heard) in heard {
            heard.conclude(&name, hosts.entry(name.clone()).or_default(), now, longest);
        }
        let fault = |name: &String| hosts.get(name).and_then(|host| host.fault.clone());
        names.iter().map(|name| fault(name).map_or(Ok(()), Err)).collect()
    }

    /// What is to be asked now, of those that were silent last: they take the longest.
    fn questions(&self, names: &BTreeSet<String>, now: Instant) -> Vec<(String, Family)> {
        let mut hosts = self.hosts();
        hosts.retain(|name, _| names.contains(name));
        let is_due = |name: &&String| hosts.get(*name).is_none_or(|host| host.is_due(now));
        let mut names: Vec<&String> = names.iter().filter(is_due).collect();
        names.sort_by_key(|name| hosts.get(*name).is_some_and(|host| host.is_silent));
        names.into_iter().flat_map(|name| [(name.clone(), Family::V4), (name.clone(), Family::V6)]).collect()
    }

    fn hosts(&self) -> MutexGuard<'_, BTreeMap<String, Host>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has been heard of a name in one look.
#[derive(Debug)]
struct Heard {
    ttl: Duration,
    /// Families with addresses, and those without any.
    with: usize,
    without: Vec<Family>,
    faults: usize,
    fault: Option<String>,
}

impl Default for Heard {
    fn default() -> Self {
        Self { ttl: Duration::MAX, with: 0, without: Vec::new(), faults: 0, fault: None }
    }
}

impl Heard {
    /// Addresses count at once, an answer of none once both families have been asked for.
    fn note(&mut self, family: Family, reply: Reply, host: &mut Host) {
        match reply {
            Ok(Answer { records, ttl }) => {
                self.ttl = self.ttl.min(ttl);
                match records.is_empty() {
                    true => self.without.push(family),
                    false => {
                        self.with += 1;
                        host.addresses.insert(family, records);
                    }
                }
            }
            Err(why) => {
                self.faults += 1;
                self.fault.get_or_insert(why);
            }
        }
        if self.with + self.without.len() + self.faults == FAMILIES {
            host.is_silent = self.faults > 0;
            for family in &self.without {
                host.addresses.remove(family);
            }
        }
    }

    /// One that did not answer in full is asked for again soon, and then less and less often: it has its own time, so
    /// that the others have theirs.
    fn conclude(self, name: &str, host: &mut Host, now: Instant, longest: Duration) {
        let is_empty = host.addresses.is_empty();
        let pause = match self.fault.is_none() && !is_empty {
            true => {
                host.retry = None;
                self.ttl
            }
            false => {
                let pause = host.retry.unwrap_or(FIRST_RETRY);
                host.retry = Some((pause * 2).min(LAST_RETRY));
                pause.min(self.ttl)
            }
        };
        host.due = Some(now + pause.clamp(SHORTEST, longest));
        host.fault = match self.fault {
            None if is_empty => Some(format!("{name} has no address")),
            fault => fault.filter(|_| is_empty || self.faults == FAMILIES),
        };
    }
}

#[cfg(test)]
mod tests;
