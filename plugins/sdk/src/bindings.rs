//! What is generated from the contract, version 0.1. The rest of the SDK gives it better names.

#![allow(missing_docs, unsafe_code, reason = "generated; the contract has the documentation")]
#![allow(clippy::all, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing, reason = "generated")]
#![allow(clippy::allow_attributes_without_reason, reason = "generated")]

/// Everything that the host offers. What a plugin does not call is not imported by its component.
pub mod host {
    wit_bindgen::generate!({
        path: "../../wit/v0.1",
        inline: "
            package gatewright:sdk;
            world host {
                import gatewright:policy/types@0.1.0;
                import gatewright:policy/inputs@0.1.0;
                import gatewright:policy/identity@0.1.0;
                import gatewright:policy/verdicts@0.1.0;
                import gatewright:policy/log@0.1.0;
                import gatewright:policy/clock@0.1.0;
                import gatewright:policy/random@0.1.0;
                import gatewright:policy/jwt@0.1.0;
            }
        ",
        world: "gatewright:sdk/host",
        additional_derives: [Clone, PartialEq, Eq],
        generate_all,
        generate_unused_types: true,
    });
}

/// What an auth plugin exports.
pub mod auth {
    wit_bindgen::generate!({
        path: "../../wit/v0.1",
        world: "gatewright:policy/auth-plugin@0.1.0",
        with: {
            "gatewright:policy/types@0.1.0": crate::bindings::host::gatewright::policy::types,
            "gatewright:policy/inputs@0.1.0": crate::bindings::host::gatewright::policy::inputs,
            "gatewright:policy/identity@0.1.0": crate::bindings::host::gatewright::policy::identity,
            "gatewright:policy/verdicts@0.1.0": crate::bindings::host::gatewright::policy::verdicts,
            "gatewright:policy/log@0.1.0": crate::bindings::host::gatewright::policy::log,
            "gatewright:policy/clock@0.1.0": crate::bindings::host::gatewright::policy::clock,
            "gatewright:policy/random@0.1.0": crate::bindings::host::gatewright::policy::random,
        },
        additional_derives: [Clone, PartialEq, Eq],
        pub_export_macro: true,
        export_macro_name: "export_auth",
        runtime_path: "::gatewright_plugin::wit_bindgen::rt",
    });
}

/// What a validation plugin exports.
pub mod validation {
    wit_bindgen::generate!({
        path: "../../wit/v0.1",
        world: "gatewright:policy/validation-plugin@0.1.0",
        with: {
            "gatewright:policy/types@0.1.0": crate::bindings::host::gatewright::policy::types,
            "gatewright:policy/inputs@0.1.0": crate::bindings::host::gatewright::policy::inputs,
            "gatewright:policy/verdicts@0.1.0": crate::bindings::host::gatewright::policy::verdicts,
            "gatewright:policy/log@0.1.0": crate::bindings::host::gatewright::policy::log,
            "gatewright:policy/clock@0.1.0": crate::bindings::host::gatewright::policy::clock,
            "gatewright:policy/random@0.1.0": crate::bindings::host::gatewright::policy::random,
        },
        additional_derives: [Clone, PartialEq, Eq],
        pub_export_macro: true,
        export_macro_name: "export_validation",
        runtime_path: "::gatewright_plugin::wit_bindgen::rt",
    });
}

/// What a routing plugin exports.
pub mod routing {
    wit_bindgen::generate!({
        path: "../../wit/v0.1",
        world: "gatewright:policy/routing-plugin@0.1.0",
        with: {
            "gatewright:policy/types@0.1.0": crate::bindings::host::gatewright::policy::types,
            "gatewright:policy/inputs@0.1.0": crate::bindings::host::gatewright::policy::inputs,
            "gatewright:policy/verdicts@0.1.0": crate::bindings::host::gatewright::policy::verdicts,
            "gatewright:policy/log@0.1.0": crate::bindings::host::gatewright::policy::log,
            "gatewright:policy/clock@0.1.0": crate::bindings::host::gatewright::policy::clock,
            "gatewright:policy/random@0.1.0": crate::bindings::host::gatewright::policy::random,
        },
        additional_derives: [Clone, PartialEq, Eq],
        pub_export_macro: true,
        export_macro_name: "export_routing",
        runtime_path: "::gatewright_plugin::wit_bindgen::rt",
    });
}
