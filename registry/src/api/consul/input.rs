//! Bodies: objects whose keys come in any case, with or without underscores.
//!
//! Go's decoder takes keys in any case, and clients in other languages send snake_case. What is
//! not known is ignored.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{duration, refusal::Refusal};

/// An object with its keys made equal, and where it is in the body.
#[derive(Debug)]
pub(crate) struct Fields {
    place: String,
    values: HashMap<String, Value>,
}

impl Fields {
    /// Reads a body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let value = serde_json::from_slice(body)
            .map_err(|why| Refusal::bad(format!("Request decode failed: {why}")))?;
        Self::of(String::new(), value)
    }

    fn of(place: String, value: Value) -> Result<Self, Refusal> {
        let Value::Object(map) = value else {
            let what = if place.is_empty() { "the body" } else { &place };
            return Err(wrong(what, "an object"));
        };
        let values = map.into_iter().filter(|(_, value)| !value.is_null());
        let values = values.map(|(key, value)| (plain(&key), value)).collect();
        Ok(Self { place, values })
    }

    /// Whether nothing is given at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(&plain(name))
    }

    fn wrong(&self, name: &str, what: &str) -> Refusal {
        wrong(&format!("{}{name}", self.place), what)
    }

    /// Whether a field is there with more than an empty value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| match value {
            Value::Null => false,
            Value::Bool(set) => *set,
            Value::Number(_) => true,
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
        })
    }

    /// A text; empty when it is not there.
    pub(crate) fn text(&self, name: &str) -> Result<String, Refusal> {
        match self.value(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(self.wrong(name, "a string")),
        }
    }

    /// A text that is there and not empty.
    pub(crate) fn given(&self, name: &str) -> Result<Option<String>, Refusal> {
        Ok(Some(self.text(name)?).filter(|text| !text.is_empty()))
    }

    /// A whole number that is not negative.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u32>, Refusal> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        number
            .map(Some)
            .ok_or_else(|| self.wrong(name, "a whole number that is not negative"))
    }

    /// A truth value; false when it is not there.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.value(name) {
            None => Ok(false),
            Some(Value::Bool(set)) => Ok(*set),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    /// Nanoseconds, written as Go's text or as their number.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<i128>, Refusal> {
        let what = "a duration such as \"10s\" or a number of nanoseconds";
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => match duration::parse(text) {
                Some(nanos) => Ok(Some(nanos)),
                None => {
                    let echo: String = text.chars().take(32).collect();
                    let what = format!("{what}: invalid duration {echo:?}");
                    Err(self.wrong(name, &what))
                }
            },
            Some(value) => match value.as_i64() {
                Some(nanos) => Ok(Some(i128::from(nanos))),
                None => Err(self.wrong(name, what)),
            },
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, Refusal> {
        let Some(value) = self.value(name) else {
            return Ok(Vec::new());
        };
        texts(value).ok_or_else(|| self.wrong(name, "a list of strings"))
    }

    /// Pairs of texts.
    pub(crate) fn pairs(&self, name: &str) -> Result<BTreeMap<String, String>, Refusal> {
        let what = "an object of strings";
        let mut pairs = BTreeMap::new();
        for (key, value) in self.map(name, what)? {
            let value = value.as_str().ok_or_else(|| self.wrong(name, what))?;
            pairs.insert(key.clone(), value.to_owned());
        }
        Ok(pairs)
    }

    /// Headers: a name may come with several values.
    pub(crate) fn headers(&self, name: &str) -> Result<Vec<(String, String)>, Refusal> {
        let what = "an object of lists of strings";
        let mut headers = Vec::new();
        for (key, value) in self.map(name, what)? {
            let values = texts(value).ok_or_else(|| self.wrong(name, what))?;
            headers.extend(values.into_iter().map(|value| (key.clone(), value)));
        }
        Ok(headers)
    }

    /// An object below this one.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Self>, Refusal> {
        let below = |value: &Value| Self::of(format!("{}{name}.", self.place), value.clone());
        self.value(name).map(below).transpose()
    }

    /// A list of objects.
    pub(crate) fn objects(&self, name: &str) -> Result<Vec<Self>, Refusal> {
        match self.value(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => {
                let each = list.iter().enumerate();
                each.map(|(index, value)| {
                    let place = format!("{}{name}[{index}].", self.place);
                    Self::of(place, value.clone())
                })
                .collect()
            }
            Some(_) => Err(self.wrong(name, "a list of objects")),
        }
    }

    /// Objects by keys that are the owner's own.
    pub(crate) fn named(&self, name: &str) -> Result<Vec<(String, Self)>, Refusal> {
        let entries = self.map(name, "an object of objects")?;
        entries
            .map(|(key, value)| {
                let place = format!("{}{name}.", self.place);
                Ok((key.clone(), Self::of(place, value.clone())?))
            })
            .collect()
    }

    fn map(
        &self,
        name: &str,
        what: &str,
    ) -> Result<impl Iterator<Item = (&String, &Value)>, Refusal> {
        match self.value(name) {
            None => Ok(None.into_iter().flatten()),
            Some(Value::Object(map)) => Ok(Some(map).into_iter().flatten()),
            Some(_) => Err(self.wrong(name, what)),
        }
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let list = value.as_array()?.iter();
    list.map(|one| one.as_str().map(str::to_owned)).collect()
}

fn plain(key: &str) -> String {
    let letters = key.chars().filter(|c| *c != '_');
    letters.flat_map(char::to_lowercase).collect()
}

fn wrong(field: &str, what: &str) -> Refusal {
    let field = field.trim_end_matches('.');
    Refusal::bad(format!("Request decode failed: {field} must be {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_same_in_every_spelling() {
        for key in [
            "DeregisterCriticalServiceAfter",
            "deregister_critical_service_after",
            "deregistercriticalserviceafter",
        ] {
            let body = format!("{{\"{key}\": \"1m\", \"unknown\": [1]}}");
            let fields = Fields::parse(body.as_bytes()).unwrap();
            let nanos = fields.duration("DeregisterCriticalServiceAfter").unwrap();
            assert_eq!(nanos, Some(60_000_000_000), "{key}");
        }
    }

    #[test]
    fn durations_are_texts_or_nanoseconds_and_null_is_nothing() {
        let fields = Fields::parse(br#"{"a": 5000000000, "b": null, "c": "", "d": "x"}"#).unwrap();
        assert_eq!(fields.duration("a").unwrap(), Some(5_000_000_000));
        assert_eq!(fields.duration("b").unwrap(), None);
        assert_eq!(fields.duration("c").unwrap(), None);
        assert!(fields.duration("d").is_err());
    }

    #[test]
    fn a_field_of_another_type_is_named() {
        let fields = Fields::parse(br#"{"Checks": [{"TTL": {}}], "Port": -1}"#).unwrap();
        let check = fields.objects("Checks").unwrap().remove(0);
        let refused = check.duration("TTL").unwrap_err().text;
        assert!(refused.contains("Checks[0].TTL must be"), "{refused}");
        assert!(fields.number("Port").is_err());
        assert!(Fields::parse(b"[]").is_err());
        assert!(Fields::parse(b"not json").is_err());
    }
}
