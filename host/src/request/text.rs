//! A request that a person wrote into a file, as plain HTTP text.

use std::cell::Cell;
use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

use crate::clean::Bounds;

/// Room for what hyper itself answers.
const ANSWER_BYTES: usize = 64 * 1024;

/// A request of HTTP/1.1.
#[derive(Debug)]
pub struct RequestText(Vec<u8>);

/// A text that is no request.
#[derive(Debug, thiserror::Error)]
pub enum TextFault {
    /// It contradicts itself.
    #[error("its body has {is} bytes, and `content-length` says {said}")]
    Length {
        /// What follows the empty line.
        is: usize,
        /// What the field says.
        said: usize,
    },
    /// hyper cannot read it.
    #[error("not a request of HTTP/1.1: {0}")]
    Syntax(#[from] hyper::Error),
    /// There is nothing in it.
    #[error("there is no request in it")]
    Nothing,
}

impl RequestText {
    /// Completes what a person need not write: an empty line where there is no body, and `content-length` where there is
    /// one, which then ends before the line break that ends the file.
    ///
    /// # Errors
    /// The body is not as long as the text says.
    pub fn new(text: &[u8]) -> Result<Self, TextFault> {
        let (head, body) = split(text);
        let mut whole = head.to_vec();
        if !whole.is_empty() && !whole.ends_with(b"\n") {
            whole.extend_from_slice(b"\r\n");
        }
        let body = match framing(head) {
            Framing::Length(said) if said <= body.len() && is_breaks(body.get(said..).unwrap_or_default()) => {
                body.get(..said).unwrap_or_default()
            }
            Framing::Length(said) => return Err(TextFault::Length { is: body.len(), said }),
            Framing::Other => body,
            Framing::None => {
                let body = body.strip_suffix(b"\n").unwrap_or(body);
                let body = body.strip_suffix(b"\r").unwrap_or(body);
                if !body.is_empty() {
                    whole.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
                }
                body
            }
        };
        whole.extend_from_slice(b"\r\n");
        whole.extend_from_slice(body);
        Ok(Self(whole))
    }

    /// Hands the request to `answer`, as it comes out of a connection that a client closes behind it.
    ///
    /// # Errors
    /// It is no request.
    pub async fn send<T>(&self, bounds: &Bounds, answer: impl AsyncFn(Request<Incoming>) -> T) -> Result<T, TextFault> {
        let (mut client, ours) = tokio::io::duplex(self.0.len() + ANSWER_BYTES);
        let answered = Cell::new(None);
        let service = hyper::service::service_fn(|request| {
            let (answer, answered) = (&answer, &answered);
            async move {
                answered.set(Some(answer(request).await));
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        // There is room for all of it, and the other end is held here.
        let _ = client.write_all(&self.0).await;
        let _ = client.shutdown().await;
        hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .keep_alive(false)
            .max_headers(bounds.fields)
            .max_buf_size(bounds.head_bytes.max(ANSWER_BYTES) + 8192)
            .serve_connection(TokioIo::new(ours), service)
            .await?;
        answered.into_inner().ok_or(TextFault::Nothing)
    }
}

/// How a head says where its body ends.
enum Framing {
    /// Not at all.
    None,
    /// By a number of bytes.
    Length(usize),
    /// In a way that is the host's to judge.
    Other,
}

fn framing(head: &[u8]) -> Framing {
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Framing::Other;
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            let length = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            return length.map_or(Framing::Other, Framing::Length);
        }
    }
    Framing::None
}

/// The head with its last line break, and what follows the empty line.
fn split(text: &[u8]) -> (&[u8], &[u8]) {
    let mut start = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let end = start + line.len();
        if start > 0 && is_breaks(line) {
            return (text.get(..start).unwrap_or_default(), text.get(end..).unwrap_or_default());
        }
        start = end;
    }
    (text, &[])
}

fn is_breaks(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> String {
        String::from_utf8(RequestText::new(text.as_bytes()).unwrap().0).unwrap()
    }

    #[test]
    fn what_need_not_be_written_is_completed() {
        assert_eq!(whole("GET / HTTP/1.1\nhost: a"), "GET / HTTP/1.1\nhost: a\r\n\r\n");
        assert_eq!(whole("GET / HTTP/1.1\nhost: a\n"), "GET / HTTP/1.1\nhost: a\n\r\n");
        assert_eq!(whole("GET / HTTP/1.1\r\nhost: a\r\n\r\n\r\n"), "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(whole("PUT / HTTP/1.1\n\na\nb\n"), "PUT / HTTP/1.1\ncontent-length: 3\r\n\r\na\nb");
    }

    #[test]
    fn a_length_that_is_written_must_be_true() {
        assert_eq!(whole("PUT / HTTP/1.1\nContent-Length: 2\n\nab\n"), "PUT / HTTP/1.1\nContent-Length: 2\n\r\nab");
        assert_eq!(whole("PUT / HTTP/1.1\ncontent-length: 3\n\nab\n"), "PUT / HTTP/1.1\ncontent-length: 3\n\r\nab\n");
        for length in [1, 5] {
            let text = format!("PUT / HTTP/1.1\ncontent-length: {length}\n\nab\n");
            assert!(matches!(RequestText::new(text.as_bytes()), Err(TextFault::Length { is: 3, .. })), "{length}");
        }
    }
}
