//! The reference plugins, as components that were built before.

use std::path::PathBuf;

/// The reference plugins: a test that names one in its configuration has it in its folder.
pub(crate) const REFERENCE: [&str; 3] = ["jwt", "json-schema", "versions"];

/// The workspace's `target` folder.
pub(crate) fn target() -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    folder.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target"))
}

/// The component of a reference plugin.
///
/// # Panics
/// It was not built.
#[must_use]
pub fn reference(name: &str) -> Vec<u8> {
    built(name)
}

/// A component that `cargo xtask guests` built: a plugin's name, for an example's with `examples/` before it.
///
/// # Panics
/// It was not built.
#[must_use]
pub fn built(name: &str) -> Vec<u8> {
    let folder = std::env::var_os("GATEWRIGHT_PLUGINS").map_or_else(|| target().join("plugins"), PathBuf::from);
    let file = folder.join(format!("{name}.wasm"));
    std::fs::read(&file).unwrap_or_else(|fault| {
        panic!(
            "{}: {fault}; `cargo xtask guests` builds the plugins, `cargo xtask test` builds and tests",
            file.display()
        )
    })
}

/// The SHA-256 of a file's content, as the gateway writes it.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
