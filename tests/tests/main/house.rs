//! The house: what may import what, and how long a file may be.

use std::path::{Path, PathBuf};

use xtask::house;

/// The longest file: more than that nobody reads.
const MOST_LINES: usize = 400;
/// Stages of the path, which never import each other.
const STAGES: [&str; 4] = ["auth", "limit", "validate", "route"];
/// A limit on failed authentication stands before every auth plugin, and only auth knows what failed.
const SHARED: &str = "crate::limit::FailedAuth";

/// Every Rust file below a folder of the repository, with its text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().unwrap() != "target" {
                    walk(&path, found);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&house::root().join(folder), &mut found);
    assert!(!found.is_empty(), "{folder}");
    found
}

/// Whether a file is this module of the host or in it.
fn is_in(path: &Path, module: &str) -> bool {
    let path = path.strip_prefix(house::root().join("host/src")).unwrap();
    path.starts_with(module) || path == Path::new(&format!("{module}.rs"))
}

#[test]
fn only_plugin_knows_wasmtime() {
    for (path, text) in sources("host/src").into_iter().filter(|(path, _)| !is_in(path, "plugin")) {
        assert!(!text.contains("wasmtime::"), "{}", path.display());
    }
}

#[test]
fn stages_do_not_know_each_other() {
    for (path, text) in sources("host/src") {
        for stage in STAGES.iter().filter(|stage| is_in(&path, stage)) {
            for other in STAGES.iter().filter(|other| *other != stage) {
                let text = text.replace(SHARED, "");
                assert!(!text.contains(&format!("crate::{other}::")), "{}: {other}", path.display());
            }
        }
    }
}

#[test]
fn no_file_is_too_long_to_read() {
    for folder in ["host", "tests", "xtask", "plugins", "examples"] {
        for (path, text) in sources(folder) {
            let lines = text.lines().count();
            assert!(lines <= MOST_LINES, "{}: {lines} lines", path.display());
        }
    }
}
