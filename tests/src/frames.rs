//! HTTP/2 as frames (RFC 9113, section 4), for what no client would say.

use crate::raw::Raw;

/// What a client with prior knowledge says first, with empty settings.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Kinds of frames.
#[allow(missing_docs, reason = "RFC 9113, section 6, has the words")]
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// The stream ends with this frame.
pub const END_STREAM: u8 = 1;
/// The field section ends with this frame.
pub const END_HEADERS: u8 = 4;
/// The payload begins with the length of its padding.
pub const PADDED: u8 = 8;

/// The bytes of a frame.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// Header fields as they are, without compression (RFC 7541, section 6.2.2).
#[must_use]
pub fn fields<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: impl IntoIterator<Item = (N, V)>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name.as_ref(), value.as_ref()] {
            length(&mut block, text.len());
            block.extend_from_slice(text);
        }
    }
    block
}

/// A length with a prefix of seven bits (RFC 7541, section 5.1).
fn length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else { return block.push(u8::try_from(length).unwrap()) };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// A frame as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// One of [`kind`].
    pub kind: u8,
    /// What the kind makes of it.
    pub flags: u8,
    /// 0: the connection.
    pub stream: u32,
    /// All of it.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The status of a response's head, where it is the first on its connection that has this status.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        // The size of the table may be said before (RFC 7541, section 6.3).
        let start = self.payload.iter().position(|byte| !(0x20..0x40).contains(byte))?;
        match self.payload[start..] {
            _ if self.kind != kind::HEADERS => None,
            [first @ 0x88..=0xff, ..] => [200, 204, 206, 304, 400, 404, 500].get(usize::from(first - 0x88)).copied(),
            // A name of the static table with three digits as they are, or in Huffman's code.
            [0x48 | 0x08, 3, ref digits @ ..] => std::str::from_utf8(digits.get(..3)?).ok()?.parse().ok(),
            [0x48 | 0x08, 0x82, one, two, ..] => digits(u32::from(one) << 24 | u32::from(two) << 16, 3),
            [0x48 | 0x08, 0x83, one, two, three, ..] => {
                digits(u32::from(one) << 24 | u32::from(two) << 16 | u32::from(three) << 8, 3)
            }
            _ => None,
        }
    }

    /// Why a stream was reset, or the connection ended.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        let at = match self.kind {
            kind::RST_STREAM => 0,
            kind::GOAWAY => 4,
            _ => return None,
        };
        Some(u32::from_be_bytes(self.payload.get(at..at + 4)?.try_into().unwrap()))
    }
}

/// So many digits in Huffman's code (RFC 7541, appendix B): `0` to `2` have five bits, the others six.
fn digits(mut bits: u32, count: u32) -> Option<u16> {
    (0..count).try_fold(0, |number, _| {
        let (digit, length) = match (bits >> 27, bits >> 26) {
            (short @ 0..=2, _) => (short, 5),
            (_, long @ 0x19..=0x1f) => (long - 0x19 + 3, 6),
            _ => return None,
        };
        bits <<= length;
        Some(number * 10 + u16::try_from(digit).ok()?)
    })
}

impl Raw {
    /// Reads frames up to one like this, and answers it; none: the connection ended before.
    pub async fn frame(&mut self, like: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let head = self.some(9).await?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
            let payload = self.some(length.try_into().unwrap()).await?;
            let frame = Frame { kind: head[3], flags: head[4], stream, payload };
            if like(&frame) {
                return Some(frame);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_as_it_is_written() {
        let status =
            |payload: &[u8]| Frame { kind: kind::HEADERS, flags: 0, stream: 1, payload: payload.to_vec() }.status();
        assert_eq!(status(&[0x88]), Some(200));
        assert_eq!(status(&[0x20, 0x8c, 0x40]), Some(400));
        assert_eq!(status(b"\x48\x03413"), Some(413));
        // RFC 7541, appendix C.6.1.
        assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), Some(302));
        assert_eq!(status(&[0x48, 0x83, 0x64, 0x0e, 0xff]), Some(307));
        assert_eq!(status(&[0xbf]), None);
    }
}
