//! Waiting for a server that was just started.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::Running;

/// A first start compiles plugins, on a small machine for many seconds.
const MOST_WAIT: Duration = Duration::from_secs(120);
/// How often is asked.
pub const GLANCE: Duration = Duration::from_millis(50);
/// The longest that one question may take.
const MOST_ANSWER: Duration = Duration::from_secs(2);

/// Waits until `GET path` at an address answers 200.
///
/// # Errors
///
/// The process ends, or two minutes pass.
pub fn wait(running: &mut Running, address: SocketAddr, path: &str) -> Result<()> {
    let end = Instant::now() + MOST_WAIT;
    loop {
        running.still()?;
        if status(address, path) == Some(200) {
            return Ok(());
        }
        if Instant::now() >= end {
            bail!("nothing at http://{address}{path} answered 200 within {} s", MOST_WAIT.as_secs());
        }
        sleep(GLANCE);
    }
}

/// Whether `GET path` at an address answers 200, without holding up a runtime.
pub async fn answers(address: SocketAddr, path: &'static str) -> bool {
    tokio::task::spawn_blocking(move || status(address, path)).await.ok().flatten() == Some(200)
}

/// A loopback address that was free a moment ago.
///
/// # Errors
///
/// The system has none.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The status of one `GET`, or none where there is no HTTP.
pub fn status(address: SocketAddr, path: &str) -> Option<u16> {
    status_of(&get(address, path)?)
}

/// The text that one `GET` is answered with, where that is 200.
pub fn text(address: SocketAddr, path: &str) -> Option<String> {
    let answer = get(address, path)?;
    if status_of(&answer) != Some(200) {
        return None;
    }
    let answer = String::from_utf8(answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// Everything that comes back.
fn get(address: SocketAddr, path: &str) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, MOST_ANSWER).ok()?;
    stream.set_read_timeout(Some(MOST_ANSWER)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer).ok()?;
    Some(answer)
}

fn status_of(answer: &[u8]) -> Option<u16> {
    let line = answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(line).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::status_of;

    #[test]
    fn a_status_is_read_from_the_first_line() {
        assert_eq!(status_of(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"), Some(503));
        assert_eq!(status_of(b"SSH-2.0"), None);
        assert_eq!(status_of(b"HTTP/1.1 2"), None);
    }
}
