//! What the gateway is to be, and what was seen of it.

use std::fmt;

/// Where a figure must lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bound {
    /// Not above.
    AtMost(f64),
    /// Not below.
    AtLeast(f64),
}

/// One figure, as often as it was seen under different conditions.
#[derive(Clone, Debug)]
pub(super) struct Goal {
    /// Which figure.
    pub(super) what: String,
    /// What it was, under each condition.
    pub(super) seen: Vec<f64>,
    /// What it must be under each.
    pub(super) bound: Bound,
    /// Of all these numbers.
    pub(super) unit: &'static str,
}

impl Goal {
    /// Whether it was seen, and is met under every condition.
    fn is_met(&self) -> bool {
        let holds = |seen: &f64| match self.bound {
            Bound::AtMost(most) => *seen <= most,
            Bound::AtLeast(least) => *seen >= least,
        };
        !self.seen.is_empty() && self.seen.iter().all(holds)
    }
}

/// All of them, in the order in which they were measured.
#[derive(Debug, Default)]
pub(super) struct Goals(Vec<Goal>);

impl Goals {
    pub(super) fn add(&mut self, goal: Goal) {
        self.0.push(goal);
    }
}

impl fmt::Display for Goals {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "\ngoals")?;
        for goal in &self.0 {
            let (word, bound) = match goal.bound {
                Bound::AtMost(most) => ("at most", most),
                Bound::AtLeast(least) => ("at least", least),
            };
            let bound = format!("{word} {} {}", number(bound), goal.unit);
            let seen = goal.seen.iter().map(|seen| number(*seen)).collect::<Vec<_>>().join("  ");
            let met = if goal.is_met() { "met" } else { "MISSED" };
            writeln!(out, "  {:<44} {bound:<16} {met:<7} {seen}", goal.what)?;
        }
        Ok(())
    }
}

/// Two digits behind the point where they say something.
fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_only_under_every_condition_and_not_by_silence() {
        let goal = |seen: &[f64], bound| Goal { what: "a".to_owned(), seen: seen.to_vec(), bound, unit: "x" };
        assert!(goal(&[1.1, 1.15], Bound::AtMost(1.15)).is_met());
        assert!(!goal(&[1.1, 1.16], Bound::AtMost(1.15)).is_met());
        assert!(!goal(&[1.95, 1.89], Bound::AtLeast(1.9)).is_met());
        assert!(!goal(&[f64::NAN], Bound::AtMost(1.0)).is_met());
        assert!(!goal(&[], Bound::AtMost(1.0)).is_met());
    }
}
