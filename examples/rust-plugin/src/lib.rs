//! Auth by API key: `x-api-key: s3cr3t` is the caller whom the settings name for it.

use gatewright_plugin::{Auth, Grant, Refusal, Request, Slot, identity, inputs, refuse, settings, verdicts};
use std::collections::HashMap;

struct ApiKey {
    key: Slot,
    callers: HashMap<String, String>,
}

gatewright_plugin::auth!(ApiKey);

impl Auth for ApiKey {
    fn configure(text: &str) -> Result<Self, String> {
        identity::challenge("ApiKey");
        verdicts::remember(60_000);
        Ok(Self { key: inputs::header("x-api-key"), callers: settings(text)? })
    }

    fn identify(&self, request: &Request) -> Result<Option<Grant>, Refusal> {
        let Some(key) = request.value(self.key) else { return Ok(None) };
        let caller = self.callers.get(key).ok_or_else(|| refuse(401, "Unknown API key"))?;
        Ok(Some(Grant::to(caller).conceal(self.key)))
    }
}
