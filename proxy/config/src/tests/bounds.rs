//! What clients and the process may take.

use super::Folder;
use crate::{ByteSize, Config};

fn read(text: &str) -> Config {
    let loaded = Folder::new().parse(text).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    loaded.config
}

#[test]
fn sizes_of_requests() {
    let config = read(
        r#"
        [listeners.web]
        address = "127.0.0.1:0"
        limits = { url-bytes = "2KiB", max-body = "8MiB", min-rate = 500 }
        [tenants.acme]
        match = { hosts = ["acme.test"] }
        limits = { max-body = "1GiB" }
        [[routes]]
        name = "small"
        match = { path = "/small" }
        max-body = "0B"
        respond = {}
        [[routes]]
        name = "rest"
        respond = {}
        "#,
    );
    let limits = config.listeners[0].limits;
    assert_eq!((limits.url_bytes, limits.max_body), (Some(ByteSize(2 << 10)), Some(ByteSize(8 << 20))));
    assert_eq!(limits.min_rate, Some(ByteSize(500)));
    assert_eq!(config.tenants[0].limits.max_body, Some(ByteSize(1 << 30)));
    assert_eq!((config.routes[0].max_body, config.routes[1].max_body), (Some(ByteSize(0)), None));
}

#[test]
fn connections_and_memory() {
    let config = read(
        r#"
        [process]
        max-connections = 50_000
        max-memory = "2GiB"
        [listeners.web]
        address = "127.0.0.1:0"
        [[routes]]
        name = "all"
        respond = {}
        "#,
    );
    assert_eq!((config.process.max_connections, config.process.max_memory), (Some(50_000), Some(ByteSize(2 << 30))));
}
