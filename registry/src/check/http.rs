//! An HTTP request: 2xx passes, 429 warns, everything else is critical (Consul's rules).

use std::{error::Error as _, net::IpAddr};

use http::{
    HeaderName, HeaderValue, Method, Response, StatusCode, Uri,
    header::{
        ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CACHE_CONTROL, CONNECTION,
        CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION,
        TRANSFER_ENCODING, USER_AGENT,
    },
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use mizan::connection::Transport;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    catalogue::{Status, Tls},
    check::{
        Networks, Outcome, basic,
        bounded::Allowance,
        outcome::Fault,
        reference::{resolve, same_origin},
        stage::{Stage, Wait},
        tls::{self, Inside},
    },
};

/// How many redirects are followed: enough for a moved path, too few for a circle.
const REDIRECTS_MAX: usize = 5;

/// The most bytes of an answer's headers.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Bytes of the answer's body that are kept for people.
const BODY_BYTES_MAX: usize = 512;

/// Headers that go along to another origin: what is wanted, and nothing that says who wants it. Which
/// of the others are keys, only their owner knows.
const HARMLESS: [HeaderName; 6] = [
    ACCEPT,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    CACHE_CONTROL,
    CONTENT_TYPE,
    USER_AGENT,
];

/// Headers that are about a body.
const OF_BODY: [HeaderName; 5] = [
    CONTENT_TYPE,
    CONTENT_LENGTH,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    TRANSFER_ENCODING,
];

/// What is sent, beside the URL.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) headers: &'a [(String, String)],
    pub(crate) body: &'a str,
    pub(crate) follow_redirects: bool,
    /// How TLS is spoken, where the URL asks for it.
    pub(crate) tls: &'a Tls,
    /// Where the instance says that it is.
    pub(crate) own_host: &'a str,
}

/// What is sent now: what was asked for, less what redirects took away.
#[derive(Debug, Clone)]
struct Sent {
    uri: Uri,
    method: String,
    headers: Vec<(String, String)>,
    body: Bytes,
    tls: Tls,
}

/// An answer, where it came from, and what drives its connection: that ends when it is dropped.
struct Answer {
    response: Response<Incoming>,
    from: IpAddr,
    _driver: AbortOnDropHandle<hyper::Result<()>>,
}

/// Asks once, on a connection of its own: one that is kept would hide that nobody accepts new ones.
pub(crate) async fn check(
    networks: &Networks,
    url: &str,
    request: &Request<'_>,
    stage: &Stage,
) -> Result<Outcome, Fault> {
    let mut sent = Sent {
        uri: url.parse().map_err(|_| format!("{url} is not a URL"))?,
        method: request.method.to_owned(),
        headers: request.headers.to_vec(),
        body: Bytes::copy_from_slice(request.body.as_bytes()),
        tls: request.tls.clone(),
    };
    for followed in 0..=REDIRECTS_MAX {
        let answer = ask(networks, &sent, stage).await;
        let answer = answer.map_err(|fault| match followed {
            0 => fault,
            // Of which of the two it is said would not be known otherwise.
            _ => fault.behind(&format!("redirected to {}: ", basic::without(&sent.uri))),
        })?;
        let code = answer.response.status();
        let next = answer.response.headers().get(LOCATION);
        match next.filter(|_| request.follow_redirects && is_redirect(code)) {
            Some(location) => sent = sent.redirected(code, location)?,
            None => {
                stage.wait(Wait::Body);
                let shown = is_own(answer.from, &sent.uri, request.own_host);
                return Ok(judge(&sent, answer.response, shown).await);
            }
        }
    }
    Err(format!("redirected more than {REDIRECTS_MAX} times").into())
}

/// Those that say to ask elsewhere, and with what (RFC 9110, section 15.4).
fn is_redirect(code: StatusCode) -> bool {
    matches!(code.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Whether what answered is the instance, as far as its registration says. Other answers are not shown:
/// a check would be a way to read what only the registry can reach.
fn is_own(from: IpAddr, uri: &Uri, own_host: &str) -> bool {
    let asked = uri.host().unwrap_or_default();
    let asked = asked.trim_start_matches('[').trim_end_matches(']');
    let own: Option<IpAddr> = own_host.parse().ok();
    let from = from.to_canonical();
    asked.eq_ignore_ascii_case(own_host)
        || own.is_some_and(|own| {
            let own = own.to_canonical();
            own == from || (own.is_loopback() && from.is_loopback())
        })
}

impl Sent {
    /// What is asked next (RFC 9110, section 15.4; the Fetch standard's rules for methods). To another
    /// origin no secret goes along.
    fn redirected(&self, code: StatusCode, location: &HeaderValue) -> Result<Self, Fault> {
        let to = String::from_utf8_lossy(location.as_bytes()).into_owned();
        let uri = resolve(&self.uri, &to);
        let uri = uri.ok_or_else(|| format!("redirected to {to:?}, which is no URL"))?;
        let mut next = Self {
            uri,
            ..self.clone()
        };
        let rewritten = match code {
            StatusCode::SEE_OTHER => self.method != "HEAD",
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == "POST",
            _ => false,
        };
        if rewritten {
            "GET".clone_into(&mut next.method);
            next.body = Bytes::new();
            next.headers.retain(|(name, _)| !is_one_of(&OF_BODY, name));
        }
        if !same_origin(&self.uri, &next.uri) {
            next.headers.retain(|(name, _)| is_one_of(&HARMLESS, name));
            // It may hold a secret as well; asked for without it, the answer would be to something else.
            if !next.body.is_empty() {
                return Err(format!(
                    "redirected to {}, another origin, where the check's body does not go; let the check name \
                     that URL itself",
                    basic::without(&next.uri)
                )
                .into());
            }
            // It was for the host before.
            next.tls.server_name = String::new();
        }
        Ok(next)
    }
}

fn is_one_of(names: &[HeaderName], name: &str) -> bool {
    names
        .iter()
        .any(|one| one.as_str().eq_ignore_ascii_case(name))
}

async fn ask(networks: &Networks, sent: &Sent, stage: &Stage) -> Result<Answer, Fault> {
    let uri = &sent.uri;
    let (secure, port) = match uri.scheme_str() {
        Some("http") => (false, 80),
        Some("https") => (true, 443),
        _ => return Err(format!("{uri} is neither http nor https").into()),
    };
    let host = uri.host().ok_or_else(|| format!("{uri} names no host"))?;
    let target = format!("{host}:{}", uri.port_u16().unwrap_or(port));
    let (stream, from) = networks.connect(&target, stage).await?;
    let stream = Allowance::new().of(stream);
    let stream: Box<dyn Transport> = if secure {
        stage.wait(Wait::Tls);
        Box::new(tls::connect(stream, host, &sent.tls, Inside::Any).await?)
    } else {
        stream
    };
    stage.wait(Wait::Answer);
    let broke = |error: hyper::Error| {
        let cause = error
            .source()
            .map_or_else(|| error.to_string(), ToString::to_string);
        format!("connection broke: {cause}")
    };
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    let shaken = builder.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(broke)?;
    let driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let response = sender.send_request(message(sent)?).await;
    Ok(Answer {
        response: response.map_err(broke)?,
        from,
        _driver: driver,
    })
}

fn message(sent: &Sent) -> Result<http::Request<Full<Bytes>>, String> {
    let uri = &sent.uri;
    let method = Method::from_bytes(sent.method.as_bytes())
        .map_err(|_| format!("{} is not a method", sent.method))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    // Of `http://host?query` the path is empty; what is sent is not.
    let root = if path.starts_with('/') { "" } else { "/" };
    let path = format!("{root}{path}");
    let body = Full::new(sent.body.clone());
    let built = http::Request::builder().method(method).uri(path).body(body);
    let mut message = built.map_err(|error| error.to_string())?;
    let headers = message.headers_mut();
    for (name, value) in &sent.headers {
        let name: HeaderName = name
            .parse()
            .map_err(|_| format!("{name} is not a header"))?;
        let value = HeaderValue::from_str(value);
        headers.append(
            &name,
            value.map_err(|_| format!("{name} has a value that is none"))?,
        );
    }
    if !headers.contains_key(HOST) {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = HeaderValue::from_str(host);
        headers.insert(HOST, host.map_err(|_| format!("{uri} names no host"))?);
    }
    if let Some(credentials) = basic::credentials(uri) {
        headers.entry(AUTHORIZATION).or_insert(credentials);
    }
    let fixed = [
        (USER_AGENT, "Mizan Health Check"),
        (ACCEPT, "text/plain, text/*, */*"),
        (CONNECTION, "close"),
    ];
    for (name, value) in fixed {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    Ok(message)
}

async fn judge(sent: &Sent, answer: Response<Incoming>, shown: bool) -> Outcome {
    let code = answer.status();
    let status = match code.as_u16() {
        200..=299 => Status::Passing,
        429 => Status::Warning,
        _ => Status::Critical,
    };
    let head = format!("HTTP {} {}: {code}", sent.method, basic::without(&sent.uri));
    if !shown {
        let output =
            format!("{head} Output: not shown, since it is not from the instance's address");
        return Outcome::new(status, output);
    }
    let mut body = answer.into_body();
    let mut kept = Vec::new();
    while kept.len() < BODY_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Some(data) = frame.data_ref() {
            kept.extend_from_slice(data);
        }
    }
    kept.truncate(BODY_BYTES_MAX);
    let body = String::from_utf8_lossy(&kept);
    Outcome::new(status, format!("{head} Output: {body}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(method: &str, url: &str) -> Sent {
        let headers = [
            ("Authorization", "Bearer secret"),
            ("X-Api-Key", "secret"),
            ("Cookie", "secret"),
            ("Host", "secret.example"),
            ("Accept", "text/plain"),
            ("Content-Type", "text/plain"),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Sent {
            uri: url.parse().unwrap(),
            method: method.to_owned(),
            headers: headers.map(owned).to_vec(),
            body: Bytes::from_static(b"body"),
            tls: Tls {
                server_name: "inner".to_owned(),
                skip_verify: true,
            },
        }
    }

    fn try_to(sent: &Sent, code: u16, location: &'static str) -> Result<Sent, Fault> {
        let code = StatusCode::from_u16(code).unwrap();
        sent.redirected(code, &HeaderValue::from_static(location))
    }

    fn to(sent: &Sent, code: u16, location: &'static str) -> Sent {
        try_to(sent, code, location).unwrap()
    }

    fn names(sent: &Sent) -> Vec<&str> {
        sent.headers.iter().map(|(name, _)| &**name).collect()
    }

    #[test]
    fn no_secret_goes_to_another_origin_nor_back_again() {
        let here = Sent {
            body: Bytes::new(),
            ..sent("GET", "https://h/a")
        };
        for elsewhere in [
            "https://other/",
            "//other/",
            "https://h:444/",
            "http://h/",
            "https://sub.h/",
        ] {
            let there = to(&here, 302, elsewhere);
            assert_eq!(names(&there), ["Accept", "Content-Type"], "{elsewhere}");
            assert_eq!(there.tls.server_name, "", "{elsewhere}");
            let back = to(&there, 302, "https://h/a");
            assert_eq!(names(&back), ["Accept", "Content-Type"], "{elsewhere}");
        }
        for same in ["b", "/b", "?x", "https://H:443/b", "//h/b"] {
            let there = to(&here, 302, same);
            assert_eq!(there.headers, here.headers, "{same}");
            assert_eq!(there.tls, here.tls, "{same}");
        }
        // What the URL itself names is for its host alone.
        let named = Sent {
            body: Bytes::new(),
            ..sent("GET", "http://u:p@h/a")
        };
        assert!(basic::credentials(&to(&named, 302, "http://other/").uri).is_none());
        assert!(basic::credentials(&to(&named, 302, "b").uri).is_some());
    }

    #[test]
    fn what_is_asked_next_is_what_rfc_9110_says() {
        for (method, code, next, body) in [
            ("POST", 303, "GET", false),
            ("PUT", 303, "GET", false),
            ("GET", 303, "GET", false),
            ("HEAD", 303, "HEAD", true),
            ("POST", 301, "GET", false),
            ("POST", 302, "GET", false),
            ("PUT", 302, "PUT", true),
            ("POST", 307, "POST", true),
            ("POST", 308, "POST", true),
        ] {
            let there = to(&sent(method, "http://h/a"), code, "/b");
            assert_eq!(there.method, next, "{method} {code}");
            assert_eq!(!there.body.is_empty(), body, "{method} {code}");
            let typed = names(&there).contains(&"Content-Type");
            assert_eq!(typed, body, "{method} {code}");
        }
        assert!(!is_redirect(StatusCode::MULTIPLE_CHOICES));
        assert!(!is_redirect(StatusCode::NOT_MODIFIED));
    }

    #[test]
    fn no_body_goes_to_another_origin() {
        for (method, code) in [
            ("POST", 307),
            ("POST", 308),
            ("PUT", 301),
            ("PUT", 302),
            ("PATCH", 307),
            ("GET", 307),
        ] {
            let here = sent(method, "https://h/a");
            for elsewhere in [
                "https://other/",
                "https://h:444/",
                "http://h/",
                "//u:p@sub.h/x",
            ] {
                let refused = try_to(&here, code, elsewhere).unwrap_err().reason;
                let said = refused.contains("another origin, where the check's body does not go");
                assert!(
                    said && !refused.contains("u:p"),
                    "{method} {code}: {refused}"
                );
            }
            assert_eq!(to(&here, code, "/b").body, here.body, "{method} {code}");
            // Without one, it goes there.
            let bare = Sent {
                body: Bytes::new(),
                ..here
            };
            assert_eq!(to(&bare, code, "https://other/").method, method);
        }
        // What goes on as GET has none.
        for code in [301, 302, 303] {
            let there = to(&sent("POST", "https://h/a"), code, "https://other/");
            assert!(there.body.is_empty() && there.method == "GET", "{code}");
        }
    }

    #[test]
    fn a_url_without_a_path_is_asked_for_at_the_root() {
        for (url, path) in [
            ("http://h:80?x=1", "/?x=1"),
            ("http://h", "/"),
            ("http://h/p?x", "/p?x"),
        ] {
            let message = message(&sent("GET", url)).unwrap();
            assert_eq!(message.uri().to_string(), path);
        }
    }

    #[test]
    fn only_what_the_instance_itself_answers_is_shown() {
        let own = |from: &str, url: &str, host: &str| {
            is_own(from.parse().unwrap(), &url.parse().unwrap(), host)
        };
        assert!(own("10.0.0.5", "http://10.0.0.5:9/", "10.0.0.5"));
        assert!(own("10.0.0.5", "http://web.example/", "web.example"));
        assert!(own("10.0.0.5", "http://web.example/", "10.0.0.5"));
        assert!(own("127.0.0.1", "http://localhost/", "127.0.0.1"));
        assert!(own("::1", "http://[::1]/", "127.0.0.1"));
        assert!(!own("10.0.0.6", "http://10.0.0.6/", "10.0.0.5"));
        assert!(!own("127.0.0.1", "http://127.0.0.1:9/", "10.0.0.5"));
        assert!(!own("169.254.169.254", "http://md/", "web.example"));
    }
}
