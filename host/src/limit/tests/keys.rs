//! Many keys: memory is bounded, and nobody is let through for it.

use super::*;

/// Some keys of a limit, and its table.
fn flooded(keys: usize) -> (Limits, Arc<table::Table>) {
    let tables = Tables::new();
    let limit = Limit { keys, ..rated("a", LimitKey::Address, 2, 60_000) };
    (Limits::new(std::slice::from_ref(&limit), &tables), tables.of(&limit))
}

#[test]
fn a_flood_of_keys_is_bounded_and_shares_one_bucket() {
    for keys in [1, 10, 5000] {
        let (limits, table) = flooded(keys);
        let mut apart = 0;
        let admissions = (0..4 * keys as u32 + 8).filter(|number| {
            let before = table.keys();
            let admitted = limits.before_auth(address(*number), NOW).is_ok();
            apart += table.keys() - before;
            admitted
        });
        let admissions = admissions.count();
        assert!(table.keys() <= keys);
        // Each key came once; of those that found no room, the overflow bucket admitted its burst.
        assert_eq!(admissions, apart + 2);
        assert!(apart * 10 >= keys * 9, "{apart} of {keys} keys were counted apart");
    }
}

#[test]
fn keys_that_were_there_before_a_flood_are_not_disturbed() {
    let (limits, _) = flooded(10);
    let ada = client(0, None, None);
    assert_eq!(admitted(&limits, &ada, 1, NOW), 1);
    for number in 1..1000 {
        drop(limits.before_auth(address(number), NOW));
    }
    assert_eq!(admitted(&limits, &ada, 9, NOW), 1);
    assert_eq!(admitted(&limits, &ada, 9, NOW + 60 * SECOND), 1);
}

#[test]
fn refilled_keys_make_room() {
    let (limits, table) = flooded(10);
    for number in 0..10 {
        assert!(limits.before_auth(address(number), NOW + u64::from(number) * SECOND).is_ok());
    }
    let later = NOW + 63 * SECOND;
    assert_eq!((0..2).filter(|_| limits.before_auth(address(99), NOW + 59 * SECOND).is_ok()).count(), 2);
    assert!(limits.before_auth(address(99), NOW + 59 * SECOND).is_err());
    // Three are refilled and long enough ago; then the overflow bucket has one again, and then nothing.
    let found: Vec<_> = (20..30).map(|number| limits.before_auth(address(number), later).is_ok()).collect();
    assert_eq!(found.iter().filter(|admitted| **admitted).count(), 3);
    assert_eq!(table.keys(), 10);
}

#[test]
fn a_key_with_a_request_in_flight_is_not_forgotten() {
    let limits = [Limit { keys: 1, concurrent: Some(1), ..limit("a", LimitKey::Address) }];
    let limits = Limits::new(&limits, &Tables::new());
    let mine = limits.before_auth(address(1), NOW).unwrap();
    let later = NOW + 1000 * SECOND;
    let shared = limits.before_auth(address(2), later).unwrap();
    assert!(limits.before_auth(address(3), later).is_err());
    assert!(limits.before_auth(address(1), later).is_err());
    drop(shared);
    let shared = limits.before_auth(address(3), later).unwrap();
    drop(mine);
    // Now there is room again, and the new key's request is counted apart from the shared one.
    let _other = limits.before_auth(address(4), later).unwrap();
    assert!(limits.before_auth(address(4), later).is_err());
    drop(shared);
    assert!(limits.before_auth(address(5), later).is_ok());
}

#[test]
fn a_refused_request_stores_no_key() {
    let tables = Tables::new();
    let by_caller = rated("caller", LimitKey::Caller, 1, 1000);
    let limits = Limits::new(&[rated("api", LimitKey::Api, 1, 1000), by_caller.clone()], &tables);
    assert!(request(&limits, &client(1, Some("ada"), None), NOW).is_ok());
    for subject in ["b", "c", "d"] {
        assert!(request(&limits, &client(1, Some(subject), None), NOW).is_err());
    }
    assert_eq!(tables.of(&by_caller).keys(), 1);
}

#[test]
fn a_limit_may_grow_and_shrink_at_a_reload() {
    let tables = Tables::new();
    let with = |keys| Limits::new(&[Limit { keys, ..rated("a", LimitKey::Address, 1, 60_000) }], &tables);
    let distinct = |limits: &Limits, from: u32| {
        (from..from + 20).filter(|number| limits.before_auth(address(*number), NOW).is_ok()).count()
    };
    let small = with(5);
    assert_eq!(distinct(&small, 0), 6);
    let large = with(10);
    assert_eq!(distinct(&large, 100), 5);
    let smaller = with(2);
    assert_eq!(distinct(&smaller, 200), 0);
    assert_eq!(distinct(&smaller, 0), 0);
}

#[test]
fn failed_authentication_is_bounded_like_the_rest() {
    let tables = Tables::new();
    let failed = FailedAuth::new(rate(2, 60_000), &tables);
    for number in 0..120_000 {
        failed.charge(address(number), NOW);
    }
    assert!(tables.failed_auth().keys() <= 100_000);
    assert_eq!(failed.check(address(0), NOW), Ok(()));
    assert!(failed.check(address(500_000), NOW).is_err());
}
