//! End to end: the real binary between real clients and real endpoints. One topic a module.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod e2e {
    pub mod harness;

    mod examples;
    mod h1_rfc9112;
    mod h2_rfc9113;
    mod plugins;
    mod real_peers;
    mod smoke;
}
