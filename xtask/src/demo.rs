//! The demo of `cargo xtask run`: three services, a token, and what to try, all as data that a test can run too.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

pub mod service;

/// Where examples/quickstart/gateway.toml listens.
pub const GATEWAY: SocketAddr = loopback(8080);
/// Where it lets operators look in.
pub const ADMIN: SocketAddr = loopback(9900);
/// The environment variable that it takes the tokens' secret from.
pub const SECRET_VARIABLE: &str = "GATEWRIGHT_DEMO_SECRET";
/// What the demo's caller may do: all but `payments:write`.
pub const SCOPES: &str = "users:read orders:read orders:write payments:read";
/// The endpoint that the last try makes fail.
pub const FAILING: SocketAddr = loopback(9101);
/// How long a token is good: a working day.
const TOKEN_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// The services and where their endpoints are, as examples/quickstart/gateway.toml has them.
pub const SERVICES: [(&str, &[SocketAddr]); 4] = [
    ("users", &[FAILING, loopback(9102), loopback(9103)]),
    ("orders-v1", &[loopback(9111), loopback(9112)]),
    ("orders-v2", &[loopback(9121), loopback(9122)]),
    ("payments", &[loopback(9131), loopback(9132)]),
];

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Opens every endpoint of [`SERVICES`]. Needs a tokio runtime.
///
/// # Errors
///
/// One of the addresses is taken.
pub async fn services() -> Result<service::Services> {
    let mut services = service::Services::new();
    for (name, address) in SERVICES.iter().flat_map(|(name, all)| all.iter().map(move |one| (name, one))) {
        services.open(name, *address).await?;
    }
    Ok(services)
}

/// Makes a token for a caller, signed with a shared secret (HS256), good for twelve hours.
///
/// # Errors
///
/// None that depend on the arguments.
pub fn mint(secret: &str, subject: &str, scopes: &str, now: Duration) -> Result<String> {
    mint_with(Algorithm::HS256, &EncodingKey::from_secret(secret.as_bytes()), subject, scopes, now)
}

/// Makes such a token with any algorithm.
///
/// # Errors
///
/// The key is not one of the algorithm's.
pub fn mint_with(
    algorithm: Algorithm,
    key: &EncodingKey,
    subject: &str,
    scopes: &str,
    now: Duration,
) -> Result<String> {
    let claims = Claims {
        iss: "https://issuer.example",
        aud: "shop",
        sub: subject,
        scope: scopes,
        tenant: "acme",
        iat: now.as_secs(),
        exp: (now + TOKEN_LIFE).as_secs(),
    };
    Ok(jsonwebtoken::encode(&Header::new(algorithm), &claims, key)?)
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    scope: &'a str,
    tenant: &'a str,
    iat: u64,
    exp: u64,
}

/// The time since 1970.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970")
}

/// Something to try with the demo running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// What it shows.
    pub title: &'static str,
    /// A line for `sh` that takes the token from `$TOKEN` and prints the head of every answer.
    pub command: String,
    /// The status of the last answer.
    pub status: u16,
    /// A field that is in the last answer's head, in lower case.
    pub field: Option<&'static str>,
}

/// The tries, in an order in which each does what it says: the limit of one is not used up by another.
pub fn tries(gateway: SocketAddr, failing: SocketAddr) -> Vec<Try> {
    let url = |path: &str| format!("http://{gateway}{path}");
    let curl = |more: &str, path: &str| format!("curl -si {more}-H \"Authorization: Bearer $TOKEN\" {}", url(path));
    let json = "-H 'Content-Type: application/json' ";
    let bad_order = format!("-d '{{\"item\": \"tea\", \"quantity\": 0}}' {json}");
    let six = |line: &str| format!("for i in 1 2 3 4 5 6; do {line}; done");
    let expect = |title, command, status, field| Try { title, command, status, field };
    vec![
        expect("A request with a good token", curl("", "/users/7"), 200, None),
        expect("No token", format!("curl -si {}", url("/users/7")), 401, Some("www-authenticate")),
        expect(
            "A token without the scope that this needs",
            curl(&format!("-d '{{}}' {json}"), "/payments"),
            403,
            Some("www-authenticate"),
        ),
        expect("An order that is not valid", curl(&bad_order, "/orders"), 400, None),
        expect("Version 1 of orders, which is going away", curl("", "/v1/orders/3"), 200, Some("deprecation")),
        expect("The same, named in a field", curl("-H 'API-Version: 1' ", "/orders/3"), 200, Some("deprecation")),
        expect("More than five requests in ten seconds", six(&curl("", "/payments/7")), 429, Some("retry-after")),
        expect(
            "An endpoint dies, and nobody notices",
            format!("curl -si -X POST http://{failing}/demo/fail; {}", six(&curl("", "/users/7"))),
            200,
            None,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_three_parts_and_its_secret_matters() {
        let mint = |secret| mint(secret, "ada", SCOPES, Duration::from_secs(1_000_000)).expect("a token");
        assert_eq!(mint("one").split('.').count(), 3);
        assert_ne!(mint("one"), mint("two"));
        assert_eq!(mint("one"), mint("one"));
    }

    #[test]
    fn the_quickstart_configuration_has_the_services_and_addresses() {
        let text = std::fs::read_to_string(crate::house::quickstart()).expect("it is shipped");
        for (name, addresses) in SERVICES {
            let list = addresses.iter().map(|address| format!("\"{address}\"")).collect::<Vec<_>>().join(", ");
            assert!(text.contains(&format!("[service.{name}]\nendpoints = [{list}]")), "{name}");
        }
        assert!(text.contains(&format!("listen = \"{GATEWAY}\"")) && text.contains(&format!("listen = \"{ADMIN}\"")));
        assert!(text.contains(SECRET_VARIABLE));
    }
}
