//! The store that a plugin's instances share: a space for each tenant with bounds of its own, and one for what belongs to
//! none. Bounds are those of `wit/kv.wit`.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

const KEYS: usize = 10_000;
const KEY_LIMIT: usize = 256;
const VALUE_LIMIT: usize = 4 << 10;
/// Bytes of keys and values over all spaces: what six tenants can fill.
const BYTES: usize = 256 << 20;

/// Whose part of the store is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place<'a> {
    /// That of no request: written by health checks and `configure`, read by all.
    Common,
    /// Requests without a tenant.
    NoTenant,
    /// Requests of a tenant.
    Tenant(&'a str),
}

struct Entry {
    value: Box<[u8]>,
    until: Instant,
    /// Its place in [`Space::order`].
    written: u64,
}

/// Values of one place by key.
#[derive(Default)]
struct Space {
    entries: HashMap<Box<str>, Entry>,
    /// Oldest write first.
    order: BTreeMap<u64, Box<str>>,
    bytes: usize,
}

/// Values by place and key. The clock comes in from outside.
#[derive(Default)]
pub(crate) struct Kv {
    common: Space,
    no_tenant: Space,
    tenants: HashMap<Box<str>, Space>,
    writes: u64,
    bytes: usize,
}

impl Kv {
    /// The value of a key in this place, or else in the common one.
    pub(crate) fn get(&mut self, place: Place<'_>, key: &str, now: Instant) -> Option<&[u8]> {
        let places = match place {
            Place::Common => [Place::Common, Place::NoTenant],
            own => [own, Place::Common],
        };
        let found = places.into_iter().find(|place| self.has(*place, key, now))?;
        self.space(found)?.entries.get(key).map(|entry| &*entry.value)
    }

    pub(crate) fn set(
        &mut self,
        place: Place<'_>,
        key: &str,
        value: &[u8],
        ttl: u32,
        now: Instant,
    ) -> Result<(), String> {
        check("key", key.len(), KEY_LIMIT)?;
        check("value", value.len(), VALUE_LIMIT)?;
        self.delete(place, key);
        self.make_room(place, key.len() + value.len());
        let until = now + Duration::from_secs(u64::from(ttl));
        let written = self.writes;
        self.writes += 1;
        self.bytes += key.len() + value.len();
        self.space_or_new(place).insert(key, Entry { value: value.into(), until, written });
        Ok(())
    }

    pub(crate) fn delete(&mut self, place: Place<'_>, key: &str) {
        let freed = self.space_mut(place).map_or(0, |space| space.remove(key));
        self.freed(place, freed);
    }

    /// Add to a number of this place alone.
    pub(crate) fn add(&mut self, place: Place<'_>, key: &str, by: i64, ttl: u32, now: Instant) -> Result<i64, String> {
        let old = match self.has(place, key, now) {
            false => 0,
            true => {
                let value = self.space(place).and_then(|space| space.entries.get(key));
                let number = value.and_then(|entry| number(&entry.value));
                number.ok_or_else(|| format!("value of {key:?} is no number"))?
            }
        };
        let sum = old.saturating_add(by);
        self.set(place, key, sum.to_string().as_bytes(), ttl, now)?;
        Ok(sum)
    }

    /// Whether this place has the key; one that has ended is removed.
    fn has(&mut self, place: Place<'_>, key: &str, now: Instant) -> bool {
        let until = self.space(place).and_then(|space| space.entries.get(key)).map(|entry| entry.until);
        if until.is_some_and(|until| until <= now) {
            self.delete(place, key);
        }
        until.is_some_and(|until| until > now)
    }

    /// A full space gives up its own oldest. Where all together are full, that with the most does.
    fn make_room(&mut self, place: Place<'_>, bytes: usize) {
        while self.space(place).is_some_and(|space| space.entries.len() >= KEYS) {
            let freed = self.space_mut(place).map_or(0, Space::remove_oldest);
            self.freed(place, freed);
        }
        while self.bytes + bytes > BYTES {
            let largest = self.largest();
            let place = match &largest {
                None => Place::Common,
                Some(tenant) if tenant.is_empty() => Place::NoTenant,
                Some(tenant) => Place::Tenant(tenant),
            };
            let freed = self.space_mut(place).map_or(0, Space::remove_oldest);
            if freed == 0 {
                return;
            }
            self.freed(place, freed);
        }
    }

    /// The space with the most bytes: the common one, no tenant's, or a tenant's by its name.
    fn largest(&self) -> Option<Box<str>> {
        let tenants = self.tenants.iter().map(|(tenant, space)| (Some(&**tenant), space.bytes));
        let others = [(None, self.common.bytes), (Some(""), self.no_tenant.bytes)];
        others.into_iter().chain(tenants).max_by_key(|(_, bytes)| *bytes)?.0.map(Box::from)
    }

    fn freed(&mut self, place: Place<'_>, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Place::Tenant(tenant) = place
            && self.tenants.get(tenant).is_some_and(|space| space.entries.is_empty())
        {
            self.tenants.remove(tenant);
        }
    }

    fn space(&self, place: Place<'_>) -> Option<&Space> {
        match place {
            Place::Common => Some(&self.common),
            Place::NoTenant => Some(&self.no_tenant),
            Place::Tenant(tenant) => self.tenants.get(tenant),
        }
    }

    fn space_mut(&mut self, place: Place<'_>) -> Option<&mut Space> {
        match place {
            Place::Common => Some(&mut self.common),
            Place::NoTenant => Some(&mut self.no_tenant),
            Place::Tenant(tenant) => self.tenants.get_mut(tenant),
        }
    }

    fn space_or_new(&mut self, place: Place<'_>) -> &mut Space {
        match place {
            Place::Common => &mut self.common,
            Place::NoTenant => &mut self.no_tenant,
            Place::Tenant(tenant) => self.tenants.entry(tenant.into()).or_default(),
        }
    }
}

impl Space {
    fn insert(&mut self, key: &str, entry: Entry) {
        self.bytes += key.len() + entry.value.len();
        self.order.insert(entry.written, key.into());
        self.entries.insert(key.into(), entry);
    }

    /// Bytes that are free again.
    fn remove(&mut self, key: &str) -> usize {
        let Some(entry) = self.entries.remove(key) else { return 0 };
        self.order.remove(&entry.written);
        let freed = key.len() + entry.value.len();
        self.bytes = self.bytes.saturating_sub(freed);
        freed
    }

    fn remove_oldest(&mut self) -> usize {
        let oldest = self.order.first_key_value().map(|(_, key)| key.clone());
        oldest.map_or(0, |key| self.remove(&key))
    }
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
    use super::{
        Place::{Common, NoTenant, Tenant},
        *,
    };

    #[test]
    fn tenants_are_apart_and_values_end() {
        let (mut kv, now) = (Kv::default(), Instant::now());
        kv.set(Tenant("a"), "k", b"1", 10, now).unwrap();
        assert_eq!(kv.get(Tenant("a"), "k", now), Some(&b"1"[..]));
        for other in [Tenant("b"), NoTenant, Common] {
            assert_eq!(kv.get(other, "k", now), None, "{other:?}");
        }
        assert_eq!(kv.get(Tenant("a"), "k", now + Duration::from_secs(10)), None);
        assert!(kv.tenants.is_empty() && kv.bytes == 0);
    }

    #[test]
    fn what_belongs_to_no_request_is_read_by_all_and_changed_by_none() {
        let (mut kv, now) = (Kv::default(), Instant::now());
        kv.set(Common, "load", b"7", 10, now).unwrap();
        for place in [Common, NoTenant, Tenant("a")] {
            assert_eq!(kv.get(place, "load", now), Some(&b"7"[..]), "{place:?}");
        }
        kv.delete(Tenant("a"), "load");
        assert_eq!(kv.add(Tenant("a"), "load", 1, 10, now), Ok(1), "a tenant counts for itself");
        kv.set(NoTenant, "load", b"own", 10, now).unwrap();
        let seen =
            [Tenant("a"), NoTenant, Tenant("b"), Common].map(|place| kv.get(place, "load", now).unwrap().to_vec());
        assert_eq!(seen, [&b"1"[..], b"own", b"7", b"7"]);
        kv.set(NoTenant, "errors", b"3", 10, now).unwrap();
        assert_eq!(kv.get(Common, "errors", now), Some(&b"3"[..]), "checks read what requests without a tenant left");
        assert_eq!(kv.get(Tenant("a"), "errors", now), None);
    }

    #[test]
    fn numbers_add_up() {
        let (mut kv, now) = (Kv::default(), Instant::now());
        assert_eq!(kv.add(NoTenant, "n", 5, 10, now), Ok(5));
        assert_eq!(kv.add(NoTenant, "n", -7, 10, now), Ok(-2));
        kv.set(NoTenant, "n", b"x", 10, now).unwrap();
        assert!(kv.add(NoTenant, "n", 1, 10, now).is_err());
    }

    #[test]
    fn the_oldest_go_first_and_only_those_of_the_same_tenant() {
        let (mut kv, now) = (Kv::default(), Instant::now());
        kv.set(Tenant("other"), "counter", b"1", 10, now).unwrap();
        (0..KEYS).for_each(|i| kv.set(Tenant("a"), &i.to_string(), b"", 10, now).unwrap());
        kv.set(Tenant("a"), "0", b"again", 10, now).unwrap();
        kv.set(Tenant("a"), "further", b"", 10, now).unwrap();
        assert!(kv.get(Tenant("a"), "0", now).is_some());
        assert!(kv.get(Tenant("a"), "1", now).is_none());
        assert_eq!(kv.tenants["a"].entries.len(), KEYS);
        assert!(kv.get(Tenant("other"), "counter", now).is_some());
    }

    #[test]
    fn a_full_store_takes_room_from_the_tenant_with_the_most() {
        let (mut kv, now) = (Kv::default(), Instant::now());
        kv.set(Tenant("small"), "k", &[0; VALUE_LIMIT], 10, now).unwrap();
        let tenants = Vec::from_iter((0..8).map(|tenant| format!("t{tenant}")));
        for tenant in &tenants {
            (0..KEYS).for_each(|key| kv.set(Tenant(tenant), &key.to_string(), &[0; VALUE_LIMIT], 10, now).unwrap());
        }
        assert!(kv.bytes <= BYTES, "{}", kv.bytes);
        assert!(kv.get(Tenant("small"), "k", now).is_some());
        let fair = BYTES / (tenants.len() + 1);
        assert!(
            tenants.iter().all(|tenant| kv.tenants[&**tenant].bytes >= fair - VALUE_LIMIT - 4),
            "each has its share"
        );
        let sum: usize = kv.tenants.values().map(|space| space.bytes).sum();
        assert_eq!(sum, kv.bytes);
    }

    #[test]
    fn keys_and_values_have_a_size() {
        let (mut kv, now) = (Kv::default(), Instant::now());
        assert!(kv.set(NoTenant, &"k".repeat(257), b"", 1, now).is_err());
        assert!(kv.set(NoTenant, "k", &[0; 4097], 1, now).is_err());
    }
}
