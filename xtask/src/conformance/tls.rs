//! sslyze and testssl.sh, which look at what a TLS listener offers and gives away.

use std::{fs, process::Command};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Outcome, Verdict,
    tools::{bounded, finish, python, version},
    yard::Yard,
};

/// What sslyze asks.
pub const SSLYZE: &str = "TLS versions, suites, known holes, renegotiation, resumption";
/// What testssl.sh asks.
pub const TESTSSL: &str = "TLS protocols, kinds of suites, and every vulnerability it knows";

const VERSION: &str = "6.3.1";
const SCANS: [&str; 16] = [
    "--sslv2",
    "--sslv3",
    "--tlsv1",
    "--tlsv1_1",
    "--tlsv1_2",
    "--tlsv1_3",
    "--heartbleed",
    "--openssl_ccs",
    "--robot",
    "--compression",
    "--early_data",
    "--reneg",
    "--resum",
    "--fallback",
    "--elliptic_curves",
    "--ems",
];

/// Name of a case, where its answer is in the report, and what the answer has to be.
const EXPECTED: [(&str, &str, Answer); 15] = [
    ("no SSL 2.0", "/ssl_2_0_cipher_suites/result/is_tls_version_supported", Answer::Is(false)),
    ("no SSL 3.0", "/ssl_3_0_cipher_suites/result/is_tls_version_supported", Answer::Is(false)),
    ("no TLS 1.0", "/tls_1_0_cipher_suites/result/is_tls_version_supported", Answer::Is(false)),
    ("no TLS 1.1", "/tls_1_1_cipher_suites/result/is_tls_version_supported", Answer::Is(false)),
    ("TLS 1.2", "/tls_1_2_cipher_suites/result/is_tls_version_supported", Answer::Is(true)),
    ("TLS 1.3", "/tls_1_3_cipher_suites/result/is_tls_version_supported", Answer::Is(true)),
    ("no Heartbleed", "/heartbleed/result/is_vulnerable_to_heartbleed", Answer::Is(false)),
    ("no CCS injection", "/openssl_ccs_injection/result/is_vulnerable_to_ccs_injection", Answer::Is(false)),
    ("no ROBOT", "/robot/result/robot_result", Answer::Begins("NOT_VULNERABLE")),
    ("no compression", "/tls_compression/result/supports_compression", Answer::Is(false)),
    ("no early data", "/tls_1_3_early_data/result/supports_early_data", Answer::Is(false)),
    (
        "clients cannot renegotiate",
        "/session_renegotiation/result/is_vulnerable_to_client_renegotiation_dos",
        Answer::Is(false),
    ),
    ("sessions resume in TLS 1.2", "/session_resumption/result/session_id_resumption_result", Answer::Begins("FULLY")),
    ("refuses a downgrade", "/tls_fallback_scsv/result/supports_fallback_scsv", Answer::Is(true)),
    ("extended master secret", "/tls_extended_master_secret/result/supports_ems_extension", Answer::Is(true)),
];

enum Answer {
    Is(bool),
    Begins(&'static str),
}

impl Answer {
    fn fits(&self, value: &Value) -> bool {
        match self {
            Answer::Is(wanted) => value == wanted,
            Answer::Begins(start) => value.as_str().is_some_and(|text| text.starts_with(start)),
        }
    }
}

/// A scan of each proxy.
pub fn sslyze(yard: &Yard) -> Result<Outcome> {
    let folder = python(&format!("sslyze-{VERSION}"), &format!("sslyze=={VERSION}"))?;
    let mut verdicts = Vec::new();
    for peer in yard.peers() {
        let file = yard.folder().join(format!("sslyze-{}.json", peer.kind.name()));
        let mut command = bounded(120, folder.join("bin/sslyze"));
        command.args(SCANS).arg("--mozilla_config=disable").arg(format!("--json_out={}", file.display()));
        let output = finish(command.arg(peer.listens.secure.to_string()))?;
        let text = fs::read_to_string(&file).with_context(|| String::from_utf8_lossy(&output.stdout).into_owned())?;
        let report: Value = serde_json::from_str(&text)?;
        let found = report.pointer("/server_scan_results/0/scan_result").context("sslyze reports no scan")?;
        let mut verdict = Verdict::default();
        for (name, place, wanted) in &EXPECTED {
            let value = found.pointer(place).with_context(|| format!("sslyze reports nothing at {place}"))?;
            verdict.note(wanted.fits(value), || format!("not: {name}"));
        }
        verdicts.push((peer.kind, verdict));
    }
    Ok(Outcome { tool: format!("sslyze {VERSION}"), verdicts })
}

#[derive(Deserialize)]
struct Finding {
    id: String,
    severity: String,
    finding: String,
}

/// A scan of each proxy.
pub fn testssl(yard: &Yard) -> Result<Outcome> {
    let mut verdicts = Vec::new();
    for peer in yard.peers() {
        let file = yard.folder().join(format!("testssl-{}.json", peer.kind.name()));
        let mut command = bounded(300, "testssl");
        command.args(["--warnings", "off", "--color", "0", "--quiet", "--ip", "one", "-p", "-s", "-U", "--jsonfile"]);
        let output = finish(command.arg(&file).arg(peer.listens.secure.to_string()))?;
        let text = fs::read_to_string(&file).with_context(|| String::from_utf8_lossy(&output.stdout).into_owned())?;
        verdicts.push((peer.kind, judge(&serde_json::from_str::<Vec<Finding>>(&text)?)));
    }
    let banner = version(Command::new("dpkg-query").args(["-W", "-f", "${Version}", "testssl.sh"]))?;
    Ok(Outcome { tool: format!("testssl.sh {banner}"), verdicts })
}

/// All that was asked; a weakness is a failed case. What concerns the machine of the scan is left out.
fn judge(findings: &[Finding]) -> Verdict {
    let mut verdict = Verdict::default();
    for one in findings.iter().filter(|one| one.severity != "WARN") {
        let passed = matches!(one.severity.as_str(), "OK" | "INFO");
        verdict.note(passed, || format!("{} ({}): {}", one.id, one.severity.to_lowercase(), one.finding));
    }
    verdict
}
