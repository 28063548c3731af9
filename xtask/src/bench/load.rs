//! The clients: h2load for kept connections, ab for a connection each, both on core 1.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::proxy::CLIENT_CORE;

/// How clients ask.
pub enum Traffic {
    /// HTTP/1.1 on 64 kept connections.
    Http1,
    /// HTTP/1.0 without keep-alive, 64 at a time.
    ConnectionEach,
    /// HTTP/1.1 over TLS on 64 kept connections.
    TlsHttp1,
    /// HTTP/2 over TLS, 8 connections of 8 streams.
    TlsHttp2,
    /// HTTP/1.1, 8 clients of 8 kept connections, each with its own `x-user`.
    Users,
    /// HTTP/1.1 on 64 kept connections that pass as they are.
    Tcp,
    /// Datagrams there and back.
    Udp,
}

/// Time to the end of the response, in microseconds; for information.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    /// Half of the requests took at most this.
    pub half: f64,
    /// All but one in a hundred took at most this.
    pub most: f64,
}

/// Ask this many times; every answer must be 200. Returns how long it took.
pub fn run(traffic: &Traffic, url: &str, requests: u64) -> Result<Duration> {
    let start = Instant::now();
    match traffic {
        Traffic::ConnectionEach => ab(url, requests, &[])?,
        Traffic::Users => users(url, requests, None)?,
        Traffic::Udp => drop(datagrams(url, requests)?),
        _ => ask(traffic, url, requests, &[])?,
    }
    Ok(start.elapsed())
}

/// The same of kept connections, with more arguments to h2load.
pub fn ask(traffic: &Traffic, url: &str, requests: u64, more: &[&str]) -> Result<()> {
    finish(h2load(traffic, url, requests, more)?, requests)
}

/// A round that writes down the time of each request.
pub fn latency(traffic: &Traffic, url: &str, requests: u64, folder: &Path) -> Result<Latency> {
    let log = folder.join("latency");
    let text = |path: &Path| path.display().to_string();
    match traffic {
        Traffic::ConnectionEach => {
            ab(url, requests, &["-e", &text(&log)])?;
            return from_ab(&fs::read_to_string(&log)?);
        }
        Traffic::Users => users(url, requests, Some(&text(&log)))?,
        Traffic::Udp => return parts(datagrams(url, requests)?),
        _ => ask(traffic, url, requests, &["--log-file", &text(&log)])?,
    }
    let times = fs::read_to_string(&log)?;
    fs::remove_file(&log)?;
    from_h2load(&times)
}

/// Eight h2loads at once: each can send one set of headers only. The first may keep a log.
fn users(url: &str, requests: u64, log: Option<&str>) -> Result<()> {
    const USERS: u64 = 8;
    let share = requests / USERS;
    let clients: Vec<Child> = (0..USERS)
        .map(|user| {
            let header = format!("x-user: user-{user}");
            let mut more = vec!["-H", &header];
            more.extend(log.filter(|_| user == 0).into_iter().flat_map(|log| ["--log-file", log]));
            h2load(&Traffic::Users, url, share, &more)
        })
        .collect::<Result<_>>()?;
    clients.into_iter().try_for_each(|client| finish(client, share))
}

fn h2load(traffic: &Traffic, url: &str, requests: u64, more: &[&str]) -> Result<Child> {
    let shape: &[&str] = match traffic {
        Traffic::TlsHttp2 => &["-c", "8", "-m", "8"],
        Traffic::Users => &["-c", "8", "--h1"],
        _ => &["-c", "64", "--h1"],
    };
    // One cipher for all: servers differ in the one they prefer.
    on_client_core("h2load")
        .args(["-t", "1", "-n", &requests.to_string(), "--tls13-ciphers", "TLS_AES_128_GCM_SHA256"])
        .args(shape)
        .args(more)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start h2load")
}

fn finish(client: Child, requests: u64) -> Result<()> {
    let output = client.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let all = format!("status codes: {requests} 2xx");
    ensure!(output.status.success() && said.contains(&all), "h2load did not get {requests} answers:\n{said}");
    Ok(())
}

/// Microseconds of each, from a process on the clients' core.
fn datagrams(address: &str, requests: u64) -> Result<Vec<f64>> {
    let program = std::env::current_exe()?;
    let mut command = on_client_core(&program.display().to_string());
    let output = command.args(["datagrams", "ask", address, &requests.to_string()]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.parse().ok()).collect())
}

fn ab(url: &str, requests: u64, more: &[&str]) -> Result<()> {
    let output = on_client_core("ab")
        .args(["-q", "-c", "64", "-n", &requests.to_string()])
        .args(more)
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .context("cannot start ab")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let field = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    let good = field("Complete requests:") == Some(requests)
        && field("Failed requests:") == Some(0)
        && field("Non-2xx responses:").is_none();
    ensure!(good, "ab did not get {requests} answers:\n{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn on_client_core(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", CLIENT_CORE, program]);
    command
}

/// Lines of start, status and microseconds.
fn from_h2load(log: &str) -> Result<Latency> {
    parts(log.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse().ok()).collect())
}

fn parts(mut times: Vec<f64>) -> Result<Latency> {
    times.sort_by(f64::total_cmp);
    let part = |hundredths: usize| times.get((times.len() * hundredths / 100).min(times.len().saturating_sub(1)));
    let (half, most) = part(50).zip(part(99)).context("no times were written")?;
    Ok(Latency { half: *half, most: *most })
}

/// Lines of a percentage and milliseconds.
fn from_ab(table: &str) -> Result<Latency> {
    let part = |percent: &str| {
        let line = table.lines().find_map(|line| line.strip_prefix(percent)?.strip_prefix(','))?;
        Some(line.trim().parse::<f64>().ok()? * 1000.0)
    };
    let (half, most) = part("50").zip(part("99")).context("ab wrote no percentiles")?;
    Ok(Latency { half, most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_times_of_h2load() {
        let log: String = (1..=100).map(|time| format!("1500000000\t200\t{time}\n")).collect();
        let latency = from_h2load(&log).unwrap();
        assert_eq!((latency.half, latency.most), (51.0, 100.0));
    }

    #[test]
    fn reads_the_percentiles_of_ab() {
        let latency = from_ab("Percentage served,Time in ms\n50,0.250\n99,1.5\n100,2\n").unwrap();
        assert_eq!((latency.half, latency.most), (250.0, 1500.0));
    }
}
