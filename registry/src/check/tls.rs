//! TLS for checks: rustls, the system's roots, and for who asks for it no verification at all.

use std::sync::Arc;

use mizan::connection::Transport;
use tokio::{sync::OnceCell, task::spawn_blocking};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore,
        SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

use crate::{catalogue::Tls, check::reason::readable};

/// What is spoken inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inside {
    /// HTTP/2, as gRPC does.
    Http2,
    /// HTTP/1.1, or nothing that has to be named.
    Any,
}

/// The roots that the system trusts.
static ROOTS: OnceCell<Arc<RootCertStore>> = OnceCell::const_new();

/// The roots, read once, beside the tasks that run checks: there are hundreds, from many files.
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` say where they are, if not in the usual place.
async fn roots() -> Arc<RootCertStore> {
    let read = || async {
        let read = spawn_blocking(read_roots).await;
        read.unwrap_or_else(|_| Arc::new(RootCertStore::empty()))
    };
    Arc::clone(ROOTS.get_or_init(read).await)
}

fn read_roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some of the system's root certificates cannot be read");
    }
    let (_, ignored) = roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::warn!("no root certificates: checks over TLS that verify will fail");
    }
    tracing::debug!(roots = roots.len(), ignored, "root certificates");
    Arc::new(roots)
}

/// Shakes hands on an open stream. `host` is the target's, without a port.
pub(crate) async fn connect<S: Transport>(
    stream: S,
    host: &str,
    tls: &Tls,
    inside: Inside,
) -> Result<TlsStream<S>, String> {
    let name = match &*tls.server_name {
        "" => host.trim_start_matches('[').trim_end_matches(']'),
        name => name,
    };
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| format!("{name} is no name that a certificate could be for"))?;
    let roots = if tls.skip_verify {
        None
    } else {
        Some(roots().await)
    };
    let config = config(roots, inside).map_err(|error| words(&error))?;
    let shaken = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await;
    let stream = shaken.map_err(|error| {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        inner.map_or_else(|| readable(&error.to_string()), words)
    })?;
    let protocol = stream.get_ref().1.alpn_protocol();
    if inside == Inside::Http2 && protocol != Some(b"h2".as_slice()) {
        return Err("speaks TLS, but not HTTP/2 inside".to_owned());
    }
    Ok(stream)
}

/// With these roots; without any, whoever it is will do.
fn config(roots: Option<Arc<RootCertStore>>, inside: Inside) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let mut config = match roots {
        Some(roots) => builder.with_root_certificates(roots).with_no_client_auth(),
        None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth(),
    };
    if inside == Inside::Http2 {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    Ok(config)
}

/// rustls's words, shorter where they are common.
fn words(error: &Error) -> String {
    let why = match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its issuer is not trusted".to_owned()
        }
        Error::InvalidCertificate(CertificateError::Expired) => "it expired".to_owned(),
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "it is for another name".to_owned(),
        Error::InvalidCertificate(other) => other.to_string(),
        other => return format!("no TLS: {other}"),
    };
    format!("the certificate is not accepted: {why}")
}

/// Takes any certificate; still checks that who shows it has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signed,
            algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signed,
            algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
