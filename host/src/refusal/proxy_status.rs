//! `Proxy-Status` (RFC 9209): which kind of failure an answer of ours stands for, so that a client can tell the gateway's
//! answers from a service's. It names nothing that stands behind the gateway.

use std::io::ErrorKind;

use http::HeaderValue;
use http::header::HeaderName;

use super::Refusal;
use crate::clean::Unclean;
use crate::forward::ConnectFault;

/// Where it is said.
pub(super) static PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// The field's value for an error type of RFC 9209, section 2.3.
macro_rules! error {
    ($kind:literal) => {
        HeaderValue::from_static(concat!("gatewright; error=", $kind))
    };
}

impl Refusal {
    /// The value of `Proxy-Status`.
    pub(super) fn proxy_status(&self) -> HeaderValue {
        match self {
            Self::Unclean(Unclean::Asterisk | Unclean::LastHop) => error!("proxy_internal_response"),
            Self::Unclean(_)
            | Self::Unclear(..)
            | Self::BodyTooLong
            | Self::MediaType
            | Self::BodySlow
            | Self::BodyBroken => error!("http_request_error"),
            Self::FailedTooOften { .. } | Self::NoCredential(_) | Self::Rejected(..) | Self::Limited(_) => {
                error!("http_request_denied")
            }
            Self::Loop => error!("proxy_loop_detected"),
            Self::NoApi => error!("destination_not_found"),
            Self::Waiting(_) => error!("proxy_configuration_error"),
            Self::Failed(..) | Self::NoRoom => error!("proxy_internal_error"),
            Self::NoEndpoint => error!("destination_unavailable"),
            Self::CircuitOpen(_) => error!("connection_limit_reached"),
            Self::NoConnection(fault) => unconnected(fault),
            Self::Broken(_) => error!("connection_terminated"),
            Self::Garbled(_) => error!("http_protocol_error"),
            Self::Slow | Self::Late => error!("http_response_timeout"),
        }
    }
}

fn unconnected(fault: &ConnectFault) -> HeaderValue {
    match fault {
        ConnectFault::Refused(_, fault) => match fault.kind() {
            ErrorKind::ConnectionRefused => error!("connection_refused"),
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => error!("connection_terminated"),
            ErrorKind::TimedOut => error!("connection_timeout"),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => error!("destination_ip_unroutable"),
            // What is left is our own system's: no descriptor, no port, no permission.
            _ => error!("proxy_internal_error"),
        },
        ConnectFault::Slow(_) => error!("connection_timeout"),
        ConnectFault::Tls(..) => error!("tls_protocol_error"),
        ConnectFault::Http1(..) | ConnectFault::Http2(..) => error!("http_protocol_error"),
        ConnectFault::Crowded(_) => error!("connection_limit_reached"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Error;
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    #[test]
    fn nothing_behind_the_gateway_is_named() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let refused = |kind: ErrorKind| Refusal::NoConnection(ConnectFault::Refused(address, Error::from(kind)));
        for (refusal, error) in [
            (refused(ErrorKind::ConnectionRefused), "connection_refused"),
            (refused(ErrorKind::ConnectionReset), "connection_terminated"),
            (refused(ErrorKind::TimedOut), "connection_timeout"),
            (refused(ErrorKind::HostUnreachable), "destination_ip_unroutable"),
            (refused(ErrorKind::PermissionDenied), "proxy_internal_error"),
            (Refusal::NoConnection(ConnectFault::Slow(address)), "connection_timeout"),
            (Refusal::Broken("127.0.0.1:9 broke".into()), "connection_terminated"),
            (Refusal::Garbled("127.0.0.1:9 garbled".into()), "http_protocol_error"),
            (Refusal::NoEndpoint, "destination_unavailable"),
            (Refusal::CircuitOpen(String::new()), "connection_limit_reached"),
            (Refusal::NoRoom, "proxy_internal_error"),
            (Refusal::Unclean(Unclean::Asterisk), "proxy_internal_response"),
            (Refusal::Unclean(Unclean::Escape), "http_request_error"),
        ] {
            assert_eq!(refusal.proxy_status(), format!("gatewright; error={error}"));
        }
    }
}
