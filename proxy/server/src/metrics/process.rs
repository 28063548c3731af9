//! What the kernel knows of this process, under the names every Prometheus client uses. What cannot
//! be read is left out.

use std::fs;

use super::text::Text;

/// Clock ticks a second in /proc, on every Linux.
const TICKS: f64 = 100.0;

pub(super) fn render(text: &mut Text<'_>) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    gauge(text, "process_resident_memory_bytes", "Resident memory.", kibibytes(&status, "VmRSS:"));
    gauge(text, "process_virtual_memory_bytes", "Virtual memory.", kibibytes(&status, "VmSize:"));
    gauge(text, "process_open_fds", "Open file descriptors.", open_files().map(|open| open as f64));
    gauge(text, "process_max_fds", "Most file descriptors.", most_files());
    if let Some(seconds) = cpu_seconds(&stat) {
        text.family("process_cpu_seconds_total", "counter", "User and system time.");
        text.sample("process_cpu_seconds_total", &[], seconds);
    }
    gauge(text, "process_start_time_seconds", "Start, in seconds since 1970.", start_time(&stat));
}

fn gauge(text: &mut Text<'_>, name: &str, help: &str, value: Option<f64>) {
    if let Some(value) = value {
        text.family(name, "gauge", help);
        text.sample(name, &[], value);
    }
}

/// Octets of memory in use.
pub fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    kibibytes(&status, "VmRSS:").map(|octets| octets as u64)
}

fn kibibytes(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let number: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(number * 1024.0)
}

/// Descriptors that are open.
pub fn open_files() -> Option<u64> {
    // One of them is the folder being read.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as u64)
}

fn most_files() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A field of /proc/self/stat by its number in proc(5), from the fourth on: the second, the program's
/// name, may hold anything but ends at the last closing parenthesis.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS)
}

fn start_time(stat: &str) -> Option<f64> {
    let kernel = fs::read_to_string("/proc/stat").ok()?;
    let boot = kernel.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(boot.trim().parse::<f64>().ok()? + field(stat, 22)? / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_program_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 4200 1 2";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(field(stat, 22), Some(4200.0));
    }

    #[test]
    fn this_process_has_memory_files_and_a_past() {
        let mut out = String::new();
        render(&mut Text::new(&mut out));
        let value = |name: &str| -> f64 {
            let line = out.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes ") > 100_000.0);
        assert!(value("process_open_fds ") >= 3.0);
        assert!(value("process_max_fds ") >= value("process_open_fds "));
        assert!(value("process_cpu_seconds_total ") >= 0.0);
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        let age = now - value("process_start_time_seconds ");
        assert!((-2.0..86_400.0).contains(&age), "{age}");
    }
}
