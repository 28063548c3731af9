//! Every role, and every way to fail at it. A binding's settings say what it does:
//! `{"do": "loop"}`. What is not named in a role is answered calmly.

mod harm;

use std::cell::RefCell;

wit_bindgen::generate!({ path: "../../../wit", world: "weir:plugin/plugin" });

use exports::weir::plugin::{
    affinity::{self, Mark, Session},
    balancer,
    health::{self, State, Verdict},
    lifecycle::{self, Role},
    router::{self, Decision, Forward, Response},
};
use weir::plugin::{
    candidates::{self, KeySource},
    request, target,
};

thread_local! {
    /// What each binding does, by number.
    static BINDINGS: RefCell<Vec<(u32, String)>> = const { RefCell::new(Vec::new()) };
}

struct Guest;
export!(Guest);

impl lifecycle::Guest for Guest {
    fn configure(binding: u32, _: Role, settings: String) -> Result<(), String> {
        let what = word(&settings, "do").unwrap_or_default().to_owned();
        match what.as_str() {
            "refuse" => return Err("`do` must not be \"refuse\"".to_owned()),
            "trap-at-start" => harm::trap(),
            "loop-at-start" => harm::spin(),
            "ask-at-start" => drop(request::method()),
            _ => {}
        }
        BINDINGS.with_borrow_mut(|bindings| {
            let place = bindings.partition_point(|(number, _)| *number < binding);
            bindings.insert(place, (binding, what));
        });
        Ok(())
    }

    fn release(binding: u32) {
        BINDINGS.with_borrow_mut(|bindings| bindings.retain(|(number, _)| *number != binding));
    }
}

impl router::Guest for Guest {
    fn route(binding: u32) -> Decision {
        match harmed(binding).as_str() {
            "forward" => Decision::Forward(forward()),
            "nowhere" => Decision::Forward(Forward { cluster: Some("nowhere".into()), ..calm() }),
            "split" => Decision::Forward(Forward { set_headers: pairs(&[("x-a", "b\r\nx-c: d")]), ..calm() }),
            "bad-status" => Decision::Respond(Response { status: 99, headers: vec![], body: vec![] }),
            "bindings" => respond(BINDINGS.with_borrow(Vec::len).to_string()),
            "request" => respond(everything()),
            "certificate" => respond(format!("{:?}", request::client_certificate())),
            "candidates" => respond(candidates::len().to_string()),
            _ => Decision::Pass,
        }
    }
}

impl balancer::Guest for Guest {
    fn pick(binding: u32) -> Option<u32> {
        match harmed(binding).as_str() {
            "bad-index" => Some(candidates::len()),
            "none" => None,
            "least" => (0..candidates::len()).min_by_key(|index| in_flight(*index)),
            "packed" => {
                let figures = candidates::all_figures();
                (0..candidates::len()).min_by_key(|index| figures[*index as usize * 4])
            }
            "in-flight" => (0..candidates::len()).min_by_key(|index| candidates::in_flight(*index)),
            "sum" => (candidates::in_flight_of_all() == (0..candidates::len()).map(in_flight).sum()).then_some(0),
            "hash" => hashes_tell_keys_apart().then_some(0),
            "header" => request::header("x-index")?.parse().ok(),
            "name" => (0..candidates::len()).find(|index| candidates::name(*index) == request::header("x-name")),
            "label" => (0..candidates::len()).find(|index| candidates::label(*index, "zone") == candidates::hash_key()),
            "bench" => {
                let user = request::header("x-user").map_or(0, |user| user.len() as u32);
                let index = user % 10;
                Some(candidates::figures_of(index)?.in_flight.min(index))
            }
            _ => Some(0),
        }
    }
}

/// For a request whose header, cookie and client's address are of the same text.
fn hashes_tell_keys_apart() -> bool {
    let hash = candidates::key_hash;
    let address = hash(KeySource::ClientAddress, "");
    let same = [(KeySource::Header, "x-address"), (KeySource::Cookie, "address"), (KeySource::Header, "x-none")];
    same.iter().all(|(source, name)| hash(*source, name) == address) && hash(KeySource::Header, "x-user") != address
}

impl affinity::Guest for Guest {
    fn lookup(binding: u32) -> Option<Session> {
        match harmed(binding).as_str() {
            "long-key" => Some(session("k".repeat(513))),
            _ => request::cookie("sid").map(session),
        }
    }

    fn bound(binding: u32, key: Option<String>, endpoint: String) -> Mark {
        harmed(binding);
        let key = key.unwrap_or(endpoint);
        Mark { headers: pairs(&[("set-cookie", &format!("sid={key}"))]), session: Some(session(key)) }
    }
}

impl health::Guest for Guest {
    fn check(binding: u32) -> Verdict {
        match harmed(binding).as_str() {
            "http" => http(),
            "stream" => stream(),
            "heavy" => Verdict { state: State::Healthy, weight: Some(101), why: String::new() },
            "drain" => Verdict { state: State::Drain, weight: Some(50), why: target::name() },
            _ => Verdict { state: State::Healthy, weight: None, why: "calm".into() },
        }
    }
}

/// Do the harm a binding was made for; else say what it does.
fn harmed(binding: u32) -> String {
    let what = BINDINGS.with_borrow(|bindings| {
        let place = bindings.binary_search_by_key(&binding, |(number, _)| *number).ok()?;
        bindings.get(place).map(|(_, what)| what.clone())
    });
    let what = what.unwrap_or_default();
    match what.as_str() {
        "trap" => harm::trap(),
        "trap-if-asked" if request::header("x-trap").is_some() => harm::trap(),
        "loop" => harm::spin(),
        "memory" => harm::hoard(),
        "recurse" => drop(harm::descend(1)),
        _ => {}
    }
    what
}

fn http() -> Verdict {
    match target::http("GET", "/health", &pairs(&[("accept", "*/*")]), b"") {
        Ok(response) if response.status == 200 => {
            let why = String::from_utf8_lossy(&response.body).into_owned();
            Verdict { state: State::Healthy, weight: None, why }
        }
        Ok(response) => verdict(State::Degraded, format!("status {}", response.status)),
        Err(why) => verdict(State::Unhealthy, why),
    }
}

fn stream() -> Verdict {
    let talk = || {
        let connection = target::open()?;
        target::write(connection, b"ping")?;
        let heard = target::read(connection, 64)?;
        target::close(connection);
        Ok(String::from_utf8_lossy(&heard).into_owned())
    };
    match talk() {
        Ok(heard) => verdict(State::Healthy, heard),
        Err(why) => verdict(State::Unhealthy, why),
    }
}

fn verdict(state: State, why: String) -> Verdict {
    Verdict { state, weight: None, why }
}

/// All that a request tells, one line each.
fn everything() -> String {
    let tls = request::tls().map(|tls| format!("{} {:?} {:?}", tls.version, tls.sni, tls.alpn));
    [
        request::method(),
        request::scheme(),
        request::authority(),
        request::path(),
        request::query().unwrap_or_default(),
        request::header("X-One").unwrap_or_default(),
        request::headers("x-two").join("+"),
        request::header_names().join("+"),
        request::cookie("sid").unwrap_or_default(),
        request::client_address(),
        tls.unwrap_or_default(),
        request::tenant().unwrap_or_default(),
        request::listener(),
        request::route(),
    ]
    .join("\n")
}

fn forward() -> Forward {
    Forward {
        cluster: Some("other".into()),
        set_headers: pairs(&[("x-set", "1")]),
        remove_headers: vec!["x-gone".into()],
        path: Some("/new?a=b".into()),
        hash_key: request::header("x-user"),
        labels: pairs(&[("zone", "a")]),
    }
}

fn calm() -> Forward {
    Forward { cluster: None, set_headers: vec![], remove_headers: vec![], path: None, hash_key: None, labels: vec![] }
}

fn respond(body: String) -> Decision {
    Decision::Respond(Response { status: 200, headers: vec![], body: body.into_bytes() })
}

fn session(key: String) -> Session {
    Session { key, idle: Some(60), max: None }
}

fn in_flight(index: u32) -> u32 {
    candidates::figures_of(index).map_or(u32::MAX, |figures| figures.in_flight)
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The text of one key, in JSON without blanks and escapes.
fn word<'a>(settings: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = settings.split_once(&format!("\"{key}\":\""))?;
    rest.split('"').next()
}
