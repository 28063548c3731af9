//! Changes on disk: the configuration, plugins and certificates, gathered into one reload.

use std::{collections::HashSet, ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::app::App;

/// Writers take a moment to finish a file; what comes within it is one change.
const SETTLE: Duration = Duration::from_millis(200);

/// Files under watch: what changes from now on is seen, whenever it is looked at.
pub struct Watching {
    files: Vec<PathBuf>,
    watch: Watch,
}

type Watch = (RecommendedWatcher, UnboundedReceiver<()>);

/// Watch the files in use, where that is wanted and can be done.
pub async fn start(app: &App) -> Option<Watching> {
    let files = app.watched().await?;
    let watch = watch(&files).inspect_err(give_up).ok()?;
    Some(Watching { files, watch })
}

impl Watching {
    /// Reload whenever one of the files changes, for as long as the process lives.
    pub async fn run(mut self, app: Arc<App>) {
        while self.watch.1.recv().await.is_some() {
            while tokio::time::timeout(SETTLE, self.watch.1.recv()).await.is_ok_and(|change| change.is_some()) {}
            let _ = app.reload().await;
            let Some(next) = app.watched().await else { return };
            if next != self.files {
                // The former watch goes on until its successor is there, and what it saw meanwhile counts.
                let mut former = match watch(&next) {
                    Ok(successor) => std::mem::replace(&mut self.watch, successor),
                    Err(error) => return give_up(&error),
                };
                self.files = next;
                if former.1.try_recv().is_ok() {
                    let _ = app.reload().await;
                }
            }
        }
    }
}

fn give_up(error: &notify::Error) {
    tracing::error!(%error, "files are not watched: reload by SIGHUP");
}

/// Folders are watched, not files: editors and deployments put another file in place of the old one.
fn watch(files: &[PathBuf]) -> notify::Result<Watch> {
    let (changed, changes) = unbounded_channel();
    let names: HashSet<OsString> = files.iter().filter_map(|file| file.file_name().map(OsString::from)).collect();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let ours =
            event.paths.iter().any(|path| path.file_name().is_none_or(|name| names.contains(name) || is_link(name)));
        if ours && !event.kind.is_access() {
            let _ = changed.send(());
        }
    })?;
    let folders: HashSet<PathBuf> = files.iter().filter_map(|file| Some(absolute(file).parent()?.to_owned())).collect();
    for folder in folders {
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    }
    Ok((watcher, changes))
}

/// The link Kubernetes swaps under a mounted folder.
fn is_link(name: &std::ffi::OsStr) -> bool {
    name == "..data"
}

fn absolute(file: &std::path::Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}
