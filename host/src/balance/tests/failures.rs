//! What counts against an endpoint, and what does not.

use super::*;

#[test]
fn every_failure_counts_and_nothing_else_does() {
    use Outcome::{ConnectFailed, Neutral, Reset, Status, Success, Timeout};
    let world = World::new();
    let balancer = world.balancer(&settings(&[1, 1]));
    let bad = &balancer.service().endpoints()[0];
    let report = |outcomes: &[Outcome]| {
        for outcome in outcomes {
            balancer.pick(&ask(&[address(1)], world.now, 1)).unwrap().report(*outcome, world.now);
        }
    };
    report(&[Neutral; 20]);
    report(&[ConnectFailed, Reset, Status, Timeout, Success]);
    report(&[ConnectFailed, Reset, Status, Timeout, Neutral]);
    assert!(bad.ready());
    report(&[Reset]);
    assert!(!bad.ready());
}

#[test]
fn what_the_rule_does_not_name_is_counted_and_ejects_nobody() {
    use Outcome::{ConnectFailed, Reset, Timeout};
    let all = [
        (ConnectFailed, Failure::Connect, FailureKind::Connect),
        (Reset, Failure::Reset, FailureKind::Reset),
        (Timeout, Failure::Timeout, FailureKind::Timeout),
    ];
    for (outcome, kind, named) in all {
        for (_, _, only) in all {
            let world = World::new();
            let rule = Ejection { on: vec![only], ..ejection(3, 50) };
            let balancer = world.balancer(&config::Service { ejection: Some(rule), ..settings(&[1, 1]) });
            for _ in 0..3 {
                balancer.pick(&ask(&[address(1)], world.now, 1)).unwrap().report(outcome, world.now);
            }
            let endpoint = &balancer.service().endpoints()[0];
            assert_eq!(
                (endpoint.failures(kind), endpoint.ready()),
                (3, named != only),
                "{named:?} where {only:?} ejects"
            );
        }
    }
}

#[test]
fn a_status_is_a_failure_where_the_rule_says_so_and_without_one_where_the_default_does() {
    let rule = |on: &[(u16, u16)]| Ejection {
        on: on.iter().map(|(first, last)| FailureKind::Status(*first, *last)).collect(),
        ..ejection(5, 50)
    };
    let failures = |ejection: Option<Ejection>| {
        let settings = config::Service { ejection, ..settings(&[1]) };
        [429, 499, 500, 502, 504, 505].map(|status| settings.is_failure(status))
    };
    let default = [false, false, false, true, true, false];
    assert_eq!(failures(Some(ejection(5, 50))), default);
    assert_eq!(failures(None), default);
    assert_eq!(failures(Some(rule(&[(429, 429), (500, 599)]))), [true, false, true, true, true, true]);
    assert_eq!(failures(Some(rule(&[]))), [false; 6]);
}
