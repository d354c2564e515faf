//! Randomness for the hash tables of the schema crate, from the host. It is drawn in `configure` already, so that checks
//! draw none.

#![allow(unsafe_code, reason = "the signature that getrandom's custom backend asks for")]

use gatewright_plugin::random;

/// Called by getrandom 0.3 where `--cfg getrandom_backend="custom"` is set.
///
/// # Safety
/// `to` must be valid for writing `length` bytes, which getrandom sees to.
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(to: *mut u8, length: usize) -> Result<(), getrandom::Error> {
    for at in 0..length {
        let [byte, ..] = random::number().to_le_bytes();
        // SAFETY: `at` is below `length`.
        unsafe { to.add(at).write(byte) };
    }
    Ok(())
}
