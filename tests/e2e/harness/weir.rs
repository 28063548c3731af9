//! The process under test.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use http::{Method, StatusCode};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    Client, Reply,
    body::{empty, full},
    client::request,
    eventually, exposition, target,
};

/// A configuration with the files it names, not running yet.
pub struct Setup {
    folder: TempDir,
    text: String,
    environment: Vec<(String, String)>,
}

impl Setup {
    /// `[admin]` and `[process]` are added where they are missing.
    pub fn new(text: &str) -> Setup {
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup { folder, text: complete(text), environment: Vec::new() };
        write(&setup.folder.path().join("weir.toml"), setup.text.as_bytes());
        setup
    }

    /// A file beside the configuration.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Setup {
        write(&self.folder.path().join(name), content.as_ref());
        self
    }

    /// `NAME.pem` and `NAME.key`.
    pub fn certificate(self, name: &str, certificate: &super::Certificate) -> Setup {
        self.file(&format!("{name}.pem"), &certificate.cert).file(&format!("{name}.key"), &certificate.key)
    }

    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `weir check` on it, to the end.
    pub fn check(&self) -> Output {
        run(&["check", "--config", self.folder.path().join("weir.toml").to_str().unwrap()])
    }

    /// `weir run` on it, to the end: for configurations that cannot run.
    pub fn run(&self) -> Output {
        run(&["run", "--config", self.folder.path().join("weir.toml").to_str().unwrap()])
    }

    /// Starts it and waits until it is ready.
    pub async fn start(self) -> Weir {
        let weir = self.launch(weir(&["run", "--config", "weir.toml"]));
        weir.begun().await
    }

    /// Starts it by a command of the test's own, in the folder of its files.
    pub fn launch(self, command: Command) -> Weir {
        self.launch_with(command, Stdio::null())
    }

    /// [`Setup::launch`] with this as its standard input.
    pub fn launch_with(self, mut command: Command, stdin: impl Into<Stdio>) -> Weir {
        command.current_dir(self.folder.path()).envs(self.environment);
        let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (Lines::of(child.stdout.take().unwrap()), Lines::of(child.stderr.take().unwrap()));
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Weir { child, ended: None, folder: self.folder, stdout, stderr, admin: nowhere, listeners: BTreeMap::new() }
    }
}

fn complete(text: &str) -> String {
    let mut text = text.to_owned();
    if !text.contains("[admin]") {
        text.push_str("\n[admin]\naddress = \"127.0.0.1:0\"\nunauthenticated = \"deploy\"\n");
    }
    if !text.contains("[process]") {
        text.push_str("\n[process]\nworkers = 2\n");
    }
    text
}

/// The binary under test.
pub fn weir(arguments: &[&str]) -> Command {
    prepared(Command::new(env!("CARGO_BIN_EXE_weir")), arguments)
}

/// The same where so many files may be open: by a shell that sets the limit and becomes Weir.
pub fn weir_with_files(most: u32, arguments: &[&str]) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -n {most} && exec \"$@\""), "sh", env!("CARGO_BIN_EXE_weir")]);
    prepared(shell, arguments)
}

/// The same where files are closed to Weir that are closed to their owner: root may not read what others may not either.
pub fn weir_without_privilege(arguments: &[&str]) -> Command {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return weir(arguments);
    }
    let mut plain = Command::new("setpriv");
    plain.args(["--bounding-set", "-dac_override,-dac_read_search", env!("CARGO_BIN_EXE_weir")]);
    prepared(plain, arguments)
}

fn prepared(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments).env("XDG_CACHE_HOME", target().join("e2e-cache")).env_remove("WEIR_LOG");
    command.env_remove("WEIR_ADMIN").env_remove("WEIR_ADMIN_TOKEN_FILE");
    command
}

/// A command line to its end.
pub fn run(arguments: &[&str]) -> Output {
    weir(arguments).output().unwrap()
}

/// At once, as a deployment does it: a reader sees the former file or the next one, and no other user any.
fn write(path: &Path, content: &[u8]) {
    let draft = path.with_extension("draft");
    fs::write(&draft, content).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(draft, path).unwrap();
}

/// A running Weir.
pub struct Weir {
    child: Child,
    ended: Option<ExitStatus>,
    folder: TempDir,
    stdout: Lines,
    stderr: Lines,
    /// The admin address.
    pub admin: SocketAddr,
    listeners: BTreeMap<String, SocketAddr>,
}

impl Weir {
    /// Starts it on a configuration and waits until it is ready.
    pub async fn start(text: &str) -> Weir {
        Setup::new(text).start().await
    }

    /// Starts it on what [`plain`] says of these endpoints.
    pub async fn before(endpoints: &[SocketAddr]) -> Weir {
        Weir::start(&plain(endpoints, "")).await
    }

    /// [`Weir::before`] with more to say on the cluster.
    pub async fn before_with(endpoints: &[SocketAddr], cluster: &str) -> Weir {
        Weir::start(&plain(endpoints, cluster)).await
    }

    /// Waits until it is ready.
    pub async fn begun(mut self) -> Weir {
        self.said("ready").await;
        let admin = self.said("admin listening").await;
        // One at a Unix socket is asked over its second address.
        self.admin = match admin["address"].as_str().unwrap().parse() {
            Ok(address) => address,
            Err(_) => self.second_admin().await,
        };
        self.learn().await;
        self
    }

    /// The read-only address of the admin interface.
    pub async fn second_admin(&self) -> SocketAddr {
        let second = self.said("admin listening, read-only").await;
        second["address"].as_str().unwrap().parse().unwrap()
    }

    /// Waits until another process serves in its place.
    pub async fn succeeded(&self, by: u32) {
        eventually("another process to answer", || async { (self.status().await["pid"] == by).then_some(()) }).await;
    }

    /// The processes that were started in its place, as far as the log tells.
    fn successors(&self) -> Vec<Pid> {
        let lines = self.stderr.json().filter(|line| line["message"] == "upgrading");
        let pids = lines.filter_map(|line| i32::try_from(line["pid"].as_i64()?).ok());
        pids.filter(|pid| is_weir(*pid)).map(Pid::from_raw).collect()
    }

    /// The address of a listener.
    pub fn listener(&self, name: &str) -> SocketAddr {
        *self.listeners.get(name).unwrap_or_else(|| panic!("no listener {name}"))
    }

    /// The address of listener `web`.
    pub fn web(&self) -> SocketAddr {
        self.listener("web")
    }

    /// Learns the addresses of listeners again, after a reload.
    pub async fn learn(&mut self) {
        let status = self.status().await;
        let listeners = status["listeners"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        self.listeners = listeners.map(|one| (text(&one["name"]), text(&one["address"]).parse().unwrap())).collect();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file beside the configuration, at once.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        write(&self.path(name), content.as_ref());
    }

    /// Puts another configuration in place; only watching or a signal makes it count.
    pub fn configure(&self, text: &str) {
        self.write("weir.toml", complete(text));
    }

    /// Puts another configuration in place and has it taken up.
    pub async fn reload(&mut self, text: &str) -> Result<(), String> {
        self.configure(text);
        let reply = self.command(Method::POST, "/v1/reload", "").await;
        if reply.status != StatusCode::OK {
            return Err(reply.text().to_owned());
        }
        self.learn().await;
        Ok(())
    }

    /// A request to the admin address.
    pub async fn command(&self, method: Method, path: &str, body: impl Into<bytes::Bytes>) -> Reply {
        let body = body.into();
        let body = if body.is_empty() { empty() } else { full(body) };
        let asked = request(method, path).header("host", "localhost").body(body).unwrap();
        Client::http1(self.admin).await.ask(asked).await
    }

    pub async fn status(&self) -> Value {
        self.command(Method::GET, "/v1/status", "").await.json()
    }

    /// The number of the running snapshot.
    pub async fn snapshot(&self) -> u64 {
        self.status().await["snapshot"]["number"].as_u64().unwrap()
    }

    /// Waits until a snapshot after this one runs.
    pub async fn after(&self, snapshot: u64) {
        eventually("another snapshot", || async { (self.snapshot().await > snapshot).then_some(()) }).await;
    }

    /// The status of an endpoint, by its cluster and address.
    pub async fn endpoint(&self, cluster: &str, address: SocketAddr) -> Value {
        let status = self.status().await;
        let named = |list: &Value, key: &str, name: &str| {
            list.as_array().unwrap().iter().find(|one| one[key] == name).cloned().unwrap()
        };
        let cluster = named(&status["clusters"], "name", cluster);
        named(&cluster["endpoints"], "address", &address.to_string())
    }

    /// Waits until an endpoint has this state.
    pub async fn endpoint_is(&self, cluster: &str, address: SocketAddr, state: &str) {
        let what = format!("{address} to be {state}");
        eventually(&what, || async { (self.endpoint(cluster, address).await["state"] == state).then_some(()) }).await;
    }

    /// Which a scraper would take.
    pub async fn metrics(&self) -> String {
        let page = self.command(Method::GET, "/metrics", "").await.text().to_owned();
        exposition::check(&page).unwrap_or_else(|problem| panic!("{problem}"));
        page
    }

    /// The value of a series, written as on the page; 0 where it is not there.
    pub async fn metric(&self, series: &str) -> f64 {
        let page = self.metrics().await;
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Resident memory in octets.
    pub fn rss(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// CPU time so far, of all threads.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    pub fn signal(&self, signal: Signal) {
        signal::kill(Pid::from_raw(self.pid() as i32), signal).unwrap();
    }

    /// Waits for the process to end by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let status = eventually("the process to end", || std::future::ready(child.try_wait().unwrap())).await;
        self.ended = Some(status);
        status
    }

    /// Reads nothing more of its standard error until what this gives is dropped. Do not ask for the process log meanwhile.
    pub fn stall_stderr(&self) -> impl Drop + '_ {
        Stalled(self.stderr.0.lock().unwrap())
    }

    /// Waits for a line of the process log with this message.
    pub async fn said(&self, message: &str) -> Value {
        self.said_where(message, |_| true).await
    }

    /// Waits for a line of the process log with this message that fits.
    pub async fn said_where(&self, message: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let found = || self.stderr.json().find(|line| line["message"] == message && fits(line));
        eventually(&format!("{message:?} in the process log"), || std::future::ready(found())).await
    }

    /// The process log so far.
    pub fn stderr(&self) -> String {
        self.stderr.all().join("\n")
    }

    /// Standard output so far: the access log, unless it goes elsewhere.
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.all()
    }

    /// Waits for a line of the access log (JSON) that fits.
    pub async fn logged_where(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let found = || self.stdout.json().find(|line| fits(line));
        eventually(&format!("{what} in the access log"), || std::future::ready(found())).await
    }

    /// Waits for the access log's line of this path (JSON).
    pub async fn logged(&self, path: &str) -> Value {
        self.logged_where(path, |line| line["path"] == path).await
    }
}

/// One plain listener `web`, one cluster `web` of these endpoints, and more to say on it.
pub fn plain(endpoints: &[SocketAddr], cluster: &str) -> String {
    let endpoints: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    plain_of(&format!("{endpoints:?}"), cluster)
}

/// [`plain`] of a list of endpoints as the configuration writes it.
pub fn plain_of(endpoints: &str, cluster: &str) -> String {
    format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\nname = \"web\"\ncluster = \"web\"\n\
         [clusters.web]\nendpoints = {endpoints}\n{cluster}\n"
    )
}

fn is_weir(pid: i32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| program.ends_with("weir"))
}

impl Drop for Weir {
    fn drop(&mut self) {
        for pid in self.successors() {
            let _ = signal::kill(pid, Signal::SIGKILL);
        }
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("--- process log\n{}\n--- standard output\n{}", self.stderr(), self.stdout().join("\n"));
        }
    }
}

/// Holds the reader of a stream up.
struct Stalled<'a>(#[expect(dead_code, reason = "held, not read")] MutexGuard<'a, Vec<String>>);

impl Drop for Stalled<'_> {
    fn drop(&mut self) {}
}

/// The lines of a stream, as they come.
#[derive(Clone)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Lines {
        let lines = Lines(Arc::default());
        let kept = Arc::clone(&lines.0);
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        lines
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn json(&self) -> impl Iterator<Item = Value> {
        self.all().into_iter().filter_map(|line| serde_json::from_str(&line).ok())
    }
}
