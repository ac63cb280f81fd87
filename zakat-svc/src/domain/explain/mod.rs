//! What a calculation says of itself: each rule that fired, with its figures and its sources.

mod sentences;

use super::{
    date::Date,
    livestock::{Animal, Bundle},
    policy::Cited,
    ratio::Ratio,
};

pub use sentences::{Language, Sentences};

/// A figure of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(Ratio),
    /// A text that is the same in every language.
    Text(String),
    /// A day.
    Day(Date),
    /// A word of the catalogue.
    Word(&'static str),
    /// Animals, any one bundle of them.
    Animals(Vec<Bundle>),
}

impl Value {
    /// Exactly, in no language.
    #[must_use]
    pub fn exact(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::Day(day) => day.to_string(),
            Self::Word(word) => (*word).to_owned(),
            Self::Animals(alternatives) => {
                let bundle = |bundle: &Bundle| {
                    let animals = bundle
                        .iter()
                        .map(|(animal, count)| format!("{count} {}", word(*animal)));
                    animals.collect::<Vec<_>>().join(" + ")
                };
                let bundles: Vec<_> = alternatives.iter().map(bundle).collect();
                bundles.join(" | ")
            }
        }
    }
}

impl From<Ratio> for Value {
    fn from(number: Ratio) -> Self {
        Self::Number(number)
    }
}

impl From<Date> for Value {
    fn from(day: Date) -> Self {
        Self::Day(day)
    }
}

impl From<u32> for Value {
    fn from(count: u32) -> Self {
        Self::Number(Ratio::whole(count.into()))
    }
}

/// The catalogue's word for an animal.
#[must_use]
pub const fn word(animal: Animal) -> &'static str {
    match animal {
        Animal::Sheep => "a-sheep",
        Animal::BintMakhad => "bint-makhad",
        Animal::BintLabun => "bint-labun",
        Animal::Hiqqah => "hiqqah",
        Animal::Jadhaah => "jadhaah",
        Animal::Tabi => "tabi",
        Animal::Musinnah => "musinnah",
    }
}

/// A rule that fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The rule, a key of the catalogue.
    pub rule: &'static str,
    /// The asset or liability; empty for the whole.
    pub subject: String,
    /// What went in.
    pub inputs: Vec<(&'static str, Value)>,
    /// What came out.
    pub result: (&'static str, Value),
    /// The sources, keys of the policy's.
    pub sources: Vec<String>,
}

impl Step {
    /// A step without figures.
    #[must_use]
    pub fn new(
        rule: &'static str,
        subject: &str,
        result: &'static str,
        value: impl Into<Value>,
    ) -> Self {
        Self {
            rule,
            subject: subject.to_owned(),
            inputs: Vec::new(),
            result: (result, value.into()),
            sources: Vec::new(),
        }
    }

    /// With what went in.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.inputs.push((name, value.into()));
        self
    }

    /// With where it comes from.
    #[must_use]
    pub fn from<T>(mut self, cited: &Cited<T>) -> Self {
        if !self.sources.contains(&cited.source) {
            self.sources.push(cited.source.clone());
        }
        self
    }
}

/// The steps of a calculation, as far as they are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    steps: Option<Vec<Step>>,
}

impl Trace {
    /// One that keeps the steps.
    #[must_use]
    pub const fn kept() -> Self {
        Self {
            steps: Some(Vec::new()),
        }
    }

    /// One that keeps nothing, so that steps cost nothing.
    #[must_use]
    pub const fn unkept() -> Self {
        Self { steps: None }
    }

    /// Notes a step.
    pub fn note(&mut self, step: impl FnOnce() -> Step) {
        if let Some(steps) = &mut self.steps {
            steps.push(step());
        }
    }

    /// The steps.
    #[must_use]
    pub fn into_steps(self) -> Vec<Step> {
        self.steps.unwrap_or_default()
    }
}
