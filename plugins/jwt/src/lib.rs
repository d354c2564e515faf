//! Auth by bearer tokens: JSON Web Tokens in `Authorization: Bearer …` (RFC 6750), verified natively by the host.
//!
//! A token's claims become the caller and fields for the service; scopes are required by method and path.

mod challenge;
mod claims;
mod credential;
mod scopes;
mod settings;

use challenge::Challenge;
use claims::Claims;
use credential::Credential;
use gatewright_plugin::{Auth, Grant, Refusal, Request, Slot, identity, inputs, jwt, refuse, settings, verdicts};
use scopes::Scopes;
use settings::Settings;

/// The plugin, configured.
struct Jwt {
    authorization: Slot,
    /// Only where a rule asks.
    method: Option<Slot>,
    /// Only where a rule asks.
    path: Option<Slot>,
    verifier: jwt::Verifier,
    claims: Claims,
    scopes: Scopes,
    challenge: Challenge,
    conceal: bool,
}

gatewright_plugin::auth!(Jwt);

impl Auth for Jwt {
    fn configure(text: &str) -> Result<Self, String> {
        let settings: Settings = settings(text)?;
        settings.check()?;
        let claims = Claims::new(&settings);
        let scopes = Scopes::new(settings.scopes, settings.rules);
        let challenge = Challenge::new(settings.realm.as_deref());
        settings.headers.keys().for_each(|name| identity::header(name));
        identity::challenge(challenge.plain());
        verdicts::remember(settings.remember_seconds.saturating_mul(1000));
        Ok(Self {
            authorization: inputs::header("authorization"),
            method: scopes.need_method().then(inputs::method),
            path: scopes.need_path().then(inputs::path),
            verifier: jwt::prepare(&jwt::Rules {
                keys: settings.keys,
                issuers: settings.issuers,
                audiences: settings.audiences,
                kind: settings.kind,
                required: settings.required,
                leeway_seconds: settings.leeway_seconds,
                claims: claims.names().to_vec(),
            }),
            claims,
            scopes,
            challenge,
            conceal: settings.conceal,
        })
    }

    fn identify(&self, request: &Request) -> Result<Option<Grant>, Refusal> {
        let token = match credential::read(request.value(self.authorization)) {
            Credential::None => return Ok(None),
            Credential::Malformed => return Err(self.challenge.invalid_token("malformed")),
            Credential::Token(token) => token,
        };
        let values = jwt::verify(self.verifier, token).map_err(|failure| self.refuse(failure))?;
        let mut grant = self.claims.grant(&values).map_err(|fault| self.challenge.invalid_token(&fault.to_string()))?;
        let part = |slot: Option<Slot>| slot.and_then(|slot| request.value(slot)).unwrap_or_default();
        self.scopes
            .check(&grant.caller.scopes, part(self.method), part(self.path))
            .map_err(|required| self.challenge.insufficient_scope(&required))?;
        if self.conceal {
            grant.conceal.push(self.authorization);
        }
        Ok(Some(grant))
    }
}

impl Jwt {
    fn refuse(&self, failure: jwt::Failure) -> Refusal {
        use jwt::Failure;
        self.challenge.invalid_token(match failure {
            Failure::KeysUnavailable => return refuse(503, "No keys to verify tokens with"),
            Failure::Malformed => "malformed",
            Failure::Untrusted => "signed by none of the keys that are trusted here",
            Failure::Expired => "expired",
            Failure::NotYetValid => "not valid yet",
            Failure::Unacceptable => "of another issuer, audience or type, or without a claim that must be there",
            Failure::Other => "not accepted",
        })
    }
}
