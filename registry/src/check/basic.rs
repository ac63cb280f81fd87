//! A user and a password in a URL, which go with the request as Go's clients send them.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

/// What they are sent as, if there are any.
pub(crate) fn credentials(uri: &Uri) -> Option<HeaderValue> {
    let (given, _) = uri.authority()?.as_str().rsplit_once('@')?;
    let (user, password) = given.split_once(':').unwrap_or((given, ""));
    let mut plain: Vec<u8> = percent_decode_str(user).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(password));
    let mut value =
        HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(plain))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The URL without them: outputs are for everybody to read.
pub(crate) fn without(uri: &Uri) -> String {
    let text = uri.to_string();
    let given = uri
        .authority()
        .and_then(|all| all.as_str().rsplit_once('@'));
    match given {
        Some((given, _)) => text.replacen(&format!("{given}@"), "", 1),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_names_is_sent_and_not_told() {
        let of = |url: &str| {
            let uri: Uri = url.parse().unwrap();
            let value = credentials(&uri);
            let value = value.map(|value| value.to_str().unwrap().to_owned());
            (value, without(&uri))
        };
        let plain = "http://host:80/a@b";
        let coded = |text: &str| Some(format!("Basic {text}"));
        assert_eq!(of(plain), (None, plain.to_owned()));
        let aladdin = "http://Aladdin:open%20sesame@host:80/a@b";
        let expected = coded("QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(of(aladdin), (expected, plain.to_owned()));
        let alone = of("http://u@host:80/a@b");
        assert_eq!(alone, (coded("dTo="), plain.to_owned()));
    }
}
