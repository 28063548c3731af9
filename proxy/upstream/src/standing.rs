//! What is said of an endpoint, by whom, and the one status that follows from it: pure.
//!
//! Each authority has its own word and keeps it, whatever the others say: the active check, the agent
//! on the endpoint, the operator, discovery and configuration (is it still listed?), outlier detection,
//! load reports. [`Status`] is what they come to at one moment.

use std::{
    fmt,
    time::{Duration, Instant, SystemTime},
};

use serde::{Deserialize, Serialize};

/// Most that another process may say of an ejection.
const LONGEST_EJECTION: Duration = Duration::from_secs(24 * 60 * 60);
/// Most that one authority may raise a weight to, in percent.
const MOST_PERCENT: u32 = 1_000;

/// A moment on both clocks: the one that never jumps, and the one people read.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// For intervals.
    pub instant: Instant,
    /// For people.
    pub time: SystemTime,
}

impl Moment {
    /// This one.
    pub fn now() -> Self {
        Self { instant: Instant::now(), time: SystemTime::now() }
    }
}

/// What an endpoint is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Picked as usual.
    Healthy,
    /// Picked as usual at a weight that grows: it is back, or new.
    Warming,
    /// Picked only when no healthy endpoint is left.
    Degraded,
    /// Not picked: outlier detection has met too many failures.
    Ejected,
    /// Not picked: a check or the agent says so.
    Unhealthy,
    /// Keeps its sessions and gets no new ones.
    Draining,
    /// Gets nothing: the operator or the agent says so.
    Maintenance,
}

impl State {
    /// Whether it may be picked in this state.
    pub fn is_able(self) -> bool {
        matches!(self, Self::Healthy | Self::Warming | Self::Degraded)
    }

    /// As shown on the status page, in metrics and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Warming => "warming",
            Self::Degraded => "degraded",
            Self::Ejected => "ejected",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a check found: healthy, degraded, unhealthy or draining.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What the endpoint is good for.
    pub state: State,
    /// Percent of the weight that counts.
    pub weight_percent: u32,
    /// The reason, for people.
    pub why: String,
}

impl Verdict {
    /// Healthy at full weight.
    pub fn healthy(why: impl Into<String>) -> Self {
        Self { state: State::Healthy, weight_percent: 100, why: why.into() }
    }

    /// Unhealthy.
    pub fn unhealthy(why: impl Into<String>) -> Self {
        Self { state: State::Unhealthy, weight_percent: 100, why: why.into() }
    }
}

/// What the agent on an endpoint reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What it wants.
    pub word: Word,
    /// Percent of the weight that counts.
    pub weight_percent: u32,
    /// Most connections it wants at a time.
    pub max_connections: Option<u32>,
    /// Its reason, for people.
    pub why: String,
}

/// What an agent wants for its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// To be picked, as far as it is concerned.
    Up,
    /// Not to be picked: it cannot serve.
    Down,
    /// To keep its sessions only.
    Drain,
    /// To get nothing.
    Maintenance,
}

/// What the operator orders for an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Keep its sessions, give it no new ones.
    Drain,
    /// Give it nothing.
    Maintenance,
}

/// An endpoint that outlier detection took out for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ejection {
    until: Instant,
    why: String,
    reached: bool,
}

/// What an ejected endpoint is good for apart from its ejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spared {
    /// Healthy or degraded.
    pub state: State,
    /// It was reached, and has answered badly or late.
    pub reached: bool,
}

/// What is said of an endpoint, as another process can be told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reputation {
    /// What the operator ordered.
    pub order: Option<Order>,
    /// What the active check has found.
    pub checked: Option<Verdict>,
    /// What the agent reported last.
    pub agent: Option<Report>,
    /// How long outlier detection keeps it out yet, and why.
    pub ejected: Option<(Duration, String)>,
    /// Whether it was reached all the same, and has answered badly or late.
    pub ejected_reached: bool,
}

/// What all words about an endpoint come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What it is good for.
    pub state: State,
    /// When it came into this state.
    pub since: SystemTime,
    /// The reason, for people.
    pub why: String,
    /// Percent of the weight that counts: those of all authorities, multiplied.
    pub weight_percent: u32,
    /// The weight with these percents, in hundredths; at least 1 unless 0 is meant.
    pub effective: u32,
    /// Percent of a slow start that has passed.
    pub warmth: u32,
    /// Whether sessions that are here already may stay.
    pub keeps_sessions: bool,
    /// Whether it changes with time alone.
    pub is_passing: bool,
    /// What it would be good for, where it is ejected.
    pub spared: Option<Spared>,
}

/// Every authority's word about one endpoint.
#[derive(Debug, Clone)]
pub struct Standing {
    weight: u32,
    slow_start: Duration,
    checked: Option<Verdict>,
    /// What the check says is presumed: it has not said anything yet.
    presumed: bool,
    agent: Option<Report>,
    order: Option<Order>,
    leaving: Option<Instant>,
    ejected: Option<Ejection>,
    load_percent: u32,
    /// It was out, or is new: it warms up as soon as it may be picked.
    cold: bool,
    warming: Option<Instant>,
    status: Status,
}

impl Standing {
    /// Of an endpoint nobody has said anything about. A newcomer among others warms up.
    pub(crate) fn new(weight: u32, slow_start: Duration, newcomer: bool, now: Moment) -> Self {
        let status = Status {
            state: State::Healthy,
            since: now.time,
            why: String::new(),
            weight_percent: 100,
            effective: 0,
            warmth: 100,
            keeps_sessions: true,
            is_passing: false,
            spared: None,
        };
        let mut standing = Self {
            weight,
            slow_start,
            checked: None,
            presumed: false,
            agent: None,
            order: None,
            leaving: None,
            ejected: None,
            load_percent: 100,
            cold: newcomer,
            warming: None,
            status,
        };
        standing.settle(now);
        standing
    }

    /// The standing after a change, at this moment. One that changes nothing lets time pass.
    pub(crate) fn after(&self, now: Moment, change: impl FnOnce(&mut Self)) -> Self {
        let mut next = self.clone();
        change(&mut next);
        next.settle(now);
        next
    }

    /// What it all comes to.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// What the active check says; none before it has said anything.
    pub fn checked(&self) -> Option<&Verdict> {
        self.checked.as_ref()
    }

    /// What the agent reports.
    pub fn agent(&self) -> Option<&Report> {
        self.agent.as_ref()
    }

    /// What the operator ordered.
    pub fn order(&self) -> Option<Order> {
        self.order
    }

    /// The weight before percents.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Percent of the weight that load reports allow.
    pub(crate) fn load_percent(&self) -> u32 {
        self.load_percent
    }

    /// Whether it is no longer listed, and since when it may be forgotten.
    pub(crate) fn leaving(&self) -> Option<Instant> {
        self.leaving
    }

    /// Whether outlier detection has taken it out.
    pub(crate) fn is_ejected(&self) -> bool {
        self.ejected.is_some()
    }

    pub(crate) fn configure(&mut self, weight: u32) {
        self.weight = weight;
    }

    pub(crate) fn slow_start(&mut self, over: Duration) {
        self.slow_start = over;
    }

    pub(crate) fn check(&mut self, verdict: Option<Verdict>) {
        self.checked = verdict;
        self.presumed = false;
    }

    /// What counts until the check has said something. It is no word that an endpoint returns from.
    pub(crate) fn presume(&mut self, verdict: Verdict) {
        self.checked = Some(verdict);
        self.presumed = true;
    }

    pub(crate) fn report(&mut self, report: Option<Report>) {
        self.agent = report;
    }

    pub(crate) fn obey(&mut self, order: Option<Order>) {
        self.order = order;
    }

    /// Listed no longer; an earlier end counts.
    pub(crate) fn leave(&mut self, until: Instant) {
        self.leaving.get_or_insert(until);
    }

    /// Listed again.
    pub(crate) fn stay(&mut self) {
        self.leaving = None;
    }

    /// Out for a time; `reached` where it has answered, though badly or late.
    pub(crate) fn eject(&mut self, until: Instant, why: String, reached: bool) {
        self.ejected = Some(Ejection { until, why, reached });
    }

    pub(crate) fn restore(&mut self) {
        self.ejected = None;
    }

    pub(crate) fn load(&mut self, percent: u32) {
        self.load_percent = percent;
    }

    /// What another process is told of it.
    pub fn reputation(&self, now: Instant) -> Reputation {
        let left = |ejection: &Ejection| ejection.until.saturating_duration_since(now);
        Reputation {
            order: self.order,
            checked: self.checked.clone().filter(|_| !self.presumed),
            agent: self.agent.clone(),
            ejected: self.ejected.as_ref().map(|ejection| (left(ejection), ejection.why.clone())),
            ejected_reached: self.ejected.as_ref().is_some_and(|ejection| ejection.reached),
        }
    }

    /// Go on with what another process says of it. It has served already, so that it does not warm up.
    pub(crate) fn inherit(&mut self, reputation: Reputation, now: Instant) {
        let Reputation { order, checked, agent, ejected, ejected_reached } = reputation;
        (self.order, self.cold, self.warming) = (order, false, None);
        if checked.is_some() {
            self.check(checked);
        }
        self.agent = agent.or(self.agent.take());
        if let Some((left, why)) = ejected {
            self.eject(now + left.min(LONGEST_EJECTION), why, ejected_reached);
        }
    }

    fn settle(&mut self, now: Moment) {
        self.ejected.take_if(|ejection| ejection.until <= now.instant);
        let (state, why) = self.judged();
        let why = why.to_owned();
        self.warm(state, now.instant);
        let (state, why) = match self.warming {
            Some(_) if state == State::Healthy => {
                (State::Warming, format!("slow start over {:?}; {why}", self.slow_start))
            }
            _ => (state, why),
        };
        let since = if state == self.status.state { self.status.since } else { now.time };
        let checked = self.checked.as_ref().map_or(100, |verdict| verdict.weight_percent);
        let reported = self.agent.as_ref().map_or(100, |report| report.weight_percent);
        let warmth = self.warmth(now.instant);
        let percents = [checked, reported, self.load_percent, warmth];
        self.status = Status {
            state,
            since,
            why,
            weight_percent: scaled(100, percents),
            effective: scaled(self.weight.saturating_mul(100), percents),
            warmth,
            keeps_sessions: self.keeps_sessions(state),
            is_passing: self.ejected.is_some() || self.warming.is_some(),
            spared: self.spared(state),
        };
    }

    /// An ejection speaks last but for a check that finds the endpoint healthy or degraded.
    fn spared(&self, state: State) -> Option<Spared> {
        let ejection = self.ejected.as_ref().filter(|_| state == State::Ejected)?;
        let degraded = self.checked.as_ref().is_some_and(|verdict| verdict.state == State::Degraded);
        let state = if degraded { State::Degraded } else { State::Healthy };
        Some(Spared { state, reached: ejection.reached })
    }

    /// The gravest word and its reason; slow start comes on top.
    fn judged(&self) -> (State, &str) {
        let check = self.checked.as_ref().map(|verdict| (verdict.state, &*verdict.why));
        let agent = self.agent.as_ref().map(|report| (report.word, &*report.why));
        match (self.order, agent, check, &self.ejected) {
            (Some(Order::Maintenance), ..) => (State::Maintenance, "maintenance is ordered"),
            (_, Some((Word::Maintenance, why)), ..) => (State::Maintenance, why),
            (Some(Order::Drain), ..) => (State::Draining, "drain is ordered"),
            _ if self.leaving.is_some() => (State::Draining, "no longer listed"),
            (_, Some((Word::Drain, why)), ..) => (State::Draining, why),
            (_, _, Some((State::Draining, why)), _) => (State::Draining, why),
            (_, _, Some((State::Unhealthy, why)), _) => (State::Unhealthy, why),
            (_, Some((Word::Down, why)), ..) => (State::Unhealthy, why),
            (.., Some(ejection)) => (State::Ejected, &ejection.why),
            (_, _, Some((state, why)), _) => (state, why),
            (.., None, None) => (State::Healthy, "taken for healthy until a check says otherwise"),
        }
    }

    /// A drain keeps sessions, unless the endpoint could not serve them; so does an ejection of one that answers.
    fn keeps_sessions(&self, state: State) -> bool {
        let down = self.checked.as_ref().is_some_and(|verdict| verdict.state == State::Unhealthy)
            || self.agent.as_ref().is_some_and(|report| report.word == Word::Down)
            || self.ejected.as_ref().is_some_and(|ejection| !ejection.reached);
        state.is_able() || (matches!(state, State::Draining | State::Ejected) && !down)
    }

    /// An endpoint that is out grows cold, and warms up from when it may be picked again.
    fn warm(&mut self, state: State, now: Instant) {
        if matches!(state, State::Unhealthy | State::Ejected | State::Maintenance) {
            self.cold |= self.warming.take().is_some() || !self.presumed;
        } else if state.is_able() && std::mem::take(&mut self.cold) {
            self.warming = Some(now);
        }
        if self.warmth(now) >= 100 {
            self.warming = None;
        }
    }

    /// Percent of the slow start that has passed; 100 when it is over or there is none.
    fn warmth(&self, now: Instant) -> u32 {
        let Some(began) = self.warming else { return 100 };
        let passed = now.saturating_duration_since(began);
        if passed >= self.slow_start {
            return 100;
        }
        let percent = passed.as_nanos() * 100 / self.slow_start.as_nanos().max(1);
        u32::try_from(percent).unwrap_or(100).max(1)
    }
}

/// `whole` at all of these percents; at least 1 where nothing is 0.
fn scaled(whole: u32, percents: [u32; 4]) -> u32 {
    if whole == 0 || percents.contains(&0) {
        return 0;
    }
    let percents = percents.map(|percent| u128::from(percent.min(MOST_PERCENT)));
    let product = percents.into_iter().fold(u128::from(whole), |product, percent| product * percent);
    u32::try_from(product / 100_000_000).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests;
