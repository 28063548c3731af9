//! Requests that may be begun: as many as the cluster and the endpoint take at once.

use std::{ops::Deref, sync::Arc};

use super::Cluster;
use crate::{endpoint::Endpoint, room::Full};

/// A request under way at an endpoint, counted as long as this lives.
#[derive(Debug)]
#[must_use = "the request counts only while this lives"]
pub struct Admission<'a> {
    cluster: &'a Cluster,
    endpoint: Arc<Endpoint>,
    handed_on: bool,
}

/// The same of a request that may outlive what admitted it, as a tunnel does.
#[derive(Debug)]
#[must_use = "the request counts only while this lives"]
pub struct Lasting {
    cluster: Arc<Cluster>,
    endpoint: Arc<Endpoint>,
}

impl Cluster {
    /// Begin a request at an endpoint. Who has not `waited` goes behind those who wait.
    ///
    /// # Errors
    /// There is no room.
    pub fn admit(&self, endpoint: Arc<Endpoint>, waited: bool) -> Result<Admission<'_>, Full> {
        self.enter(&endpoint, waited)?;
        Ok(Admission { cluster: self, endpoint, handed_on: false })
    }

    fn enter(&self, endpoint: &Endpoint, waited: bool) -> Result<(), Full> {
        let most = self.most_requests();
        let limited = most.is_some() || endpoint.most_requests().is_some();
        if limited && !waited && self.room.has_line() {
            return Err(Full::Cluster);
        }
        // Looked at before the cluster's count is touched: who took from that count in vain would have to
        // call the line for what it gave back, and the first in line is who asks here.
        if !endpoint.has_room() {
            return Err(Full::Endpoint);
        }
        if most.is_some_and(|most| !self.room.try_enter(most)) {
            return Err(Full::Cluster);
        }
        if endpoint.try_begin() {
            return Ok(());
        }
        if most.is_some() {
            self.room.leave();
            self.room.call();
        }
        Err(Full::Endpoint)
    }

    fn leave(&self, endpoint: &Endpoint) {
        endpoint.end();
        if self.most_requests().is_some() {
            self.room.leave();
        }
        self.room.call();
    }

    /// Most requests under way to the whole cluster: no more than there may be connections for.
    pub fn most_requests(&self) -> Option<u32> {
        let limits = self.config.limits;
        [limits.requests, self.most_connections()].into_iter().flatten().min()
    }

    /// Most connections to the whole cluster. Those of HTTP/2 take many requests each.
    pub(crate) fn most_connections(&self) -> Option<u32> {
        self.config.limits.connections.filter(|_| !self.config.http2)
    }
}

impl Admission<'_> {
    /// Count on while what is given lives; `cluster` is the one that admitted it.
    pub fn lasting(mut self, cluster: &Arc<Cluster>) -> Lasting {
        self.handed_on = true;
        Lasting { cluster: Arc::clone(cluster), endpoint: Arc::clone(&self.endpoint) }
    }
}

impl Deref for Admission<'_> {
    type Target = Arc<Endpoint>;

    fn deref(&self) -> &Self::Target {
        &self.endpoint
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if !self.handed_on {
            self.cluster.leave(&self.endpoint);
        }
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        self.cluster.leave(&self.endpoint);
    }
}

/// Set the limits of an endpoint: its own or the cluster's, no more requests than its agent allows or there may be
/// connections for, and a share of them while it warms up. Says whether there may be more or less
/// requests than before.
pub(super) fn limit(config: &weir_config::Cluster, endpoint: &Endpoint) -> bool {
    let standing = endpoint.standing();
    let requests = endpoint.config().max_requests.or(config.limits.endpoint_requests);
    let connections = endpoint.config().max_connections.or(config.limits.endpoint_connections);
    let connections = connections.filter(|_| !config.http2);
    let told = standing.agent().and_then(|report| report.max_connections);
    let requests = [requests, connections, told].into_iter().flatten().min();
    endpoint.limit(requests, connections, standing.status().warmth)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering::SeqCst},
        time::Duration,
    };

    use super::*;
    use crate::{
        fixture,
        standing::{Moment, Order, Report, Word},
    };

    fn cluster(change: impl Fn(&mut weir_config::Cluster)) -> Arc<Cluster> {
        let mut config = fixture::cluster(&[1, 1]);
        change(&mut config);
        Cluster::build(&config, None)
    }

    fn first(cluster: &Cluster) -> Arc<Endpoint> {
        Arc::clone(&cluster.endpoints()[0])
    }

    #[test]
    fn an_endpoint_takes_as_many_as_it_may() {
        let cluster = cluster(|config| {
            config.limits.endpoint_requests = Some(2);
            config.endpoints[1].max_requests = Some(1);
        });
        let endpoint = first(&cluster);
        let taken = [cluster.admit(Arc::clone(&endpoint), false), cluster.admit(Arc::clone(&endpoint), false)];
        assert!(taken.iter().all(Result::is_ok) && !endpoint.has_room());
        assert_eq!(cluster.admit(Arc::clone(&endpoint), false).unwrap_err(), Full::Endpoint);
        assert_eq!(cluster.candidates().with_room().len(), 1);
        drop(taken);
        assert_eq!((endpoint.in_flight(), endpoint.has_room()), (0, true));
        assert_eq!(cluster.endpoints()[1].most_requests(), Some(1), "its own word counts");
    }

    #[test]
    fn what_lasts_counts_on_and_once() {
        let cluster = cluster(|config| config.limits.requests = Some(1));
        let lasting = cluster.admit(first(&cluster), false).unwrap().lasting(&cluster);
        assert_eq!(cluster.admit(first(&cluster), false).unwrap_err(), Full::Cluster);
        assert_eq!(first(&cluster).in_flight(), 1);
        drop(lasting);
        assert!(cluster.admit(first(&cluster), false).is_ok());
        assert_eq!(first(&cluster).in_flight(), 0);
    }

    #[test]
    fn a_cluster_takes_as_many_as_it_may() {
        let cluster = cluster(|config| config.limits.requests = Some(1));
        let taken = cluster.admit(first(&cluster), false).unwrap();
        assert_eq!(cluster.admit(Arc::clone(&cluster.endpoints()[1]), false).unwrap_err(), Full::Cluster);
        drop(taken);
        assert_eq!(cluster.room().under_way(), 0);
        assert!(cluster.admit(first(&cluster), false).is_ok());
    }

    #[test]
    fn newcomers_go_behind_those_who_wait() {
        let cluster = cluster(|config| config.limits.endpoint_requests = Some(1));
        let place = cluster.room().join(1, false).unwrap();
        assert_eq!(cluster.admit(first(&cluster), false).unwrap_err(), Full::Cluster);
        assert!(cluster.admit(first(&cluster), true).is_ok());
        drop(place);
        assert!(cluster.admit(first(&cluster), false).is_ok());
    }

    #[test]
    fn the_agent_lowers_the_limit() {
        let cluster = cluster(|config| config.limits.endpoint_requests = Some(5));
        let endpoint = first(&cluster);
        let said =
            |max_connections| Report { word: Word::Up, weight_percent: 100, max_connections, why: String::new() };
        cluster.set_agent(&endpoint, Some(&said(Some(3))));
        assert_eq!(endpoint.most_requests(), Some(3));
        cluster.set_agent(&endpoint, Some(&said(Some(30))));
        assert_eq!(endpoint.most_requests(), Some(5));
        cluster.set_agent(&endpoint, None);
        assert_eq!(endpoint.most_requests(), Some(5));
    }

    #[test]
    fn there_are_no_more_requests_than_connections() {
        let config = |http2| {
            cluster(move |config| {
                config.http2 = http2;
                config.limits.connections = Some(9);
                config.limits.endpoint_connections = Some(2);
                config.limits.endpoint_requests = Some(5);
                config.endpoints[1].max_connections = Some(7);
            })
        };
        let (http1, http2) = (config(false), config(true));
        let most = |cluster: &Cluster| cluster.endpoints().iter().map(|one| one.most_requests()).collect::<Vec<_>>();
        assert_eq!((most(&http1), http1.most_requests()), (vec![Some(2), Some(5)], Some(9)));
        assert_eq!((most(&http2), http2.most_requests()), (vec![Some(5), Some(5)], None));
        assert_eq!(http1.endpoints()[1].most_connections(), Some(7));
    }

    #[test]
    fn an_endpoint_that_warms_up_takes_a_share() {
        let cluster = cluster(|config| {
            config.slow_start = Some(Duration::from_secs(10));
            config.limits.endpoint_requests = Some(30);
            config.limits.endpoint_connections = Some(60);
        });
        let (endpoint, now) = (first(&cluster), Moment::now());
        cluster.order(&endpoint, Some(Order::Maintenance));
        cluster.order(&endpoint, None);
        assert_eq!((endpoint.most_requests(), endpoint.most_connections()), (Some(1), Some(1)));
        assert_eq!(endpoint.warm(100), 1);
        let after = |seconds| Moment { instant: now.instant + Duration::from_secs(seconds), ..now };
        cluster.tick(after(6));
        assert!((12..=18).contains(&endpoint.most_requests().unwrap()), "{:?}", endpoint.most_requests());
        cluster.tick(after(20));
        assert_eq!((endpoint.most_requests(), endpoint.warm(100)), (Some(30), 100));
    }

    #[test]
    fn limits_follow_a_reload_and_counts_go_on() {
        let before =
            cluster(|config| config.limits = weir_config::UpstreamLimits { requests: Some(9), ..Default::default() });
        let taken = before.admit(first(&before), false).unwrap();
        let mut config = before.config().clone();
        config.limits.requests = Some(1);
        config.endpoints[0].max_requests = Some(1);
        let after = Cluster::build(&config, Some(&before));
        assert_eq!(after.admit(first(&after), false).unwrap_err(), Full::Endpoint);
        assert_eq!(after.admit(Arc::clone(&after.endpoints()[1]), false).unwrap_err(), Full::Cluster);
        assert_eq!((first(&before).most_requests(), first(&after).most_requests()), (None, Some(1)));
        drop(taken);
        assert!(after.admit(first(&after), false).is_ok());
    }

    #[test]
    fn no_worker_gets_past_a_limit() {
        let cluster = cluster(|config| {
            config.limits.requests = Some(4);
            config.limits.endpoint_requests = Some(3);
        });
        let (endpoint, admitted) = (first(&cluster), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let taken = [0; 4].map(|_| cluster.admit(Arc::clone(&endpoint), true));
                        assert!(endpoint.in_flight() <= 3 && cluster.room().under_way() <= 4);
                        admitted.fetch_add(taken.iter().filter(|one| one.is_ok()).count() as u32, SeqCst);
                    }
                });
            }
        });
        assert!(admitted.load(SeqCst) > 0);
        assert_eq!((endpoint.in_flight(), cluster.room().under_way()), (0, 0));
    }
}
