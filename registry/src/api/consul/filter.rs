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

use regex::{Regex, RegexBuilder};
use serde_json::Value;

/// Bytes of an expression. What people write is far shorter.
const TEXT_BYTES_MAX: usize = 8 * 1024;

/// How deep parentheses and negations nest: each level takes stack.
const DEPTH_MAX: usize = 50;

/// Bytes that a compiled pattern may take.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

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
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
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

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Equal,
    NotEqual,
    /// A name, a number or a selector; the parts between dots and brackets.
    Word(Vec<String>),
    /// In quotes.
    Text(String),
}

impl Token {
    fn echo(&self) -> String {
        let text = match self {
            Self::Open => "(".to_owned(),
            Self::Close => ")".to_owned(),
            Self::Equal => "==".to_owned(),
            Self::NotEqual => "!=".to_owned(),
            Self::Word(parts) => parts.join("."),
            Self::Text(text) => text.clone(),
        };
        format!("{:?}", text.chars().take(40).collect::<String>())
    }

    fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(parts) if matches!(&parts[..], [one] if one == word))
    }

    fn value(&self) -> Option<String> {
        match self {
            Self::Word(parts) => Some(parts.join(".")),
            Self::Text(text) => Some(text.clone()),
            Self::Open | Self::Close | Self::Equal | Self::NotEqual => None,
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '(' => (Token::Open, rest.strip_prefix('(')),
            ')' => (Token::Close, rest.strip_prefix(')')),
            '=' => (Token::Equal, rest.strip_prefix("==")),
            '!' => (Token::NotEqual, rest.strip_prefix("!=")),
            '"' | '`' => {
                let (text, after) = quoted(rest)?;
                (Token::Text(text), Some(after))
            }
            _ => {
                let (parts, after) = word(rest)?;
                (Token::Word(parts), Some(after))
            }
        };
        found.push(token);
        rest = after
            .ok_or_else(|| format!("did not expect {first:?}"))?
            .trim_start();
    }
    Ok(found)
}

/// A string that begins with its quote, and what follows it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut chars = text.chars();
    let quote = chars.next();
    let mut found = String::new();
    while let Some(c) = chars.next() {
        if Some(c) == quote {
            return Ok((found, chars.as_str()));
        }
        if c != '\\' || quote == Some('`') {
            found.push(c);
            continue;
        }
        found.push(match chars.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some(c @ ('\\' | '"')) => c,
            _ => {
                return Err("a string holds an escape that is not one of \\n \\t \\\\ \\\"".into());
            }
        });
    }
    Err("a string does not end".into())
}

/// A word with the parts that follow it, and what comes after.
fn word(text: &str) -> Result<(Vec<String>, &str), String> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let inside = |c: char| c.is_alphanumeric() || "_-/:+".contains(c);
        let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
        let (part, mut after) = rest.split_at(end);
        if part.is_empty() {
            let first: String = rest.chars().take(1).collect();
            return Err(format!("did not expect {first:?}"));
        }
        parts.push(part.to_owned());
        while let Some(bracket) = after.strip_prefix('[') {
            if !bracket.starts_with(['"', '`']) {
                return Err("the key in brackets must be a string".into());
            }
            let (key, behind) = quoted(bracket)?;
            parts.push(key);
            let closed = behind.strip_prefix(']');
            after = closed.ok_or("a bracket does not end")?;
        }
        match after.strip_prefix('.') {
            Some(further) => rest = further,
            None => return Ok((parts, after)),
        }
    }
}

#[derive(Debug)]
struct Parser<'a> {
    tokens: &'a [Token],
    selectors: Selectors,
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Option<&'a Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn take(&mut self, word: &str) -> bool {
        let there = self.tokens.first().is_some_and(|token| token.is(word));
        if there {
            self.next();
        }
        there
    }

    fn any(&mut self, depth: usize) -> Result<Node, String> {
        let mut nodes = vec![self.all(depth)?];
        while self.take("or") {
            nodes.push(self.all(depth)?);
        }
        Ok(Node::Any(nodes))
    }

    fn all(&mut self, depth: usize) -> Result<Node, String> {
        let mut nodes = vec![self.not(depth)?];
        while self.take("and") {
            nodes.push(self.not(depth)?);
        }
        Ok(Node::All(nodes))
    }

    fn not(&mut self, depth: usize) -> Result<Node, String> {
        if depth > DEPTH_MAX {
            return Err(format!("nested deeper than {DEPTH_MAX}"));
        }
        if self.take("not") {
            return Ok(Node::Not(Box::new(self.not(depth + 1)?)));
        }
        if self.tokens.first() != Some(&Token::Open) {
            return self.matching();
        }
        self.next();
        let node = self.any(depth + 1)?;
        match self.next() {
            Some(Token::Close) => Ok(node),
            _ => Err("a parenthesis does not end".into()),
        }
    }

    fn matching(&mut self) -> Result<Node, String> {
        let first = self.next().ok_or("ends too early")?;
        let operator = self.next();
        let negated = operator.is_some_and(|token| token.is("not"));
        let operator = if negated { self.next() } else { operator };
        let operator = operator.ok_or("ends too early")?;
        if operator.is("in") {
            let part = first.value().ok_or("a value must come before \"in\"")?;
            let (path, _) = self.selector(self.tokens.first())?;
            self.next();
            let test = Test::Contains(part);
            return Ok(Node::Match {
                path,
                negated,
                test,
            });
        }
        let (path, kind) = self.selector(Some(first))?;
        if operator.is("is") && !negated {
            let negated = self.take("not");
            if !self.take("empty") {
                return Err("\"is\" must be followed by \"empty\" or \"not empty\"".into());
            }
            let test = Test::Empty;
            return Ok(Node::Match {
                path,
                negated,
                test,
            });
        }
        let (test, negated) = self.test(operator, negated, kind)?;
        Ok(Node::Match {
            path,
            negated,
            test,
        })
    }

    fn test(
        &mut self,
        operator: &Token,
        negated: bool,
        kind: Kind,
    ) -> Result<(Test, bool), String> {
        let value = self.next().and_then(Token::value);
        let value = value.ok_or_else(|| format!("a value must follow {}", operator.echo()))?;
        match operator {
            Token::Equal | Token::NotEqual if !negated => {
                if kind != Kind::Text {
                    return Err(format!(
                        "{} compares texts, not lists or maps",
                        operator.echo()
                    ));
                }
                Ok((Test::Equals(value), *operator == Token::NotEqual))
            }
            word if word.is("contains") => Ok((Test::Contains(value), negated)),
            word if word.is("matches") => {
                if kind != Kind::Text {
                    return Err("\"matches\" looks at texts, not at lists or maps".into());
                }
                let pattern = RegexBuilder::new(&value)
                    .size_limit(PATTERN_BYTES_MAX)
                    .build();
                let pattern = pattern.map_err(|why| format!("the pattern is not one: {why}"))?;
                Ok((Test::Matches(pattern), negated))
            }
            other => Err(format!("{} is not an operator", other.echo())),
        }
    }

    /// A path that the answer has.
    fn selector(&self, token: Option<&Token>) -> Result<(Vec<String>, Kind), String> {
        let Some(Token::Word(parts)) = token else {
            return Err("a selector is missing".into());
        };
        let selectors = self.selectors.iter();
        let mut fits = selectors.filter_map(|(name, kind)| {
            let names: Vec<_> = name.split('.').collect();
            let (same, rest) = parts.split_at_checked(names.len())?;
            match (kind, rest) {
                _ if same != names => None,
                (kind, []) => Some(*kind),
                (Kind::Map, [_]) => Some(Kind::Text),
                _ => None,
            }
        });
        let echo = || Token::Word(parts.clone()).echo();
        let kind = fits
            .next()
            .ok_or_else(|| format!("Selector {} is not valid", echo()))?;
        Ok((parts.clone(), kind))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const SELECTORS: Selectors = &[
        ("Name", Kind::Text),
        ("Port", Kind::Text),
        ("Service.Tags", Kind::List),
        ("Service.Meta", Kind::Map),
        ("Checks.Status", Kind::Text),
    ];

    #[test]
    fn expressions_keep_what_they_describe() {
        let answer = json!({
            "Name": "web", "Port": 8080,
            "Service": {"Tags": ["v1", "blue"], "Meta": {"env": "prod", "a-b": ""}},
            "Checks": [{"Status": "passing"}, {"Status": "warning"}],
        });
        for (text, kept) in [
            ("", true),
            ("Name == web", true),
            ("Name == \"web\"", true),
            ("Name==`web`", true),
            ("Name != web", false),
            ("Port == 8080", true),
            ("Port != 8080", false),
            ("v1 in Service.Tags", true),
            ("\"v2\" in Service.Tags", false),
            ("v2 not in Service.Tags", true),
            ("Service.Tags contains \"blue\"", true),
            ("Service.Tags not contains blue", false),
            ("Service.Tags is empty", false),
            ("Service.Tags is not empty", true),
            ("Service.Meta.env == prod", true),
            ("Service.Meta[\"env\"] == prod", true),
            ("Service.Meta[\"a-b\"] is empty", true),
            ("Service.Meta.none == x", false),
            ("Service.Meta.none != x", true),
            ("Service.Meta.none is empty", true),
            ("env in Service.Meta", true),
            ("Name contains eb", true),
            ("Name matches \"^w.b$\"", true),
            ("Name not matches \"^w.b$\"", false),
            ("Checks.Status == warning", true),
            ("Checks.Status == critical", false),
            ("not Name == web", false),
            ("not (Name == api)", true),
            ("Name == api or Port == 8080 and Name == web", true),
            ("(Name == api or Port == 8080) and Name == api", false),
        ] {
            let filter =
                Filter::parse(text, SELECTORS).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(filter.keeps(&answer), kept, "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused_with_its_reason() {
        for (text, why) in [
            ("Foo == x", "Selector \"Foo\" is not valid"),
            ("Name.x == x", "Selector \"Name.x\" is not valid"),
            ("Name", "ends too early"),
            ("Name ==", "a value must follow"),
            ("Name = x", "did not expect"),
            ("Name == x y", "did not expect \"y\""),
            ("(Name == x", "a parenthesis does not end"),
            ("Name == \"x", "a string does not end"),
            ("Name is full", "must be followed by"),
            ("Name like x", "is not an operator"),
            ("Name matches \"(\"", "the pattern is not one"),
            ("Service.Tags == x", "compares texts"),
            ("Service.Meta[env] == x", "must be a string"),
            ("x in", "a selector is missing"),
            ("%", "did not expect \"%\""),
        ] {
            let refused = Filter::parse(text, SELECTORS).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
        let deep = format!("{}Name == x", "not ".repeat(1000));
        assert!(Filter::parse(&deep, SELECTORS).is_err());
        assert!(Filter::parse(&"(".repeat(5000), SELECTORS).is_err());
        assert!(Filter::parse(&" ".repeat(10_000), SELECTORS).is_err());
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC*") {
            let _ = Filter::parse(&text, SELECTORS);
        }

        #[test]
        fn what_almost_is_an_expression_does_no_harm(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "Name", "Service.Meta.a", "Service.Tags", "==", "!=", "in", "not", "is",
                    "empty", "and", "or", "(", ")", "\"x\"", "`y", "contains", "matches", "[", ".",
                ]),
                0..20,
            )
        ) {
            if let Ok(filter) = Filter::parse(&words.join(" "), SELECTORS) {
                filter.keeps(&json!({"Name": "x", "Service": {"Meta": {}}}));
            }
        }
    }
}
