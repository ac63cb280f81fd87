//! Reading JSON field by field, so that a refusal names the field and the rule.

use std::time::Duration;

use serde_json::{Map, Value};
use tonic::Code;

use super::InvalidServiceConfig;

/// The longest duration that protobuf's JSON form can say: some 10,000 years.
const SECONDS_MAX: u64 = 315_576_000_000;

/// A value and where it stands, such as `methodConfig[0].retryPolicy.maxAttempts`.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    path: String,
    value: &'a Value,
}

/// The fields of an object.
#[derive(Debug, Clone)]
pub(super) struct Object<'a> {
    path: String,
    fields: &'a Map<String, Value>,
}

type Read<T> = Result<T, InvalidServiceConfig>;

impl<'a> Field<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self {
            path: String::new(),
            value,
        }
    }

    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    pub(super) fn refused(&self, rule: impl Into<String>) -> InvalidServiceConfig {
        InvalidServiceConfig {
            path: self.path.clone(),
            rule: rule.into(),
        }
    }

    pub(super) fn object(&self) -> Read<Object<'a>> {
        let fields = self
            .value
            .as_object()
            .ok_or_else(|| self.refused("must be an object"))?;
        Ok(Object {
            path: self.path.clone(),
            fields,
        })
    }

    pub(super) fn array(&self) -> Read<Vec<Self>> {
        let items = self
            .value
            .as_array()
            .ok_or_else(|| self.refused("must be a list"))?;
        let item = |(index, value)| Self {
            path: format!("{}[{index}]", self.path),
            value,
        };
        Ok(items.iter().enumerate().map(item).collect())
    }

    pub(super) fn text(&self) -> Read<&'a str> {
        self.value
            .as_str()
            .ok_or_else(|| self.refused("must be a string"))
    }

    pub(super) fn boolean(&self) -> Read<bool> {
        self.value
            .as_bool()
            .ok_or_else(|| self.refused("must be true or false"))
    }

    /// A whole number of 0 to `u32::MAX`, also when written as 3.0 or, by protobuf's JSON form, "3".
    pub(super) fn whole(&self) -> Read<u32> {
        let text = match self.value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            _ => return Err(self.refused("must be a whole number")),
        };
        let digits = text.strip_suffix(".0").unwrap_or(&text);
        digits
            .parse()
            .map_err(|_| self.refused("must be a whole number from 0 to 4294967295"))
    }

    /// A number above zero with at most three decimals, in thousandths; more are cut off.
    pub(super) fn thousandths(&self) -> Read<u32> {
        let rule = "must be a number above 0";
        let number = self.value.as_number().ok_or_else(|| self.refused(rule))?;
        let text = number.to_string();
        let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
        let decimals: String = decimals.chars().chain("000".chars()).take(3).collect();
        // A sign or an exponent is no digit.
        let digits = format!("{whole}{decimals}");
        let thousandths: u32 = digits.parse().map_err(|_| self.refused(rule))?;
        if thousandths == 0 {
            return Err(self.refused("must be at least 0.001"));
        }
        Ok(thousandths)
    }

    /// A duration in protobuf's JSON form: seconds with up to nine decimals and an `s`, "1.5s".
    pub(super) fn duration(&self) -> Read<Duration> {
        let rule = r#"must be a duration such as "1.5s", not negative"#;
        let text = self.value.as_str().and_then(|text| text.strip_suffix('s'));
        let text = text.ok_or_else(|| self.refused(rule))?;
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty();
        if !digits(whole) || !digits(decimals) || decimals.len() > 9 {
            return Err(self.refused(rule));
        }
        let seconds: u64 = whole.parse().unwrap_or(u64::MAX);
        let nanos: u32 = format!("{decimals:0<9}").parse().unwrap_or(0);
        if seconds > SECONDS_MAX {
            return Err(self.refused("must be at most 315576000000s"));
        }
        Ok(Duration::new(seconds, nanos))
    }

    pub(super) fn duration_above_zero(&self) -> Read<Duration> {
        match self.duration()? {
            Duration::ZERO => Err(self.refused("must be above 0")),
            duration => Ok(duration),
        }
    }

    /// A status: its number, or its name in any case.
    pub(super) fn code(&self) -> Read<Code> {
        let code = match self.value {
            Value::Number(number) => number
                .as_i64()
                .filter(|number| (0..=16).contains(number))
                .and_then(|number| i32::try_from(number).ok())
                .map(Code::from_i32),
            Value::String(name) => code_named(name),
            _ => None,
        };
        code.ok_or_else(|| self.refused("must be a status code, by number or name"))
    }

    /// A list of statuses; `OK`, which nothing is tried again for, is refused.
    pub(super) fn codes(&self) -> Read<Vec<Code>> {
        let mut codes = Vec::new();
        for item in self.array()? {
            match item.code()? {
                Code::Ok => return Err(item.refused("must not be OK")),
                code => codes.push(code),
            }
        }
        Ok(codes)
    }
}

impl<'a> Object<'a> {
    /// The field of this name; absent and null are the same.
    pub(super) fn get(&self, name: &str) -> Option<Field<'a>> {
        let value = self.fields.get(name).filter(|value| !value.is_null())?;
        let path = if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        };
        Some(Field { path, value })
    }

    /// The field of this name, which must be there.
    pub(super) fn required(&self, name: &str) -> Read<Field<'a>> {
        self.get(name).ok_or_else(|| InvalidServiceConfig {
            path: self.path.clone(),
            rule: format!("must have {name}"),
        })
    }

    /// The field, read by `read`, if it is there.
    pub(super) fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Field<'a>) -> Read<T>,
    ) -> Read<Option<T>> {
        self.get(name).map(|field| read(&field)).transpose()
    }

    pub(super) fn refused(&self, rule: impl Into<String>) -> InvalidServiceConfig {
        InvalidServiceConfig {
            path: self.path.clone(),
            rule: rule.into(),
        }
    }

    /// The names in it.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.fields.keys().map(String::as_str)
    }
}

fn code_named(name: &str) -> Option<Code> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let number = NAMES
        .iter()
        .position(|known| known.eq_ignore_ascii_case(name))?;
    i32::try_from(number).ok().map(Code::from_i32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn field(value: &Value) -> Field<'_> {
        Field::root(value)
    }

    #[test]
    fn durations_are_protobufs() {
        let read = |text: &str| field(&json!(text)).duration().ok();
        assert_eq!(read("1s"), Some(Duration::from_secs(1)));
        assert_eq!(read("0.1s"), Some(Duration::from_millis(100)));
        assert_eq!(read("1.000000001s"), Some(Duration::new(1, 1)));
        for bad in [
            "",
            "s",
            "1",
            "-1s",
            "1.s",
            ".5s",
            "1.0000000001s",
            "1ms",
            "1 s",
            "315576000001s",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert!(field(&json!(5)).duration().is_err());
    }

    #[test]
    fn codes_are_numbers_or_names_in_any_case() {
        assert_eq!(
            field(&json!("unavailable")).code().unwrap(),
            Code::Unavailable
        );
        assert_eq!(field(&json!(14)).code().unwrap(), Code::Unavailable);
        for bad in [json!(17), json!(-1), json!(1.5), json!("BUSY"), json!(null)] {
            assert!(field(&bad).code().is_err(), "{bad}");
        }
    }

    #[test]
    fn thousandths_are_cut_off() {
        let read = |value: Value| field(&value).thousandths().ok();
        assert_eq!(read(json!(0.5466)), Some(546));
        assert_eq!(read(json!(10)), Some(10_000));
        for bad in [json!(0), json!(-1), json!(0.0001), json!("1"), json!(1e30)] {
            assert_eq!(read(bad.clone()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            let value = json!(text);
            let _ = field(&value).duration();
            let _ = field(&value).whole();
            let _ = field(&value).code();
        }

        #[test]
        fn no_number_panics(number in any::<f64>()) {
            let value = json!(number);
            let _ = field(&value).thousandths();
            let _ = field(&value).whole();
        }
    }
}
