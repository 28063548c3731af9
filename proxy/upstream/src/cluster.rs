//! A named set of endpoints: which there are, what is said of them, and which of them may be picked now.

mod admission;
mod members;
mod outliers;
mod roster;

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};
use http::HeaderMap;
use tokio::sync::{Notify, watch};
use weir_config::{Balance, Initial};

use self::{members::Rules, roster::Roster};
use crate::{
    affinity::{Affinity, Owner},
    balance::{self, Balancer, Hashing},
    candidates::{Candidates, Serving, Thresholds},
    endpoint::Endpoint,
    figures::CheckFigures,
    hedging::Hedging,
    load_report::{
        BINARY, HEADER, LoadReport, Unusable,
        weights::{LoadWeights, Sample},
    },
    outlier::Outliers,
    retry::RetryBudget,
    room::Room,
    slots::Slots,
    standing::{Moment, Order, Report, Reputation, Standing, State, Status, Verdict},
};

pub use self::{
    admission::{Admission, Lasting},
    members::Members,
    roster::{Discovery, OperatorWord, Origin},
};

/// A cluster as it runs under one configuration.
#[derive(Debug)]
pub struct Cluster {
    config: weir_config::Cluster,
    members: ArcSwap<Members>,
    /// Who is to be a member; held while members come or go.
    roster: Mutex<Roster>,
    /// Told when they have.
    membership: watch::Sender<()>,
    candidates: ArcSwap<Candidates>,
    /// Where the balance is a hash.
    hashing: Option<Arc<Hashing>>,
    /// Where weights follow load reports.
    load_weights: Option<Mutex<LoadWeights>>,
    affinity: Option<Arc<Affinity>>,
    retry_budget: RetryBudget,
    hedging: Arc<Hedging>,
    check_figures: Arc<CheckFigures>,
    room: Arc<Room>,
    /// Connections to all its endpoints.
    slots: Arc<Slots>,
    agent_figures: Arc<CheckFigures>,
    outliers: Outliers,
    /// What discovery found last is in doubt.
    doubt: Notify,
}

impl Cluster {
    /// Whether everything outside the configuration that `build` reads is there: the affinity
    /// secret. To be asked before a configuration is taken.
    pub fn check(config: &weir_config::Cluster) -> Result<(), String> {
        config.affinity.as_ref().map_or(Ok(()), Affinity::check)
    }

    /// The cluster of a configuration. An address that `previous` has goes on with its id, its load and
    /// what is said of it (by checks only where health is checked); one that is no longer listed leaves;
    /// sessions go on where they mean the same. `previous` stays as it is.
    pub fn build(config: &weir_config::Cluster, previous: Option<&Self>) -> Arc<Self> {
        let (rules, now) = (rules(config), Moment::now());
        let before = previous.map(|previous| previous.endpoints().parted(rules, now)).unwrap_or_default();
        let mut roster = match previous {
            Some(previous) => Roster::of(config, Some((&previous.roster(), &previous.config))),
            None => Roster::of(config, None),
        };
        if config.discover.is_some() {
            roster.keep(before.staying());
        }
        let members = before.listed(&roster.wanted(), rules, now);
        if config.load_reports.is_none() {
            for endpoint in members.iter().filter(|endpoint| endpoint.standing().load_percent() != 100) {
                endpoint.change(now, |standing| standing.load(100));
            }
        }
        for endpoint in members.iter() {
            admission::limit(config, endpoint);
        }
        Arc::new(Self {
            affinity: affinity(config, previous),
            candidates: ArcSwap::from_pointee(candidates(&members, config)),
            hashing: match &config.balance {
                Balance::Hash(hash) => {
                    let former = previous.and_then(|previous| previous.hashing.as_deref());
                    Some(Hashing::over(hash.algorithm, &members, former))
                }
                _ => None,
            },
            load_weights: load_weights(config, previous),
            members: ArcSwap::from_pointee(members),
            roster: Mutex::new(roster),
            membership: watch::Sender::default(),
            retry_budget: match previous {
                Some(previous) => previous.retry_budget.succeed(config.retry_budget),
                None => RetryBudget::new(config.retry_budget, Instant::now()),
            },
            hedging: match previous {
                Some(previous) => Arc::clone(&previous.hedging),
                None => Arc::new(Hedging::new(Instant::now())),
            },
            outliers: Outliers::new(config.outlier_detection.clone(), previous.map(|previous| &previous.outliers)),
            agent_figures: previous.map(|previous| Arc::clone(&previous.agent_figures)).unwrap_or_default(),
            check_figures: previous.map(|previous| Arc::clone(&previous.check_figures)).unwrap_or_default(),
            room: previous.map(|previous| Arc::clone(&previous.room)).unwrap_or_default(),
            slots: previous.map(|previous| Arc::clone(&previous.slots)).unwrap_or_default(),
            config: config.clone(),
            doubt: Notify::new(),
        })
    }

    /// Its name in the file.
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// What it was built from.
    pub fn config(&self) -> &weir_config::Cluster {
        &self.config
    }

    /// All endpoints, those that leave among them.
    pub fn endpoints(&self) -> Arc<Members> {
        self.members.load_full()
    }

    /// Changes whenever endpoints have come or gone.
    pub fn membership(&self) -> watch::Receiver<()> {
        self.membership.subscribe()
    }

    /// Who lists which endpoint.
    pub fn origins(&self) -> BTreeMap<SocketAddr, Origin> {
        self.roster().origins()
    }

    /// How discovery fares.
    pub fn discovery(&self) -> Discovery {
        self.roster().discovery().clone()
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that may be picked now, and possibly none at all: by their state, weight, priority and zone.
    #[inline]
    pub fn candidates(&self) -> Guard<Arc<Candidates>> {
        self.candidates.load()
    }

    /// A native balancer for one worker.
    pub fn balancer(&self) -> Box<dyn Balancer> {
        balance::balancer(&self.config.balance, self.hashing.as_ref())
    }

    /// Take the time to a response's head into what is known of its endpoint.
    pub fn observe(&self, endpoint: &Endpoint, latency: Duration, now: Instant) {
        endpoint.observe(latency);
        if let Balance::LeastTime { decay } = self.config.balance {
            endpoint.observe_peak(latency, now, decay);
        }
    }

    /// Take note of an attempt that began then and ended without a response.
    pub fn observe_failure(&self, endpoint: &Endpoint, began: Instant) {
        if let Balance::LeastTime { decay } = self.config.balance {
            let now = Instant::now();
            endpoint.raise_peak(now - began, now, decay);
        }
    }

    /// Take an endpoint's load report out of a response's fields or trailers, where the cluster goes by such reports.
    /// None where there is none.
    pub fn hear(&self, endpoint: &Endpoint, headers: &mut HeaderMap) -> Option<Result<(), Unusable>> {
        let config = self.config.load_reports.as_ref()?;
        let mut take = |name| if config.keep { headers.get(&name).cloned() } else { headers.remove(&name) };
        let metric = config.metric.as_deref();
        let report = match (take(HEADER), take(BINARY)) {
            (Some(text), _) => LoadReport::parse(text.as_bytes(), metric),
            (None, Some(binary)) => LoadReport::parse_binary(binary.as_bytes(), metric),
            (None, None) => return None,
        };
        Some(report.map(|report| endpoint.hear(report)))
    }

    /// What discovery found last may be out of date: endpoints cannot be connected to. It looks again soon.
    pub fn doubt(&self) {
        if self.config.discover.is_some() {
            self.doubt.notify_one();
        }
    }

    /// Ends when what was found last is in doubt.
    pub(crate) async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// The endpoint of an id, whatever its state.
    pub fn find(&self, id: u64) -> Option<Arc<Endpoint>> {
        self.members.load().find(id).cloned()
    }

    /// The endpoint at an address, whatever its state.
    pub fn find_address(&self, address: SocketAddr) -> Option<Arc<Endpoint>> {
        self.members.load().find_address(address).cloned()
    }

    /// What keeps sessions.
    pub fn affinity(&self) -> Option<&Affinity> {
        self.affinity.as_deref()
    }

    /// How many retries there may be.
    pub fn retry_budget(&self) -> &RetryBudget {
        &self.retry_budget
    }

    /// How long attempts take, and how many may have another beside them.
    pub fn hedging(&self) -> &Hedging {
        &self.hedging
    }

    /// What its questions to agents come to.
    pub fn agent_figures(&self) -> &CheckFigures {
        &self.agent_figures
    }

    /// What its checks come to.
    pub fn check_figures(&self) -> &CheckFigures {
        &self.check_figures
    }

    /// Requests under way, and those that wait.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// Connections that are open, as far as they are for HTTP or pass as they are.
    pub fn connections(&self) -> u32 {
        self.slots.open()
    }

    pub(crate) fn slots(&self) -> &Arc<Slots> {
        &self.slots
    }

    /// What the active check says of an endpoint from now on.
    pub fn set_health(&self, endpoint: &Endpoint, verdict: &Verdict) {
        self.say(endpoint, |standing| standing.check(Some(verdict.clone())));
    }

    /// What the agent on an endpoint says from now on; none once it is not asked any more.
    pub fn set_agent(&self, endpoint: &Endpoint, report: Option<&Report>) {
        self.say(endpoint, |standing| standing.report(report.cloned()));
    }

    /// What the operator wants of an endpoint from now on; none is to go by the other authorities.
    pub fn order(&self, endpoint: &Endpoint, order: Option<Order>) {
        self.say(endpoint, |standing| standing.obey(order));
    }

    /// Discovery's answer in the place of its former one. Newcomers begin, with a slow start where there is
    /// one; those not listed any more drain and are then forgotten.
    /// Names of which some have no address are told of as a `fault`.
    pub fn found(&self, endpoints: Vec<weir_config::Endpoint>, fault: Option<String>) {
        let now = Moment::now();
        let mut roster = self.roster();
        match (&roster.discovery().fault, &fault) {
            (Some(_), None) => tracing::info!(cluster = &**self.name(), "discovery answers again"),
            (None, Some(why)) => {
                tracing::warn!(cluster = &**self.name(), why, "discovery misses endpoints, the others serve");
            }
            _ => {}
        }
        roster.find(endpoints, fault, now.time);
        self.follow(&roster, now);
    }

    #[cfg(test)]
    pub(crate) fn found_at(&self, endpoints: Vec<weir_config::Endpoint>, now: Moment) {
        let mut roster = self.roster();
        roster.find(endpoints, None, now.time);
        self.follow(&roster, now);
    }

    /// Part of discovery's answer, while the rest is waited for: newcomers begin, and nobody leaves. It may suffice
    /// for requests to be taken.
    pub fn found_some(&self, endpoints: Vec<weir_config::Endpoint>, suffices: bool) {
        let mut roster = self.roster();
        roster.find_some(endpoints, suffices);
        self.follow(&roster, Moment::now());
    }

    /// Discovery has no answer: its former one, if any, stays in force.
    pub fn not_found(&self, why: &str) {
        let mut roster = self.roster();
        let is_first = roster.discovery().answered.is_none();
        match (roster.miss(why), is_first) {
            (false, _) => {}
            (true, false) => {
                tracing::warn!(cluster = &**self.name(), why, "discovery has no answer, its last one goes on");
            }
            (true, true) => {
                tracing::warn!(cluster = &**self.name(), why, "discovery has no answer yet, it gives no endpoints");
            }
        }
    }

    /// Add an endpoint, or describe it otherwise, on the operator's word.
    pub fn put(&self, endpoint: weir_config::Endpoint) {
        let mut roster = self.roster();
        roster.put(endpoint);
        self.follow(&roster, Moment::now());
    }

    /// Take an endpoint from the list, on the operator's word: it drains and is then forgotten.
    pub fn delete(&self, address: SocketAddr) {
        let mut roster = self.roster();
        roster.delete(address);
        self.follow(&roster, Moment::now());
    }

    /// What the operator said of endpoints, by their addresses.
    pub fn operator_words(&self) -> BTreeMap<SocketAddr, OperatorWord> {
        self.roster().words().clone()
    }

    /// Go on with what was said in another process: by the operator on who is listed, where the configuration
    /// says of the address what it said then, and by everybody who is asked here too of those who are.
    pub fn inherit(
        &self,
        words: BTreeMap<SocketAddr, OperatorWord>,
        reputations: impl IntoIterator<Item = (SocketAddr, Reputation)>,
    ) {
        let now = Moment::now();
        let mut roster = self.roster();
        roster.heed(words);
        self.follow(&roster, now);
        drop(roster);
        for (address, mut reputation) in reputations {
            let Some(endpoint) = self.find_address(address) else { continue };
            reputation.checked.take_if(|_| self.config.health.is_none());
            reputation.agent.take_if(|_| self.config.agent.is_none());
            reputation.ejected.take_if(|_| self.config.outlier_detection.is_none());
            self.settle(&endpoint, now, |standing| standing.inherit(reputation.clone(), now.instant));
        }
        self.publish();
    }

    fn follow(&self, roster: &Roster, now: Moment) {
        let (wanted, members) = (roster.wanted(), self.endpoints());
        if !members.differ(&wanted) {
            return;
        }
        let states = members.states();
        self.take_up(members.listed(&wanted, rules(&self.config), now));
        self.log_changes(&members, &states);
    }

    /// Log how the endpoints differ from those of the cluster that this one takes the place of. To be
    /// called once it does.
    pub fn log_succession(&self, before: &Self) {
        let members = before.endpoints();
        self.log_changes(&members, &members.states());
    }

    /// Let time pass: slow starts go on, ejections and drains end. To be called a few times a second.
    pub fn tick(&self, now: Moment) {
        let members = self.endpoints();
        let mut changed = false;
        for endpoint in members.iter().filter(|endpoint| endpoint.standing().status().is_passing) {
            changed |= self.settle(endpoint, now, |_| {});
        }
        changed |= self.weigh(&members, now);
        if changed {
            self.publish();
        }
        self.outliers.tick(now.instant);
        self.compare(&members, now.instant);
        self.hedging.tick(now.instant);
        if members.iter().any(|endpoint| members::is_gone(endpoint, now)) {
            let _roster = self.roster();
            let members = self.endpoints();
            self.take_up(members.without_gone(now));
            self.log_changes(&members, &members.states());
        }
    }

    /// Let weights follow load reports, where they do. Says whether any has changed.
    fn weigh(&self, members: &Members, now: Moment) -> bool {
        let Some(weights) = &self.load_weights else { return false };
        let mut weights = weights.lock().unwrap_or_else(PoisonError::into_inner);
        if !weights.is_due(now.instant) {
            return false;
        }
        let samples: Vec<Sample> = members.iter().map(|endpoint| sample(endpoint)).collect();
        let mut changed = false;
        for (id, percent) in weights.look(&samples, now.instant) {
            let endpoint = members.find(id);
            changed |= endpoint.is_some_and(|endpoint| self.settle(endpoint, now, |standing| standing.load(percent)));
        }
        changed
    }

    /// Whoever calls this holds the roster.
    fn take_up(&self, members: Members) {
        let members = Arc::new(members);
        for endpoint in members.iter() {
            admission::limit(&self.config, endpoint);
        }
        self.members.store(Arc::clone(&members));
        if let Some(hashing) = &self.hashing {
            hashing.list(&members);
        }
        self.publish();
        self.membership.send_replace(());
    }

    /// Log how the endpoints differ from those of before, which were in these states.
    fn log_changes(&self, before: &Members, states: &HashMap<u64, State>) {
        let (cluster, after) = (&**self.name(), self.endpoints());
        for endpoint in after.iter() {
            match states.get(&endpoint.id()) {
                Some(&state) => self.log_change(endpoint, state, &endpoint.status()),
                None => tracing::info!(cluster, endpoint = endpoint.name(), "endpoint added"),
            }
        }
        for endpoint in before.iter().filter(|endpoint| after.find(endpoint.id()).is_none()) {
            tracing::info!(cluster, endpoint = endpoint.name(), "endpoint removed");
        }
    }

    /// Have something said of an endpoint as it is listed now, and publish the candidates that follow
    /// from it. Endpoints of the same cluster may be spoken of at the same time.
    fn say(&self, endpoint: &Endpoint, change: impl Fn(&mut Standing)) {
        let Some(endpoint) = self.find(endpoint.id()) else { return };
        if self.settle(&endpoint, Moment::now(), change) {
            self.publish();
        }
    }

    /// Whether what may be picked, or at which weight, is to be computed again.
    fn settle(&self, endpoint: &Endpoint, now: Moment, change: impl Fn(&mut Standing)) -> bool {
        let (before, after) = endpoint.change(now, change);
        self.log_change(endpoint, before.state, &after);
        if admission::limit(&self.config, endpoint) {
            self.room.call();
        }
        before.state != after.state || before.effective != after.effective
    }

    /// Compute the candidates until nobody else has published meanwhile: the last to publish has
    /// seen everything said before.
    fn publish(&self) {
        let before = self.candidates.rcu(|_| Arc::new(candidates(&self.members.load(), &self.config)));
        self.room.call();
        let (cluster, after) = (&*self.config.name, self.candidates());
        if before.serving() == after.serving() {
            return;
        }
        let (min_healthy, panic_threshold) = (self.config.min_healthy, self.config.panic_threshold);
        match after.serving() {
            Serving::Healthy => tracing::info!(cluster, "cluster has healthy endpoints again"),
            Serving::SpillOver => {
                tracing::warn!(cluster, min_healthy, "cluster spills over to lower priorities or zones")
            }
            Serving::Degraded => tracing::warn!(cluster, "cluster has degraded endpoints only"),
            Serving::Backup => tracing::warn!(cluster, "cluster has backup endpoints only"),
            Serving::Panic => tracing::warn!(cluster, panic_threshold, "cluster is in panic: all endpoints are picked"),
            Serving::Ejected => tracing::warn!(cluster, "cluster ignores ejections: too few endpoints are left"),
            Serving::Nothing => tracing::warn!(cluster, "cluster has no endpoint left"),
        }
        if before.serving() == Serving::Panic {
            tracing::info!(cluster, panic_threshold, "cluster is no longer in panic");
        }
    }

    fn log_change(&self, endpoint: &Endpoint, from: State, status: &Status) {
        let (cluster, endpoint) = (&*self.config.name, endpoint.name());
        let (to, why) = (status.state, &*status.why);
        match to {
            _ if from == to => {}
            State::Healthy | State::Warming => tracing::info!(cluster, endpoint, %from, %to, why, "endpoint up"),
            State::Draining | State::Maintenance => tracing::info!(cluster, endpoint, %from, %to, why, "endpoint out"),
            _ => tracing::warn!(cluster, endpoint, %from, %to, why, "endpoint down"),
        }
    }
}

fn candidates(members: &Members, config: &weir_config::Cluster) -> Candidates {
    Candidates::of(members, config.zone.as_deref(), thresholds(config))
}

fn thresholds(config: &weir_config::Cluster) -> Thresholds {
    let ejected = config.outlier_detection.as_ref().map_or(0, |detection| detection.panic_threshold);
    Thresholds { min_healthy: config.min_healthy, panic: config.panic_threshold, ejected }
}

fn affinity(config: &weir_config::Cluster, previous: Option<&Cluster>) -> Option<Arc<Affinity>> {
    let before = previous.and_then(|previous| previous.config.affinity.as_ref().zip(previous.affinity.as_ref()));
    Some(Affinity::build(Owner::Cluster(&config.name), config.affinity.as_ref()?, before))
}

fn load_weights(config: &weir_config::Cluster, previous: Option<&Cluster>) -> Option<Mutex<LoadWeights>> {
    let expire = config.load_reports.as_ref()?.expire;
    let former = previous.and_then(|previous| previous.load_weights.as_ref());
    Some(Mutex::new(match former {
        Some(former) => former.lock().unwrap_or_else(PoisonError::into_inner).succeed(expire),
        None => LoadWeights::new(expire),
    }))
}

fn sample(endpoint: &Endpoint) -> Sample {
    let (report, count) = endpoint.report();
    Sample {
        id: endpoint.id(),
        weight: endpoint.config().weight,
        percent: endpoint.standing().load_percent(),
        count,
        utilization: report.utilization(),
        rate: report.rate(),
    }
}

fn rules(config: &weir_config::Cluster) -> Rules {
    Rules {
        drain: config.drain,
        slow_start: config.slow_start.unwrap_or(Duration::ZERO),
        checked: config.health.is_some(),
        asked: config.agent.is_some(),
        initial: config.health.as_ref().map_or(Initial::Healthy, |health| health.initial),
    }
}

#[cfg(test)]
mod tests;
