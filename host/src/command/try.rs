//! One request, one plugin: what would it say?

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::StatusCode;

use super::report::{Report, bytes, time};
use super::trial::{Asked, Trial};
use super::{Loaded, PluginFile, configuration, print, read_request, show_log};
use crate::config::{self, Config, Isolation, OnFailure};
use crate::gateway::bounds;
use crate::plugin::verdict::Grant;
use crate::plugin::{Stage, UseName};
use crate::refusal::Refusal;
use crate::request::RequestText;

/// What `gatewright try` is given.
#[derive(Debug, clap::Args)]
pub struct Try {
    #[command(flatten)]
    plugin: PluginFile,
    /// The configuration, in TOML.
    #[arg(short, long, value_name = "FILE", default_value = "gateway.toml")]
    config: PathBuf,
    /// The request, as the text of HTTP/1.1: `GET /orders HTTP/1.1`, a line for each header field, an empty line, the body.
    /// What is missing of empty line and `content-length` is added. `-`: standard input.
    #[arg(short, long, value_name = "FILE")]
    request: PathBuf,
    /// The API, where several use the plugin.
    #[arg(long, value_name = "NAME")]
    api: Option<String>,
    /// The stage, where the plugin is used in several: `auth`, `validation` or `routing`.
    #[arg(long, value_name = "STAGE", value_parser = stage)]
    stage: Option<Stage>,
    /// The place among the API's plugins of this stage, counted from 0, where the plugin has several.
    #[arg(long, value_name = "N")]
    index: Option<usize>,
    /// The address that the request comes from.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    client: IpAddr,
    #[command(flatten)]
    caller: CallerArguments,
    /// How often the plugin is asked. The first verdict is shown, and the time of a call when it is warm.
    #[arg(long, value_name = "N", default_value = "1")]
    times: NonZeroU32,
}

/// Who is calling, as an auth plugin would have said to later stages.
#[derive(Debug, clap::Args)]
struct CallerArguments {
    /// Who is calling, for later stages than auth. Default: an anonymous caller.
    #[arg(long, value_name = "SUBJECT")]
    caller: Option<String>,
    /// The caller's plan.
    #[arg(long, value_name = "PLAN", requires = "caller")]
    plan: Option<String>,
    /// A scope of the caller; may be given several times.
    #[arg(long, value_name = "SCOPE", requires = "caller")]
    scope: Vec<String>,
    /// An attribute of the caller; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", requires = "caller", value_parser = attribute)]
    attribute: Vec<(String, String)>,
}

fn stage(text: &str) -> Result<Stage, String> {
    let found = Stage::ALL.into_iter().find(|stage| stage.name() == text);
    found.ok_or_else(|| "not `auth`, `validation` or `routing`".to_owned())
}

fn attribute(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').ok_or_else(|| "not NAME=VALUE".to_owned())?;
    Ok((parts.0.to_owned(), parts.1.to_owned()))
}

impl CallerArguments {
    fn caller(&self, stage: Stage, config: &Config) -> anyhow::Result<Option<Grant>> {
        let Some(subject) = &self.caller else { return Ok(None) };
        if stage == Stage::Auth {
            bail!("an auth plugin is asked before anybody knows the caller: `--caller` is for the other stages");
        }
        if let Some(plan) = self.plan.as_deref().filter(|plan| !config.plans.contains(*plan)) {
            bail!("plan {plan:?} is not in the configuration's `plans`");
        }
        Ok(Some(Grant::new(subject, self.plan.as_deref(), &self.scope.join(" "), &self.attribute)))
    }
}

/// What came of a trial.
#[derive(Clone, Copy)]
enum End {
    /// The request may go on, or a routing plugin answers it.
    Accepted = 0,
    /// It may not.
    Refused = 1,
    /// There is no verdict.
    Failed = 2,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        Self::from(end as u8)
    }
}

impl Try {
    /// Asks the plugin, and prints its verdict. The exit status is 0 where the request is accepted, 1 where it is refused,
    /// and 2 where there is no verdict.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        show_log();
        let mut report = Report::default();
        let end = self.report(&mut report).unwrap_or_else(|fault| {
            eprintln!("{fault:#}");
            End::Failed
        });
        print(&report);
        end.into()
    }

    fn report(&self, report: &mut Report) -> anyhow::Result<End> {
        let config = configuration(&self.config)?;
        let request = self.request.display().to_string();
        let text = read_request(&self.request).with_context(|| request.clone())?;
        let text = RequestText::new(&text).with_context(|| request.clone())?;
        let loaded = Loaded::load(&self.plugin, Some(&config))?;
        let (name, used) = self.choose(&loaded, &config)?;
        let caller = self.caller.caller(name.stage, &config)?;
        // Whatever the gateway makes of them: a failure and the instance after the call are to be seen, and each call made.
        let closed = config::Use { on_failure: OnFailure::Closed, ..used.clone() };
        let allowed = loaded.allowed(&config);
        let allowed = config::Plugin { isolation: Isolation::Reused, remember: Duration::ZERO, ..allowed };
        let ready = loaded.prepare(&config, name, &closed, &allowed).with_context(|| self.plugin.to_string())?;
        let took = ready.took;

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (asked, calls, memory) = runtime.block_on(async {
            let trial = Trial::new(&config, ready, self.client, caller);
            let (asked, calls) = self.ask(&trial, &text, &config).await.with_context(|| request.clone())?;
            anyhow::Ok((asked, calls, trial.memory_bytes()))
        })?;
        let end = self.verdict(asked, used, report);
        report.row("time", times(&calls, took));
        if let Some(memory) = memory {
            report.row("memory", format!("{} of {}", bytes(memory), bytes(allowed.memory_bytes)));
        }
        Ok(end)
    }

    /// The one use that is meant.
    fn choose<'a>(&self, loaded: &'a Loaded, config: &'a Config) -> anyhow::Result<(UseName, &'a config::Use)> {
        let plugin = &loaded.version.name;
        let meant = |name: &UseName| {
            self.api.as_ref().is_none_or(|api| **api == *name.api)
                && self.stage.is_none_or(|stage| stage == name.stage)
                && self.index.is_none_or(|index| index == name.index)
        };
        let all: Vec<_> = loaded.uses(config).collect();
        let mut chosen = all.iter().filter(|(name, _)| meant(name));
        match (chosen.next(), chosen.next()) {
            (Some(only), None) => Ok(only.clone()),
            _ if all.is_empty() => {
                bail!("{}: no API uses `{plugin}`; `--plugin` says what it is called there", self.config.display())
            }
            (found, _) => {
                let names: Vec<String> = all.iter().map(|(name, _)| name.to_string()).collect();
                let what = if found.is_some() { "several uses of" } else { "no such use of" };
                let names = names.join(", ");
                bail!("{what} `{plugin}`; choose by `--api`, `--stage` and `--index` from: {names}")
            }
        }
    }

    /// The first answer, and the time of each call.
    async fn ask(
        &self,
        trial: &Trial<'_>,
        text: &RequestText,
        config: &Config,
    ) -> anyhow::Result<(Asked, Vec<Duration>)> {
        let once = async || text.send(&bounds(&config.server), async |request| trial.ask(request).await).await;
        let first = once().await?;
        let mut calls: Vec<Duration> = first.call.into_iter().collect();
        for _ in 1..self.times.get() {
            let next = once().await?;
            // A plugin that fails is asked no more: a new instance would say nothing of a warm one.
            if matches!(next.verdict, Err(Refusal::Failed(..))) {
                break;
            }
            calls.extend(next.call);
        }
        Ok((first, calls))
    }

    /// Writes down what the plugin, or the gateway in its place, said.
    fn verdict(&self, asked: Asked, used: &config::Use, report: &mut Report) -> End {
        let mut headline = |what: &str| report.line(&format!("{} as {}: {what}", self.plugin, asked.name));
        let refusal = match asked.verdict {
            Ok(accepted) => {
                headline("accepted");
                report.append(&accepted);
                return End::Accepted;
            }
            Err(refusal) => refusal,
        };
        let open = used.on_failure == OnFailure::Open;
        match &refusal {
            Refusal::Failed(_, failure) => {
                headline("failed");
                report.row("failure", failure.to_string());
                match open {
                    true => report.row("answer", "none: the request goes on, because of `on_failure = \"open\"`"),
                    false => report.row("answer", answer(refusal)),
                }
                return End::Failed;
            }
            Refusal::Rejected(..) => headline("refused"),
            Refusal::NoCredential(_) => {
                headline("refused");
                report.row("reason", "no credential of this plugin's kind, and anonymous callers may not pass");
            }
            other => {
                headline("refused before it was asked");
                report.row("reason", other.reason().unwrap_or_default());
            }
        }
        report.row("answer", answer(refusal));
        End::Refused
    }
}

/// What a client would get.
fn answer(refusal: Refusal) -> String {
    let id = http::HeaderValue::from_static("trial");
    let response = refusal.answer(&id);
    let shown = response.headers().iter().filter(|(name, _)| *name != crate::forward::headers::REQUEST_ID);
    message(response.status(), shown, response.body())
}

/// A response as text, its JSON over several lines.
pub(super) fn message<'a>(
    status: StatusCode,
    fields: impl Iterator<Item = (&'a http::HeaderName, &'a http::HeaderValue)>,
    body: &[u8],
) -> String {
    let mut lines = vec![status.to_string()];
    lines.extend(fields.map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))));
    match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(mut json) => {
            if let Some(problem) = json.as_object_mut() {
                problem.retain(|key, value| key != "request_id" || value != "trial");
            }
            lines.push(format!("{json:#}"));
        }
        Err(_) => lines.push(String::from_utf8_lossy(body).into_owned()),
    }
    lines.join("\n")
}

fn times(calls: &[Duration], configured: Duration) -> String {
    let configured = format!("{} to start and configure", time(configured));
    match calls {
        [] => configured,
        [only] => format!("{} for the call, {configured}", time(*only)),
        [first, later @ ..] => {
            let mut later = later.to_vec();
            later.sort_unstable();
            let median = later.get(later.len() / 2).copied().unwrap_or_default();
            let (first, median, count) = (time(*first), time(median), later.len());
            format!("{first} for the first call, {median} for a later one (median of {count}), {configured}")
        }
    }
}
