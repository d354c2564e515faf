//! `[server.tls]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::groups::{List, OneOrMany, record};
use super::kinds::{Address, FILE, Words};
use super::source::Space;
use super::table::Table;

/// Where clients come in with TLS, and who we are to them.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerTls {
    /// At least one.
    pub listen: Vec<SocketAddr>,
    /// At least one; the first is for clients that name no host, or one that none is for.
    pub certificates: Vec<Certificate>,
    /// The oldest version that is spoken.
    pub minimum: TlsVersion,
    /// What clients must show.
    pub clients: ClientCertificates,
}

/// A chain of certificates and its private key, in PEM. The files are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate of the server first, then those that vouch for it.
    pub chain: PathBuf,
    /// The private key of the first.
    pub key: PathBuf,
}

/// Versions of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// Whether clients show certificates, and the file of those that vouch for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked.
    None,
    /// Who shows one shows a good one.
    Optional(PathBuf),
    /// Everybody shows a good one.
    Required(PathBuf),
}

#[derive(Clone, Copy, PartialEq)]
enum Asked {
    None,
    Optional,
    Required,
}

impl ServerTls {
    pub(super) fn read(t: &mut Table<'_>) -> Option<Self> {
        let listener = Address { space: Space::Listener, scope: "" };
        let listeners = OneOrMany(List { of: listener, least: 1 });
        let certificates = List { of: record(Certificate::read), least: 1 };
        let about = "Chains and keys; the one that is for the host that a client names is shown, else the first.";
        let versions = Words(&[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)]);
        let asked = Words(&[("none", Asked::None), ("optional", Asked::Optional), ("required", Asked::Required)]);
        let authorities = "Certificates in PEM that vouch for clients', watched; needed where clients show any.";
        let listen = t.need("listen", "Addresses for clients with TLS; port 0 is any free one.", &listeners);
        let certificates = t.need("certificates", about, &certificates);
        let minimum = t.or("minimum", "The oldest version that is spoken.", TlsVersion::Tls12, &versions);
        let asked = t.or("clients", "Whether clients show certificates.", Asked::None, &asked);
        let authorities = t.given("client_authorities", authorities, &FILE).map(|path| t.resolve(path));
        let clients = match (asked, authorities) {
            (Asked::None, None) => ClientCertificates::None,
            (Asked::Optional, Some(file)) => ClientCertificates::Optional(file),
            (Asked::Required, Some(file)) => ClientCertificates::Required(file),
            (Asked::None, Some(_)) => {
                t.fault("client_authorities", "nobody is asked for a certificate: set `clients`");
                return None;
            }
            (Asked::Optional | Asked::Required, None) => {
                t.fault("clients", "`client_authorities` is missing");
                return None;
            }
        };
        Some(Self { listen: listen?, certificates: certificates?, minimum, clients })
    }
}

impl Certificate {
    fn read(t: &mut Table<'_>) -> Option<Self> {
        let chain =
            t.need("certificate", "The server's certificate and those that vouch for it, in PEM, watched.", &FILE);
        let key = t.need("key", "Its private key in PEM, watched.", &FILE);
        Some(Self { chain: t.resolve(chain?), key: t.resolve(key?) })
    }
}
