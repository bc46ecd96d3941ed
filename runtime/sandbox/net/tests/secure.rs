//! TLS with a certificate authority made for the test.

use std::sync::LazyLock;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

pub(super) struct Authority {
    pub(super) certificate: CertificateDer<'static>,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// One for all tests.
pub(super) fn authority() -> &'static Authority {
    static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Authority { certificate: issuer.der().clone(), issuer }
    });
    &AUTHORITY
}

/// A server that says the name of `host` and answers `ok`.
async fn serve(host: &str) -> (u16, JoinHandle<()>) {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &authority().issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut seen = [0; 1024];
            if matches!(stream.read(&mut seen).await, Ok(count) if count > 0) {
                let _ = stream.write_all(&ok("safe")).await;
            }
        }
    });
    (port, task)
}

#[tokio::test]
async fn a_host_is_who_its_certificate_says() {
    let (port, task) = serve("shop.test").await;
    let quota = NetworkQuota { ssl_required: true, ..NetworkQuota::default() };
    let names = [("shop.test", "127.0.0.1"), ("other.test", "127.0.0.1")];
    let grants = [("shop.test", port), ("other.test", port), ("127.0.0.1", port)];
    let client = client(&names, &grants, quota);
    let ask = async |host: &str| get(&client, &format!("https://{host}:{port}/")).await;
    assert_eq!(ask("shop.test").await.unwrap().body, b"safe");
    is(HostErrorKind::Failed, "no secure connection to other.test", ask("other.test").await);
    is(HostErrorKind::Failed, "no secure connection to 127.0.0.1", ask("127.0.0.1").await);
    is(HostErrorKind::PermissionDenied, "sslRequired: false", get(&client, &format!("http://shop.test:{port}/")).await);
    task.abort();
}

#[tokio::test]
async fn a_certificate_of_nobody_who_is_trusted_is_refused() {
    let (port, task) = serve("shop.test").await;
    let other = CertificateParams::new(vec!["other".to_owned()]).unwrap();
    let other = other.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
    let network = Network::with(Names::of(&[("shop.test", "127.0.0.1")]), vec![other]).unwrap();
    let client = client_of(network, &[("shop.test", port)], NetworkQuota::default());
    is(
        HostErrorKind::Failed,
        "no secure connection to shop.test",
        get(&client, &format!("https://shop.test:{port}/")).await,
    );
    task.abort();
}

#[test]
fn without_a_root_nobody_is_trusted_and_the_help_says_what_to_do() {
    let Err(error) = Network::with(Names::of(&[]), Vec::new()) else { panic!("nobody can be trusted") };
    assert!(error.contains("SSL_CERT_FILE"), "{error}");
}
