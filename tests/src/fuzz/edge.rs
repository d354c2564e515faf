//! The whole gateway, on sockets: whatever a client says, in HTTP/1 or HTTP/2, its service reads strict HTTP/1.1, and the
//! gateway is there for the next one.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

use crate::corpus::{corpus as cases, said};
use crate::frames::{PREFACE, frame, kind};
use crate::{Gateway, LONG, Recorder, gateway, recorder};

const CONFIG: &str = r#"
    server = { workers = 1, trusted = ["127.0.0.2/32"] }
    [[api]]
    name = "shop"
    service = "orders"
    body = "64KiB"
    [api.cors]
    origins = ["https://shop.example"]
"#;
/// By this the gateway knows HTTP/2.
const MAGIC: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What completes whatever the client has begun in HTTP/1, and ends the connection.
const LAST: &[u8] = b"\r\n\r\nGET /last HTTP/1.1\r\nhost: last.example\r\nconnection: close\r\n\r\n";
/// So long is waited for the end of what the last request completes; then the client says that it has ended.
const PATIENCE: Duration = Duration::from_millis(5);

static STAGE: LazyLock<(Gateway, Recorder)> = LazyLock::new(|| {
    let orders = recorder("orders");
    (gateway([&orders], CONFIG), orders)
});

/// Tries bytes as what a client says.
///
/// # Panics
/// Something does not hold.
pub fn hold(bytes: &[u8]) {
    let (gateway, orders) = &*STAGE;
    let mut client = TcpStream::connect(gateway.address).unwrap();
    client.set_nodelay(true).unwrap();
    let is_http2 = bytes.starts_with(MAGIC);
    let goaway = frame(kind::GOAWAY, 0, 0, &[0; 8]);
    let last = if is_http2 { &goaway } else { LAST };
    let said = [bytes, last].concat();
    // The gateway may have had enough of it before its end.
    let _ = client.write_all(&said);
    let mut answers = Vec::new();
    if !is_ended(&mut client, &mut answers, PATIENCE) {
        let _ = client.shutdown(Shutdown::Write);
        assert!(is_ended(&mut client, &mut answers, LONG), "it stays open: {}", answers.escape_ascii());
    }
    // What completes a request may complete the preface as well.
    if !said.starts_with(MAGIC) {
        assert!(answers.is_empty() || answers.starts_with(b"HTTP/1."), "{}", answers.escape_ascii());
    }
    for request in orders.take() {
        assert!(!request.values("via").is_empty() && request.values("x-forwarded-for") == [b"127.0.0.1"]);
    }
}

/// Whether the connection has ended, whoever ended it.
fn is_ended(client: &mut TcpStream, answers: &mut Vec<u8>, most: Duration) -> bool {
    client.set_read_timeout(Some(most)).unwrap();
    match client.read_to_end(answers) {
        Ok(_) => true,
        Err(fault) => !matches!(fault.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

/// What clients say in the rest of the corpus.
pub(super) fn corpus() -> Vec<Vec<u8>> {
    let of = |folder| cases(folder).into_iter().flat_map(|(_, cases)| cases);
    let first = of("http1").map(|case| said::http1(&case.says).0);
    first.chain(of("http2").map(|case| [PREFACE, &said::http2(&case.says)].concat())).collect()
}
