//! Child processes: run to their end, or held by a value that ends them.

use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How often a child is asked whether it has ended.
const GLANCE: Duration = Duration::from_millis(20);
/// A child that was told to end and has not is killed this late.
const GRACE: Duration = Duration::from_secs(10);

/// Runs a command to its end, with our terminal.
///
/// # Errors
///
/// It cannot be started, or it ends with anything but 0.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", name(command)))?;
    good(status, command)
}

/// Runs a command to its end and answers what it wrote to its standard output.
///
/// # Errors
///
/// It cannot be started, ends with anything but 0, or writes what is not UTF-8.
pub fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start {}", name(command)))?;
    good(output.status, command)?;
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs a command that may hang: it is killed after `most`.
///
/// # Errors
///
/// As [`run`], or it took too long.
pub fn run_within(command: &mut Command, most: Duration) -> Result<()> {
    let mut running = Running::start(command)?;
    match running.ended_by(Instant::now() + most)? {
        Some(status) => good(status, command),
        None => bail!("{} took longer than {} s", name(command), most.as_secs()),
    }
}

/// Whether a program of this name is in `PATH` or where administrators' programs are.
pub fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).collect::<Vec<_>>();
    folders.push("/usr/sbin".into());
    folders.iter().any(|folder| folder.join(program).is_file())
}

/// A command whose process is told to end when we do, however we end: a signal that kills us drops no value.
pub fn tied(program: &Path) -> Command {
    if !installed("setpriv") {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]).arg(program);
    command
}

/// A child process that ends, at the latest, with this value: SIGTERM, then SIGKILL after ten seconds.
///
/// It is in a process group of its own, so that a Ctrl-C reaches us alone and we end it in order.
#[must_use = "dropping it ends the process"]
pub struct Running {
    child: Child,
    name: String,
}

impl Running {
    /// Starts a command.
    ///
    /// # Errors
    ///
    /// The program is missing or cannot be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = name(command);
        let child = command.process_group(0).spawn().map_err(|fault| match fault.kind() {
            ErrorKind::NotFound => anyhow::anyhow!("{name} is not there"),
            _ => anyhow::Error::new(fault).context(format!("cannot start {name}")),
        })?;
        Ok(Self { child, name })
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails once the process has ended: for loops that wait for something that it should do.
    ///
    /// # Errors
    ///
    /// It has ended, whatever its status.
    pub fn still(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} has ended: {status}", self.name),
        }
    }

    /// Waits for the process to end, until a moment at most; `None`: it still runs.
    fn ended_by(&mut self, moment: Instant) -> Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= moment {
                return Ok(None);
            }
            sleep(GLANCE);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let (Ok(None), Some(id)) = (self.child.try_wait(), Pid::from_raw(self.child.id().cast_signed())) {
            // Failures mean that it ended by itself in between.
            let _ = kill_process(id, Signal::TERM);
        }
        if !matches!(self.ended_by(Instant::now() + GRACE), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn good(status: ExitStatus, command: &Command) -> Result<()> {
    if status.success() { Ok(()) } else { bail!("{}: {status}", name(command)) }
}

/// The program without its folder, and its first argument: enough to know which command it was.
fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    match command.get_args().next() {
        Some(first) => format!("{program} {}", first.to_string_lossy()),
        None => program.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_hangs_is_killed() {
        let fault = run_within(Command::new("sleep").arg("60"), Duration::from_millis(30)).expect_err("too long");
        assert!(fault.to_string().contains("took longer"), "{fault}");
    }

    #[test]
    fn a_status_other_than_zero_is_an_error_that_names_the_command() {
        let fault = run(Command::new("/bin/sh").args(["-c", "exit 3"])).expect_err("not good");
        assert!(fault.to_string().starts_with("sh -c: exit status: 3"), "{fault}");
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let running = Running::start(Command::new("sleep").arg("60")).expect("there is a sleep");
        let folder = format!("/proc/{}", running.id());
        assert!(Path::new(&folder).exists());
        drop(running);
        assert!(!Path::new(&folder).exists());
    }
}
