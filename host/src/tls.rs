//! Who we are to clients that come with TLS, exchanged as a whole when a file changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{
    ClientHello, ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache, StoresServerSessions,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;

use crate::config::{self, ClientCertificates, ServerTls, TlsVersion};
use crate::files;

mod client;
mod service;

pub use client::ClientCertificate;
pub use service::{Outward, Outwards, Speaks};

/// Sessions of TLS 1.2 that clients may take up again; those of 1.3 are in tickets that clients keep.
const SESSIONS: usize = 10_000;

/// Why certificates and keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// A file cannot be read as PEM.
    #[error("{0}: {1}")]
    File(PathBuf, String),
    /// The key is another certificate's, or of no kind that is known.
    #[error("{certificate}: no use with {key}: {reason}")]
    Pair {
        /// The chain's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        reason: String,
    },
    /// The machine gives no randomness, or the settings exclude each other.
    #[error("{0}")]
    Settings(String),
}

/// The edge's TLS: settings, and what the files said when they were last good.
pub struct Tls {
    settings: ServerTls,
    current: ArcSwap<rustls::ServerConfig>,
    kept: Kept,
    told: Told,
}

/// The fault that was told last, so that it is told once.
#[derive(Default)]
struct Told(Mutex<Option<String>>);

impl Told {
    /// What was read again, if it is good.
    fn good<T>(&self, read: Result<T, TlsFault>) -> Option<T> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(read) => {
                if told.take().is_some() {
                    tracing::info!("certificates are good again");
                }
                Some(read)
            }
            Err(fault) => {
                let reason = fault.to_string();
                if told.as_ref() != Some(&reason) {
                    tracing::error!(reason, "certificates refused: the old ones are kept");
                    *told = Some(reason);
                }
                None
            }
        }
    }
}

/// What survives an exchange, so that clients can take up their sessions.
#[derive(Clone)]
struct Kept {
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl Tls {
    /// Reads the files of the settings. Sessions of `previous` can still be taken up where the same is asked of clients.
    ///
    /// # Errors
    /// A file is missing or bad, or a key does not fit its certificate.
    pub fn load(settings: &ServerTls, previous: Option<&Self>) -> Result<Self, TlsFault> {
        let kept = previous.filter(|previous| previous.settings.clients == settings.clients);
        let kept = match kept {
            Some(previous) => previous.kept.clone(),
            None => Kept::new()?,
        };
        let current = ArcSwap::from_pointee(server_config(settings, &kept)?);
        Ok(Self { settings: settings.clone(), current, kept, told: Told::default() })
    }

    /// What a handshake begins with now.
    #[must_use]
    pub fn current(&self) -> Arc<rustls::ServerConfig> {
        self.current.load_full()
    }

    /// Reads the files again. Where one is bad, all stays as it is, and the log says why, once.
    pub fn refresh(&self) {
        if let Some(config) = self.told.good(server_config(&self.settings, &self.kept)) {
            self.current.store(Arc::new(config));
        }
    }

    /// Refreshes when a file changes, for as long as the answer lives.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn watch(self: &Arc<Self>) -> std::io::Result<files::Watch> {
        let (watched, refreshed) = (Arc::clone(self), Arc::clone(self));
        files::watch("certificates", move || watched.files(), move || refreshed.refresh())
    }

    fn files(&self) -> Vec<PathBuf> {
        let pairs = self.settings.certificates.iter().flat_map(|pair| [pair.chain.clone(), pair.key.clone()]);
        let authorities = match &self.settings.clients {
            ClientCertificates::None => None,
            ClientCertificates::Optional(file) | ClientCertificates::Required(file) => Some(file.clone()),
        };
        pairs.chain(authorities).collect()
    }
}

impl Kept {
    fn new() -> Result<Self, TlsFault> {
        let tickets = aws_lc_rs::Ticketer::new().map_err(|fault| TlsFault::Settings(fault.to_string()))?;
        Ok(Self { tickets, sessions: ServerSessionMemoryCache::new(SESSIONS) })
    }
}

fn server_config(settings: &ServerTls, kept: &Kept) -> Result<rustls::ServerConfig, TlsFault> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions: &[_] = match settings.minimum {
        TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|fault| TlsFault::Settings(fault.to_string()))?;
    let verifier = |file: &Path| {
        let roots = Arc::new(authorities(file)?);
        Ok::<_, TlsFault>((WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)), file.to_owned()))
    };
    let verifier = match &settings.clients {
        ClientCertificates::None => None,
        ClientCertificates::Optional(file) => {
            Some(verifier(file).map(|(builder, file)| (builder.allow_unauthenticated(), file))?)
        }
        ClientCertificates::Required(file) => Some(verifier(file)?),
    };
    let builder = match verifier {
        None => builder.with_no_client_auth(),
        Some((verifier, file)) => builder
            .with_client_cert_verifier(verifier.build().map_err(|fault| TlsFault::File(file, fault.to_string()))?),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Names::load(&settings.certificates, &provider)?));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = Arc::clone(&kept.tickets);
    config.session_storage = Arc::clone(&kept.sessions);
    Ok(config)
}

fn authorities(file: &Path) -> Result<RootCertStore, TlsFault> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(file)? {
        roots.add(certificate).map_err(|fault| TlsFault::File(file.to_owned(), fault.to_string()))?;
    }
    Ok(roots)
}

/// The certificates of a file, at least one.
fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let fault = |reason: String| TlsFault::File(file.to_owned(), reason);
    let certificates = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|reason| fault(reason.to_string()))?;
    if certificates.is_empty() { Err(fault("no certificate in it".into())) } else { Ok(certificates) }
}

/// Certificates by the names that they are for (SNI, RFC 6066, section 3).
#[derive(Debug)]
struct Names {
    exact: BTreeMap<Box<str>, Arc<CertifiedKey>>,
    /// `example.org` for `*.example.org`.
    below: BTreeMap<Box<str>, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
}

impl Names {
    /// Of several that are for one name the first is shown.
    fn load(pairs: &[config::Certificate], provider: &CryptoProvider) -> Result<Self, TlsFault> {
        let mut names = Self { exact: BTreeMap::new(), below: BTreeMap::new(), first: None };
        for pair in pairs {
            let key = Arc::new(certified(pair, provider)?);
            for name in names_of(&key) {
                let name = name.to_ascii_lowercase();
                match name.strip_prefix("*.") {
                    Some(parent) => names.below.entry(parent.into()).or_insert_with(|| Arc::clone(&key)),
                    None => names.exact.entry(name.into()).or_insert_with(|| Arc::clone(&key)),
                };
            }
            names.first.get_or_insert(key);
        }
        Ok(names)
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let parent = || self.below.get(name.split_once('.')?.1);
        self.exact.get(name).or_else(parent)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls gives names in lower case.
        hello.server_name().and_then(|name| self.find(name)).or(self.first.as_ref()).cloned()
    }
}

fn certified(pair: &config::Certificate, provider: &CryptoProvider) -> Result<CertifiedKey, TlsFault> {
    let chain = chain(&pair.chain)?;
    let key =
        PrivateKeyDer::from_pem_file(&pair.key).map_err(|fault| TlsFault::File(pair.key.clone(), fault.to_string()))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|fault| TlsFault::Pair {
        certificate: pair.chain.clone(),
        key: pair.key.clone(),
        reason: fault.to_string(),
    })
}

/// The DNS names that a certificate is for.
fn names_of(key: &CertifiedKey) -> Vec<String> {
    use x509_parser::extensions::GeneralName;
    let parsed = key.cert.first().and_then(|end| x509_parser::parse_x509_certificate(end).ok());
    let Some((_, certificate)) = parsed else { return Vec::new() };
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.into_iter().flat_map(|extension| &extension.value.general_names);
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
        .collect()
}
