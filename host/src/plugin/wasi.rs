//! WASI 0.2 with nothing behind it: most languages' runtimes import it, few policies use it.
//!
//! There are no files, no environment, no arguments and no sockets. Output becomes log lines; clocks and randomness count as
//! `clock.now` and `random`. All else traps when it is called. (wasmtime-wasi is not used: its synchronous host blocks on a
//! tokio runtime, and a worker is inside of one already.)

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use wasmtime::component::{Component, ComponentType, Lift, Linker, LinkerInstance, Lower, Resource};
use wasmtime::{Result, StoreContextMut, bail};

use super::capabilities::{State, fill_random};

/// What one call may draw or write at a time.
const MOST_BYTES: u64 = 64 * 1024;
/// Every handle is only a number here; the linker gives all resource types this one.
type Handle = Resource<()>;
type Store<'a> = StoreContextMut<'a, State>;

const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;

#[derive(ComponentType, Lower, Lift)]
#[component(variant)]
enum StreamFault {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Handle),
    #[component(name = "closed")]
    Closed,
}

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// Gives a component the parts of WASI that have an answer, and a trap in place of all others that it imports.
pub(super) fn link(linker: &mut Linker<State>, component: &Component, engine: &wasmtime::Engine) -> Result<()> {
    let kind = component.component_type();
    let names: Vec<&str> =
        kind.imports(engine).map(|(name, _)| name).filter(|name| name.starts_with("wasi:")).collect();
    if names.is_empty() {
        return Ok(());
    }
    for name in names {
        let interface = name.split('@').next().unwrap_or_default();
        let mut instance = linker.instance(name)?;
        match interface {
            "wasi:cli/environment" => environment(&mut instance)?,
            "wasi:cli/exit" => {
                instance.func_wrap("exit", |_, (_,): (Result<(), ()>,)| -> Result<()> { bail!("called exit") })?;
            }
            "wasi:cli/stdin" => handle(&mut instance, "get-stdin", STDIN)?,
            "wasi:cli/stdout" => handle(&mut instance, "get-stdout", STDOUT)?,
            "wasi:cli/stderr" => handle(&mut instance, "get-stderr", STDERR)?,
            "wasi:cli/terminal-stdin" => no_terminal(&mut instance, "get-terminal-stdin")?,
            "wasi:cli/terminal-stdout" => no_terminal(&mut instance, "get-terminal-stdout")?,
            "wasi:cli/terminal-stderr" => no_terminal(&mut instance, "get-terminal-stderr")?,
            "wasi:io/streams" => streams(&mut instance)?,
            "wasi:clocks/monotonic-clock" => monotonic(&mut instance)?,
            "wasi:clocks/wall-clock" => wall(&mut instance)?,
            "wasi:random/random" => random(&mut instance, ["get-random-bytes", "get-random-u64"])?,
            "wasi:random/insecure" => random(&mut instance, ["get-insecure-random-bytes", "get-insecure-random-u64"])?,
            "wasi:random/insecure-seed" => {
                instance.func_wrap("insecure-seed", |mut store: Store<'_>, (): ()| {
                    Ok(((draw(&mut store)?, draw(&mut store)?),))
                })?;
            }
            "wasi:filesystem/preopens" => {
                instance.func_wrap("get-directories", |_, (): ()| Ok((Vec::<(Handle, String)>::new(),)))?;
            }
            _ => {}
        }
    }
    linker.define_unknown_imports_as_traps(component)
}

fn environment(instance: &mut LinkerInstance<'_, State>) -> Result<()> {
    instance.func_wrap("get-environment", |_, (): ()| Ok((Vec::<(String, String)>::new(),)))?;
    instance.func_wrap("get-arguments", |_, (): ()| Ok((Vec::<String>::new(),)))?;
    instance.func_wrap("initial-cwd", |_, (): ()| Ok((None::<String>,)))
}

fn handle(instance: &mut LinkerInstance<'_, State>, function: &str, number: u32) -> Result<()> {
    instance.func_wrap(function, move |_, (): ()| Ok((Handle::new_own(number),)))
}

fn no_terminal(instance: &mut LinkerInstance<'_, State>, function: &str) -> Result<()> {
    instance.func_wrap(function, |_, (): ()| Ok((None::<Handle>,)))
}

fn streams(instance: &mut LinkerInstance<'_, State>) -> Result<()> {
    type Done<T> = (std::result::Result<T, StreamFault>,);
    for read in ["[method]input-stream.read", "[method]input-stream.blocking-read"] {
        instance
            .func_wrap(read, |_, (_, _): (Handle, u64)| -> Result<Done<Vec<u8>>> { Ok((Err(StreamFault::Closed),)) })?;
    }
    instance.func_wrap("[method]output-stream.check-write", |_, (_,): (Handle,)| -> Result<Done<u64>> {
        Ok((Ok(MOST_BYTES),))
    })?;
    for write in ["[method]output-stream.write", "[method]output-stream.blocking-write-and-flush"] {
        instance.func_wrap(write, |mut store: Store<'_>, (stream, bytes): (Handle, Vec<u8>)| -> Result<Done<()>> {
            let level = if stream.rep() == STDERR { tracing::Level::WARN } else { tracing::Level::INFO };
            let text = String::from_utf8_lossy(&bytes);
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                store.data_mut().write(level, line);
            }
            Ok((Ok(()),))
        })?;
    }
    for flush in ["[method]output-stream.flush", "[method]output-stream.blocking-flush"] {
        instance.func_wrap(flush, |_, (_,): (Handle,)| -> Result<Done<()>> { Ok((Ok(()),)) })?;
    }
    Ok(())
}

fn monotonic(instance: &mut LinkerInstance<'_, State>) -> Result<()> {
    let start = Instant::now();
    instance.func_wrap("now", move |mut store: Store<'_>, (): ()| {
        store.data_mut().trace.saw_clock = true;
        Ok((u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),))
    })?;
    instance.func_wrap("resolution", |_, (): ()| Ok((1_u64,)))
}

fn wall(instance: &mut LinkerInstance<'_, State>) -> Result<()> {
    instance.func_wrap("now", |mut store: Store<'_>, (): ()| {
        store.data_mut().trace.saw_clock = true;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok((Datetime { seconds: now.as_secs(), nanoseconds: now.subsec_nanos() },))
    })?;
    instance.func_wrap("resolution", |_, (): ()| Ok((Datetime { seconds: 0, nanoseconds: 1 },)))
}

fn random(instance: &mut LinkerInstance<'_, State>, [bytes, number]: [&str; 2]) -> Result<()> {
    instance.func_wrap(bytes, |mut store: Store<'_>, (count,): (u64,)| {
        store.data_mut().trace.saw_random = true;
        if count > MOST_BYTES {
            bail!("asked for {count} random bytes at once");
        }
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(0)];
        fill_random(&mut bytes)?;
        Ok((bytes,))
    })?;
    instance.func_wrap(number, |mut store: Store<'_>, (): ()| Ok((draw(&mut store)?,)))
}

fn draw(store: &mut Store<'_>) -> Result<u64> {
    store.data_mut().trace.saw_random = true;
    let mut bytes = [0; 8];
    fill_random(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
