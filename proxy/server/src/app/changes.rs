//! The ways to change what runs: a reload, and another version of a plugin.
//!
//! What takes long, compiling above all, comes before the lock: behind it are only things that are quick, so that a
//! change never waits for the compiling of another one.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tokio::task::spawn_blocking;
use weir_config::{Config, PluginCompile};
use weir_plugin::{Cancel, CompileTerms};

use super::{
    App, Running, certificates, doors, endpoints, issued, listeners, listeners::Open, managed, places, upgrade::Ending,
};
use crate::{
    acme::Managed,
    inherited::Inherited,
    notify,
    snapshot::Snapshot,
    tls::{Pushed, Terms},
    versions::{Ahead, Fault, Loader, Plugins, Wanted},
    worker::Command,
};

/// What a reload has prepared.
struct Prepared {
    config: Arc<Config>,
    plugins: Plugins,
    snapshot: Snapshot,
    listeners: Vec<listeners::Change>,
    doors: Vec<doors::Change>,
    managed: Vec<Arc<Managed>>,
}

/// Ends a compilation that nothing waits for any more.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl App {
    /// Read the configuration again and take it up whole, or leave everything as it is.
    ///
    /// # Errors
    /// Every fault, for people.
    pub async fn reload(self: &Arc<Self>) -> Result<u64, Vec<String>> {
        let ahead = self.load_ahead().await;
        let mut running = self.running.lock().await;
        if self.draining.load(Relaxed) {
            return Err(vec!["this process drains".to_owned()]);
        }
        notify::reloading();
        self.words.lock().await.listen();
        let result = self.reload_into(&mut running, ahead).await;
        notify::ready(self.shared.snapshot.load().number);
        self.shared.metrics.reloaded(result.is_ok());
        match &result {
            Ok(number) => {
                self.reloads.notify_one();
                tracing::info!(snapshot = number, "configuration reloaded");
            }
            Err(faults) => tracing::error!(faults = faults.join("\n"), "configuration refused, the former one goes on"),
        }
        result
    }

    /// The plugins that the configuration on disk will want, as far as they are not those that run. What is wrong
    /// with the configuration is found when it is taken up.
    async fn load_ahead(self: &Arc<Self>) -> Ahead {
        let app = Arc::clone(self);
        let wanted = self.workshop.run(move || {
            let config = weir_config::load(&app.path).ok()?.config;
            Some((app.plugins.load().wanted(&config), config.process.plugin_compile))
        });
        match wanted.await {
            Ok(Some((wanted, compile))) => self.compile_ahead(wanted, compile).await,
            _ => Ahead::default(),
        }
    }

    /// Loads these. What is compiled for it is given up when the result is not waited for.
    pub(super) async fn compile_ahead(&self, wanted: Vec<Wanted>, limits: PluginCompile) -> Ahead {
        if wanted.is_empty() {
            return Ahead::default();
        }
        let terms = CompileTerms { limits, cancel: Cancel::default() };
        let _cancel = CancelOnDrop(terms.cancel.clone());
        let host = Arc::clone(&self.shared.host);
        spawn_blocking(move || Ahead::make(&host, wanted, &terms)).await.unwrap_or_default()
    }

    async fn reload_into(self: &Arc<Self>, running: &mut Running, ahead: Ahead) -> Result<u64, Vec<String>> {
        let (app, plugins, pushed) = (Arc::clone(self), running.plugins.clone(), running.pushed.clone());
        running.ending.retain(|ending| ending.bound.strong_count() > 0);
        let open = Open { present: self.listeners.load().to_vec(), ending: running.ending.clone() };
        let prepared = self.workshop.run(move || app.prepare(&plugins, &ahead, pushed, &open)).await;
        let prepared = prepared.map_err(|error| vec![error.to_string()])??;
        if running.config.access_log != prepared.config.access_log {
            let changed = self.shared.log.change(&prepared.config.access_log);
            changed.map_err(|error| vec![format!("access log: {error}")])?;
        }
        warn_of_restart(&running.config, &prepared.config);
        self.take_up_listeners(prepared.listeners, prepared.config.process.shutdown_grace, &mut running.ending);
        running.pushed.keep(&certificates::served(&self.listeners.load()));
        self.take_up_doors(prepared.doors, &prepared.config);
        self.managed.store(Arc::new(prepared.managed));
        self.order();
        self.ending_as.store(Arc::new(Ending::of(&prepared.config)));
        self.shared.room.change(prepared.config.process.max_connections);
        self.shared.pressure.bound_memory(prepared.config.process.max_memory.map(|most| most.0));
        running.config = Arc::clone(&prepared.config);
        Ok(self.take_up(running, prepared.plugins, prepared.snapshot).await)
    }

    /// Blocking: everything of a reload that can fail.
    fn prepare(&self, plugins: &Plugins, ahead: &Ahead, pushed: Pushed, open: &Open) -> Result<Prepared, Vec<String>> {
        let loaded = weir_config::load(&self.path).map_err(|faults| vec![faults.to_string()])?;
        let config = Arc::new(loaded.config);
        places::check(&self.shared.host, &config, self.workers.get().map_or(0, Vec::len))?;
        let loader = Loader { host: &self.shared.host, compile: config.process.plugin_compile, ahead };
        let plugins = plugins.load(&loader, &config)?;
        let previous = self.shared.snapshot.load_full();
        let snapshot = Snapshot::build(&config, &plugins.programs(), Some(&previous))?;
        plugins.prepare(self.shared.metrics.workers());
        let managed = managed(&config, Some(&self.managed.load()))?;
        let terms = Terms { issued: issued(&managed), pushed, ..certificates::terms(&open.present) };
        let listeners = listeners::bind(&config, open, &mut Inherited::default(), &self.shared.metrics, &terms)?;
        let doors = doors::bind(&config, &self.admin.all(), &mut Inherited::default(), &terms);
        let doors = doors.map_err(|fault| vec![fault])?;
        Ok(Prepared { config, plugins, snapshot, listeners, doors, managed })
    }

    /// Put another version of a plugin in force, of what was loaded ahead.
    pub(super) async fn change_plugins(
        self: &Arc<Self>,
        ahead: Ahead,
        change: impl FnOnce(&Plugins, &Loader<'_>) -> Result<Plugins, Fault> + Send + 'static,
    ) -> Result<u64, Fault> {
        let mut running = self.running.lock().await;
        let (app, plugins, config) = (Arc::clone(self), running.plugins.clone(), Arc::clone(&running.config));
        self.words.lock().await.listen();
        let prepared = self.workshop.run(move || {
            let loader = Loader { host: &app.shared.host, compile: plugins.compile(), ahead: &ahead };
            let plugins = change(&plugins, &loader)?;
            let previous = app.shared.snapshot.load_full();
            let snapshot = Snapshot::build(&config, &plugins.programs(), Some(&previous));
            plugins.prepare(app.shared.metrics.workers());
            snapshot.map(|snapshot| (plugins, snapshot)).map_err(|faults| Fault::Refused(faults.join("; ")))
        });
        let prepared = prepared.await.map_err(|error| Fault::Refused(error.to_string()));
        let (plugins, snapshot) = prepared.flatten()?;
        Ok(self.take_up(&mut running, plugins, snapshot).await)
    }

    async fn take_up(&self, running: &mut Running, plugins: Plugins, snapshot: Snapshot) -> u64 {
        let number = snapshot.number;
        let mut words = self.words.lock().await;
        let former = self.shared.snapshot.swap(Arc::new(snapshot));
        endpoints::say_again(words.said(), &former, &self.shared.snapshot.load());
        drop(words);
        self.log_succession(&former);
        self.plugins.store(Arc::new(plugins.clone()));
        running.plugins = plugins;
        running.health.follow(&self.shared.snapshot.load(), &self.shared.host);
        let resolvers = running.config.process.resolvers.clone();
        running.discoveries.follow(&self.shared.snapshot.load(), &resolvers);
        self.tell(|| Command::Refresh);
        self.forget_figures(&self.shared.snapshot.load());
        number
    }
}

fn warn_of_restart(before: &Config, after: &Config) {
    let changed = [
        (before.process.workers != after.process.workers, "process.workers"),
        (before.process.plugin_cache != after.process.plugin_cache, "process.plugin-cache"),
        (before.process.upgrade_socket != after.process.upgrade_socket, "process.upgrade-socket"),
    ];
    for (_, key) in changed.iter().filter(|(changed, _)| *changed) {
        tracing::warn!(key, "takes effect at the next start");
    }
}
