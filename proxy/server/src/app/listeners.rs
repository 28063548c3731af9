//! Listeners of a configuration that is to run: those that go on, and those that are opened for it.

use std::sync::{Arc, Weak};

use weir_config::{Config, Places, Unusable};

use crate::{
    inherited::Inherited,
    listening::{Bound, Kind, Listening, Settings},
    metrics::Metrics,
    tls::{ServerTls, Terms, Tickets},
};

/// A listener of the next configuration: one that goes on with other settings, or a new one.
pub(super) struct Change {
    pub(super) listening: Arc<Listening>,
    pub(super) settings: Option<Settings>,
}

/// What one listens by, with the files of its TLS. It goes on with the tickets of its `former` settings.
pub(super) fn settings(
    config: &weir_config::Listener,
    places: &Places,
    terms: &Terms,
    former: Option<&Settings>,
) -> Result<Settings, String> {
    let placed = |Unusable { key, why }: Unusable| {
        let problem = format!("listener {}: {why}", config.name);
        places.fault("listeners", &config.name, &key, problem).unlabelled()
    };
    let tickets = match former.and_then(|former| former.tls.as_ref()) {
        Some(former) => Some(former.tickets().clone()),
        None => terms.tickets.get(&*config.name).and_then(Tickets::inherit),
    };
    let load = |tls| ServerTls::load(tls, config.protocol, terms, tickets.as_ref());
    let tls = config.tls.as_ref().map(load).transpose().map_err(|unusable| placed(unusable.below("tls")))?;
    Ok(Settings { config: config.clone(), tls })
}

/// What is open already.
#[derive(Clone, Default)]
pub(super) struct Open {
    /// Listeners of the present configuration.
    pub(super) present: Vec<Arc<Listening>>,
    /// Closed ones.
    pub(super) ending: Vec<Ending>,
}

/// A closed listener by whose sockets sessions of datagrams still end.
#[derive(Clone)]
pub(super) struct Ending {
    pub(super) bound: Weak<Bound>,
    pub(super) listening: Weak<Listening>,
}

impl Open {
    /// Another handle of the socket at an address. One that is bound cannot be bound again: whoever listens there
    /// next goes on with it.
    fn socket(&self, config: &weir_config::Listener) -> Option<Bound> {
        if config.address.port() == 0 {
            return None;
        }
        let kind = Kind::of(config.protocol);
        let same = |open: &&Arc<Listening>| {
            open.address() == config.address && open.is_of_datagrams() == (kind == Kind::Datagrams)
        };
        let renamed = self.present.iter().filter(same).find_map(|open| open.bound().ok().flatten());
        let mut ending = self.ending.iter().filter_map(|ending| ending.bound.upgrade());
        renamed.or_else(|| {
            let fits = |bound: &Arc<Bound>| {
                bound.kind() == kind && bound.address().is_ok_and(|address| address == config.address)
            };
            ending.find(fits).and_then(|bound| bound.try_clone().ok())
        })
    }
}

/// Every listener of the configuration, those that are new with their sockets.
pub(super) fn bind(
    config: &Config,
    open: &Open,
    inherited: &mut Inherited,
    metrics: &Arc<Metrics>,
    terms: &Terms,
) -> Result<Vec<Change>, Vec<String>> {
    let mut faults = Vec::new();
    let mut changes = Vec::new();
    for listener in &config.listeners {
        match bind_one(listener, &config.places, open, inherited, metrics, terms) {
            Ok(change) => changes.push(change),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(changes) } else { Err(faults) }
}

fn bind_one(
    config: &weir_config::Listener,
    places: &Places,
    open: &Open,
    inherited: &mut Inherited,
    metrics: &Metrics,
    terms: &Terms,
) -> Result<Change, String> {
    let former = open.present.iter().find(|open| open.name() == &*config.name).map(|open| open.settings());
    let settings = settings(config, places, terms, former.as_deref())?;
    let datagrams = config.protocol == weir_config::Protocol::Udp;
    let same = |open: &&Arc<Listening>| {
        let address = open.settings().config.address == config.address;
        open.name() == &*config.name && address && open.is_of_datagrams() == datagrams
    };
    if let Some(open) = open.present.iter().find(same) {
        return Ok(Change { listening: Arc::clone(open), settings: Some(settings) });
    }
    let passed = inherited.take(config).map_err(|fault| format!("listener {}: {fault}", config.name))?;
    let figures = metrics.listener(&config.name);
    let listening = match open.socket(config).or(passed) {
        Some(socket) => socket.spread(metrics.workers()).and_then(|socket| Listening::over(socket, settings, figures)),
        None => Listening::bind(settings, figures, metrics.workers()),
    };
    let listening = listening.map_err(|error| format!("listener {}: {}: {error}", config.name, config.address))?;
    Ok(Change { listening, settings: None })
}
