//! The endpoints of a drill: processes, the file that lists them, and the journals of what they were sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command};

use gatewright_tests::{Call, Port, port, until};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// All endpoints that a drill has, listed or not.
pub struct Endpoints {
    folder: TempDir,
    places: Vec<Port>,
    running: Vec<Child>,
}

impl Endpoints {
    /// So many, none of them listed yet.
    pub async fn start(count: usize) -> Self {
        let places: Vec<Port> = (0..count).map(|_| port()).collect();
        let mut endpoints = Self { folder: tempfile::tempdir().unwrap(), places, running: vec![] };
        for at in 0..count {
            let child = endpoints.spawn(at);
            endpoints.running.push(child);
        }
        for at in 0..count {
            endpoints.answers(at).await;
        }
        endpoints
    }

    /// Where one of them is.
    pub fn address(&self, at: usize) -> SocketAddr {
        self.places[at].address
    }

    /// The file that lists them.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("orders.toml")
    }

    /// Lists these and no others, at once.
    pub fn list(&self, these: &[usize]) {
        let addresses: Vec<String> = these.iter().map(|at| format!("\"{}\"", self.places[*at].address)).collect();
        let draft = self.folder.path().join("draft");
        std::fs::write(&draft, format!("endpoints = [{}]\n", addresses.join(", "))).unwrap();
        std::fs::rename(draft, self.file()).unwrap();
    }

    /// Sends a signal to one of them; waits for its end where that is what it means.
    pub fn signal(&mut self, at: usize, signal: Signal) {
        let child = &mut self.running[at];
        kill_process(Pid::from_child(child), signal).unwrap();
        if matches!(signal, Signal::KILL | Signal::TERM) {
            child.wait().unwrap();
        }
    }

    /// Starts one again that ended.
    pub async fn start_again(&mut self, at: usize) {
        self.running[at] = self.spawn(at);
        self.answers(at).await;
    }

    /// Tells one of them how to answer.
    pub async fn manner(&self, at: usize, manner: &str) {
        let address = self.places[at].address;
        Call::to(address, "PUT", &format!("/manner/{manner}")).await.is(200);
    }

    /// The bodies that came more than once, over all endpoints.
    pub fn twice(&self) -> Vec<String> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for at in 0..self.places.len() {
            let journal = std::fs::read_to_string(self.journal(at)).unwrap();
            journal.lines().for_each(|line| *counts.entry(line.to_owned()).or_default() += 1);
        }
        counts.into_iter().filter(|(_, count)| *count > 1).map(|(line, _)| line).collect()
    }

    fn journal(&self, at: usize) -> PathBuf {
        self.folder.path().join(format!("journal-{at}"))
    }

    fn spawn(&self, at: usize) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatewright-endpoint"));
        command.arg(self.places[at].address.to_string()).arg(self.journal(at)).spawn().unwrap()
    }

    async fn answers(&self, at: usize) {
        let address = self.places[at].address;
        until("an endpoint listens", async || tokio::net::TcpStream::connect(address).await.ok().map(drop)).await;
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        for child in &mut self.running {
            // One that ended already is gone.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
