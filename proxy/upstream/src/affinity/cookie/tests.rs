use proptest::prelude::*;

use super::*;
use crate::{fixture, standing::Moment};

const IDLE: Duration = Duration::from_secs(30 * 60);
const MAX: Duration = Duration::from_secs(8 * 60 * 60);

fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn affinity(cluster: &str, secret: &[u8]) -> CookieAffinity {
    owned(Owner::Cluster(cluster), secret)
}

fn owned(owner: Owner<'_>, secret: &[u8]) -> CookieAffinity {
    let config = fixture::cookie();
    let AffinityKind::Cookie(cookie) = &config.kind else { panic!() };
    CookieAffinity::with_secret(owner, &config, cookie, secret).unwrap()
}

fn endpoint() -> Endpoint {
    Endpoint::new(&fixture::cluster(&[1]).endpoints[0], Duration::ZERO, false, Moment::now())
}

fn value(set_cookie: &str) -> &str {
    let pair = set_cookie.split(';').next().unwrap();
    pair.strip_prefix("weir=").unwrap()
}

#[test]
fn a_sealed_cookie_says_endpoint_and_times() {
    let affinity = affinity("web", &[7; 32]);
    let now = start() + Duration::from_secs(60);
    let cookie = affinity.seal(&endpoint(), start(), "", now);
    let session = affinity.open(value(&cookie), "", now).unwrap();
    assert_eq!(session.endpoint, endpoint().address());
    assert_eq!((session.first, session.last), (start(), now));
    assert!(!session.refresh);
    assert!(cookie.ends_with("; Path=/; Max-Age=1800; HttpOnly; SameSite=Lax"));
}

#[test]
fn a_cookie_shows_nothing_of_its_endpoint_and_differs_every_time() {
    let affinity = affinity("web", &[7; 32]);
    let seal = || affinity.seal(&endpoint(), start(), "", start());
    assert_ne!(seal(), seal());
    assert!(!seal().contains("127"));
    assert!(seal().len() < 200);
}

#[test]
fn another_cluster_or_secret_opens_nothing() {
    let cookie = affinity("web", &[7; 32]).seal(&endpoint(), start(), "", start());
    let open = |cluster, secret: &[u8]| affinity(cluster, secret).open(value(&cookie), "", start());
    assert!(open("web", &[7; 32]).is_some());
    assert_eq!(open("api", &[7; 32]), None);
    assert_eq!(open("web", &[8; 32]), None);
}

#[test]
fn another_scope_or_owner_opens_nothing() {
    let cookie = affinity("web", &[7; 32]).seal(&endpoint(), start(), "acme", start());
    let open = |owner, scope| owned(owner, &[7; 32]).open(value(&cookie), scope, start()).is_some();
    assert!(open(Owner::Cluster("web"), "acme"));
    for (owner, scope) in [
        (Owner::Cluster("web"), "other"),
        (Owner::Cluster("web"), ""),
        (Owner::Tenant("web"), "acme"),
        (Owner::Tenant("acme"), "web"),
    ] {
        assert!(!open(owner, scope), "{owner:?} {scope}");
    }
}

#[test]
fn times_without_limit_are_cut_where_browsers_cut_them() {
    let mut config = fixture::cookie();
    (config.idle, config.max) = (None, None);
    let AffinityKind::Cookie(cookie) = &config.kind else { panic!() };
    let affinity = CookieAffinity::with_secret(Owner::Cluster("web"), &config, cookie, &[7; 32]).unwrap();
    let sealed = affinity.seal(&endpoint(), start(), "", start());
    assert!(sealed.contains("Max-Age=34560000;"), "{sealed}");
    let years = start() + Duration::from_secs(5 * 365 * 24 * 60 * 60);
    assert!(affinity.open(value(&sealed), "", years).is_some());
}

#[test]
fn the_cookie_lives_no_longer_than_its_session() {
    let affinity = affinity("web", &[7; 32]);
    let now = start() + MAX - Duration::from_secs(100);
    assert!(affinity.seal(&endpoint(), start(), "", now).contains("Max-Age=100;"));
}

#[test]
fn without_a_secret_file_a_reload_keeps_the_key() {
    let mut config = fixture::cluster(&[1]);
    config.affinity = Some(fixture::cookie());
    let first = crate::Cluster::build(&config, None);
    let cookie = cookie_of(&first).seal(&endpoint(), start(), "", start());
    if let Some(affinity) = &mut config.affinity {
        affinity.idle = Some(2 * IDLE);
    }
    let second = crate::Cluster::build(&config, Some(&first));
    assert!(cookie_of(&second).open(value(&cookie), "", start()).is_some());
    config.name = "other".into();
    let stranger = crate::Cluster::build(&config, None);
    assert_eq!(cookie_of(&stranger).open(value(&cookie), "", start()), None);
}

#[test]
fn a_secret_file_gives_processes_the_same_key_and_must_be_long() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut config = fixture::cluster(&[1]);
    config.affinity = Some(fixture::cookie());
    if let AffinityKind::Cookie(cookie) = &mut config.affinity.as_mut().unwrap().kind {
        cookie.secret = Some(file.path().to_owned());
    }
    let short = crate::Cluster::check(&config).unwrap_err();
    assert!(short.contains("0 bytes, at least 32"), "{short}");
    std::fs::write(file.path(), [3; 40]).unwrap();
    assert_eq!(crate::Cluster::check(&config), Ok(()));
    let build = || crate::Cluster::build(&config, None);
    let cookie = cookie_of(&build()).seal(&endpoint(), start(), "", start());
    assert!(cookie_of(&build()).open(value(&cookie), "", start()).is_some());
}

fn cookie_of(cluster: &crate::Cluster) -> &CookieAffinity {
    match cluster.affinity() {
        Some(crate::Affinity::Cookie(cookie)) => cookie,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn an_applications_value_comes_back_whole(own in "[!-:<-~]*") {
        let mark = affinity("web", &[7; 32]).mark(&endpoint(), start(), "", start());
        let together = prefixed(&mark, own.as_bytes());
        prop_assert_eq!(unprefixed(&together), Some((&*mark, own.as_bytes())));
    }

    #[test]
    fn what_bears_no_mark_is_left_alone(own in "\\PC{0,120}") {
        let marked = own.as_bytes().get(MARK_LEN) == Some(&SEPARATOR);
        prop_assert!(marked || unprefixed(own.as_bytes()).is_none());
    }

    #[test]
    fn every_address_comes_back(address: SocketAddr) {
        let plain = Plain { endpoint: address, first: start(), last: start() };
        let read = Plain::read(&plain.write()).unwrap();
        prop_assert_eq!(read.endpoint.ip(), address.ip());
        prop_assert_eq!(read.endpoint.port(), address.port());
    }

    #[test]
    fn a_changed_cookie_opens_nothing(at in 0_usize..80, to in "[A-Za-z0-9_-]") {
        let affinity = affinity("web", &[7; 32]);
        let cookie = affinity.seal(&endpoint(), start(), "", start());
        let mut forged = value(&cookie).to_owned();
        forged.replace_range(at..=at, &to);
        prop_assume!(forged != value(&cookie));
        prop_assert_eq!(affinity.open(&forged, "", start()), None);
    }

    #[test]
    fn whatever_a_client_sends_is_borne(value: String) {
        prop_assert_eq!(affinity("web", &[7; 32]).open(&value, "", start()), None);
    }

    #[test]
    fn a_session_ends_by_idle_and_by_max(seen in 0_u64..40_000, asked in 0_u64..40_000) {
        let affinity = affinity("web", &[7; 32]);
        let last = start() + Duration::from_secs(seen);
        let now = last + Duration::from_secs(asked);
        let cookie = affinity.seal(&endpoint(), start(), "", last);
        let session = affinity.open(value(&cookie), "", now);
        let idle = Duration::from_secs(asked);
        let lives = idle < IDLE && Duration::from_secs(seen + asked) < MAX;
        prop_assert_eq!(session.is_some(), lives);
        prop_assert_eq!(session.is_some_and(|session| session.refresh), lives && idle > IDLE / 4);
    }
}
