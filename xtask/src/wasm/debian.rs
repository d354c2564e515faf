//! The fallback where rustup cannot fetch the Wasm target and a Debian archive is in reach: Debian's rustc, unpacked into a
//! cache folder (nothing is installed), which builds the target's std once from Debian's source.
//!
//! About 140 MB of download and a minute or two, once; then about 600 MB of cache.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::TARGET;
use crate::house;
use crate::packages::{dependency, fresh_lists, unpack};
use crate::process::{output, run};

/// The folder inside the cache. Its name changes with what is in it: an old one is not used again.
const NAME: &str = "debian-rust-1";
/// What rustup's linker folder has and Debian's lacks.
const TOOLS: [&str; 3] = ["rust-lld", "wasm-component-ld", "gcc-ld"];
/// Sets the way to the compiler's libraries. `$0` is absolute: cargo calls it so.
const WRAPPER: &str = "#!/bin/sh
here=${0%/*}
LD_LIBRARY_PATH=\"$here/usr/lib/ARCH-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\"
export LD_LIBRARY_PATH
exec \"$here/usr/bin/rustc\" \"$@\"
";

/// The compiler of an earlier [`build`], if there is one.
///
/// # Errors
///
/// The cache is there and rustup's linker cannot be linked into it.
pub fn cached(linker: &Path) -> Result<Option<PathBuf>> {
    let folder = cache()?.join(NAME);
    if !folder.is_dir() {
        return Ok(None);
    }
    link_tools(&folder, linker)?;
    Ok(Some(folder.join("rustc")))
}

/// Fetches, unpacks and builds, and answers the compiler. Two at once: the second waits and takes what the first made.
///
/// # Errors
///
/// The packages cannot be fetched, or std does not build.
pub fn build(linker: &Path) -> Result<PathBuf> {
    let cache = cache()?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let lock = File::create(cache.join("debian-rust.lock"))?;
    lock.lock()?;
    if let Some(rustc) = cached(linker)? {
        return Ok(rustc);
    }
    let draft = tempfile::Builder::new().prefix("debian-rust-draft-").tempdir_in(&cache)?;
    fetch(draft.path())?;
    link_tools(draft.path(), linker)?;
    write_wrapper(draft.path())?;
    build_std(draft.path(), linker)?;
    fs::remove_dir_all(draft.path().join("usr/src"))?;
    // A temporary folder is its owner's alone; the cache is as the user's umask would have it.
    fs::set_permissions(draft.path(), fs::Permissions::from_mode(0o755))?;
    let folder = cache.join(NAME);
    fs::rename(draft.path(), &folder)?;
    println!("xtask: Debian's Rust for guests is in {}", folder.display());
    Ok(folder.join("rustc"))
}

/// `$GATEWRIGHT_CACHE`, or `gatewright` in `$XDG_CACHE_HOME`, or in `~/.cache`.
fn cache() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("GATEWRIGHT_CACHE") {
        return Ok(std::path::absolute(folder)?);
    }
    let folder = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Ok(folder.context("neither GATEWRIGHT_CACHE nor XDG_CACHE_HOME nor HOME is set")?.join("gatewright"))
}

fn fetch(folder: &Path) -> Result<()> {
    fresh_lists("rustc-web")?;
    let std = dependency("libstd-rust-web-dev", "libstd-rust-web-")?;
    let llvm = dependency(&std, "libllvm")?;
    println!("xtask: fetching Debian's rustc-web, libstd-rust-web-dev, {std}, rust-web-src and {llvm} (about 140 MB)");
    unpack(&["rustc-web", "libstd-rust-web-dev", &std, "rust-web-src", &llvm], folder, folder)
}

/// Links rustup's linker and what it calls into the unpacked sysroot; again when rustup's toolchain has moved.
fn link_tools(folder: &Path, linker: &Path) -> Result<()> {
    let from = linker.parent().context("the linker has no folder")?;
    let host = from.parent().and_then(Path::file_name).context("the linker is in no toolchain")?;
    let to = folder.join("usr/lib/rustlib").join(host).join("bin");
    fs::create_dir_all(&to)?;
    for tool in TOOLS {
        let (original, link) = (from.join(tool), to.join(tool));
        if fs::read_link(&link).is_ok_and(|there| there == original) {
            continue;
        }
        let draft = to.join(format!("{tool}.{}", std::process::id()));
        symlink(&original, &draft)?;
        fs::rename(&draft, &link)?;
    }
    Ok(())
}

fn write_wrapper(folder: &Path) -> Result<()> {
    let wrapper = folder.join("rustc");
    fs::write(&wrapper, WRAPPER.replace("ARCH", std::env::consts::ARCH))?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Builds std from an empty crate and puts it where the compiler looks for it.
fn build_std(folder: &Path, linker: &Path) -> Result<()> {
    let wrapper = folder.join("rustc");
    let version = output(Command::new(&wrapper).arg("-V"))?;
    println!("xtask: building std for {TARGET} with {}", version.trim());
    let seed = folder.join("seed");
    fs::create_dir_all(seed.join("src"))?;
    fs::write(seed.join("src/lib.rs"), "")?;
    fs::write(seed.join("Cargo.toml"), "[package]\nname = \"seed\"\nedition = \"2021\"\n\n[workspace]\n")?;
    let mut cargo = house::cargo(&seed);
    cargo.args(["build", "--release", "-Zbuild-std=std,panic_abort", "--target", TARGET]);
    cargo.env("RUSTC", &wrapper).env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Cembed-bitcode=yes");
    cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker).env("CARGO_TARGET_DIR", seed.join("target"));
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS");
    run(&mut cargo)?;
    let to = folder.join("usr/lib/rustlib").join(TARGET).join("lib");
    let count = move_libraries(&seed.join("target").join(TARGET).join("release/deps"), &to)?;
    if count == 0 {
        bail!("building std made no library");
    }
    Ok(fs::remove_dir_all(&seed)?)
}

fn move_libraries(from: &Path, to: &Path) -> Result<usize> {
    fs::create_dir_all(to)?;
    let mut count = 0;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if text.ends_with(".rlib") && !text.starts_with("libseed-") {
            fs::rename(entry.path(), to.join(&name))?;
            count += 1;
        }
    }
    Ok(count)
}
