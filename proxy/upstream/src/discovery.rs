//! Endpoints that are not written in the configuration: found by DNS, or in a file of their own.
//!
//! One task a cluster looks again and again. What it finds takes the place of what it found before once the look
//! is over, and stands beside it while the rest is waited for;
//! where it finds nothing that can be used, the last answer goes on.

mod names;
mod resolver;
mod system;

use std::{
    collections::BTreeSet,
    future::Future,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use weir_config::{Discover, Endpoint, NamedEndpoint};

use self::resolver::{Answer, Service};
pub use self::{names::Known, resolver::Resolver};
use crate::{cluster::Cluster, rng::Rng};

/// The shortest time an answer counts, whatever its TTL; the longest is the cluster's `max-ttl`.
const SHORTEST: Duration = Duration::from_secs(1);
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
    /// Why some of it is missing.
    fault: Option<String>,
}

/// Told of the endpoints that are known while the rest is waited for, and whether they suffice to begin with.
type Early<'a> = &'a (dyn Fn(Vec<Endpoint>, bool) + Send + Sync);

/// Looks for endpoints.
trait Look: Send {
    /// One look; errors are for people.
    fn look(&mut self, early: Early<'_>) -> impl Future<Output = Result<Found, String>> + Send;

    /// The next look goes by nothing that is known already.
    fn hasten(&mut self) {}
}

/// Keep a cluster's endpoints as they are found, until `shutdown` comes. A cluster without `discover` has
/// nothing to find. What is known of names is that of an earlier run, where it looked in the same place.
pub async fn run(cluster: Arc<Cluster>, resolver: Resolver, known: Known, shutdown: impl Future<Output = ()>) {
    if let Some(discover) = cluster.config().discover.clone() {
        // Whoever begins asks for everything, of its own name servers.
        known.hasten();
        let longest = cluster.config().max_ttl.max(SHORTEST);
        let seeker = Seeker { discover, resolver: Arc::new(resolver), known, longest, services: None };
        tokio::select! {
            () = shutdown => {}
            () = follow(&cluster, seeker) => {}
        }
    }
}

/// Look whenever the last answer has had its time, or is in doubt: where endpoints cannot be connected to, and at a
/// reload. After a failure, and while the doubt goes on, soon, and then less and less often.
async fn follow(cluster: &Cluster, mut seeker: impl Look) {
    let mut rng = Rng::seeded();
    let (mut retry, mut doubt) = (FIRST_RETRY, FIRST_RETRY);
    let early = |endpoints: Vec<Endpoint>, suffices: bool| cluster.found_some(endpoints, suffices);
    loop {
        let begun = Instant::now();
        let pause = match seeker.look(&early).await {
            Ok(found) => {
                cluster.found(found.endpoints, found.fault);
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
        let due = Instant::now() + pause;
        tokio::select! {
            () = sleep_until(due) => doubt = FIRST_RETRY,
            () = cluster.doubted() => {
                sleep_until(due.min(begun + doubt)).await;
                seeker.hasten();
                doubt = (doubt * 2).min(LAST_RETRY);
            }
        }
    }
}

/// Looks where a cluster's configuration says.
struct Seeker {
    discover: Discover,
    resolver: Arc<Resolver>,
    known: Known,
    /// Longest time an answer counts.
    longest: Duration,
    /// The records of a service, and when they are to be asked for again.
    services: Option<(Vec<Service>, Instant)>,
}

impl Look for Seeker {
    fn hasten(&mut self) {
        self.services = None;
        self.known.hasten();
    }

    async fn look(&mut self, early: Early<'_>) -> Result<Found, String> {
        let services = self.services.take();
        let found = match &self.discover {
            Discover::Dns { name, port } => self.host(name, *port, early).await,
            Discover::Srv(name) => match self.services(name, services, early).await {
                Ok((found, services)) => {
                    self.services = Some(services);
                    Ok(found)
                }
                Err(why) => Err(why),
            },
            Discover::File(path) => file(path).await,
            Discover::Names(named) => self.names(named, early).await,
        };
        if found.is_err() {
            // With nothing to go by, the pauses between looks are all there is to wait for.
            self.known.hasten();
        }
        found
    }
}

impl Seeker {
    async fn host(&self, name: &str, port: u16, early: Early<'_>) -> Result<Found, String> {
        let endpoints = || {
            let addresses = self.known.addresses(name).into_iter();
            addresses.map(|address| Endpoint::at(SocketAddr::new(address, port))).collect()
        };
        let names = BTreeSet::from([name.to_owned()]);
        for outcome in self.known.look(&names, &self.resolver, self.longest, &|| early(endpoints(), true)).await {
            outcome?;
        }
        Ok(Found { endpoints: endpoints(), for_now: self.known.pause().clamp(SHORTEST, self.longest), fault: None })
    }

    /// The addresses of every name that `endpoints` lists. One without any keeps no other from being used.
    async fn names(&self, named: &[NamedEndpoint], early: Early<'_>) -> Result<Found, String> {
        let addresses = |named: &NamedEndpoint| self.known.addresses(&named.name).into_iter();
        let endpoints =
            || named.iter().flat_map(|named| addresses(named).map(|address| named.at(address))).collect::<Vec<_>>();
        let suffices = || named.iter().filter(|named| addresses(named).len() > 0).count() * 2 >= named.len();
        let names = named.iter().map(|named| named.name.clone()).collect();
        let progress = || early(endpoints(), suffices());
        let outcomes = self.known.look(&names, &self.resolver, self.longest, &progress).await;
        let fault = outcomes.into_iter().find_map(Result::err);
        match (endpoints(), fault) {
            (endpoints, Some(why)) if endpoints.is_empty() => Err(why),
            (endpoints, fault) => {
                Ok(Found { endpoints, for_now: self.known.pause().clamp(SHORTEST, self.longest), fault })
            }
        }
    }

    /// The addresses of every target of a service, whose records may be known still.
    async fn services(
        &self,
        name: &str,
        known: Option<(Vec<Service>, Instant)>,
        early: Early<'_>,
    ) -> Result<(Found, (Vec<Service>, Instant)), String> {
        let (services, until) = match known.filter(|(_, until)| *until > Instant::now()) {
            Some(known) => known,
            None => {
                let Answer { records: mut services, ttl } = self.resolver.services(name).await?;
                rank(&mut services);
                (services, Instant::now() + ttl.clamp(SHORTEST, self.longest))
            }
        };
        if services.is_empty() {
            return Err(format!("{name} has no SRV record"));
        }
        let endpoints = || {
            let at = |service: &Service| self.known.addresses(&service.target).into_iter();
            services.iter().flat_map(|service| at(service).map(|address| endpoint(service, address))).collect()
        };
        let targets = services.iter().map(|service| service.target.clone()).collect();
        let suffices = || suffice(&services, |target| !self.known.addresses(target).is_empty());
        let progress = || early(endpoints(), suffices());
        let outcomes = self.known.look(&targets, &self.resolver, self.longest, &progress).await;
        let fault = outcomes.into_iter().find_map(Result::err);
        let endpoints: Vec<Endpoint> = endpoints();
        match fault {
            Some(why) if endpoints.is_empty() => Err(why),
            _ => {
                let for_now = self.known.pause().min(until - Instant::now());
                Ok((
                    Found { endpoints, for_now: for_now.clamp(SHORTEST, self.longest), fault: None },
                    (services, until),
                ))
            }
        }
    }
}

/// The order of answers is chance. Of an address that two of them have, the first says what it is.
fn rank(services: &mut [Service]) {
    services.sort_by(|a, b| (a.priority, b.weight, a.port, &a.target).cmp(&(b.priority, a.weight, b.port, &b.target)));
}

/// Whether enough of these targets, in their order, are known to begin with: half of the first level. Fewer might be
/// backups alone, or few who would have to serve all.
fn suffice(services: &[Service], is_known: impl Fn(&str) -> bool) -> bool {
    let first = services.iter().map(|service| service.priority).min();
    let level = services.iter().filter(|service| Some(service.priority) == first);
    let (known, unknown): (Vec<_>, Vec<_>) = level.partition(|service| is_known(&service.target));
    known.len() >= unknown.len()
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
    Ok(Found { endpoints, for_now: FILE, fault: None })
}

#[cfg(test)]
mod tests;
