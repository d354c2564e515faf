//! Certificates, and clients that come with TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{
    ClientConfig, HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion, version,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::connection::{Connection, connect};
use crate::time::runtime;
use crate::within;

/// Somebody who vouches for others.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, in PEM.
    pub certificate: String,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of tests");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// A server's certificate for these names.
    #[must_use]
    pub fn server(&self, names: &[&str]) -> Identity {
        self.identity(CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap())
    }

    /// A client's certificate.
    #[must_use]
    pub fn client(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        self.identity(params)
    }

    fn identity(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

/// Takes TLS as this identity and speaks the best of these protocols; who does not show a certificate that `clients` vouches for
/// is sent away, where there is one.
#[must_use]
pub fn acceptor(identity: &Identity, protocols: &[&str], clients: Option<&Authority>) -> TlsAcceptor {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(der(&authority.certificate)).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(vec![der(&identity.certificate)], key).unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// A client that comes with TLS and trusts one authority. It takes up its sessions again.
#[derive(Clone)]
pub struct TlsClient {
    config: ClientConfig,
}

impl TlsClient {
    /// A client that shows nothing.
    #[must_use]
    pub fn trusting(authority: &Authority) -> Self {
        Self::new(authority, None, &version::TLS13)
    }

    /// A client that speaks no newer version than TLS 1.2.
    #[must_use]
    pub fn of_yesterday(authority: &Authority) -> Self {
        Self::new(authority, None, &version::TLS12)
    }

    /// A client that shows a certificate.
    #[must_use]
    pub fn showing(authority: &Authority, identity: &Identity) -> Self {
        Self::new(authority, Some(identity), &version::TLS13)
    }

    fn new(authority: &Authority, identity: Option<&Identity>, version: &'static SupportedProtocolVersion) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(der(&authority.certificate)).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![der(&identity.certificate)], key).unwrap()
            }
        };
        Self { config }
    }

    /// A connection over HTTP/1.1.
    ///
    /// # Panics
    /// There is none.
    pub async fn http1(&self, to: SocketAddr, name: &str) -> Connection {
        Connection::http1_over(self.connect(to, name, "http/1.1").await.unwrap(), "https").await
    }

    /// A connection over HTTP/2.
    ///
    /// # Panics
    /// There is none.
    pub async fn http2(&self, to: SocketAddr, name: &str) -> Connection {
        Connection::http2_over(self.connect(to, name, "h2").await.unwrap(), "https").await
    }

    /// The subject of the certificate that the other end shows.
    ///
    /// # Panics
    /// There is no connection.
    pub async fn sees(&self, to: SocketAddr, name: &str) -> CertificateDer<'static> {
        let stream = self.connect(to, name, "http/1.1").await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    }

    /// Whether a new connection takes up an old session.
    ///
    /// # Panics
    /// There is no connection.
    pub async fn resumes(&self, to: SocketAddr, name: &str) -> bool {
        let stream = self.connect(to, name, "http/1.1").await.unwrap();
        stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// One of both sides does not want to.
    pub async fn connect(&self, to: SocketAddr, name: &str, protocol: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let mut config = self.config.clone();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let name = name.to_owned().try_into().unwrap();
        let stream = connect(to, None).await?;
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
        within("a handshake", runtime().spawn(handshake)).await.unwrap()
    }
}

/// A certificate in PEM, as it is shown.
#[must_use]
fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

impl Identity {
    /// The certificate as it is shown.
    #[must_use]
    pub fn shown(&self) -> CertificateDer<'static> {
        der(&self.certificate)
    }
}
