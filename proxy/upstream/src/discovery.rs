//! Endpoints that are not written in the configuration: found by DNS, or in a file of their own.
//!
//! One task a cluster looks again and again. What it finds takes the place of what it found before;
//! where it finds nothing that can be used, the last answer goes on.

mod resolver;
mod system;

use std::{
    collections::BTreeMap,
    future::Future,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::time::sleep;
use weir_config::{Discover, Endpoint};

pub use self::resolver::Resolver;
use self::resolver::{Answer, Family, Service};
use crate::{cluster::Cluster, rng::Rng};

/// The shortest and the longest time an answer counts, whatever its TTL.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3_600);
/// Between two looks at a file.
const FILE: Duration = Duration::from_secs(1);
/// Before another try: at first, and at most.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// What a look found.
#[derive(Debug)]
struct Found {
    endpoints: Vec<Endpoint>,
    /// How long it counts.
    for_now: Duration,
}

/// Looks for endpoints.
trait Look: Send {
    /// One look; errors are for people.
    fn look(&mut self) -> impl Future<Output = Result<Found, String>> + Send;
}

/// Keep a cluster's endpoints as they are found, until `shutdown` comes. A cluster without `discover` has
/// nothing to find.
pub async fn run(cluster: Arc<Cluster>, resolver: Resolver, shutdown: impl Future<Output = ()>) {
    if let Some(discover) = cluster.config().discover.clone() {
        let seeker = Seeker { discover, resolver, hosts: BTreeMap::new() };
        tokio::select! {
            () = shutdown => {}
            () = follow(&cluster, seeker) => {}
        }
    }
}

/// Look whenever the last answer has had its time; after a failure soon, and then less and less often.
async fn follow(cluster: &Cluster, mut seeker: impl Look) {
    let mut rng = Rng::seeded();
    let mut retry = FIRST_RETRY;
    loop {
        let pause = match seeker.look().await {
            Ok(found) => {
                cluster.found(found.endpoints);
                retry = FIRST_RETRY;
                found.for_now
            }
            Err(why) => {
                cluster.not_found(&why);
                let pause = retry.mul_f64(0.8 + 0.4 * rng.fraction());
                retry = (retry * 2).min(LAST_RETRY);
                pause
            }
        };
        sleep(pause).await;
    }
}

/// Looks where a cluster's configuration says.
struct Seeker {
    discover: Discover,
    resolver: Resolver,
    hosts: BTreeMap<String, Host>,
}

impl Look for Seeker {
    async fn look(&mut self) -> Result<Found, String> {
        match &self.discover {
            Discover::Dns { name, port } => {
                let host = self.hosts.entry(name.clone()).or_insert_with(|| Host::new(name.clone()));
                let (addresses, for_now) = host.addresses(&self.resolver).await?;
                let endpoints = addresses.into_iter().map(|address| Endpoint::at(SocketAddr::new(address, *port)));
                Ok(Found { endpoints: endpoints.collect(), for_now })
            }
            Discover::Srv(name) => services(name, &mut self.hosts, &self.resolver).await,
            Discover::File(path) => file(path).await,
        }
    }
}

/// The addresses of a name, by family: one that does not answer keeps those it had.
#[derive(Debug)]
struct Host {
    name: String,
    known: BTreeMap<Family, Vec<IpAddr>>,
}

impl Host {
    fn new(name: String) -> Self {
        Self { name, known: BTreeMap::new() }
    }

    /// All of them, at least one, with the time they count.
    async fn addresses(&mut self, resolver: &Resolver) -> Result<(Vec<IpAddr>, Duration), String> {
        let (v4, v6) =
            tokio::join!(resolver.addresses(&self.name, Family::V4), resolver.addresses(&self.name, Family::V6));
        let mut for_now = LONGEST;
        let mut faults = Vec::new();
        for (family, answer) in [(Family::V4, v4), (Family::V6, v6)] {
            match answer {
                Ok(Answer { records, ttl }) => {
                    for_now = for_now.min(ttl);
                    self.known.insert(family, records);
                }
                Err(why) => faults.push(why),
            }
        }
        let addresses = self.known();
        match (faults.len(), faults.into_iter().next()) {
            (2, Some(why)) => Err(why),
            (_, Some(why)) if addresses.is_empty() => Err(why),
            (_, Some(_)) => Ok((addresses, FIRST_RETRY)),
            _ if addresses.is_empty() => Err(format!("{} has no address", self.name)),
            _ => Ok((addresses, for_now.clamp(SHORTEST, LONGEST))),
        }
    }

    fn known(&self) -> Vec<IpAddr> {
        self.known.values().flatten().copied().collect()
    }
}

/// The addresses of every target of a service. One that does not resolve keeps those it had.
async fn services(name: &str, hosts: &mut BTreeMap<String, Host>, resolver: &Resolver) -> Result<Found, String> {
    let Answer { records, ttl } = resolver.services(name).await?;
    let mut for_now = ttl;
    let mut endpoints = Vec::new();
    let mut fault = None;
    hosts.retain(|target, _| records.iter().any(|service| service.target == *target));
    for service in &records {
        let host = hosts.entry(service.target.clone()).or_insert_with(|| Host::new(service.target.clone()));
        let addresses = match host.addresses(resolver).await {
            Ok((addresses, time)) => {
                for_now = for_now.min(time);
                addresses
            }
            Err(why) => {
                for_now = FIRST_RETRY;
                fault = Some(why);
                host.known()
            }
        };
        endpoints.extend(addresses.into_iter().map(|address| endpoint(service, address)));
    }
    match fault {
        _ if !endpoints.is_empty() => Ok(Found { endpoints, for_now: for_now.clamp(SHORTEST, LONGEST) }),
        Some(why) => Err(why),
        None => Err(format!("{name} has no SRV record")),
    }
}

/// A weight of 0 means very little beside others (RFC 2782): as little as there is.
fn endpoint(service: &Service, address: IpAddr) -> Endpoint {
    Endpoint {
        weight: u32::from(service.weight).max(1),
        priority: u32::from(service.priority),
        ..Endpoint::at(SocketAddr::new(address, service.port))
    }
}

async fn file(path: &Path) -> Result<Found, String> {
    let text = tokio::fs::read_to_string(path).await.map_err(|error| format!("{}: {error}", path.display()))?;
    let endpoints = weir_config::endpoints_of(&text, path).map_err(|faults| faults.to_string())?;
    Ok(Found { endpoints, for_now: FILE })
}

#[cfg(test)]
mod tests;
