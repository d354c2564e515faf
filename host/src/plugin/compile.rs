//! From a file to a version, off the path: compiled code from the cache at once, all else one after the other on threads of
//! low priority.
//!
//! One file is compiled at a time, unless it takes long: then the next one is begun beside it. A compile cannot be stopped.
//! One that takes longer than it may counts as failed: it goes on with the lowest priority, and what it makes is taken after all,
//! for a machine may only have been busy. One whose file has been replaced meanwhile goes on like that too, and what it makes is
//! thrown away. At most [`MOST_BESIDE`] may be going on like that; then files that are not in the cache wait until one has ended.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::engine::{Engine, LoadFault, Version};

mod priority;

use priority::Thread;

/// A compile that takes longer holds up no other.
const PROMPT: Duration = Duration::from_secs(1);
/// Compiles that take longer than that, or that nobody waits for any more, beside the one that is prompt.
const MOST_BESIDE: usize = 3;
/// Files that wait to be compiled, together; one is always taken.
const MOST_WAITING_BYTES: usize = 256 << 20;
/// The compiler is a deep program, and what it is given may be made to be deep.
const STACK_BYTES: usize = 16 << 20;

/// A file that is to become a version.
#[derive(Clone)]
pub struct Source {
    /// The plugin's name.
    pub name: Arc<str>,
    /// The whole file.
    pub bytes: Bytes,
    /// The SHA-256 of these bytes.
    pub digest: [u8; 32],
    /// When the last change of the file was noticed.
    pub noticed: Instant,
}

/// What became of a [`Source`].
pub struct Loaded {
    /// The plugin's name.
    pub name: Arc<str>,
    /// The SHA-256 of the file.
    pub digest: [u8; 32],
    /// When the last change of the file was noticed.
    pub noticed: Instant,
    /// The version, or what is wrong with the file.
    pub version: Result<Arc<Version>, LoadFault>,
}

/// Makes versions of files for as long as it lives.
pub struct Compiler {
    messages: Sender<Message>,
}

enum Message {
    File(Source),
    /// The compile of this number ended, in time or not.
    Compiled(u64, Result<Version, LoadFault>),
    End,
}

impl Compiler {
    /// Starts the thread that minds it all. No compile may take longer than `most_time`; `deliver` gets what became of each
    /// file, in the order in which that is known. A file that is replaced while it waits gets no answer.
    ///
    /// # Errors
    /// There is no thread.
    pub fn start(
        engine: Arc<Engine>,
        most_time: Duration,
        deliver: impl FnMut(Loaded) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (messages, inbox) = channel();
        let desk = Desk {
            engine,
            most_time,
            deliver: Box::new(deliver),
            messages: messages.clone(),
            waiting: VecDeque::new(),
            running: Vec::new(),
            count: 0,
        };
        std::thread::Builder::new().name("plugin-load".into()).spawn(move || desk.work(&inbox))?;
        Ok(Self { messages })
    }

    /// Makes a version of a file, instead of an earlier one of the same name that waits.
    pub fn load(&self, source: Source) {
        // The thread ends with this value.
        let _ = self.messages.send(Message::File(source));
    }
}

impl Drop for Compiler {
    fn drop(&mut self) {
        // What is still being compiled ends by itself, and nobody hears of it.
        let _ = self.messages.send(Message::End);
    }
}

/// The thread that minds files and compiles.
struct Desk {
    engine: Arc<Engine>,
    most_time: Duration,
    deliver: Box<dyn FnMut(Loaded) + Send>,
    messages: Sender<Message>,
    waiting: VecDeque<Source>,
    running: Vec<Running>,
    count: u64,
}

/// A compile.
struct Running {
    number: u64,
    source: Source,
    since: Instant,
    pace: Pace,
    thread: Thread,
    handle: JoinHandle<()>,
}

#[derive(Clone, Copy, PartialEq)]
enum Pace {
    /// It has just begun: the next one waits for it.
    Prompt,
    /// It takes long.
    Long,
    /// It took too long, which was told.
    Late,
    /// Nobody waits for it.
    GivenUp,
}

impl Desk {
    fn work(mut self, inbox: &Receiver<Message>) {
        loop {
            let due = self.running.iter().filter_map(|running| running.due(self.most_time)).min();
            let message = match due {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => inbox.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            match message {
                Ok(Message::File(source)) => self.file(source),
                Ok(Message::Compiled(number, version)) => self.compiled(number, version),
                Err(RecvTimeoutError::Timeout) => self.take_long(Instant::now()),
                Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
            self.go_on();
        }
    }

    fn file(&mut self, source: Source) {
        self.waiting.retain(|waiting| waiting.name != source.name);
        for running in self.running.iter_mut().filter(|running| running.is_of(&source.name)) {
            if running.source.digest == source.digest {
                return;
            }
            running.slow_down(Pace::GivenUp);
        }
        if let Some(version) = self.engine.cached(&source) {
            return self.tell(&source, version.map(Arc::new));
        }
        let waiting: usize = self.waiting.iter().map(|source| source.bytes.len()).sum();
        if waiting > 0 && waiting.saturating_add(source.bytes.len()) > MOST_WAITING_BYTES {
            return self.tell(&source, Err(LoadFault::Crowd));
        }
        self.waiting.push_back(source);
    }

    /// Begins with the next file where nothing is in its way.
    fn go_on(&mut self) {
        let beside = self.running.iter().filter(|running| running.pace != Pace::Prompt).count();
        if beside >= MOST_BESIDE || beside < self.running.len() {
            return;
        }
        let Some(source) = self.waiting.pop_front() else { return };
        self.count += 1;
        let (number, thread) = (self.count, Thread::default());
        let compile = {
            let (engine, messages) = (Arc::clone(&self.engine), self.messages.clone());
            let (source, thread) = (source.clone(), thread.clone());
            move || {
                thread.begin();
                let version = std::panic::catch_unwind(AssertUnwindSafe(|| engine.compile(&source)));
                // Nobody listens any more where the gateway stops.
                let _ = messages.send(Message::Compiled(number, version.unwrap_or(Err(LoadFault::Compiler))));
            }
        };
        let spawned = std::thread::Builder::new().name("plugin-compile".into()).stack_size(STACK_BYTES).spawn(compile);
        match spawned {
            Ok(handle) => {
                let (since, pace) = (Instant::now(), Pace::Prompt);
                self.running.push(Running { number, source, since, pace, thread, handle });
            }
            Err(fault) => self.tell(&source, Err(LoadFault::NoThread(fault.to_string()))),
        }
    }

    fn compiled(&mut self, number: u64, version: Result<Version, LoadFault>) {
        let Some(place) = self.running.iter().position(|running| running.number == number) else { return };
        let running = self.running.swap_remove(place);
        if running.pace == Pace::GivenUp {
            return;
        }
        let version = version.map(Arc::new);
        let kept = version.as_ref().ok().cloned();
        self.tell(&running.source, version);
        if let Some(version) = kept {
            // The next one need not wait until this one is on disk.
            self.go_on();
            self.engine.keep(&version);
        }
    }

    /// Minds the compiles that have taken long, or too long.
    fn take_long(&mut self, now: Instant) {
        let mut failed = Vec::new();
        for running in self.running.iter_mut().filter(|running| running.is_due()) {
            let time = now.saturating_duration_since(running.since);
            if time >= self.most_time {
                running.slow_down(Pace::Late);
                failed.push(running.source.clone());
            } else if time >= PROMPT {
                running.slow_down(Pace::Long);
            }
        }
        failed.iter().for_each(|source| self.tell(source, Err(LoadFault::Slow(self.most_time))));
    }

    fn tell(&mut self, source: &Source, version: Result<Arc<Version>, LoadFault>) {
        let Source { name, digest, noticed, .. } = source;
        (self.deliver)(Loaded { name: Arc::clone(name), digest: *digest, noticed: *noticed, version });
    }
}

impl Running {
    /// Whether somebody waits for it under this name.
    fn is_of(&self, name: &str) -> bool {
        *self.source.name == *name && self.pace != Pace::GivenUp
    }

    /// Whether it may yet take long, or too long.
    fn is_due(&self) -> bool {
        matches!(self.pace, Pace::Prompt | Pace::Long)
    }

    /// When it will have taken long, or too long.
    fn due(&self, most_time: Duration) -> Option<Instant> {
        match self.pace {
            Pace::Prompt => Some(self.since + PROMPT.min(most_time)),
            Pace::Long => Some(self.since + most_time),
            Pace::Late | Pace::GivenUp => None,
        }
    }

    fn slow_down(&mut self, pace: Pace) {
        self.pace = pace;
        // The number of a thread that has ended may be another's.
        if !self.handle.is_finished() {
            self.thread.slow_down(pace);
        }
    }
}
