//! Requests into facts, field by field: a refusal names everything that is wrong.

use std::collections::BTreeSet;

use mizan::status::{Violations, refused_field};
use mizan_contracts::{
    r#type::v1 as wire,
    zakat::v1::{
        self as proto, AssessRequest, AssessmentView, DebtTerm, MetalPrice, YearBasis,
        hawl::Known as WireHawl,
    },
};
use money::{Currency, Money};
use tonic::{Code, Status};

use super::read_asset;
use crate::{
    assessor::Assessor,
    domain::{
        date::Date,
        explain::Language,
        facts::{Balance, Facts, Hawl, Liability, Metal, Prices, Term},
        hawl::Year,
        policy::Served,
        ratio::Ratio,
    },
};

/// The most assets, liabilities and balances of a request. A household has dozens; the bound keeps
/// an answer, with its sentences, within what a client takes.
const ASSETS_MAX: usize = 1000;
const BALANCES_MAX: usize = 4000;

/// The longest name of an asset, in characters.
const NAME_CHARS_MAX: usize = 64;

/// The most herds of a request: three kinds, kept in three ways, are nine. A herd of 100,000 camels
/// has five hundred alternatives, so their number needs a bound of its own.
const HERDS_MAX: usize = 32;

/// A request that keeps the contract.
pub(crate) struct Asked<'a> {
    pub(crate) served: &'a Served,
    pub(crate) facts: Facts,
    pub(crate) is_full: bool,
    pub(crate) languages: Vec<Language>,
}

impl<'a> Asked<'a> {
    pub(crate) fn read(assessor: &'a Assessor, request: &AssessRequest) -> Result<Self, Status> {
        let mut reader = Reader::new(&request.currency_code);
        reader.policy_id(&request.policy_id);
        let on = reader.date("valuation_date", request.valuation_date.as_ref());
        let prices = reader.prices(&request.prices);
        let assets = reader.assets(&request.assets);
        let liabilities = reader.liabilities(&request.liabilities);
        let hawl = request
            .hawl
            .as_ref()
            .and_then(|hawl| reader.hawl("hawl", hawl));
        let year = match YearBasis::try_from(request.year_basis) {
            Ok(YearBasis::Unspecified | YearBasis::Lunar) => Year::Lunar,
            Ok(YearBasis::Solar) => Year::Solar,
            Err(_) => {
                reader.violations.add("year_basis", "is not a YearBasis");
                Year::Lunar
            }
        };
        let view = AssessmentView::try_from(request.view);
        reader.require(view.is_ok(), "view", "is not an AssessmentView");
        let languages = reader.languages(&request.languages);
        let (currency, violations) = (reader.currency, reader.violations);
        violations.check()?;
        let served = find(assessor, &request.policy_id)?;
        if ![0, i64::from(served.policy.version)].contains(&i64::from(request.policy_version)) {
            let description = format!("is not {}, which is served", served.policy.version);
            return Err(refused_field(
                Code::FailedPrecondition,
                "POLICY_VERSION_MISMATCH",
                "policy_version",
                &description,
            ));
        }
        let (Some(on), Some(currency)) = (on, currency) else {
            // Whatever is absent was noted above, and `check` has refused it.
            return Err(Status::internal("an unread field was not refused"));
        };
        let facts = Facts {
            on,
            currency,
            prices,
            assets,
            liabilities,
            hawl,
            year,
        };
        check_days(&facts)?;
        Ok(Self {
            served,
            facts,
            is_full: view != Ok(AssessmentView::Summary),
            languages,
        })
    }
}

/// A policy, or NOT_FOUND.
pub(super) fn find<'a>(assessor: &'a Assessor, id: &str) -> Result<&'a Served, Status> {
    assessor.policies.get(id).ok_or_else(|| {
        refused_field(
            Code::NotFound,
            "POLICY_NOT_FOUND",
            "policy_id",
            "is not a policy that is served; ListPolicies has those that are",
        )
    })
}

/// Days that belong together: none after the valuation date, and, where the Hijri calendar is
/// asked, all within its range.
fn check_days(facts: &Facts) -> Result<(), Status> {
    let mut violations = Violations::new();
    let mut check = |field: String, date: Date| {
        violations.require(date <= facts.on, &*field, "is after the valuation date");
        if facts.year == Year::Lunar {
            violations.keep(field, date.to_hijri());
        }
    };
    match &facts.hawl {
        Some(Hawl::Since(date)) => {
            check("hawl.owned_since".to_owned(), *date);
            check("valuation_date".to_owned(), facts.on);
        }
        Some(Hawl::History(balances)) => {
            for (index, balance) in balances.iter().enumerate() {
                check(format!("hawl.history.balances[{index}].date"), balance.date);
            }
            check("valuation_date".to_owned(), facts.on);
        }
        _ => {}
    }
    for (index, asset) in facts.assets.iter().enumerate() {
        if let crate::domain::facts::AssetKind::Herd {
            hawl: Hawl::Since(date),
            ..
        } = &asset.kind
        {
            let field = format!("assets[{index}].herd.hawl.owned_since");
            violations.require(*date <= facts.on, &*field, "is after the valuation date");
            violations.keep(field, date.to_hijri().and(facts.on.to_hijri()));
        }
    }
    violations.check()
}

/// Reads fields and notes what is wrong with them.
pub(super) struct Reader {
    pub(super) violations: Violations,
    pub(super) currency: Option<Currency>,
}

impl Reader {
    pub(super) fn new(currency_code: &str) -> Self {
        let mut violations = Violations::new();
        let currency = currency_code.parse().ok();
        let known = currency.is_some();
        violations.require(known, "currency_code", "is not an ISO 4217 currency");
        Self {
            violations,
            currency,
        }
    }

    pub(super) fn require(&mut self, holds: bool, field: impl Into<String>, description: &str) {
        self.violations.require(holds, field, description);
    }

    pub(super) fn policy_id(&mut self, id: &str) {
        let description = "is required: there is no default; see ListPolicies";
        self.require(!id.is_empty(), "policy_id", description);
    }

    pub(super) fn date(&mut self, field: &str, date: Option<&proto::Date>) -> Option<Date> {
        let Some(date) = date else {
            self.violations.add(field, "is required");
            return None;
        };
        let date = Date::new(date.year, date.month, date.day);
        self.violations.keep(field, date)
    }

    /// Zero or more, in the request's currency.
    pub(super) fn amount(&mut self, field: &str, amount: Option<&wire::Money>) -> Option<Ratio> {
        let amount: Money = self.violations.keep(field, wire::Money::read(amount))?;
        self.require(!amount.is_negative(), field, "is negative");
        let same = self
            .currency
            .is_none_or(|currency| currency == amount.currency());
        self.require(same, field, "has another currency than the request");
        Some(Ratio::of_money(amount))
    }

    /// Zero or more.
    pub(super) fn number(&mut self, field: &str, text: &str) -> Option<Ratio> {
        if text.is_empty() {
            self.violations.add(field, "is required");
            return None;
        }
        let number = self.violations.keep(field, Ratio::parse(text))?;
        self.require(!number.is_negative(), field, "is negative");
        Some(number)
    }

    /// Above zero.
    pub(super) fn price(&mut self, field: &str, text: &str) -> Option<Ratio> {
        let price = self.number(field, text)?;
        self.require(!price.is_zero(), field, "is zero");
        Some(price)
    }

    pub(super) fn prices(&mut self, prices: &[MetalPrice]) -> Prices {
        let mut read = Prices::default();
        for (index, price) in prices.iter().enumerate() {
            let field = format!("prices[{index}]");
            let amount = self.price(&format!("{field}.price_per_gram"), &price.price_per_gram);
            let field = format!("{field}.metal");
            let slot = match read_asset::metal(price.metal) {
                Some(Metal::Gold) => &mut read.gold,
                Some(Metal::Silver) => &mut read.silver,
                None => {
                    self.violations.add(field, "is not a Metal");
                    continue;
                }
            };
            let second = slot.is_some();
            *slot = amount.or(*slot);
            self.require(!second, field, "is given twice");
        }
        read
    }

    fn assets(&mut self, assets: &[proto::Asset]) -> Vec<crate::domain::facts::Asset> {
        if assets.len() > ASSETS_MAX {
            self.violations.add("assets", "are more than 1000");
            return Vec::new();
        }
        let is_herd =
            |asset: &&proto::Asset| matches!(asset.kind, Some(proto::asset::Kind::Herd(_)));
        let herds = assets.iter().filter(is_herd).count();
        self.require(herds <= HERDS_MAX, "assets", "have more than 32 herds");
        let mut names = BTreeSet::new();
        let mut read = Vec::with_capacity(assets.len());
        for (index, asset) in assets.iter().enumerate() {
            let field = format!("assets[{index}]");
            self.name(&format!("{field}.asset_id"), &asset.asset_id, &mut names);
            if let Some(kind) = self.asset(&field, asset.kind.as_ref()) {
                let id = asset.asset_id.clone();
                read.push(crate::domain::facts::Asset { id, kind });
            }
        }
        read
    }

    fn name<'n>(&mut self, field: &str, name: &'n str, names: &mut BTreeSet<&'n str>) {
        let length = name.chars().count();
        let fits = (1..=NAME_CHARS_MAX).contains(&length) && !name.chars().any(char::is_control);
        self.require(fits, field, "is not 1 to 64 printable characters");
        self.require(names.insert(name), field, "is given twice");
    }

    fn liabilities(&mut self, liabilities: &[proto::Liability]) -> Vec<Liability> {
        if liabilities.len() > ASSETS_MAX {
            self.violations.add("liabilities", "are more than 1000");
            return Vec::new();
        }
        let mut names = BTreeSet::new();
        let mut read = Vec::with_capacity(liabilities.len());
        for (index, liability) in liabilities.iter().enumerate() {
            let field = format!("liabilities[{index}]");
            let id = &liability.liability_id;
            self.name(&format!("{field}.liability_id"), id, &mut names);
            let amount = self.amount(&format!("{field}.amount"), liability.amount.as_ref());
            let term = match DebtTerm::try_from(liability.term) {
                Ok(DebtTerm::DueNow) => Some(Term::DueNow),
                Ok(DebtTerm::WithinYear) => Some(Term::WithinYear),
                Ok(DebtTerm::Later) => Some(Term::Later),
                Ok(DebtTerm::Unspecified) | Err(_) => None,
            };
            self.require(term.is_some(), format!("{field}.term"), "is not a DebtTerm");
            if let (Some(amount), Some(term)) = (amount, term) {
                let id = id.clone();
                read.push(Liability { id, amount, term });
            }
        }
        read
    }

    pub(super) fn hawl(&mut self, field: &str, hawl: &proto::Hawl) -> Option<Hawl> {
        match &hawl.known {
            None => {
                let description = "needs one of complete, owned_since and history";
                self.violations.add(field, description);
                None
            }
            Some(WireHawl::Complete(stated)) => Some(Hawl::Stated(*stated)),
            Some(WireHawl::OwnedSince(date)) => {
                let date = self.date(&format!("{field}.owned_since"), Some(date))?;
                Some(Hawl::Since(date))
            }
            Some(WireHawl::History(history)) => {
                let field = format!("{field}.history.balances");
                self.history(&field, &history.balances).map(Hawl::History)
            }
        }
    }

    fn history(&mut self, field: &str, balances: &[proto::Balance]) -> Option<Vec<Balance>> {
        let fits = (1..=BALANCES_MAX).contains(&balances.len());
        self.require(fits, field, "are not 1 to 4000");
        if !fits {
            return None;
        }
        let mut read: Vec<Balance> = Vec::with_capacity(balances.len());
        for (index, balance) in balances.iter().enumerate() {
            let field = format!("{field}[{index}]");
            let date = self.date(&format!("{field}.date"), balance.date.as_ref());
            let wealth = self.amount(&format!("{field}.wealth"), balance.wealth.as_ref());
            let nisab = match &balance.nisab {
                None => None,
                given => Some(self.amount(&format!("{field}.nisab"), given.as_ref())?),
            };
            let (Some(date), Some(wealth)) = (date, wealth) else {
                continue;
            };
            let in_order = read.last().is_none_or(|before| before.date < date);
            let description = "is not after the one before";
            self.require(in_order, format!("{field}.date"), description);
            read.push(Balance {
                date,
                wealth,
                nisab,
            });
        }
        Some(read)
    }

    fn languages(&mut self, tags: &[String]) -> Vec<Language> {
        if tags.is_empty() {
            return Language::ALL.to_vec();
        }
        let mut languages = Vec::new();
        for (index, tag) in tags.iter().enumerate().take(ASSETS_MAX) {
            match Language::of_tag(tag) {
                Some(language) if !languages.contains(&language) => languages.push(language),
                Some(_) => {}
                None => {
                    let description = "is not one of \"en\", \"id\" and \"ar\"";
                    self.violations
                        .add(format!("languages[{index}]"), description);
                }
            }
        }
        languages.sort_unstable();
        languages
    }
}
