//! `weir certificate`: commands to a running Weir on certificates from files, and what they print.

use std::{path::Path, process::ExitCode};

use anyhow::Context;
use bytes::Bytes;
use http::Method;
use serde_json::Value;

use super::{
    CertificateCommand,
    client::{ask, finish},
    table::{list, table, text},
};

/// Does what was asked and prints the outcome.
pub fn certificate(command: &CertificateCommand) -> ExitCode {
    finish(run(command))
}

async fn run(command: &CertificateCommand) -> anyhow::Result<String> {
    match command {
        CertificateCommand::List { json, admin } => {
            let status = ask(admin, Method::GET, "/v1/status", Bytes::new()).await?;
            let listeners = list(&status, "listeners");
            Ok(if *json { format!("{:#}\n", Value::from(listeners.to_vec())) } else { listed(listeners) })
        }
        CertificateCommand::Push { name, cert, key, admin } => {
            let pem = [read(cert)?, read(key)?].join(&b'\n');
            let answer = ask(admin, Method::PUT, &format!("/v1/certificates/{name}"), pem.into()).await?;
            Ok(format!("{name} is now {} until {}\n", text(&answer, "sha256"), text(&answer, "not_after")))
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// One line a certificate of each listener.
fn listed(listeners: &[Value]) -> String {
    let mut rows = vec![["LISTENER", "CERTIFICATE", "HOSTS", "KEY", "UNTIL"].map(str::to_owned)];
    for listener in listeners {
        rows.extend(list(listener, "certificates").iter().map(|certificate| row(listener, certificate)));
    }
    if rows.len() == 1 {
        return "no certificates\n".to_owned();
    }
    table(&rows)
}

fn row(listener: &Value, certificate: &Value) -> [String; 5] {
    let hosts: Vec<&str> = list(certificate, "hosts").iter().filter_map(Value::as_str).collect();
    [
        text(listener, "name"),
        text(certificate, "name"),
        hosts.join(","),
        text(certificate, "key"),
        text(certificate, "not_after"),
    ]
}
