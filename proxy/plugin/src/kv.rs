//! The store a plugin's instances share, apart for each tenant. Bounds are those of `wit/kv.wit`.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

const KEYS: usize = 10_000;
const KEY_LIMIT: usize = 256;
const VALUE_LIMIT: usize = 4 << 10;

/// Tenant (empty is none) and key.
type Name = (Box<str>, Box<str>);

struct Entry {
    value: Box<[u8]>,
    until: Instant,
    /// Its place in [`Kv::order`].
    written: u64,
}

/// Values by tenant and key. The clock comes in from outside.
#[derive(Default)]
pub(crate) struct Kv {
    entries: HashMap<Name, Entry>,
    /// Oldest write first.
    order: BTreeMap<u64, Name>,
    writes: u64,
}

impl Kv {
    pub(crate) fn get(&mut self, tenant: &str, key: &str, now: Instant) -> Option<&[u8]> {
        let name = name(tenant, key);
        if self.entries.get(&name)?.until <= now {
            self.remove(&name);
            return None;
        }
        self.entries.get(&name).map(|entry| &*entry.value)
    }

    pub(crate) fn set(&mut self, tenant: &str, key: &str, value: &[u8], ttl: u32, now: Instant) -> Result<(), String> {
        check("key", key.len(), KEY_LIMIT)?;
        check("value", value.len(), VALUE_LIMIT)?;
        let name = name(tenant, key);
        self.remove(&name);
        self.make_room();
        let until = now + Duration::from_secs(u64::from(ttl));
        let written = self.writes;
        self.writes += 1;
        self.order.insert(written, name.clone());
        self.entries.insert(name, Entry { value: value.into(), until, written });
        Ok(())
    }

    pub(crate) fn delete(&mut self, tenant: &str, key: &str) {
        self.remove(&name(tenant, key));
    }

    pub(crate) fn add(&mut self, tenant: &str, key: &str, by: i64, ttl: u32, now: Instant) -> Result<i64, String> {
        let old = match self.get(tenant, key, now) {
            None => 0,
            Some(value) => number(value).ok_or_else(|| format!("value of {key:?} is no number"))?,
        };
        let sum = old.saturating_add(by);
        self.set(tenant, key, sum.to_string().as_bytes(), ttl, now)?;
        Ok(sum)
    }

    fn make_room(&mut self) {
        while self.entries.len() >= KEYS {
            match self.order.pop_first() {
                Some((_, oldest)) => self.entries.remove(&oldest),
                None => return,
            };
        }
    }

    fn remove(&mut self, name: &Name) {
        if let Some(entry) = self.entries.remove(name) {
            self.order.remove(&entry.written);
        }
    }
}

fn name(tenant: &str, key: &str) -> Name {
    (tenant.into(), key.into())
}

/// Numbers are kept as decimal text.
fn number(value: &[u8]) -> Option<i64> {
    str::from_utf8(value).ok()?.parse().ok()
}

fn check(what: &str, length: usize, limit: usize) -> Result<(), String> {
    match length <= limit {
        true => Ok(()),
        false => Err(format!("{what} of {length} bytes: at most {limit}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_are_apart_and_values_end() {
        let (mut kv, now) = (Kv::default(), Instant::now());
        kv.set("a", "k", b"1", 10, now).unwrap();
        assert_eq!(kv.get("a", "k", now), Some(&b"1"[..]));
        assert_eq!(kv.get("b", "k", now), None);
        assert_eq!(kv.get("a", "k", now + Duration::from_secs(10)), None);
        assert!(kv.entries.is_empty() && kv.order.is_empty());
    }

    #[test]
    fn numbers_add_up() {
        let (mut kv, now) = (Kv::default(), Instant::now());
        assert_eq!(kv.add("", "n", 5, 10, now), Ok(5));
        assert_eq!(kv.add("", "n", -7, 10, now), Ok(-2));
        kv.set("", "n", b"x", 10, now).unwrap();
        assert!(kv.add("", "n", 1, 10, now).is_err());
    }

    #[test]
    fn the_oldest_go_first() {
        let (mut kv, now) = (Kv::default(), Instant::now());
        (0..KEYS).for_each(|i| kv.set("", &i.to_string(), b"", 10, now).unwrap());
        kv.set("", "0", b"again", 10, now).unwrap();
        kv.set("", "further", b"", 10, now).unwrap();
        assert!(kv.get("", "0", now).is_some());
        assert!(kv.get("", "1", now).is_none());
        assert_eq!(kv.entries.len(), KEYS);
    }

    #[test]
    fn keys_and_values_have_a_size() {
        let (mut kv, now) = (Kv::default(), Instant::now());
        assert!(kv.set("", &"k".repeat(257), b"", 1, now).is_err());
        assert!(kv.set("", "k", &[0; 4097], 1, now).is_err());
    }
}
