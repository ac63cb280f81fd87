//! The sentences of the rules, in three languages: data, with a place for each figure.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Step, Value, word};
use crate::domain::{livestock::Bundle, policy::Words};

/// The catalogue of this build.
const EMBEDDED: &str = include_str!("../../../data/sentences.json");

/// The most alternatives that a sentence names: the largest herd has five hundred, which the answer
/// lists and nobody reads in a sentence.
const ALTERNATIVES_TOLD_MAX: usize = 8;

/// A language of the sentences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// English.
    English,
    /// Indonesian.
    Indonesian,
    /// Arabic.
    Arabic,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::English, Self::Indonesian, Self::Arabic];

    /// The tag of BCP 47.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Indonesian => "id",
            Self::Arabic => "ar",
        }
    }

    /// The language of a tag.
    #[must_use]
    pub fn of_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.tag() == tag)
    }

    /// A text in this language.
    #[must_use]
    pub fn of(self, words: &Words) -> &str {
        match self {
            Self::English => &words.en,
            Self::Indonesian => &words.id,
            Self::Arabic => &words.ar,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    notice: Words,
    rules: BTreeMap<String, Words>,
    words: BTreeMap<String, Words>,
}

/// The sentences, ready to be filled in.
#[derive(Debug)]
pub struct Sentences {
    notice: Words,
    rules: BTreeMap<String, [Vec<Piece>; 3]>,
    words: BTreeMap<String, Words>,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Place(String),
}

impl Sentences {
    /// Those of this build.
    ///
    /// # Errors
    /// Never in a build that was tested.
    pub fn embedded() -> Result<Self, serde_json::Error> {
        let document: Document = serde_json::from_str(EMBEDDED)?;
        let rules = document.rules.into_iter().map(|(rule, words)| {
            let pieces = Language::ALL.map(|language| pieces(language.of(&words)));
            (rule, pieces)
        });
        Ok(Self {
            notice: document.notice,
            rules: rules.collect(),
            words: document.words,
        })
    }

    /// That it is a calculation and not a fatwa.
    #[must_use]
    pub fn notice(&self, language: Language) -> &str {
        language.of(&self.notice)
    }

    /// A step in words.
    #[must_use]
    pub fn sentence(&self, step: &Step, language: Language) -> String {
        let family = || {
            let (family, _) = step.rule.split_once('.')?;
            self.rules.get(&format!("{family}.*"))
        };
        let Some(pieces) = self.rules.get(step.rule).or_else(family) else {
            return step.rule.to_owned();
        };
        let index = match language {
            Language::English => 0,
            Language::Indonesian => 1,
            Language::Arabic => 2,
        };
        let mut text = String::new();
        for piece in pieces.get(index).into_iter().flatten() {
            match piece {
                Piece::Text(part) => text.push_str(part),
                Piece::Place(name) => text.push_str(&self.fill(step, name, language)),
            }
        }
        text
    }

    /// What stands in a place; the place itself if nothing does, which a test would see.
    fn fill(&self, step: &Step, name: &str, language: Language) -> String {
        match name {
            // The owner's own name of a thing is not translated, even when it is a word of ours.
            "subject" if step.subject.is_empty() => self.word("the-nisab", language).to_owned(),
            "subject" => step.subject.clone(),
            "result" => self.readable(&step.result.1, language),
            _ => {
                let value = step.inputs.iter().find(|(input, _)| *input == name);
                match value {
                    Some((_, value)) => self.readable(value, language),
                    None => format!("{{{name}}}"),
                }
            }
        }
    }

    fn readable(&self, value: &Value, language: Language) -> String {
        match value {
            Value::Number(number) => number.to_readable(),
            Value::Text(text) => text.clone(),
            Value::Day(day) => day.to_string(),
            Value::Word(key) => self.word(key, language).to_owned(),
            Value::Animals(alternatives) if alternatives.is_empty() => {
                self.word("none", language).to_owned()
            }
            Value::Animals(alternatives) => {
                let bundle = |bundle: &Bundle| {
                    let animals = bundle.iter().map(|(animal, count)| {
                        format!(
                            "{} {}",
                            count.to_readable(),
                            self.word(word(*animal), language)
                        )
                    });
                    animals.collect::<Vec<_>>().join(self.word("and", language))
                };
                let told = alternatives.iter().take(ALTERNATIVES_TOLD_MAX);
                let bundles: Vec<_> = told.map(bundle).collect();
                let mut text = bundles.join(self.word("or", language));
                if let Some(more) = alternatives.len().checked_sub(ALTERNATIVES_TOLD_MAX + 1) {
                    let more = (more + 1).to_string();
                    text.push_str(&self.word("or-more", language).replace("{count}", &more));
                }
                text
            }
        }
    }

    /// A word of the catalogue; what is not one, such as an asset's own name, stays as it is.
    fn word<'a>(&'a self, key: &'a str, language: Language) -> &'a str {
        self.words.get(key).map_or(key, |words| language.of(words))
    }

    /// Every rule that the catalogue has, and what each of its places asks for.
    #[cfg(test)]
    pub(crate) fn places(&self) -> BTreeMap<&str, [std::collections::BTreeSet<&str>; 3]> {
        self.rules
            .iter()
            .map(|(rule, [en, id, ar])| {
                (rule.as_str(), [places_of(en), places_of(id), places_of(ar)])
            })
            .collect()
    }
}

#[cfg(test)]
fn places_of(pieces: &[Piece]) -> std::collections::BTreeSet<&str> {
    let places = pieces.iter().filter_map(|piece| match piece {
        Piece::Place(name) => Some(name.as_str()),
        Piece::Text(_) => None,
    });
    places.collect()
}

/// Cuts `text with {places}` at its places.
fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, tail)) = after.split_once('}') else {
            break;
        };
        pieces.push(Piece::Text(before.to_owned()));
        pieces.push(Piece::Place(name.to_owned()));
        rest = tail;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A figure that one language tells and another keeps would be a translation gone wrong.
    #[test]
    fn the_languages_tell_the_same_figures() {
        let sentences = Sentences::embedded().unwrap();
        for (rule, [en, id, ar]) in sentences.places() {
            assert_eq!(en, id, "{rule}");
            assert_eq!(en, ar, "{rule}");
        }
    }

    #[test]
    fn nothing_is_left_empty() {
        let document: Document = serde_json::from_str(EMBEDDED).unwrap();
        for (key, words) in document.rules.iter().chain(&document.words) {
            for language in Language::ALL {
                assert!(!language.of(words).is_empty(), "{key}");
            }
        }
    }
}
