//! From tokens to what an expression means.

use super::{Kind, Node, Selectors, Test, token::Token};

/// How deep parentheses and negations nest: each level takes stack.
const DEPTH_MAX: usize = 50;

/// Reads tokens; what is left of them.
#[derive(Debug)]
pub(super) struct Parser<'a> {
    pub(super) tokens: &'a [Token],
    selectors: Selectors,
    /// The patterns that were read, by their place.
    pub(super) patterns: Vec<String>,
    /// How many tests were read.
    pub(super) tests: usize,
}

impl<'a> Parser<'a> {
    /// Nothing was read yet.
    pub(super) fn new(tokens: &'a [Token], selectors: Selectors) -> Self {
        Self {
            tokens,
            selectors,
            patterns: Vec::new(),
            tests: 0,
        }
    }

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

    /// Expressions of which one must hold.
    pub(super) fn any(&mut self, depth: usize) -> Result<Node, String> {
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
        self.tests += 1;
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
                let place = self.patterns.len();
                self.patterns.push(value);
                Ok((Test::Matches(place), negated))
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
