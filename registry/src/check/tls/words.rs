//! What rustls refuses, in sentences: what failed, why, and what to do. Its own are for programmers.

use std::{fmt::Debug, time::Duration};

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, pki_types::UnixTime};

/// How many names of a certificate are told.
const NAMES_MAX: usize = 4;

/// Why TLS did not come about with who was expected to be `name`.
pub(super) fn words(error: &Error, name: &str) -> String {
    let why = match error {
        Error::InvalidCertificate(why) => {
            return format!("the certificate is not accepted: {}", refused(why, name));
        }
        Error::NoCertificatesPresented => "it showed no certificate".to_owned(),
        Error::InvalidMessage(why) => format!(
            "what answers does not speak it ({}); is it the right port, and is TLS spoken there?",
            spaced(why)
        ),
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it asks for a certificate of the registry, which has none; let it take checks without one"
                .to_owned()
        }
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            format!("it does not know the name {name}; name the one that it serves")
        }
        Error::AlertReceived(why) => format!("it refused the handshake: {}", spaced(why)),
        Error::PeerIncompatible(why) => format!(
            "it has no version or cipher that is accepted: {}; TLS 1.2 and 1.3 are",
            spaced(why)
        ),
        Error::NoApplicationProtocol => {
            "it speaks none of the protocols that the check does".to_owned()
        }
        Error::PeerMisbehaved(why) => format!("it does not keep to the protocol: {}", spaced(why)),
        // What only a programmer reads.
        Error::Other(_) => spaced(error),
        other => match other.to_string() {
            dump if dump.contains(['{', '(']) => spaced(other),
            sentence => sentence,
        },
    };
    format!("no TLS: {why}")
}

fn refused(why: &CertificateError, name: &str) -> String {
    use CertificateError as Why;
    match why {
        Why::UnknownIssuer => "its issuer is not trusted; add the issuer's certificate to the \
             system's, or to the file that SSL_CERT_FILE names"
            .to_owned(),
        Why::ExpiredContext { time, not_after } => {
            format!("it expired {} ago; renew it", since(*not_after, *time))
        }
        Why::Expired => "it expired; renew it".to_owned(),
        Why::NotValidYetContext { time, not_before } => format!(
            "it is not valid before {} from now; compare the clocks",
            since(*time, *not_before)
        ),
        Why::NotValidYet => "it is not valid yet; compare the clocks".to_owned(),
        Why::NotValidForNameContext { presented, .. } => format!(
            "it is for another name: {}, not for {name}; give the check the server name that it is for",
            names(presented)
        ),
        Why::NotValidForName => format!("it is for another name than {name}"),
        Why::Revoked => "it was revoked; replace it".to_owned(),
        Why::BadSignature => "its signature is wrong".to_owned(),
        Why::BadEncoding => "it cannot be read".to_owned(),
        Why::InvalidPurpose | Why::InvalidPurposeContext { .. } => {
            "it is not for servers; its extended key usage must have serverAuth".to_owned()
        }
        Why::UnsupportedSignatureAlgorithmContext { .. }
        | Why::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it is signed in a way that is not supported".to_owned()
        }
        other => match spaced(other) {
            what if what.contains("ca used as end entity") => {
                "it is that of a certificate authority, which the system does not trust; \
                 show one that the authority signed, or add it to the file that SSL_CERT_FILE names"
                    .to_owned()
            }
            what if what.contains("unsupported cert version") => {
                "it is of an old version of X.509; make one of version 3".to_owned()
            }
            what => what,
        },
    }
}

/// The first names that a certificate is for; rustls gives them as `DnsName("a")`.
fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "it names nobody".to_owned();
    }
    let bare = |name: &String| {
        let inner = name.split_once('(').map_or(&**name, |(_, inner)| inner);
        inner.trim_end_matches(')').trim_matches('"').to_owned()
    };
    let mut told: Vec<_> = presented.iter().take(NAMES_MAX).map(bare).collect();
    if presented.len() > NAMES_MAX {
        told.push(format!("{} more", presented.len() - NAMES_MAX));
    }
    told.join(", ")
}

/// The time between two times, in its largest unit.
fn since(from: UnixTime, to: UnixTime) -> String {
    let seconds = to.as_secs().saturating_sub(from.as_secs());
    let span = Duration::from_secs(seconds).as_secs();
    let (count, unit) = match span {
        0..120 => (span, "second"),
        120..7_200 => (span / 60, "minute"),
        7_200..172_800 => (span / 3_600, "hour"),
        _ => (span / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

/// The innermost word of a dump as words: "unsupported cert version" of
/// `Other(OtherError(UnsupportedCertVersion))`.
fn spaced(dump: &impl Debug) -> String {
    let dump = format!("{dump:?}");
    let mut words: Vec<&str> = dump
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase()))
        .collect();
    words.retain(|word| !matches!(*word, "Other" | "OtherError" | "Context"));
    let word = words.first().copied().unwrap_or("for a reason of its own");
    let mut spaced = String::new();
    let mut before = false;
    for c in word.chars() {
        if c.is_ascii_uppercase() && before {
            spaced.push(' ');
        }
        before = c.is_ascii_lowercase() || c.is_ascii_digit();
        spaced.push(c.to_ascii_lowercase());
    }
    spaced
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio_rustls::rustls::{
        InvalidMessage, OtherError, PeerIncompatible, PeerMisbehaved, pki_types::ServerName,
    };

    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    /// As webpki's own errors come: known by their dump alone.
    #[derive(Debug)]
    enum Webpki {
        CaUsedAsEndEntity,
        UnsupportedCertVersion,
        PathLenConstraintViolated,
    }

    impl std::fmt::Display for Webpki {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{self:?}")
        }
    }

    impl std::error::Error for Webpki {}

    fn other(why: Webpki) -> CertificateError {
        CertificateError::Other(OtherError(Arc::new(why)))
    }

    fn named(presented: &[&str]) -> CertificateError {
        CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("web.example").unwrap(),
            presented: presented.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_a_sentence() {
        let day = 86_400;
        for (why, expected) in [
            (
                CertificateError::ExpiredContext {
                    time: at(10 * day),
                    not_after: at(7 * day),
                },
                "it expired 3 days ago; renew it",
            ),
            (
                CertificateError::NotValidYetContext {
                    time: at(day),
                    not_before: at(day + 7_260),
                },
                "it is not valid before 2 hours from now; compare the clocks",
            ),
            (
                named(&["DnsName(\"payments.example\")", "IpAddress(127.0.0.1)"]),
                "it is for another name: payments.example, 127.0.0.1, not for web.example; \
                 give the check the server name that it is for",
            ),
            (
                named(&["a", "b", "c", "d", "e", "f"]),
                "it is for another name: a, b, c, d, 2 more, not for web.example; \
                 give the check the server name that it is for",
            ),
            (
                other(Webpki::UnsupportedCertVersion),
                "it is of an old version of X.509; make one of version 3",
            ),
            (
                other(Webpki::PathLenConstraintViolated),
                "path len constraint violated",
            ),
            (
                CertificateError::InvalidOcspResponse,
                "invalid ocsp response",
            ),
        ] {
            let said = words(&why.into(), "web.example");
            let expected = format!("the certificate is not accepted: {expected}");
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn nothing_that_rustls_says_is_shown_as_a_programmer_sees_it() {
        let certificates = [
            CertificateError::BadEncoding,
            CertificateError::Expired,
            CertificateError::NotValidYet,
            CertificateError::Revoked,
            CertificateError::UnhandledCriticalExtension,
            CertificateError::UnknownIssuer,
            CertificateError::UnknownRevocationStatus,
            CertificateError::ExpiredRevocationList,
            CertificateError::BadSignature,
            CertificateError::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: vec![1, 2],
                supported_algorithms: Vec::new(),
            },
            CertificateError::NotValidForName,
            CertificateError::InvalidPurpose,
            CertificateError::ApplicationVerificationFailure,
            named(&[]),
            other(Webpki::CaUsedAsEndEntity),
        ];
        let all = certificates.into_iter().map(Error::from).chain([
            Error::NoCertificatesPresented,
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
            Error::AlertReceived(AlertDescription::HandshakeFailure),
            Error::AlertReceived(AlertDescription::CertificateRequired),
            Error::AlertReceived(AlertDescription::UnrecognisedName),
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            Error::PeerMisbehaved(PeerMisbehaved::TooMuchEarlyDataReceived),
            Error::NoApplicationProtocol,
            Error::DecryptError,
            Error::Other(OtherError(Arc::new(Webpki::CaUsedAsEndEntity))),
        ]);
        for error in all {
            let said = words(&error, "web.example");
            let dumped = said
                .split(|c: char| !c.is_ascii_alphanumeric())
                .any(|word| {
                    let inner = word.chars().skip(1);
                    word.len() > 4
                        && word.starts_with(|c: char| c.is_ascii_uppercase())
                        && inner.clone().any(|c| c.is_ascii_uppercase())
                        && inner.clone().any(|c| c.is_ascii_lowercase())
                });
            assert!(!dumped && !said.contains(['{', '[', '"']), "{said}");
            let plain = said.starts_with("the certificate is not accepted: ")
                || said.starts_with("no TLS: ");
            assert!(plain, "{said}");
        }
    }
}
