//! Changes on disk: the configuration, plugins and certificates, gathered into one reload.

use std::{
    collections::{HashSet, VecDeque},
    ffi::OsString,
    future::pending,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::{
    admin::{REFUSED, audit},
    app::App,
};

/// Writers take a moment to finish a file; what comes within it is one change.
const SETTLE: Duration = Duration::from_millis(200);
/// Who writes without end holds nothing up for longer.
const LONGEST: Duration = Duration::from_secs(2);
/// Until files that could not be watched are tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// Links that lead to a file, as Linux has it.
const LINKS: usize = 40;

/// Files under watch, where that is wanted: what changes from now on is seen, whenever it is looked at.
pub struct Watching {
    /// None where it is not wanted.
    files: Option<Vec<PathBuf>>,
    watch: Option<Watch>,
    /// They could not be watched where they are now.
    failed: bool,
}

struct Watch {
    _watcher: RecommendedWatcher,
    changes: UnboundedReceiver<()>,
}

/// Watch the files in use, where that is wanted and can be done.
pub async fn start(app: &App) -> Watching {
    let mut watching = Watching { files: app.watched().await, watch: None, failed: false };
    watching.renew();
    watching
}

impl Watching {
    /// Reload whenever one of the files changes, for as long as the process lives. Whether they are watched, and which,
    /// is as what runs has it.
    pub async fn run(mut self, app: Arc<App>) {
        loop {
            let failed = self.failed;
            tokio::select! {
                changes = self.changed() => {
                    settle(changes).await;
                    // Before the files are read: what changes from then on is seen where they are now.
                    self.renew();
                    reload(&app).await;
                }
                () = app.reloaded() => {}
                () = sleep(AGAIN), if failed => {
                    if self.renew() {
                        reload(&app).await;
                    }
                }
            }
            let wanted = app.watched().await;
            if wanted != self.files {
                self.files = wanted;
                if self.renew() {
                    reload(&app).await;
                }
            }
        }
    }

    async fn changed(&mut self) -> &mut UnboundedReceiver<()> {
        if let Some(Watch { changes, .. }) = &mut self.watch
            && changes.recv().await.is_some()
        {
            return changes;
        }
        pending().await
    }

    /// Watch where the files are now. Whether something may have changed unseen: the former watch goes on until its
    /// successor is there, and has seen more than was looked at; or there was none, or none of where they were.
    fn renew(&mut self) -> bool {
        let former = match self.files.as_deref().map(watch).transpose() {
            Ok(successor) => std::mem::replace(&mut self.watch, successor),
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    tracing::error!(%error, "files are not watched: reload by SIGHUP until they are");
                }
                return false;
            }
        };
        let failed = std::mem::take(&mut self.failed);
        self.watch.is_some() && (failed || former.is_none_or(|mut former| former.changes.try_recv().is_ok()))
    }
}

async fn reload(app: &Arc<App>) {
    let outcome = app.reload().await.map(|number| format!("snapshot {number}"));
    audit("file watch", "reload", "configuration", outcome.map_err(|_| REFUSED.to_owned()));
}

/// Wait until no more changes come, or for long enough.
async fn settle(changes: &mut UnboundedReceiver<()>) {
    let end = Instant::now() + LONGEST;
    let quiet = async { while timeout(SETTLE, changes.recv()).await.is_ok_and(|change| change.is_some()) {} };
    let _ = timeout_at(end, quiet).await;
}

/// Folders are watched, not files: editors and deployments put another file in place of the old one, another folder in
/// place of its folder, or turn a link that leads there.
fn watch(files: &[PathBuf]) -> notify::Result<Watch> {
    let (changed, changes) = unbounded_channel();
    let steps: Vec<Vec<PathBuf>> = files.iter().map(|file| steps(file)).collect();
    let folders = |of: &[PathBuf]| of.iter().filter_map(|step| step.parent()).map(Path::to_owned).collect::<Vec<_>>();
    let nearest: HashSet<PathBuf> = steps.iter().filter_map(|steps| folders(steps).pop()).collect();
    let all: HashSet<PathBuf> = steps.iter().flat_map(|steps| folders(steps)).collect();
    let ours: HashSet<PathBuf> = steps.into_iter().flatten().collect();
    let mut watcher = notify::recommended_watcher(move |event| {
        if concerns(&event, &ours) {
            let _ = changed.send(());
        }
    })?;
    let (mut watched, mut failed) = (files.is_empty(), None);
    for folder in all {
        match watcher.watch(&folder, RecursiveMode::NonRecursive) {
            Ok(()) => watched = true,
            // One that may be passed but not be read, or that has just gone: its return is seen from above.
            Err(error) => {
                match nearest.contains(&folder) {
                    true => tracing::warn!(folder = %folder.display(), %error, "a folder is not watched"),
                    false => tracing::debug!(folder = %folder.display(), %error, "a folder is not watched"),
                }
                failed = Some(error);
            }
        }
    }
    match failed {
        Some(error) if !watched => Err(error),
        _ => Ok(Watch { _watcher: watcher, changes }),
    }
}

/// Whether something on the way to one of the files may have changed. What was lost may have been that.
fn concerns(event: &notify::Result<notify::Event>, ours: &HashSet<PathBuf>) -> bool {
    match event {
        Ok(event) if event.need_rescan() => true,
        Ok(event) => !event.kind.is_access() && event.paths.iter().any(|path| ours.contains(path)),
        Err(_) => true,
    }
}

/// Everything on the way to a file whose change may lead elsewhere, each by the folder that it is really in: folders,
/// links and what they lead to, and last the file.
fn steps(file: &Path) -> Vec<PathBuf> {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let mut ahead: VecDeque<OsString> = parts(&absolute);
    let (mut steps, mut at, mut links) = (Vec::new(), PathBuf::from("/"), 0);
    while let Some(part) = ahead.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        let step = at.join(&part);
        steps.push(step.clone());
        match std::fs::read_link(&step) {
            Ok(target) if links < LINKS => {
                links += 1;
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                for part in parts(&target).into_iter().rev() {
                    ahead.push_front(part);
                }
            }
            _ if step.exists() => at = step,
            // Seen as soon as it is there.
            _ => break,
        }
    }
    steps
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    names.map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use notify::{
        Event, EventKind,
        event::{AccessKind, Flag, ModifyKind},
    };

    use super::*;

    #[test]
    fn a_file_is_where_links_lead() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(at.join("releases/7")).unwrap();
        std::fs::create_dir(at.join("live")).unwrap();
        std::fs::write(at.join("releases/7/a.pem"), "a").unwrap();
        symlink("releases/7", at.join("current")).unwrap();
        symlink("../current/a.pem", at.join("live/b.pem")).unwrap();
        symlink("round", at.join("round")).unwrap();
        let below = |name: &str| -> Vec<String> {
            let steps = steps(&at.join(name)).into_iter();
            steps.filter_map(|step| Some(step.strip_prefix(&at).ok()?.to_str()?.to_owned())).collect()
        };
        assert_eq!(
            below("live/b.pem"),
            ["", "live", "live/b.pem", "current", "releases", "releases/7", "releases/7/a.pem"]
        );
        assert_eq!(below("live/none/c.pem"), ["", "live", "live/none"]);
        assert_eq!(below("releases/7/a.pem"), ["", "releases", "releases/7", "releases/7/a.pem"]);
        assert_eq!(below("round").last().unwrap(), "round");
        assert_eq!(steps(&at.join("live/b.pem"))[0], Path::new("/").join(at.components().nth(1).unwrap()));
    }

    #[test]
    fn what_was_lost_may_have_been_a_change() {
        let ours = HashSet::from(["/etc/weir/a.pem".into(), "/etc/weir".into()]);
        let of = |kind: EventKind, path: &str| concerns(&Ok(Event::new(kind).add_path(path.into())), &ours);
        assert!(of(EventKind::Modify(ModifyKind::Any), "/etc/weir/a.pem"));
        assert!(of(EventKind::Modify(ModifyKind::Any), "/etc/weir"));
        assert!(!of(EventKind::Modify(ModifyKind::Any), "/etc/other/a.pem"));
        assert!(!of(EventKind::Access(AccessKind::Any), "/etc/weir/a.pem"));
        assert!(concerns(&Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)), &ours));
        assert!(concerns(&Err(notify::Error::generic("no room")), &ours));
    }

    #[tokio::test]
    async fn who_writes_without_end_holds_nothing_up() {
        let (changed, mut changes) = unbounded_channel();
        let writer = tokio::spawn(async move {
            while changed.send(()).is_ok() {
                tokio::task::yield_now().await;
            }
        });
        timeout(LONGEST * 20, settle(&mut changes)).await.unwrap();
        assert!(!writer.is_finished());
        writer.abort();
    }
}
