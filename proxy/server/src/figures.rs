//! Where an exchange is counted, found by what it went through rather than by names.

use std::{
    cell::RefCell,
    sync::{Arc, Weak},
};

use crate::{
    metrics::{RouteMetrics, WorkerMetrics},
    request::Client,
    snapshot::{Route, Upstream},
};

/// A power of two, well above the routes that are busy at one time.
const SLOTS: usize = 256;

/// A small table of figures by listener, route and cluster. An entry keeps the place of what it is
/// known by, so that no address is used again while it stands for something, but not its content: a
/// route of a former snapshot goes with its plugins.
#[derive(Default)]
pub struct Figures {
    slots: RefCell<Vec<Option<Entry>>>,
}

struct Entry {
    key: (usize, usize, usize),
    _places: (Option<Weak<Route>>, Option<Weak<Upstream>>),
    figures: Arc<RouteMetrics>,
}

impl Figures {
    /// The figures of exchanges that came this way.
    pub fn find(
        &self,
        client: &Client,
        route: Option<&Arc<Route>>,
        upstream: Option<&Arc<Upstream>>,
        metrics: &WorkerMetrics,
    ) -> Arc<RouteMetrics> {
        let (route_at, upstream_at) = (route.map_or(0, address), upstream.map_or(0, address));
        let key = (address(&client.listener.metrics), route_at, upstream_at);
        let mut slots = self.slots.borrow_mut();
        slots.resize_with(SLOTS, || None);
        let spread = (key.0 >> 5) ^ (key.1 >> 4) ^ (key.2 >> 6);
        let Some(slot) = slots.get_mut((spread ^ (spread >> 8)) % SLOTS) else {
            return by_name(client, route, upstream, metrics);
        };
        match slot {
            Some(entry) if entry.key == key => Arc::clone(&entry.figures),
            _ => {
                let figures = by_name(client, route, upstream, metrics);
                let places = (route.map(Arc::downgrade), upstream.map(Arc::downgrade));
                *slot = Some(Entry { key, _places: places, figures: Arc::clone(&figures) });
                figures
            }
        }
    }

    /// Let go of everything.
    pub fn clear(&self) {
        self.slots.borrow_mut().clear();
    }
}

fn address<T>(shared: &Arc<T>) -> usize {
    Arc::as_ptr(shared) as usize
}

fn by_name(
    client: &Client,
    route: Option<&Arc<Route>>,
    upstream: Option<&Arc<Upstream>>,
    metrics: &WorkerMetrics,
) -> Arc<RouteMetrics> {
    let cluster = upstream.map(|upstream| &**upstream.cluster.name());
    metrics.route(client.listener.name(), route.map_or("", |route| &*route.config.name), cluster)
}
