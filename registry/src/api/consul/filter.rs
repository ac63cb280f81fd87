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
//!
//! A filter is its caller's program, which runs over everybody's instances: what it costs is bounded
//! before it runs and counted while it does (`work`, `pattern`).

mod parser;
mod pattern;
#[cfg(test)]
mod tests;
mod token;
mod work;

use std::{borrow::Cow, fmt};

use serde_json::Value;

pub(crate) use self::work::{Stop, Work};
use self::{parser::Parser, pattern::Patterns, token::tokens};

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

/// Why a filter is not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It is no expression.
    Expression(String),
    /// It would cost too much: why, and how to make it cheaper.
    Expensive(String),
}

impl Wrong {
    fn expensive(why: impl Into<String>) -> Self {
        Self::Expensive(why.into())
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expression(why) => write!(f, "Failed to create boolean expression: {why}"),
            Self::Expensive(why) => write!(f, "The filter is too expensive: {why}"),
        }
    }
}

impl std::error::Error for Wrong {}

/// An expression that was understood. Its patterns are not compiled yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    root: Option<Node>,
    patterns: Vec<String>,
    tests: usize,
}

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
    /// The place of a pattern among those of the filter.
    Matches(usize),
    Empty,
}

impl Filter {
    /// Reads an expression; an empty one keeps everything. The error says what is wrong with it.
    pub(crate) fn parse(text: &str, selectors: Selectors) -> Result<Self, Wrong> {
        let filter = Self::read(text, selectors).map_err(Wrong::Expression)?;
        pattern::check(&filter.patterns)?;
        Ok(filter)
    }

    fn read(text: &str, selectors: Selectors) -> Result<Self, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("longer than {TEXT_BYTES_MAX} bytes"));
        }
        let tokens = tokens(text)?;
        if tokens.is_empty() {
            return Ok(Self::default());
        }
        let mut parser = Parser::new(&tokens, selectors);
        let root = Some(parser.any(0)?);
        if let Some(token) = parser.tokens.first() {
            return Err(format!("did not expect {}", token.echo()));
        }
        let Parser {
            patterns, tests, ..
        } = parser;
        Ok(Self {
            root,
            patterns,
            tests,
        })
    }

    /// Whether it has patterns, which are never cheap: they have to be compiled.
    pub(crate) fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// How many tests it has.
    pub(crate) fn tests(&self) -> usize {
        self.tests
    }
}

/// A filter at work.
#[derive(Debug)]
pub(crate) struct Judge {
    root: Option<Node>,
    left: std::vec::IntoIter<String>,
    patterns: Patterns,
}

impl From<Filter> for Judge {
    fn from(filter: Filter) -> Self {
        Self {
            root: filter.root,
            left: filter.patterns.into_iter(),
            patterns: Patterns::default(),
        }
    }
}

impl Judge {
    /// Compiles its next pattern; answers whether there was one. To be called until there is none.
    pub(crate) fn prepare(&mut self, work: &mut Work) -> Result<bool, Stop> {
        let Some(pattern) = self.left.as_slice().first() else {
            return Ok(false);
        };
        self.patterns.compile(pattern, work)?;
        self.left.next();
        Ok(true)
    }

    /// Whether it keeps everything, so that there is nothing to look at.
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Whether it keeps this answer.
    pub(crate) fn keeps(&mut self, answer: &Value, work: &mut Work) -> Result<bool, Stop> {
        let Some(root) = &self.root else {
            return Ok(true);
        };
        root.holds(answer, &mut self.patterns, work)
    }
}

impl Node {
    fn holds(
        &self,
        answer: &Value,
        patterns: &mut Patterns,
        work: &mut Work,
    ) -> Result<bool, Stop> {
        match self {
            Self::All(nodes) => {
                for node in nodes {
                    if !node.holds(answer, patterns, work)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Any(nodes) => {
                for node in nodes {
                    if node.holds(answer, patterns, work)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(node) => Ok(!node.holds(answer, patterns, work)?),
            Self::Match {
                path,
                negated,
                test,
            } => any_at(answer, path, &mut |value| {
                Ok(test.holds(value, patterns, work)? != *negated)
            }),
        }
    }
}

impl Test {
    /// Nothing at all, such as the value of a key that is not there, is empty and equals nothing.
    fn holds(
        &self,
        value: Option<&Value>,
        patterns: &mut Patterns,
        work: &mut Work,
    ) -> Result<bool, Stop> {
        // What a comparison of one with another costs, beside its bytes.
        const EACH: usize = 8;
        Ok(match (self, value) {
            (Self::Contains(part), Some(Value::Array(list))) => {
                work.look(list.len().saturating_mul(EACH))?;
                list.iter().any(|one| one.as_str() == Some(part))
            }
            (Self::Contains(part), Some(Value::Object(map))) => {
                work.look(part.len())?;
                map.contains_key(part)
            }
            (Self::Contains(part), Some(value)) => {
                let text = plain(value);
                work.look(text.len())?;
                text.contains(part)
            }
            (Self::Equals(wanted), Some(value)) => {
                let text = plain(value);
                work.look(wanted.len())?;
                text == *wanted
            }
            (Self::Matches(place), Some(value)) => patterns.finds(*place, &plain(value), work)?,
            (Self::Empty, value) => {
                work.look(0)?;
                match value {
                    Some(Value::Array(list)) => list.is_empty(),
                    Some(Value::Object(map)) => map.is_empty(),
                    Some(Value::String(text)) => text.is_empty(),
                    value => value.is_none_or(Value::is_null),
                }
            }
            (_, None) => {
                work.look(0)?;
                false
            }
        })
    }
}

fn plain(value: &Value) -> Cow<'_, str> {
    match value.as_str() {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(value.to_string()),
    }
}

/// Whether the test holds for one of the values at a path; through a list of objects, there is one
/// for each.
fn any_at(
    value: &Value,
    path: &[String],
    test: &mut impl FnMut(Option<&Value>) -> Result<bool, Stop>,
) -> Result<bool, Stop> {
    let Some((name, rest)) = path.split_first() else {
        return test(Some(value));
    };
    match value {
        Value::Array(list) => {
            for one in list {
                if any_at(one, path, test)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Object(map) => match map.get(name) {
            Some(value) => any_at(value, rest, test),
            None => test(None),
        },
        _ => test(None),
    }
}
