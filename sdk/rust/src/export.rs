//! The `export!` macro: from a type to a component's exports.
//!
//! In the sandbox it writes `lifecycle`, the roles it was given and the map from binding to object. In
//! native code it only checks that each type has its role's trait.

/// What decisions are about inside the sandbox: the host knows which one is under way.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod under_way {
    use crate::{Candidates, Request, Target};

    pub const REQUEST: &Request = &Request::UNDER_WAY;
    pub const CANDIDATES: &Candidates = &Candidates::UNDER_WAY;
    pub const TARGET: &Target = &Target::UNDER_WAY;
}

/// Exports a plugin: each role with the type that has it. Call it once, at the root of the crate.
///
/// ```ignore
/// weir_sdk::export!(router: Canary);
/// weir_sdk::export!(balancer: Ring, health: Probe);
/// ```
#[macro_export]
macro_rules! export {
    ($($role:ident: $type:ty),+ $(,)?) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Plugin;

            impl $crate::wit::lifecycle::exports::weir::plugin::lifecycle::Guest for Plugin {
                fn configure(
                    binding: u32,
                    role: $crate::wit::lifecycle::exports::weir::plugin::lifecycle::Role,
                    settings: String,
                ) -> Result<(), String> {
                    $(if role == $crate::__role!($role) {
                        let object = $crate::settings::parse::<$type>(&settings)?;
                        $role::OBJECTS.with_borrow_mut(|objects| objects.insert(binding, object));
                        return Ok(());
                    })+
                    Err("the plugin does not have this role".to_owned())
                }

                fn release(binding: u32) {
                    $($role::OBJECTS.with_borrow_mut(|objects| objects.remove(binding));)+
                }
            }
            $crate::wit::lifecycle::export_lifecycle!(Plugin with_types_in $crate::wit::lifecycle);

            $(
                mod $role {
                    use super::*;
                    thread_local! {
                        pub(super) static OBJECTS: ::core::cell::RefCell<$crate::bindings::Bindings<$type>> =
                            const { ::core::cell::RefCell::new($crate::bindings::Bindings::new()) };
                    }
                }
                $crate::__export_role!($role);
            )+
        };

        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            $($crate::__check_role!($role, $type);)+
        };
    };
}

/// A role's name in the contract.
#[doc(hidden)]
#[macro_export]
macro_rules! __role {
    (router) => {
        $crate::wit::lifecycle::exports::weir::plugin::lifecycle::Role::Router
    };
    (balancer) => {
        $crate::wit::lifecycle::exports::weir::plugin::lifecycle::Role::Balancer
    };
    (affinity) => {
        $crate::wit::lifecycle::exports::weir::plugin::lifecycle::Role::Affinity
    };
    (health) => {
        $crate::wit::lifecycle::exports::weir::plugin::lifecycle::Role::Health
    };
}

/// The exported functions of a role. A binding that was never configured gets the native decision.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_role {
    (router) => {
        impl $crate::wit::router::exports::weir::plugin::router::Guest for Plugin {
            fn route(binding: u32) -> $crate::wit::router::exports::weir::plugin::router::Decision {
                router::OBJECTS.with_borrow_mut(|objects| {
                    objects.find(binding).map_or_else(Default::default, |object| {
                        $crate::Router::route(object, $crate::under_way::REQUEST)
                    })
                })
                .into()
            }
        }
        $crate::wit::router::export_router!(Plugin with_types_in $crate::wit::router);
    };
    (balancer) => {
        impl $crate::wit::balancer::exports::weir::plugin::balancer::Guest for Plugin {
            fn pick(binding: u32) -> Option<u32> {
                balancer::OBJECTS.with_borrow_mut(|objects| {
                    $crate::Balancer::pick(
                        objects.find(binding)?,
                        $crate::under_way::REQUEST,
                        $crate::under_way::CANDIDATES,
                    )
                })
            }
        }
        $crate::wit::balancer::export_balancer!(Plugin with_types_in $crate::wit::balancer);
    };
    (affinity) => {
        impl $crate::wit::affinity::exports::weir::plugin::affinity::Guest for Plugin {
            fn lookup(
                binding: u32,
            ) -> Option<$crate::wit::affinity::exports::weir::plugin::affinity::Session> {
                affinity::OBJECTS.with_borrow_mut(|objects| {
                    let object = objects.find(binding)?;
                    $crate::Affinity::session(object, $crate::under_way::REQUEST).map(Into::into)
                })
            }

            fn bound(
                binding: u32,
                key: Option<String>,
                endpoint: String,
            ) -> $crate::wit::affinity::exports::weir::plugin::affinity::Mark {
                affinity::OBJECTS.with_borrow_mut(|objects| {
                    objects.find(binding).map_or_else(Default::default, |object| {
                        $crate::Affinity::bound(
                            object,
                            $crate::under_way::REQUEST,
                            key.as_deref(),
                            &endpoint,
                        )
                    })
                })
                .into()
            }
        }
        $crate::wit::affinity::export_affinity!(Plugin with_types_in $crate::wit::affinity);
    };
    (health) => {
        impl $crate::wit::health::exports::weir::plugin::health::Guest for Plugin {
            fn check(binding: u32) -> $crate::wit::health::exports::weir::plugin::health::Verdict {
                health::OBJECTS.with_borrow_mut(|objects| match objects.find(binding) {
                    Some(object) => $crate::Health::check(object, $crate::under_way::TARGET),
                    None => $crate::Verdict::unhealthy("the check was never configured"),
                })
                .into()
            }
        }
        $crate::wit::health::export_health!(Plugin with_types_in $crate::wit::health);
    };
}

/// Fails to compile when a type does not have its role's trait.
#[doc(hidden)]
#[macro_export]
macro_rules! __check_role {
    (router, $type:ty) => {
        const fn router<T: $crate::Router>() {}
        router::<$type>();
    };
    (balancer, $type:ty) => {
        const fn balancer<T: $crate::Balancer>() {}
        balancer::<$type>();
    };
    (affinity, $type:ty) => {
        const fn affinity<T: $crate::Affinity>() {}
        affinity::<$type>();
    };
    (health, $type:ty) => {
        const fn health<T: $crate::Health>() {}
        health::<$type>();
    };
}
