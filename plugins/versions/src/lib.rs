//! Routing by path and API version: deprecation and sunset of versions, shares for canaries, rewriting of paths.

mod accept;
mod dates;
mod lifecycle;
mod settings;
mod shares;
mod table;
mod template;
mod version;

use gatewright_plugin::{Decision, Refusal, Request, Routing, Slot, clock, inputs, settings, verdicts};
use settings::{Affinity, Settings};
use table::{Asked, Table};

/// The plugin, configured.
struct Versions {
    table: Table,
    path: Slot,
    /// Only where a route asks.
    method: Option<Slot>,
    /// The field that names the version.
    header: Option<Slot>,
    accept: Option<Slot>,
    /// One for each way in which a route keeps callers on one side.
    affinities: Vec<(Affinity, Slot)>,
}

gatewright_plugin::routing!(Versions);

impl Routing for Versions {
    fn configure(text: &str) -> Result<Self, String> {
        let settings: Settings = settings(text)?;
        let table = Table::new(settings)?;
        verdicts::remember(u32::MAX);
        Ok(Self {
            path: inputs::path(),
            method: table.need_method().then(inputs::method),
            header: table.version_field().map(inputs::header),
            accept: table.need_accept().then(|| inputs::header("accept")),
            affinities: table.affinities().into_iter().map(|affinity| (affinity.clone(), declare(affinity))).collect(),
            table,
        })
    }

    fn route(&self, request: &Request) -> Result<Decision, Refusal> {
        let part = |slot: Option<Slot>| slot.and_then(|slot| request.value(slot));
        let asked = Asked {
            method: part(self.method).unwrap_or_default(),
            path: request.value(self.path).unwrap_or_default(),
            version: part(self.header),
            accept: part(self.accept),
        };
        let affinity = |by: &Affinity| {
            let slot = self.affinities.iter().find(|(affinity, _)| affinity == by).map(|(_, slot)| *slot);
            part(slot).map(String::from)
        };
        self.table.route(asked, affinity, clock::passed).map(Decision::from)
    }
}

fn declare(affinity: &Affinity) -> Slot {
    match affinity {
        Affinity::Caller => inputs::caller_subject(),
        Affinity::Address => inputs::client_address(),
        Affinity::Header(name) => inputs::header(name),
        Affinity::Cookie(name) => inputs::cookie(name),
    }
}
