use proptest::prelude::*;

use super::*;

const SLOW: Duration = Duration::from_secs(30);

fn after(now: Moment, seconds: u64) -> Moment {
    let later = Duration::from_secs(seconds);
    Moment { instant: now.instant + later, time: now.time + later }
}

fn plain(now: Moment) -> Standing {
    Standing::new(3, Duration::ZERO, false, now)
}

fn report(word: Word) -> Option<Report> {
    Some(Report { word, weight_percent: 100, max_connections: None, why: "agent".to_owned() })
}

fn verdict(state: State) -> Option<Verdict> {
    Some(Verdict { state, weight_percent: 100, why: "check".to_owned() })
}

#[test]
fn the_gravest_word_counts_and_every_word_is_kept() {
    let now = Moment::now();
    let mut standing = plain(now);
    let mut say = |change: &dyn Fn(&mut Standing)| {
        standing = standing.after(now, change);
        (standing.status().state, standing.status().why.clone())
    };
    assert_eq!(say(&|standing| standing.check(verdict(State::Degraded))), (State::Degraded, "check".into()));
    let until = now.instant + SLOW;
    assert_eq!(
        say(&|standing| standing.eject(until, "5 in a row".into(), true)),
        (State::Ejected, "5 in a row".into())
    );
    assert_eq!(say(&|standing| standing.check(verdict(State::Unhealthy))), (State::Unhealthy, "check".into()));
    assert_eq!(say(&|standing| standing.leave(until)), (State::Draining, "no longer listed".into()));
    assert_eq!(say(&|standing| standing.report(report(Word::Maintenance))), (State::Maintenance, "agent".into()));
    assert_eq!(say(&|standing| standing.obey(Some(Order::Maintenance))).1, "maintenance is ordered");
    assert_eq!(say(&|standing| standing.obey(None)), (State::Maintenance, "agent".into()));
    assert_eq!(say(&|standing| standing.report(report(Word::Down))).0, State::Draining);
    assert_eq!(say(&|standing| standing.stay()).0, State::Unhealthy);
    assert_eq!(say(&|standing| standing.check(verdict(State::Healthy))), (State::Unhealthy, "agent".into()));
    assert_eq!(say(&|standing| standing.report(report(Word::Up))).0, State::Ejected);
    assert_eq!(say(&|standing| standing.restore()).0, State::Healthy);
}

#[test]
fn a_drain_keeps_sessions_unless_the_endpoint_is_down() {
    let now = Moment::now();
    let draining = plain(now).after(now, |standing| standing.obey(Some(Order::Drain)));
    assert!(draining.status().keeps_sessions);
    let down = draining.after(now, |standing| standing.check(verdict(State::Unhealthy)));
    assert_eq!(down.status().state, State::Draining);
    assert!(!down.status().keeps_sessions);
    let closed = draining.after(now, |standing| standing.obey(Some(Order::Maintenance)));
    assert!(!closed.status().keeps_sessions);
}

#[test]
fn an_ejected_endpoint_keeps_its_sessions_as_long_as_it_answers() {
    let (now, until) = (Moment::now(), Moment::now().instant + SLOW);
    let ejected = |reached| plain(now).after(now, |standing| standing.eject(until, "failures".into(), reached));
    assert!(ejected(true).status().keeps_sessions && !ejected(false).status().keeps_sessions);
    assert_eq!(ejected(true).status().spared, Some(Spared { state: State::Healthy, reached: true }));
    let degraded = ejected(false).after(now, |standing| standing.check(verdict(State::Degraded)));
    assert_eq!(degraded.status().spared, Some(Spared { state: State::Degraded, reached: false }));
    let down = ejected(true).after(now, |standing| standing.check(verdict(State::Unhealthy)));
    assert_eq!((down.status().spared, down.status().keeps_sessions), (None, false));
    let drained = ejected(true).after(now, |standing| standing.obey(Some(Order::Drain)));
    assert!(drained.status().keeps_sessions && drained.status().spared.is_none());
    let next = plain(now).after(now, |standing| standing.inherit(ejected(true).reputation(now.instant), now.instant));
    assert!(next.status().keeps_sessions, "another process goes on with that");
}

#[test]
fn an_age_ends_with_its_state_only() {
    let now = Moment::now();
    let standing = plain(now).after(after(now, 5), |standing| standing.check(verdict(State::Healthy)));
    assert_eq!((standing.status().since, &*standing.status().why), (now.time, "check"));
    let standing = standing.after(after(now, 9), |standing| standing.check(verdict(State::Unhealthy)));
    assert_eq!(standing.status().since, after(now, 9).time);
}

#[test]
fn an_ejection_ends_by_itself() {
    let now = Moment::now();
    let ejected = plain(now).after(now, |standing| standing.eject(after(now, 30).instant, "failures".into(), false));
    assert!(ejected.status().is_passing);
    assert_eq!(ejected.after(after(now, 29), |_| {}).status().state, State::Ejected);
    let back = ejected.after(after(now, 30), |_| {});
    assert_eq!((back.status().state, back.status().is_passing), (State::Healthy, false));
}

#[test]
fn an_endpoint_that_returns_grows_linearly_to_its_weight() {
    let now = Moment::now();
    let standing = Standing::new(4, SLOW, false, now);
    assert_eq!((standing.status().state, standing.status().effective), (State::Healthy, 400));
    let down = standing.after(now, |standing| standing.check(verdict(State::Unhealthy)));
    let up = down.after(now, |standing| standing.check(verdict(State::Healthy)));
    assert_eq!((up.status().state, up.status().effective), (State::Warming, 4));
    assert_eq!(up.status().why, "slow start over 30s; check");
    let half = up.after(after(now, 15), |_| {});
    assert_eq!((half.status().weight_percent, half.status().effective), (50, 200));
    let whole = half.after(after(now, 30), |_| {});
    assert_eq!(
        (whole.status().state, whole.status().effective, whole.status().is_passing),
        (State::Healthy, 400, false)
    );
    assert_eq!(whole.status().since, after(now, 30).time);
}

#[test]
fn every_way_back_warms_and_the_start_of_the_process_does_not() {
    let now = Moment::now();
    let standing = Standing::new(1, SLOW, false, now);
    let ejected = standing.after(now, |standing| standing.eject(after(now, 1).instant, "x".into(), false));
    assert_eq!(ejected.after(after(now, 1), |_| {}).status().state, State::Warming);
    let closed = standing.after(now, |standing| standing.obey(Some(Order::Maintenance)));
    assert_eq!(closed.after(now, |standing| standing.obey(None)).status().state, State::Warming);
    let drained = standing.after(now, |standing| standing.obey(Some(Order::Drain)));
    assert_eq!(drained.after(now, |standing| standing.obey(None)).status().state, State::Healthy);
    assert_eq!(Standing::new(1, SLOW, true, now).status().state, State::Warming);
    assert_eq!(Standing::new(1, Duration::ZERO, true, now).status().state, State::Healthy);
}

#[test]
fn what_was_only_presumed_is_nothing_to_return_from() {
    let now = Moment::now();
    let presume = |newcomer| {
        let standing = Standing::new(1, SLOW, newcomer, now);
        standing.after(now, |standing| standing.presume(Verdict::unhealthy("not checked yet")))
    };
    let well = |standing: &Standing| standing.after(now, |standing| standing.check(verdict(State::Healthy)));
    assert_eq!(presume(false).status().state, State::Unhealthy);
    assert_eq!(well(&presume(false)).status().state, State::Healthy);
    assert_eq!(well(&presume(true)).status().state, State::Warming, "a newcomer warms up all the same");
    let down = presume(false).after(now, |standing| standing.check(verdict(State::Unhealthy)));
    assert_eq!(well(&down).status().state, State::Warming);
}

#[test]
fn a_degraded_endpoint_is_degraded_while_it_warms() {
    let now = Moment::now();
    let standing = Standing::new(1, SLOW, true, now).after(now, |standing| standing.check(verdict(State::Degraded)));
    assert_eq!((standing.status().state, standing.status().weight_percent), (State::Degraded, 1));
}

#[test]
fn percents_multiply() {
    let now = Moment::now();
    let standing = plain(now).after(now, |standing| {
        standing.check(Some(Verdict { state: State::Healthy, weight_percent: 50, why: String::new() }));
        standing.report(Some(Report {
            word: Word::Up,
            weight_percent: 50,
            max_connections: Some(9),
            why: String::new(),
        }));
        standing.load(200);
    });
    assert_eq!((standing.status().weight_percent, standing.status().effective), (50, 150));
    let heavy = standing.after(now, |standing| standing.configure(10));
    assert_eq!((heavy.weight(), heavy.status().effective), (10, 500));
    let none = heavy.after(now, |standing| standing.load(0));
    assert_eq!((none.status().weight_percent, none.status().effective), (0, 0));
}

proptest! {
    #[test]
    fn a_weight_is_lost_only_where_a_zero_says_so(
        weight in 0_u32..=1_000,
        percents in prop::array::uniform4(0_u32..5_000),
    ) {
        let effective = scaled(weight * 100, percents);
        let zero = weight == 0 || percents.contains(&0);
        prop_assert_eq!(effective == 0, zero);
    }
}
