//! What is to be live: one configuration with the uses of its plugins, built off the path and handed to every worker.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::api::{Api, Apis};
use crate::auth::Auth;
use crate::balance::ServiceMap;
use crate::config::{self, Config};
use crate::cors::Cors;
use crate::forward::headers::Stripped;
use crate::forward::{Pools, Service, Warming};
use crate::gateway::{Gateway, bounds};
use crate::keys::KeySets;
use crate::limit::{FailedAuth, Limits, Tables};
use crate::log::{AccessLog, Tally};
use crate::metrics::Metrics;
use crate::plugin::{Engine, Instance, Local, Pool, Slot, Stage, Use, UseFault, UseName, Version};
use crate::request::Budget;
use crate::route::Routing;
use crate::tls::Outwards;
use crate::validate::Validation;

/// Uses by name, and the new instances of each, one per worker; none of those that are offloaded.
#[derive(Default)]
pub(super) struct Prepared {
    pub(super) uses: BTreeMap<UseName, Arc<Use>>,
    pub(super) instances: BTreeMap<UseName, Vec<Instance>>,
}

/// A plugin that cannot serve a configuration.
#[derive(Debug)]
pub(super) struct PlanFault {
    pub(super) plugin: Arc<str>,
    pub(super) fault: UseFault,
}

/// What uses are prepared from.
pub(super) struct Ground {
    pub(super) engine: Arc<Engine>,
    pub(super) keys: Arc<KeySets>,
    pub(super) workers: usize,
    pub(super) pool: Arc<Pool>,
    /// Uses that are live: one that would be the same is kept.
    pub(super) live: BTreeMap<UseName, Arc<Use>>,
}

/// The versions of the plugins that a configuration names, as far as `choose` has one.
pub(super) fn versions(
    config: &Config,
    choose: impl Fn(&str) -> Option<Arc<Version>>,
) -> BTreeMap<Arc<str>, Arc<Version>> {
    uses(config).filter_map(|(_, used)| Some((Arc::clone(&used.plugin), choose(&used.plugin)?))).collect()
}

impl Ground {
    /// Prepares every use of a configuration whose plugin is among these versions; the others are missing. On a thread beside
    /// the caller's: `configure` may take its time, and whoever looks after endpoints and operators goes on meanwhile.
    pub(super) async fn prepare(
        self,
        config: &Arc<Config>,
        versions: BTreeMap<Arc<str>, Arc<Version>>,
    ) -> Result<Prepared, PlanFault> {
        let config = Arc::clone(config);
        let prepared = tokio::task::spawn_blocking(move || self.prepare_here(&config, &versions)).await;
        prepared.unwrap_or_else(|fault| std::panic::resume_unwind(fault.into_panic()))
    }

    fn prepare_here(
        &self,
        config: &Config,
        versions: &BTreeMap<Arc<str>, Arc<Version>>,
    ) -> Result<Prepared, PlanFault> {
        let mut prepared = Prepared::default();
        for (name, used) in uses(config) {
            let Some(version) = versions.get(&used.plugin) else { continue };
            let host = config.plugin.get(&used.plugin).cloned().unwrap_or_default();
            let keys: BTreeMap<_, _> =
                host.keys.iter().filter_map(|key| Some((Arc::clone(key), Arc::clone(self.keys.get(key)?)))).collect();
            if let Some(kept) = self.live.get(&name).filter(|live| live.is_same(version, used, &host, &keys)) {
                prepared.uses.insert(name, Arc::clone(kept));
                continue;
            }
            let offloaded = host.placement == config::Placement::Offload;
            let count = if offloaded { self.pool.most_threads() } else { self.workers };
            let made = Use::prepare(&self.engine, version, name.clone(), used, &host, Arc::new(keys), count);
            let (made, instances) = made.map_err(|fault| PlanFault { plugin: Arc::clone(&used.plugin), fault })?;
            if offloaded {
                made.place(&self.pool, instances);
                prepared.uses.insert(name, made);
                continue;
            }
            prepared.uses.insert(name.clone(), made);
            prepared.instances.insert(name, instances);
        }
        Ok(prepared)
    }
}

/// Every use that a configuration names.
pub(crate) fn uses(config: &Config) -> impl Iterator<Item = (UseName, &config::Use)> {
    config.apis.iter().flat_map(|api| {
        let name = |stage, index| UseName { api: Arc::clone(&api.name), stage, index };
        let auth = api.auth.iter().enumerate().map(move |(index, used)| (name(Stage::Auth, index), used));
        let name = |stage, index| UseName { api: Arc::clone(&api.name), stage, index };
        let validation =
            api.validation.iter().enumerate().map(move |(index, used)| (name(Stage::Validation, index), used));
        let routing = match &api.routing {
            config::Routing::Plugin(used) => Some((name(Stage::Routing, 0), used)),
            config::Routing::Service(_) => None,
        };
        auth.chain(validation).chain(routing)
    })
}

/// One immutable value that all workers share: everything the path needs.
pub(super) struct Plan {
    pub(super) config: Arc<Config>,
    pub(super) uses: BTreeMap<UseName, Arc<Use>>,
    pub(super) services: ServiceMap,
    pub(super) limits: HashMap<Arc<str>, Arc<Limits>>,
    pub(super) failed: Option<Arc<FailedAuth>>,
    /// Bytes of bodies that are held, over all workers and reloads.
    pub(super) held: Arc<AtomicUsize>,
    pub(super) outwards: Arc<Outwards>,
}

impl Plan {
    /// Of a configuration with the uses and services that were prepared for it; `tables` keeps the counters of limits.
    pub(super) fn new(
        config: Arc<Config>,
        uses: BTreeMap<UseName, Arc<Use>>,
        services: ServiceMap,
        tables: &Tables,
        (held, outwards): (Arc<AtomicUsize>, Arc<Outwards>),
    ) -> Self {
        let limits = |api: &config::Api| (Arc::clone(&api.name), Arc::new(Limits::new(&api.limits, tables)));
        let limits = config.apis.iter().map(limits).collect();
        let failed = config.server.failed_auth.map(|rate| Arc::new(FailedAuth::new(rate, tables)));
        Self { config, uses, services, limits, failed, held, outwards }
    }
}

/// What a worker keeps from one plan to the next.
pub(super) struct Site {
    pub(super) index: usize,
    pub(super) metrics: Arc<Metrics>,
    pub(super) pools: Rc<Pools>,
    locals: HashMap<UseName, Rc<Local>>,
    warming: Vec<Warming>,
    log: Option<(config::Log, Rc<AccessLog>)>,
}

impl Site {
    pub(super) fn new(index: usize, metrics: Arc<Metrics>) -> Self {
        Self { index, metrics, pools: Rc::default(), locals: HashMap::new(), warming: Vec::new(), log: None }
    }

    /// Builds this worker's gateway. Uses that stayed the same keep their instance.
    pub(super) fn build(&mut self, plan: &Plan, mut instances: HashMap<UseName, Instance>) -> Gateway {
        let locals: HashMap<UseName, Rc<Local>> = plan
            .uses
            .iter()
            .map(|(name, shared)| {
                let kept = self.locals.get(name).filter(|local| Arc::ptr_eq(&local.shared, shared)).cloned();
                let local =
                    kept.unwrap_or_else(|| Rc::new(Local::new(Arc::clone(shared), instances.remove(name), self.index)));
                (name.clone(), local)
            })
            .collect();
        self.locals = locals;
        let services: HashMap<Arc<str>, Rc<Service>> = plan
            .services
            .iter()
            .map(|(name, shared)| {
                let random = self.index as u64 + 1;
                let tls = plan.outwards.of(name);
                (Arc::clone(name), Rc::new(Service::new(Arc::clone(shared), Rc::clone(&self.pools), random, tls)))
            })
            .collect();
        let services_and_tls = plan.services.iter().map(|(name, shared)| (shared, plan.outwards.of(name)));
        self.warming = services_and_tls.filter_map(|(shared, tls)| Warming::start(shared, &self.pools, tls)).collect();
        let plans = Arc::new(plan.config.plans.clone());
        let apis = plan.config.apis.iter().filter_map(|settings| {
            let api = self.api(plan, settings, &services, &plans)?;
            Some((Rc::new(api), settings.clone()))
        });
        let apis = Apis::new(apis.collect::<Vec<_>>());
        let server = &plan.config.server;
        Gateway {
            apis,
            bounds: bounds(server),
            trusted: server.trusted.clone(),
            trace: server.trace,
            body_pace: (server.body_timeout, server.body_rate),
            budget: Budget::new(Arc::clone(&plan.held), server.buffer_bytes),
            log: self.log(&plan.config.log),
            nowhere: self.tally(&"".into()),
        }
    }

    fn tally(&self, api: &Arc<str>) -> Rc<Tally> {
        Rc::new(Tally { name: Arc::clone(api), series: self.metrics.series(api, self.index) })
    }

    fn log(&mut self, settings: &config::Log) -> Rc<AccessLog> {
        if let Some((known, log)) = self.log.as_ref().filter(|(known, _)| known == settings) {
            let _ = known;
            return Rc::clone(log);
        }
        let log = Rc::new(AccessLog::new(settings));
        self.log = Some((settings.clone(), Rc::clone(&log)));
        log
    }

    fn api(
        &self,
        plan: &Plan,
        settings: &config::Api,
        services: &HashMap<Arc<str>, Rc<Service>>,
        plans: &Arc<std::collections::BTreeSet<Arc<str>>>,
    ) -> Option<Api> {
        let slot = |stage, index, used: &config::Use| {
            let name = UseName { api: Arc::clone(&settings.name), stage, index };
            match self.locals.get(&name) {
                Some(local) => Slot::Live(Rc::clone(local)),
                None => Slot::Missing(Arc::clone(&used.plugin)),
            }
        };
        let slots = |stage, uses: &[config::Use]| {
            uses.iter().enumerate().map(|(index, used)| slot(stage, index, used)).collect::<Vec<_>>()
        };
        let auth = slots(Stage::Auth, &settings.auth);
        let identity: Vec<String> = auth
            .iter()
            .filter_map(Slot::declaration)
            .flat_map(|declaration| declaration.identity.iter().map(|name| name.as_str().to_owned()))
            .collect();
        let routing = match &settings.routing {
            config::Routing::Service(name) => Routing::Fixed(Rc::clone(services.get(name)?)),
            config::Routing::Plugin(used) => {
                let may = settings.services.iter();
                let may = may.filter_map(|name| Some((Arc::clone(name), Rc::clone(services.get(name)?))));
                Routing::Plugin(slot(Stage::Routing, 0, used), may.collect())
            }
        };
        Some(Api {
            tally: self.tally(&settings.name),
            auth: Auth::new(auth, settings.anonymous, Arc::clone(plans), plan.failed.clone()),
            limits: Arc::clone(plan.limits.get(&settings.name)?),
            validation: Validation::new(slots(Stage::Validation, &settings.validation)),
            routing,
            repeatable: settings.repeatable,
            body_bytes: settings.body_bytes.unwrap_or(u64::MAX),
            request_timeout: settings.request_timeout,
            stripped: Rc::new(Stripped::new(identity)),
            cors: settings.cors.as_ref().map(|cors| Rc::new(Cors::new(cors))),
        })
    }
}
