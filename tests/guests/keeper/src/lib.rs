//! A router that uses every interface that must be granted, and answers with what it got.

wit_bindgen::generate!({ path: "../../../wit", world: "weir:plugin/router-plugin" });

use exports::weir::plugin::{
    lifecycle::{self, Role},
    router::{self, Decision, Response},
};
use weir::plugin::{clock, kv, log, metrics, random};

struct Guest;
export!(Guest);

impl lifecycle::Guest for Guest {
    fn configure(_: u32, _: Role, _: String) -> Result<(), String> {
        Ok(())
    }

    fn release(_: u32) {}
}

impl router::Guest for Guest {
    fn route(_: u32) -> Decision {
        let visits = kv::add("visits", 1, 60).unwrap_or_default();
        _ = kv::set("last", &visits.to_le_bytes(), 60);
        let last = kv::get("last").map_or(0, |bytes| bytes.len());
        kv::delete("last");
        metrics::count("visits", 1);
        metrics::gauge("size", last as f64);
        metrics::observe("wait", 0.25);
        log::write(log::Level::Info, "a visit");
        let sane = clock::wall() > 1_700_000_000_000 && clock::monotonic() > 0;
        let chance = random::number() != random::number() && random::bytes(2_000).len() == 1_024;
        let body = format!("{visits} {last} {sane} {chance}").into_bytes();
        Decision::Respond(Response { status: 200, headers: vec![], body })
    }
}
