//! `weir`: what was asked for, and the life of the process that serves.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use weir::{
    access_log::Writer,
    admin,
    app::{Admin, App},
    cli::{self, Command},
    logging, watch,
};

/// Exchanges allocate and free many small things on one thread: what this allocator is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::parse() {
        Command::Run(configured) => run(configured.config),
        Command::Check(configured) => cli::check(&configured.config, App::check),
        Command::Plugin(command) => cli::plugin(&command),
        Command::Endpoint(command) => cli::endpoint(&command),
        Command::Rollout(command) => cli::rollout(&command),
        Command::Acme(command) => cli::acme(&command),
    }
}

fn run(path: PathBuf) -> ExitCode {
    logging::start();
    let loaded = match weir_config::load(&path) {
        Ok(loaded) => loaded,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::from(cli::FAULT);
        }
    };
    for warning in &loaded.warnings {
        tracing::warn!(key = warning.key, line = warning.line, "{}", warning.problem);
    }
    let (app, writer) = match App::build(path, loaded.config) {
        Ok(built) => built,
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("error: {fault}"));
            return ExitCode::from(cli::FAULT);
        }
    };
    match serve(app, writer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(cli::FAILED)
        }
    }
}

fn serve(app: Arc<App>, writer: Writer) -> anyhow::Result<()> {
    let control =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("weir-control").enable_all().build();
    let control = control.context("control runtime")?;
    control.block_on(live(app, &writer))?;
    writer.close(Duration::from_secs(5));
    Ok(())
}

/// From the first accept to the last response.
async fn live(app: Arc<App>, writer: &Writer) -> anyhow::Result<()> {
    let watching = watch::start(&app).await;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let admin = match app.admin_address().await {
        Some(address) => {
            let listener = tokio::net::TcpListener::bind(address).await.with_context(|| format!("admin: {address}"))?;
            tracing::info!(address = %listener.local_addr()?, "admin listening");
            Some(listener)
        }
        None => None,
    };
    app.start().await.context("workers")?;
    if let Some(listener) = admin {
        tokio::spawn(admin::serve(listener, Arc::new(Admin(Arc::clone(&app))), std::future::pending()));
    }
    if let Some(watching) = watching {
        tokio::spawn(watching.run(Arc::clone(&app)));
    }
    let sweeping = Arc::clone(&app);
    tokio::spawn(async move { sweeping.sweep_sessions().await });
    let expiring = Arc::clone(&app);
    tokio::spawn(async move { expiring.watch_expiry().await });
    let timing = Arc::clone(&app);
    tokio::spawn(async move { timing.keep_time().await });
    tracing::info!(pid = std::process::id(), "ready");
    let mut pulse = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = pulse.tick() => anyhow::ensure!(app.is_alive(), "a worker has ended by itself"),
            _ = hangup.recv() => {
                writer.reopen();
                // Beside this loop: a plugin that compiles must not hold up the signal to end.
                let app = Arc::clone(&app);
                tokio::spawn(async move { app.reload().await });
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    let clean = app.drain().await;
    tracing::info!(clean, "ended");
    Ok(())
}
