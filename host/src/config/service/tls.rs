//! `[service.NAME.tls]`.

use std::path::PathBuf;

use rustls::pki_types::ServerName;
use serde_json::json;

use crate::config::kinds::{FILE, Parsed};
use crate::config::table::Table;
use crate::config::tls::Certificate;

const NAME: Parsed<String> = Parsed { what: "a host's name or an IP address", parse: name, show: |name| json!(name) };

/// A service that is spoken to with TLS: who it must be, and who we are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceTls {
    /// What its certificate must be for; a name is also said in the handshake (SNI).
    pub name: String,
    /// The file of those that vouch for its certificate.
    pub authorities: PathBuf,
    /// What is shown where it asks for a certificate; `None`: nothing.
    pub identity: Option<Certificate>,
}

impl ServiceTls {
    /// The name is the service's own where nothing is said.
    pub(super) fn read(t: &mut Table<'_>, service: &str) -> Option<Self> {
        let about = "What its certificate must be for; a name is also said in the handshake (SNI). Default: the service's name.";
        let given = t.given("name", about, &NAME);
        let about = "Certificates in PEM that vouch for the service's, watched.";
        let authorities = t.need("authorities", about, &FILE);
        let about = "What is shown where the service asks for a certificate, in PEM, watched.";
        let certificate = t.given("certificate", about, &FILE);
        let key = t.given("key", "Its private key in PEM, watched.", &FILE);
        let identity = match (certificate, key) {
            (None, None) => None,
            (Some(chain), Some(key)) => Some(Certificate { chain: t.resolve(chain), key: t.resolve(key) }),
            (Some(_), None) => return fault(t, "certificate", "`key` is missing"),
            (None, Some(_)) => return fault(t, "key", "`certificate` is missing"),
        };
        let name = match given {
            Some(name) => name,
            None if t.has("name") => return None,
            None => match name(service) {
                Ok(name) => name,
                Err(_) => return fault(t, "authorities", "the service's name is no host's: set `name`"),
            },
        };
        Some(Self { name, authorities: t.resolve(authorities?), identity })
    }
}

fn fault<T>(t: &mut Table<'_>, key: &str, text: &str) -> Option<T> {
    t.fault(key, text);
    None
}

fn name(text: &str) -> Result<String, String> {
    ServerName::try_from(text).map(|_| text.to_owned()).map_err(|fault| fault.to_string())
}
