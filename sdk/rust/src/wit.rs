//! What `wit-bindgen` makes of the contract: the host's interfaces, and one world for each interface a
//! plugin may export, so that a plugin exports exactly the roles it names.
#![allow(warnings, clippy::all, clippy::restriction)]

#[cfg(target_arch = "wasm32")]
pub mod host {
    wit_bindgen::generate!({ path: "../../wit", world: "weir:plugin/imports" });
    pub use self::weir::plugin::*;
}

macro_rules! exported {
    ($module:ident, $macro:literal, $world:literal) => {
        #[cfg(target_arch = "wasm32")]
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../wit",
                inline: $world,
                pub_export_macro: true,
                export_macro_name: $macro,
            });
        }
    };
}

exported!(
    lifecycle,
    "export_lifecycle",
    "package weir:sdk-lifecycle; world weir-lifecycle { export weir:plugin/lifecycle@0.1.0; }"
);
exported!(router, "export_router", "package weir:sdk-router; world weir-router { export weir:plugin/router@0.1.0; }");
exported!(
    balancer,
    "export_balancer",
    "package weir:sdk-balancer; world weir-balancer { export weir:plugin/balancer@0.1.0; }"
);
exported!(
    affinity,
    "export_affinity",
    "package weir:sdk-affinity; world weir-affinity { export weir:plugin/affinity@0.1.0; }"
);
exported!(health, "export_health", "package weir:sdk-health; world weir-health { export weir:plugin/health@0.1.0; }");
