//! Who services must be to us and who we are to them, exchanged as a whole when a file changes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{TlsFault, Told, authorities, certified};
use crate::config::{Service, ServiceTls};
use crate::files;

/// The TLS of one service.
pub struct Outward {
    settings: ServiceTls,
    http2: bool,
    name: ServerName<'static>,
    current: ArcSwap<Offers>,
    told: Told,
}

/// What a handshake with a service may agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/2 where the service is to be spoken to in it, else HTTP/1.1.
    Any,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone.
    Http2,
}

/// The same settings with other protocols to agree on.
struct Offers {
    any: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl Outward {
    fn load(settings: &ServiceTls, http2: bool) -> Result<Self, TlsFault> {
        let name =
            ServerName::try_from(settings.name.clone()).map_err(|fault| TlsFault::Settings(fault.to_string()))?;
        let current = ArcSwap::from_pointee(Offers::load(settings, http2)?);
        Ok(Self { settings: settings.clone(), http2, name, current, told: Told::default() })
    }

    /// The handshake with a service.
    ///
    /// # Errors
    /// The service is not who it must be, or speaks no TLS.
    pub async fn shake_hands(&self, stream: TcpStream, speaks: Speaks) -> std::io::Result<TlsStream<TcpStream>> {
        let offers = self.current.load_full();
        let config = match speaks {
            Speaks::Any => &offers.any,
            Speaks::Http1 => &offers.http1,
            Speaks::Http2 => &offers.http2,
        };
        TlsConnector::from(Arc::clone(config)).connect(self.name.clone(), stream).await
    }

    fn refresh(&self) {
        if let Some(offers) = self.told.good(Offers::load(&self.settings, self.http2)) {
            self.current.store(Arc::new(offers));
        }
    }

    fn files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let identity = self.settings.identity.iter().flat_map(|pair| [pair.chain.clone(), pair.key.clone()]);
        identity.chain([self.settings.authorities.clone()])
    }
}

impl Offers {
    fn load(settings: &ServiceTls, http2: bool) -> Result<Self, TlsFault> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|fault| TlsFault::Settings(fault.to_string()))?
            .with_root_certificates(authorities(&settings.authorities)?);
        let mut http1 = match &settings.identity {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let resolver = SingleCertAndKey::from(certified(pair, &provider)?);
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
        };
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (mut any, mut only) = (http1.clone(), http1.clone());
        only.alpn_protocols = vec![b"h2".to_vec()];
        if http2 {
            any.alpn_protocols.insert(0, b"h2".to_vec());
        }
        Ok(Self { any: Arc::new(any), http1: Arc::new(http1), http2: Arc::new(only) })
    }
}

/// The TLS of all services that have it.
#[derive(Default)]
pub struct Outwards(BTreeMap<Arc<str>, Arc<Outward>>);

impl fmt::Debug for Outwards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Outwards {
    /// Reads the files of all settings; what is as in `previous` is kept, and with it connections and sessions.
    ///
    /// # Errors
    /// A file is missing or bad, or a key does not fit its certificate.
    pub fn load(services: &BTreeMap<Arc<str>, Service>, previous: &Self) -> Result<Self, TlsFault> {
        let mut all = BTreeMap::new();
        for (name, service) in services {
            let Some(settings) = &service.tls else { continue };
            let is_same = |known: &&Arc<Outward>| known.settings == *settings && known.http2 == service.http2;
            let made = match previous.0.get(name).filter(is_same) {
                Some(known) => Arc::clone(known),
                None => Arc::new(Outward::load(settings, service.http2)?),
            };
            all.insert(Arc::clone(name), made);
        }
        Ok(Self(all))
    }

    /// The TLS of a service; none: it is spoken to in clear.
    #[must_use]
    pub fn of(&self, service: &str) -> Option<Arc<Outward>> {
        self.0.get(service).cloned()
    }

    /// Reads files again when they change, for as long as the answer lives; none: there is nothing to watch.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn watch(self: &Arc<Self>) -> std::io::Result<Option<files::Watch>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (watched, refreshed) = (Arc::clone(self), Arc::clone(self));
        let files = move || watched.0.values().flat_map(|outward| outward.files()).collect();
        files::watch("service certificates", files, move || refreshed.0.values().for_each(|outward| outward.refresh()))
            .map(Some)
    }
}
