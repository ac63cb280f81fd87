//! The words of filter expressions.

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
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
    pub(super) fn echo(&self) -> String {
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

    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(parts) if matches!(&parts[..], [one] if one == word))
    }

    pub(super) fn value(&self) -> Option<String> {
        match self {
            Self::Word(parts) => Some(parts.join(".")),
            Self::Text(text) => Some(text.clone()),
            Self::Open | Self::Close | Self::Equal | Self::NotEqual => None,
        }
    }
}

/// The tokens of an expression, or why they are none.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
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
