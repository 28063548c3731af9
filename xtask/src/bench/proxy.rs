//! The proxies under measurement and the endpoint behind them, as running processes.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::{
    config::{self, Places},
    load::Traffic,
    scenario::Scenario,
};
use crate::{
    datagrams, http, paths,
    peers::{Kind, certificates, program, said},
    process::{Running, Scratch, free_addresses},
};

const PROXY_CORE: &str = "0";
/// Where clients and endpoints run.
pub const CLIENT_CORE: &str = "1";

/// Whether a proxy knows this traffic at all.
pub fn serves(kind: Kind, traffic: &Traffic) -> bool {
    !(kind == Kind::Haproxy && matches!(traffic, Traffic::Udp))
}

/// What the proxies have in common: certificates and a running endpoint.
pub struct Yard {
    folder: PathBuf,
    weir: Option<PathBuf>,
    endpoints: Vec<SocketAddr>,
    echo: SocketAddr,
    _endpoint: Running,
    _echo: Running,
    _files: Scratch,
}

impl Yard {
    /// Make certificates and files, start the endpoint.
    pub fn open(folder: &Path, weir: Option<&Path>) -> Result<Yard> {
        certificates(folder)?;
        let files = Scratch::build(Path::new("/dev/shm"), "weir-bench")?;
        fs::write(files.path().join("64k"), vec![b'x'; 64 << 10])?;
        fs::write(files.path().join("1m"), vec![b'x'; 1 << 20])?;
        let mut endpoints = free_addresses(4)?;
        let echo = endpoints.pop().context("too few free ports")?;
        let endpoint = start_endpoint(&folder.join("endpoint"), files.path(), &endpoints)?;
        Ok(Yard {
            folder: folder.to_owned(),
            weir: weir.map(Path::to_owned),
            endpoints,
            echo,
            _endpoint: endpoint,
            _echo: start_echo(echo)?,
            _files: files,
        })
    }

    /// The folder of `cert.pem`.
    pub fn certificates(&self) -> &Path {
        &self.folder
    }

    /// Start a proxy and ask it once for everything it will be asked for.
    pub fn start(&self, kind: Kind) -> Result<Proxy> {
        let proxy = self.start_untouched(kind)?;
        for path in ["/tiny", "/64k", "/1m", "/three/tiny", "/hash/tiny", "/plugin/tiny"] {
            let answer = http::send(proxy.plain, &http::Request::get(path))?;
            ensure!(answer.status == 200, "{} answers {path} with {}", kind.name(), answer.status);
        }
        let answer = http::send(proxy.tcp, &http::Request::get("/tiny"))?;
        ensure!(answer.status == 200, "{} answers through TCP with {}", kind.name(), answer.status);
        let udp = !serves(kind, &Traffic::Udp) || datagrams::comes_back(proxy.udp);
        ensure!(udp, "{} gives no datagram back", kind.name());
        Ok(proxy)
    }

    /// Start a proxy that serves nothing yet.
    pub fn start_untouched(&self, kind: Kind) -> Result<Proxy> {
        let folder = self.folder.join(kind.name());
        fs::create_dir_all(&folder)?;
        let addresses: [SocketAddr; 5] =
            free_addresses(5)?.try_into().map_err(|_| anyhow::anyhow!("too few free ports"))?;
        let [plain, secure, admin, tcp, udp] = addresses;
        let places = Places {
            folder: &folder,
            plain,
            secure,
            admin,
            tcp,
            udp,
            echo: self.echo,
            endpoints: &self.endpoints,
            certificates: &self.folder,
            picker: &paths::guests().join("consistent-hash.wasm"),
        };
        let mut command = self.command(kind, &places)?;
        let mut process = Running::start(kind.name(), &mut command)?;
        process.wait_until_listening(&[plain, secure, tcp]).with_context(|| said(&folder))?;
        Ok(Proxy { kind, process, plain, secure, tcp, udp, folder })
    }

    fn command(&self, kind: Kind, places: &Places<'_>) -> Result<Command> {
        let file = places.folder.join("config");
        let mut command = on_core(PROXY_CORE);
        let text = match kind {
            Kind::Nginx => {
                command.arg(program("nginx")?).arg("-c").arg(&file).arg("-p").arg(places.folder);
                config::nginx(places)
            }
            Kind::Haproxy => {
                command.arg(program("haproxy")?).arg("-db").arg("-f").arg(&file);
                config::haproxy(places)
            }
            Kind::Weir => {
                command.arg(self.weir.as_ref().context("no weir binary")?).args(["run", "--config"]).arg(&file);
                config::weir(places)
            }
        };
        fs::write(&file, text)?;
        let log = File::create(places.folder.join("output"))?;
        command.stderr(log.try_clone()?).stdout(log);
        Ok(command)
    }
}

/// A running proxy.
pub struct Proxy {
    kind: Kind,
    process: Running,
    plain: SocketAddr,
    secure: SocketAddr,
    tcp: SocketAddr,
    udp: SocketAddr,
    folder: PathBuf,
}

impl Proxy {
    /// Which one it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Process id; children do the work of some.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Plain listener.
    pub fn plain(&self) -> SocketAddr {
        self.plain
    }

    /// TLS listener.
    pub fn secure(&self) -> SocketAddr {
        self.secure
    }

    /// A folder of its own.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What a scenario asks for.
    pub fn url(&self, scenario: &Scenario) -> String {
        match scenario.traffic {
            Traffic::TlsHttp1 | Traffic::TlsHttp2 => format!("https://{}{}", self.secure, scenario.path),
            Traffic::Tcp => format!("http://{}{}", self.tcp, scenario.path),
            Traffic::Udp => self.udp.to_string(),
            _ => format!("http://{}{}", self.plain, scenario.path),
        }
    }

    /// End it.
    pub fn stop(self) -> Result<ExitStatus> {
        self.process.stop()
    }
}

fn start_endpoint(folder: &Path, files: &Path, addresses: &[SocketAddr]) -> Result<Running> {
    fs::create_dir_all(folder)?;
    let file = folder.join("config");
    fs::write(&file, config::endpoint(folder, files, addresses))?;
    let mut command = on_core(CLIENT_CORE);
    command.arg(program("nginx")?).arg("-c").arg(&file).arg("-p").arg(folder).stderr(Stdio::null());
    let mut endpoint = Running::start("endpoint", &mut command)?;
    endpoint.wait_until_listening(addresses).with_context(|| said(folder))?;
    Ok(endpoint)
}

/// Ourselves, giving datagrams back.
fn start_echo(address: SocketAddr) -> Result<Running> {
    let mut command = on_core(CLIENT_CORE);
    command.arg(std::env::current_exe()?).args(["datagrams", "echo", &address.to_string()]);
    let echo = Running::start("echo", &mut command)?;
    ensure!(datagrams::comes_back(address), "the echo does not start");
    Ok(echo)
}

fn on_core(core: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core]);
    command
}
