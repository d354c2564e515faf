//! The three stages as traits, and the macros that export them.

use crate::{Decision, Grant, Refusal, Request};

/// A plugin for auth: says who is calling. Export it with [`auth!`](crate::auth).
pub trait Auth: Sized + Sync + 'static {
    /// Reads the settings and declares inputs. Called once in the life of an instance, before all else.
    ///
    /// # Errors
    /// What is wrong, for the operator; the plugin does not go live.
    fn configure(settings: &str) -> Result<Self, String>;

    /// Who is calling? `None`: there is no credential of this plugin's kind.
    ///
    /// # Errors
    /// A credential of this kind that is bad.
    fn identify(&self, request: &Request) -> Result<Option<Grant>, Refusal>;
}

/// A plugin for validation: says whether a request is valid. Export it with [`validation!`](crate::validation).
pub trait Validation: Sized + Sync + 'static {
    /// As [`Auth::configure`].
    ///
    /// # Errors
    /// As there.
    fn configure(settings: &str) -> Result<Self, String>;

    /// Is this request valid?
    ///
    /// # Errors
    /// What is wrong with it.
    fn check(&self, request: &Request) -> Result<(), Refusal>;
}

/// A plugin for routing: says which service a request goes to. Export it with [`routing!`](crate::routing).
pub trait Routing: Sized + Sync + 'static {
    /// As [`Auth::configure`].
    ///
    /// # Errors
    /// As there.
    fn configure(settings: &str) -> Result<Self, String>;

    /// Where does this request go?
    ///
    /// # Errors
    /// Nowhere, and why.
    fn route(&self, request: &Request) -> Result<Decision, Refusal>;
}

/// Exports a type with [`Auth`] as this component's auth stage.
#[macro_export]
macro_rules! auth {
    ($plugin:ty) => {
        $crate::stage!($plugin, Auth, auth, export_auth, identify -> Result<Option<$crate::Grant>, $crate::Refusal>);
    };
}

/// Exports a type with [`Validation`] as this component's validation stage.
#[macro_export]
macro_rules! validation {
    ($plugin:ty) => {
        $crate::stage!($plugin, Validation, validation, export_validation, check -> Result<(), $crate::Refusal>);
    };
}

/// Exports a type with [`Routing`] as this component's routing stage.
#[macro_export]
macro_rules! routing {
    ($plugin:ty) => {
        $crate::stage!($plugin, Routing, routing, export_routing, route -> Result<$crate::Decision, $crate::Refusal>);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! stage {
    ($plugin:ty, $stage:ident, $module:ident, $export:ident, $call:ident -> $answer:ty) => {
        const _: () = {
            static PLUGIN: ::std::sync::OnceLock<$plugin> = ::std::sync::OnceLock::new();

            struct Exported;

            impl $crate::bindings::$module::exports::gatewright::policy::$module::Guest for Exported {
                fn configure(settings: String) -> Result<(), String> {
                    let plugin = <$plugin as $crate::$stage>::configure(&settings)?;
                    PLUGIN.set(plugin).map_err(|_| "configured twice".to_string())
                }

                fn $call(request: $crate::Request) -> $answer {
                    let plugin = PLUGIN.get().expect("the host configures an instance before it calls it");
                    <$plugin as $crate::$stage>::$call(plugin, &request)
                }
            }

            #[cfg(target_arch = "wasm32")]
    $crate::bindings::$module::$export!(Exported with_types_in $crate::bindings::$module);

            // Elsewhere nothing is exported: this keeps the compiler from calling the plugin dead code.
            #[cfg(not(target_arch = "wasm32"))]
            #[used]
            static ALIVE: (fn(String) -> Result<(), String>, fn($crate::Request) -> $answer) = {
                use $crate::bindings::$module::exports::gatewright::policy::$module::Guest;
                (Exported::configure, Exported::$call)
            };
        };
    };
}
