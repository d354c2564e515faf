//! What probes ask over a connection, and which answers are good.

use bytes::{Bytes, BytesMut};
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::balance::health::ProbeFailure;
use crate::config::HttpProbe;

/// What a body holds is looked for in its first bytes only, and a gRPC answer is never this long.
const MOST_BYTES: usize = 64 * 1024;
/// The bytes before a gRPC message: whether it is compressed, and its length.
const GRPC_PREFIX: usize = 5;
/// `grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u64 = 1;
const AGENT: &str = "gatewright-probe";

/// What is asked over: a connection in clear, or with TLS.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

fn protocol(error: impl std::fmt::Display) -> ProbeFailure {
    ProbeFailure::Protocol(error.to_string())
}

/// `GET` with the probe's fields is answered with a good status, and a body that holds what it should.
pub async fn http(stream: impl Stream, question: &HttpProbe) -> Result<(), ProbeFailure> {
    let mut request = Request::get(&question.path)
        .header(header::HOST, &question.host)
        .header(header::USER_AGENT, AGENT)
        .header(header::CONNECTION, "close")
        .body(Full::<Bytes>::default())
        .map_err(protocol)?;
    for (name, value) in &question.headers {
        request.headers_mut().insert(name, value.clone());
    }
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(protocol)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(protocol)?;
        let status = response.status().as_u16();
        if !question.status.iter().any(|(first, last)| (*first..=*last).contains(&status)) {
            return Err(ProbeFailure::Status(status));
        }
        match &question.body {
            Some(text) if !holds(&body(response).await?.0, text.as_bytes()) => Err(ProbeFailure::Body(text.clone())),
            _ => Ok(()),
        }
    };
    alongside(answer, connection).await
}

/// `grpc.health.v1.Health/Check` answers that the service serves.
pub async fn grpc(stream: impl Stream, scheme: &str, service: &str, host: &str) -> Result<(), ProbeFailure> {
    let request = Request::post(format!("{scheme}://{host}/grpc.health.v1.Health/Check"))
        .header(header::USER_AGENT, AGENT)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Full::new(check(service)))
        .map_err(protocol)?;
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(protocol)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(protocol)?;
        if response.status() != http::StatusCode::OK {
            return Err(ProbeFailure::Status(response.status().as_u16()));
        }
        // An answer without a message has its trailers at once, as fields.
        let early = status(response.headers());
        let (message, late) = body(response).await?;
        match early.or(late) {
            Some(0) => {}
            Some(fault) => return Err(ProbeFailure::Grpc(fault)),
            None => return Err(protocol("no grpc-status")),
        }
        match serving(&message).ok_or_else(|| protocol("no HealthCheckResponse"))? {
            SERVING => Ok(()),
            other => Err(ProbeFailure::NotServing(other)),
        }
    };
    alongside(answer, connection).await
}

/// The answer of a question while the connection that it goes over is driven.
async fn alongside<T, E>(
    answer: impl Future<Output = Result<T, ProbeFailure>>,
    connection: impl Future<Output = Result<(), E>>,
) -> Result<T, ProbeFailure> {
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // Its end is told to whoever asks as well.
        _ = connection => answer.await,
    }
}

/// The first bytes of a body, and the gRPC status in its trailers where it was read to its end.
async fn body(response: Response<Incoming>) -> Result<(Bytes, Option<u32>), ProbeFailure> {
    let (mut incoming, mut bytes, mut late) = (response.into_body(), BytesMut::new(), None);
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(protocol)?;
        late = frame.trailers_ref().and_then(status).or(late);
        let data = frame.data_ref().map_or(&[][..], |data| data);
        bytes.extend_from_slice(data.get(..MOST_BYTES - bytes.len()).unwrap_or(data));
        if bytes.len() >= MOST_BYTES {
            break;
        }
    }
    Ok((bytes.freeze(), late))
}

fn holds(body: &[u8], text: &[u8]) -> bool {
    body.windows(text.len().max(1)).any(|part| part == text)
}

fn status(fields: &http::HeaderMap) -> Option<u32> {
    fields.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// A `HealthCheckRequest` in its frame: the service is field 1.
fn check(service: &str) -> Bytes {
    // The configuration holds names to 256 bytes: two bytes of a varint are enough.
    let length = service.len() as u16;
    let mut message = Vec::with_capacity(service.len() + 3);
    if length > 0 {
        message.push(0x0a);
        match length {
            ..0x80 => message.push(length as u8),
            _ => message.extend([length as u8 | 0x80, (length >> 7) as u8]),
        }
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame.into()
}

/// The status in a framed `HealthCheckResponse`: field 1, zero where it is left out. `None`: it is none.
fn serving(frame: &[u8]) -> Option<u64> {
    let (prefix, message) = frame.split_at_checked(GRPC_PREFIX)?;
    let (compressed, length) = prefix.split_first()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    if *compressed != 0 || message.len() != length as usize {
        return None;
    }
    match message {
        [] => Some(0),
        [0x08, status @ ..] => varint(status),
        _ => None,
    }
}

/// A number that starts here, seven bits a byte.
fn varint(bytes: &[u8]) -> Option<u64> {
    let mut number = 0;
    for (place, byte) in bytes.iter().take(9).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_framed_message() {
        assert_eq!(&*check(""), [0, 0, 0, 0, 0]);
        assert_eq!(&*check("ab"), b"\0\0\0\0\x04\x0a\x02ab");
        let long = check(&"x".repeat(200));
        assert_eq!(long.get(..8), Some(&[0, 0, 0, 0, 203, 0x0a, 0xc8, 1][..]));
    }

    #[test]
    fn an_answer_is_read_or_is_none() {
        assert_eq!(serving(b"\0\0\0\0\x02\x08\x01"), Some(1));
        assert_eq!(serving(b"\0\0\0\0\x03\x08\x82\x01"), Some(130));
        assert_eq!(serving(b"\0\0\0\0\0"), Some(0));
        for bad in [&b""[..], b"\0\0\0", b"\x01\0\0\0\x02\x08\x01", b"\0\0\0\0\x05\x08\x01", b"\0\0\0\0\x02\x08\xff"] {
            assert_eq!(serving(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_text_is_found_where_it_is() {
        assert!(holds(b"status: ok", b"ok"));
        assert!(!holds(b"o", b"ok"));
    }
}
