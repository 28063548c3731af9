//! Which networks may come in.

use std::{collections::HashMap, net::IpAddr};

use weir_config::Network;

/// Networks with what is decided of them. Of those that an address is in, the longest decides.
#[derive(Debug)]
pub struct Access {
    allowed: HashMap<Network, bool>,
    /// Lengths of networks, the longest first.
    lengths: Vec<u8>,
    others: bool,
}

impl Access {
    /// As configured; none where everybody may come in.
    pub fn new(config: &weir_config::Access) -> Option<Self> {
        if config.allow.is_empty() && config.deny.is_empty() {
            return None;
        }
        let allow = config.allow.iter().map(|network| (*network, true));
        // Later ones replace earlier ones: what is in both is denied.
        let deny = config.deny.iter().map(|network| (*network, false));
        let allowed: HashMap<Network, bool> = allow.chain(deny).collect();
        let mut lengths: Vec<u8> = allowed.keys().map(Network::bits).collect();
        lengths.sort_unstable_by(|one, other| other.cmp(one));
        lengths.dedup();
        Some(Self { allowed, lengths, others: config.allow.is_empty() })
    }

    /// Whether an address may come in. An IPv4 address written as an IPv6 one counts as IPv4.
    pub fn allows(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let networks = self.lengths.iter().filter_map(|bits| Network::around(ip, *bits));
        let mut decided = networks.filter_map(|network| self.allowed.get(&network));
        decided.next().copied().unwrap_or(self.others)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn access(allow: &[&str], deny: &[&str]) -> Option<Access> {
        let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Access::new(&weir_config::Access { allow: networks(allow), deny: networks(deny) })
    }

    fn allows(access: &Access, ip: &str) -> bool {
        access.allows(ip.parse().unwrap())
    }

    #[test]
    fn without_lists_there_is_nothing_to_ask() {
        assert!(access(&[], &[]).is_none());
    }

    #[test]
    fn a_list_of_those_denied_lets_others_in() {
        let access = access(&[], &["10.0.0.0/8", "2001:db8::/32"]).unwrap();
        assert!(!allows(&access, "10.1.2.3") && !allows(&access, "2001:db8::1") && !allows(&access, "::ffff:10.1.2.3"));
        assert!(allows(&access, "11.1.2.3") && allows(&access, "2001:db9::1"));
    }

    #[test]
    fn a_list_of_those_allowed_keeps_others_out() {
        let access = access(&["10.0.0.0/8"], &[]).unwrap();
        assert!(allows(&access, "10.1.2.3"));
        assert!(!allows(&access, "11.1.2.3") && !allows(&access, "::1"));
    }

    #[test]
    fn the_longest_network_decides_and_of_equals_the_one_denied() {
        let access = access(&["10.0.0.0/8", "10.1.2.3", "10.9.0.0/16"], &["10.1.0.0/16", "10.9.0.0/16"]).unwrap();
        assert!(allows(&access, "10.2.0.1") && allows(&access, "10.1.2.3"));
        assert!(!allows(&access, "10.1.2.4") && !allows(&access, "10.9.0.1"));
    }

    proptest! {
        #[test]
        fn it_decides_as_a_look_at_every_network_does(
            allow in prop::collection::vec((any::<u32>(), 0..=4_u8), 0..6),
            deny in prop::collection::vec((any::<u32>(), 0..=4_u8), 0..6),
            ip in any::<u32>(),
        ) {
            let network = |(ip, bits): &(u32, u8)| Network::around(IpAddr::V4((*ip).into()), *bits).unwrap();
            let config = weir_config::Access {
                allow: allow.iter().map(network).collect(),
                deny: deny.iter().map(network).collect(),
            };
            let ip = IpAddr::V4(ip.into());
            let longest = |list: &[Network]| list.iter().filter(|one| one.contains(ip)).map(Network::bits).max();
            let expected = match (longest(&config.allow), longest(&config.deny)) {
                (Some(allowed), Some(denied)) => allowed > denied,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => config.allow.is_empty(),
            };
            prop_assert_eq!(Access::new(&config).is_none_or(|access| access.allows(ip)), expected);
        }
    }
}
