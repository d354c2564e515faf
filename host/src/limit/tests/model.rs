//! The stage against a model of it: a map, big integers, and no thought for speed.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

/// A request of the model's world: who, how much time passed since the last, and whether some request ends before it.
#[derive(Clone, Debug)]
struct Step {
    address: u32,
    caller: Option<(bool, u8, Option<bool>, Option<bool>)>,
    passed_ms: i64,
    ends: Option<prop::sample::Index>,
}

/// What one key has taken.
#[derive(Clone, Copy, Default)]
struct Taken {
    arrival: i128,
    in_flight: u32,
}

#[derive(Default)]
struct Model(HashMap<String, Taken>);

const SUBJECTS: [&str; 3] = ["ada", "bob", "cy"];

impl Step {
    /// Makes the client and gives it to `use_it`.
    fn client<T>(&self, use_it: impl FnOnce(&Client<'_>) -> T) -> T {
        let org = |name: &str| self.caller?.3.filter(|_| name == "org").map(|acme| if acme { "acme" } else { "ads" });
        let caller = self.caller.map(|(jwt, subject, gold, _)| Caller {
            plugin: if jwt { "jwt" } else { "key" },
            subject: SUBJECTS[usize::from(subject)],
            plan: gold.map(|gold| if gold { "gold" } else { "tin" }),
            attribute: &org,
        });
        use_it(&Client { address: address(self.address), caller })
    }
}

/// The name of what a limit counts this client with.
fn model_key(limit: &Limit, client: &Client<'_>) -> String {
    let address = format!("address {}", client.address);
    let caller = client.caller.map(|caller| format!("caller {} {}", caller.plugin, caller.subject));
    let gold = client.caller.is_some_and(|caller| caller.plan == Some("gold")) && !limit.plans.is_empty();
    let key = match &limit.by {
        LimitKey::Api => Some(format!("api {gold}")),
        LimitKey::Address => Some(address.clone()),
        LimitKey::Caller => caller,
        LimitKey::Plan => client.caller.and_then(|caller| Some(format!("plan {}", caller.plan?))),
        LimitKey::Attribute(name) => client.caller.and_then(|of| {
            let value = (of.attribute)(name).map(|value| format!("value {} {value} {gold}", of.plugin));
            value.or(caller)
        }),
    };
    format!("{} {}", limit.name, key.unwrap_or(address))
}

impl Model {
    /// The wait in nanoseconds, or nothing if any limit of this half refuses; counts if none does.
    fn check(&mut self, limits: &[Limit], half: bool, client: &Client<'_>, now: u64) -> Option<i128> {
        let now = i128::from(now);
        let half: Vec<_> = limits.iter().filter(|limit| (limit.by == LimitKey::Address) == half).collect();
        let mut longest = 0;
        for limit in &half {
            let taken = self.0.get(&model_key(limit, client)).copied().unwrap_or_default();
            let rate = model_rate(limit, client);
            let wait = rate.map_or(0, |(burst, interval)| (taken.arrival - (burst - 1) * interval - now).max(0));
            let allowed = match limit.over {
                Over::Reject => 0,
                Over::Delay(longest) => longest.as_nanos() as i128,
            };
            if wait > allowed || limit.concurrent.is_some_and(|most| taken.in_flight >= most) {
                return None;
            }
            longest = wait.max(longest);
        }
        for limit in half {
            let taken = self.0.entry(model_key(limit, client)).or_default();
            taken.in_flight += 1;
            if let Some((_, interval)) = model_rate(limit, client) {
                taken.arrival = taken.arrival.max(now) + interval;
            }
        }
        Some(longest)
    }

    fn end(&mut self, limits: &[Limit], half: bool, client: &Client<'_>) {
        for limit in limits.iter().filter(|limit| (limit.by == LimitKey::Address) == half) {
            self.0.get_mut(&model_key(limit, client)).unwrap().in_flight -= 1;
        }
    }
}

/// Burst and interval.
fn model_rate(limit: &Limit, client: &Client<'_>) -> Option<(i128, i128)> {
    let plan = client.caller.and_then(|caller| limit.plans.get(caller.plan?));
    plan.copied().or(limit.rate).map(|rate| (rate.burst.into(), rate.interval.as_nanos() as i128))
}

fn some_rate() -> impl Strategy<Value = Rate> {
    (1_u32..6, 1_u64..400).prop_map(|(burst, interval)| rate(burst, interval))
}

fn some_limits() -> impl Strategy<Value = Vec<Limit>> {
    let by = prop_oneof![
        Just(LimitKey::Api),
        Just(LimitKey::Address),
        Just(LimitKey::Caller),
        Just(LimitKey::Plan),
        Just(LimitKey::Attribute("org".into())),
    ];
    let rate = prop::option::weighted(0.8, some_rate());
    let gold = prop::option::weighted(0.3, some_rate());
    let concurrent = prop::option::weighted(0.3, 1_u32..4);
    let delay = prop::option::weighted(0.4, 0_u64..1000);
    let one = (by, rate, gold, concurrent, delay).prop_map(|(by, rate, gold, concurrent, delay)| Limit {
        rate,
        // A debt at two rates is another test's matter, and before auth nobody has a plan.
        plans: gold
            .filter(|_| matches!(by, LimitKey::Api | LimitKey::Plan))
            .map(|gold| ("gold".into(), gold))
            .into_iter()
            .collect(),
        concurrent,
        over: delay.map_or(Over::Reject, |longest| Over::Delay(Duration::from_millis(longest))),
        ..limit("", by)
    });
    prop::collection::vec(one, 0..6).prop_map(|mut limits| {
        for (number, limit) in limits.iter_mut().enumerate() {
            limit.name = format!("limit {number}").into();
        }
        limits
    })
}

fn some_steps() -> impl Strategy<Value = Vec<Step>> {
    let optional = || prop::option::of(any::<bool>());
    let caller = prop::option::weighted(0.8, (any::<bool>(), 0_u8..3, optional(), optional()));
    let passed = prop_oneof![3 => Just(0_i64), 2 => 0_i64..200, 1 => -20_i64..0, 1 => 0_i64..3000];
    let ends = prop::option::of(any::<prop::sample::Index>());
    let step = (0_u32..3, caller, passed, ends).prop_map(|(address, caller, passed_ms, ends)| Step {
        address,
        caller,
        passed_ms,
        ends,
    });
    prop::collection::vec(step, 1..150)
}

proptest! {
    #[test]
    fn the_stage_does_what_the_model_does(configured in some_limits(), steps in some_steps()) {
        let limits = Limits::new(&configured, &Tables::new());
        let mut model = Model::default();
        let mut now = NOW;
        let mut in_flight: Vec<(Admission, Step)> = Vec::new();
        for step in steps {
            now = now.saturating_add_signed(step.passed_ms * MS as i64);
            if let Some(ends) = step.ends && !in_flight.is_empty() {
                let (admission, ended) = in_flight.swap_remove(ends.index(in_flight.len()));
                drop(admission);
                ended.client(|client| [true, false].map(|half| model.end(&configured, half, client)));
            }
            let first = limits.before_auth(address(step.address), now);
            let expected = step.client(|client| model.check(&configured, true, client, now));
            prop_assert_eq!(first.as_ref().ok().map(|first| first.wait.as_nanos() as i128), expected);
            let Ok(first) = first else { continue };
            let second = step.client(|client| limits.after_auth(client, now, first));
            let expected = step.client(|client| model.check(&configured, false, client, now));
            prop_assert_eq!(second.as_ref().ok().map(|second| second.wait.as_nanos() as i128), expected);
            match second {
                Ok(second) => in_flight.push((second, step)),
                Err(_) => step.client(|client| model.end(&configured, true, client)),
            }
        }
    }

    #[test]
    fn the_order_of_limits_changes_nothing(mut configured in some_limits(), steps in some_steps()) {
        let one = Limits::new(&configured, &Tables::new());
        configured.reverse();
        let two = Limits::new(&configured, &Tables::new());
        let mut now = NOW;
        for step in steps {
            now = now.saturating_add_signed(step.passed_ms * MS as i64);
            step.client(|client| {
                let (one, two) = (request(&one, client, now), request(&two, client, now));
                let seen = |result: Result<Admission, Exceeded>| {
                    result.map(|admission| admission.wait).map_err(|exceeded| exceeded.retry_after)
                };
                prop_assert_eq!(seen(one), seen(two));
                Ok(())
            })?;
        }
    }

    #[test]
    fn what_is_said_to_be_left_is_left(configured in some_limits(), steps in some_steps()) {
        let limits = Limits::new(&configured, &Tables::new());
        let mut now = NOW;
        for step in steps {
            now = now.saturating_add_signed(step.passed_ms * MS as i64);
            let last = step.client(|client| request(&limits, client, now));
            let Ok(admission) = last else { continue };
            let rooms: Vec<u32> = admission.standings.iter().filter_map(|standing| Some(standing.room?.left)).collect();
            let Some(least) = rooms.into_iter().min() else { continue };
            drop(admission);
            for number in 0..=least {
                let next = step.client(|client| request(&limits, client, now));
                let at_once = next.is_ok_and(|admission| admission.wait.is_zero());
                prop_assert_eq!(at_once, number < least);
            }
        }
    }
}
