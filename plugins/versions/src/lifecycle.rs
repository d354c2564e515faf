//! What a version's age means: `Deprecation` (RFC 9745), `Sunset` (RFC 8594), links (RFC 8288), and 410 in the end.

use crate::dates::Moment;
use crate::settings::VersionSettings;
use gatewright_plugin::{Edits, Header, Refusal, refuse};

/// A version's age, prepared.
pub struct Lifecycle {
    version: String,
    sunset: Option<Moment>,
    /// Fields that answers of this version have.
    fields: Vec<Header>,
    link: Option<Header>,
}

impl Lifecycle {
    /// Reads a version's dates.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub fn new(version: &str, settings: &VersionSettings) -> Result<Self, String> {
        let (deprecated, sunset) = (settings.deprecated, settings.sunset);
        if deprecated.zip(sunset).is_some_and(|(deprecated, sunset)| sunset < deprecated) {
            return Err("`sunset`: before `deprecated`".into());
        }
        let links = [
            ("successor-version", &settings.successor),
            ("deprecation", &settings.deprecation_docs),
            ("sunset", &settings.sunset_docs),
        ];
        let mut link = Vec::new();
        for (relation, target) in links {
            let Some(target) = target else { continue };
            if !target.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"".contains(&byte)) || target.is_empty() {
                return Err(format!("`{target}` is not a URI reference"));
            }
            link.push(format!(r#"<{target}>; rel="{relation}""#));
        }
        let deprecation = deprecated.map(|moment| ("deprecation".to_string(), moment.structured()));
        let end = sunset.map(|moment| ("sunset".to_string(), moment.http_date()));
        Ok(Self {
            version: version.to_string(),
            sunset,
            fields: deprecation.into_iter().chain(end).collect(),
            link: (!link.is_empty()).then(|| ("link".to_string(), link.join(", "))),
        })
    }

    /// Ends a request for a version that is over, by `passed`: whether that moment, in milliseconds since 1970, is.
    ///
    /// # Errors
    /// 410 with what there is to read about it.
    pub fn check(&self, passed: impl Fn(f64) -> bool) -> Result<(), Refusal> {
        let Some(sunset) = self.sunset.filter(|sunset| passed(sunset.milliseconds())) else { return Ok(()) };
        let detail = format!("Version {} ended at {}.", self.version, sunset.http_date());
        let mut refusal = refuse(410, "This version is gone").with_detail(detail);
        refusal.headers.extend(self.fields.iter().chain(&self.link).cloned());
        Err(refusal)
    }

    /// The changes to answers of this version, with `vary` where another field made the choice.
    pub fn edits(&self, vary: Option<&str>) -> Option<Edits> {
        let vary = vary.map(|fields| ("vary".to_string(), fields.to_string()));
        let add: Vec<Header> = self.link.iter().cloned().chain(vary).collect();
        let none = self.fields.is_empty() && add.is_empty();
        (!none).then(|| Edits { set: self.fields.clone(), add, ..Edits::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_plugin::settings;

    fn lifecycle(text: &str) -> Result<Lifecycle, String> {
        Lifecycle::new("1", &settings(text)?)
    }

    const OLD: &str = r#"{
        "deprecated": "2026-01-01", "sunset": "2026-12-31T23:59:59Z",
        "successor": "/v2", "sunset_docs": "https://shop.example/sunset"
    }"#;

    #[test]
    fn answers_say_how_old_they_are() {
        let edits = lifecycle(OLD).expect("dates").edits(Some("accept")).expect("edits");
        let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
        assert_eq!(edits.set, [pair("deprecation", "@1767225600"), pair("sunset", "Thu, 31 Dec 2026 23:59:59 GMT")]);
        let link = r#"</v2>; rel="successor-version", <https://shop.example/sunset>; rel="sunset""#;
        assert_eq!(edits.add, [pair("link", link), pair("vary", "accept")]);
        assert_eq!(lifecycle("{}").expect("no dates").edits(None), None);
    }

    #[test]
    fn after_the_sunset_it_is_410_with_the_same_links() {
        let old = lifecycle(OLD).expect("dates");
        assert_eq!(old.check(|moment| moment < 1_798_761_599_000.0), Ok(()));
        let gone = old.check(|moment| moment <= 1_798_761_599_000.0).expect_err("gone");
        assert_eq!((gone.status, gone.headers.len()), (410, 3));
        assert_eq!(gone.detail.as_deref(), Some("Version 1 ended at Thu, 31 Dec 2026 23:59:59 GMT."));
    }

    #[test]
    fn dates_and_links_that_cannot_be_are_refused() {
        assert!(lifecycle(r#"{"deprecated": "2027-01-01", "sunset": "2026-01-01"}"#).is_err());
        assert!(lifecycle(r#"{"successor": "a b"}"#).is_err());
        assert!(lifecycle(r#"{"sunset": "soon"}"#).is_err());
    }
}
