//! One asset of a request.

use mizan_contracts::zakat::v1::{
    self as proto, FitrahForm, Husbandry, IncomePeriod, MetalUse, PensionAccess, ReceivableQuality,
    ShareIntent, asset::Kind, metal_holding::Purity,
};

use super::read::Reader;
use crate::domain::{
    facts::{AssetKind, Hawl, Holding, Metal, Watering},
    livestock::{HERD_MAX, Species},
    ratio::Ratio,
};

/// The most persons of a household. An agency's village is a few thousand; more is a slip.
const PERSONS_MAX: u32 = 100_000;

/// The longest name of a region, in characters.
const REGION_CHARS_MAX: usize = 64;

pub(super) fn metal(metal: i32) -> Option<Metal> {
    match proto::Metal::try_from(metal) {
        Ok(proto::Metal::Gold) => Some(Metal::Gold),
        Ok(proto::Metal::Silver) => Some(Metal::Silver),
        Ok(proto::Metal::Unspecified) | Err(_) => None,
    }
}

pub(super) fn species(species: i32) -> Option<Species> {
    match proto::Species::try_from(species) {
        Ok(proto::Species::Camels) => Some(Species::Camels),
        Ok(proto::Species::Cattle) => Some(Species::Cattle),
        Ok(proto::Species::Sheep) => Some(Species::Sheep),
        Ok(proto::Species::Unspecified) | Err(_) => None,
    }
}

/// Whether a herd grazes freely.
pub(super) fn is_grazing(husbandry: i32) -> Option<bool> {
    match Husbandry::try_from(husbandry) {
        Ok(Husbandry::Grazing) => Some(true),
        Ok(Husbandry::Fed | Husbandry::Working) => Some(false),
        Ok(Husbandry::Unspecified) | Err(_) => None,
    }
}

pub(super) fn count(count: i64) -> Option<u32> {
    u32::try_from(count).ok().filter(|count| *count <= HERD_MAX)
}

fn whole(holding: Holding, value: Ratio) -> AssetKind {
    AssetKind::Holding {
        holding,
        value,
        own_fraction: None,
    }
}

impl Reader {
    pub(super) fn asset(&mut self, field: &str, kind: Option<&Kind>) -> Option<AssetKind> {
        let at = |part: &str| format!("{field}.{part}");
        match kind {
            None => {
                self.violations.add(field, "says not what it is");
                None
            }
            Some(Kind::Metal(metal)) => self.metal(&at("metal"), metal),
            Some(Kind::Cash(cash)) => {
                let amount = self.amount(&at("cash.amount"), cash.amount.as_ref())?;
                Some(whole(Holding::Cash, amount))
            }
            Some(Kind::Receivable(receivable)) => self.receivable(&at("receivable"), receivable),
            Some(Kind::TradeGoods(goods)) => {
                let value = goods.market_value.as_ref();
                let value = self.amount(&at("trade_goods.market_value"), value)?;
                Some(whole(Holding::TradeGoods, value))
            }
            Some(Kind::Shares(shares)) => self.shares(&at("shares"), shares),
            Some(Kind::Fund(fund)) => self.fund(&at("fund"), fund),
            Some(Kind::Pension(pension)) => self.pension(&at("pension"), pension),
            Some(Kind::Crypto(crypto)) => {
                let value = crypto.market_value.as_ref();
                let value = self.amount(&at("crypto.market_value"), value)?;
                Some(whole(Holding::Crypto, value))
            }
            Some(Kind::Rental(rental)) => {
                let income = rental.net_income.as_ref();
                let income = self.amount(&at("rental.net_income"), income)?;
                Some(AssetKind::Rental { income })
            }
            Some(Kind::Income(income)) => self.income(&at("income"), income),
            Some(Kind::Crop(crop)) => self.crop(&at("crop"), crop),
            Some(Kind::Herd(herd)) => self.herd(&at("herd"), herd),
            Some(Kind::Mineral(mineral)) => {
                let value = self.amount(&at("mineral.value"), mineral.value.as_ref())?;
                Some(AssetKind::Mineral { value })
            }
            Some(Kind::Rikaz(rikaz)) => {
                let value = self.amount(&at("rikaz.value"), rikaz.value.as_ref())?;
                Some(AssetKind::Rikaz { value })
            }
            Some(Kind::Fitrah(fitrah)) => self.fitrah(&at("fitrah"), fitrah),
        }
    }

    fn metal(&mut self, field: &str, holding: &proto::MetalHolding) -> Option<AssetKind> {
        let which = metal(holding.metal);
        self.require(which.is_some(), format!("{field}.metal"), "is not a Metal");
        let grams = self.number(&format!("{field}.weight_grams"), &holding.weight_grams);
        let purity = self.purity(field, holding.purity.as_ref());
        let is_worn = match MetalUse::try_from(holding.r#use) {
            Ok(MetalUse::Savings) => Some(false),
            Ok(MetalUse::Worn) => Some(true),
            Ok(MetalUse::Unspecified) | Err(_) => None,
        };
        self.require(
            is_worn.is_some(),
            format!("{field}.use"),
            "is not a MetalUse",
        );
        Some(AssetKind::Metal {
            metal: which?,
            grams: grams?,
            purity: purity?,
            is_worn: is_worn?,
        })
    }

    fn purity(&mut self, field: &str, purity: Option<&Purity>) -> Option<Ratio> {
        match purity {
            None => {
                let description = "needs a purity: karat or fineness";
                self.violations.add(field, description);
                None
            }
            Some(Purity::Karat(karat)) => {
                let known = (1..=24).contains(karat);
                self.require(known, format!("{field}.karat"), "is not 1 to 24");
                Ratio::new(i128::from(*karat), 24).ok().filter(|_| known)
            }
            Some(Purity::Fineness(text)) => {
                let field = format!("{field}.fineness");
                let fineness = self.number(&field, text)?;
                let fits = !fineness.is_zero() && fineness <= Ratio::whole(1000);
                self.require(fits, field, "is not above 0 and at most 1000");
                fineness.over(Ratio::whole(1000)).ok()
            }
        }
    }

    fn receivable(&mut self, field: &str, receivable: &proto::Receivable) -> Option<AssetKind> {
        let amount = self.amount(&format!("{field}.amount"), receivable.amount.as_ref());
        let holding = match ReceivableQuality::try_from(receivable.quality) {
            Ok(ReceivableQuality::Good) => Some(Holding::ReceivableGood),
            Ok(ReceivableQuality::Doubtful) => Some(Holding::ReceivableDoubtful),
            Ok(ReceivableQuality::Bad) => Some(Holding::ReceivableBad),
            Ok(ReceivableQuality::Unspecified) | Err(_) => None,
        };
        let field = format!("{field}.quality");
        self.require(holding.is_some(), field, "is not a ReceivableQuality");
        Some(whole(holding?, amount?))
    }

    fn shares(&mut self, field: &str, shares: &proto::Shares) -> Option<AssetKind> {
        let value = self.amount(
            &format!("{field}.market_value"),
            shares.market_value.as_ref(),
        );
        let sheet = match &shares.zakatable_assets {
            None => None,
            given => {
                let field = format!("{field}.zakatable_assets");
                Some(self.amount(&field, given.as_ref())?)
            }
        };
        let intent = ShareIntent::try_from(shares.intent);
        match (intent, sheet) {
            (Ok(ShareIntent::Trading), None) => Some(whole(Holding::SharesTrading, value?)),
            (Ok(ShareIntent::Trading), Some(_)) => {
                let description = "is for long-term holdings only";
                self.violations
                    .add(format!("{field}.zakatable_assets"), description);
                None
            }
            (Ok(ShareIntent::LongTerm), None) => Some(whole(Holding::SharesLongTerm, value?)),
            (Ok(ShareIntent::LongTerm), Some(sheet)) => Some(AssetKind::Holding {
                holding: Holding::SharesByBalanceSheet,
                value: sheet,
                own_fraction: Some(Ratio::ONE),
            }),
            (Ok(ShareIntent::Unspecified) | Err(_), _) => {
                self.violations
                    .add(format!("{field}.intent"), "is not a ShareIntent");
                None
            }
        }
    }

    fn fund(&mut self, field: &str, fund: &proto::Fund) -> Option<AssetKind> {
        let value = self.amount(&format!("{field}.market_value"), fund.market_value.as_ref());
        let own_fraction = match fund.zakatable_fraction.as_str() {
            "" => None,
            text => {
                let field = format!("{field}.zakatable_fraction");
                let fraction = self.number(&field, text)?;
                self.require(fraction <= Ratio::ONE, field, "is above 1");
                Some(fraction)
            }
        };
        Some(AssetKind::Holding {
            holding: Holding::Fund,
            value: value?,
            own_fraction,
        })
    }

    fn pension(&mut self, field: &str, pension: &proto::Pension) -> Option<AssetKind> {
        let balance = self.amount(&format!("{field}.balance"), pension.balance.as_ref());
        let holding = match PensionAccess::try_from(pension.access) {
            Ok(PensionAccess::Accessible) => Some(Holding::PensionAccessible),
            Ok(PensionAccess::Locked) => Some(Holding::PensionLocked),
            Ok(PensionAccess::Unspecified) | Err(_) => None,
        };
        let access = format!("{field}.access");
        self.require(holding.is_some(), access, "is not a PensionAccess");
        let taken = self.at_most(
            (&format!("{field}.deductions"), pension.deductions.as_ref()),
            balance,
            "is above the balance",
        )?;
        Some(whole(holding?, balance?.minus(taken).ok()?))
    }

    /// An amount that may be absent and is at most another.
    fn at_most(
        &mut self,
        (field, amount): (&str, Option<&mizan_contracts::r#type::v1::Money>),
        most: Option<Ratio>,
        description: &str,
    ) -> Option<Ratio> {
        if amount.is_none() {
            return Some(Ratio::ZERO);
        }
        let amount = self.amount(field, amount)?;
        self.require(most.is_none_or(|most| amount <= most), field, description);
        Some(amount)
    }

    fn income(&mut self, field: &str, income: &proto::Income) -> Option<AssetKind> {
        let gross = self.amount(&format!("{field}.gross"), income.gross.as_ref());
        let needs = self.at_most(
            (&format!("{field}.needs"), income.needs.as_ref()),
            gross,
            "is above the gross",
        );
        let is_monthly = match IncomePeriod::try_from(income.period) {
            Ok(IncomePeriod::Month) => Some(true),
            Ok(IncomePeriod::Year) => Some(false),
            Ok(IncomePeriod::Unspecified) | Err(_) => None,
        };
        let field = format!("{field}.period");
        self.require(is_monthly.is_some(), field, "is not an IncomePeriod");
        Some(AssetKind::Income {
            is_monthly: is_monthly?,
            gross: gross?,
            needs: needs?,
        })
    }

    fn crop(&mut self, field: &str, crop: &proto::Crop) -> Option<AssetKind> {
        let kg = self.number(&format!("{field}.weight_kg"), &crop.weight_kg);
        let watering = match proto::Watering::try_from(crop.watering) {
            Ok(proto::Watering::Rain) => Some(Watering::Rain),
            Ok(proto::Watering::Irrigated) => Some(Watering::Irrigated),
            Ok(proto::Watering::Mixed) => Some(Watering::Mixed),
            Ok(proto::Watering::Unspecified) | Err(_) => None,
        };
        self.require(
            watering.is_some(),
            format!("{field}.watering"),
            "is not a Watering",
        );
        let price = match crop.price_per_kg.as_str() {
            "" => None,
            text => Some(self.price(&format!("{field}.price_per_kg"), text)?),
        };
        Some(AssetKind::Crop {
            kg: kg?,
            watering: watering?,
            price,
        })
    }

    fn herd(&mut self, field: &str, herd: &proto::Herd) -> Option<AssetKind> {
        let (species, count, is_grazing) = self.herd_size(
            &format!("{field}."),
            herd.species,
            herd.count,
            herd.husbandry,
        );
        let hawl = format!("{field}.hawl");
        let hawl = match &herd.hawl {
            Some(given) => self.hawl(&hawl, given),
            None => {
                self.violations.add(hawl, "is required");
                None
            }
        };
        if matches!(hawl, Some(Hawl::History(_))) {
            let description = "takes no history: a history is of wealth";
            self.violations.add(format!("{field}.hawl"), description);
        }
        Some(AssetKind::Herd {
            species: species?,
            count: count?,
            is_grazing: is_grazing?,
            hawl: hawl?,
        })
    }

    /// The fields of a herd; `prefix` ends with a point or is empty.
    pub(super) fn herd_size(
        &mut self,
        prefix: &str,
        kind: i32,
        heads: i64,
        husbandry: i32,
    ) -> (Option<Species>, Option<u32>, Option<bool>) {
        let read = (species(kind), count(heads), is_grazing(husbandry));
        self.require(
            read.0.is_some(),
            format!("{prefix}species"),
            "is not a Species",
        );
        self.require(
            read.1.is_some(),
            format!("{prefix}count"),
            "is not 0 to 100000",
        );
        self.require(
            read.2.is_some(),
            format!("{prefix}husbandry"),
            "is not a Husbandry",
        );
        read
    }

    fn fitrah(&mut self, field: &str, fitrah: &proto::Fitrah) -> Option<AssetKind> {
        let persons = u32::try_from(fitrah.persons).ok();
        let persons = persons.filter(|persons| *persons <= PERSONS_MAX);
        self.require(
            persons.is_some(),
            format!("{field}.persons"),
            "is not 0 to 100000",
        );
        let at_region = format!("{field}.region");
        let region = match FitrahForm::try_from(fitrah.form) {
            Ok(FitrahForm::InKind) => {
                let empty = fitrah.region.is_empty();
                self.require(empty, at_region, "is for money only");
                None
            }
            Ok(FitrahForm::Money) => {
                let length = fitrah.region.chars().count();
                let fits = (1..=REGION_CHARS_MAX).contains(&length);
                self.require(fits, at_region, "is not 1 to 64 characters");
                Some(fitrah.region.clone())
            }
            Ok(FitrahForm::Unspecified) | Err(_) => {
                self.violations
                    .add(format!("{field}.form"), "is not a FitrahForm");
                return None;
            }
        };
        Some(AssetKind::Fitrah {
            persons: persons?,
            region,
        })
    }
}
