//! smugglex, a scanner for request smuggling: it finds nothing between Weir and nginx, and it does find
//! a proxy that repairs what it should refuse.

use std::{net::SocketAddr, process::Output};

use serde_json::Value;

use super::{
    super::harness::{Ca, Raw, RawEndpoint},
    nginx,
    peer::cargo_command,
    weir,
};

/// What works on any listener.
const CHECKS: &str = "cl-te,te-cl,te-te,h2c,h2,cl-edge,cl-0,0-cl,parser-discrepancy";

/// What it printed for one target: an exit code of 2 is a scan that did not happen.
fn scan(checks: &str, arguments: &[&str], url: &str) -> (Output, Value) {
    let mut smugglex = cargo_command("smugglex", "smugglex@0.4.0");
    let output = smugglex.args(["--json", "-c", checks]).args(arguments).arg(url).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&said).unwrap();
    (output, report["results"][0].clone())
}

/// Every check was made and none found anything.
fn finds_nothing(checks: &str, arguments: &[&str], url: &str) {
    let (output, report) = scan(checks, arguments, url);
    let checked = report["checks"].as_array().unwrap();
    assert_eq!(checked.len(), checks.split(',').count(), "{report:#}");
    for check in checked {
        assert!(check["normal_status"].as_str().unwrap().contains(" 200"), "{check:#}");
        assert_eq!(check["vulnerable"], false, "{check:#}");
    }
    assert_eq!(output.status.code(), Some(0), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_can_be_smuggled_past_weir() {
    let (folder, ca) = (tempfile::tempdir().unwrap(), Ca::new());
    let nginx = nginx(folder.path());
    let weir = weir(&ca, nginx.address, "").await;
    finds_nothing(CHECKS, &[], &format!("http://{}/read", weir.web()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_can_be_smuggled_from_http2() {
    let (folder, ca) = (tempfile::tempdir().unwrap(), Ca::new());
    let nginx = nginx(folder.path());
    let weir = weir(&ca, nginx.address, "").await;
    let authority = weir.path("ca.pem");
    let url = format!("https://localhost:{}/read", weir.listener("secure").port());
    finds_nothing("cl-te,h2-downgrade", &["--cacert", authority.to_str().unwrap()], &url);
}

/// Goes by Content-Length where there are two lengths, and passes on the other one.
async fn naive_proxy(endpoint: SocketAddr) -> RawEndpoint {
    RawEndpoint::start(move |mut client, _| async move {
        let head = client.head().await;
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let body = client.exactly(length.map_or(0, |length| length.parse().unwrap())).await;
        let chunked = head.contains("Transfer-Encoding");
        let kept = head.lines().filter(|line| !(chunked && line.starts_with("Content-Length")));
        let mut server = Raw::connect(endpoint).await;
        server.send(kept.map(|line| format!("{line}\r\n")).collect::<String>()).await;
        server.send(body).await;
        let (head, body) = server.response().await;
        let _ = client.try_send(head + &body).await;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_repairs_lengths_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let nginx = nginx(folder.path());
    let proxy = naive_proxy(nginx.address).await;
    let url = format!("http://{}/read", proxy.address);
    let (output, report) = scan("te-cl", &["-t", "2", "--max-payloads", "1"], &url);
    assert_eq!(report["checks"][0]["vulnerable"], true, "{report:#}");
    assert_eq!(output.status.code(), Some(1));
}
