//! One holding or debt of a file, by its field names.

use std::{collections::BTreeMap, str::FromStr};

use mizan_contracts::{
    r#type::v1::Money,
    zakat::v1::{
        self as proto, Asset, DebtTerm, FitrahForm, Hawl, Husbandry, IncomePeriod, Liability,
        Metal, MetalUse, PensionAccess, ReceivableQuality, ShareIntent, Species, Watering,
        asset::Kind, hawl::Known, metal_holding::Purity,
    },
};
use money::Currency;

use super::file::{Problem, Text, date};

/// The fields of one thing; each is taken once, so that what is left belongs to nothing.
struct Fields {
    /// Where it is: "assets[2] (bank)".
    place: String,
    fields: BTreeMap<String, Text>,
    currency: Currency,
}

pub(crate) fn asset(
    index: usize,
    fields: BTreeMap<String, Text>,
    currency: Currency,
) -> Result<Asset, Problem> {
    let (asset_id, mut fields) = Fields::new("assets", index, fields, currency)?;
    let kind_name = fields.need("kind")?;
    let kind = fields.kind(&kind_name)?;
    fields.finish(&kind_name)?;
    Ok(Asset {
        asset_id,
        kind: Some(kind),
    })
}

pub(crate) fn liability(
    index: usize,
    fields: BTreeMap<String, Text>,
    currency: Currency,
) -> Result<Liability, Problem> {
    let (liability_id, mut fields) = Fields::new("liabilities", index, fields, currency)?;
    let term = fields.word(
        "term",
        &[
            ("now", DebtTerm::DueNow),
            ("within-year", DebtTerm::WithinYear),
            ("later", DebtTerm::Later),
        ],
    )?;
    let amount = Some(fields.amount("amount")?);
    fields.finish("a debt")?;
    Ok(Liability {
        liability_id,
        amount,
        term: term.into(),
    })
}

/// An amount of the file.
pub(crate) fn money(field: &str, text: &str, currency: Currency) -> Result<Money, Problem> {
    let amount = money::Money::parse(text, currency).and_then(Money::try_from);
    amount.map_err(|e| Problem(format!("{field} {text:?} {e}")))
}

impl Fields {
    fn new(
        list: &str,
        index: usize,
        mut fields: BTreeMap<String, Text>,
        currency: Currency,
    ) -> Result<(String, Self), Problem> {
        let Some(Text(id)) = fields.remove("id") else {
            return Err(Problem(format!("{list}[{index}]: id is missing")));
        };
        let place = format!("{list}[{index}] ({id})");
        let fields = Self {
            place,
            fields,
            currency,
        };
        Ok((id, fields))
    }

    fn wrong(&self, what: &str) -> Problem {
        Problem(format!("{}: {what}", self.place))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.fields.remove(name).map(|text| text.0)
    }

    fn need(&mut self, name: &str) -> Result<String, Problem> {
        let value = self.take(name);
        value.ok_or_else(|| self.wrong(&format!("{name} is missing")))
    }

    fn amount(&mut self, name: &str) -> Result<Money, Problem> {
        let text = self.need(name)?;
        money(&format!("{}: {name}", self.place), &text, self.currency)
    }

    fn amount_if_any(&mut self, name: &str) -> Result<Option<Money>, Problem> {
        if self.fields.contains_key(name) {
            self.amount(name).map(Some)
        } else {
            Ok(None)
        }
    }

    fn number<T: FromStr>(&mut self, name: &str) -> Result<T, Problem> {
        let text = self.need(name)?;
        text.parse()
            .map_err(|_| self.wrong(&format!("{name} {text:?} is not a whole number")))
    }

    fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Result<T, Problem> {
        let text = self.need(name)?;
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(&format!(
                "{name} {text:?} is not one of {}",
                known.join(", ")
            ))
        })
    }

    fn finish(&self, kind: &str) -> Result<(), Problem> {
        match self.fields.keys().next() {
            Some(name) => Err(self.wrong(&format!("{name} does not belong to {kind}"))),
            None => Ok(()),
        }
    }

    fn kind(&mut self, kind: &str) -> Result<Kind, Problem> {
        Ok(match kind {
            "gold" => self.metal(Metal::Gold)?,
            "silver" => self.metal(Metal::Silver)?,
            "cash" => Kind::Cash(proto::Cash {
                amount: Some(self.amount("amount")?),
            }),
            "receivable" => self.receivable()?,
            "trade-goods" => Kind::TradeGoods(proto::TradeGoods {
                market_value: Some(self.amount("amount")?),
            }),
            "shares" => self.shares()?,
            "fund" => Kind::Fund(proto::Fund {
                market_value: Some(self.amount("amount")?),
                zakatable_fraction: self.take("fraction").unwrap_or_default(),
            }),
            "pension" => self.pension()?,
            "crypto" => Kind::Crypto(proto::Crypto {
                market_value: Some(self.amount("amount")?),
            }),
            "rental" => Kind::Rental(proto::Rental {
                net_income: Some(self.amount("amount")?),
            }),
            "income" => self.income()?,
            "crop" => self.crop()?,
            "camels" => self.herd(Species::Camels)?,
            "cattle" => self.herd(Species::Cattle)?,
            "sheep" => self.herd(Species::Sheep)?,
            "mineral" => Kind::Mineral(proto::Mineral {
                value: Some(self.amount("amount")?),
            }),
            "rikaz" => Kind::Rikaz(proto::Rikaz {
                value: Some(self.amount("amount")?),
            }),
            "fitrah" => self.fitrah()?,
            other => return Err(self.wrong(&format!("kind {other:?} is not known"))),
        })
    }

    fn metal(&mut self, metal: Metal) -> Result<Kind, Problem> {
        let purity = if self.fields.contains_key("fineness") {
            Purity::Fineness(self.need("fineness")?)
        } else {
            Purity::Karat(self.number("karat")?)
        };
        let worn = self.fields.contains_key("worn")
            && self.word(
                "worn",
                &[
                    ("true", true),
                    ("yes", true),
                    ("false", false),
                    ("no", false),
                ],
            )?;
        let r#use = if worn {
            MetalUse::Worn
        } else {
            MetalUse::Savings
        };
        Ok(Kind::Metal(proto::MetalHolding {
            metal: metal.into(),
            weight_grams: self.need("grams")?,
            purity: Some(purity),
            r#use: r#use.into(),
        }))
    }

    fn receivable(&mut self) -> Result<Kind, Problem> {
        let quality = self.word(
            "quality",
            &[
                ("good", ReceivableQuality::Good),
                ("doubtful", ReceivableQuality::Doubtful),
                ("bad", ReceivableQuality::Bad),
            ],
        )?;
        Ok(Kind::Receivable(proto::Receivable {
            amount: Some(self.amount("amount")?),
            quality: quality.into(),
        }))
    }

    fn shares(&mut self) -> Result<Kind, Problem> {
        let intents = [
            ("trading", ShareIntent::Trading),
            ("long-term", ShareIntent::LongTerm),
        ];
        let intent = self.word("intent", &intents)?;
        Ok(Kind::Shares(proto::Shares {
            market_value: Some(self.amount("amount")?),
            intent: intent.into(),
            zakatable_assets: self.amount_if_any("zakatable")?,
        }))
    }

    fn pension(&mut self) -> Result<Kind, Problem> {
        let access = self.word(
            "access",
            &[
                ("accessible", PensionAccess::Accessible),
                ("locked", PensionAccess::Locked),
            ],
        )?;
        Ok(Kind::Pension(proto::Pension {
            balance: Some(self.amount("amount")?),
            deductions: self.amount_if_any("deductions")?,
            access: access.into(),
        }))
    }

    fn income(&mut self) -> Result<Kind, Problem> {
        let periods = [("month", IncomePeriod::Month), ("year", IncomePeriod::Year)];
        let period = self.word("period", &periods)?;
        Ok(Kind::Income(proto::Income {
            period: period.into(),
            gross: Some(self.amount("amount")?),
            needs: self.amount_if_any("needs")?,
        }))
    }

    fn crop(&mut self) -> Result<Kind, Problem> {
        let watering = self.word(
            "watering",
            &[
                ("rain", Watering::Rain),
                ("irrigated", Watering::Irrigated),
                ("mixed", Watering::Mixed),
            ],
        )?;
        Ok(Kind::Crop(proto::Crop {
            weight_kg: self.need("kg")?,
            watering: watering.into(),
            price_per_kg: self.take("price").unwrap_or_default(),
        }))
    }

    fn herd(&mut self, species: Species) -> Result<Kind, Problem> {
        let husbandry = self.word(
            "husbandry",
            &[
                ("grazing", Husbandry::Grazing),
                ("fed", Husbandry::Fed),
                ("working", Husbandry::Working),
            ],
        )?;
        let known = if self.fields.contains_key("since") {
            let since = self.need("since")?;
            Known::OwnedSince(date(&format!("{}: since", self.place), &since)?)
        } else {
            Known::Complete(self.word("complete", &[("true", true), ("false", false)])?)
        };
        Ok(Kind::Herd(proto::Herd {
            species: species.into(),
            count: self.number("count")?,
            husbandry: husbandry.into(),
            hawl: Some(Hawl { known: Some(known) }),
        }))
    }

    fn fitrah(&mut self) -> Result<Kind, Problem> {
        let region = self.take("region");
        let form = if region.is_some() {
            FitrahForm::Money
        } else {
            FitrahForm::InKind
        };
        Ok(Kind::Fitrah(proto::Fitrah {
            persons: self.number("persons")?,
            form: form.into(),
            region: region.unwrap_or_default(),
        }))
    }
}
