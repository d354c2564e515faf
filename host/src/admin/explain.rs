//! `POST /explain`: what would become of a request, and why.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;

use super::{Desk, json};
use crate::gateway::AskFault;
use crate::request::RequestText;

/// Where it is.
pub(super) const PATH: &str = "/explain";
/// The text of one request (RFC 9112, section 10.1). No page can send this type unasked, as it can a form.
pub const TEXT_TYPE: &str = "message/http";
/// The longest text: any head, and more of a body than people write.
pub const MOST_BYTES: usize = 2 << 20;
/// How long a text may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a request is not explained.
struct Fault(StatusCode, String);

impl Fault {
    fn bad(reason: impl ToString) -> Self {
        Self(StatusCode::BAD_REQUEST, reason.to_string())
    }
}

impl Desk {
    /// Answers an explanation as JSON, or a problem.
    pub(super) async fn explain(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match self.explained(request).await {
            Ok(response) => response,
            Err(Fault(status, detail)) => problem(status, &detail),
        }
    }

    async fn explained(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Fault> {
        by_an_operator(request.headers())?;
        let client = client(request.uri().query().unwrap_or_default())?;
        let body = tokio::time::timeout(PATIENCE, Limited::new(request.into_body(), MOST_BYTES).collect()).await;
        let body = body.map_err(|_| Fault::bad("the text came too slowly"))?;
        let body = body.map_err(|fault| match fault.is::<http_body_util::LengthLimitError>() {
            true => Fault::bad(format!("longer than {MOST_BYTES} bytes")),
            false => Fault::bad("the text broke off"),
        })?;
        let text = RequestText::new(&body.to_bytes()).map_err(Fault::bad)?;
        let explanation = self.asker.ask(text, client).await.map_err(|fault| match fault {
            AskFault::Text(fault) => Fault::bad(fault),
            AskFault::Busy | AskFault::Stopping => Fault(StatusCode::SERVICE_UNAVAILABLE, fault.to_string()),
        })?;
        Ok(json(&explanation))
    }
}

/// Refuses what a page in an operator's browser sends: it must say its origin, and may not say this type unasked.
fn by_an_operator(headers: &HeaderMap) -> Result<(), Fault> {
    if headers.contains_key(header::ORIGIN) {
        return Err(Fault(StatusCode::FORBIDDEN, "not for pages in a browser".to_owned()));
    }
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    match media_type.eq_ignore_ascii_case(TEXT_TYPE) {
        true => Ok(()),
        false => {
            let reason = format!("the text of one request, as `content-type: {TEXT_TYPE}`");
            Err(Fault(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason))
        }
    }
}

/// Whom the request comes from: `client` of the query, else this machine.
fn client(query: &str) -> Result<IpAddr, Fault> {
    let parts: Vec<&str> = query.split('&').filter(|part| !part.is_empty()).collect();
    let client = match *parts {
        [] => Some(Ipv4Addr::LOCALHOST.into()),
        [part] => part.strip_prefix("client=").and_then(|client| client.parse().ok()),
        _ => None,
    };
    client.ok_or_else(|| Fault::bad("the query is not `client=ADDRESS`"))
}

fn problem(status: StatusCode, detail: &str) -> Response<Full<Bytes>> {
    let title = "The request is not explained";
    let mut response = json(&serde_json::json!({ "title": title, "status": status.as_u16(), "detail": detail }));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}
