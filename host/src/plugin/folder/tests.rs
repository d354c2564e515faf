use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

mod watching;

const QUIET: Duration = Duration::from_millis(20);
const MOST: u64 = 1000;
/// Notices take milliseconds; this long is for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that goes when it is dropped, and clocks that move only when they are told.
struct World {
    place: PathBuf,
    folder: Folder,
    now: Instant,
}

impl World {
    fn new() -> World {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("gatewright-folder-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let place = std::env::temp_dir().join(name);
        fs::create_dir_all(place.join("plugins")).expect("a new folder");
        let folder = folder_at(&place.join("plugins"));
        World { place, folder, now: Instant::now() }
    }

    /// A path in the folder.
    fn at(&self, file: &str) -> PathBuf {
        self.place.join("plugins").join(file)
    }

    fn write(&self, file: &str, content: &str) {
        fs::write(self.at(file), content).expect("written");
    }

    /// A scan now, at a wall clock by which no file is old.
    fn scan(&mut self) -> Vec<Event> {
        self.folder.scan(self.now, SystemTime::UNIX_EPOCH, &BTreeMap::new())
    }

    /// A scan after the quiet time.
    fn quiet(&mut self) -> Vec<String> {
        self.now += QUIET;
        self.scan().iter().map(short).collect()
    }

    /// A scan that finds what is there, and one after the quiet time.
    fn settle(&mut self) -> Vec<String> {
        let mut events: Vec<_> = self.scan().iter().map(short).collect();
        events.extend(self.quiet());
        events
    }

    /// Watches for real.
    fn watch(&self) -> (Watch, Receiver<Event>) {
        let (sender, events) = channel();
        let deliver = move |event| {
            // The test may have ended.
            let _ = sender.send(event);
        };
        (watch(folder_at(&self.place.join("plugins")), deliver).expect("a thread"), events)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.place);
    }
}

fn folder_at(path: &Path) -> Folder {
    Folder::new(&Plugins {
        folder: path.into(),
        cache: None,
        quiet: QUIET,
        file_bytes: MOST,
        stack_bytes: Plugins::STACK_BYTES,
        compile_time: Duration::ZERO,
        probation: Duration::ZERO,
        offload_threads: 1,
        offload_queue: 1,
    })
}

fn short(event: &Event) -> String {
    match event {
        Event::Seen { name, bytes, digest, .. } => {
            assert_eq!(*digest, <[u8; 32]>::from(Sha256::digest(bytes)), "what is hashed is what is handed over");
            format!("{name} = {}", String::from_utf8_lossy(bytes))
        }
        Event::Refused { name, reason } => format!("{name}: {reason}"),
        Event::Removed { name } => format!("{name} removed"),
        Event::Lost(_) => "lost".into(),
        Event::Found => "found".into(),
    }
}

fn next(events: &Receiver<Event>) -> String {
    short(&events.recv_timeout(PATIENCE).expect("an event"))
}

#[test]
fn a_file_is_seen_once_when_it_was_quiet() {
    let mut world = World::new();
    world.write("a.wasm", "1");
    assert_eq!(world.scan(), []);
    assert_eq!(world.folder.due(), Some(world.now + QUIET));
    world.now += QUIET - Duration::from_millis(1);
    assert_eq!(world.scan(), []);
    let noticed = world.now - (QUIET - Duration::from_millis(1));
    world.now += Duration::from_millis(1);
    let digest = Sha256::digest("1").into();
    assert_eq!(world.scan(), [Event::Seen { name: "a".into(), bytes: "1".into(), digest, noticed }]);
    assert_eq!(world.settle(), [""; 0]);
    assert_eq!(world.folder.due(), None);
}

#[test]
fn what_was_handed_over_stays_as_it_was_whatever_is_read_next() {
    let mut world = World::new();
    let mut read = |content: &str| {
        world.write("a.wasm", content);
        world.scan();
        world.now += QUIET;
        match world.scan().as_slice() {
            [Event::Seen { bytes, .. }] => bytes.clone(),
            other => panic!("{other:?}"),
        }
    };
    let held = [read("first"), read("2nd"), read("the third")];
    let place = held[2].as_ptr();
    assert_eq!(held, ["first", "2nd", "the third"]);
    drop(held);
    let next = read("4th");
    assert_eq!((&*next, next.as_ptr()), (&b"4th"[..], place), "where nobody needs it its memory is room");
}

#[test]
fn each_piece_of_a_slow_writer_starts_the_quiet_time_again() {
    let mut world = World::new();
    let mut file = fs::File::create(world.at("a.wasm")).expect("created");
    for piece in ["1", "2", "3", "4"] {
        file.write_all(piece.as_bytes()).expect("written");
        assert_eq!(world.quiet(), [""; 0], "{piece}");
    }
    assert_eq!(world.quiet(), ["a = 1234"]);
}

#[test]
fn a_touch_starts_the_quiet_time_again_though_nothing_can_be_told_apart() {
    // A file system with coarse times, and a writer that writes as many bytes as were there.
    let mut world = World::new();
    world.write("a.wasm", "1");
    assert_eq!(world.scan(), []);
    world.now += QUIET;
    let touched = BTreeMap::from([("a.wasm".into(), world.now)]);
    assert_eq!(world.folder.scan(world.now, SystemTime::UNIX_EPOCH, &touched), []);
    assert_eq!(world.folder.due(), Some(world.now + QUIET));
    assert_eq!(world.quiet(), ["a = 1"]);
    assert_eq!(world.folder.scan(world.now, SystemTime::UNIX_EPOCH, &touched), [], "read again, and the same");
}

#[test]
fn a_file_that_lies_still_is_taken_at_once() {
    let mut world = World::new();
    world.write("a.wasm", "1");
    let wall = SystemTime::now() + Duration::from_secs(60);
    assert_eq!(world.folder.scan(world.now, wall, &BTreeMap::new()).len(), 1);
}

#[test]
fn only_another_content_is_news() {
    let mut world = World::new();
    world.write("a.wasm", "1");
    world.write("b.wasm", "1");
    assert_eq!(world.settle(), ["a = 1", "b = 1"]);
    world.write("a.wasm", "1");
    world.write("b.wasm", "2");
    assert_eq!(world.settle(), ["b = 2"]);
    fs::rename(world.at("b.wasm"), world.at("a.wasm")).expect("renamed");
    assert_eq!(world.settle(), ["b removed", "a = 2"]);
    fs::remove_file(world.at("a.wasm")).expect("removed");
    assert_eq!(world.settle(), ["a removed"]);
    world.write("a.wasm", "2");
    assert_eq!(world.settle(), ["a = 2"], "it was gone");
}

#[test]
fn a_file_that_was_never_told_of_goes_in_silence() {
    let mut world = World::new();
    world.write("a.wasm", "1");
    assert_eq!(world.scan(), []);
    fs::remove_file(world.at("a.wasm")).expect("removed");
    assert_eq!(world.settle(), [""; 0]);
}

#[test]
fn other_names_are_nothing() {
    let mut world = World::new();
    for file in [".a.wasm", ".a.wasm.Xy12", "a.wasm.tmp", "a.wasm~", "#a.wasm#", "README.md", "a.wat", "_tmp.wasm"] {
        world.write(file, "1");
    }
    fs::create_dir(world.at("sub")).expect("a folder");
    world.write("sub/b.wasm", "1");
    assert_eq!(world.settle(), [""; 0]);
}

#[test]
fn what_is_meant_for_us_and_not_taken_is_told_once_and_why() {
    let mut world = World::new();
    world.write("A.wasm", "1");
    world.write("a.cwasm", "1");
    fs::create_dir(world.at("dir.wasm")).expect("a folder");
    mknodat(CWD, world.at("fifo.wasm"), FileType::Fifo, Mode::RUSR, 0).expect("a FIFO");
    std::os::unix::net::UnixListener::bind(world.at("socket.wasm")).expect("a socket");
    symlink("/dev/zero", world.at("zero.wasm")).expect("a link");
    symlink("nowhere", world.at("dead.wasm")).expect("a link");
    assert_eq!(
        world.settle(),
        [
            "A.wasm: not a plugin's name: a lower-case letter or digit, then at most 63 of those, `-`, `_` and `.`",
            "a.cwasm: precompiled code is never taken from here; drop in the component itself (`.wasm`)",
            "dead: a symbolic link that leads nowhere",
            "dir: a directory, not a regular file",
            "fifo: a FIFO, not a regular file",
            "socket: a socket, not a regular file",
            "zero: a symbolic link that leads out of the folder",
        ]
    );
    assert_eq!(world.settle(), [""; 0], "once");
    fs::remove_file(world.at("fifo.wasm")).expect("removed");
    world.write("fifo.wasm", "1");
    assert_eq!(world.settle(), ["fifo = 1"], "repaired");
}

#[test]
fn a_file_that_is_too_long_is_refused_without_being_read() {
    let mut world = World::new();
    fs::File::create(world.at("a.wasm")).and_then(|file| file.set_len(100 << 20)).expect("a hole");
    world.write("b.wasm", &"x".repeat(MOST as usize));
    let began = Instant::now();
    let events = world.settle();
    assert_eq!(events.first().map(String::as_str), Some("a: 104857600 bytes; 1000 are the most"));
    assert!(events.get(1).is_some_and(|event| event.starts_with("b = ")), "exactly the most is taken");
    assert!(began.elapsed() < PATIENCE);
    world.write("a.wasm", "1");
    assert_eq!(world.settle(), ["a = 1"]);
}

#[test]
fn a_bad_file_leaves_what_was_seen_and_its_return_is_told() {
    let mut world = World::new();
    world.write("a.wasm", "1");
    assert_eq!(world.settle(), ["a = 1"]);
    world.write("a.wasm", &"x".repeat(MOST as usize + 1));
    assert_eq!(world.settle(), ["a: 1001 bytes; 1000 are the most"]);
    world.write("a.wasm", "1");
    assert_eq!(world.settle(), ["a = 1"], "the fault is over");
}

#[test]
fn a_link_is_followed_as_long_as_it_stays_in_the_folder() {
    let mut world = World::new();
    fs::write(world.place.join("secret"), "secret").expect("written");
    fs::create_dir(world.at("..1")).expect("a folder");
    fs::create_dir(world.at("..2")).expect("a folder");
    world.write("..1/a.wasm", "1");
    world.write("..2/a.wasm", "2");
    symlink("..1", world.at("..data")).expect("a link");
    symlink("..data/a.wasm", world.at("a.wasm")).expect("a link");
    symlink("../secret", world.at("b.wasm")).expect("a link");
    symlink("..1/../../secret", world.at("c.wasm")).expect("a link");
    let out = "a symbolic link that leads out of the folder";
    assert_eq!(world.settle(), [format!("b: {out}"), format!("c: {out}"), "a = 1".into()]);
    symlink("..2", world.at("..new")).expect("a link");
    fs::rename(world.at("..new"), world.at("..data")).expect("renamed");
    assert_eq!(world.settle(), ["a = 2"], "as Kubernetes swaps a volume");
}

#[test]
fn a_folder_that_is_itself_a_link_may_be_swapped() {
    let mut world = World::new();
    for (release, content) in [("r1", "1"), ("r2", "2")] {
        fs::create_dir(world.place.join(release)).expect("a folder");
        fs::write(world.place.join(release).join("a.wasm"), content).expect("written");
    }
    symlink("r1", world.place.join("current")).expect("a link");
    world.folder = folder_at(&world.place.join("current"));
    assert_eq!(world.settle(), ["a = 1"]);
    symlink("r2", world.place.join("new")).expect("a link");
    fs::rename(world.place.join("new"), world.place.join("current")).expect("renamed");
    assert_eq!(world.settle(), ["a = 2"]);
}

#[test]
fn a_folder_that_is_lost_removes_nothing() {
    let mut world = World::new();
    world.write("a.wasm", "1");
    assert_eq!(world.settle(), ["a = 1"]);
    fs::rename(world.at(""), world.place.join("away")).expect("renamed");
    assert_eq!(world.settle(), ["lost"]);
    fs::rename(world.place.join("away"), world.at("")).expect("renamed");
    assert_eq!(world.settle(), ["found"]);
    fs::remove_file(world.at("a.wasm")).expect("removed");
    assert_eq!(world.settle(), ["a removed"]);
}

#[test]
fn a_link_in_a_circle_is_refused_until_it_is_none() {
    let mut world = World::new();
    symlink("a.wasm", world.at("a.wasm")).expect("a link");
    assert_eq!(world.settle(), ["a: cannot be read: Too many levels of symbolic links (os error 40)"]);
    fs::remove_file(world.at("a.wasm")).expect("removed");
    world.write("a.wasm", "1");
    assert_eq!(world.settle(), ["a = 1"]);
}

#[test]
fn a_file_that_changes_between_look_and_read_waits_again() {
    let world = World::new();
    world.write("a.wasm", "1");
    let root = world.at("").canonicalize().expect("there");
    let Look::File(path, stamp) = look::look(&root, root.join("a.wasm")) else { panic!("a file") };
    world.write("a.wasm", "12");
    assert!(matches!(look::take(&path, stamp, MOST, Vec::new()), Taken::Changed));
    fs::remove_file(&path).expect("removed");
    assert!(matches!(look::take(&path, stamp, MOST, Vec::new()), Taken::Changed));
    symlink("/dev/zero", &path).expect("a link");
    assert!(matches!(look::take(&path, stamp, MOST, Vec::new()), Taken::Changed));
    fs::remove_file(&path).expect("removed");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).expect("a FIFO");
    assert!(matches!(look::take(&path, stamp, MOST, Vec::new()), Taken::Changed), "and a FIFO does not block");
}

#[test]
fn the_first_scan_has_everything() {
    let mut world = World::new();
    world.write("a.wasm", "1");
    world.write("b.wasm", "2");
    world.write("c.cwasm", "3");
    let mut events: Vec<_> = world.folder.scan_now().iter().map(short).collect();
    events.sort_unstable();
    assert!(
        matches!(events.as_slice(), [a, b, c] if a == "a = 1" && b == "b = 2" && c.starts_with("c.cwasm: ")),
        "{events:?}"
    );
}

#[test]
fn the_first_scan_of_no_folder_says_so() {
    let mut world = World::new();
    world.folder = folder_at(Path::new("/nowhere/at/all"));
    let expected = "plugin folder \"/nowhere/at/all\" cannot be listed: No such file or directory (os error 2)";
    let events = world.folder.scan_now();
    let [Event::Lost(fault)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(fault.to_string(), expected);
}
