//! Debian packages: what is missing is installed or fetched, nothing else is touched.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{installed, output, run};

/// Installs the packages whose program is missing: pairs of program and package.
///
/// # Errors
///
/// apt-get fails, or we are not root and there is no sudo.
pub fn install_missing(wanted: &[(&str, &str)]) -> Result<()> {
    let missing = wanted.iter().filter(|(program, _)| !installed(program)).map(|(_, package)| *package);
    let missing = missing.collect::<Vec<_>>();
    let Some(first) = missing.first() else { return Ok(()) };
    println!("xtask: installing {}", missing.join(", "));
    fresh_lists(first)?;
    run(as_root("apt-get").args(["install", "--yes", "--quiet=2", "--no-install-recommends"]).args(&missing))
}

/// Updates apt's lists where they do not know a package.
///
/// # Errors
///
/// There is no apt, or it does not know the package even then.
pub fn fresh_lists(package: &str) -> Result<()> {
    if !installed("apt-get") {
        bail!("this machine has no apt-get, and needs the Debian package {package}");
    }
    if known(package)? {
        return Ok(());
    }
    println!("xtask: updating the package lists");
    run(as_root("apt-get").args(["update", "--quiet=2"]))?;
    if known(package)? { Ok(()) } else { bail!("no package {package} in apt's lists") }
}

/// The first package whose name begins with `prefix` among those that `package` depends on.
///
/// # Errors
///
/// There is none.
pub fn dependency(package: &str, prefix: &str) -> Result<String> {
    let text = output(Command::new("apt-cache").args(["depends", package]))?;
    match find_dependency(&text, prefix) {
        Some(name) => Ok(name.to_string()),
        None => bail!("{package} depends on no {prefix}…"),
    }
}

/// Fetches packages into `folder` and unpacks them below `root`; nothing is installed.
///
/// # Errors
///
/// A package cannot be fetched or unpacked.
pub fn unpack(packages: &[&str], folder: &Path, root: &Path) -> Result<()> {
    run(Command::new("apt-get").args(["download", "--quiet=2"]).args(packages).current_dir(folder))?;
    for entry in std::fs::read_dir(folder)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg").arg("-x").arg(&file).arg(root))?;
            std::fs::remove_file(&file)?;
        }
    }
    Ok(())
}

fn known(package: &str) -> Result<bool> {
    let text = output(Command::new("apt-cache").args(["policy", package]))?;
    Ok(text.lines().any(|line| line.trim().starts_with("Candidate:") && !line.contains("(none)")))
}

fn as_root(program: &str) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

fn find_dependency<'a>(depends: &'a str, prefix: &str) -> Option<&'a str> {
    depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: ")).find(|name| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::find_dependency;

    #[test]
    fn a_dependency_is_found_by_its_beginning() {
        let depends = "libstd-rust-web-1.96\n  Depends: libc6\n  Depends: libllvm22\n  Conflicts: <libllvm>\n";
        assert_eq!(find_dependency(depends, "libllvm"), Some("libllvm22"));
        assert_eq!(find_dependency(depends, "rustc"), None);
    }
}
