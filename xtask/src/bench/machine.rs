//! What the figures were measured on.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, ensure};

use crate::{
    paths,
    process::{find, output},
};

/// An error unless there are two cores to part proxies from clients.
pub fn check() -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    ensure!(cores >= 2, "the bench needs two cores: one for the proxy, one for clients and endpoints");
    Ok(())
}

/// Name and value, in the order they are shown.
pub fn describe(weir: Option<&Path>) -> Result<Vec<(&'static str, String)>> {
    let mut facts = vec![
        ("CPU", processor()?),
        ("kernel", output(Command::new("uname").arg("-sr"))?.trim().to_owned()),
        ("nginx", version("nginx", "-v")?),
        ("haproxy", version("haproxy", "-v")?),
        ("clients", format!("{}; {}", version("h2load", "--version")?, version("ab", "-V")?)),
    ];
    if let Some(weir) = weir {
        let version = first_line(&output(Command::new(weir).arg("--version"))?);
        facts.push(("weir", format!("{version}, {}", weir.strip_prefix(paths::root()).unwrap_or(weir).display())));
    }
    Ok(facts)
}

fn processor() -> Result<String> {
    let text = fs::read_to_string("/proc/cpuinfo")?;
    let field = |name: &str| {
        text.lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| line.split_once(':'))
            .map_or("unknown", |(_, value)| value.trim())
    };
    let cores = text.lines().filter(|line| line.starts_with("processor")).count();
    Ok(format!("{} ({} MHz), {cores} cores seen", field("model name"), field("cpu MHz")))
}

/// nginx says its version on standard error.
fn version(program: &str, flag: &str) -> Result<String> {
    let path = find(program).unwrap_or_else(|| program.into());
    let output = Command::new(path).arg(flag).output()?;
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Ok(first_line(&String::from_utf8_lossy(&said)))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}
