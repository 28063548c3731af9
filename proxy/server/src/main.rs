//! `weir`: what was asked for, and the life of the process that serves.

mod allocator;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use weir::{
    access_log::Writer,
    admin,
    app::{App, Doors, Leaving},
    cli::{self, Command},
    inherited::Inherited,
    logging,
    upgrade::{Belongings, Estate, Predecessor, Requests},
    watch,
};
use weir_upstream::descriptors;

#[global_allocator]
static ALLOCATOR: allocator::Mimalloc = allocator::Mimalloc;

/// Longest wait at the end for standard error to take what was logged.
const LAST_WORDS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    match cli::parse() {
        Command::Run(run) => serve(run.configured.path(), run.take_over),
        Command::Check(configured) => cli::check(&configured.path(), App::check),
        Command::Upgrade(command) => cli::upgrade(&command),
        Command::Status(command) => cli::status(&command),
        Command::Reload(command) => cli::reload(&command),
        Command::Plugin(command) => cli::plugin(&command),
        Command::Endpoint(command) => cli::endpoint(&command),
        Command::Rollout(command) => cli::rollout(&command),
        Command::Acme(command) => cli::acme(&command),
        Command::Certificate(command) => cli::certificate(&command),
        Command::CompilePlugin(task) => cli::compile(&task),
    }
}

fn serve(path: PathBuf, take_over: bool) -> ExitCode {
    let log = match logging::start() {
        Ok(log) => log,
        Err(error) => {
            eprintln!("error: no process log: {error}");
            return ExitCode::from(cli::FAILED);
        }
    };
    let (code, why) = lifetime(path, take_over);
    if let Some(why) = why {
        log.say(&why);
    }
    log.flush(LAST_WORDS);
    code
}

/// From the start to the end of the process, and why it failed, for people.
fn lifetime(path: PathBuf, take_over: bool) -> (ExitCode, Option<String>) {
    descriptors::raise_limit();
    let met = if take_over { Predecessor::meet().map(|(before, given)| (Some(before), given)) } else { passed() };
    let (mut predecessor, inherited) = match met {
        Ok(met) => met,
        Err(error) => {
            return (ExitCode::from(cli::FAULT), Some(format!("error: {error:#}")));
        }
    };
    let kept = predecessor.as_mut().map(Predecessor::belongings).unwrap_or_default();
    let (why, code) = match begin(path, inherited, kept) {
        Ok(begun) => match run(begun, &mut predecessor) {
            Ok(()) => return (ExitCode::SUCCESS, None),
            Err(error) => (format!("error: {error:#}"), cli::FAILED),
        },
        Err(faults) => (faults, cli::FAULT),
    };
    if let Some(predecessor) = predecessor {
        predecessor.give_up(&why);
    }
    (ExitCode::from(code), Some(why))
}

/// What the service manager passes.
fn passed() -> anyhow::Result<(Option<Predecessor>, Inherited)> {
    Ok((None, Inherited::from_service_manager().map_err(anyhow::Error::msg)?))
}

/// What is there before anything runs.
struct Begun {
    app: Arc<App>,
    writer: Writer,
    inherited: Inherited,
}

/// Everything that the configuration needs; otherwise every fault, for people.
fn begin(path: PathBuf, mut inherited: Inherited, kept: Belongings) -> Result<Begun, String> {
    let loaded = weir_config::load(&path).map_err(|faults| faults.to_string())?;
    for warning in &loaded.warnings {
        tracing::warn!(key = warning.key, line = warning.line, "{}", warning.problem);
    }
    let lines =
        |faults: Vec<String>| faults.iter().map(|fault| format!("error: {fault}")).collect::<Vec<_>>().join("\n");
    let (app, writer) = App::build(path, loaded.config, &mut inherited, kept).map_err(lines)?;
    Ok(Begun { app, writer, inherited })
}

fn run(begun: Begun, predecessor: &mut Option<Predecessor>) -> anyhow::Result<()> {
    let control =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("weir-control").enable_all().build();
    let Begun { app, writer, mut inherited } = begun;
    control.context("control runtime")?.block_on(async {
        let watching = watch::start(&app).await;
        let mut signals = Signals::new().context("signals")?;
        let doors = doors(&app, &mut inherited, predecessor.as_mut()).await?;
        for (name, address) in inherited.left() {
            tracing::warn!(name, address, "a socket that was passed is not used");
        }
        drop(inherited);
        app.start().await.context("workers")?;
        let left = match predecessor.as_mut() {
            Some(predecessor) => tokio::select! {
                left = predecessor.relieve() => left?,
                () = signals.end() => anyhow::bail!("it was told to end before it served"),
            },
            None => Estate::default(),
        };
        app.open(doors, left).await;
        if let Some(predecessor) = predecessor.take() {
            predecessor.succeed();
        }
        tokio::spawn(watching.run(Arc::clone(&app)));
        live(app, signals, &writer).await
    })?;
    writer.close(Duration::from_secs(5));
    Ok(())
}

/// What is open besides the listeners.
async fn doors(app: &App, inherited: &mut Inherited, predecessor: Option<&mut Predecessor>) -> anyhow::Result<Doors> {
    let mut doors = Doors::default();
    app.bind_admin(inherited).await.map_err(anyhow::Error::msg)?;
    if let Some(path) = app.upgrade_socket().await {
        let requests = match predecessor.and_then(|predecessor| predecessor.requests(&path)) {
            Some(passed) => Requests::over(&path, passed),
            None => Requests::bind(&path),
        };
        doors.requests = Some(requests.with_context(|| format!("upgrade socket: {}", path.display()))?);
    }
    Ok(doors)
}

fn audit(who: &str, action: &'static str, outcome: Result<String, String>) {
    admin::audit(who, action, "process", outcome);
}

/// What the process is told.
struct Signals {
    hangup: Signal,
    upgrade: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The process is told to end.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// From the first accept to the last response.
async fn live(app: Arc<App>, mut signals: Signals, writer: &Writer) -> anyhow::Result<()> {
    let (sweeping, timing) = (Arc::clone(&app), Arc::clone(&app));
    tokio::spawn(async move { sweeping.sweep_sessions().await });
    let expiring = Arc::clone(&app);
    tokio::spawn(async move { expiring.watch_expiry().await });
    tokio::spawn(async move { timing.keep_time().await });
    let feeling = Arc::clone(&app);
    tokio::spawn(async move { feeling.feel_pressure().await });
    tracing::info!(pid = std::process::id(), "ready");
    let mut pulse = tokio::time::interval(Duration::from_secs(1));
    let leaving = loop {
        tokio::select! {
            _ = pulse.tick() => anyhow::ensure!(app.is_alive(), "a worker has ended by itself"),
            // Beside this loop: what takes a while must not hold up the signal to end.
            _ = signals.hangup.recv() => {
                writer.reopen();
                let app = Arc::clone(&app);
                tokio::spawn(async move {
                    let outcome = app.reload().await.map(|number| format!("snapshot {number}"));
                    audit("signal HUP", "reload", outcome.map_err(|_| admin::REFUSED.to_owned()));
                });
            }
            _ = signals.upgrade.recv() => {
                let app = Arc::clone(&app);
                tokio::spawn(async move {
                    let upgraded = app.upgrade(None).await;
                    let is_done = upgraded.is_ok();
                    audit("signal USR2", "upgrade", upgraded.map(|pid| format!("pid {pid}")));
                    if is_done {
                        app.relieve();
                    }
                });
            }
            _ = signals.terminate.recv() => break Leaving::Shutdown,
            _ = signals.interrupt.recv() => break Leaving::Shutdown,
            () = app.relieved() => break Leaving::Relieved,
        }
    };
    if leaving == Leaving::Shutdown {
        audit("signal TERM or INT", "shut down", Ok("draining".to_owned()));
    }
    let clean = app.drain(leaving).await;
    tracing::info!(clean, "ended");
    Ok(())
}
