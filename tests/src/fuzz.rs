//! What holds for any bytes. `cargo xtask fuzz` lets libFuzzer make bytes up; what it found and every seed is tried by ordinary
//! tests as well, from `tests/corpus/fuzz`.
//!
//! Each module is a target: its `hold` takes any bytes and panics where something does not hold.

use std::path::Path;

use crate::corpus;

pub mod answer;
pub mod config;
pub mod edge;
pub mod head;
pub mod keys;
pub mod path;
pub mod proxy;
pub mod token;

/// A target's name, and what must hold for its bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 8] = [
    ("path", path::hold),
    ("head", head::hold),
    ("edge", edge::hold),
    ("proxy", proxy::hold),
    ("config", config::hold),
    ("keys", keys::hold),
    ("token", token::hold),
    ("answer", answer::hold),
];

/// The folder of this package.
const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");
/// Where a run of the fuzzer wants its seeds.
const SEEDS: &str = "GATEWRIGHT_FUZZ_SEEDS";

/// Writes a target's seeds into the folder that the environment names, if it names one.
///
/// # Panics
/// There is no such target, or the folder takes no files.
pub fn write_seeds(target: &str) {
    let Some(folder) = std::env::var_os(SEEDS) else { return };
    for (at, bytes) in seeds(target).into_iter().enumerate() {
        std::fs::write(Path::new(&folder).join(format!("seed-{at:03}")), bytes).unwrap();
    }
}

/// What a target begins with: the paragraphs of `tests/corpus/fuzz/TARGET.txt`, and what fits of the rest of the corpus.
///
/// # Panics
/// There is no such target.
#[must_use]
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let file = Path::new(PACKAGE).join("corpus/fuzz").join(format!("{target}.txt"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|fault| panic!("{}: {fault}", file.display()));
    let mut seeds: Vec<_> = text.split("\n\n").map(seed).filter(|seed| !seed.is_empty()).collect();
    match target {
        "edge" => seeds.extend(edge::corpus()),
        "config" => seeds.extend(config::examples()),
        _ => {}
    }
    seeds
}

/// The bytes of a paragraph: escapes as in the rest of the corpus, `#` a remark, and a line's end where it has one, but the last.
fn seed(paragraph: &str) -> Vec<u8> {
    let lines: Vec<_> = paragraph.lines().filter(|line| !line.starts_with("# ")).map(corpus::bytes).collect();
    lines.join(&b'\n')
}

/// The parts of bytes between line ends, as far as they are text.
fn lines(bytes: &[u8]) -> impl Iterator<Item = String> {
    bytes.split(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line).into_owned())
}
