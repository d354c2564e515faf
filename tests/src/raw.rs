//! Connections on which a test writes and reads the bytes itself, as a client and as a service.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::connection::connect;
use crate::time::runtime;
use crate::upstream::bind;
use crate::within;

/// A connection as bytes.
pub struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

/// A response as it was read, byte for byte.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    /// The status.
    pub status: u16,
    /// The status line and the fields, as they came.
    pub head: String,
    /// The body, without its chunks' lengths.
    pub body: String,
}

impl RawAnswer {
    /// It has this status.
    ///
    /// # Panics
    /// It has another.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}{}", self.head, self.body);
        self
    }

    /// The value of a field; its name in lower case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

/// The value of a field of a head as text; the name in any case.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

impl Raw {
    /// A connection to any address.
    ///
    /// # Panics
    /// Nobody listens there.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::new(connect(address, None).await.unwrap())
    }

    /// A connection to any address whose other end is kept short of room: it takes few bytes before these are read.
    ///
    /// # Panics
    /// Nobody listens there.
    pub async fn connect_narrow(address: SocketAddr) -> Self {
        /// Bytes of a segment. Buffers are made for so many segments.
        const SEGMENT: u32 = 536;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.set_tcp_mss(SEGMENT).unwrap();
        socket.set_nonblocking(true).unwrap();
        let socket = TcpSocket::from_std_stream(socket.into());
        Self::new(within("a connection", socket.connect(address)).await.unwrap())
    }

    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// Writes bytes. Where the other end has closed already, nothing happens: what it said before is what counts.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = within("room for bytes", self.stream.write_all(bytes.as_ref())).await;
        self
    }

    /// Says that no more bytes will come.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads up to and with these bytes. What comes before the end of the connection, if it ends first.
    pub async fn until(&mut self, end: &str) -> String {
        let bytes = within(&format!("{end:?}"), self.read_until(end.as_bytes())).await;
        String::from_utf8_lossy(&bytes).into_owned()
    }

    async fn read_until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|window| window == end) {
                return self.read.drain(..at + end.len()).collect();
            }
            if self.stream.read_buf(&mut self.read).await.unwrap_or(0) == 0 {
                return std::mem::take(&mut self.read);
            }
        }
    }

    /// Reads a head, with the empty line behind it.
    pub async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// Reads so many bytes.
    ///
    /// # Panics
    /// The connection ends before.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let bytes = self.some(count).await;
        bytes.unwrap_or_else(|| panic!("{count} bytes: {:?}", String::from_utf8_lossy(&self.read)))
    }

    /// Reads so many bytes; none: the connection ends before.
    pub(crate) async fn some(&mut self, count: usize) -> Option<Vec<u8>> {
        let read = async {
            while self.read.len() < count {
                if self.stream.read_buf(&mut self.read).await.unwrap_or(0) == 0 {
                    return None;
                }
            }
            Some(())
        };
        within("bytes", read).await?;
        Some(self.read.drain(..count).collect())
    }

    /// Reads a response with its body: by its length, its chunks, or until the connection ends.
    ///
    /// # Panics
    /// What comes is no response.
    pub async fn answer(&mut self) -> RawAnswer {
        self.next_answer().await.expect("a response before the end of the connection")
    }

    /// As [`Raw::answer`]; none: the connection ends instead.
    ///
    /// # Panics
    /// What comes is no response.
    pub async fn next_answer(&mut self) -> Option<RawAnswer> {
        let head = self.head().await;
        if head.is_empty() {
            return None;
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no response: {head:?}"));
        let length = field(&head, "content-length").map(|length| length.parse::<usize>().unwrap());
        let body = match length {
            _ if matches!(status, 100..200 | 204 | 304) => Vec::new(),
            Some(length) => self.bytes(length).await,
            None if field(&head, "transfer-encoding") == Some("chunked") => self.chunks().await,
            None => self.end().await,
        };
        Some(RawAnswer { status, head, body: String::from_utf8_lossy(&body).into_owned() })
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.until("\r\n").await;
            let length = line.trim().split(';').next().and_then(|text| usize::from_str_radix(text, 16).ok());
            let length = length.unwrap_or_else(|| panic!("no chunk: {line:?}"));
            if length == 0 {
                // Trailers are read and forgotten.
                while !matches!(self.until("\r\n").await.as_str(), "\r\n" | "") {}
                return body;
            }
            body.extend(self.bytes(length).await);
            self.until("\r\n").await;
        }
    }

    /// Reads until the connection ends.
    ///
    /// # Panics
    /// It does not end in time.
    pub async fn end(&mut self) -> Vec<u8> {
        // A reset is an end as well.
        let end = async { while self.stream.read_buf(&mut self.read).await.unwrap_or(0) > 0 {} };
        within("the end of the connection", end).await;
        std::mem::take(&mut self.read)
    }

    /// Reads so many bytes at most and forgets them; 0: the connection has ended.
    pub async fn reads(&mut self, most: usize) -> usize {
        let mut bytes = vec![0; most];
        self.stream.read(&mut bytes).await.unwrap_or(0)
    }

    /// Whether nothing comes and nothing ends for so long.
    pub async fn is_silent_for(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.stream.read_buf(&mut self.read)).await.is_err()
    }

    /// Ends the connection at once, with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// A service's endpoint that the test plays itself.
pub struct RawUpstream {
    name: String,
    address: SocketAddr,
    listener: TcpListener,
}

/// An endpoint of the service of this name; the test accepts its connections.
///
/// # Panics
/// The machine has no port.
#[must_use]
pub fn raw_upstream(name: &str) -> RawUpstream {
    let socket = bind(([127, 0, 0, 1], 0).into());
    socket.listen(64).unwrap();
    socket.set_nonblocking(true).unwrap();
    let _on = runtime().enter();
    let listener = TcpListener::from_std(socket.into()).unwrap();
    RawUpstream { name: name.to_owned(), address: listener.local_addr().unwrap(), listener }
}

impl RawUpstream {
    /// The next connection.
    ///
    /// # Panics
    /// None comes.
    pub async fn accept(&self) -> Raw {
        Raw::new(within("a connection to the service", self.listener.accept()).await.unwrap().0)
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
