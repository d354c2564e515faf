//! What the host offers a plugin, and what it notes down while one runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::{HeaderName, HeaderValue};
use wasmtime::{Result, bail, format_err};

use super::allowance::Allowance;
use super::bounds::{Lines, MOST_LINE_BYTES, Memory, cut};
use super::v0_1::bindings::gatewright::policy::{clock, identity, inputs, jwt, log, random, types, verdicts};
use super::{BodyInput, Declaration, Failure, Input, Stage};
use crate::forward::headers;
use crate::keys;

/// More slots than any policy needs; a bound on what one request can cost.
const MOST_INPUTS: usize = 64;
/// Challenges and identity fields that one plugin may declare.
const MOST_DECLARED: usize = 64;
/// Verifiers that one instance may prepare.
const MOST_VERIFIERS: usize = 64;

/// The key sets that a plugin was granted, by name.
pub(super) type GrantedKeys = Arc<BTreeMap<Arc<str>, Arc<keys::KeySet>>>;

/// What belongs to one instance: the data of its Store.
pub(super) struct State {
    pub(super) plugin: Arc<str>,
    pub(super) api: Arc<str>,
    stage: Stage,
    phase: Phase,
    declaration: Declaration,
    keys: GrantedKeys,
    verifiers: Vec<(Arc<keys::KeySet>, keys::Verifier)>,
    pub(super) trace: Trace,
    pub(super) memory: Memory,
    pub(super) allowance: Allowance,
    /// The id of the request that it was asked about last; none: it was only configured so far.
    pub(super) request: Option<HeaderValue>,
    lines: Lines,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Configuring,
    Serving,
}

/// What the running call did that bears on whether its verdict may be remembered.
#[derive(Default, Clone, Copy, Debug)]
pub(super) struct Trace {
    /// `clock.now` or WASI's clocks were read.
    pub(super) saw_clock: bool,
    /// Randomness was drawn.
    pub(super) saw_random: bool,
    /// Something else makes the verdict good for this once only (key sets without keys).
    pub(super) passing: bool,
    /// `verdicts.remember` in the call, in milliseconds.
    pub(super) remember_ms: Option<u32>,
    /// When `clock.passed` or `jwt` would answer otherwise, in milliseconds since 1970.
    pub(super) until_ms: Option<f64>,
}

impl Trace {
    fn ends(&mut self, moment_ms: f64) {
        self.until_ms = Some(self.until_ms.map_or(moment_ms, |until| until.min(moment_ms)));
    }
}

impl State {
    pub(super) fn new(
        plugin: Arc<str>,
        api: Arc<str>,
        stage: Stage,
        keys: GrantedKeys,
        memory: Memory,
        allowance: Allowance,
    ) -> Self {
        Self {
            plugin,
            api,
            stage,
            phase: Phase::Configuring,
            declaration: Declaration::default(),
            keys,
            verifiers: Vec::new(),
            trace: Trace::default(),
            memory,
            allowance,
            request: None,
            lines: Lines::new(Instant::now()),
        }
    }

    /// Ends `configure`: from now on declarations trap.
    pub(super) fn serve(&mut self) -> Declaration {
        self.phase = Phase::Serving;
        self.declaration.clone()
    }

    pub(super) fn declared(&self) -> &Declaration {
        &self.declaration
    }

    /// Whether a slot holds a credential that a grant may conceal.
    pub(super) fn may_conceal(&self, slot: u32) -> Result<(), Failure> {
        match self.declaration.inputs.get(slot as usize) {
            Some(Input::Header(_) | Input::Cookie(_) | Input::QueryParameter(_)) => Ok(()),
            Some(_) => Err(Failure::answer(format!("slot {slot} holds nothing that can be concealed"))),
            None => Err(Failure::answer(format!("there is no slot {slot}"))),
        }
    }

    fn configuring(&self, what: &str) -> Result<()> {
        match self.phase {
            Phase::Configuring => Ok(()),
            Phase::Serving => bail!("{what} outside of `configure`"),
        }
    }

    fn declare(&mut self, input: Input) -> Result<u32> {
        self.configuring("an input was declared")?;
        let inputs = &mut self.declaration.inputs;
        let slot = match inputs.iter().position(|known| *known == input) {
            Some(slot) => slot,
            None if inputs.len() < MOST_INPUTS => {
                inputs.push(input);
                inputs.len() - 1
            }
            None => bail!("more than {MOST_INPUTS} inputs"),
        };
        Ok(u32::try_from(slot).unwrap_or(u32::MAX))
    }

    fn declare_after_auth(&mut self, input: Input) -> Result<u32> {
        if self.stage == Stage::Auth {
            bail!("an auth plugin cannot depend on the caller");
        }
        self.declare(input)
    }

    pub(super) fn write(&mut self, level: tracing::Level, message: &str) {
        if !self.lines.admit(Instant::now()) {
            return;
        }
        let message = cut(message, MOST_LINE_BYTES);
        let (plugin, api, stage) = (&*self.plugin, &*self.api, self.stage.name());
        let request = self.request.as_ref().and_then(|id| id.to_str().ok());
        match level {
            tracing::Level::ERROR => tracing::error!(target: "plugin", plugin, api, stage, request, message),
            tracing::Level::WARN => tracing::warn!(target: "plugin", plugin, api, stage, request, message),
            tracing::Level::INFO => tracing::info!(target: "plugin", plugin, api, stage, request, message),
            _ => tracing::debug!(target: "plugin", plugin, api, stage, request, message),
        }
    }
}

impl AsMut<Allowance> for State {
    fn as_mut(&mut self) -> &mut Allowance {
        &mut self.allowance
    }
}

impl types::Host for State {}

impl inputs::Host for State {
    fn method(&mut self) -> Result<u32> {
        self.declare(Input::Method)
    }
    fn scheme(&mut self) -> Result<u32> {
        self.declare(Input::Scheme)
    }
    fn authority(&mut self) -> Result<u32> {
        self.declare(Input::Authority)
    }
    fn path(&mut self) -> Result<u32> {
        self.declare(Input::Path)
    }
    fn query(&mut self) -> Result<u32> {
        self.declare(Input::Query)
    }
    fn query_parameter(&mut self, name: String) -> Result<u32> {
        self.declare(Input::QueryParameter(name))
    }
    fn header(&mut self, name: String) -> Result<u32> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format_err!("{name:?} is no field name"))?;
        self.declare(Input::Header(name))
    }
    fn cookie(&mut self, name: String) -> Result<u32> {
        self.declare(Input::Cookie(name))
    }
    fn client_address(&mut self) -> Result<u32> {
        self.declare(Input::ClientAddress)
    }
    fn client_certificate_subject(&mut self) -> Result<u32> {
        self.declare(Input::ClientCertificateSubject)
    }
    fn client_certificate_fingerprint(&mut self) -> Result<u32> {
        self.declare(Input::ClientCertificateFingerprint)
    }
    fn caller_subject(&mut self) -> Result<u32> {
        self.declare_after_auth(Input::CallerSubject)
    }
    fn caller_plan(&mut self) -> Result<u32> {
        self.declare_after_auth(Input::CallerPlan)
    }
    fn caller_scopes(&mut self) -> Result<u32> {
        self.declare_after_auth(Input::CallerScopes)
    }
    fn caller_attribute(&mut self, name: String) -> Result<u32> {
        self.declare_after_auth(Input::CallerAttribute(name))
    }
    fn body(&mut self, most_bytes: u32, media_types: Vec<String>) -> Result<()> {
        self.configuring("a body was declared")?;
        let media_types = media_types.into_iter().map(|kind| kind.to_ascii_lowercase()).collect();
        let pass_others = self.declaration.body.as_ref().is_some_and(|body| body.pass_others);
        self.declaration.body = Some(BodyInput { most_bytes: most_bytes as usize, media_types, pass_others });
        Ok(())
    }
    fn pass_other_bodies(&mut self) -> Result<()> {
        self.configuring("`pass-other-bodies`")?;
        match &mut self.declaration.body {
            Some(body) => body.pass_others = true,
            None => bail!("`pass-other-bodies` before `body`"),
        }
        Ok(())
    }
    fn all_headers(&mut self) -> Result<()> {
        self.configuring("`all-headers`")?;
        self.declaration.all_headers = true;
        Ok(())
    }
}

impl identity::Host for State {
    fn header(&mut self, name: String) -> Result<()> {
        self.configuring("an identity field was declared")?;
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format_err!("{name:?} is no field name"))?;
        if !headers::may_edit(headers::Way::ToService, &parsed, &headers::Stripped::default()) {
            bail!("field {parsed} cannot carry an identity");
        }
        let identity = &mut self.declaration.identity;
        if identity.len() >= MOST_DECLARED {
            bail!("more than {MOST_DECLARED} identity fields");
        }
        if !identity.contains(&parsed) {
            identity.push(parsed);
        }
        Ok(())
    }
    fn challenge(&mut self, challenge: String) -> Result<()> {
        self.configuring("a challenge was declared")?;
        if HeaderValue::from_str(&challenge).is_err() || challenge.is_empty() {
            bail!("challenge {challenge:?} is no field value");
        }
        if self.declaration.challenges.len() >= MOST_DECLARED {
            bail!("more than {MOST_DECLARED} challenges");
        }
        self.declaration.challenges.push(challenge);
        Ok(())
    }
}

impl verdicts::Host for State {
    fn remember(&mut self, most_ms: u32) -> Result<()> {
        let remembered = match self.phase {
            Phase::Configuring => &mut self.declaration.remember_ms,
            Phase::Serving => &mut self.trace.remember_ms,
        };
        *remembered = Some(remembered.map_or(most_ms, |least| least.min(most_ms)));
        Ok(())
    }
}

impl log::Host for State {
    fn error(&mut self, message: String) -> Result<()> {
        self.write(tracing::Level::ERROR, &message);
        Ok(())
    }
    fn warn(&mut self, message: String) -> Result<()> {
        self.write(tracing::Level::WARN, &message);
        Ok(())
    }
    fn info(&mut self, message: String) -> Result<()> {
        self.write(tracing::Level::INFO, &message);
        Ok(())
    }
    fn debug(&mut self, message: String) -> Result<()> {
        self.write(tracing::Level::DEBUG, &message);
        Ok(())
    }
}

/// The wall clock in milliseconds since 1970.
pub(super) fn wall_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64() * 1000.0)
}

impl clock::Host for State {
    fn now(&mut self) -> Result<f64> {
        self.trace.saw_clock = true;
        Ok(wall_ms().floor())
    }
    fn passed(&mut self, moment: f64) -> Result<bool> {
        let passed = wall_ms() >= moment;
        if !passed {
            self.trace.ends(moment);
        }
        Ok(passed)
    }
}

impl random::Host for State {
    fn number(&mut self) -> Result<u32> {
        self.trace.saw_random = true;
        let mut bytes = [0; 4];
        fill_random(&mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }
}

/// Randomness that is fit for secrets.
pub(super) fn fill_random(bytes: &mut [u8]) -> Result<()> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| format_err!("no randomness"))
}

impl jwt::Host for State {
    fn prepare(&mut self, rules: jwt::Rules) -> Result<u32> {
        self.configuring("a verifier was prepared")?;
        let set = self.keys.get(rules.keys.as_str()).ok_or_else(|| {
            format_err!("key set {:?} is not granted to this plugin (`plugin.{}.keys`)", rules.keys, self.plugin)
        })?;
        if self.verifiers.len() >= MOST_VERIFIERS {
            bail!("more than {MOST_VERIFIERS} verifiers");
        }
        let rules = keys::Rules {
            issuers: rules.issuers,
            audiences: rules.audiences,
            kind: rules.kind,
            required: rules.required,
            leeway_seconds: rules.leeway_seconds,
            claims: rules.claims,
        };
        let verifier = keys::Verifier::new(rules).map_err(|fault| format_err!("{fault}"))?;
        self.verifiers.push((Arc::clone(set), verifier));
        Ok(u32::try_from(self.verifiers.len() - 1).unwrap_or(u32::MAX))
    }

    fn verify(&mut self, verifier: u32, token: String) -> Result<Result<Vec<Option<String>>, jwt::Failure>> {
        let (set, verifier) =
            self.verifiers.get(verifier as usize).ok_or_else(|| format_err!("there is no verifier {verifier}"))?;
        let verified = verifier.verify(&set.current(), &token, wall_ms() as u64);
        Ok(match verified {
            Ok(verified) => {
                if let Some(until) = verified.until {
                    self.trace.ends(until as f64);
                }
                Ok(verified.claims)
            }
            Err(failure) => {
                if let Some(until) = failure.until() {
                    self.trace.ends(until as f64);
                }
                Err(match failure {
                    keys::Failure::Malformed => jwt::Failure::Malformed,
                    keys::Failure::Untrusted => jwt::Failure::Untrusted,
                    keys::Failure::Expired => jwt::Failure::Expired,
                    keys::Failure::NotYetValid { .. } => jwt::Failure::NotYetValid,
                    keys::Failure::Unacceptable(_) => jwt::Failure::Unacceptable,
                    keys::Failure::KeysUnavailable => {
                        self.trace.passing = true;
                        jwt::Failure::KeysUnavailable
                    }
                })
            }
        })
    }
}
