//! Validation by JSON Schema 2020-12: JSON bodies and query parameters, by method and path.

mod json;
mod query;
#[cfg(target_arch = "wasm32")]
mod random;
mod rules;
mod schema;
mod settings;
mod violations;

use gatewright_plugin::{Refusal, Request, Slot, Validation, inputs, settings, verdicts};
use rules::{Body, Rules};
use settings::{OtherBodies, Settings};

/// `application/json` and what is written in it (RFC 6839).
const MEDIA_TYPES: [&str; 2] = ["application/json", "application/*+json"];

/// The plugin, configured.
struct JsonSchema {
    rules: Rules,
    path: Slot,
    /// Only where a rule asks.
    method: Option<Slot>,
    /// Only where a rule asks.
    query: Option<Slot>,
    /// Only where bodies may pass unseen.
    content_type: Option<Slot>,
}

gatewright_plugin::validation!(JsonSchema);

impl Validation for JsonSchema {
    fn configure(text: &str) -> Result<Self, String> {
        let settings: Settings = settings(text)?;
        let (most_bytes, other_bodies) = (settings.most_bytes, settings.other_bodies);
        let rules = Rules::new(settings)?;
        let mut content_type = None;
        if rules.need_body() {
            inputs::body(most_bytes, &MEDIA_TYPES.map(String::from));
            if other_bodies == OtherBodies::Pass {
                inputs::pass_other_bodies();
                content_type = Some(inputs::header("content-type"));
            }
        }
        // What saw a body is not remembered all the same.
        verdicts::remember(u32::MAX);
        Ok(Self {
            path: inputs::path(),
            method: rules.need_method().then(inputs::method),
            query: rules.need_query().then(inputs::query),
            content_type,
            rules,
        })
    }

    fn check(&self, request: &Request) -> Result<(), Refusal> {
        let part = |slot: Option<Slot>| slot.and_then(|slot| request.value(slot));
        let body = match request.body.as_deref() {
            Some([]) => Body::Absent,
            Some(bytes) => Body::Json(bytes),
            None if part(self.content_type).is_some() => Body::Unseen,
            None => Body::Absent,
        };
        let path = request.value(self.path).unwrap_or_default();
        self.rules.check(part(self.method).unwrap_or_default(), path, part(self.query).unwrap_or_default(), body)
    }
}
