//! Fields of a service config: proto3 JSON, read strictly. Unknown fields are ignored (gRFC A21).

use std::time::Duration;

use serde_json::{Map, Value};

/// The fields of one message; a missing or null message has none.
pub(crate) struct Fields<'a> {
    name: &'a str,
    map: Option<&'a Map<String, Value>>,
}

/// The longest `google.protobuf.Duration`: 10,000 years.
const SECONDS_MAX: u64 = 315_576_000_000;

impl<'a> Fields<'a> {
    /// The fields of `value`, which is called `name` in errors.
    pub(crate) fn of(name: &'a str, value: &'a Value) -> Result<Self, String> {
        let map = match value {
            Value::Null => None,
            Value::Object(map) => Some(map),
            _ => return Err(format!("{name}: not an object")),
        };
        Ok(Self { name, map })
    }

    /// A field that is set.
    pub(crate) fn get(&self, field: &str) -> Option<&'a Value> {
        self.map?.get(field).filter(|value| !value.is_null())
    }

    fn read<T>(
        &self,
        field: &str,
        what: &str,
        parse: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let error = || format!("{}.{field}: {value} is not {what}", self.name);
        parse(value).map(Some).ok_or_else(error)
    }

    /// A whole number, also as a string (as proto3 JSON writes 64 bits).
    pub(crate) fn u64(&self, field: &str) -> Result<Option<u64>, String> {
        let what = "a whole number, 0 or more";
        self.read(field, what, |value| match value {
            Value::String(text) => text.parse().ok(),
            value => value.as_u64(),
        })
    }

    /// A whole number of 32 bits.
    pub(crate) fn u32(&self, field: &str) -> Result<Option<u32>, String> {
        match self.u64(field)?.map(u32::try_from).transpose() {
            Ok(number) => Ok(number),
            Err(_) => Err(format!("{}.{field}: more than {}", self.name, u32::MAX)),
        }
    }

    /// A number of percent, 0 to 100.
    pub(crate) fn percent(&self, field: &str) -> Result<Option<u32>, String> {
        match self.u32(field)? {
            Some(101..) => Err(format!("{}.{field}: more than 100 %", self.name)),
            percent => Ok(percent),
        }
    }

    /// True or false.
    pub(crate) fn bool(&self, field: &str) -> Result<Option<bool>, String> {
        self.read(field, "true or false", Value::as_bool)
    }

    /// A string.
    pub(crate) fn str(&self, field: &str) -> Result<Option<&'a str>, String> {
        self.read(field, "a string", Value::as_str)
    }

    /// A duration that is not negative: `"1.5s"`.
    pub(crate) fn duration(&self, field: &str) -> Result<Option<Duration>, String> {
        let what = "a duration like \"1.5s\", 0 or more";
        self.read(field, what, |value| duration(value.as_str()?))
    }
}

/// proto3 JSON: seconds, at most nine decimals, then `s`.
fn duration(text: &str) -> Option<Duration> {
    let text = text.strip_suffix('s')?;
    let (seconds, decimals) = match text.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (text, ""),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(decimals) || decimals.len() > 9 {
        return None;
    }
    let seconds = seconds.parse().ok().filter(|s| *s <= SECONDS_MAX)?;
    let nanos = format!("{decimals:0<9}").parse().ok()?;
    Some(Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations() {
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(duration("10s"), ms(10_000));
        assert_eq!(duration("0.05s"), ms(50));
        assert_eq!(duration("1.000000001s"), Some(Duration::new(1, 1)));
        assert_eq!(duration("0s"), Some(Duration::ZERO));
        for bad in [
            "",
            "s",
            "10",
            "-1s",
            "+1s",
            "1.s",
            ".5s",
            "1e3s",
            "1.0000000001s",
            "10ms",
            "315576000001s",
            "99999999999999999999s",
            "１s",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn fields_are_read_strictly() {
        let value = json!({"n": 7, "text": "8", "big": 4_294_967_296_u64, "p": 101, "neg": -1,
            "b": true, "null": null, "d": 5});
        let fields = Fields::of("config", &value).unwrap();
        assert_eq!(fields.u32("n"), Ok(Some(7)));
        assert_eq!(fields.u64("text"), Ok(Some(8)));
        assert_eq!(fields.u64("null"), Ok(None));
        assert_eq!(fields.u64("missing"), Ok(None));
        assert_eq!(fields.bool("b"), Ok(Some(true)));
        assert_eq!(fields.str("text"), Ok(Some("8")));
        assert!(fields.u32("big").is_err());
        assert!(fields.u64("neg").is_err());
        assert!(fields.percent("p").is_err());
        assert!(fields.bool("n").is_err());
        let error = fields.duration("d").unwrap_err();
        assert!(
            error.starts_with("config.d: 5 is not a duration"),
            "{error}"
        );
        assert!(Fields::of("config", &json!([])).is_err());
        assert_eq!(
            Fields::of("config", &Value::Null).unwrap().u64("n"),
            Ok(None)
        );
    }
}
