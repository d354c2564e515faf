//! The PROXY protocol (version 1 and 2, haproxy.org): a load balancer in front of us says first for whom it connects.

use std::io;
use std::net::SocketAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What a header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The fixed part of version 2; its last two bytes say how many follow.
const FIXED_BYTES: usize = 16;
/// The longest header of version 1, with its line's end.
const MOST_V1_BYTES: usize = 107;
/// The most bytes behind the fixed part of version 2 that are read: addresses and what load balancers add.
const MOST_V2_BYTES: usize = 2048;

/// Reads the header and nothing behind it; none: the load balancer itself connects, to see whether we are there.
///
/// # Errors
/// There is no header, or it is malformed.
pub async fn header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut bytes = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut bytes).await?;
    if bytes == SIGNATURE {
        bytes.resize(FIXED_BYTES, 0);
        stream.read_exact(bytes.get_mut(SIGNATURE.len()..).unwrap_or_default()).await?;
        let more = bytes.last_chunk::<2>().map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
        if more > MOST_V2_BYTES {
            return Err(malformed());
        }
        bytes.resize(FIXED_BYTES + more, 0);
        stream.read_exact(bytes.get_mut(FIXED_BYTES..).unwrap_or_default()).await?;
    } else if bytes.starts_with(b"PROXY ") {
        // One by one: what follows belongs to somebody else. It is once per connection.
        while !bytes.ends_with(b"\n") {
            if bytes.len() == MOST_V1_BYTES {
                return Err(malformed());
            }
            bytes.push(stream.read_u8().await?);
        }
        if bytes.starts_with(b"PROXY TCP") && !has_ports(bytes.trim_ascii_end()) {
            return Err(malformed());
        }
    }
    let config = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };
    match ProxyHeader::parse(&bytes, config) {
        Ok((header, length)) if length == bytes.len() => Ok(header.proxied_address().map(|address| address.source)),
        _ => Err(malformed()),
    }
}

/// Whether a line of version 1 ends with two ports as they must be written: digits alone, and no zeros before them.
fn has_ports(line: &[u8]) -> bool {
    let is_port = |port: &[u8]| port.iter().all(u8::is_ascii_digit) && (port == b"0" || !port.starts_with(b"0"));
    line.rsplit(|byte| *byte == b' ').take(2).all(is_port)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no header of the PROXY protocol, or a malformed one")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proxy_header::{ProxiedAddress, ProxyHeader};

    use super::*;

    fn read(bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, usize) {
        let mut left = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        (runtime.block_on(header(&mut left)), left.len())
    }

    fn written(source: &str, destination: &str, second: bool) -> Vec<u8> {
        let address = ProxiedAddress::stream(source.parse().unwrap(), destination.parse().unwrap());
        let mut bytes = [0; 256];
        let header = ProxyHeader::with_address(address);
        let length = match second {
            true => header.encode_to_slice_v2(&mut bytes),
            false => header.encode_to_slice_v1(&mut bytes),
        };
        bytes[..length.unwrap()].to_vec()
    }

    #[test]
    fn both_versions_name_the_client_and_leave_what_follows() {
        for (source, destination) in
            [("192.0.2.7:1234", "192.0.2.1:443"), ("[2001:db8::7]:65535", "[2001:db8::1]:65535")]
        {
            for second in [false, true] {
                let mut bytes = written(source, destination, second);
                bytes.extend_from_slice(b"GET / HTTP/1.1\r\n");
                let (client, left) = read(&bytes);
                assert_eq!((client.unwrap(), left), (Some(source.parse().unwrap()), 16));
            }
        }
    }

    #[test]
    fn a_load_balancers_own_connection_names_nobody() {
        assert_eq!(read(b"PROXY UNKNOWN\r\n").0.unwrap(), None);
        assert_eq!(read(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").0.unwrap(), None);
    }

    #[test]
    fn what_is_no_header_is_an_error() {
        for bytes in [
            &b""[..],
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 1234\r\n",
            b"PROXY TCP4 999.0.2.7 192.0.2.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 +1 2\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 1 02\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04abcd",
        ] {
            assert!(read(bytes).0.is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
        assert!(read(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200], b"\r\n"].concat()).0.is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(second: bool, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let start: &[u8] = if second { SIGNATURE } else { b"PROXY " };
            let _ = read(&[start, &bytes].concat());
            let _ = read(&bytes);
        }
    }
}
