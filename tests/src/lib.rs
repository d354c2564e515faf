//! The harness of Gatewright's tests: a gateway, services behind it and a client before it, on ports that the system chose.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gatewright::control::{Running, start};

/// What does not come within it fails the test.
const LONG: Duration = Duration::from_secs(60);
/// Signs the tokens of [`token`].
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A service that answers 200 with the head of each request as the body, and closes.
pub struct Echo {
    /// Where it is.
    pub address: SocketAddr,
}

/// Starts an [`Echo`]; its thread ends with the process.
#[must_use]
pub fn echo() -> Echo {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream));
        }
    });
    Echo { address }
}

fn serve(mut stream: TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let start = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", head.len());
    // The gateway may have gone.
    let _ = stream.write_all(start.as_bytes()).and_then(|()| stream.write_all(&head));
}

/// A gateway with a configuration and a plugin folder of its own; it stops when it is dropped.
pub struct Gateway {
    running: Option<Running>,
    folder: tempfile::TempDir,
}

/// Starts a gateway whose folder has these reference plugins. The text begins after `[server]`, `[admin]` and `[plugins]`.
#[must_use]
pub fn gateway(plugins: &[&str], text: &str) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("plugins")).unwrap();
    std::fs::write(folder.path().join("secret"), SECRET).unwrap();
    for plugin in plugins {
        std::fs::copy(reference(plugin), folder.path().join(format!("plugins/{plugin}.wasm"))).unwrap();
    }
    let cache = built().join("test-cache");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[log]\naccess = false\n[plugins]\nfolder = \
         \"plugins\"\ncache = {:?}\n{text}",
        cache.display().to_string()
    );
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, text).unwrap();
    Gateway { running: Some(start(&file).unwrap_or_else(|fault| panic!("{fault}"))), folder }
}

fn built() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")
}

/// The file of a reference plugin, which `cargo xtask guests` builds.
fn reference(plugin: &str) -> PathBuf {
    let folder = std::env::var_os("GATEWRIGHT_PLUGINS").map_or_else(|| built().join("plugins"), PathBuf::from);
    folder.join(format!("{plugin}.wasm"))
}

impl Gateway {
    /// Sends bytes on a new connection and answers all that comes back until it is closed.
    #[must_use]
    pub fn send(&self, bytes: &str) -> String {
        exchange(self.running.as_ref().unwrap().addresses[0], bytes)
    }

    /// `GET` with further field lines.
    #[must_use]
    pub fn get(&self, target: &str, fields: &str) -> String {
        self.send(&format!("GET {target} HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n{fields}\r\n"))
    }

    /// `GET` on the admin listener.
    #[must_use]
    pub fn admin(&self, target: &str) -> String {
        let address = self.running.as_ref().and_then(|running| running.admin).unwrap();
        exchange(address, &format!("GET {target} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n"))
    }

    /// Puts a file into the plugin folder, whole at once.
    pub fn drop_in(&self, name: &str, bytes: &[u8]) {
        let draft = self.folder.path().join("draft");
        std::fs::write(&draft, bytes).unwrap();
        std::fs::rename(draft, self.folder.path().join("plugins").join(name)).unwrap();
    }

    /// Puts a reference plugin into the plugin folder.
    pub fn drop_reference(&self, plugin: &str) {
        self.drop_in(&format!("{plugin}.wasm"), &std::fs::read(reference(plugin)).unwrap());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

fn exchange(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A connection that is reset after the answer has answered.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Waits until it holds.
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LONG, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// A field line with a token for `ada` with these scopes.
#[must_use]
pub fn token(scopes: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = serde_json::json!({ "sub": "ada", "scope": scopes, "exp": now + 600 });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    format!("authorization: Bearer {token}\r\n")
}
