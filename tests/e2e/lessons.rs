//! The commands of the examples' READMEs, typed as they stand there, do what the READMEs say.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use super::{
    examples,
    harness::{Reserved, Setup, Weir, eventually, target},
};

/// An example that runs, with the endpoints that its README has one start. They end with it.
struct Lesson {
    weir: Weir,
    endpoints: Vec<Child>,
    /// The cluster whose endpoints are looked at.
    cluster: &'static str,
    /// Addresses as written, and those in their place.
    addresses: Vec<(String, SocketAddr)>,
    readme: String,
}

impl Lesson {
    /// `names` are those of the endpoints on 9001 and the following ports.
    async fn start(name: &str, cluster: &'static str, names: &[&str]) -> Lesson {
        let folder = examples::root().join("examples").join(name);
        let reserved: Vec<Reserved> = names.iter().map(|_| Reserved::new()).collect();
        let written = |at: usize| format!("127.0.0.1:{}", 9001 + at);
        let mut addresses: Vec<_> = reserved.iter().enumerate().map(|(at, own)| (written(at), own.address)).collect();
        let mut text = examples::portable(&folder.join("weir.toml"));
        for (written, address) in &addresses {
            text = text.replace(written, &address.to_string());
        }
        let endpoints = names.iter().zip(&reserved).map(|(name, own)| endpoint(name, own.address)).collect();
        let weir = Setup::new(&text).start().await;
        addresses.extend([("127.0.0.1:8080".to_owned(), weir.web()), ("127.0.0.1:9901".to_owned(), weir.admin)]);
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        let lesson = Lesson { weir, endpoints, cluster, addresses, readme };
        for (_, address) in lesson.addresses.iter().take(names.len()) {
            eventually("an endpoint to listen", async || tokio::net::TcpStream::connect(address).await.ok()).await;
        }
        lesson.all_are("healthy").await;
        lesson
    }

    /// The line of the README that begins so, as a shell runs it: what it prints, by lines.
    fn typed(&self, beginning: &str) -> Vec<String> {
        let line = self.readme.lines().find(|line| line.starts_with(beginning));
        let mut line = line.unwrap_or_else(|| panic!("no line `{beginning}...` in the README")).to_owned();
        for (written, address) in &self.addresses {
            line = line.replace(written, &address.to_string());
        }
        self.shell(&line)
    }

    fn shell(&self, line: &str) -> Vec<String> {
        let output = Command::new("bash").args(["-c", line]).current_dir(self.weir.folder()).output().unwrap();
        assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    fn address(&self, at: usize) -> SocketAddr {
        self.addresses[at].1
    }

    /// Waits until the endpoint of this number is in this state.
    async fn is(&self, at: usize, state: &str) {
        self.weir.endpoint_is(self.cluster, self.address(at), state).await;
    }

    async fn all_are(&self, state: &str) {
        for at in 0..self.endpoints.len() {
            self.is(at, state).await;
        }
    }

    /// Which endpoint answers `user`, by the header that the example goes by.
    fn met_by(&self, user: &str) -> String {
        self.shell(&format!("curl -s -H 'x-user: {user}' http://{}/hello", self.weir.web())).remove(0)
    }
}

impl Drop for Lesson {
    fn drop(&mut self) {
        for endpoint in &mut self.endpoints {
            let _ = endpoint.kill();
            let _ = endpoint.wait();
        }
    }
}

/// `cargo xtask endpoint --name NAME --address ADDRESS`
fn endpoint(name: &str, address: SocketAddr) -> Child {
    let program: PathBuf = target().join("debug/xtask");
    assert!(program.is_file(), "{} is missing: `cargo build --package xtask` makes it", program.display());
    let arguments = ["endpoint", "--name", name, "--address", &address.to_string()].map(str::to_owned);
    Command::new(program).args(arguments).stdin(Stdio::null()).spawn().unwrap()
}

/// The endpoint's name, as its greeting begins.
fn name(line: &str) -> &str {
    line.split(':').next().unwrap()
}

#[tokio::test]
async fn sticky() {
    let names = ["one", "two", "three"];
    let lesson = Lesson::start("sticky", "web", &names).await;
    let kept: BTreeSet<String> = lesson.typed("for i in 1 2 3 4; do curl -s -c jar -b jar").into_iter().collect();
    assert_eq!(kept.len(), 1, "a client that keeps cookies stays: {kept:?}");
    let round: BTreeSet<String> =
        lesson.typed("for i in 1 2 3 4; do curl -s http://127.0.0.1:8080/; done").into_iter().collect();
    assert!(round.len() > 1, "one that does not goes round: {round:?}");

    let met = kept.first().unwrap().clone();
    let at = names.iter().position(|one| *one == name(&met)).unwrap();
    lesson.shell(&format!("curl -s http://{}/sick", lesson.address(at)));
    lesson.is(at, "unhealthy").await;
    let moved = lesson.typed("curl -s -c jar -b jar http://127.0.0.1:8080/");
    assert_ne!(moved[0], met, "the session moves");
    assert_eq!(lesson.typed("curl -s -c jar -b jar http://127.0.0.1:8080/"), moved, "and stays there");
}

#[tokio::test]
async fn consistent_hash() {
    let lesson = Lesson::start("consistent-hash", "users", &["one", "two", "three"]).await;
    let alice = lesson.typed("curl -H 'x-user: alice' http://127.0.0.1:8080/hello");
    assert_eq!(lesson.typed("curl -H 'x-user: alice' http://127.0.0.1:8080/hello"), alice);
    let users: Vec<String> = (0..20).map(|number| format!("user-{number}")).collect();
    let before: Vec<String> = users.iter().map(|user| lesson.met_by(user)).collect();
    assert!(before.iter().any(|met| name(met) == "one"), "{before:?}");

    lesson.typed("curl http://127.0.0.1:9001/sick");
    lesson.is(0, "unhealthy").await;
    for (user, met) in users.iter().zip(&before) {
        let now = lesson.met_by(user);
        let stays = now == *met;
        assert_eq!(stays, name(met) != "one", "{user} met {met}, and now {now}");
    }
    lesson.typed("curl http://127.0.0.1:9001/well");
    lesson.is(0, "healthy").await;
    let again: Vec<String> = users.iter().map(|user| lesson.met_by(user)).collect();
    assert_eq!(again, before, "users come back");
}

#[tokio::test]
async fn failover() {
    let lesson = Lesson::start("failover", "web", &["one", "two", "three", "four", "sorry"]).await;
    let ask = || -> BTreeSet<String> {
        let answers = lesson.typed("for i in $(seq 12); do curl -s http://127.0.0.1:8080/hello; done");
        answers.iter().map(|answer| name(answer).to_owned()).collect()
    };
    assert_eq!(ask(), BTreeSet::from(["one".to_owned(), "two".to_owned()]));

    lesson.typed("curl http://127.0.0.1:9001/sick");
    lesson.is(0, "unhealthy").await;
    let met = ask();
    assert!(met.contains("two") && !met.contains("one") && !met.contains("sorry"), "{met:?}");
    assert!(met.contains("three") || met.contains("four"), "the other zone takes the rest: {met:?}");

    lesson.shell(&format!("curl -s http://{}/sick", lesson.address(1)));
    lesson.is(1, "unhealthy").await;
    assert_eq!(ask(), BTreeSet::from(["four".to_owned(), "three".to_owned()]));

    for at in [2, 3] {
        lesson.shell(&format!("curl -s http://{}/sick", lesson.address(at)));
        lesson.is(at, "unhealthy").await;
    }
    assert_eq!(ask(), BTreeSet::from(["sorry".to_owned()]));
    assert!(!lesson.typed("curl -s http://127.0.0.1:9901/v1/status").is_empty());
    assert!(!lesson.typed("curl -s http://127.0.0.1:9901/metrics | grep -E").is_empty());
}

#[tokio::test]
async fn health() {
    let lesson = Lesson::start("health", "hello", &["one", "two", "three"]).await;
    assert_eq!(lesson.typed("curl http://127.0.0.1:8080/hello").len(), 1);
    lesson.typed("curl http://127.0.0.1:9001/sick");
    lesson.is(0, "unhealthy").await;
    let status = lesson.typed("curl http://127.0.0.1:9901/v1/status").concat();
    assert!(status.contains("503"), "the status page says why: {status}");
    lesson.typed("curl http://127.0.0.1:9001/well");
    lesson.is(0, "healthy").await;
}
