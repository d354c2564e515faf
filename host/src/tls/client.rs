//! What a client's certificate says of it.

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

/// A client's certificate that was verified in the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its subject, as `CN=ada, O=Example`.
    pub subject: String,
    /// The SHA-256 of the whole of it, in lower-case hexadecimal digits.
    pub fingerprint: String,
}

impl ClientCertificate {
    /// Reads a certificate; one that cannot be parsed has an empty subject.
    #[must_use]
    pub fn new(certificate: &CertificateDer<'_>) -> Self {
        let parsed = x509_parser::parse_x509_certificate(certificate);
        let subject = parsed.map_or_else(|_| String::new(), |(_, parsed)| parsed.subject().to_string());
        Self { subject, fingerprint: crate::plugin::hex(&Sha256::digest(certificate)) }
    }
}
