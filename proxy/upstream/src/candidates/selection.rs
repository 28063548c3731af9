//! Which endpoints of a cluster may be picked, and at which weight: pure.
//!
//! Endpoints form levels: by priority, and within a priority those of our own zone before the others. A
//! level takes all that is left by the levels before it as long as `min-healthy` percent of its
//! endpoints are healthy; below that it takes as much less as it is below, and the rest spills over. So
//! the factor by which a level is taken to be overprovisioned is 100 / `min-healthy`. Where all levels
//! together cannot take everything, they take it in proportion.
//!
//! Degraded endpoints serve when nothing is healthy, backups when nothing else may be picked. In panic,
//! when too few may be picked, all that nobody wants out are. Ejections count only while enough endpoints are left
//! beside them: they never leave a cluster with none that serves.

use std::collections::BTreeMap;

use crate::standing::{Spared, State};

/// All of the traffic.
const WHOLE: u64 = 10_000;
/// What a level's share is spread over, so that small weights keep their ratio.
const FINE: u64 = 1_000;

/// What counts of one endpoint. Those that leave are not among them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) state: State,
    pub(super) weight: u32,
    pub(super) level: Level,
    pub(super) backup: bool,
    /// What it is apart from its ejection.
    pub(super) spared: Option<Spared>,
}

/// Priority, and whether the endpoint is in another zone than ours.
pub(super) type Level = (u32, bool);

/// What a cluster says on it, in percent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thresholds {
    pub(crate) min_healthy: u32,
    pub(crate) panic: u32,
    /// Below that many of those that may be picked but for ejections, these do not count.
    pub(crate) ejected: u32,
}

/// What kind of endpoints a cluster is served by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// Healthy ones, each level by those before it.
    Healthy,
    /// Healthy ones, among them those of a level that stands in for one before it.
    SpillOver,
    /// Degraded ones, for want of healthy ones.
    Degraded,
    /// Backups, for want of all others.
    Backup,
    /// All that nobody wants out, healthy or not: too few are.
    Panic,
    /// Ejected ones with the others, since too few of these are left.
    Ejected,
    /// None.
    Nothing,
}

impl Serving {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Healthy, Self::SpillOver, Self::Degraded, Self::Backup, Self::Panic, Self::Ejected, Self::Nothing];

    /// As shown on the status page, in metrics and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::SpillOver => "spill-over",
            Self::Degraded => "degraded",
            Self::Backup => "backup",
            Self::Panic => "panic",
            Self::Ejected => "ejected",
            Self::Nothing => "nothing",
        }
    }
}

impl Serving {
    /// How far a cluster is from what it should be served by.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::Healthy | Self::SpillOver => 0,
            Self::Degraded => 1,
            Self::Backup => 2,
            Self::Panic => 3,
            Self::Ejected => 4,
            Self::Nothing => 5,
        }
    }
}

/// Indices with their weights.
pub(super) type Weighed = Vec<(usize, u32)>;

/// Who may be picked.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) chosen: Weighed,
    /// Who may stand in when all of these have failed: the first group that is left.
    pub(super) reserve: Vec<Weighed>,
    pub(super) serving: Serving,
}

/// Choose among these.
pub(super) fn select(entries: &[Entry], thresholds: Thresholds) -> Selection {
    let heavy: Vec<(usize, Entry)> =
        entries.iter().copied().enumerate().filter(|(_, entry)| entry.weight > 0).collect();
    let (backups, main): (Vec<_>, Vec<_>) = heavy.into_iter().partition(|(_, entry)| entry.backup);
    let able = |group: &[(usize, Entry)]| group.iter().any(|(_, entry)| entry.state.is_able());
    if is_panic(&main, thresholds.panic) && (able(&main) || !able(&backups)) {
        let chosen = weighed(&main, |entry| is_wanted(entry.state));
        return Selection { chosen, reserve: Vec::new(), serving: Serving::Panic };
    }
    let main = spare(main, is_of_use(&backups), thresholds.ejected);
    let backups = spare(backups, is_of_use(&main), thresholds.ejected);
    let (chosen, mut serving) = first_that_serves(&main, &backups, thresholds.min_healthy);
    let is_spared = |(index, _): &(usize, u32)| entries.get(*index).is_some_and(|entry| entry.spared.is_some());
    if chosen.iter().any(is_spared) {
        serving = Serving::Ejected;
    }
    let mut reserve = ranked(&main);
    reserve.extend(ranked(&backups));
    let ejected = |group: &[(usize, Entry)]| weighed(group, |entry| entry.state == State::Ejected);
    reserve.push([ejected(&main), ejected(&backups)].concat());
    let is_chosen: Vec<usize> = chosen.iter().map(|(index, _)| *index).collect();
    for group in &mut reserve {
        group.retain(|(index, _)| is_chosen.binary_search(index).is_err());
    }
    reserve.retain(|group| !group.is_empty());
    Selection { chosen, reserve, serving }
}

/// The group without its ejections, where too few are left beside them. An endpoint that has answered, though badly,
/// goes before `others`, one that could not be reached only where there are none.
fn spare(mut group: Vec<(usize, Entry)>, others: bool, threshold: u32) -> Vec<(usize, Entry)> {
    let able = group.iter().filter(|(_, entry)| entry.state.is_able()).count() as u64;
    let ejected = group.iter().filter(|(_, entry)| entry.spared.is_some()).count() as u64;
    let reached = |entry: &Entry| entry.spared.is_some_and(|spared| spared.reached);
    let all = match able {
        0 if group.iter().any(|(_, entry)| reached(entry)) => false,
        0 => !others,
        able => able * 100 < (able + ejected) * u64::from(threshold),
    };
    for (_, entry) in &mut group {
        if let Some(spared) = entry.spared.filter(|spared| all || (able == 0 && spared.reached)) {
            entry.state = spared.state;
        }
    }
    group
}

/// Whether a group can serve, with an ejection set aside if need be.
fn is_of_use(group: &[(usize, Entry)]) -> bool {
    group.iter().any(|(_, entry)| entry.state.is_able() || entry.spared.is_some_and(|spared| spared.reached))
}

fn first_that_serves(main: &[(usize, Entry)], backups: &[(usize, Entry)], min_healthy: u32) -> (Weighed, Serving) {
    let attempts = [
        (main, is_healthy as fn(State) -> bool, None),
        (main, is_degraded, Some(Serving::Degraded)),
        (backups, is_healthy, Some(Serving::Backup)),
        (backups, is_degraded, Some(Serving::Backup)),
    ];
    for (group, serves, serving) in attempts {
        let (chosen, spills) = levelled(group, serves, min_healthy);
        if !chosen.is_empty() {
            let healthy = if spills { Serving::SpillOver } else { Serving::Healthy };
            return (chosen, serving.unwrap_or(healthy));
        }
    }
    (Vec::new(), Serving::Nothing)
}

fn is_healthy(state: State) -> bool {
    matches!(state, State::Healthy | State::Warming)
}

fn is_degraded(state: State) -> bool {
    state == State::Degraded
}

/// Whether nobody has taken it out on purpose.
fn is_wanted(state: State) -> bool {
    !matches!(state, State::Draining | State::Maintenance)
}

fn is_panic(main: &[(usize, Entry)], threshold: u32) -> bool {
    let wanted = main.iter().filter(|(_, entry)| is_wanted(entry.state)).count();
    let able = main.iter().filter(|(_, entry)| entry.state.is_able()).count();
    able as u64 * 100 < wanted as u64 * u64::from(threshold)
}

fn weighed(group: &[(usize, Entry)], keep: impl Fn(&Entry) -> bool) -> Weighed {
    group.iter().filter(|(_, entry)| keep(entry)).map(|(index, entry)| (*index, entry.weight)).collect()
}

/// Those that may be picked, by level, and the degraded ones after all others.
fn ranked(group: &[(usize, Entry)]) -> Vec<Weighed> {
    let mut ranks: BTreeMap<(bool, Level), Weighed> = BTreeMap::new();
    for (index, entry) in group.iter().filter(|(_, entry)| entry.state.is_able()) {
        ranks.entry((is_degraded(entry.state), entry.level)).or_default().push((*index, entry.weight));
    }
    ranks.into_values().collect()
}

/// Those that serve, in order, at weights that give each level its share; and whether a level takes
/// part that one before it should have taken.
fn levelled(group: &[(usize, Entry)], serves: fn(State) -> bool, min_healthy: u32) -> (Weighed, bool) {
    let mut levels: BTreeMap<Level, Counts> = BTreeMap::new();
    for (_, entry) in group {
        levels.entry(entry.level).or_default().count(entry, serves(entry.state));
    }
    let mut left = WHOLE;
    for counts in levels.values_mut() {
        counts.share = counts.capacity(min_healthy).min(left);
        left -= counts.share;
    }
    let taking = levels.values().filter(|counts| counts.share > 0).count();
    let spills = levels.values().zip(1..).any(|(counts, place)| place > 1 && counts.share > 0);
    let scaled = |entry: &Entry| match levels.get(&entry.level) {
        Some(counts) if counts.share > 0 => Some(if taking > 1 { counts.scaled(entry.weight) } else { entry.weight }),
        _ => None,
    };
    let serving = group.iter().filter(|(_, entry)| serves(entry.state));
    let chosen = serving.filter_map(|(index, entry)| Some((*index, scaled(entry)?))).collect();
    (chosen, spills)
}

/// A level in numbers.
#[derive(Debug, Default)]
struct Counts {
    all: u64,
    serving: u64,
    weight: u64,
    share: u64,
}

impl Counts {
    fn count(&mut self, entry: &Entry, serves: bool) {
        self.all += 1;
        self.serving += u64::from(serves);
        self.weight += if serves { u64::from(entry.weight) } else { 0 };
    }

    /// How much of the traffic it can take.
    fn capacity(&self, min_healthy: u32) -> u64 {
        match self.serving {
            0 => 0,
            serving => {
                let enough = (self.all * u64::from(min_healthy)).max(1);
                (serving * 100 * WHOLE / enough).clamp(1, WHOLE)
            }
        }
    }

    fn scaled(&self, weight: u32) -> u32 {
        let part = u64::from(weight) * self.share * FINE / self.weight.max(1);
        u32::try_from(part).unwrap_or(u32::MAX).max(1)
    }
}

#[cfg(test)]
mod tests;
