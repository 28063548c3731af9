//! What an endpoint was asked, and for which client: as hashes, since only equality counts.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::LazyLock,
};

/// Seeded at random, so that a client cannot choose what is taken for the same.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// A request or a connection, as far as outlier detection tells one from another.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The same request of the same client.
    pub(super) own: u64,
    /// The same request of any client.
    pub(super) page: u64,
    /// The path, as one of 64.
    pub(super) path: u64,
    /// The client, as one of 64.
    pub(super) client: u64,
}

impl Asked {
    /// A request with this target; a connection that passes as it is has an empty method and target. Of an IPv6
    /// address the first 64 bits count.
    pub fn new(client: IpAddr, method: &str, target: &str) -> Self {
        let client = match client {
            IpAddr::V4(address) => u64::from(u32::from(address)),
            IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
        };
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        Self {
            own: HASHER.hash_one((client, method, target)),
            page: HASHER.hash_one((method, target)),
            path: one_of_64(HASHER.hash_one(path)),
            client: one_of_64(HASHER.hash_one(client)),
        }
    }
}

fn one_of_64(hash: u64) -> u64 {
    1 << (hash % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_makes_another_page_and_the_same_path() {
        let [client, other] = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        let [one, two] = [Asked::new(client, "GET", "/a?x=1"), Asked::new(client, "GET", "/a?x=2")];
        assert_eq!((one.path, one.client), (two.path, two.client));
        assert_ne!((one.own, one.page), (two.own, two.page));
        let elsewhere = Asked::new(other, "GET", "/a?x=1");
        assert_eq!(elsewhere.page, one.page);
        assert_ne!(elsewhere.own, one.own);
        assert_ne!(Asked::new(client, "POST", "/a?x=1").page, one.page);
    }

    #[test]
    fn hosts_of_one_network_are_one_client() {
        let of = |client: &str| Asked::new(client.parse().unwrap(), "", "").own;
        assert_eq!(of("2001:db8::1"), of("2001:db8::2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }
}
