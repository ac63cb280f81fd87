//! The files that `mizan zakat assess` reads, and the request that they become.
//!
//! A JSON file says everything; a CSV file lists holdings and debts, and flags say the rest. Each
//! number is a string, or a whole number: a fraction of JSON would pass through a float.

use std::{collections::BTreeMap, fmt};

use mizan_contracts::zakat::v1::{
    AssessRequest, Balance, BalanceHistory, Date, Hawl, Metal, MetalPrice, YearBasis, hawl::Known,
};
use money::Currency;
use serde::{Deserialize, Deserializer, de};

use super::holding;

/// A file, or what flags say.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Said {
    /// Who owns it: keeps the payments of two owners apart that own the same.
    pub(crate) owner: Option<String>,
    pub(crate) policy: Option<String>,
    pub(crate) version: Option<i32>,
    pub(crate) date: Option<String>,
    pub(crate) currency: Option<String>,
    #[serde(default, deserialize_with = "fields")]
    pub(crate) prices: BTreeMap<String, Text>,
    pub(crate) year: Option<String>,
    pub(crate) hawl: Option<SaidHawl>,
    #[serde(default, deserialize_with = "things")]
    pub(crate) assets: Vec<BTreeMap<String, Text>>,
    #[serde(default, deserialize_with = "things")]
    pub(crate) liabilities: Vec<BTreeMap<String, Text>>,
}

/// One of three ways to say it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub(crate) enum SaidHawl {
    Complete(bool),
    Since(String),
    History(Vec<SaidBalance>),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SaidBalance {
    date: String,
    wealth: Text,
    nisab: Option<Text>,
}

/// A string, or a whole number or a truth value as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string such as \"12.5\", a whole number, true or false")
            }
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
            fn visit_bool<E>(self, truth: bool) -> Result<Text, E> {
                Ok(Text(truth.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The fields of one thing. A name that is given twice is refused: else the last would quietly win,
/// and what the first said would be assessed by nobody.
fn fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Text>, D::Error> {
    struct Visitor;
    impl<'de> de::Visitor<'de> for Visitor {
        type Value = BTreeMap<String, Text>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = BTreeMap::new();
            while let Some((name, value)) = map.next_entry::<String, Text>()? {
                if fields.contains_key(&name) {
                    return Err(de::Error::custom(format!("{name:?} is given twice")));
                }
                fields.insert(name, value);
            }
            Ok(fields)
        }
    }
    deserializer.deserialize_map(Visitor)
}

/// A list of such.
fn things<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<BTreeMap<String, Text>>, D::Error> {
    #[derive(Deserialize)]
    struct Thing(#[serde(deserialize_with = "fields")] BTreeMap<String, Text>);
    let things = Vec::<Thing>::deserialize(deserializer)?;
    Ok(things.into_iter().map(|Thing(fields)| fields).collect())
}

/// What is wrong with a file, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Problem(pub(crate) String);

impl Said {
    /// Reads a JSON file.
    pub(crate) fn of_json(text: &str) -> Result<Self, Problem> {
        serde_json::from_str(text).map_err(|e| Problem(e.to_string()))
    }

    /// Reads a CSV file of holdings: a header of field names, a line for each. Debts have the kind
    /// `debt`.
    pub(crate) fn of_csv(text: &str) -> Result<Self, Problem> {
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
        let header = reader
            .headers()
            .map_err(|e| Problem(e.to_string()))?
            .clone();
        let names: Vec<String> = header.iter().map(str::to_lowercase).collect();
        for (index, name) in names.iter().enumerate() {
            if !name.is_empty() && names.iter().take(index).any(|before| before == name) {
                return Err(Problem(format!("the column {name:?} is there twice")));
            }
        }
        let mut said = Self::default();
        for record in reader.records() {
            let record = record.map_err(|e| Problem(e.to_string()))?;
            let cells = names
                .iter()
                .zip(&record)
                .filter(|(_, cell)| !cell.is_empty());
            let mut fields: BTreeMap<String, Text> = cells
                .map(|(name, cell)| (name.clone(), Text(cell.to_owned())))
                .collect();
            if fields.is_empty() {
                continue;
            }
            if fields.get("kind").is_some_and(|kind| kind.0 == "debt") {
                fields.remove("kind");
                said.liabilities.push(fields);
            } else {
                said.assets.push(fields);
            }
        }
        Ok(said)
    }

    /// This, but for what the other says.
    pub(crate) fn overridden_by(mut self, other: Self) -> Self {
        self.owner = other.owner.or(self.owner);
        self.policy = other.policy.or(self.policy);
        self.version = other.version.or(self.version);
        self.date = other.date.or(self.date);
        self.currency = other.currency.or(self.currency);
        self.prices.extend(other.prices);
        self.year = other.year.or(self.year);
        self.hawl = other.hawl.or(self.hawl);
        self.assets.extend(other.assets);
        self.liabilities.extend(other.liabilities);
        self
    }

    /// The request; what is wrong with its values is left for the calculator to say.
    pub(crate) fn request(self, language: &str) -> Result<AssessRequest, Problem> {
        let currency_code = required("currency", self.currency)?;
        let currency: Currency = currency_code
            .parse()
            .map_err(|_| Problem(format!("currency {currency_code:?} is not one of ISO 4217")))?;
        if self.assets.is_empty() {
            // A file of another kind, most likely: nothing due on nothing would be a wrong comfort.
            return Err(Problem("lists nothing that is owned".to_owned()));
        }
        let mut prices = Vec::new();
        for (name, price) in self.prices {
            let metal = match name.as_str() {
                "gold" => Metal::Gold,
                "silver" => Metal::Silver,
                _ => return Err(Problem(format!("prices.{name} is not gold or silver"))),
            };
            prices.push(MetalPrice {
                metal: metal.into(),
                price_per_gram: price.0,
            });
        }
        let year_basis = match self.year.as_deref() {
            None | Some("lunar") => YearBasis::Lunar,
            Some("solar") => YearBasis::Solar,
            Some(other) => return Err(Problem(format!("year {other:?} is not lunar or solar"))),
        };
        let mut assets = Vec::new();
        for (index, fields) in self.assets.into_iter().enumerate() {
            assets.push(holding::asset(index, fields, currency)?);
        }
        let mut liabilities = Vec::new();
        for (index, fields) in self.liabilities.into_iter().enumerate() {
            liabilities.push(holding::liability(index, fields, currency)?);
        }
        Ok(AssessRequest {
            policy_id: required("policy", self.policy)?,
            policy_version: self.version.unwrap_or_default(),
            valuation_date: Some(date("date", &required("date", self.date)?)?),
            currency_code,
            prices,
            assets,
            liabilities,
            hawl: self.hawl.map(|hawl| hawl.to_wire(currency)).transpose()?,
            year_basis: year_basis.into(),
            view: 0,
            languages: vec![language.to_owned()],
        })
    }
}

impl SaidHawl {
    /// A flag: `complete`, `incomplete`, or the day since which the nisab is owned.
    pub(crate) fn of_flag(text: &str) -> Self {
        match text {
            "complete" => Self::Complete(true),
            "incomplete" => Self::Complete(false),
            since => Self::Since(since.to_owned()),
        }
    }

    fn to_wire(&self, currency: Currency) -> Result<Hawl, Problem> {
        let known = match self {
            Self::Complete(complete) => Known::Complete(*complete),
            Self::Since(since) => Known::OwnedSince(date("hawl.since", since)?),
            Self::History(balances) => {
                let mut read = Vec::new();
                for (index, balance) in balances.iter().enumerate() {
                    let field = format!("hawl.history[{index}]");
                    let nisab = balance.nisab.as_ref();
                    let nisab = nisab
                        .map(|nisab| holding::money(&format!("{field}.nisab"), &nisab.0, currency));
                    read.push(Balance {
                        date: Some(date(&format!("{field}.date"), &balance.date)?),
                        wealth: Some(holding::money(
                            &format!("{field}.wealth"),
                            &balance.wealth.0,
                            currency,
                        )?),
                        nisab: nisab.transpose()?,
                    });
                }
                Known::History(BalanceHistory { balances: read })
            }
        };
        Ok(Hawl { known: Some(known) })
    }
}

fn required(field: &str, value: Option<String>) -> Result<String, Problem> {
    value.ok_or_else(|| Problem(format!("{field} is missing: the file or --{field} says it")))
}

/// Reads `2026-03-01`.
pub(crate) fn date(field: &str, text: &str) -> Result<Date, Problem> {
    let date = zakat_svc::domain::date::Date::parse(text)
        .map_err(|e| Problem(format!("{field} {text:?} {e}; write it as 2026-03-01")))?;
    Ok(Date {
        year: date.year(),
        month: date.month().into(),
        day: date.day().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{
        "policy": "majority-gold-85", "date": "2026-03-01", "currency": "USD",
        "prices": { "gold": "100" }, "hawl": { "since": "2025-01-01" },
        "assets": [
            { "id": "ring", "kind": "gold", "grams": "12.5", "karat": 22, "worn": true },
            { "id": "bank", "kind": "cash", "amount": 9000 }
        ],
        "liabilities": [ { "id": "loan", "amount": "100.50", "term": "now" } ]
    }"#;

    #[test]
    fn a_json_file_becomes_a_request() {
        let request = Said::of_json(FILE).unwrap().request("en").unwrap();
        assert_eq!((request.assets.len(), request.liabilities.len()), (2, 1));
        assert_eq!(
            request.liabilities[0].amount.as_ref().unwrap().nanos,
            500_000_000
        );
        let same = Said::of_json(FILE).unwrap().request("en").unwrap();
        assert_eq!(request, same);
    }

    #[test]
    fn flags_come_before_the_file() {
        let flags = Said {
            policy: Some("shafii".to_owned()),
            ..Said::default()
        };
        let said = Said::of_json(FILE).unwrap().overridden_by(flags);
        assert_eq!(said.request("en").unwrap().policy_id, "shafii");
    }

    #[test]
    fn a_csv_of_holdings_and_debts() {
        let text = "\u{feff}Id,Kind,Amount,Grams,Karat,Term\nbank, cash,9000,,,\nring,gold,,12.5,22,\nloan,debt,100,,,later\n,,,,,\n";
        let said = Said::of_csv(text).unwrap();
        assert_eq!((said.assets.len(), said.liabilities.len()), (2, 1));
        let flags = Said {
            policy: Some("shafii".to_owned()),
            date: Some("2026-03-01".to_owned()),
            currency: Some("USD".to_owned()),
            hawl: Some(SaidHawl::of_flag("complete")),
            ..Said::default()
        };
        let request = said.overridden_by(flags).request("en").unwrap();
        assert_eq!(request.assets[0].asset_id, "bank");
    }

    #[test]
    fn a_column_that_is_there_twice_is_refused() {
        let refused = Said::of_csv("id,kind,amount,Amount\nbank,cash,9000,1\n");
        assert_eq!(
            refused.unwrap_err(),
            Problem("the column \"amount\" is there twice".to_owned())
        );
        // Columns without a name hold nothing.
        assert!(Said::of_csv("id,kind,amount,,\nbank,cash,9000,,\n").is_ok());
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for (from, to, told) in [
            ("\"9000\"", "\"9000\"", ""),
            ("9000", "9000.5", "whole number"),
            (
                "\"cash\"",
                "\"cars\"",
                "assets[1] (bank): kind \"cars\" is not known",
            ),
            (
                "\"amount\": 9000",
                "\"karat\": 3",
                "assets[1] (bank): amount is missing",
            ),
            (
                "22, \"worn\"",
                "22, \"colour\": 1, \"worn\"",
                "assets[0] (ring): colour does not belong to gold",
            ),
            ("2026-03-01", "2026-3-1", "write it as 2026-03-01"),
            (
                "\"now\"",
                "\"soon\"",
                "liabilities[0] (loan): term \"soon\"",
            ),
            (
                "100.50",
                "100.505",
                "liabilities[0] (loan): amount \"100.505\" has digits finer",
            ),
            ("\"policy\"", "\"polity\"", "unknown field"),
            (
                "\"amount\": 9000",
                "\"amount\": 9000, \"amount\": 9",
                "\"amount\" is given twice",
            ),
            (
                "\"gold\": \"100\"",
                "\"gold\": \"100\", \"gold\": \"1\"",
                "\"gold\" is given twice",
            ),
        ] {
            let text = FILE.replacen(from, to, 1);
            let outcome = Said::of_json(&text).and_then(|said| said.request("en"));
            match outcome {
                Ok(_) => assert!(told.is_empty(), "{to} is fine"),
                Err(Problem(line)) => {
                    assert!(!told.is_empty() && line.contains(told), "{to}: {line}");
                    assert!(!line.contains('\n'));
                }
            }
        }
    }
}
