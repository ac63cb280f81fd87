//! TLS for checks: rustls, the system's roots, and for who asks for it no verification at all.

use std::{collections::HashSet, sync::Arc};

use mizan::connection::Transport;
use sha2::{Digest as _, Sha256};
use tokio::{sync::OnceCell, task::spawn_blocking};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore,
        SignatureScheme,
        client::{
            WebPkiServerVerifier,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
            verify_server_name,
        },
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, ServerName, UnixTime},
        server::ParsedCertificate,
    },
};

use crate::{
    catalogue::Tls,
    check::outcome::{Fault, Trouble},
};

/// What is spoken inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inside {
    /// HTTP/2, as gRPC does.
    Http2,
    /// HTTP/1.1, or nothing that has to be named.
    Any,
}

/// The roots that the system trusts.
#[derive(Debug)]
struct Roots {
    store: Arc<RootCertStore>,
    /// Of each the SHA-256: a certificate that is among them is trusted by itself.
    known: HashSet<[u8; 32]>,
}

static ROOTS: OnceCell<Arc<Roots>> = OnceCell::const_new();

/// The roots, read once, beside the tasks that run checks: there are hundreds, from many files.
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` say where they are, if not in the usual place. What cannot be
/// read, for want of files say, is read again by the next who asks.
async fn roots() -> Result<Arc<Roots>, Fault> {
    let read = || async {
        let read = spawn_blocking(read_roots).await;
        read.unwrap_or_else(|error| Err(Fault::own(Trouble::Roots, error.to_string())))
    };
    ROOTS.get_or_try_init(read).await.map(Arc::clone)
}

fn read_roots() -> Result<Arc<Roots>, Fault> {
    let mut store = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some of the system's root certificates cannot be read");
    }
    if let ([], Some(error)) = (&*found.certs, found.errors.first()) {
        let reason = format!("the system's root certificates cannot be read: {error}");
        return Err(Fault::own(Trouble::Roots, reason));
    }
    let known = found.certs.iter().map(digest).collect();
    let (_, ignored) = store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        tracing::warn!("no root certificates: checks over TLS that verify will fail");
    }
    tracing::debug!(roots = store.len(), ignored, "root certificates");
    let store = Arc::new(store);
    Ok(Arc::new(Roots { store, known }))
}

fn digest(certificate: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(certificate).into()
}

/// Shakes hands on an open stream. `host` is the target's, without a port.
pub(crate) async fn connect<S: Transport>(
    stream: S,
    host: &str,
    tls: &Tls,
    inside: Inside,
) -> Result<TlsStream<S>, Fault> {
    let name = match &*tls.server_name {
        "" => host.trim_start_matches('[').trim_end_matches(']'),
        name => name,
    };
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| format!("{name} is no name that a certificate could be for"))?;
    let roots = if tls.skip_verify {
        None
    } else {
        Some(roots().await?)
    };
    let config = config(roots, inside).map_err(|error| words(&error))?;
    let shaken = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await;
    let stream = shaken.map_err(|error| {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        inner.map_or_else(|| Fault::of(&error), |error| words(error).into())
    })?;
    let protocol = stream.get_ref().1.alpn_protocol();
    if inside == Inside::Http2 && protocol != Some(b"h2".as_slice()) {
        return Err("speaks TLS, but not HTTP/2 inside".to_owned().into());
    }
    Ok(stream)
}

/// With these roots; without any, whoever it is will do.
fn config(roots: Option<Arc<Roots>>, inside: Inside) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let mut config = match roots {
        // rustls itself refuses a store without any.
        Some(roots) if roots.store.is_empty() => builder
            .with_root_certificates(Arc::clone(&roots.store))
            .with_no_client_auth(),
        Some(roots) => {
            let store = Arc::clone(&roots.store);
            let inner = WebPkiServerVerifier::builder_with_provider(store, Arc::clone(&provider));
            let inner = inner
                .build()
                .map_err(|error| Error::General(error.to_string()))?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Trusting { inner, roots }))
                .with_no_client_auth()
        }
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
        Error::InvalidCertificate(other) if is_authority(other) => {
            "it is that of a certificate authority, which the system does not trust".to_owned()
        }
        Error::InvalidCertificate(other) => other.to_string(),
        other => return format!("no TLS: {other}"),
    };
    format!("the certificate is not accepted: {why}")
}

/// Whether what is wrong with a certificate is that it may sign others, as those do that `openssl req
/// -x509` makes. It is looked at after the time for which it is valid.
fn is_authority(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(why) if format!("{why:?}").contains("CaUsedAsEndEntity"))
}

/// Verifies as rustls does, and takes a certificate that is itself among the roots, as OpenSSL does:
/// whoever put it there means that very server.
#[derive(Debug)]
struct Trusting {
    inner: Arc<WebPkiServerVerifier>,
    roots: Arc<Roots>,
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self
            .inner
            .verify_server_cert(certificate, chain, name, ocsp, now);
        match verified {
            Err(Error::InvalidCertificate(why))
                if is_authority(&why) && self.roots.known.contains(&digest(certificate)) =>
            {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
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
