//! The harness of the host's tests wants a folder that cargo names for tests alone.

fn main() {
    println!("cargo::rustc-env=CARGO_TARGET_TMPDIR={}", std::env::var("OUT_DIR").unwrap_or_default());
    println!("cargo::rerun-if-changed=build.rs");
}
