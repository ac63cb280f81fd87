//! Filter expressions: the part of Consul's language that its clients use.
//!
//! ```text
//!   or    = and ("or" and)*            and = not ("and" not)*
//!   not   = "not" not | "(" or ")" | match
//!   match = selector ("==" | "!=" | ["not"] "contains" | ["not"] "matches") value
//!         | selector "is" ["not"] "empty"
//!         | value ["not"] "in" selector
//! ```
//!
//! Values are words, numbers or strings in `"` or backticks; selectors are names with dots, or
//! brackets for the keys of a map. An expression looks at an answer as it would be written. Through
//! a list of objects (`Checks.Status`) it holds when it holds for one of them.

mod parser;
#[cfg(test)]
mod tests;
mod token;

use regex::Regex;
use serde_json::Value;

use self::{parser::Parser, token::tokens};

/// Bytes of an expression. What people write is far shorter.
const TEXT_BYTES_MAX: usize = 8 * 1024;

/// What a selector selects, which decides what may be asked about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A text, a number or a truth value.
    Text,
    /// A list of texts.
    List,
    /// Pairs of texts: by a key, it is a text.
    Map,
}

/// What there is to select in one kind of answer.
pub(crate) type Selectors = &'static [(&'static str, Kind)];

/// An expression that was understood.
#[derive(Debug, Clone)]
pub(crate) struct Filter(Option<Node>);

#[derive(Debug, Clone)]
enum Node {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Match {
        path: Vec<String>,
        negated: bool,
        test: Test,
    },
}

#[derive(Debug, Clone)]
enum Test {
    Equals(String),
    Contains(String),
    Matches(Regex),
    Empty,
}

impl Filter {
    /// Reads an expression; an empty one keeps everything. The error says what is wrong with it.
    pub(crate) fn parse(text: &str, selectors: Selectors) -> Result<Self, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("longer than {TEXT_BYTES_MAX} bytes"));
        }
        let tokens = tokens(text)?;
        if tokens.is_empty() {
            return Ok(Self(None));
        }
        let mut parser = Parser {
            tokens: &tokens,
            selectors,
        };
        let node = parser.any(0)?;
        match parser.tokens.first() {
            None => Ok(Self(Some(node))),
            Some(token) => Err(format!("did not expect {}", token.echo())),
        }
    }

    /// Whether it keeps everything, so that there is nothing to look at.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether it keeps this answer.
    pub(crate) fn keeps(&self, answer: &Value) -> bool {
        self.0.as_ref().is_none_or(|node| node.holds(answer))
    }
}

impl Node {
    fn holds(&self, answer: &Value) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.holds(answer)),
            Self::Any(nodes) => nodes.iter().any(|node| node.holds(answer)),
            Self::Not(node) => !node.holds(answer),
            Self::Match {
                path,
                negated,
                test,
            } => {
                let mut found = Vec::new();
                resolve(answer, path, &mut found);
                found.into_iter().any(|value| test.holds(value) != *negated)
            }
        }
    }
}

impl Test {
    /// Nothing at all, such as the value of a key that is not there, is empty and equals nothing.
    fn holds(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Self::Empty, Some(Value::Array(list))) => list.is_empty(),
            (Self::Empty, Some(Value::Object(map))) => map.is_empty(),
            (Self::Empty, Some(Value::String(text))) => text.is_empty(),
            (Self::Empty, value) => value.is_none_or(Value::is_null),
            (Self::Contains(part), Some(Value::Array(list))) => {
                list.iter().any(|one| one.as_str() == Some(part))
            }
            (Self::Contains(part), Some(Value::Object(map))) => map.contains_key(part),
            (Self::Contains(part), Some(value)) => plain(value).contains(part),
            (Self::Equals(wanted), Some(value)) => plain(value) == *wanted,
            (Self::Matches(pattern), Some(value)) => pattern.is_match(&plain(value)),
            (_, None) => false,
        }
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// The values at a path; through a list of objects, there is one for each.
fn resolve<'a>(value: &'a Value, path: &[String], found: &mut Vec<Option<&'a Value>>) {
    let Some((name, rest)) = path.split_first() else {
        found.push(Some(value));
        return;
    };
    match value {
        Value::Array(list) => {
            for one in list {
                resolve(one, path, found);
            }
        }
        Value::Object(map) => match map.get(name) {
            Some(value) => resolve(value, rest, found),
            None => found.push(None),
        },
        _ => found.push(None),
    }
}
