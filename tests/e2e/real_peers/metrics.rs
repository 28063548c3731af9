//! The metrics page, read by Prometheus' own library for Python.

use std::{io::Write, process::Stdio};

use super::peer::python;
use crate::e2e::{
    harness::{Endpoint, get},
    plugins::stage::{all, plugin, start},
};

/// Reads a page as a scraper does and names what it holds twice.
const READER: &str = r#"
import sys, collections
from prometheus_client.parser import text_string_to_metric_families

families = list(text_string_to_metric_families(sys.stdin.read()))
series = collections.Counter((s.name, tuple(sorted(s.labels.items()))) for f in families for s in f.samples)
names = collections.Counter((f.name, f.type) for f in families)
print(len(series), [s for s, n in series.items() if n > 1], [f for f, n in names.items() if n > 1])
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_scraper_takes_the_page_whatever_plugins_count() {
    let endpoint = Endpoint::start("here").await;
    let grants = "grants = [\"log\", \"metrics\", \"clock\", \"random\", \"kv\"]";
    let config = [
        plugin("keeper", "keeper", grants),
        plugin("collider", "hostile/metrics-that-collide", grants),
        "[[routes]]\nname = \"kept\"\nmatch = { path = \"/kept\" }\ncluster = \"c\"\nplugins = [\"keeper\"]\n".into(),
        all("", &[endpoint.address], "balance = { plugin = \"collider\" }"),
    ];
    let weir = start(&config.concat()).await;
    for path in ["/kept", "/"] {
        assert_eq!(get(weir.web(), path).await.status, 200);
    }
    let page = weir.metrics().await;
    assert!(page.contains("weir_plugin_custom_wait_bucket{plugin=\"collider\""), "{page}");
    let mut reader = python(READER).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    reader.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = reader.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.trim_end().ends_with(" [] []"), "{said}");
}
