//! CPU time and memory of a process with its children, by `/proc` and the kernel's process clocks.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use nix::{time::clock_getcpuclockid, unistd::Pid};

/// CPU time a process and its children spent so far, all threads, ended ones included, to the nanosecond.
pub fn spent(root: u32) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for id in family(root)? {
        let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(id)?))?;
        sum += Duration::from(clock.now()?);
    }
    Ok(sum)
}

/// Memory of a process with its children, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Resident, with pages shared between them counted in each.
    pub resident: u64,
    /// Resident, with shared pages divided among those who share them.
    pub proportional: u64,
}

/// Memory of a process with its children.
pub fn memory(root: u32) -> Result<Memory> {
    let mut sum = Memory { resident: 0, proportional: 0 };
    for id in family(root)? {
        let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
        sum.resident += kilobytes(&text, "Rss:")? * 1024;
        sum.proportional += kilobytes(&text, "Pss:")? * 1024;
    }
    Ok(sum)
}

fn kilobytes(text: &str, name: &str) -> Result<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("no {name} in smaps_rollup"))
}

/// The process and everything below it.
fn family(root: u32) -> Result<Vec<u32>> {
    let parents = parents()?;
    let mut family = vec![root];
    let mut at = 0;
    while let Some(parent) = family.get(at).copied() {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
        at += 1;
    }
    Ok(family)
}

/// Every process with its parent. One that ends while we look is left out.
fn parents() -> Result<Vec<(u32, u32)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) {
            found.extend(parent(&stat).map(|parent| (id, parent)));
        }
    }
    Ok(found)
}

/// `42 (name) S 7 ...`: the name may hold anything, even a bracket.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_parent_behind_an_odd_name() {
        assert_eq!(parent("42 (a) S 9) R 7 42 42"), Some(7));
    }

    #[test]
    fn measures_ourselves() {
        let id = std::process::id();
        assert!(spent(id).unwrap() > Duration::ZERO);
        let memory = memory(id).unwrap();
        assert!(memory.resident >= memory.proportional && memory.proportional > 0);
    }
}
