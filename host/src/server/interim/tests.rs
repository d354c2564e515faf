#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::cmp::min;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::left::{MOST, MOST_BYTES};
use super::*;
use crate::server::activity::Clock;
use crate::server::stream::{Io, Stream};

const HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\n\r\n";

/// A client that takes as many bytes as there is room.
#[derive(Default)]
struct Taker {
    taken: Vec<u8>,
    room: usize,
}

impl AsyncWrite for Taker {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = min(self.room, bytes.len());
        self.room -= count;
        self.taken.extend(bytes.iter().take(count));
        if count == 0 { Poll::Pending } else { Poll::Ready(Ok(count)) }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn activity() -> Arc<Activity> {
    Arc::new(Activity::new(Clock::default(), 0))
}

/// What a client with so much room gets at that moment, and whether hyper may go on.
fn written(activity: &Activity, room: usize, moment: Moment) -> (Vec<u8>, bool) {
    let mut taker = Taker { room, ..Taker::default() };
    let mut cx = Context::from_waker(Waker::noop());
    let written = activity.interim.poll_write(&mut taker, &mut cx, moment);
    (taker.taken, written.is_ready())
}

#[test]
fn it_is_said_when_hyper_has_written_all_or_before_the_answer() {
    for moment in [Moment::Flush, Moment::Write { flushed: true }] {
        let activity = activity();
        let early = Early::new(Arc::clone(&activity), None);
        assert!(!activity.interim.waits());
        early.voice().say_bytes(HINTS);
        assert!(activity.interim.waits());
        assert_eq!(written(&activity, 1000, moment), (HINTS.to_vec(), true));
        assert!(!activity.interim.waits());
    }
}

#[test]
fn it_waits_while_an_earlier_answer_is_not_written() {
    let activity = activity();
    let early = Early::new(Arc::clone(&activity), None);
    early.voice().say_bytes(HINTS);
    assert_eq!(written(&activity, 1000, Moment::Write { flushed: false }), (Vec::new(), true));
    assert_eq!(written(&activity, 1000, Moment::Flush), (HINTS.to_vec(), true));
}

#[test]
fn it_goes_before_an_answer_that_came_with_it_and_never_behind_one() {
    let activity = activity();
    let said = || Early::new(Arc::clone(&activity), None).voice().say_bytes(HINTS);
    said();
    assert!(!written(&activity, 1000, Moment::Write { flushed: true }).0.is_empty());
    for late in [Moment::Flush, Moment::Write { flushed: false }] {
        said();
        assert_eq!(written(&activity, 1000, late), (Vec::new(), true));
        assert!(!activity.interim.waits());
    }
}

#[test]
fn what_has_begun_is_ended_before_anything_else() {
    let activity = activity();
    let early = Early::new(Arc::clone(&activity), None);
    early.voice().say_bytes(HINTS);
    assert_eq!(written(&activity, 5, Moment::Flush), (HINTS[..5].to_vec(), false));
    drop(early);
    assert_eq!(written(&activity, 3, Moment::Flush), (HINTS[5..8].to_vec(), false));
    assert_eq!(written(&activity, 1000, Moment::Write { flushed: false }), (HINTS[8..].to_vec(), true));
    assert!(!activity.interim.waits());
}

#[test]
fn nobody_speaks_for_a_request_that_is_answered() {
    let activity = activity();
    let early = Early::new(Arc::clone(&activity), None);
    let voice = early.voice();
    drop(early);
    voice.say_bytes(HINTS);
    let _next = Early::new(Arc::clone(&activity), None);
    voice.say_bytes(HINTS);
    assert!(!activity.interim.waits() && !voice.may_speak());
}

#[test]
fn a_flood_ends() {
    let activity = activity();
    let early = Early::new(Arc::clone(&activity), None);
    let voice = early.voice();
    (0..2 * MOST).for_each(|_| voice.say_bytes(HINTS));
    assert_eq!(written(&activity, usize::MAX, Moment::Flush).0, HINTS.repeat(MOST));
    drop(early);
    let early = Early::new(Arc::clone(&activity), None);
    early.voice().say_bytes(&vec![b'x'; MOST_BYTES + 1]);
    assert!(!activity.interim.waits());
    early.voice().say_bytes(&vec![b'x'; MOST_BYTES]);
    early.voice().say_bytes(b"x");
    assert_eq!(written(&activity, usize::MAX, Moment::Flush).0.len(), MOST_BYTES);
}

#[tokio::test]
async fn it_goes_between_two_messages_and_into_none() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let activity = activity();
    let mut stream = Stream::new(Io::Plain(listener.accept().await.unwrap().0), Arc::clone(&activity));
    stream.write_all(b"one ").await.unwrap();
    let early = Early::new(Arc::clone(&activity), None);
    early.voice().say_bytes(HINTS);
    stream.write_all(b"message;").await.unwrap();
    stream.flush().await.unwrap();
    early.voice().say_bytes(HINTS);
    stream.write_all(b"another").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut taken = Vec::new();
    client.read_to_end(&mut taken).await.unwrap();
    assert_eq!(taken, [b"one message;", HINTS, HINTS, b"another"].concat());
}
