//! What is peeked at is what would be said, and nothing is taken.

use super::*;

#[test]
fn a_peek_says_what_the_check_after_it_says_and_takes_nothing() {
    let tables = Tables::new();
    let limits = [
        rated("wide", LimitKey::Api, 5, 1000),
        Limit { concurrent: Some(3), ..rated("narrow", LimitKey::Caller, 4, 1000) },
        delayed("slow", LimitKey::Attribute("tenant".into()), rate(1, 100), 150),
    ];
    let limits = Limits::new(&limits, &tables);
    let client = Client { address: address(1), caller: None };
    let mut held = Vec::new();
    let (mut granted, mut refused) = (0, 0);
    for step in 0..40 {
        let now = NOW + step * 120 * MS;
        let peeked = limits.peek_after_auth(&client, now);
        assert_eq!(peeked.0, limits.peek_after_auth(&client, now).0);
        let (peeks, exceeded) = peeked;
        match limits.after_auth(&client, now, Admission::default()) {
            Ok(admission) => {
                granted += 1;
                assert!(exceeded.is_none() && peeks.iter().all(|peek| !peek.exceeded), "{peeks:?}");
                assert_eq!(peeks.iter().map(|peek| peek.wait).max(), Some(admission.wait));
                for (peek, standing) in peeks.iter().zip(&admission.standings) {
                    let (before, after) = (peek.rate.unwrap().left, standing.room.unwrap().left);
                    assert!(after + 1 == before || (after, before) == (0, 0), "{peek:?}");
                }
                held.push(admission);
            }
            Err(check) => {
                refused += 1;
                let exceeded = exceeded.expect("what is refused was foretold");
                assert_eq!((exceeded.standings, exceeded.retry_after), (check.standings, check.retry_after));
                held.clear();
            }
        }
    }
    assert!(granted > 5 && refused > 5, "{granted} {refused}");
}

#[test]
fn a_peek_names_its_limit_and_what_it_counts() {
    let limits = [
        rated("of-addresses", LimitKey::Address, 2, 1000),
        Limit { concurrent: Some(3), ..limit("at-once", LimitKey::Attribute("tenant".into())) },
    ];
    let limits = Limits::new(&limits, &Tables::new());
    let _taken = limits.before_auth(address(1), NOW).unwrap();
    let (peeks, _) = limits.peek_before_auth(address(1), NOW);
    let [peek] = &peeks[..] else { panic!("{peeks:?}") };
    assert_eq!((&*peek.name, &*peek.by, peek.in_flight), ("of-addresses", "address", None));
    assert_eq!(peek.rate, Some(PeekRate { burst: 2, left: 1, full_after: Duration::from_secs(1) }));
    let client = Client { address: address(1), caller: None };
    let _held = limits.after_auth(&client, NOW, Admission::default()).unwrap();
    let (peeks, _) = limits.peek_after_auth(&client, NOW);
    assert_eq!((&*peeks[0].by, peeks[0].rate, peeks[0].in_flight), ("attribute tenant", None, Some((1, 3))));
}
