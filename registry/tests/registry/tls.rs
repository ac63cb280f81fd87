//! Checks over TLS: who is trusted, and by what name.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use mizan_contracts::registry::v1::{
    CheckTls, GrpcCheck, HttpCheck, InstanceStatus, TcpCheck, health_check::Kind,
    registry_service_client::RegistryServiceClient,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

use crate::{
    support::{Client, Registry, Watch, checked, register},
    target::Checked,
};

/// How often instances are checked, and how long one check may take: once, and it counts.
const PATIENCE: Duration = Duration::from_secs(15);

/// Who speaks TLS as `payments.example`, and the certificate that says so.
fn identity() -> (TlsAcceptor, String) {
    of(IsCa::NoCa)
}

/// The same, as `openssl req -x509` makes it: a certificate that may sign others.
fn authority() -> (TlsAcceptor, String) {
    of(IsCa::Ca(BasicConstraints::Unconstrained))
}

fn of(is_ca: IsCa) -> (TlsAcceptor, String) {
    valid(is_ca, None)
}

/// The same, from the beginning of one year to that of another.
fn valid(is_ca: IsCa, years: Option<(i32, i32)>) -> (TlsAcceptor, String) {
    let names = vec!["payments.example".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).unwrap();
    params.is_ca = is_ca;
    if let Some((from, to)) = years {
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
    }
    let signing_key = KeyPair::generate().unwrap();
    let cert = params.self_signed(&signing_key).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key);
    let mut config = config.unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (TlsAcceptor::from(Arc::new(config)), cert.pem())
}

fn anybody() -> Option<CheckTls> {
    Some(CheckTls {
        skip_verify: true,
        ..CheckTls::default()
    })
}

fn named(name: &str) -> Option<CheckTls> {
    Some(CheckTls {
        server_name: name.to_owned(),
        ..CheckTls::default()
    })
}

fn grpc(tls: Option<CheckTls>) -> Kind {
    Kind::Grpc(GrpcCheck {
        tls,
        ..GrpcCheck::default()
    })
}

fn https(port: u16, tls: Option<CheckTls>) -> Kind {
    Kind::Http(HttpCheck {
        url: format!("https://127.0.0.1:{port}/health"),
        tls,
        ..HttpCheck::default()
    })
}

/// What the check comes to say.
async fn says(client: &mut Client, port: u16, kind: Kind) -> (InstanceStatus, String) {
    // In this order: what an earlier check said of it is not heard.
    let mut instance = checked("a", port, Some(kind), PATIENCE);
    instance.check.as_mut().unwrap().timeout = PATIENCE.try_into().ok();
    register(client, instance).await;
    let mut watch = Watch::open(client, &["invoice"], true).await;
    let snapshot = watch
        .until(|m| {
            m.instances
                .first()
                .is_some_and(|i| i.status_reason != "not checked yet")
        })
        .await;
    let instance = snapshot.instances.first().unwrap();
    (instance.status(), instance.status_reason.clone())
}

#[tokio::test]
async fn every_kind_that_opens_a_connection_speaks_tls() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let (acceptor, _) = identity();
    let target = Checked::start_tls(acceptor).await;
    let tcp = Kind::Tcp(TcpCheck {
        tls: anybody(),
        ..TcpCheck::default()
    });
    for kind in [grpc(anybody()), https(target.port, anybody()), tcp] {
        let said = says(&mut client, target.port, kind.clone()).await;
        assert_eq!(said.0, InstanceStatus::Passing, "{kind:?}: {said:?}");
    }
    registry.stop().await;
}

#[tokio::test]
async fn a_certificate_that_nobody_signed_is_refused_and_so_is_plain_text() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let (acceptor, _) = identity();
    let target = Checked::start_tls(acceptor).await;
    for kind in [grpc(Some(CheckTls::default())), https(target.port, None)] {
        let (status, why) = says(&mut client, target.port, kind).await;
        assert_eq!(status, InstanceStatus::Critical);
        let expected = "the certificate is not accepted: its issuer is not trusted; add";
        assert!(why.starts_with(expected), "{why}");
    }
    let plain = Checked::start().await;
    let (status, why) = says(&mut client, plain.port, grpc(anybody())).await;
    assert_eq!(status, InstanceStatus::Critical);
    assert!(why.starts_with("no TLS: "), "{why}");
    registry.stop().await;
}

#[test]
fn a_registry_whose_roots_are_none_does_not_start_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let prose = folder.path().join("prose.pem");
    std::fs::write(&prose, "not a certificate\n").unwrap();
    let missing = folder.path().join("missing.pem");
    for file in [&empty, &prose, &missing] {
        let ended = Command::new(env!("CARGO_BIN_EXE_registry"))
            .args(["--listen", "127.0.0.1:0", "--data", ""])
            .env("SSL_CERT_FILE", file)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success(), "{said}");
        let expected = format!("SSL_CERT_FILE={} holds no root certificate", file.display());
        assert!(said.contains(&expected), "{said}");
    }
}

/// The registry as a process, which trusts one certificate.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn trusting(certificate: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_registry"))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--data",
                "",
                "--log-format",
                "json",
            ])
            .env("SSL_CERT_FILE", certificate)
            .env_remove("SSL_CERT_DIR")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut addresses = lines.map_while(Result::ok).filter_map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line).ok()?;
            line.get("address")?.as_str()?.parse().ok()
        });
        let address = addresses.next().expect("it says where it listens");
        Self { child, address }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
async fn a_trusted_certificate_passes_under_its_own_name_alone() {
    trusted_under_its_own_name(identity()).await;
}

#[tokio::test]
async fn a_self_signed_certificate_that_may_sign_others_is_trusted_as_curl_does() {
    trusted_under_its_own_name(authority()).await;
}

#[tokio::test]
async fn one_that_may_sign_others_and_is_not_trusted_is_refused_in_a_sentence() {
    let registry = Registry::start().await;
    let mut client = registry.client().await;
    let (acceptor, _) = authority();
    let target = Checked::start_tls(acceptor).await;
    let (status, why) = says(&mut client, target.port, grpc(named(""))).await;
    assert_eq!(status, InstanceStatus::Critical);
    let expected = "the certificate is not accepted: it is that of a certificate authority, which the system does not trust; ";
    assert!(why.starts_with(expected), "{why}");
    registry.stop().await;
}

async fn trusted_under_its_own_name((acceptor, pem): (TlsAcceptor, String)) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trusted.pem");
    std::fs::write(&file, pem).unwrap();
    let process = Process::trusting(&file);
    let authority = process.address.to_string();
    let connection = mizan::Connection::open(&authority, PATIENCE).await;
    let mut client: Client = RegistryServiceClient::new(connection.unwrap());
    let target = Checked::start_tls(acceptor).await;
    for (name, accepted) in [
        ("payments.example", true),
        // The host of the target, which is in the certificate too.
        ("", true),
        ("invoices.example", false),
    ] {
        for kind in [grpc(named(name)), https(target.port, named(name))] {
            let (status, why) = says(&mut client, target.port, kind).await;
            assert_eq!(status == InstanceStatus::Passing, accepted, "{name}: {why}");
            let expected = "the certificate is not accepted: it is for another name: \
                 payments.example, 127.0.0.1, not for invoices.example; ";
            assert!(accepted || why.starts_with(expected), "{why}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_trusted_and_out_of_its_time_is_refused_in_a_sentence() {
    for (from, to, expected) in [
        (2020, 2021, "it expired "),
        (3000, 3001, "it is not valid before "),
    ] {
        let (acceptor, pem) = valid(IsCa::NoCa, Some((from, to)));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trusted.pem");
        std::fs::write(&file, pem).unwrap();
        let process = Process::trusting(&file);
        let authority = process.address.to_string();
        let connection = mizan::Connection::open(&authority, PATIENCE).await;
        let mut client: Client = RegistryServiceClient::new(connection.unwrap());
        let target = Checked::start_tls(acceptor).await;
        let (status, why) = says(&mut client, target.port, grpc(named(""))).await;
        assert_eq!(status, InstanceStatus::Critical);
        let expected = format!("the certificate is not accepted: {expected}");
        assert!(why.starts_with(&expected) && !why.contains('{'), "{why}");
    }
}
