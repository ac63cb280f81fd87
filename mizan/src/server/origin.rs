//! Requests that a web page makes somebody's browser send, and what of them is refused.
//!
//! A page can send to any address that its visitor reaches, also to a server on the visitor's own
//! machine. gRPC is out of its reach (see [`is_call`](super::calls::is_call)); plain routes are not:
//!
//! - *Across sites.* A request that may change something and says by `Sec-Fetch-Site` or `Origin`
//!   that it comes from another site is refused. Programs that are no browsers send neither.
//! - *Rebinding.* A page of `evil.example` whose name is made to mean 127.0.0.1 is of the same site as
//!   the server there, as its browser sees it. It gives itself away by the name in `Host`: on a
//!   loopback address, only addresses, names without a dot, `localhost` and what the operator allows
//!   are taken.
//! - A request by HTTP/1.1 without `Host`, or with two, is refused as RFC 9112, 3.2 says.

use std::net::IpAddr;

use axum::body::Body;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{self, HOST, ORIGIN},
    uri::Authority,
};

/// By which names this server may be called on a loopback address, and which pages of other sites may
/// call its services by gRPC-Web.
#[derive(Debug, Clone, Default)]
pub(super) struct Origins {
    allowed: Vec<String>,
    pages: Vec<String>,
}

impl Origins {
    /// Names beside those that are always allowed.
    pub(super) fn allowing(names: impl IntoIterator<Item = String>) -> Self {
        let allowed = names.into_iter().map(|name| plain(name.trim()));
        Self {
            allowed: allowed.collect(),
            pages: Vec::new(),
        }
    }

    /// The same for pages of these origins, each as a browser writes it: `https://app.example`.
    pub(super) fn pages(mut self, origins: impl IntoIterator<Item = String>) -> Self {
        let origins = origins.into_iter();
        self.pages
            .extend(origins.map(|origin| normal(&origin).to_owned()));
        self
    }

    /// The origin of the page that makes a request, if it was named.
    pub(super) fn page<'a, B>(&self, request: &'a Request<B>) -> Option<&'a HeaderValue> {
        if self.pages.is_empty() {
            return None;
        }
        let origin = request.headers().get(ORIGIN)?;
        let said = normal(origin.to_str().ok()?);
        let named = self.pages.iter().any(|page| page == said);
        Some(origin).filter(|_| named)
    }

    /// Why a request to this address of ours is refused, if it is. A page that was named may be of
    /// another site.
    pub(super) fn refuse<B>(
        &self,
        request: &Request<B>,
        local: Option<IpAddr>,
        is_named: bool,
    ) -> Option<(StatusCode, String)> {
        let Ok(authority) = authority(request) else {
            let text = "The request must have one valid Host header.\n";
            return Some((StatusCode::BAD_REQUEST, text.to_owned()));
        };
        let host = authority.as_ref().map(|authority| plain(authority.host()));
        if local.is_some_and(|ip| ip.to_canonical().is_loopback())
            && let Some(host) = host.as_deref().filter(|host| !self.is_ours(host))
        {
            let host: String = host.chars().take(64).collect();
            let text = format!(
                "On a loopback address this server does not answer to the name {host:?}, which a web page may have been given. Call it by its address, or allow the name: --allow-host, or MIZAN_ALLOW_HOST.\n"
            );
            return Some((StatusCode::MISDIRECTED_REQUEST, text));
        }
        if !is_named && is_across_sites(request, authority.as_ref()) {
            let text = "Refused: the request comes from a page of another site.\n";
            return Some((StatusCode::FORBIDDEN, text.to_owned()));
        }
        None
    }

    fn is_ours(&self, host: &str) -> bool {
        host.parse::<IpAddr>().is_ok()
            || !host.contains('.')
            || host.ends_with(".localhost")
            || self.allowed.iter().any(|allowed| allowed == host)
    }
}

/// Whether a browser would write an origin so: scheme, host and port, in lower case, nothing behind.
pub(super) fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else {
        return false;
    };
    matches!(scheme, "http" | "https")
        && !host.contains(['/', '@', '*'])
        && text == text.to_ascii_lowercase()
        && Authority::try_from(host).is_ok()
}

/// An origin without the port that its scheme means anyway, as browsers write it.
fn normal(origin: &str) -> &str {
    let port = match origin.split_once("://") {
        Some(("https", _)) => ":443",
        Some(("http", _)) => ":80",
        _ => return origin,
    };
    origin.strip_suffix(port).unwrap_or(origin)
}

/// The answer to a browser that asks before a call: POST, with whatever headers it names.
pub(super) fn preflight(asked: &HeaderMap) -> Response<Body> {
    /// How long a browser need not ask again: two hours, the most that Chromium takes.
    const AGE: HeaderValue = HeaderValue::from_static("7200");
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let post = HeaderValue::from_static("POST");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, post);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, AGE);
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    response
}

/// Has a browser show an answer to a page.
pub(super) fn show(page: &HeaderValue, answer: &mut HeaderMap) {
    const SHOWN: HeaderValue =
        HeaderValue::from_static("grpc-status, grpc-message, grpc-status-details-bin");
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, page.clone());
    answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, SHOWN);
    answer.append(header::VARY, HeaderValue::from_static("origin"));
}

/// Whom a request is for. HTTP/1.1 must say so, once; HTTP/1.0 need not.
fn authority<B>(request: &Request<B>) -> Result<Option<Authority>, ()> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return Err(()),
        (Some(host), None) => Some(host),
        (None, _) => None,
    };
    if let Some(authority) = request.uri().authority() {
        return Ok(Some(authority.clone()));
    }
    match host {
        None if request.version() == Version::HTTP_11 => Err(()),
        None => Ok(None),
        Some(host) => Authority::try_from(host.as_bytes()).map(Some).map_err(drop),
    }
}

/// A host as it is compared: in lower case, IPv6 without its brackets, a name without the dot of
/// the root.
fn plain(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Whether a browser says that another site than this makes the request, and it may change
/// something.
fn is_across_sites<B>(request: &Request<B>, authority: Option<&Authority>) -> bool {
    if matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    ) {
        return false;
    }
    let said = |headers: &HeaderMap, name| {
        let value = headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let headers = request.headers();
    if let Some(site) = headers.get("sec-fetch-site") {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = said(headers, ORIGIN) else {
        return false;
    };
    // "null", from a page without an origin, is another site too.
    match (origin.split_once("://"), authority) {
        (Some((scheme, _)), Some(ours)) => {
            let ours = format!("{scheme}://{ours}");
            !normal(&origin).eq_ignore_ascii_case(normal(&ours))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn refused(
        method: &str,
        headers: &[(&str, &str)],
        local: Option<IpAddr>,
        origins: &Origins,
    ) -> Option<u16> {
        let mut request = Request::builder().method(method).uri("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        origins
            .refuse(&request, local, false)
            .map(|(code, _)| code.as_u16())
    }

    #[test]
    fn on_loopback_only_names_that_no_page_can_be_given_are_answered_to() {
        let origins = Origins::allowing(["Registry.corp.example".to_owned()]);
        for host in [
            "127.0.0.1:8500",
            "[::1]:8500",
            "10.0.0.7",
            "localhost",
            "LOCALHOST:80",
            "app.localhost",
            "consul:8500",
            "registry.corp.example",
            "registry.CORP.example:8500",
            "registry.corp.example.",
        ] {
            assert_eq!(
                refused("GET", &[("host", host)], LOOPBACK, &origins),
                None,
                "{host}"
            );
        }
        for host in [
            "evil.example",
            "evil.example:8500",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evil.example.",
        ] {
            assert_eq!(
                refused("GET", &[("host", host)], LOOPBACK, &origins),
                Some(421),
                "{host}"
            );
            // Where others reach it, it may have any name.
            let elsewhere = Some("10.0.0.7".parse().unwrap());
            assert_eq!(refused("GET", &[("host", host)], elsewhere, &origins), None);
            assert_eq!(refused("GET", &[("host", host)], None, &origins), None);
        }
        // The same address, as sockets of IPv6 have it.
        let mapped = Some("::ffff:127.0.0.1".parse().unwrap());
        assert_eq!(
            refused("GET", &[("host", "evil.example")], mapped, &origins),
            Some(421)
        );
    }

    #[test]
    fn only_pages_that_were_named_are_those_of_an_origin() {
        let origins = Origins::default().pages(["https://app.example".to_owned()]);
        let page = |origin: &str| {
            let request = Request::builder().header("origin", origin).body(());
            origins.page(&request.unwrap()).is_some()
        };
        assert!(page("https://app.example"));
        for other in [
            "http://app.example",
            "https://app.example:8443",
            "https://app.example.evil.example",
            "https://evil.example",
            "null",
            "*",
        ] {
            assert!(!page(other), "{other}");
        }
        // The scheme's own port may be said or not, on both sides.
        for (named, said, is_it) in [
            ("https://a.example:443", "https://a.example", true),
            ("https://a.example", "https://a.example:443", true),
            ("http://a.example:80", "http://a.example", true),
            ("http://[::1]:80", "http://[::1]", true),
            ("http://a.example:443", "http://a.example", false),
            ("https://a.example:8443", "https://a.example", false),
        ] {
            let origins = Origins::default().pages([named.to_owned()]);
            let request = Request::builder().header(ORIGIN, said).body(()).unwrap();
            assert_eq!(origins.page(&request).is_some(), is_it, "{named} {said}");
        }
        for good in [
            "https://app.example",
            "http://localhost:3000",
            "http://[::1]",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "*",
            "null",
            "app.example",
            "https://app.example/",
            "https://*.example",
            "https://App.example",
            "https://me@app.example",
            "ftp://app.example",
            "https://",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[test]
    fn http_1_1_needs_one_host() {
        let origins = Origins::default();
        assert_eq!(refused("GET", &[], None, &origins), Some(400));
        let twice = [("host", "a"), ("host", "b")];
        assert_eq!(refused("GET", &twice, None, &origins), Some(400));
        assert_eq!(
            refused("GET", &[("host", "a b")], None, &origins),
            Some(400)
        );
        let mut old = Request::new(());
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(origins.refuse(&old, None, false), None);
    }

    #[test]
    fn what_changes_something_is_not_taken_from_pages_of_other_sites() {
        let origins = Origins::default();
        let host = ("host", "127.0.0.1:8500");
        let from = |method: &str, name: &str, value: &str| {
            refused(method, &[host, (name, value)], LOOPBACK, &origins)
        };
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            assert_eq!(refused(method, &[host], LOOPBACK, &origins), None);
            assert_eq!(from(method, "origin", "http://127.0.0.1:8500"), None);
            assert_eq!(from(method, "sec-fetch-site", "same-origin"), None);
            assert_eq!(from(method, "sec-fetch-site", "none"), None);
            assert_eq!(from(method, "sec-fetch-site", "cross-site"), Some(403));
            assert_eq!(from(method, "sec-fetch-site", "same-site"), Some(403));
            assert_eq!(from(method, "origin", "http://evil.example"), Some(403));
            assert_eq!(from(method, "origin", "http://127.0.0.1:8501"), Some(403));
            assert_eq!(from(method, "origin", "null"), Some(403));
        }
        // The scheme's own port may be said or not.
        for (ours, theirs, refused_with) in [
            ("app.example:443", "https://app.example", None),
            ("app.example", "https://app.example:443", None),
            ("app.example:80", "http://app.example", None),
            ("app.example:443", "http://app.example", Some(403)),
            ("app.example:8443", "https://app.example", Some(403)),
        ] {
            let headers = [("host", ours), ("origin", theirs)];
            let got = refused("POST", &headers, None, &origins);
            assert_eq!(got, refused_with, "{ours} {theirs}");
        }
        // Reading is for the browser's own rules: it shows the page nothing of another site's.
        assert_eq!(from("GET", "origin", "http://evil.example"), None);
    }
}
