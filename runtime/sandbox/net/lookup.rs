//! Names looked up, and the certificates that are trusted.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::OnceCell;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Looks names up.
pub trait Lookup: Send + Sync {
    /// The addresses of `host`, in the order in which they are to be tried.
    ///
    /// # Errors
    /// Nobody knows the name, or nobody answers.
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// As the system does: its hosts file, its name servers.
struct System;

impl Lookup for System {
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// What the HTTP clients of all modules share: no connection, only where names are looked up and who is trusted.
#[derive(Clone)]
pub struct Network {
    pub(super) lookup: Arc<dyn Lookup>,
    tls: Arc<OnceCell<Arc<ClientConfig>>>,
}

impl Default for Network {
    fn default() -> Self {
        Self { lookup: Arc::new(System), tls: Arc::default() }
    }
}

impl Network {
    /// Names are looked up by `lookup`, and of certificates those of `roots` are trusted.
    ///
    /// # Errors
    /// One of the roots is no certificate.
    pub fn with(lookup: Arc<dyn Lookup>, roots: Vec<CertificateDer<'static>>) -> Result<Self, String> {
        let tls = OnceCell::new_with(Some(configuration(roots)?));
        Ok(Self { lookup, tls: Arc::new(tls) })
    }

    /// How TLS is spoken. The system's certificates are read at the first use, or those that `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name.
    pub(super) async fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        let load = || async {
            let loaded = tokio::task::spawn_blocking(|| {
                let found = rustls_native_certs::load_native_certs();
                for error in &found.errors {
                    tracing::warn!(%error, "certificates of the system could not be read");
                }
                configuration(found.certs)
            });
            loaded.await.map_err(|error| error.to_string())?
        };
        self.tls.get_or_try_init(load).await.cloned()
    }
}

fn configuration(certificates: Vec<CertificateDer<'static>>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        let help = "install the system's ca-certificates, or name a file of them in SSL_CERT_FILE";
        return Err(format!("no certificate is trusted: {help}"));
    }
    // not the process's default provider, which the application around the runtime may set
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let mut configuration = builder.with_root_certificates(roots).with_no_client_auth();
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(configuration))
}
