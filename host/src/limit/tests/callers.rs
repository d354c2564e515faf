//! Who is counted together, and at which rate.

use super::*;

fn plans(limit: Limit, rates: &[(&str, Rate)]) -> Limit {
    Limit { plans: rates.iter().map(|(plan, rate)| ((*plan).into(), *rate)).collect(), ..limit }
}

#[test]
fn a_caller_is_the_plugin_and_the_subject_and_an_anonymous_one_an_address() {
    let limits = Limits::new(&[rated("a", LimitKey::Caller, 1, 1000)], &Tables::new());
    let from = |plugin, subject| Client {
        address: address(1),
        caller: Some(Caller { plugin, subject, plan: None, attribute: &no_attribute }),
    };
    for other in [from("jwt", "ada"), from("key", "ada"), from("jwt", "bob"), from("jwta", "da")] {
        assert_eq!(admitted(&limits, &other, 2, NOW), 1);
    }
    assert_eq!(admitted(&limits, &client(1, None, None), 2, NOW), 1);
    assert_eq!(admitted(&limits, &client(2, None, None), 2, NOW), 1);
    assert_eq!(admitted(&limits, &client(2, Some("ada"), None), 2, NOW), 0);
}

#[test]
fn ipv6_addresses_of_one_network_count_together() {
    let limits = Limits::new(&[rated("a", LimitKey::Address, 1, 1000)], &Tables::new());
    let admitted = |text: &str| limits.before_auth(text.parse().unwrap(), NOW).is_ok();
    assert!(admitted("2001:db8:0:1::1"));
    assert!(!admitted("2001:db8:0:1:ffff::2"));
    assert!(admitted("2001:db8:0:2::1"));
    assert!(admitted("192.0.2.1"));
    assert!(!admitted("::ffff:192.0.2.1"));
    assert!(admitted("::ffff:192.0.2.2"));
}

#[test]
fn callers_of_one_plan_count_together_and_those_without_one_by_address() {
    let limits = Limits::new(&[rated("a", LimitKey::Plan, 2, 1000)], &Tables::new());
    assert_eq!(admitted(&limits, &client(1, Some("ada"), Some("gold")), 1, NOW), 1);
    assert_eq!(admitted(&limits, &client(2, Some("bob"), Some("gold")), 3, NOW), 1);
    assert_eq!(admitted(&limits, &client(3, Some("cy"), None), 3, NOW), 2);
    assert_eq!(admitted(&limits, &client(3, Some("di"), None), 3, NOW), 0);
    assert_eq!(admitted(&limits, &client(4, Some("di"), None), 3, NOW), 2);
}

#[test]
fn callers_with_one_attribute_count_together_within_a_plugin() {
    let limits = Limits::new(&[rated("a", LimitKey::Attribute("org".into()), 2, 1000)], &Tables::new());
    let org = |name: &str| (name == "org").then_some("acme");
    let of = |plugin, subject, attribute| Client {
        address: address(1),
        caller: Some(Caller { plugin, subject, plan: None, attribute }),
    };
    assert_eq!(admitted(&limits, &of("jwt", "ada", &org), 1, NOW), 1);
    assert_eq!(admitted(&limits, &of("jwt", "bob", &org), 3, NOW), 1);
    assert_eq!(admitted(&limits, &of("key", "bob", &org), 3, NOW), 2);
    assert_eq!(admitted(&limits, &of("jwt", "ada", &no_attribute), 3, NOW), 2);
    assert_eq!(admitted(&limits, &client(1, None, None), 3, NOW), 2);
}

#[test]
fn a_plan_has_its_rate_instead() {
    let limit = plans(rated("a", LimitKey::Caller, 1, 1000), &[("gold", rate(5, 100)), ("silver", rate(3, 200))]);
    let limits = Limits::new(&[limit], &Tables::new());
    for (subject, plan, burst) in
        [("a", Some("gold"), 5), ("b", Some("silver"), 3), ("c", Some("tin"), 1), ("d", None, 1)]
    {
        assert_eq!(admitted(&limits, &client(1, Some(subject), plan), 9, NOW), burst);
    }
    let refused = request(&limits, &client(1, Some("a"), Some("gold")), NOW).unwrap_err();
    let mut headers = HeaderMap::new();
    limits.write_refusal(&refused, &mut headers);
    assert_eq!(headers["ratelimit-policy"], r#""a";q=5;w=1"#);
}

#[test]
fn without_a_rate_only_the_plans_that_have_one_are_bounded() {
    let limit = plans(limit("a", LimitKey::Caller), &[("free", rate(2, 1000))]);
    let limits = Limits::new(&[limit], &Tables::new());
    assert_eq!(admitted(&limits, &client(1, Some("ada"), Some("free")), 9, NOW), 2);
    assert_eq!(admitted(&limits, &client(1, Some("bob"), Some("gold")), 9, NOW), 9);
    let admission = request(&limits, &client(1, Some("bob"), Some("gold")), NOW).unwrap();
    assert_eq!(admission.standings[0].room, None);
}

#[test]
fn a_caller_that_changes_its_plan_owes_as_many_requests_as_before() {
    let limit = plans(rated("a", LimitKey::Caller, 10, 60_000), &[("gold", rate(100, 1000))]);
    let limits = Limits::new(&[limit], &Tables::new());
    let (free, gold) = (client(1, Some("ada"), None), client(1, Some("ada"), Some("gold")));
    assert_eq!(admitted(&limits, &free, 20, NOW), 10);
    assert_eq!(admitted(&limits, &gold, 200, NOW), 90);
    // Back on the small plan a hundred are owed; they are paid at the rate at which they were taken.
    assert_eq!(admitted(&limits, &free, 20, NOW + 90 * SECOND), 0);
    assert_eq!(admitted(&limits, &free, 20, NOW + 91 * SECOND), 1);
}

#[test]
fn callers_of_a_plan_with_its_own_rate_share_an_api_with_each_other_alone() {
    let limit = plans(rated("a", LimitKey::Api, 2, 1000), &[("gold", rate(4, 1000))]);
    let limits = Limits::new(&[limit], &Tables::new());
    assert_eq!(admitted(&limits, &client(1, Some("ada"), Some("gold")), 3, NOW), 3);
    assert_eq!(admitted(&limits, &client(2, Some("bob"), Some("gold")), 3, NOW), 1);
    assert_eq!(admitted(&limits, &client(3, Some("cy"), Some("tin")), 1, NOW), 1);
    assert_eq!(admitted(&limits, &client(4, None, None), 3, NOW), 1);
}

#[test]
fn callers_of_a_plan_with_its_own_rate_share_an_attribute_with_each_other_alone() {
    let limit = plans(rated("a", LimitKey::Attribute("org".into()), 2, 1000), &[("gold", rate(4, 1000))]);
    let limits = Limits::new(&[limit], &Tables::new());
    let org = |_: &str| Some("acme");
    let of = |subject, plan| Client {
        address: address(1),
        caller: Some(Caller { plugin: "jwt", subject, plan, attribute: &org }),
    };
    assert_eq!(admitted(&limits, &of("ada", Some("gold")), 3, NOW), 3);
    assert_eq!(admitted(&limits, &of("bob", Some("gold")), 3, NOW), 1);
    assert_eq!(admitted(&limits, &of("cy", Some("tin")), 1, NOW), 1);
    assert_eq!(admitted(&limits, &of("di", None), 3, NOW), 1);
}

#[test]
fn a_reload_keeps_the_counters_of_a_name() {
    let tables = Tables::new();
    let old = Limits::new(&[rated("a", LimitKey::Caller, 10, 1000)], &tables);
    let ada = client(1, Some("ada"), None);
    assert_eq!(admitted(&old, &ada, 6, NOW), 6);
    let new = Limits::new(&[rated("b", LimitKey::Caller, 3, 1000), rated("a", LimitKey::Caller, 8, 10)], &tables);
    assert_eq!(admitted(&new, &ada, 1, NOW), 1);
    assert_eq!(admitted(&old, &ada, 9, NOW), 3);
    assert_eq!(admitted(&new, &ada, 9, NOW), 0);
    drop(old);
    assert_eq!(admitted(&new, &ada, 1, NOW + 2010 * MS), 0);
    assert_eq!(admitted(&new, &ada, 9, NOW + 3000 * MS), 1);
}

#[test]
fn a_reload_that_counts_something_else_starts_anew() {
    let tables = Tables::new();
    let old = Limits::new(&[rated("a", LimitKey::Caller, 2, 1000)], &tables);
    let ada = client(1, Some("ada"), None);
    assert_eq!(admitted(&old, &ada, 9, NOW), 2);
    let new = Limits::new(&[rated("a", LimitKey::Plan, 3, 1000)], &tables);
    assert_eq!(admitted(&new, &ada, 9, NOW), 3);
    assert_eq!(admitted(&old, &ada, 9, NOW), 0);
    assert_eq!(admitted(&Limits::new(&[rated("a", LimitKey::Plan, 3, 1000)], &tables), &ada, 9, NOW), 0);
}

#[test]
fn a_permit_outlives_the_limits_that_gave_it() {
    let tables = Tables::new();
    let flight = Limit { concurrent: Some(1), ..limit("a", LimitKey::Api) };
    let old = Limits::new(std::slice::from_ref(&flight), &tables);
    let held = request(&old, &client(1, None, None), NOW).unwrap();
    let new = Limits::new(&[flight], &tables);
    drop(old);
    assert!(request(&new, &client(1, None, None), NOW).is_err());
    drop(held);
    assert!(request(&new, &client(1, None, None), NOW).is_ok());
}
