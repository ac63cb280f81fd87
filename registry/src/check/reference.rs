//! Where a redirect leads: RFC 3986, section 5, for URLs of http and https.

use http::Uri;

/// The URL that a reference stands for, read at `base`.
pub(crate) fn resolve(base: &Uri, reference: &str) -> Option<Uri> {
    let reference = reference.trim();
    let reference = reference.split('#').next().unwrap_or_default();
    let (before, query) = match reference.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (reference, None),
    };
    let (scheme, rest) = match before.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme), rest),
        _ => (None, before),
    };
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            (Some(authority), path)
        }
        None => (None, rest),
    };
    let own = base.authority()?.as_str();
    let (path, query) = match (scheme, authority, path) {
        // An absolute one without an authority is no URL of ours.
        (Some(_), None, _) => return None,
        (None, None, "") => (base.path().to_owned(), query.or(base.query())),
        (None, None, path) if !path.starts_with('/') => {
            let folder = base
                .path()
                .rsplit_once('/')
                .map_or("", |(folder, _)| folder);
            (format!("{folder}/{path}"), query)
        }
        (_, _, path) => (path.to_owned(), query),
    };
    let scheme = scheme.or(base.scheme_str())?;
    let authority = authority.unwrap_or(own);
    let path = without_dots(&path);
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    let uri: Uri = format!("{scheme}://{authority}{path}{query}")
        .parse()
        .ok()?;
    is_whole(&uri).then_some(uri)
}

/// Whether there is a host, and what stands in the place of a port is one.
fn is_whole(uri: &Uri) -> bool {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let behind = authority.rsplit('@').next().unwrap_or_default();
    let behind = behind.rsplit(']').next().unwrap_or_default();
    let port = behind.rsplit_once(':').map_or("", |(_, port)| port);
    let host = uri.host().is_some_and(|host| !host.is_empty());
    host && (port.is_empty() || uri.port_u16().is_some())
}

/// Whether two URLs are of one origin: scheme, host and port (RFC 6454).
pub(crate) fn same_origin(one: &Uri, other: &Uri) -> bool {
    let origin = |uri: &Uri| {
        let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(match &*scheme {
            "https" => 443,
            _ => 80,
        });
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        (scheme, host, port)
    };
    origin(one) == origin(other)
}

fn is_scheme(word: &str) -> bool {
    let rest = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.chars().all(rest)
}

/// `.` and `..` taken out, as section 5.2.4 does; never empty.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let parts: Vec<_> = path.split('/').skip(1).collect();
    for (place, part) in parts.iter().enumerate() {
        let last = place + 1 == parts.len();
        match *part {
            "." | ".." => {
                if *part == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            part => kept.push(part),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(base: &str, reference: &str) -> Option<String> {
        let found = resolve(&base.parse().unwrap(), reference);
        found.map(|uri| uri.to_string())
    }

    #[test]
    fn the_examples_of_rfc_3986_lead_where_it_says() {
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            (";x", "http://a/b/c/;x"),
            ("g;x?y#s", "http://a/b/c/g;x?y"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("https://h:1/x", "https://h:1/x"),
        ] {
            let found = at("http://a/b/c/d;p?q", reference);
            assert_eq!(found.as_deref(), Some(expected), "{reference}");
        }
    }

    #[test]
    fn a_check_is_redirected_by_whatever_a_server_says() {
        let base = "http://h:80/old/check";
        for (reference, expected) in [
            ("ok", "http://h:80/old/ok"),
            ("../ok", "http://h:80/ok"),
            ("?x", "http://h:80/old/check?x"),
            ("//h/p", "http://h/p"),
            ("http://h:90?x=1", "http://h:90/?x=1"),
            (" /ok ", "http://h:80/ok"),
            ("//[::1]:9/p:q", "http://[::1]:9/p:q"),
        ] {
            assert_eq!(
                at(base, reference).as_deref(),
                Some(expected),
                "{reference}"
            );
        }
        assert_eq!(at("http://h:80", "ok").as_deref(), Some("http://h:80/ok"));
        for wrong in ["mailto:a@b", "http:x", "http://h:nine/", "//"] {
            assert_eq!(at(base, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        let same =
            |one: &str, other: &str| same_origin(&one.parse().unwrap(), &other.parse().unwrap());
        assert!(same("http://h/a", "http://H:80/b") && same("https://h:443/", "https://h/"));
        assert!(!same("http://h/", "http://h:81/"));
        assert!(!same("http://h/", "https://h/"));
        assert!(!same("http://h/", "http://sub.h/"));
        assert!(!same("http://h:443/", "https://h/"));
    }
}
