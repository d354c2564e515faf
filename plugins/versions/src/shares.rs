//! Shares of a route's requests for other services, such as a canary's.

use gatewright_plugin::Share;
use serde::Deserialize;

/// As written: a service and either `percent` or `per_mille`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareSettings {
    service: String,
    percent: Option<f64>,
    per_mille: Option<u16>,
}

/// All of the requests.
const WHOLE: u16 = 1000;

/// Checks shares.
///
/// # Errors
/// What is wrong, for the operator.
pub fn shares(settings: Vec<ShareSettings>) -> Result<Vec<Share>, String> {
    let mut left = WHOLE;
    let mut shares: Vec<Share> = Vec::new();
    for ShareSettings { service, percent, per_mille } in settings {
        let per_mille = match (percent, per_mille) {
            (None, Some(per_mille)) => per_mille,
            (Some(percent), None) => tenths(percent).ok_or(format!("`{percent}` percent: 0 to 100 in steps of 0.1"))?,
            _ => return Err(format!("the share of `{service}`: exactly one of `percent` and `per_mille`")),
        };
        left = left.checked_sub(per_mille).ok_or("more than the whole")?;
        if shares.iter().any(|share| share.service == service) {
            return Err(format!("`{service}` has two shares"));
        }
        shares.push(Share { service, per_mille });
    }
    Ok(shares)
}

/// Percent to per mille.
fn tenths(percent: f64) -> Option<u16> {
    (0..=WHOLE).find(|tenths| (f64::from(*tenths) - percent * 10.0).abs() < 1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_plugin::settings;

    fn read(text: &str) -> Result<Vec<(String, u16)>, String> {
        let shares = shares(settings(text)?)?;
        Ok(shares.into_iter().map(|share| (share.service, share.per_mille)).collect())
    }

    #[test]
    fn percent_and_per_mille_mean_the_same() {
        let both = read(
            r#"[{"service": "a", "percent": 0.5}, {"service": "b", "per_mille": 5}, {"service": "c", "percent": 10}]"#,
        );
        assert_eq!(both, Ok(vec![("a".into(), 5), ("b".into(), 5), ("c".into(), 100)]));
    }

    #[test]
    fn shares_that_cannot_be_are_refused() {
        for wrong in [
            r#"[{"service": "a"}]"#,
            r#"[{"service": "a", "percent": 1, "per_mille": 10}]"#,
            r#"[{"service": "a", "percent": 0.55}]"#,
            r#"[{"service": "a", "percent": -1}]"#,
            r#"[{"service": "a", "percent": 60}, {"service": "b", "percent": 50}]"#,
            r#"[{"service": "a", "percent": 1}, {"service": "a", "percent": 1}]"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
