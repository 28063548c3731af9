//! What clients may take, in words.

use std::sync::Arc;

use weir_config::{Access, Algorithm, KeyPart, RateLimit, Tell, WithoutKey};

use super::{count, networks, time};

/// What may pass, by which key.
pub(super) fn of_limit(limit: &RateLimit) -> Vec<String> {
    let rate = limit.rate.map(|rate| {
        let of = format!("{} in {}", rate.count, time(rate.per));
        match rate.algorithm {
            Algorithm::TokenBucket { burst } => format!("{of}, {burst} at once"),
            Algorithm::SlidingWindow => format!("{of}, whenever that begins"),
        }
    });
    let in_flight = limit.max_in_flight.map(|most| format!("{most} in flight"));
    let what: Vec<String> = rate.into_iter().chain(in_flight).collect();
    let without = match limit.without_key {
        WithoutKey::Share if !limit.key.is_empty() => "; those without share one allowance",
        _ => "",
    };
    let mut lines = vec![format!("{} for {}{without}", what.join(", "), of_key(&limit.key))];
    let keys = if limit.key.is_empty() { String::new() } else { count(limit.capacity, "key") };
    if !keys.is_empty() {
        lines.push(format!("remembers {keys}"));
    }
    lines.extend((!limit.except.is_empty()).then(|| format!("not for {}", networks(&limit.except))));
    lines.extend(limit.dry_run.then(|| "refuses nothing, and counts what it would refuse".to_owned()));
    lines.extend(match limit.tell {
        Tell::Refused => None,
        Tell::Always => Some("every response tells of it".to_owned()),
        Tell::Never => Some("no response tells of it".to_owned()),
    });
    lines
}

/// Which limits are kept to.
pub(super) fn uses(what: &str, names: &[Arc<str>]) -> Option<String> {
    (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")))
}

/// Which networks may come in.
pub(super) fn of_access(access: &Access) -> Option<String> {
    match (access.allow.as_slice(), access.deny.as_slice()) {
        ([], []) => None,
        ([], deny) => Some(format!("not for {}", networks(deny))),
        (allow, []) => Some(format!("only for {}", networks(allow))),
        (allow, deny) => Some(format!("only for {}, and not for {}", networks(allow), networks(deny))),
    }
}

fn of_key(key: &[KeyPart]) -> String {
    match key {
        [] => "all together".to_owned(),
        parts => format!("each {}", parts.iter().map(of_part).collect::<Vec<_>>().join(" and ")),
    }
}

fn of_part(part: &KeyPart) -> String {
    match part {
        KeyPart::Client { ipv4, ipv6 } => format!("client (IPv4 /{ipv4}, IPv6 /{ipv6})"),
        KeyPart::Header(name) => format!("value of header {name}"),
        KeyPart::Cookie(name) => format!("value of cookie {name}"),
        KeyPart::Tenant => "tenant".to_owned(),
        KeyPart::Route => "route".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weir_config::Rate;

    use super::*;

    #[test]
    fn limits_read_as_sentences() {
        let bucket = Algorithm::TokenBucket { burst: 20 };
        let limit = RateLimit {
            name: "r".into(),
            rate: Some(Rate { count: 100, per: Duration::from_secs(1), algorithm: bucket }),
            max_in_flight: Some(7),
            key: vec![KeyPart::Client { ipv4: 32, ipv6: 64 }, KeyPart::Header("x-key".into())],
            without_key: WithoutKey::Share,
            capacity: 1_000,
            except: vec!["10.0.0.0/8".parse().unwrap()],
            dry_run: true,
            tell: Tell::Always,
        };
        assert_eq!(
            of_limit(&limit),
            [
                "100 in 1s, 20 at once, 7 in flight for each client (IPv4 /32, IPv6 /64) and value of header x-key; \
                 those without share one allowance",
                "remembers 1000 keys",
                "not for 10.0.0.0/8",
                "refuses nothing, and counts what it would refuse",
                "every response tells of it",
            ]
        );
        let all = RateLimit { rate: None, key: vec![], except: vec![], dry_run: false, tell: Tell::Refused, ..limit };
        assert_eq!(of_limit(&all), ["7 in flight for all together"]);
    }

    #[test]
    fn networks_read_as_sentences() {
        let networks = || vec!["10.0.0.0/8".parse().unwrap()];
        let access = |allow, deny| of_access(&Access { allow, deny });
        assert_eq!(access(vec![], vec![]), None);
        assert_eq!(access(networks(), vec![]).unwrap(), "only for 10.0.0.0/8");
        assert_eq!(access(vec![], networks()).unwrap(), "not for 10.0.0.0/8");
    }
}
