//! The configuration: a text is one, or every fault has its place.

use std::path::Path;

use gatewright::config::{Config, Fault};

/// Tries bytes as a configuration.
///
/// # Panics
/// Something does not hold.
pub fn hold(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let read = parse(text);
    assert_eq!(read, parse(text), "it is read in one way");
    let remarked = parse(&format!("{text}\n# a remark\n"));
    match read {
        Ok(config) => {
            assert_eq!(remarked, Ok(config));
        }
        Err(faults) => {
            let lines = text.matches('\n').count() + 1;
            assert!(!faults.is_empty());
            assert!(faults.is_sorted_by_key(|fault| fault.line), "{faults:?}");
            for fault in faults {
                assert!(fault.line.is_some_and(|line| (1..=lines).contains(&line)), "{fault}");
                assert!(!fault.what.is_empty() && !fault.to_string().contains('\n'), "{fault:?}");
            }
        }
    }
}

fn parse(text: &str) -> Result<Config, Vec<Fault>> {
    Config::parse(text, "gateway.toml", Path::new("/etc/gatewright"))
}

/// Configurations of the repository.
pub(super) fn examples() -> Vec<Vec<u8>> {
    let files = ["examples/quickstart/gateway.toml", "host/src/config/tests/complete.toml"];
    files.map(|file| std::fs::read(Path::new(super::PACKAGE).join("..").join(file)).unwrap()).to_vec()
}
