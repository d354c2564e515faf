//! The PROXY protocol: what is taken is what the header says, and not a byte more is read.

use std::future::Future as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use gatewright::server::proxied::header;
use tokio::io::{AsyncRead, ReadBuf};

/// Tries bytes as the beginning of a connection.
///
/// # Panics
/// Something does not hold.
pub fn hold(bytes: &[u8]) {
    let (said, read) = told(bytes, usize::MAX);
    assert_eq!((said, read), told(bytes, 1), "it makes no difference how the bytes come");
    let Some(said) = said else { return };
    let (header, rest) = bytes.split_at(read);
    assert_eq!(told(header, usize::MAX), (Some(said), read), "what follows makes no difference");
    assert_eq!(told(&[header, b"PROXY ", rest].concat(), usize::MAX), (Some(said), read));
    for cut in 0..read {
        assert_eq!(told(&header[..cut], usize::MAX).0, None, "a header that is not whole");
    }
    if let Some(said) = said {
        assert_eq!(said, written(header), "{}", header.escape_ascii());
    }
}

/// What is read of bytes that come a few at a time, and how many are read; none: it is an error.
fn told(bytes: &[u8], at_once: usize) -> (Option<Option<SocketAddr>>, usize) {
    let mut stream = Dripping { bytes, at_once };
    let said = match std::pin::pin!(header(&mut stream)).as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(said) => said.ok(),
        Poll::Pending => panic!("there is nothing to wait for"),
    };
    (said, bytes.len() - stream.bytes.len())
}

/// The source as a header says it, by its fixed places.
fn written(header: &[u8]) -> SocketAddr {
    let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    if let Some(line) = header.strip_prefix(b"PROXY ") {
        let words: Vec<_> = std::str::from_utf8(line).unwrap().trim_end_matches("\r\n").split(' ').collect();
        let [_, source, destination, port, other] = words[..] else { panic!("{words:?}") };
        assert_eq!(source.contains(':'), destination.contains(':'));
        assert!(other.parse::<u16>().is_ok() && port.bytes().chain(other.bytes()).all(|digit| digit.is_ascii_digit()));
        return SocketAddr::new(source.parse().unwrap(), port.parse().unwrap());
    }
    assert_eq!(header.len(), 16 + usize::from(number(14)));
    assert_eq!(header[12], 0x21, "version 2, for somebody else");
    let (address, port): (IpAddr, _) = match header[13] >> 4 {
        1 => (Ipv4Addr::from(<[u8; 4]>::try_from(&header[16..20]).unwrap()).into(), 24),
        2 => (Ipv6Addr::from(<[u8; 16]>::try_from(&header[16..32]).unwrap()).into(), 48),
        family => panic!("an address of family {family}"),
    };
    SocketAddr::new(address, number(port))
}

struct Dripping<'a> {
    bytes: &'a [u8],
    at_once: usize,
}

impl AsyncRead for Dripping<'_> {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let (now, later) = this.bytes.split_at(this.bytes.len().min(this.at_once).min(buffer.remaining()));
        buffer.put_slice(now);
        this.bytes = later;
        Poll::Ready(Ok(()))
    }
}
