//! What becomes of an endpoint, and how one sees that it has.

use gatewright_tests::{Program, until};
use rustix::process::Signal;
use serde_json::Value;

use super::endpoints::Endpoints;
use super::load::{self, Load, Timeline};

/// What becomes of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    Killed,
    Stopped,
    Slow,
    Failing,
    CutOff,
    Added,
    Drained,
    Removed,
}

/// All of them.
pub const ALL: [Scenario; 8] = [
    Scenario::Killed,
    Scenario::Stopped,
    Scenario::Slow,
    Scenario::Failing,
    Scenario::CutOff,
    Scenario::Added,
    Scenario::Drained,
    Scenario::Removed,
];

/// The endpoint that something becomes of.
const VICTIM: usize = 1;
/// The one that is not there at first.
const NEW: usize = 3;
/// Those that are there as long as nothing becomes of any.
pub const LISTED: [usize; 3] = [0, VICTIM, 2];

impl Scenario {
    /// Lets it happen.
    pub async fn begin(self, endpoints: &mut Endpoints, timeline: &Timeline) {
        timeline.note(&format!("endpoint {} is {self:?}", if self == Self::Added { NEW } else { VICTIM }));
        match self {
            Self::Killed => endpoints.signal(VICTIM, Signal::KILL),
            Self::Stopped => endpoints.signal(VICTIM, Signal::STOP),
            Self::Slow => endpoints.manner(VICTIM, "slow").await,
            Self::Failing => endpoints.manner(VICTIM, "fail").await,
            Self::CutOff => endpoints.manner(VICTIM, "cut").await,
            Self::Added => endpoints.list(&[0, VICTIM, 2, NEW]),
            Self::Drained => endpoints.list(&[0, 2]),
            Self::Removed => {
                // With what it has in hand.
                endpoints.list(&[0, 2]);
                endpoints.signal(VICTIM, Signal::KILL);
            }
        }
    }

    /// Waits until it shows: a drill in which nothing happened to anybody proves nothing. `retried` is how many requests had been
    /// tried again before it began.
    pub async fn shows(self, endpoints: &Endpoints, program: &Program, load: &Load, retried: u64) {
        let what = format!("{self:?} shows");
        until(&what, async || {
            let victim = endpoint(program, endpoints, VICTIM).await;
            let shows = match self {
                Self::Killed | Self::Stopped => victim.is_some_and(|victim| victim["state"] != "healthy"),
                Self::Slow | Self::Failing => load::retried(program).await > retried,
                Self::CutOff => load.failed_gets() > 0,
                Self::Added => {
                    let new = endpoint(program, endpoints, NEW).await;
                    new.is_some_and(|new| new["requests"].as_u64() > Some(0))
                }
                Self::Drained | Self::Removed => victim.is_none(),
            };
            shows.then_some(())
        })
        .await;
    }

    /// Makes it as before.
    pub async fn end(self, endpoints: &mut Endpoints, program: &Program, timeline: &Timeline) {
        match self {
            Self::Killed => endpoints.start_again(VICTIM).await,
            Self::Stopped => endpoints.signal(VICTIM, Signal::CONT),
            Self::Slow | Self::Failing | Self::CutOff => endpoints.manner(VICTIM, "well").await,
            Self::Added => endpoints.list(&LISTED),
            Self::Drained => {
                // It ends when nobody needs it any more.
                until("it is drained", async || drained(program).await.then_some(())).await;
                endpoints.signal(VICTIM, Signal::TERM);
                endpoints.start_again(VICTIM).await;
                endpoints.list(&LISTED);
            }
            Self::Removed => {
                endpoints.start_again(VICTIM).await;
                endpoints.list(&LISTED);
            }
        }
        timeline.note("all is as before");
        until("all endpoints are healthy", async || {
            let service = program.admin("/services").await.json()[0].clone();
            let endpoints = service["endpoints"].as_array()?.clone();
            (endpoints.len() == LISTED.len() && endpoints.iter().all(|one| one["state"] == "healthy")).then_some(())
        })
        .await;
    }
}

/// An endpoint as the gateway sees it; none: it is none of its endpoints.
async fn endpoint(program: &Program, endpoints: &Endpoints, at: usize) -> Option<Value> {
    let address = endpoints.address(at).to_string();
    let service = program.admin("/services").await.json()[0].clone();
    service["endpoints"].as_array()?.iter().find(|one| one["address"] == address).cloned()
}

async fn drained(program: &Program) -> bool {
    program.admin("/services").await.json()[0]["draining"].is_null()
}
