//! A request in the version that its connection to the service speaks.

use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Uri, Version, header};
use http_body::Body;

/// Makes a request one of HTTP/2, or one of HTTP/1.1 again. None where its authority cannot be one of HTTP/2.
pub(super) fn speak<B: Body>(request: &mut Request<B>, http2: Option<&Scheme>) -> Option<()> {
    match (http2, request.version() == Version::HTTP_2) {
        (Some(scheme), false) => {
            let host = request.headers().get(header::HOST)?.as_bytes();
            let authority = Authority::try_from(host).ok()?;
            let mut parts = std::mem::take(request.uri_mut()).into_parts();
            parts.scheme = Some(scheme.clone());
            parts.authority = Some(authority);
            *request.uri_mut() = Uri::from_parts(parts).ok()?;
            request.headers_mut().remove(header::HOST);
            request.headers_mut().remove(header::CONNECTION);
            request.headers_mut().remove(header::TRANSFER_ENCODING);
            *request.version_mut() = Version::HTTP_2;
        }
        (None, true) => {
            let host = HeaderValue::try_from(request.uri().authority()?.as_str()).ok()?;
            let target = request.uri().path_and_query()?.clone();
            *request.uri_mut() = Uri::from(target);
            let chunked = !request.body().is_end_stream() && request.body().size_hint().exact().is_none();
            let headers = request.headers_mut();
            headers.insert(header::HOST, host);
            if chunked {
                headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            if headers.contains_key(header::TE) {
                headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
            }
            *request.version_mut() = Version::HTTP_11;
        }
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_to_another_version_and_back() {
        let mut request = Request::get("/a?b=c").body(String::new()).unwrap();
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("shop.example:8080"));
        request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("te"));
        let before = (request.uri().clone(), request.headers().clone());
        speak(&mut request, Some(&Scheme::HTTP)).unwrap();
        assert_eq!(request.uri().to_string(), "http://shop.example:8080/a?b=c");
        assert_eq!(request.headers().keys().collect::<Vec<_>>(), [header::TE]);
        speak(&mut request, None).unwrap();
        assert_eq!((request.uri().clone(), request.headers().clone()), before);
    }
}
