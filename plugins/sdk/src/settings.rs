//! Settings: JSON text to a type of the plugin's own.

use serde::de::DeserializeOwned;

/// Reads a plugin's settings. Give the type `#[serde(deny_unknown_fields)]`, so that a misspelt key is not a silent default.
///
/// # Errors
/// What is wrong and at which key, for the operator: `` `rules[1].path`: must start with `/` ``.
pub fn settings<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    let settings: T = serde_path_to_error::deserialize(&mut json).map_err(|fault| {
        let (path, fault) = (fault.path().to_string(), fault.into_inner().to_string());
        // The text was made from the configuration file: a line and column in it tell nobody anything.
        let fault = fault.split(" at line ").next().unwrap_or_default();
        if path == "." { fault.to_string() } else { format!("`{path}`: {fault}") }
    })?;
    json.end().map_err(|_| "more than one JSON value".to_string())?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::settings;
    use serde::Deserialize;

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        rules: Vec<Inner>,
    }

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        path: String,
    }

    #[test]
    fn a_fault_names_its_key_without_a_place_in_the_text() {
        let fault = settings::<Outer>(r#"{"rules": [{"path": "/"}, {"path": 7}]}"#).expect_err("a number");
        assert_eq!(fault, "`rules[1].path`: invalid type: integer `7`, expected a string");
        let fault = settings::<Outer>(r#"{"rules": [{"paht": "/"}]}"#).expect_err("a misspelt key");
        assert_eq!(fault, "`rules[0].paht`: unknown field `paht`, expected `path`");
        assert_eq!(settings::<Outer>("{}").expect_err("a missing key"), "missing field `rules`");
        assert_eq!(settings::<Outer>(r#"{"rules": []} 1"#).expect_err("two values"), "more than one JSON value");
        assert!(settings::<Outer>("").is_err());
    }
}
