//! A program of somebody else's, found, run to its end, or run beside the test and ended with it.

use std::{
    env, fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A command of a program that `.ci/run` installs.
pub fn command(program: &str, package: &str) -> Command {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = folders.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.is_file());
    let path = found.unwrap_or_else(|| panic!("{program} is not installed: apt-get install {package}"));
    Command::new(path)
}

/// A command of a program that `.ci/run` has cargo install.
pub fn cargo_command(program: &str, package: &str) -> Command {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo"))).unwrap();
    let path = home.join("bin").join(program);
    assert!(path.is_file(), "{program} is not installed: cargo install --locked {package}");
    Command::new(path)
}

/// Where `.ci/run` keeps what registries of other languages have.
fn registered() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    cache.or_else(|| Some(env::home_dir()?.join(".cache"))).unwrap().join("weir-peers")
}

/// A script with the packages of PyPI that `.ci/run` installs.
pub fn python(script: &str) -> Command {
    let path = registered().join("python/bin/python");
    assert!(path.exists(), "{} is not there: .ci/run makes it", path.display());
    let mut python = Command::new(path);
    python.args(["-u", "-c", script]);
    python
}

/// A program of one of those packages.
pub fn python_program(program: &str) -> Command {
    let path = registered().join("python/bin").join(program);
    assert!(path.exists(), "{} is not there: .ci/run installs it", path.display());
    Command::new(path)
}

/// A script with the packages of npm that `.ci/run` installs.
pub fn node(script: &str) -> Command {
    let mut node = command("node", "nodejs");
    node.env("NODE_PATH", registered().join("node/node_modules")).args(["-e", script]);
    node
}

/// Run to its end and give back what it printed; it must succeed.
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// A server that listens where it was told to.
pub struct Peer {
    child: Child,
    pub address: SocketAddr,
}

impl Peer {
    /// Start one on a free port, which `command` is told. Another process may take the port in
    /// between: then it is tried again.
    pub fn start(log: &Path, command: impl Fn(SocketAddr) -> Command) -> Self {
        for _ in 0..5 {
            let address = free_address();
            let output = fs::File::create(log).unwrap();
            let errors = output.try_clone().unwrap();
            let child = command(address).stdin(Stdio::null()).stdout(output).stderr(errors).spawn().unwrap();
            let mut peer = Self { child, address };
            if peer.listens() {
                return peer;
            }
        }
        panic!("it does not start: {}", fs::read_to_string(log).unwrap());
    }

    fn listens(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && self.child.try_wait().unwrap().is_none() {
            if TcpStream::connect(self.address).is_ok() {
                return true;
            }
            std::thread::yield_now();
        }
        false
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that was free a moment ago.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
