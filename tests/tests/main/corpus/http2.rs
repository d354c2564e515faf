//! The cases of HTTP/2. Each is a connection of its own, whose preface need not be said.
//!
//! A frame is one line of `>`, and lines of `+` are its payload:
//!
//! ```text
//! > headers STREAM [end] [open]         its fields, one a line: `+ name: value`; `+ @GET /path` are four pseudo-fields,
//! > continuation STREAM [open]          and `+# bytes` is a part of the block as it is. `open`: more fields follow.
//! > data STREAM [end]                   its bytes: `+ bytes`
//! > frame KIND FLAGS STREAM             any other, by its numbers
//! > bytes                               no frame: the bytes as they are
//! ```
//!
//! An outcome is `1 200` (the status on stream 1), `1 reset 8` (the stream is reset, and why), or `end 1` (the connection ends,
//! and why). After those that do not end it, the next request on the connection is served.

use gatewright_tests::Raw;
use gatewright_tests::corpus::said;
use gatewright_tests::frames::{END_HEADERS, END_STREAM, Frame, PREFACE, frame, kind};

use super::*;

/// The stream of what a client that nobody has confused yet asks next.
const PROBE: u32 = 0x0f_ffff;

#[tokio::test]
async fn hostile_requests_in_http_2_are_refused_or_have_one_meaning() {
    let mut stage = Stage::new();
    for (file, cases) in corpus("http2") {
        for case in cases {
            let came = stage.play_http2(&case).await;
            stage.judge(&file, &case, &came);
        }
    }
    stage.ends(60).await;
}

impl Stage {
    async fn play_http2(&mut self, case: &Case) -> Vec<Outcome> {
        let mut raw = self.gateway.raw().await;
        raw.write([PREFACE, &said::http2(&case.says)].concat()).await;
        let (mut came, mut answered) = (Vec::<Outcome>::new(), Vec::new());
        while case.outcomes.is_empty() || came.len() < case.outcomes.len() {
            let counts = |frame: &Frame| [kind::HEADERS, kind::RST_STREAM, kind::GOAWAY].contains(&frame.kind);
            let next = match case.outcomes.is_empty() {
                true => tokio::time::timeout(MORE, raw.frame(counts)).await,
                false => Ok(raw.frame(counts).await),
            };
            let Ok(Some(frame)) = next else { break };
            if answered.contains(&frame.stream) {
                continue;
            }
            answered.push(frame.stream);
            came.push(Outcome { answer: outcome(&frame), partly: false, seen: None });
        }
        came.sort_by_key(|outcome| outcome.answer.split(' ').next().unwrap().parse().unwrap_or(u32::MAX));
        let mut seen = self.seen();
        match came.last().is_some_and(|last| last.answer.starts_with("end")) {
            true => drop(raw.end().await),
            false => self.probe_http2(raw, &mut came).await,
        }
        for (stream, outcome) in came.iter_mut().enumerate().filter(|(_, outcome)| outcome.answer.ends_with(" 200")) {
            // Requests on several streams go on beside each other: which is the first to arrive says nothing.
            let expected = case.outcomes.get(stream).and_then(|outcome| outcome.seen.as_ref());
            let at = seen.iter().position(|seen| Some(seen) == expected).unwrap_or(0);
            if at < seen.len() {
                outcome.seen = Some(seen.remove(at));
            }
        }
        came.extend(seen.into_iter().map(|seen| Outcome { answer: "none".into(), partly: false, seen: Some(seen) }));
        came
    }

    /// The next request on the connection is what it is.
    async fn probe_http2(&mut self, mut raw: Raw, came: &mut Vec<Outcome>) {
        raw.write(frame(kind::HEADERS, END_HEADERS | END_STREAM, PROBE, &said::field("@GET /probe"))).await;
        let answer = raw.frame(|frame| frame.stream == PROBE || frame.kind == kind::GOAWAY).await;
        let (answer, seen) = (answer.map(|frame| outcome(&frame)), self.seen());
        let expected = b"GET /probe HTTP/1.1\nhost: shop.example".to_vec();
        if answer != Some(format!("{PROBE} 200")) || seen != [expected] {
            let seen = seen.join(&b"\n\n"[..]);
            came.push(Outcome { answer: format!("{answer:?} to the next request"), partly: false, seen: Some(seen) });
        }
    }
}

/// What a frame says of its stream or of the connection.
fn outcome(frame: &Frame) -> String {
    match frame.kind {
        kind::HEADERS => format!("{} {}", frame.stream, frame.status().map_or("?".into(), |status| status.to_string())),
        kind::RST_STREAM => format!("{} reset {}", frame.stream, frame.code().unwrap()),
        _ => format!("end {}", frame.code().unwrap()),
    }
}
