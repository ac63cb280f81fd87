//! An HTTP request: 2xx passes, 429 warns, everything else is critical (Consul's rules).

use http::{
    HeaderName, HeaderValue, Method, Response, Uri,
    header::{ACCEPT, AUTHORIZATION, CONNECTION, HOST, LOCATION, USER_AGENT},
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
        tls::{self, Inside},
    },
};

/// How many redirects are followed: enough for a moved path, too few for a circle.
const REDIRECTS_MAX: usize = 5;

/// Bytes of the answer's body that are kept for people.
const BODY_BYTES_MAX: usize = 512;

/// What is sent, beside the URL.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) headers: &'a [(String, String)],
    pub(crate) body: &'a str,
    pub(crate) follow_redirects: bool,
    /// How TLS is spoken, where the URL asks for it.
    pub(crate) tls: &'a Tls,
}

/// Asks once, on a connection of its own: one that is kept would hide that nobody accepts new ones.
pub(crate) async fn check(networks: &Networks, url: &str, request: &Request<'_>) -> Outcome {
    match attempt(networks, url, request).await {
        Ok(outcome) => outcome,
        Err(reason) => Outcome::critical(reason),
    }
}

async fn attempt(networks: &Networks, url: &str, request: &Request<'_>) -> Result<Outcome, String> {
    let mut uri: Uri = url.parse().map_err(|_| format!("{url} is not a URL"))?;
    for _ in 0..=REDIRECTS_MAX {
        let (answer, driver) = ask(networks, &uri, request).await?;
        let next = answer
            .headers()
            .get(LOCATION)
            .filter(|_| request.follow_redirects && answer.status().is_redirection());
        match next {
            Some(location) => uri = redirected(&uri, location)?,
            None => {
                let outcome = judge(request.method, &uri, answer).await;
                drop(driver);
                return Ok(outcome);
            }
        }
    }
    Err(format!("redirected more than {REDIRECTS_MAX} times"))
}

/// Asks, and hands out what drives the connection: it ends when that is dropped.
async fn ask(
    networks: &Networks,
    uri: &Uri,
    request: &Request<'_>,
) -> Result<(Response<Incoming>, AbortOnDropHandle<hyper::Result<()>>), String> {
    let (secure, port) = match uri.scheme_str() {
        Some("http") => (false, 80),
        Some("https") => (true, 443),
        _ => return Err(format!("{uri} is neither http nor https")),
    };
    let host = uri.host().ok_or_else(|| format!("{uri} names no host"))?;
    let target = format!("{host}:{}", uri.port_u16().unwrap_or(port));
    let stream = networks.connect(&target).await?;
    let stream: Box<dyn Transport> = if secure {
        Box::new(tls::connect(stream, host, request.tls, Inside::Any).await?)
    } else {
        Box::new(stream)
    };
    let broke = |error: hyper::Error| format!("connection broke: {error}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broke)?;
    let driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let answer = sender.send_request(message(uri, request)?).await;
    Ok((answer.map_err(broke)?, driver))
}

fn message(uri: &Uri, request: &Request<'_>) -> Result<http::Request<Full<Bytes>>, String> {
    let method = Method::from_bytes(request.method.as_bytes())
        .map_err(|_| format!("{} is not a method", request.method))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let body = Full::new(Bytes::copy_from_slice(request.body.as_bytes()));
    let built = http::Request::builder().method(method).uri(path).body(body);
    let mut message = built.map_err(|error| error.to_string())?;
    let headers = message.headers_mut();
    for (name, value) in request.headers {
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

/// Where a redirect leads: to another URL, or to another path on the same host.
fn redirected(from: &Uri, location: &HeaderValue) -> Result<Uri, String> {
    let to = location.to_str().unwrap_or_default();
    let lost = || format!("redirected to {to:?}, which is no URL");
    if !to.starts_with('/') || to.starts_with("//") {
        return to.parse().map_err(|_| lost());
    }
    let mut parts = from.clone().into_parts();
    parts.path_and_query = Some(to.parse().map_err(|_| lost())?);
    Uri::from_parts(parts).map_err(|_| lost())
}

async fn judge(method: &str, uri: &Uri, answer: Response<Incoming>) -> Outcome {
    let code = answer.status();
    let status = match code.as_u16() {
        200..=299 => Status::Passing,
        429 => Status::Warning,
        _ => Status::Critical,
    };
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
    Outcome::new(
        status,
        format!(
            "HTTP {method} {}: {code} Output: {body}",
            basic::without(uri)
        ),
    )
}
