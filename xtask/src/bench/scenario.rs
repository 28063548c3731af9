//! What is measured, and how: rounds interleaved over the proxies, the median of each.

use anyhow::Result;

use super::{
    cpu,
    load::{self, Latency, Traffic},
    proxy::{Proxy, serves},
};
use crate::peers::Kind;

/// One kind of traffic.
pub struct Scenario {
    /// As `--scenario` names it.
    pub name: &'static str,
    /// One line for people.
    pub what: &'static str,
    /// Requests of one round.
    pub requests: u64,
    /// What clients ask for.
    pub path: &'static str,
    /// How they ask.
    pub traffic: Traffic,
}

/// All of them, in the order they are run and shown.
pub const SCENARIOS: [Scenario; 12] = [
    Scenario {
        name: "h1-tiny",
        what: "HTTP/1.1, 64 kept connections, 13 bytes",
        requests: 100_000,
        path: "/tiny",
        traffic: Traffic::Http1,
    },
    Scenario {
        name: "h1-64k",
        what: "HTTP/1.1, 64 kept connections, 64 KiB",
        requests: 30_000,
        path: "/64k",
        traffic: Traffic::Http1,
    },
    Scenario {
        name: "h1-1m",
        what: "HTTP/1.1, 64 kept connections, 1 MiB",
        requests: 4_000,
        path: "/1m",
        traffic: Traffic::Http1,
    },
    Scenario {
        name: "h1-connection-per-request",
        what: "a connection for each request, 64 at a time, 13 bytes",
        requests: 30_000,
        path: "/tiny",
        traffic: Traffic::ConnectionEach,
    },
    Scenario {
        name: "tls-h1",
        what: "HTTP/1.1 over TLS 1.3, 64 kept connections, 13 bytes",
        requests: 100_000,
        path: "/tiny",
        traffic: Traffic::TlsHttp1,
    },
    Scenario {
        name: "tls-h2",
        what: "HTTP/2 over TLS 1.3, 8 connections of 8 streams, 13 bytes",
        requests: 100_000,
        path: "/tiny",
        traffic: Traffic::TlsHttp2,
    },
    Scenario {
        name: "tiny-three",
        what: "h1-tiny from 8 users over 3 endpoints, round robin",
        requests: 100_000,
        path: "/three/tiny",
        traffic: Traffic::Users,
    },
    Scenario {
        name: "tiny-native",
        what: "h1-tiny from 8 users over 3 endpoints, consistent hash of a header",
        requests: 100_000,
        path: "/hash/tiny",
        traffic: Traffic::Users,
    },
    Scenario {
        name: "tiny-plugin",
        what: "the same; Weir's pick is made by the plugin `consistent-hash`",
        requests: 100_000,
        path: "/plugin/tiny",
        traffic: Traffic::Users,
    },
    Scenario {
        name: "tcp-tiny",
        what: "h1-tiny through a listener that passes TCP on",
        requests: 100_000,
        path: "/tiny",
        traffic: Traffic::Tcp,
    },
    Scenario {
        name: "tcp-1m",
        what: "h1-1m through a listener that passes TCP on",
        requests: 4_000,
        path: "/1m",
        traffic: Traffic::Tcp,
    },
    Scenario {
        name: "udp-echo",
        what: "datagrams of 64 bytes there and back, 64 clients (haproxy knows no UDP)",
        requests: 200_000,
        path: "",
        traffic: Traffic::Udp,
    },
];

/// The pick by native code and the pick by the plugin.
pub const PAIR: [&str; 2] = ["tiny-native", "tiny-plugin"];

/// One proxy in one scenario.
pub struct Measured {
    /// The scenario's name.
    pub scenario: &'static str,
    /// Whose figures these are.
    pub proxy: Kind,
    /// Microseconds of CPU per request, a number each round.
    pub rounds: Vec<f64>,
    /// Requests a second in the median round; the client's core is the bound more often than the proxy's.
    pub rate: f64,
    /// From a round of its own.
    pub latency: Latency,
}

impl Measured {
    /// Median of the rounds.
    pub fn median(&self) -> f64 {
        median(&self.rounds)
    }

    /// Median of the ratios of rounds that ran one after the other: what slows the whole machine for a
    /// while is in both figures.
    pub fn ratio_to(&self, peer: &Measured) -> f64 {
        let ratios: Vec<f64> = self.rounds.iter().zip(&peer.rounds).map(|(ours, theirs)| ours / theirs).collect();
        median(&ratios)
    }

    /// Median of the differences of rounds that ran one after the other, in microseconds.
    pub fn more_than(&self, other: &Measured) -> f64 {
        let differences: Vec<f64> = self.rounds.iter().zip(&other.rounds).map(|(ours, theirs)| ours - theirs).collect();
        median(&differences)
    }

    /// Largest less smallest round, in percent of the median.
    pub fn spread(&self) -> f64 {
        let most = self.rounds.iter().copied().fold(f64::MIN, f64::max);
        let least = self.rounds.iter().copied().fold(f64::MAX, f64::min);
        (most - least) / self.median() * 100.0
    }
}

/// Scenarios whose rounds are interleaved, so that their difference means something.
pub fn together(chosen: &[&'static Scenario]) -> Vec<Vec<&'static Scenario>> {
    let (pair, alone): (Vec<_>, Vec<_>) = chosen.iter().partition(|scenario| PAIR.contains(&scenario.name));
    let mut groups: Vec<Vec<&Scenario>> = alone.into_iter().map(|scenario| vec![scenario]).collect();
    groups.extend((!pair.is_empty()).then_some(pair));
    groups
}

/// Warm up, then measure all proxies in all these scenarios round by round, then their latency.
pub fn measure(
    scenarios: &[&'static Scenario],
    proxies: &[Proxy],
    rounds: usize,
    requests: impl Fn(&Scenario) -> u64,
) -> Result<Vec<Measured>> {
    let turns: Vec<(&'static Scenario, &Proxy)> = proxies
        .iter()
        .flat_map(|proxy| scenarios.iter().map(move |scenario| (*scenario, proxy)))
        .filter(|(scenario, proxy)| serves(proxy.kind(), &scenario.traffic))
        .collect();
    let mut figures = vec![Vec::new(); turns.len()];
    for (scenario, proxy) in &turns {
        round(scenario, proxy, requests(scenario) / 4)?;
    }
    for number in 0..rounds {
        for at in 0..turns.len() {
            let turn = (at + number) % turns.len();
            if let (Some((scenario, proxy)), Some(figures)) = (turns.get(turn), figures.get_mut(turn)) {
                figures.push(round(scenario, proxy, requests(scenario))?);
            }
        }
    }
    turns
        .iter()
        .zip(figures)
        .map(|((scenario, proxy), figures)| gather(scenario, proxy, figures, requests(scenario)))
        .collect()
}

/// Microseconds of CPU per request, and requests a second.
type Round = (f64, f64);

fn round(scenario: &Scenario, proxy: &Proxy, requests: u64) -> Result<Round> {
    let before = cpu::spent(proxy.id())?;
    let took = load::run(&scenario.traffic, &proxy.url(scenario), requests)?;
    let spent = cpu::spent(proxy.id())? - before;
    let requests = requests as f64;
    Ok((spent.as_secs_f64() * 1e6 / requests, requests / took.as_secs_f64()))
}

fn gather(scenario: &'static Scenario, proxy: &Proxy, figures: Vec<Round>, requests: u64) -> Result<Measured> {
    let latency = load::latency(&scenario.traffic, &proxy.url(scenario), requests / 2, proxy.folder())?;
    let (rounds, rates): (Vec<f64>, Vec<f64>) = figures.into_iter().unzip();
    let measured = Measured { scenario: scenario.name, proxy: proxy.kind(), rounds, rate: median(&rates), latency };
    eprintln!(
        "  {:<26} {:<8} {:>8.2} us of CPU per request (spread {:.1} %), {:.0} requests/s",
        scenario.name,
        proxy.kind().name(),
        measured.median(),
        measured.spread(),
        measured.rate
    );
    Ok(measured)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_one() {
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_pair_is_measured_together() {
        let all: Vec<&Scenario> = SCENARIOS.iter().collect();
        let groups = together(&all);
        let pair: Vec<&str> = groups.last().unwrap().iter().map(|scenario| scenario.name).collect();
        assert_eq!(pair, PAIR);
        assert_eq!(groups.iter().flatten().count(), SCENARIOS.len());
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), SCENARIOS.len());
    }
}
