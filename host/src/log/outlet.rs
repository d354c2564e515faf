//! Writes a log on a thread of its own, so that one that nobody reads holds up no request.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// What may wait to be written; lines beyond it are dropped and counted.
const MOST_WAITING_BYTES: usize = 4 * 1024 * 1024;

/// Takes lines, and never waits.
pub(super) struct Outlet {
    queue: Sender<Message>,
    waiting_bytes: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
}

enum Message {
    Lines(Vec<u8>),
    /// All that was taken before is written.
    Flush(Sender<()>),
}

impl Outlet {
    /// An outlet whose thread writes to `sink`. `name` is what people know the log by. Where the machine gives no thread every
    /// line is dropped.
    pub(super) fn new(name: &'static str, sink: impl Write + Send + 'static) -> Self {
        let (queue, messages) = channel();
        let outlet = Self { queue, waiting_bytes: Arc::default(), dropped: Arc::default() };
        let (waiting_bytes, dropped) = (Arc::clone(&outlet.waiting_bytes), Arc::clone(&outlet.dropped));
        let thread = std::thread::Builder::new().name(format!("{name}-log"));
        if let Err(fault) = thread.spawn(move || write(name, sink, &messages, &waiting_bytes, &dropped)) {
            eprintln!("log {name}: no thread to write it: {fault}");
        }
        outlet
    }

    /// Takes whole lines, to be written together; drops them where too much waits already.
    pub(super) fn take(&self, lines: Vec<u8>) {
        let bytes = lines.len();
        let waiting = self.waiting_bytes.fetch_add(bytes, Relaxed);
        let refused = match waiting > MOST_WAITING_BYTES {
            true => lines,
            false => match self.queue.send(Message::Lines(lines)) {
                Ok(()) => return,
                Err(refused) => refused.0.lines(),
            },
        };
        self.waiting_bytes.fetch_sub(bytes, Relaxed);
        self.dropped.fetch_add(count(&refused), Relaxed);
    }

    /// Lines that were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Waits until what was taken is written, at most so long.
    pub(super) fn flush(&self, most: Duration) {
        let (done, written) = channel();
        if self.queue.send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(most);
        }
    }
}

impl Message {
    fn lines(self) -> Vec<u8> {
        match self {
            Self::Lines(lines) => lines,
            Self::Flush(_) => Vec::new(),
        }
    }
}

/// One line, as `tracing` writes it.
impl Write for &Outlet {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.take(line.to_vec());
        Ok(line.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes for as long as the outlet lives, and says it when lines were dropped.
fn write(name: &str, sink: impl Write, messages: &Receiver<Message>, waiting_bytes: &AtomicUsize, dropped: &AtomicU64) {
    let mut pen = Pen { name, sink, torn: false, fails: false };
    let mut told = 0;
    while let Ok(message) = messages.recv() {
        match message {
            Message::Lines(lines) => {
                let unwritten = pen.write(&lines);
                dropped.fetch_add(unwritten, Relaxed);
                told += unwritten;
                waiting_bytes.fetch_sub(lines.len(), Relaxed);
            }
            Message::Flush(done) => {
                let _ = done.send(());
            }
        }
        let now = dropped.load(Relaxed);
        if now > told {
            tracing::warn!(log = name, lines = now - told, "lines were dropped: the log is not read fast enough");
            told = now;
        }
    }
}

/// Writes lines where that can be done.
struct Pen<'a, W> {
    name: &'a str,
    sink: W,
    /// Whether what was written last is the beginning of a line.
    torn: bool,
    /// Whether it cannot be done at present.
    fails: bool,
}

impl<W: Write> Pen<'_, W> {
    /// Writes whole lines; answers how many of them were not. The first one is told, and so is the end of it: where this is the
    /// log of what is told, whoever looks at the metrics sees it.
    fn write(&mut self, lines: &[u8]) -> u64 {
        let (rest, outcome) = self.put(lines);
        let failed = std::mem::replace(&mut self.fails, outcome.is_err());
        match outcome {
            Ok(()) if failed => tracing::info!(log = self.name, "the log is written again"),
            Err(fault) if !failed => {
                tracing::warn!(log = self.name, reason = %fault, "lines are dropped: the log cannot be written");
            }
            _ => {}
        }
        count(rest)
    }

    /// What is left, and why.
    fn put<'l>(&mut self, lines: &'l [u8]) -> (&'l [u8], std::io::Result<()>) {
        let mut rest = lines;
        let outcome = self.put_all(&mut rest);
        let written = lines.strip_suffix(rest).unwrap_or_default();
        self.torn = written.last().map_or(self.torn, |last| *last != b'\n');
        (rest, outcome)
    }

    fn put_all(&mut self, rest: &mut &[u8]) -> std::io::Result<()> {
        if self.torn {
            self.sink.write_all(b"\n")?;
            self.torn = false;
        }
        while !rest.is_empty() {
            match self.sink.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(bytes) => *rest = rest.get(bytes..).unwrap_or_default(),
                Err(fault) if fault.kind() == ErrorKind::Interrupted => {}
                Err(fault) => return Err(fault),
            }
        }
        self.sink.flush()
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// Where lines are kept; it can be shut.
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn lines_are_written_in_order() {
        let sink = Sink::default();
        let outlet = Outlet::new("test", sink.clone());
        (0..100).for_each(|number| outlet.take(format!("{number}\n").into_bytes()));
        outlet.flush(LONG);
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, (0..100).map(|number| format!("{number}\n")).collect::<String>());
        assert_eq!(outlet.dropped(), 0);
    }

    #[test]
    fn what_waits_is_bounded_and_what_is_dropped_is_counted() {
        let sink = Sink::default();
        let outlet = Outlet::new("test", sink.clone());
        let shut = sink.0.lock().unwrap();
        let line = || [vec![b'x'; 1023], vec![b'\n']].concat();
        (0..10_000).for_each(|_| outlet.take([line(), line()].concat()));
        let dropped = outlet.dropped();
        drop(shut);
        outlet.flush(LONG);
        let written = sink.0.lock().unwrap().len() / 1024;
        assert_eq!(written as u64 + dropped, 20_000);
        assert!((4096..4096 + 8).contains(&written), "{written}");
        assert_eq!(outlet.waiting_bytes.load(Relaxed), 0);
    }

    #[test]
    fn a_sink_that_is_gone_costs_its_lines_only() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let outlet = Outlet::new("test", writer);
        outlet.take(b"lost\n".to_vec());
        outlet.flush(LONG);
        assert_eq!((outlet.dropped(), outlet.waiting_bytes.load(Relaxed)), (1, 0));
    }

    /// A disk with so many bytes left.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(usize, Vec<u8>)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let (left, written) = &mut *self.0.lock().unwrap();
            if *left == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            let fit = bytes.len().min(*left);
            *left -= fit;
            written.extend_from_slice(&bytes[..fit]);
            Ok(fit)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_costs_what_does_not_fit_and_nothing_behind_it() {
        let disk = Disk::default();
        let outlet = Outlet::new("test", disk.clone());
        let take = |room: usize, lines: &str| {
            disk.0.lock().unwrap().0 += room;
            outlet.take(lines.into());
            outlet.flush(LONG);
            outlet.dropped()
        };
        assert_eq!(take(8, "one\ntwo\n"), 0);
        assert_eq!(take(6, "one\ntwo\nthree\n"), 2);
        assert_eq!(take(0, "four\n"), 3);
        assert_eq!(take(1, "five\n"), 4, "there is room for the end of what was begun");
        assert_eq!(take(100, "six\n"), 4);
        let text = String::from_utf8(disk.0.lock().unwrap().1.clone()).unwrap();
        assert_eq!(text, "one\ntwo\none\ntw\nsix\n");
    }
}
