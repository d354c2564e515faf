//! The thread that watches, for real.

use super::*;

#[test]
fn changes_are_noticed_as_they_happen() {
    let world = World::new();
    let (_watch, events) = world.watch();
    world.write(".new", "1");
    fs::rename(world.at(".new"), world.at("a.wasm")).expect("renamed");
    assert_eq!(next(&events), "a = 1");
    world.write("a.wasm", "2");
    assert_eq!(next(&events), "a = 2");
    let mut file = fs::OpenOptions::new().append(true).open(world.at("a.wasm")).expect("opened");
    file.write_all(b"3").expect("written");
    assert_eq!(next(&events), "a = 23");
    fs::remove_file(world.at("a.wasm")).expect("removed");
    assert_eq!(next(&events), "a removed");
}

#[test]
fn a_half_written_file_never_becomes_a_plugin() {
    let world = World::new();
    let (_watch, events) = world.watch();
    let whole = "x".repeat(500);
    // A writer that is never silent for the quiet time, as long as the machine lets it.
    let mut file = fs::File::create(world.at("a.wasm")).expect("created");
    let mut longest = Duration::ZERO;
    let mut last = Instant::now();
    for piece in whole.as_bytes().chunks(1) {
        file.write_all(piece).expect("written");
        file.sync_data().expect("written");
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    let seen = next(&events);
    assert!(
        seen == format!("a = {whole}") || longest >= QUIET,
        "{seen} though the writer was silent for {longest:?} at most"
    );
}

#[test]
fn a_folder_that_appears_later_is_found() {
    let world = World::new();
    fs::remove_dir(world.at("")).expect("removed");
    let (_watch, events) = world.watch();
    assert_eq!(next(&events), "lost");
    fs::create_dir(world.at("")).expect("a folder");
    world.write("a.wasm", "1");
    assert_eq!(next(&events), "found");
    assert_eq!(next(&events), "a = 1");
    world.write("a.wasm", "2");
    assert_eq!(next(&events), "a = 2");
}

#[test]
fn what_is_asked_for_again_is_told_again_and_so_is_its_end() {
    let world = World::new();
    world.write("a.wasm", "1");
    world.write("b.wasm", "2");
    let (watch, events) = world.watch();
    assert_eq!([next(&events), next(&events)], ["a = 1", "b = 2"]);
    watch.again(&"a".into());
    assert_eq!(next(&events), "a = 1");
    watch.again(&"b".into());
    fs::remove_file(world.at("b.wasm")).expect("removed");
    assert!(["b removed", "b = 2"].contains(&&*next(&events)));
}

#[test]
fn dropping_the_watch_ends_its_thread() {
    let world = World::new();
    let (watch, events) = world.watch();
    drop(watch);
    assert_eq!(events.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
}
