//! What one question to a plugin costs: host/benches/calls.rs, and what criterion made of it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::goals::{Bound, Goal, Goals};
use crate::process::run;
use crate::{house, release};

/// The stages whose plugins are asked.
const STAGES: [&str; 2] = ["validation", "routing"];

/// Runs `cargo bench --package gatewright`, built with the profile of `cargo xtask release` or without. The plugins must have been
/// built.
pub(super) fn measure(profiled: bool, goals: &mut Goals) -> Result<()> {
    let results = house::root().join("target/criterion");
    let mut cargo = if profiled { release::cargo() } else { house::workspace_cargo() };
    cargo.args(["bench", "--package", "gatewright", "--bench", "calls"]);
    run(cargo.env("CRITERION_HOME", &results).env("GATEWRIGHT_PLUGINS", house::plugins()))?;
    for (how, most) in [("called", 0.8), ("remembered", 0.25)] {
        let seen = STAGES.map(|stage| microseconds(&results.join(stage).join(how)));
        let seen = seen.into_iter().collect::<Result<Vec<_>>>()?;
        let what = format!("a stage with 3 inputs, {how}: {}", STAGES.join(", "));
        goals.add(Goal { what, seen, bound: Bound::AtMost(most), unit: "µs" });
    }
    Ok(())
}

/// The median of the last run.
fn microseconds(folder: &Path) -> Result<f64> {
    let file = folder.join("new/estimates.json");
    let text = fs::read(&file).with_context(|| file.display().to_string())?;
    let estimates: Estimates = serde_json::from_slice(&text)?;
    Ok(estimates.median.point_estimate / 1e3)
}

/// What we need of criterion's estimates.
#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    /// In nanoseconds.
    point_estimate: f64,
}
