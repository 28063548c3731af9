use super::*;
use crate::fixture;

fn endpoint(port: u16, weight: u32) -> Endpoint {
    Endpoint { weight, ..Endpoint::at(SocketAddr::from(([127, 0, 0, 1], port))) }
}

fn wanted(roster: &Roster) -> Vec<(u16, u32)> {
    roster.wanted().iter().map(|endpoint| (endpoint.address.port(), endpoint.weight)).collect()
}

#[test]
fn file_discovery_and_operator_come_together() {
    let config = fixture::cluster(&[1, 1]);
    let mut roster = Roster::of(&config, None);
    roster.find(vec![endpoint(9_100, 5), endpoint(9_000, 7)], None, SystemTime::now());
    assert_eq!(wanted(&roster), [(9_000, 1), (9_001, 1), (9_100, 5)], "the file's description counts");
    roster.put(endpoint(9_200, 2));
    roster.put(endpoint(9_100, 6));
    roster.delete(config.endpoints[0].address);
    assert_eq!(wanted(&roster), [(9_001, 1), (9_100, 6), (9_200, 2)]);
    let origins = roster.origins();
    let of = |port| origins[&endpoint(port, 1).address];
    assert_eq!((of(9_001), of(9_100), of(9_200)), (Origin::File, Origin::Admin, Origin::Admin));
    roster.find(vec![endpoint(9_300, 1)], None, SystemTime::now());
    assert_eq!(wanted(&roster), [(9_001, 1), (9_300, 1), (9_100, 6), (9_200, 2)]);
}

#[test]
fn the_operators_word_holds_until_the_file_says_something_else() {
    let config = fixture::cluster(&[1, 1, 1]);
    let mut roster = Roster::of(&config, None);
    roster.delete(endpoint(9_000, 1).address);
    roster.put(endpoint(9_001, 4));
    roster.put(endpoint(9_500, 1));
    let mut next = config.clone();
    next.endpoints[2].weight = 8;
    let again = Roster::of(&next, Some((&roster, &config)));
    assert_eq!(wanted(&again), [(9_001, 4), (9_002, 8), (9_500, 1)]);
    next.endpoints[0].weight = 2;
    next.endpoints[1].weight = 3;
    next.endpoints.push(endpoint(9_500, 7));
    let spoken = Roster::of(&next, Some((&again, &next)));
    assert_eq!(wanted(&spoken), [(9_000, 2), (9_001, 3), (9_002, 8), (9_500, 7)]);
}

#[test]
fn what_only_the_operator_added_is_forgotten_when_it_is_deleted() {
    let mut roster = Roster::of(&fixture::cluster(&[1]), None);
    roster.put(endpoint(9_100, 1));
    roster.delete(endpoint(9_100, 1).address);
    roster.find(vec![endpoint(9_100, 1)], None, SystemTime::now());
    assert_eq!(wanted(&roster), [(9_000, 1), (9_100, 1)]);
    roster.delete(endpoint(9_100, 1).address);
    roster.find(vec![endpoint(9_100, 1)], None, SystemTime::now());
    assert_eq!(wanted(&roster), [(9_000, 1)], "what others list stays deleted");
}

#[test]
fn what_was_found_is_kept_where_it_is_still_looked_for() {
    let mut config = fixture::cluster(&[]);
    config.discover = Some(weir_config::Discover::Srv("a".to_owned()));
    let mut roster = Roster::of(&config, None);
    assert_eq!(roster.discovery().answered, None);
    roster.find(vec![endpoint(9_100, 1)], None, SystemTime::now());
    assert!(roster.miss("timed out") && !roster.miss("timed out"));
    let same = Roster::of(&config, Some((&roster, &config)));
    assert_eq!((wanted(&same), same.discovery().fault.as_deref()), (vec![(9_100, 1)], Some("timed out")));
    let mut other = config.clone();
    other.discover = Some(weir_config::Discover::Srv("b".to_owned()));
    assert!(wanted(&Roster::of(&other, Some((&roster, &config)))).is_empty());
}

#[test]
fn words_of_another_process_are_heeded_where_the_file_says_the_same() {
    let config = fixture::cluster(&[1, 1]);
    let mut roster = Roster::of(&config, None);
    roster.delete(endpoint(9_000, 1).address);
    roster.put(endpoint(9_001, 4));
    roster.put(endpoint(9_500, 1));
    let mut next = config.clone();
    next.endpoints[0].weight = 2;
    let mut successor = Roster::of(&next, None);
    successor.heed(roster.words().clone());
    assert_eq!(wanted(&successor), [(9_000, 2), (9_001, 4), (9_500, 1)]);
}
