//! The cases of HTTP/1.

use gatewright_tests::corpus::said;
use gatewright_tests::{Raw, RawAnswer};

use super::*;

/// What a client that nobody has confused yet says next.
const PROBE: &str = "GET /probe HTTP/1.1\r\nhost: shop.example\r\n\r\n";

/// How a client's bytes come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    AtOnce,
    OneByOne,
}

#[tokio::test]
async fn hostile_requests_in_http_1_are_refused_or_have_one_meaning() {
    all(Manner::AtOnce).await;
}

#[tokio::test]
async fn it_makes_no_difference_how_the_bytes_come() {
    all(Manner::OneByOne).await;
}

async fn all(manner: Manner) {
    let mut stage = Stage::new();
    for (file, cases) in corpus("http1") {
        for case in cases {
            let mut came = stage.play(&case, manner).await;
            if manner == Manner::OneByOne {
                find_lost(&mut came, &case.outcomes);
            }
            stage.judge(&file, &case, &came);
        }
    }
    stage.ends(200).await;
}

/// Who still writes when a connection is closed may never read why: a refusal is as good as its answer. And who is refused
/// before the body has come may lose the connection with it, and what was to be refused behind it.
fn find_lost(came: &mut Vec<Outcome>, expected: &[Outcome]) {
    let Some((last, before)) = came.split_last() else { return };
    let Some((due, behind)) = expected.get(before.len()..).and_then(<[_]>::split_first) else { return };
    let is_refusal = |outcome: &Outcome| outcome.answer.starts_with(['4', '5']) && outcome.seen.is_none();
    let unread = last.answer == "closed" && due.answer.ends_with(" closed");
    let early = last.answer == format!("{} closed", due.answer);
    if is_refusal(due) && behind.iter().all(is_refusal) && (unread || early) {
        came.truncate(came.len() - 1);
        came.extend(std::iter::once(due).chain(behind).cloned());
    }
}

impl Stage {
    async fn play(&mut self, case: &Case, manner: Manner) -> Vec<Outcome> {
        let mut raw = self.gateway.raw().await;
        let finished = say(&mut raw, &case.says, manner).await;
        let (mut came, mut forwarded) = (Vec::new(), Vec::new());
        let closed = loop {
            let whole = came.len() == case.outcomes.len();
            if whole && case.outcomes.last().is_some_and(|last| !last.answer.contains("closed")) {
                break false;
            }
            let answer = match case.outcomes.is_empty() {
                true => tokio::time::timeout(MORE, raw.next_answer()).await,
                false => Ok(raw.next_answer().await),
            };
            let Ok(answer) = answer else { break false };
            let Some(answer) = answer else { break true };
            forwarded.push(answer.field("via").is_some());
            came.push(outcome(&answer));
        };
        if closed {
            match came.last_mut() {
                Some(last) => last.answer.push_str(" closed"),
                None => came.push(Outcome { answer: "closed".into(), partly: false, seen: None }),
            }
        }
        let mut seen = self.seen();
        if !closed && !finished {
            let probed = tokio::time::timeout(MORE * 10, self.probe(raw, &mut came)).await;
            if probed.is_err() {
                came.push(Outcome { answer: "no answer to the next request".into(), partly: false, seen: None });
            }
        }
        for (outcome, forwarded) in came.iter_mut().zip(forwarded) {
            if forwarded && !seen.is_empty() {
                outcome.seen = Some(seen.remove(0));
            }
        }
        came.extend(seen.into_iter().map(|seen| Outcome { answer: "none".into(), partly: false, seen: Some(seen) }));
        came
    }

    /// The next request on the connection is what it is.
    async fn probe(&mut self, mut raw: Raw, came: &mut Vec<Outcome>) {
        raw.write(PROBE).await;
        let answer = raw.next_answer().await;
        let (status, seen) = (answer.map(|answer| answer.status), self.seen());
        let expected = b"GET /probe HTTP/1.1\nhost: shop.example".to_vec();
        if (status, &seen[..]) != (Some(200), &[expected][..]) {
            let seen = seen.join(&b"\n\n"[..]);
            came.push(Outcome { answer: format!("{status:?} to the next request"), partly: false, seen: Some(seen) });
        }
    }
}

/// Says a case's bytes, and whether they are the last.
async fn say(raw: &mut Raw, lines: &[String], manner: Manner) -> bool {
    let (said, finished) = said::http1(lines);
    match manner {
        Manner::AtOnce => drop(raw.write(said).await),
        Manner::OneByOne => {
            for byte in said {
                raw.write([byte]).await;
                tokio::task::yield_now().await;
            }
        }
    }
    if finished {
        raw.finish().await;
    }
    finished
}

fn outcome(answer: &RawAnswer) -> Outcome {
    Outcome { answer: answer.status.to_string(), partly: false, seen: None }
}
