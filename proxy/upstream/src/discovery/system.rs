//! What the system says on names: `/etc/resolv.conf` and `/etc/hosts`.

use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

/// The port of name servers.
const DNS: u16 = 53;
/// Most dots a name can be asked to have before it is taken as it is.
const MOST_DOTS: usize = 15;

/// Name servers, and what names mean here. By default nothing: a name is what it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct System {
    pub(super) servers: Vec<SocketAddr>,
    search: Vec<String>,
    dots: usize,
    hosts: HashMap<String, Vec<IpAddr>>,
}

impl System {
    /// What the files say now. One that cannot be read says nothing.
    pub(super) fn load() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self { hosts: hosts(&read("/etc/hosts")), ..resolv_conf(&read("/etc/resolv.conf")) }
    }

    /// The addresses of a name in the hosts file.
    pub(super) fn host(&self, name: &str) -> Option<&[IpAddr]> {
        self.hosts.get(&name.trim_end_matches('.').to_ascii_lowercase()).map(Vec::as_slice)
    }

    /// The names to ask for, in order. One with a dot at its end is meant as it is; one with enough dots is
    /// tried as it is before the search list, any other after it.
    pub(super) fn spellings(&self, name: &str) -> Vec<String> {
        let whole = name.trim_end_matches('.');
        let mut spellings = vec![whole.to_owned()];
        if whole == name {
            let below = self.search.iter().map(|domain| format!("{whole}.{domain}"));
            let place = if whole.matches('.').count() >= self.dots { 1 } else { 0 };
            spellings.splice(place..place, below);
        }
        spellings
    }
}

/// resolv.conf(5): `nameserver`, `search` or `domain`, and `options ndots:N`.
fn resolv_conf(text: &str) -> System {
    let mut system = System { dots: 1, ..System::default() };
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => {
                let server = words.next().and_then(|word| word.parse().ok());
                system.servers.extend(server.map(|ip: IpAddr| SocketAddr::new(ip, DNS)));
            }
            Some("search" | "domain") => {
                system.search = words.map(|domain| domain.trim_end_matches('.').to_ascii_lowercase()).collect();
                system.search.retain(|domain| !domain.is_empty());
            }
            Some("options") => {
                let dots = words.find_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                system.dots = dots.unwrap_or(system.dots).min(MOST_DOTS);
            }
            _ => {}
        }
    }
    if system.servers.is_empty() {
        system.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DNS));
    }
    system
}

/// hosts(5): an address, then its names.
fn hosts(text: &str) -> HashMap<String, Vec<IpAddr>> {
    let mut hosts: HashMap<String, Vec<IpAddr>> = HashMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else { continue };
        for name in words {
            hosts.entry(name.to_ascii_lowercase()).or_default().push(address);
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(text: &str) -> System {
        resolv_conf(text)
    }

    #[test]
    fn resolv_conf_names_servers_and_the_search_list() {
        let pod = system(
            "# by hand\nnameserver 10.0.0.10\nnameserver ::1\nsearch ns.svc.local svc.local.\noptions edns0 ndots:2\n",
        );
        assert_eq!(pod.servers, ["10.0.0.10:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
        assert_eq!(pod.spellings("api"), ["api.ns.svc.local", "api.svc.local", "api"]);
        assert_eq!(
            pod.spellings("api.example.com"),
            ["api.example.com", "api.example.com.ns.svc.local", "api.example.com.svc.local"]
        );
        assert_eq!(pod.spellings("api."), ["api"]);
        assert_eq!(system("nonsense\nnameserver x\n").servers, ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!(System::default().spellings("api"), ["api"]);
    }

    #[test]
    fn hosts_have_addresses_of_both_families() {
        let hosts = hosts("127.0.0.1 localhost Here # there\n::1\tlocalhost\nbad line\n");
        let system = System { hosts, ..System::default() };
        assert_eq!(system.host("LOCALHOST."), Some(&["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()][..]));
        assert_eq!(system.host("here").map(<[_]>::len), Some(1));
        assert_eq!(system.host("there"), None);
    }
}
