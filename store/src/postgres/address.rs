//! A database URL, and what of it may be shown.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use percent_encoding::percent_decode_str;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::OpenError;

use super::{
    CONNECT_MAX, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES, UNACKNOWLEDGED_MAX,
};

/// PostgreSQL cuts longer names.
const SCHEMA_LENGTH_MAX: usize = 63;

/// Where the server is and how it is spoken to.
pub(super) struct Address {
    pub(super) config: Config,
    /// `None`: in the clear.
    pub(super) tls: Option<MakeRustlsConnect>,
    pub(super) schema: String,
    /// For people: host, port and database.
    pub(super) place: String,
}

/// What the URL asks for beyond what `tokio-postgres` reads.
#[derive(Debug, Default, PartialEq)]
struct Security {
    mode: Option<String>,
    roots: Option<String>,
}

impl Address {
    pub(super) fn parse(url: &str, schema: &str) -> Result<Self, OpenError> {
        if !is_name(schema) {
            return Err(OpenError::at(
                format_args!("schema {schema:?}"),
                "lower-case letters, digits and _ are taken, at most 63, a letter first",
            ));
        }
        let (rest, security) = split(url);
        // Without the cause, which may quote a piece of the password.
        let mut config: Config = rest.parse().map_err(|_| not_a_url())?;
        if config.get_hosts().is_empty() {
            return Err(not_a_url());
        }
        let place = place(&config);
        let tls = security
            .tls(&config)
            .map_err(|e| OpenError::at(&place, e))?;
        config
            .ssl_mode(if tls.is_some() {
                SslMode::Require
            } else {
                SslMode::Disable
            })
            // Of several hosts, the one that can be written to: a standby would only refuse.
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .connect_timeout(CONNECT_MAX)
            .keepalives(true)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_PROBES)
            .tcp_user_timeout(UNACKNOWLEDGED_MAX);
        if config.get_application_name().is_none() {
            config.application_name(schema);
        }
        Ok(Self {
            config,
            tls,
            schema: schema.to_owned(),
            place,
        })
    }
}

impl Security {
    fn tls(&self, config: &Config) -> Result<Option<MakeRustlsConnect>, String> {
        match self.mode.as_deref() {
            None if config.get_hosts().iter().all(is_local) => Ok(None),
            Some("disable") => Ok(None),
            None | Some("require" | "verify-ca" | "verify-full") => self.verified().map(Some),
            Some(other) => Err(format!(
                "sslmode={other} is not taken: disable, require (the certificate is verified), \
                 verify-ca or verify-full"
            )),
        }
    }

    /// TLS that verifies the server's certificate and its name.
    fn verified(&self) -> Result<MakeRustlsConnect, String> {
        let mut roots = RootCertStore::empty();
        match &self.roots {
            Some(file) => {
                let certificates = CertificateDer::pem_file_iter(file)
                    .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                    .map_err(|e| format!("sslrootcert {file}: {e}"))?;
                roots.add_parsable_certificates(certificates);
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
            }
        }
        if roots.is_empty() {
            return Err(
                "TLS is asked for, and there is no root certificate: name a file with \
                        sslrootcert"
                    .to_owned(),
            );
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(MakeRustlsConnect::new(config))
    }
}

/// Takes the parameters out that `tokio-postgres` would refuse or read otherwise.
fn split(url: &str) -> (String, Security) {
    let mut security = Security::default();
    let Some((address, parameters)) = url.split_once('?') else {
        return (url.to_owned(), security);
    };
    let mut kept = Vec::new();
    for parameter in parameters.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = || Some(percent_decode_str(value).decode_utf8_lossy().into_owned());
        match name {
            "sslmode" => security.mode = value(),
            "sslrootcert" => security.roots = value(),
            _ => kept.push(parameter),
        }
    }
    if kept.is_empty() {
        (address.to_owned(), security)
    } else {
        (format!("{address}?{}", kept.join("&")), security)
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .trim_matches(['[', ']'])
                    .parse()
                    .is_ok_and(|ip: IpAddr| ip.is_loopback() || ip == Ipv4Addr::LOCALHOST)
        }
    }
}

fn place(config: &Config) -> String {
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Unix(path) => path.display().to_string(),
        Host::Tcp(name) => name.clone(),
    });
    let hosts: Vec<_> = hosts.collect();
    let ports: Vec<_> = config.get_ports().iter().map(u16::to_string).collect();
    let port = if ports.is_empty() {
        "5432".to_owned()
    } else {
        ports.join(",")
    };
    let database = config.get_dbname().unwrap_or_default();
    format!("PostgreSQL at {}:{port}/{database}", hosts.join(","))
}

fn not_a_url() -> OpenError {
    OpenError::at(
        "the database URL",
        "postgres://user:password@host:port/database is wanted",
    )
}

fn is_name(schema: &str) -> bool {
    schema.len() <= SCHEMA_LENGTH_MAX
        && schema.starts_with(|c: char| c.is_ascii_lowercase())
        && schema
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        // PostgreSQL keeps these to itself.
        && !schema.starts_with("pg_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        match Address::parse(url, "ledger") {
            Ok(_) => panic!("{url} is taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn no_error_shows_the_password() {
        for url in [
            "postgres://me:s3cret@db.example:99999/x",
            "postgres://me:s3cret@db.example/x?nonsense=s3cret",
            "postgres://me:pa?s3cret=x@db.example:99999/x",
            "postgres://me:s3cret@db.example/x?sslmode=prefer",
            "postgres://me:s3cret@db.example/x?sslmode=require&sslrootcert=/no/such/file",
            "s3cret",
            "",
        ] {
            let said = refusal(url);
            assert!(!said.contains("s3cret"), "{said}");
            assert!(said.starts_with("cannot open "), "{said}");
        }
    }

    #[test]
    fn what_falls_back_to_the_clear_is_refused() {
        for mode in ["prefer", "allow", "nonsense"] {
            let said = refusal(&format!("postgres://me@127.0.0.1/x?sslmode={mode}"));
            assert!(
                said.contains(&format!("sslmode={mode} is not taken")),
                "{said}"
            );
        }
    }

    #[test]
    fn only_this_machine_is_spoken_to_in_the_clear_unasked() {
        let clear = |url: &str| {
            let (rest, security) = split(url);
            let config: Config = rest.parse().unwrap();
            match (&security.mode, config.get_hosts().iter().all(is_local)) {
                (None, local) => local,
                (Some(mode), _) => mode == "disable",
            }
        };
        assert!(clear("postgres://me@localhost/x"));
        assert!(clear("postgres://me@127.0.0.1/x"));
        assert!(clear("postgres://me@[::1]/x"));
        assert!(clear("postgres:///x?host=/run/postgresql"));
        assert!(clear("postgres://me@db.example/x?sslmode=disable"));
        assert!(!clear("postgres://me@db.example/x"));
        assert!(!clear("postgres://me@localhost,db.example/x"));
        assert!(!clear("postgres://me@localhost/x?sslmode=verify-full"));
    }

    #[test]
    fn parameters_that_are_not_ours_are_passed_on() {
        let (rest, security) =
            split("postgres://a/b?connect_timeout=3&sslmode=verify-full&sslrootcert=%2Fa%20b.pem");
        assert_eq!(rest, "postgres://a/b?connect_timeout=3");
        assert_eq!(security.mode.as_deref(), Some("verify-full"));
        assert_eq!(security.roots.as_deref(), Some("/a b.pem"));
    }

    #[test]
    fn a_schema_is_a_plain_name() {
        assert!(is_name("accounting") && is_name("a1_b"));
        for other in ["", "1a", "Ledger", "a-b", "a\"b", "pg_x", &"a".repeat(64)] {
            assert!(!is_name(other), "{other}");
        }
    }
}
