//! `key=value` pairs. A value is quoted when it is empty or holds a space, an equals sign or
//! anything that is not plain ASCII; inside quotes the escapes are those of JSON.

use super::{
    Record,
    clock::Clock,
    escape::{address, is_plain, micros, number, retries, text},
};

/// Appends the line of one exchange, newline included.
pub(super) fn write(out: &mut Vec<u8>, clock: &mut Clock, record: &Record<'_>) {
    out.extend_from_slice(b"time=");
    clock.write(out, record.time);
    out.extend_from_slice(b" client=");
    address(out, record.client);
    request(out, record);
    outcome(out, record);
    times(out, record);
    plugins(out, record);
    optional(out, b" affinity=", record.affinity.map(|affinity| affinity.as_str()));
    optional(out, b" encoding=", record.encoding);
    optional(out, b" error=", record.error);
    out.push(b'\n');
}

fn request(out: &mut Vec<u8>, record: &Record<'_>) {
    string(out, b" listener=", record.listener);
    string(out, b" protocol=", record.protocol);
    string(out, b" host=", record.host);
    string(out, b" method=", record.method);
    string(out, b" path=", record.path);
}

fn outcome(out: &mut Vec<u8>, record: &Record<'_>) {
    integer(out, b" status=", u64::from(record.status));
    integer(out, b" bytes_in=", record.bytes_in);
    integer(out, b" bytes_out=", record.bytes_out);
    string(out, b" route=", record.route);
    optional(out, b" tenant=", record.tenant);
    certificate(out, record);
    optional(out, b" cluster=", record.cluster);
    optional(out, b" endpoint=", record.endpoint);
    integer(out, b" attempts=", u64::from(record.attempts));
    if !record.retries.is_empty() {
        out.extend_from_slice(b" retries=");
        retries(out, record.retries);
    }
    optional(out, b" hedge=", record.hedge);
    out.extend_from_slice(if record.reused { b" reused=true" } else { b" reused=false" });
}

fn certificate(out: &mut Vec<u8>, record: &Record<'_>) {
    let Some(certificate) = record.certificate else { return };
    optional(out, b" client_subject=", Some(&certificate.subject));
    let names = (!certificate.names.is_empty()).then(|| certificate.names.join(","));
    optional(out, b" client_names=", names.as_deref());
    optional(out, b" client_sha256=", Some(&certificate.fingerprint));
}

fn times(out: &mut Vec<u8>, record: &Record<'_>) {
    let split = &record.split;
    let parts: [(&[u8], _); 8] = [
        (b" total_us=", record.total),
        (b" read_us=", split.read),
        (b" plugin_us=", split.plugin),
        (b" queue_us=", split.queue),
        (b" connect_us=", split.connect),
        (b" tls_us=", split.tls),
        (b" first_byte_us=", split.first_byte),
        (b" rest_us=", split.rest),
    ];
    for (key, duration) in parts {
        out.extend_from_slice(key);
        micros(out, duration);
    }
}

/// `plugins="canary/router@0123456789ab picker/balancer@ba9876543210!deadline"`
fn plugins(out: &mut Vec<u8>, record: &Record<'_>) {
    if record.plugins.is_empty() {
        return;
    }
    out.extend_from_slice(b" plugins=\"");
    let mut before = None;
    for plugin in record.plugins {
        out.extend(before);
        before = Some(b' ');
        text(out, plugin.name);
        out.push(b'/');
        text(out, plugin.role);
        out.push(b'@');
        text(out, plugin.version);
        if let Some(failed) = plugin.failed {
            out.push(b'!');
            text(out, failed);
        }
    }
    out.push(b'"');
}

#[inline(always)]
fn string(out: &mut Vec<u8>, key: &[u8], value: &str) {
    out.extend_from_slice(key);
    if is_bare(value) {
        out.extend_from_slice(value.as_bytes());
    } else {
        out.push(b'"');
        text(out, value);
        out.push(b'"');
    }
}

fn is_bare(value: &str) -> bool {
    !value.is_empty() && is_plain(value) && !value.bytes().any(|byte| matches!(byte, b' ' | b'='))
}

#[inline(always)]
fn optional(out: &mut Vec<u8>, key: &[u8], value: Option<&str>) {
    if let Some(value) = value {
        string(out, key, value);
    }
}

#[inline(always)]
fn integer(out: &mut Vec<u8>, key: &[u8], value: u64) {
    out.extend_from_slice(key);
    number(out, value);
}
