//! The log as its readers see it.

use std::{fs, path::PathBuf};

use proptest::prelude::*;
use serde_json::Value;

use super::*;

const LONG: Duration = Duration::from_secs(10);

fn record() -> Record<'static> {
    Record {
        time: SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456),
        client: "192.0.2.7:51000".parse().unwrap(),
        listener: "web",
        protocol: "HTTP/1.1",
        host: "api.example.com",
        method: "GET",
        path: "/v1/things?page=2",
        status: 200,
        bytes_in: 0,
        bytes_out: 1_234,
        route: "api",
        tenant: Some("acme"),
        certificate: None,
        cluster: Some("api"),
        endpoint: Some("127.0.0.1:9001"),
        attempts: 3,
        retries: &[Retried::Connect, Retried::Status(503)],
        hedge: Some("won"),
        reused: true,
        total: Duration::from_micros(2_500),
        split: Split { read: Duration::from_micros(12), ..Split::default() },
        plugins: &[
            PluginUse { name: "canary", version: "0123456789ab", role: "router", failed: None },
            PluginUse { name: "picker", version: "ba9876543210", role: "balancer", failed: Some("deadline") },
        ],
        affinity: Some(Affinity::Hit),
        encoding: Some("br"),
        error: None,
    }
}

fn line(format: LogFormat, record: &Record<'_>) -> String {
    let (log, messages) = AccessLog::detached(format);
    let worker = log.worker();
    worker.write(record);
    worker.flush();
    match messages.try_recv().unwrap() {
        Message::Lines { bytes, .. } => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let folder = std::env::temp_dir().join(format!("weir-access-log-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Place(folder)
    }
    fn config(&self, file: &str) -> weir_config::AccessLog {
        weir_config::AccessLog { format: LogFormat::Json, path: Some(self.0.join(file)), redact: None }
    }
    fn lines(&self, file: &str) -> usize {
        fs::read_to_string(self.0.join(file)).unwrap().lines().count()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_json_line_says_all() {
    assert_eq!(
        line(LogFormat::Json, &record()),
        concat!(
            r#"{"time":"2023-11-14T22:13:20.123456Z","client":"192.0.2.7:51000","listener":"web","#,
            r#""protocol":"HTTP/1.1","host":"api.example.com","method":"GET","path":"/v1/things?page=2","#,
            r#""status":200,"bytes_in":0,"bytes_out":1234,"route":"api","tenant":"acme","cluster":"api","#,
            r#""endpoint":"127.0.0.1:9001","attempts":3,"retries":"connect,503","hedge":"won","reused":true,"total_us":2500,"read_us":12,"#,
            r#""plugin_us":0,"queue_us":0,"connect_us":0,"tls_us":0,"first_byte_us":0,"rest_us":0,"plugins":["#,
            r#"{"name":"canary","version":"0123456789ab","role":"router"},"#,
            r#"{"name":"picker","version":"ba9876543210","role":"balancer","failed":"deadline"}],"#,
            r#""affinity":"hit","encoding":"br"}"#,
            "\n"
        )
    );
}

#[test]
fn a_logfmt_line_says_all() {
    let refused = Record { host: "", error: Some("no route"), affinity: None, encoding: None, ..record() };
    assert_eq!(
        line(LogFormat::Logfmt, &refused),
        concat!(
            r#"time=2023-11-14T22:13:20.123456Z client=192.0.2.7:51000 listener=web protocol=HTTP/1.1 host="" "#,
            r#"method=GET path="/v1/things?page=2" status=200 bytes_in=0 bytes_out=1234 route=api tenant=acme "#,
            r#"cluster=api endpoint=127.0.0.1:9001 attempts=3 retries=connect,503 hedge=won reused=true total_us=2500 read_us=12 plugin_us=0 queue_us=0 "#,
            r#"connect_us=0 tls_us=0 first_byte_us=0 rest_us=0 "#,
            r#"plugins="canary/router@0123456789ab picker/balancer@ba9876543210!deadline" error="no route""#,
            "\n"
        )
    );
}

#[test]
fn off_writes_nothing() {
    let (log, messages) = AccessLog::detached(LogFormat::Off);
    let worker = log.worker();
    assert!(!worker.enabled());
    worker.write(&record());
    worker.flush();
    assert!(messages.try_recv().is_err());
}

#[test]
fn a_full_buffer_is_handed_over_and_a_due_one_too() {
    let (log, messages) = AccessLog::detached(LogFormat::Json);
    let worker = log.worker();
    let now = Instant::now();
    worker.flush_if_due(now);
    worker.write(&record());
    worker.flush_if_due(now + Duration::from_millis(10));
    assert!(messages.try_recv().is_err(), "too early");
    worker.flush_if_due(now + Duration::from_millis(100));
    assert!(messages.try_recv().is_ok());
    // A line is longer than 256 bytes.
    (0..BATCH / 256).for_each(|_| worker.write(&record()));
    assert!(messages.try_recv().is_ok(), "a full buffer waits for nobody");
}

#[test]
fn lines_are_dropped_and_counted_while_the_disk_sleeps() {
    let (log, messages) = AccessLog::detached(LogFormat::Json);
    let worker = log.worker();
    for _ in 0..WAITING + 3 {
        worker.write(&record());
        worker.flush();
    }
    assert_eq!(log.dropped(), 3);
    drop(messages);
}

#[test]
fn a_worker_that_ends_loses_nothing_even_then() {
    let (log, messages) = AccessLog::detached(LogFormat::Json);
    let worker = log.worker();
    for _ in 0..WAITING {
        worker.write(&record());
        worker.flush();
    }
    worker.write(&record());
    drop(worker);
    assert_eq!(messages.try_iter().count(), WAITING + 1);
    assert_eq!(log.dropped(), 0);
}

#[test]
fn everything_is_in_the_file_after_close() {
    let place = Place::new("close");
    let (log, writer) = AccessLog::open(&place.config("a.log")).unwrap();
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let log = log.clone();
            std::thread::spawn(move || {
                let worker = log.worker();
                (0..500).for_each(|_| worker.write(&record()));
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(writer.close(LONG));
    assert_eq!(place.lines("a.log"), 1_000);
    assert_eq!(log.dropped(), 0);
}

#[test]
fn a_rotated_file_is_left_alone_after_reopen() {
    let place = Place::new("rotate");
    let (log, writer) = AccessLog::open(&place.config("a.log")).unwrap();
    let worker = log.worker();
    worker.write(&record());
    worker.flush();
    fs::rename(place.0.join("a.log"), place.0.join("a.log.1")).unwrap();
    writer.reopen();
    worker.write(&record());
    drop(worker);
    assert!(writer.close(LONG));
    assert_eq!((place.lines("a.log.1"), place.lines("a.log")), (1, 1));
}

#[test]
fn a_changed_place_takes_the_lines_that_follow() {
    let place = Place::new("change");
    let (log, writer) = AccessLog::open(&place.config("a.log")).unwrap();
    let worker = log.worker();
    worker.write(&record());
    worker.flush();
    log.change(&weir_config::AccessLog { format: LogFormat::Logfmt, ..place.config("b.log") }).unwrap();
    worker.write(&record());
    drop(worker);
    assert!(writer.close(LONG));
    assert_eq!((place.lines("a.log"), place.lines("b.log")), (1, 1));
    assert!(log.change(&place.config("no/such/folder")).is_err());
}

#[test]
fn a_full_disk_is_counted() {
    let config = weir_config::AccessLog { format: LogFormat::Json, path: Some("/dev/full".into()), redact: None };
    let (log, writer) = AccessLog::open(&config).unwrap();
    let worker = log.worker();
    worker.write(&record());
    drop(worker);
    assert!(writer.close(LONG));
    assert_eq!(log.dropped(), 1);
}

/// Pairs of a logfmt line; its escapes are those of JSON.
fn pairs(line: &str) -> Vec<(String, String)> {
    let mut rest = line.trim_end_matches('\n');
    let mut pairs = Vec::new();
    while let Some((key, value)) = rest.split_once('=') {
        let end = if value.starts_with('"') { quoted_end(value) } else { value.find(' ').unwrap_or(value.len()) };
        let text =
            if value.starts_with('"') { serde_json::from_str(&value[..end]).unwrap() } else { value[..end].to_owned() };
        pairs.push((key.trim_start().to_owned(), text));
        rest = &value[end..];
    }
    pairs
}

fn quoted_end(value: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in value.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    panic!("no closing quote in {value}")
}

proptest! {
    #[test]
    fn every_json_line_can_be_read_back(
        host in any::<String>(),
        path in proptest::collection::vec(any::<u8>(), 0..60),
        error in proptest::option::of(any::<String>()),
        tenant in proptest::option::of("\\PC*"),
        status in 100u16..600,
        micros in any::<u32>(),
    ) {
        let path = String::from_utf8_lossy(&path);
        let total = Duration::from_micros(u64::from(micros));
        let record = Record { host: &host, path: &path, error: error.as_deref(), tenant: tenant.as_deref(), status, total, ..record() };
        let line = line(LogFormat::Json, &record);
        prop_assert_eq!(line.matches('\n').count(), 1);
        let read: Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(read["host"].as_str(), Some(host.as_str()));
        prop_assert_eq!(read["path"].as_str(), Some(&*path));
        prop_assert_eq!(read["error"].as_str(), error.as_deref());
        prop_assert_eq!(read["tenant"].as_str(), tenant.as_deref());
        prop_assert_eq!(read["status"].as_u64(), Some(u64::from(status)));
        prop_assert_eq!(read["total_us"].as_u64(), Some(u64::from(micros)));
    }

    #[test]
    fn every_logfmt_line_can_be_read_back(host in any::<String>(), path in proptest::collection::vec(any::<u8>(), 0..60)) {
        let path = String::from_utf8_lossy(&path);
        let line = line(LogFormat::Logfmt, &Record { host: &host, path: &path, ..record() });
        prop_assert_eq!(line.matches('\n').count(), 1);
        let read = pairs(&line);
        let value = |wanted: &str| read.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.clone());
        prop_assert_eq!(value("host"), Some(host));
        prop_assert_eq!(value("path"), Some(path.into_owned()));
        prop_assert_eq!(value("affinity"), Some("hit".to_owned()));
    }
}
