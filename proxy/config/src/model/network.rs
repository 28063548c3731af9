//! Networks: an address and how much of it counts.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// Addresses that begin with the same bits, such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Of addresses that share their first `bits` bits with this one; none where it has fewer, or has
    /// more that are set.
    pub fn new(address: IpAddr, bits: u8) -> Option<Self> {
        let (most, rest) = match address {
            IpAddr::V4(ip) => (32, u128::from(ip.to_bits()) << 96),
            IpAddr::V6(ip) => (128, ip.to_bits()),
        };
        let beyond = if bits >= 128 { 0 } else { rest << bits };
        (bits <= most && beyond == 0).then_some(Self { address, bits })
    }

    /// Whether an address is in it. An IPv4 address written as an IPv6 one counts as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                u64::from(own.to_bits() ^ ip.to_bits()) >> (32 - u32::from(self.bits)) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                (own.to_bits() ^ ip.to_bits()).checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// How many bits its addresses share.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether every address of the other is in it.
    pub fn covers(&self, other: &Self) -> bool {
        self.bits <= other.bits && self.contains(other.address)
    }

    /// The network around an address of this many bits.
    pub fn around(address: IpAddr, bits: u8) -> Option<Self> {
        let masked = match address {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits.into())?).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128_u32.checked_sub(bits.into())?).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
            }
        };
        Self::new(masked, bits)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// An address alone is a network of one; bits beyond the length are a fault.
impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                (address, Some(bits.parse::<u8>().map_err(drop)?))
            }
            Some(_) => return Err(()),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(drop)?;
        let bits = bits.unwrap_or(if address.is_ipv4() { 32 } else { 128 });
        Self::new(address, bits).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn text_both_ways() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "192.0.2.7/32", "::/0", "2001:db8::/32", "::1/128"] {
            assert_eq!(network(text).to_string(), text);
        }
        assert_eq!(network("192.0.2.7").to_string(), "192.0.2.7/32");
        for text in ["10.0.0.1/8", "10.0.0.0/33", "::1/127", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10/8", "", "a.test"]
        {
            assert_eq!(text.parse::<Network>(), Err(()), "{text}");
        }
    }

    #[test]
    fn families_are_apart_but_for_mapped_addresses() {
        assert!(network("10.0.0.0/8").contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!network("::/0").contains("10.1.2.3".parse().unwrap()));
        assert!(!network("0.0.0.0/0").contains("::1".parse().unwrap()));
    }

    #[test]
    fn wider_networks_cover_narrower_ones() {
        assert!(network("10.0.0.0/8").covers(&network("10.1.0.0/16")));
        assert!(!network("10.1.0.0/16").covers(&network("10.0.0.0/8")));
        assert!(!network("11.0.0.0/8").covers(&network("10.1.0.0/16")));
    }

    proptest! {
        #[test]
        fn an_address_is_in_the_network_around_it(ip in any::<IpAddr>(), other in any::<IpAddr>(), bits in 0..=128_u8) {
            let Some(network) = Network::around(ip, bits) else {
                prop_assert!(ip.is_ipv4() && bits > 32);
                return Ok(());
            };
            if ip.to_canonical() == ip {
                let same = Network::around(other.to_canonical(), bits) == Some(network);
                prop_assert!(network.contains(ip));
                prop_assert_eq!(network.contains(other), same);
            }
        }
    }
}
