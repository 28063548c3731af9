//! Under a service manager: sockets that it passes, and what it is told.

use std::{
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{net::UnixDatagram, process::CommandExt},
    },
    process::Command,
    time::Duration,
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::signal::{
        self,
        Signal::{SIGHUP, SIGTERM, SIGUSR2},
    },
    unistd::{Pid, dup2_raw},
};

use super::harness::{Endpoint, Setup, Weir, eventually, get, weir};

/// Runs on these sockets, as a service manager passes them.
fn activated(names: &str, sockets: &[BorrowedFd<'_>]) -> Command {
    let shell = r#"LISTEN_PID=$$ exec "$0" "$@""#;
    let program = weir(&["run", "--config", "weir.toml"]);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", shell]).arg(program.get_program()).args(program.get_args());
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names);
    // Out of the way of the numbers they get.
    let high = |socket: &BorrowedFd<'_>| fcntl(socket, FcntlArg::F_DUPFD_CLOEXEC(100)).unwrap();
    let copies: Vec<i32> = sockets.iter().map(high).collect();
    // SAFETY: only calls that may be made between fork and exec; the descriptors are not used otherwise.
    unsafe {
        command.pre_exec(move || {
            for (copy, number) in copies.iter().zip(3..) {
                let placed: OwnedFd = dup2_raw(BorrowedFd::borrow_raw(*copy), number)?;
                std::mem::forget(placed);
            }
            Ok(())
        });
    }
    command
}

const TEXT: &str = r#"
[listeners.web]
address = "127.0.0.1:1"
[listeners.plain]
address = "ADDRESS"
[listeners.dns]
address = "127.0.0.1:2"
protocol = "udp"
cluster = "dns"
[[routes]]
name = "all"
respond = { body = "ok" }
[clusters.dns]
endpoints = ["127.0.0.1:9"]
[admin]
address = "127.0.0.1:3"
unauthenticated = "deploy"
"#;

#[tokio::test]
async fn listeners_take_the_sockets_that_are_passed() {
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (web, plain, admin, unused) = (listener(), listener(), listener(), listener());
    let dns = UdpSocket::bind("127.0.0.1:0").unwrap();
    // It waits in the backlog until somebody accepts.
    let early = TcpStream::connect(web.local_addr().unwrap()).unwrap();
    let sockets = [web.as_fd(), dns.as_fd(), plain.as_fd(), admin.as_fd(), unused.as_fd()];
    let command = activated("web:dns:weir.socket:admin:stray", &sockets);
    let plain_address = plain.local_addr().unwrap();
    let weir = Setup::new(&TEXT.replace("ADDRESS", &plain_address.to_string())).launch(command).begun().await;
    assert_eq!(weir.admin, admin.local_addr().unwrap());
    assert_eq!((weir.web(), weir.listener("plain")), (web.local_addr().unwrap(), plain_address));
    assert_eq!(weir.listener("dns"), dns.local_addr().unwrap());
    for address in [weir.web(), plain_address] {
        assert_eq!(get(address, "/").await.text(), "ok");
    }
    let stray = weir.said("a socket that was passed is not used").await;
    assert_eq!(
        (&stray["name"], &stray["address"]),
        (&"stray".into(), &unused.local_addr().unwrap().to_string().into())
    );
    drop(early);
}

#[tokio::test]
async fn a_socket_of_another_kind_is_refused() {
    let web = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut weir = Setup::new(&TEXT.replace("ADDRESS", "127.0.0.1:4")).launch(activated("web", &[web.as_fd()]));
    assert_eq!(weir.ended().await.code(), Some(2));
    eventually("the reason", || async {
        weir.stderr().contains("listener web: the socket that was passed for it takes datagrams").then_some(())
    })
    .await;
}

/// What a service manager hears.
struct Manager {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Manager {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Manager { socket, folder }
    }

    async fn start(&self, endpoint: SocketAddr) -> Weir {
        let text = format!(
            "[process]\nworkers = 1\nwatch = false\n[listeners.web]\naddress = \"127.0.0.1:0\"\n[[routes]]\n\
             name = \"web\"\ncluster = \"web\"\n[clusters.web]\nendpoints = [\"{endpoint}\"]\n"
        );
        let path = self.folder.path().join("notify");
        Setup::new(&text).env("NOTIFY_SOCKET", path.to_str().unwrap()).start().await
    }

    /// The next message, as its assignments.
    async fn hears(&self) -> Vec<(String, String)> {
        let text = eventually("a message to the service manager", || async {
            let mut octets = [0; 4096];
            let length = self.socket.recv(&mut octets).ok()?;
            Some(String::from_utf8(octets[..length].to_vec()).unwrap())
        })
        .await;
        let pairs = text.lines().map(|line| line.split_once('=').unwrap());
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The next message has these names in this order; gives the values.
    async fn hears_of(&self, names: &[&str]) -> Vec<String> {
        let heard = self.hears().await;
        assert_eq!(heard.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), names, "{heard:?}");
        heard.into_iter().map(|(_, value)| value).collect()
    }
}

fn monotonic_usec() -> u128 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
    Duration::from_secs_f64(seconds).as_micros()
}

#[tokio::test]
async fn the_service_manager_is_told_of_start_reload_and_end() {
    let (endpoint, manager) = (Endpoint::start("a").await, Manager::new());
    let mut weir = manager.start(endpoint.address).await;
    assert_eq!(manager.hears_of(&["READY", "STATUS"]).await, ["1", "serving snapshot 1"]);
    weir.signal(SIGHUP);
    let reloading = manager.hears_of(&["RELOADING", "MONOTONIC_USEC"]).await;
    let told: u128 = reloading[1].parse().unwrap();
    let uptime = monotonic_usec();
    assert!(told <= uptime + 1_000_000 && told + 600_000_000 > uptime, "{told} of {uptime}");
    assert_eq!(manager.hears_of(&["READY", "STATUS"]).await, ["1", "serving snapshot 2"]);
    weir.configure("[listeners.web]\nadress = 1");
    weir.signal(SIGHUP);
    assert_eq!(manager.hears_of(&["RELOADING", "MONOTONIC_USEC"]).await[0], "1");
    assert_eq!(manager.hears_of(&["READY", "STATUS"]).await[1], "serving snapshot 2");
    weir.signal(SIGTERM);
    assert_eq!(manager.hears_of(&["STOPPING", "STATUS"]).await, ["1", "draining"]);
    assert!(weir.ended().await.success());
}

#[tokio::test]
async fn the_service_manager_follows_an_upgrade() {
    let (endpoint, manager) = (Endpoint::start("a").await, Manager::new());
    let mut weir = manager.start(endpoint.address).await;
    manager.hears_of(&["READY", "STATUS"]).await;
    weir.signal(SIGUSR2);
    manager.hears_of(&["RELOADING", "MONOTONIC_USEC"]).await;
    // The two speak at the same time.
    let mut heard = [manager.hears().await, manager.hears().await].concat();
    heard.sort();
    let pid = weir.said("upgraded").await["pid"].as_u64().unwrap();
    weir.succeeded(pid as u32).await;
    let expected = [("MAINPID", &*pid.to_string()), ("READY", "1"), ("READY", "1"), ("STATUS", "serving snapshot 1")];
    assert_eq!(heard.iter().map(|(name, value)| (&**name, &**value)).collect::<Vec<_>>(), expected);
    assert!(weir.ended().await.success());
    signal::kill(Pid::from_raw(pid as i32), SIGTERM).unwrap();
    assert_eq!(manager.hears_of(&["STOPPING", "STATUS"]).await[0], "1", "and nothing of the former process's end");
}
