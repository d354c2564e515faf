//! JSON Schemas, compiled.

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Number, Value};

/// The most bytes that one compiled pattern may take: an operator's slip must not eat the instance's memory.
const MOST_PATTERN_BYTES: usize = 1 << 20;

/// Of a longer body only the first fault is told. To find all takes 0.4 ms for each KiB with a schema such as `oneOf` for the
/// items of a long array, where nothing fits: a client must not be able to use up the time of a call.
const MOST_BYTES_FOR_ALL_FAULTS: usize = 8 * 1024;

/// One schema, ready to check values.
pub struct Schema {
    validator: Validator,
    types: Types,
}

/// What a text may be read as, by the schema's own `type`.
#[derive(Clone, Copy, Default)]
struct Types {
    integer: bool,
    number: bool,
    boolean: bool,
}

impl Schema {
    /// Compiles a schema: a JSON value, or a text that holds one, which reads better in TOML. Patterns are matched in linear
    /// time, hence without look-around and back-references. Nothing is fetched.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(schema: &Value, formats: bool) -> Result<Self, String> {
        let parsed: Value;
        let schema = match schema {
            Value::String(text) => {
                parsed = serde_json::from_str(text).map_err(|fault| format!("not JSON: {fault}"))?;
                &parsed
            }
            schema => schema,
        };
        let patterns = PatternOptions::regex().size_limit(MOST_PATTERN_BYTES).dfa_size_limit(MOST_PATTERN_BYTES);
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(formats)
            .should_ignore_unknown_formats(false)
            .with_pattern_options(patterns)
            .build(schema)
            .map_err(|fault| match fault.instance_path().as_str() {
                "" => fault.to_string(),
                at => format!("at {at}: {fault}"),
            })?;
        Ok(Self { validator, types: Types::of(schema) })
    }

    /// Finds the faults of a value that was `length` bytes of text, and tells `fault` of each where it is and what. They name
    /// no value, which may be a secret or long.
    pub fn check(&self, value: &Value, length: usize, mut fault: impl FnMut(&str, &str)) {
        // Twice as fast as `validate`, which keeps track of where it is.
        if self.validator.is_valid(value) {
            return;
        }
        let mut tell = |found: &ValidationError<'_>| fault(found.instance_path().as_str(), &found.masked().to_string());
        if length <= MOST_BYTES_FOR_ALL_FAULTS {
            self.validator.iter_errors(value).for_each(|found| tell(&found));
        } else if let Err(first) = self.validator.validate(value) {
            tell(&first);
        }
    }

    /// A text as what the schema asks for; a text where it is none of that.
    pub fn coerce(&self, text: &str) -> Value {
        let types = self.types;
        if types.boolean && matches!(text, "true" | "false") {
            return Value::Bool(text == "true");
        }
        let number = || {
            // serde_json would skip white space around it.
            let written = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
            serde_json::from_str::<Number>(text).ok().filter(|_| written)
        };
        match number() {
            Some(number) if types.number || (types.integer && !number.is_f64()) => Value::Number(number),
            _ => Value::String(text.to_string()),
        }
    }
}

impl Types {
    fn of(schema: &Value) -> Self {
        let mut types = Self::default();
        let mut take = |name: &Value| match name.as_str() {
            Some("integer") => types.integer = true,
            Some("number") => types.number = true,
            Some("boolean") => types.boolean = true,
            _ => {}
        };
        match schema.get("type") {
            Some(Value::Array(names)) => names.iter().for_each(take),
            Some(name) => take(name),
            None => {}
        }
        types
    }
}

#[cfg(test)]
mod tests;
