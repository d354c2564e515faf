use std::rc::Rc;

use http::request::Parts;
use http::{HeaderValue, StatusCode};
use proptest::prelude::*;

use super::super::verdict::{Grant, Rejection, Target};
use super::super::{Declaration, Input};
use super::*;

const MOST: Duration = Duration::from_secs(60);

fn recall() -> Recall {
    Recall::new(MOST, Arc::default())
}

fn granted(subject: &str) -> Answered {
    Answered::Identified(Rc::new(Ok(Identified::Granted(Grant::new(subject, None, "", &[])))))
}

fn rejection(title: &str) -> Rejection {
    Rejection {
        status: StatusCode::UNAUTHORIZED,
        title: title.into(),
        detail: None,
        problem: None,
        headers: vec![],
        violations: vec![],
    }
}

fn refused() -> Answered {
    Answered::Identified(Rc::new(Err(rejection("no"))))
}

fn head(fields: &[(&'static str, &str)]) -> Parts {
    let request = fields.iter().fold(http::Request::get("/"), |request, (name, value)| request.header(*name, *value));
    request.body(()).unwrap().into_parts().0
}

/// Asks about a request whose slots are the fields `a` and `b`.
fn find(recall: &mut Recall, generation: u64, fields: &[(&'static str, &str)], now: Instant) -> Found {
    let head = head(fields);
    let id = HeaderValue::from_static("id");
    let view = View::of(&id, &head, "192.0.2.1");
    let inputs = ["a", "b"].map(|name| Input::Header(http::HeaderName::from_static(name))).to_vec();
    let declaration = Declaration { inputs, ..Declaration::default() };
    recall.find(generation, (&view, &view.texts(&declaration).unwrap()), false, now)
}

fn ask(recall: &mut Recall, fields: &[(&'static str, &str)], now: Instant) -> Option<Question> {
    match find(recall, 0, fields, now) {
        Found::Verdict(_) => None,
        Found::Nothing(question) => Some(question),
    }
}

fn learn(recall: &mut Recall, fields: &[(&'static str, &str)], answer: &Answered, trace: &Trace, now: Instant) {
    let question = ask(recall, fields, now).expect("it is not remembered yet");
    recall.keep(question, answer, trace, 0, now);
}

#[test]
fn the_same_values_are_remembered_for_as_long_as_was_promised() {
    let (mut recall, now) = (recall(), Instant::now());
    learn(&mut recall, &[("a", "1")], &granted("ada"), &Trace::default(), now);
    assert!(ask(&mut recall, &[("a", "1")], now + MOST - Duration::from_millis(1)).is_none());
    assert!(ask(&mut recall, &[("a", "1")], now + MOST).is_some());
}

#[test]
fn absent_is_not_empty_and_neither_runs_into_its_neighbour() {
    let (mut recall, now) = (recall(), Instant::now());
    learn(&mut recall, &[("a", "12"), ("b", "")], &granted("ada"), &Trace::default(), now);
    for other in [vec![("a", "12")], vec![("a", "1"), ("b", "2")], vec![("b", "12")], vec![("a", ""), ("b", "12")]] {
        assert!(ask(&mut recall, &other, now).is_some(), "{other:?}");
    }
}

#[test]
fn what_was_seen_keeps_a_verdict_from_being_remembered() {
    let (mut recall, now) = (recall(), Instant::now());
    for trace in [
        Trace { saw_clock: true, ..Trace::default() },
        Trace { saw_random: true, ..Trace::default() },
        Trace { passing: true, ..Trace::default() },
        Trace { remember_ms: Some(0), ..Trace::default() },
        Trace { until_ms: Some(wall_ms() - 1.0), ..Trace::default() },
    ] {
        learn(&mut recall, &[("a", "1")], &granted("ada"), &trace, now);
        assert!(ask(&mut recall, &[("a", "1")], now).is_some(), "{trace:?}");
    }
}

#[test]
fn a_call_may_shorten_what_configure_promised() {
    let (mut recall, now) = (recall(), Instant::now());
    let trace = Trace { remember_ms: Some(10), ..Trace::default() };
    learn(&mut recall, &[("a", "1")], &granted("ada"), &trace, now);
    assert!(ask(&mut recall, &[("a", "1")], now + Duration::from_millis(9)).is_none());
    assert!(ask(&mut recall, &[("a", "1")], now + Duration::from_millis(10)).is_some());
}

#[test]
fn a_refusal_is_forgotten_after_five_seconds() {
    let (mut recall, now) = (recall(), Instant::now());
    learn(&mut recall, &[("a", "1")], &refused(), &Trace::default(), now);
    assert!(ask(&mut recall, &[("a", "1")], now + MOST_REFUSED / 2).is_none());
    assert!(ask(&mut recall, &[("a", "1")], now + MOST_REFUSED).is_some());
}

#[test]
fn an_answer_of_another_generation_is_not_taken() {
    let (mut recall, now) = (recall(), Instant::now());
    let question = ask(&mut recall, &[("a", "1")], now).unwrap();
    // Keys were exchanged during the call.
    recall.keep(question, &granted("ada"), &Trace::default(), 1, now);
    assert!(ask(&mut recall, &[("a", "1")], now).is_some());
    learn(&mut recall, &[("a", "1")], &granted("ada"), &Trace::default(), now);
    assert!(matches!(find(&mut recall, 1, &[("a", "1")], now), Found::Nothing(_)), "all is forgotten with the keys");
}

#[test]
fn garbage_pushes_out_no_good_one() {
    let (mut recall, now) = (recall(), Instant::now());
    learn(&mut recall, &[("a", "good")], &granted("ada"), &Trace::default(), now);
    for index in 0..3 * OTHERS.entries {
        learn(&mut recall, &[("a", &format!("bad {index}"))], &refused(), &Trace::default(), now);
    }
    assert!(ask(&mut recall, &[("a", "good")], now).is_none());
    assert!(recall.others.entries.len() <= OTHERS.entries);
}

fn forward(service: &str, path: &'static str) -> Outcome {
    let destination = Destination { service: service.into(), ..Destination::default() };
    let (destination, path) = (Arc::new(destination), Some(http::uri::PathAndQuery::from_static(path)));
    Outcome::Routed(Ok(Decision::Forward(Target { destination, path, affinity: None })))
}

fn target(answer: &Answered) -> &Target {
    match answer {
        Answered::Routed(verdict) => match &**verdict {
            Ok(Decision::Forward(target)) => target,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn targets_share_a_destination_that_is_equal_and_nothing_else() {
    let mut recall = recall();
    let [one, two, other] =
        [("a", "/1"), ("a", "/2"), ("b", "/1")].map(|(service, path)| recall.verdict(forward(service, path)));
    assert!(Arc::ptr_eq(&target(&one).destination, &target(&two).destination));
    assert_eq!([&one, &two].map(|answer| target(answer).path.as_ref().unwrap().as_str()), ["/1", "/2"]);
    assert_eq!([&two, &other].map(|answer| target(answer).destination.service.as_str()), ["a", "b"]);
}

#[test]
fn all_that_is_valid_is_so_by_one_verdict() {
    let mut recall = recall();
    let [one, two] = [(); 2].map(|()| match recall.verdict(Outcome::Checked(Ok(()))) {
        Answered::Checked(verdict) => verdict,
        other => panic!("{other:?}"),
    });
    assert!(Rc::ptr_eq(&one, &two));
    let refused = recall.verdict(Outcome::Checked(Err(rejection("no"))));
    assert!(refused.is_refusal());
}

fn entry(now: Instant) -> Entry {
    Entry { verdict: granted("ada"), until: now + MOST, until_ms: None, asked: false }
}

#[test]
fn what_is_asked_for_again_and_again_stays_however_much_else_comes() {
    let (mut shelf, now) = (Shelf::new(Bounds { entries: 100, bytes: 1 << 20 }), Instant::now());
    shelf.put(b"asked", entry(now), now);
    for other in 0..1000_u16 {
        shelf.put(&other.to_ne_bytes(), entry(now), now);
        assert!(shelf.get(b"asked", now).is_some(), "gone after {other}");
    }
    assert_eq!(shelf.entries.len(), 100);
}

#[test]
fn one_more_where_all_are_asked_for_costs_one_and_no_long_search() {
    let (mut shelf, now) = (Shelf::new(Bounds { entries: 1000, bytes: 1 << 20 }), Instant::now());
    (0..1000_u16).for_each(|key| assert_eq!(shelf.put(&key.to_ne_bytes(), entry(now), now), 0));
    assert!((0..1000_u16).all(|key| shelf.get(&key.to_ne_bytes(), now).is_some()));
    assert_eq!(shelf.put(b"one more", entry(now), now), 1);
    // Beside the new one, these have to be asked for again.
    assert_eq!(shelf.entries.values().filter(|entry| !entry.asked).count(), 1 + MOST_CHANCES);
    assert!(shelf.get(b"one more", now).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_shelf_keeps_its_bounds_and_knows_its_size(
        puts in prop::collection::vec((0_u16..300, 0_usize..5000), 1..400),
    ) {
        let (bounds, now) = (Bounds { entries: 100, bytes: 200_000 }, Instant::now());
        let mut shelf = Shelf::new(bounds);
        for (key, length) in puts {
            let entry = Entry { verdict: granted(&"x".repeat(length)), until: now + MOST, until_ms: None, asked: false };
            shelf.put(&key.to_ne_bytes(), entry, now);
            prop_assert!(shelf.bytes <= bounds.bytes && shelf.entries.len() <= bounds.entries);
            prop_assert_eq!(shelf.bytes, shelf.entries.iter().map(|(key, entry)| size(key, entry)).sum::<usize>());
            prop_assert!(shelf.get(&key.to_ne_bytes(), now).is_some());
        }
    }
}
