//! Any guest, on the engine that plugins run on: it is refused or fails, and the process goes on.
#![no_main]

#[path = "../smith.rs"]
mod smith;
#[path = "../../tests/host/harness.rs"]
mod harness;

use std::{path::Path, sync::{Arc, OnceLock}};

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use weir_plugin::{Budget, Guests, Host, HostOptions, Role};

use harness::{Asked, plugin, three};

fuzz_target!(|octets: &[u8]| {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../wit");
    let Some(component) = smith::component(octets, &wit) else { return };
    let Ok(program) = host().load(&plugin("any", &[]), &component) else { return };
    let guests = Guests::new();
    for role in [Role::Router, Role::Balancer, Role::Affinity] {
        let Ok(bound) = program.bind(role, &json!({})) else { return };
        let request = Asked::default();
        match role {
            Role::Router => drop(guests.route(&bound, &Budget::default(), &request)),
            Role::Balancer => drop(guests.pick(&bound, &Budget::default(), &request, &three())),
            _ => {
                drop(guests.session(&bound, &Budget::default(), &request));
                drop(guests.bound(&bound, &Budget::default(), &request, Some("key"), "127.0.0.1:1"));
            }
        }
    }
});

/// One host for all runs, with a cache of its own.
fn host() -> &'static Arc<Host> {
    static HOST: OnceLock<Arc<Host>> = OnceLock::new();
    HOST.get_or_init(|| {
        let cache = tempfile::tempdir().expect("a folder").keep();
        Host::try_new(HostOptions { cache: Some(cache), ..HostOptions::default() }).expect("a host")
    })
}
