//! A service's endpoint that keeps every byte that it is sent, and reads it as strictly as it can.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::strict::{Strict, read};
use crate::time::runtime;
use crate::until;
use crate::upstream::bind;

/// A service's endpoint; see the module. It answers every request with 200 and a short text.
pub struct Recorder {
    name: String,
    address: SocketAddr,
    record: Arc<Mutex<Record>>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Record {
    requests: Vec<Strict>,
    broken: Vec<Vec<u8>>,
    faults: Vec<String>,
    open: usize,
}

/// A recording endpoint of the service of this name.
///
/// # Panics
/// The machine has no port.
#[must_use]
pub fn recorder(name: &str) -> Recorder {
    let socket = bind(([127, 0, 0, 1], 0).into());
    socket.listen(64).unwrap();
    socket.set_nonblocking(true).unwrap();
    let _on = runtime().enter();
    let listener = TcpListener::from_std(socket.into()).unwrap();
    let address = listener.local_addr().unwrap();
    let record = Arc::<Mutex<Record>>::default();
    let accepting = runtime().spawn(accept(listener, Arc::clone(&record)));
    Recorder { name: name.to_owned(), address, record, accepting }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// The whole requests so far.
    ///
    /// # Panics
    /// Something came that is no strict request.
    #[must_use]
    #[track_caller]
    pub fn requests(&self) -> Vec<Strict> {
        let record = lock(&self.record);
        assert!(record.faults.is_empty(), "no strict HTTP: {:#?}", record.faults);
        record.requests.clone()
    }

    /// Takes the whole requests so far, so that those of a long run need no room.
    ///
    /// # Panics
    /// Something came that is no strict request.
    #[must_use]
    #[track_caller]
    pub fn take(&self) -> Vec<Strict> {
        let mut record = lock(&self.record);
        assert!(record.faults.is_empty(), "no strict HTTP: {:#?}", record.faults);
        record.broken.clear();
        std::mem::take(&mut record.requests)
    }

    /// Waits until every connection has ended, and answers the requests that never became whole.
    ///
    /// # Panics
    /// Connections stay open, or something came that is no strict request.
    pub async fn broken(&self) -> Vec<Vec<u8>> {
        until("the end of all connections", async || (lock(&self.record).open == 0).then_some(())).await;
        let _ = self.requests();
        lock(&self.record).broken.clone()
    }

    /// Its service.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, record: Arc<Mutex<Record>>) {
    // They end with this task.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        lock(&record).open += 1;
        let record = Arc::clone(&record);
        connections.spawn(async move {
            let left = serve(stream, &record).await;
            let mut record = lock(&record);
            record.open -= 1;
            if !left.is_empty() {
                record.broken.push(left);
            }
        });
    }
}

/// Reads requests and answers them, until the connection ends or something is wrong. Answers what is left over.
async fn serve(mut stream: TcpStream, record: &Mutex<Record>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.set_nodelay(true);
    loop {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return bytes;
        }
        loop {
            let (request, left) = match read(&bytes) {
                Ok(Some((request, left))) => (request, left.to_vec()),
                Ok(None) => break,
                Err(fault) => {
                    lock(record).faults.push(format!("{fault}, in {}", bytes.escape_ascii()));
                    return Vec::new();
                }
            };
            bytes = left;
            let body = if request.method == "HEAD" { "" } else { "seen" };
            lock(record).requests.push(request);
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    }
}
