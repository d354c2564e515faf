//! The product's command line, as a process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::call::Call;
use crate::connection::Connection;
use crate::setup::{Setup, Voice, config_file};
use crate::{until, within};

/// The command line of a binary.
pub struct Command {
    binary: &'static Path,
    environment: Vec<(String, String)>,
    sockets: Vec<std::net::TcpListener>,
    log_is_read: bool,
    disk_is_full: bool,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; none: a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub output: String,
    /// What it wrote to standard error.
    pub errors: String,
}

impl Ended {
    fn of(output: std::process::Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code(), output: text(output.stdout), errors: text(output.stderr) }
    }
}

impl Command {
    /// Of this binary.
    #[must_use]
    pub fn of(binary: &'static str) -> Self {
        let binary = Path::new(binary);
        Self { binary, environment: Vec::new(), sockets: Vec::new(), log_is_read: true, disk_is_full: false }
    }

    /// With this variable in its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this socket to listen on, passed as systemd does it.
    #[must_use]
    pub fn socket(mut self, socket: &std::net::TcpListener) -> Self {
        self.sockets.push(socket.try_clone().unwrap());
        self
    }

    /// Nobody reads what it writes, once it serves, until [`Program::reads_log`].
    #[must_use]
    pub fn with_an_unread_log(mut self) -> Self {
        self.log_is_read = false;
        self
    }

    /// What it writes to standard output, once it serves, goes to a disk that is full.
    #[must_use]
    pub fn on_a_full_disk(mut self) -> Self {
        self.disk_is_full = true;
        self
    }

    fn command(&self) -> tokio::process::Command {
        let mut command = match self.sockets.is_empty() {
            true => tokio::process::Command::new(self.binary),
            false => self.activated(),
        };
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// A process that finds its sockets from the third descriptor on (sd_listen_fds(3)).
    fn activated(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("sh");
        // The shell's number stays that of what it becomes.
        command.args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""]).arg(self.binary);
        command.env("LISTEN_FDS", self.sockets.len().to_string());
        let mappings = self
            .sockets
            .iter()
            .zip(3..)
            .map(|(socket, child_fd)| FdMapping { parent_fd: socket.try_clone().unwrap().into(), child_fd });
        command.fd_mappings(mappings.collect()).unwrap();
        command
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// It does not end.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(within("the end of a command", self.command().args(arguments).output()).await.unwrap())
    }

    /// Runs it to its end, with this as its standard input.
    ///
    /// # Panics
    /// It does not end, or does not read.
    pub async fn run_with(&self, input: &str, arguments: &[&str]) -> Ended {
        let mut command = self.command();
        let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        Ended::of(within("the end of a command", child.wait_with_output()).await.unwrap())
    }

    /// Starts a gateway, and comes back when it serves.
    ///
    /// # Panics
    /// It does not.
    pub async fn start(&self, setup: Setup) -> Program {
        let (folder, _) = setup.write(Voice::Full);
        let file = config_file(folder.path());
        self.start_with(folder, &file).await
    }

    /// Starts a gateway with this file of a folder as its configuration, and comes back when it serves. It logs as JSON, and
    /// has an admin listener.
    ///
    /// # Panics
    /// It does not.
    pub async fn start_with(&self, folder: TempDir, file: &Path) -> Program {
        let mut command = self.command();
        command.args(["run", "--config"]).arg(file);
        let output = match self.disk_is_full {
            true => std::fs::File::options().write(true).open("/dev/full").unwrap().into(),
            false => Stdio::piped(),
        };
        let mut child = command.stdout(output).stderr(Stdio::piped()).spawn().unwrap();
        let (reading, read) = watch::channel(self.log_is_read);
        let output = child.stdout.take().map_or_else(|| unbounded_channel().1, |output| lines(output, read.clone()));
        let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = listening(&mut errors, "listening").await;
        let admin = listening(&mut errors, "admin listening").await;
        let errors = tokio::spawn(async move {
            begins(read).await;
            let mut text = String::new();
            errors.into_inner().read_to_string(&mut text).await.map(|_| text)
        });
        Program { address, admin, child, output, errors, reading, folder }
    }
}

/// Waits until the log is to be read.
async fn begins(mut read: watch::Receiver<bool>) {
    // Where the test has ended it is read to its end.
    let _ = read.wait_for(|read| *read).await;
}

/// The lines of a process's output, once they are to be read.
fn lines(output: ChildStdout, read: watch::Receiver<bool>) -> UnboundedReceiver<String> {
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(async move {
        begins(read).await;
        let mut lines = BufReader::new(output).lines();
        // Where the test has ended nobody wants them.
        while let Ok(Some(line)) = lines.next_line().await
            && sender.send(line).is_ok()
        {}
    });
    receiver
}

/// Waits for the log's line, in JSON or for people, that says where something listens.
async fn listening(errors: &mut Lines<BufReader<ChildStderr>>, message: &str) -> SocketAddr {
    loop {
        let line = within(message, errors.next_line()).await.unwrap();
        let line = line.unwrap_or_else(|| panic!("it ended before {message:?}"));
        let address = match serde_json::from_str::<Value>(&line) {
            Ok(event) if event["message"] == message => event["address"].as_str().map(str::to_owned),
            Ok(_) => None,
            Err(_) => line.split_once(&format!(" {message} address=")).map(|(_, address)| address.to_owned()),
        };
        if let Some(address) = address {
            return address.parse().unwrap();
        }
    }
}

/// A gateway in a process of its own; it is killed when this is dropped.
pub struct Program {
    /// Where clients come in.
    pub address: SocketAddr,
    /// Where operators look in.
    pub admin: SocketAddr,
    child: Child,
    output: UnboundedReceiver<String>,
    errors: JoinHandle<std::io::Result<String>>,
    reading: watch::Sender<bool>,
    folder: TempDir,
}

impl Program {
    /// A `GET` on a connection of its own.
    pub fn get(&self, target: &str) -> Call {
        Call::to(self.address, "GET", target)
    }

    /// What the admin listener answers.
    pub fn admin(&self, target: &str) -> Call {
        Call::to(self.admin, "GET", target)
    }

    /// The next line of the access log.
    ///
    /// # Panics
    /// None comes.
    pub async fn line(&mut self) -> Value {
        let line = self.text().await;
        serde_json::from_str(&line).unwrap_or_else(|fault| panic!("{fault}: {line}"))
    }

    /// The next line of the access log as it is.
    ///
    /// # Panics
    /// None comes.
    pub async fn text(&mut self) -> String {
        within("a line of the access log", self.output.recv()).await.expect("a line")
    }

    /// From now on what it writes is read.
    pub fn reads_log(&self) {
        self.reading.send_replace(true);
    }

    /// A connection over HTTP/1.1 that is kept.
    pub async fn http1(&self) -> Connection {
        Connection::http1(self.address, None).await
    }

    /// A connection over HTTP/2 with prior knowledge.
    pub async fn http2(&self) -> Connection {
        Connection::http2(self.address).await
    }

    /// Its configuration with one text in place of another comes into force.
    ///
    /// # Panics
    /// It does not.
    pub async fn replace(&self, old: &str, new: &str) {
        let applied =
            async || self.admin("/metrics").await.is(200).sample("gatewright_reloads_total{outcome=\"applied\"}");
        let (file, before) = (config_file(self.folder.path()), applied().await);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(old), "{old}: {text}");
        std::fs::write(&file, text.replace(old, new)).unwrap();
        until("it is applied", async || (applied().await > before).then_some(())).await;
    }

    /// Drops a plugin into its folder, in one step.
    ///
    /// # Panics
    /// There is no room.
    pub fn drop_in(&self, name: &str, bytes: &[u8]) {
        let plugins = self.folder.path().join("plugins");
        let draft = plugins.join(".draft");
        std::fs::write(&draft, bytes).unwrap();
        std::fs::rename(draft, plugins.join(format!("{name}.wasm"))).unwrap();
    }

    /// Bytes of it that are in the machine's memory.
    ///
    /// # Panics
    /// It has ended, or the system has no `/proc`.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().expect("running"))).unwrap();
        let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        kibibytes.expect("a figure").parse::<u64>().unwrap() * 1024
    }

    /// How often its thread of this name has gone to sleep.
    ///
    /// # Panics
    /// It has none, or the system has no `/proc`.
    #[must_use]
    pub fn naps(&self, thread: &str) -> u64 {
        let tasks = format!("/proc/{}/task", self.child.id().expect("running"));
        let named =
            |folder: &PathBuf| std::fs::read_to_string(folder.join("comm")).is_ok_and(|name| name.trim() == thread);
        let mut tasks = std::fs::read_dir(tasks).unwrap().map(|task| task.unwrap().path());
        let status = std::fs::read_to_string(tasks.find(named).expect("the thread").join("status")).unwrap();
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        count.expect("a count").trim().parse().unwrap()
    }

    /// Sends it `SIGTERM`.
    ///
    /// # Panics
    /// It has ended already.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends it `SIGINT`, as Ctrl-C does.
    ///
    /// # Panics
    /// It has ended already.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Sends it this signal.
    ///
    /// # Panics
    /// It has ended already.
    pub fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("running");
        kill_process(Pid::from_raw(id.try_into().unwrap()).unwrap(), signal).unwrap();
    }

    /// Waits until it has ended, and answers how, with what it wrote since.
    ///
    /// # Panics
    /// It does not end.
    pub async fn ended(mut self) -> Ended {
        let end = async {
            let mut output = String::new();
            while let Some(line) = self.output.recv().await {
                output.push_str(&line);
                output.push('\n');
            }
            let errors = self.errors.await.unwrap().unwrap();
            Ended { code: self.child.wait().await.unwrap().code(), output, errors }
        };
        within("the end of the gateway", end).await
    }
}
