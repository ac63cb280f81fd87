//! TLS for checks: rustls, the system's roots, and for who asks for it no verification at all.

mod words;

use std::{collections::HashSet, env, io, sync::Arc};

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
use words::words;

/// Where roots are looked for in the place of the system's own.
const OWN_ROOTS: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// There is no root certificate where the environment says that they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{place} holds no root certificate that can be used{why}, so no check over TLS could pass: put one \
     there (PEM), or unset it to use the system's"
)]
pub struct NoRoots {
    place: String,
    why: String,
}

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

/// Reads the roots now, if the environment says where they are: that is wrong from the start or not at
/// all.
pub(crate) async fn begin() -> Result<(), NoRoots> {
    let place = OWN_ROOTS
        .into_iter()
        .filter_map(|name| Some(format!("{name}={}", env::var_os(name)?.display())));
    let place = place.collect::<Vec<_>>().join(", ");
    if place.is_empty() {
        return Ok(());
    }
    match roots().await {
        Ok(_) => Ok(()),
        Err(fault) => {
            let why = fault.reason.split_once(": ");
            let why = why.map_or_else(String::new, |(_, why)| format!(" ({why})"));
            Err(NoRoots { place, why })
        }
    }
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
        // Nobody is any worse for it.
        let reason = "there is no root certificate to verify others with; install the system's \
                      (ca-certificates), or name a file of them in SSL_CERT_FILE";
        return Err(Fault::own(Trouble::Roots, reason));
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
    let server = ServerName::try_from(name.to_owned())
        .map_err(|_| format!("{name} is no name that a certificate could be for"))?;
    let roots = if tls.skip_verify {
        None
    } else {
        Some(roots().await?)
    };
    let config = config(roots, inside).map_err(|error| words(&error, name))?;
    let shaken = TlsConnector::from(Arc::new(config))
        .connect(server, stream)
        .await;
    let stream = shaken.map_err(|error| {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        match inner {
            Some(inner) => words(inner, name).into(),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                "no TLS: it closed the connection in the middle of the handshake"
                    .to_owned()
                    .into()
            }
            None => Fault::of(&error),
        }
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
