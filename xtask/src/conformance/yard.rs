//! Weir, nginx and haproxy, all running, before the same endpoints.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use super::{
    config::{self, Endpoints, Introduction, Listens, Places},
    tools::{cached, version},
};
use crate::{
    peers::{Kind, certificates, program, said},
    process::{Running, Scratch, free_addresses, run},
};

/// A WebSocket server that says what it hears.
const ECHO: &str = r"const { WebSocketServer } = require('ws');
const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2]), maxPayload: 256 << 20 });
server.on('connection', socket => {
  socket.on('message', (data, binary) => socket.send(data, { binary }));
  socket.on('error', () => {});
});
";

/// Everything that suites talk to.
pub struct Yard {
    folder: PathBuf,
    weir: PathBuf,
    endpoints: Endpoints,
    peers: Vec<Peer>,
    pairs: Vec<Pair>,
    _running: Vec<Running>,
    _files: Scratch,
}

/// A running proxy.
pub struct Peer {
    /// Which one.
    pub kind: Kind,
    /// Where it listens.
    pub listens: Listens,
    _running: Running,
}

/// One proxy that introduces its clients to another by a PROXY header.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// Who writes the header.
    pub sender: Kind,
    /// Who reads it.
    pub receiver: Kind,
    /// How.
    pub introduction: Introduction,
}

impl Yard {
    /// Start all of it.
    pub fn open(folder: &Path, weir: &Path) -> Result<Yard> {
        certificates(folder)?;
        let files = Scratch::build(Path::new("/dev/shm"), "weir-conformance")?;
        fs::write(files.path().join("4m"), vec![b'x'; 4 << 20])?;
        let [web, echo, played] = addresses::<3>()?;
        let endpoints = Endpoints { web, echo, played };
        let running = vec![start_web(&folder.join("endpoint"), files.path(), web)?, start_echo(echo)?];
        let listens: Vec<(Kind, Listens)> =
            Kind::ALL.into_iter().map(|kind| Ok((kind, listens()?))).collect::<Result<_>>()?;
        let pairs = pairs(&listens)?;
        let mut yard = Yard {
            folder: folder.to_owned(),
            weir: weir.to_owned(),
            endpoints,
            peers: Vec::new(),
            pairs,
            _running: running,
            _files: files,
        };
        for (kind, listens) in listens {
            let peer = yard.start(kind, listens)?;
            yard.peers.push(peer);
        }
        Ok(yard)
    }

    /// The proxies.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// Who introduces clients to whom.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// Where varnishtest plays the endpoint.
    pub fn played(&self) -> SocketAddr {
        self.endpoints.played
    }

    /// For what suites write.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Each proxy in its own words.
    pub fn versions(&self) -> Result<Vec<String>> {
        Ok(vec![
            version(Command::new(&self.weir).arg("--version"))?,
            version(Command::new(program("nginx")?).arg("-v"))?,
            version(Command::new(program("haproxy")?).arg("-v"))?,
        ])
    }

    fn start(&self, kind: Kind, listens: Listens) -> Result<Peer> {
        let folder = self.folder.join(kind.name());
        fs::create_dir_all(&folder)?;
        let introductions: Vec<Introduction> =
            self.pairs.iter().filter(|pair| pair.sender == kind).map(|pair| pair.introduction).collect();
        let places = Places {
            folder: &folder,
            certificates: &self.folder,
            listens,
            introductions: &introductions,
            endpoints: self.endpoints,
        };
        let file = folder.join("config");
        let (mut command, text) = match kind {
            Kind::Weir => (Command::new(&self.weir), config::weir(&places)),
            Kind::Nginx => (Command::new(program("nginx")?), config::nginx(&places)),
            Kind::Haproxy => (Command::new(program("haproxy")?), config::haproxy(&places)),
        };
        match kind {
            Kind::Weir => command.args(["run", "--config"]).arg(&file),
            Kind::Nginx => command.arg("-c").arg(&file).arg("-p").arg(&folder),
            Kind::Haproxy => command.arg("-db").arg("-f").arg(&file),
        };
        fs::write(&file, text)?;
        let log = File::create(folder.join("output"))?;
        let mut running = Running::start(kind.name(), command.stderr(log.try_clone()?).stdout(log))?;
        let awaited = [listens.plain, listens.h2c, listens.secure, listens.proxied];
        running.wait_until_listening(&awaited).with_context(|| said(&folder))?;
        Ok(Peer { kind, listens, _running: running })
    }
}

fn addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    free_addresses(N)?.try_into().map_err(|_| anyhow::anyhow!("too few free ports"))
}

fn listens() -> Result<Listens> {
    let [plain, h2c, secure, proxied, admin] = addresses()?;
    Ok(Listens { plain, h2c, secure, proxied, admin })
}

/// Every sender in every version it writes, with every receiver. nginx writes version 1 alone.
fn pairs(listens: &[(Kind, Listens)]) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for (sender, version) in listens.iter().flat_map(|(kind, _)| [(*kind, 1), (*kind, 2)]) {
        if (sender, version) == (Kind::Nginx, 2) {
            continue;
        }
        for (receiver, to) in listens {
            let [from] = addresses()?;
            let introduction = Introduction { from, to: to.proxied, version };
            pairs.push(Pair { sender, receiver: *receiver, introduction });
        }
    }
    Ok(pairs)
}

fn start_web(folder: &Path, files: &Path, address: SocketAddr) -> Result<Running> {
    fs::create_dir_all(folder)?;
    let file = folder.join("config");
    fs::write(&file, config::endpoint(folder, files, address))?;
    let mut command = Command::new(program("nginx")?);
    command.arg("-c").arg(&file).arg("-p").arg(folder).stderr(Stdio::null());
    let mut endpoint = Running::start("endpoint", &mut command)?;
    endpoint.wait_until_listening(&[address]).with_context(|| said(folder))?;
    Ok(endpoint)
}

fn start_echo(address: SocketAddr) -> Result<Running> {
    let folder = cached("ws-8.23.0", |folder| {
        fs::write(folder.join("package.json"), r#"{ "private": true }"#)?;
        fs::write(folder.join("echo.js"), ECHO)?;
        let install = ["install", "--silent", "--no-audit", "--no-fund", "ws@8.23.0"];
        run(Command::new(program("npm")?).args(install).current_dir(folder))
    })?;
    let mut command = Command::new(program("node")?);
    command.arg(folder.join("echo.js")).arg(address.port().to_string());
    let mut echo = Running::start("echo", &mut command)?;
    echo.wait_until_listening(&[address])?;
    Ok(echo)
}
