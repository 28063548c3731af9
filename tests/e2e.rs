//! End to end: the real binary between real clients and real endpoints. One topic a module.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod e2e {
    pub mod harness;

    mod abuse;
    mod admin;
    mod affinity;
    mod agents;
    mod attempts;
    mod balance;
    mod certificates;
    mod cli;
    mod client_certificates;
    mod compression;
    mod connect;
    mod discovery;
    mod edits;
    mod examples;
    mod extended_connect;
    mod failover;
    mod failures;
    mod forwarded;
    mod goaway;
    mod grpc;
    mod h1_rfc9112;
    mod h2_rfc9113;
    mod health;
    mod informational;
    mod lessons;
    mod limits;
    mod membership;
    mod messages;
    mod mirror;
    mod networks;
    mod observed;
    mod operator;
    mod outliers;
    mod paths;
    mod plugins;
    mod probes;
    mod protocols;
    mod proxy_protocol;
    mod rate_limits;
    mod real_peers;
    mod redirects;
    mod reload;
    mod retries;
    mod rollout;
    mod routes;
    mod secrets;
    mod sessions;
    mod shutdown;
    mod smoke;
    mod split;
    mod streaming;
    mod systemd;
    mod tcp;
    mod tenants;
    mod tls;
    mod tls_passthrough;
    mod tls_sessions;
    mod tunnels;
    mod udp;
    mod upgrade;
    mod websocket;
}
