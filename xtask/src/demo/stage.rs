//! Everything the demo starts, ended together.

use std::{
    fs::{self, File},
    io::BufReader,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    paths,
    process::{Running, Scratch, free_addresses},
};

/// The addresses in examples/quickstart/weir.toml: traffic, admin, then the endpoints.
const WRITTEN: [&str; 5] = ["127.0.0.1:8080", "127.0.0.1:9901", "127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"];
/// Names this program even after a build has replaced its file.
const OURSELVES: &str = "/proc/self/exe";
const NAMES: [&str; 3] = ["one", "two", "three"];

/// Weir with its endpoints. Fields end in order: Weir first.
pub struct Stage {
    weir: Running,
    endpoints: Vec<Running>,
    addresses: [SocketAddr; 5],
    scratch: Scratch,
}

impl Stage {
    /// The example as it stands; its access log is [`Stage::access_log`], and the process log goes to a file.
    pub fn on_the_example() -> Result<Stage> {
        let addresses = written()?;
        let endpoints = start_endpoints(&addresses)?;
        let scratch = Scratch::build(&paths::target(), "demo")?;
        let log = File::create(scratch.path().join("log"))?;
        let mut command = Command::new(paths::weir("debug"));
        command.arg("run").arg("--config").arg(example().join("weir.toml")).stdout(Stdio::piped()).stderr(log);
        let weir = start_weir(&mut command, &addresses).with_context(|| last_lines(&scratch.path().join("log")))?;
        Ok(Stage { weir, endpoints, addresses, scratch })
    }

    /// A copy of the example on free ports, with its own copies of the guests and logs to a file.
    pub fn on_free_ports() -> Result<Stage> {
        let addresses: [SocketAddr; 5] =
            free_addresses(WRITTEN.len())?.try_into().map_err(|_| anyhow::anyhow!("too few free ports"))?;
        let scratch = Scratch::build(&paths::target(), "demo")?;
        let config = copy_example(scratch.path(), &addresses)?;
        let endpoints = start_endpoints(&addresses)?;
        let log = File::create(scratch.path().join("log"))?;
        let mut command = Command::new(paths::weir("debug"));
        command.arg("run").arg("--config").arg(config);
        command.stdout(log.try_clone()?).stderr(log);
        let weir = start_weir(&mut command, &addresses).with_context(|| last_lines(&scratch.path().join("log")))?;
        Ok(Stage { weir, endpoints, addresses, scratch })
    }

    /// Where clients go.
    pub fn web(&self) -> SocketAddr {
        let [web, ..] = self.addresses;
        web
    }

    /// Where the admin interface is.
    pub fn admin(&self) -> SocketAddr {
        let [_, admin, ..] = self.addresses;
        admin
    }

    /// The end of Weir's process log.
    pub fn log(&self) -> String {
        last_lines(&self.scratch.path().join("log"))
    }

    /// Weir's access log, once.
    pub fn access_log(&mut self) -> Result<BufReader<ChildStdout>> {
        self.weir.stdout().map(BufReader::new).context("the access log of Weir goes elsewhere")
    }

    /// An error when one of the processes has ended.
    pub fn still_runs(&mut self) -> Result<()> {
        self.weir.still_runs().with_context(|| last_lines(&self.scratch.path().join("log")))?;
        self.endpoints.iter_mut().try_for_each(Running::still_runs)
    }

    /// End all; a Weir that does not end well is an error.
    pub fn stop(self) -> Result<()> {
        let status = self.weir.stop()?;
        if !status.success() {
            bail!("weir ended with {status}");
        }
        Ok(())
    }
}

fn written() -> Result<[SocketAddr; 5]> {
    let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); 5];
    for (address, text) in addresses.iter_mut().zip(WRITTEN) {
        *address = text.parse()?;
    }
    Ok(addresses)
}

fn example() -> PathBuf {
    paths::root().join("examples/quickstart")
}

fn copy_example(folder: &Path, addresses: &[SocketAddr; 5]) -> Result<PathBuf> {
    let mut text = fs::read_to_string(example().join("weir.toml"))?;
    for (written, address) in WRITTEN.iter().zip(addresses) {
        text = text.replace(written, &address.to_string());
    }
    text = text.replace("../../target/guests/", "");
    for guest in fs::read_dir(paths::guests())? {
        let guest = guest?;
        if guest.path().extension().is_some_and(|kind| kind == "wasm") {
            fs::copy(guest.path(), folder.join(guest.file_name()))?;
        }
    }
    let config = folder.join("weir.toml");
    fs::write(&config, text)?;
    Ok(config)
}

fn start_endpoints(addresses: &[SocketAddr; 5]) -> Result<Vec<Running>> {
    let mut endpoints = Vec::new();
    for (name, address) in NAMES.iter().zip(addresses.iter().skip(2)) {
        let mut command = Command::new(OURSELVES);
        command.args(["endpoint", "--name", name, "--address", &address.to_string()]);
        let mut endpoint = Running::start(&format!("endpoint {name}"), &mut command)?;
        endpoint.wait_until_listening(&[*address])?;
        endpoints.push(endpoint);
    }
    Ok(endpoints)
}

fn start_weir(command: &mut Command, addresses: &[SocketAddr; 5]) -> Result<Running> {
    let [web, admin, ..] = addresses;
    let mut weir = Running::start("weir", command)?;
    weir.wait_until_listening(&[*web, *admin])?;
    Ok(weir)
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let skip = lines.len().saturating_sub(20);
    format!("the end of Weir's log:\n{}", lines.get(skip..).unwrap_or_default().join("\n"))
}
