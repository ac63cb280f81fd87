//! How tax applies: EN 16931's categories and what each demands.

use super::{Decimal, Invalid, Problem};

/// The largest rate, in percent.
const RATE_MAX: Decimal = Decimal::whole(100);

/// How many decimals a percentage may have.
pub(super) const PERCENT_PLACES: u32 = 4;

/// How value added tax applies: the codes of UNCL 5305 that EN 16931 takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaxCategory {
    /// S: the standard or a reduced rate.
    Standard,
    /// Z: zero rated.
    ZeroRated,
    /// E: exempt.
    Exempt,
    /// AE: reverse charge.
    ReverseCharge,
    /// K: supply within the European Union.
    IntraCommunity,
    /// G: export out of it.
    Export,
    /// O: not subject to it.
    OutOfScope,
    /// L: the Canary Islands' IGIC.
    Igic,
    /// M: Ceuta's and Melilla's IPSI.
    Ipsi,
}

impl TaxCategory {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Standard,
        Self::ZeroRated,
        Self::Exempt,
        Self::ReverseCharge,
        Self::IntraCommunity,
        Self::Export,
        Self::OutOfScope,
        Self::Igic,
        Self::Ipsi,
    ];

    /// The code of UNCL 5305.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Standard => "S",
            Self::ZeroRated => "Z",
            Self::Exempt => "E",
            Self::ReverseCharge => "AE",
            Self::IntraCommunity => "K",
            Self::Export => "G",
            Self::OutOfScope => "O",
            Self::Igic => "L",
            Self::Ipsi => "M",
        }
    }

    /// The category of a code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|category| category.code() == code)
    }
}

/// A category and a rate: what the tax of a document is broken down by (BG-23).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate {
    category: TaxCategory,
    percent: Decimal,
}

impl Rate {
    /// The category.
    #[must_use]
    pub const fn category(self) -> TaxCategory {
        self.category
    }

    /// The rate in percent.
    #[must_use]
    pub const fn percent(self) -> Decimal {
        self.percent
    }
}

/// How tax applies to a line, an allowance or a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tax {
    rate: Rate,
    exemption_reason: String,
    exemption_reason_code: String,
}

impl Tax {
    /// A category with its rate and, where no tax is due, the reason.
    ///
    /// # Errors
    /// [`Invalid`] names the part that the category does not go with. The rules are EN 16931's
    /// BR-S-5, BR-Z-5, BR-E-5, BR-AE-5, BR-IC-5, BR-G-5, BR-O-5 (rates) and BR-E-10 (reason).
    pub fn new(
        category: TaxCategory,
        percent: Decimal,
        exemption_reason: String,
        exemption_reason_code: String,
    ) -> Result<Self, Invalid> {
        let rate = |problem| Err(Invalid::new("rate_percent", problem));
        if !(Decimal::ZERO..=RATE_MAX).contains(&percent) {
            return rate(Problem::RateOutOfRange);
        }
        if !percent.fits_places(PERCENT_PLACES) {
            return rate(Problem::PercentTooFine);
        }
        match category {
            TaxCategory::Standard if percent == Decimal::ZERO => {
                return rate(Problem::RateMissing);
            }
            TaxCategory::Standard | TaxCategory::Igic | TaxCategory::Ipsi => {}
            TaxCategory::ZeroRated
            | TaxCategory::Exempt
            | TaxCategory::ReverseCharge
            | TaxCategory::IntraCommunity
            | TaxCategory::Export
            | TaxCategory::OutOfScope
                if percent != Decimal::ZERO =>
            {
                return rate(Problem::RateOnUntaxed);
            }
            TaxCategory::Exempt
                if exemption_reason.is_empty() && exemption_reason_code.is_empty() =>
            {
                return Err(Invalid::new("exemption_reason", Problem::Required));
            }
            TaxCategory::ZeroRated
            | TaxCategory::Exempt
            | TaxCategory::ReverseCharge
            | TaxCategory::IntraCommunity
            | TaxCategory::Export
            | TaxCategory::OutOfScope => {}
        }
        Ok(Self {
            rate: Rate { category, percent },
            exemption_reason,
            exemption_reason_code,
        })
    }

    /// Not subject to tax.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            rate: Rate {
                category: TaxCategory::OutOfScope,
                percent: Decimal::ZERO,
            },
            exemption_reason: String::new(),
            exemption_reason_code: String::new(),
        }
    }

    /// What it is broken down by.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Why no tax is due; may be empty.
    #[must_use]
    pub fn exemption_reason(&self) -> &str {
        &self.exemption_reason
    }

    /// The code of that reason; may be empty.
    #[must_use]
    pub fn exemption_reason_code(&self) -> &str {
        &self.exemption_reason_code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tax(category: TaxCategory, percent: &str, reason: &str) -> Result<(), (String, Problem)> {
        Tax::new(
            category,
            percent.parse().unwrap(),
            reason.to_owned(),
            String::new(),
        )
        .map(drop)
        .map_err(|invalid| (invalid.field, invalid.problem))
    }

    #[test]
    fn each_category_has_the_rates_that_it_goes_with() {
        for category in TaxCategory::ALL {
            let taxed = matches!(
                category,
                TaxCategory::Standard | TaxCategory::Igic | TaxCategory::Ipsi
            );
            assert_eq!(tax(category, "7.5", "why").is_ok(), taxed, "{category:?}");
            let free = category != TaxCategory::Standard;
            assert_eq!(tax(category, "0", "why").is_ok(), free, "{category:?}");
            assert_eq!(TaxCategory::from_code(category.code()), Some(category));
        }
    }

    #[test]
    fn rates_are_bounded_and_exempt_has_a_reason() {
        let rate = |problem| Err(("rate_percent".to_owned(), problem));
        let standard = TaxCategory::Standard;
        assert_eq!(tax(standard, "100.0001", ""), rate(Problem::RateOutOfRange));
        assert_eq!(tax(standard, "-1", ""), rate(Problem::RateOutOfRange));
        assert_eq!(tax(standard, "1.00001", ""), rate(Problem::PercentTooFine));
        assert_eq!(tax(standard, "0.0001", ""), Ok(()));
        assert_eq!(tax(standard, "100", ""), Ok(()));
        let field = "exemption_reason".to_owned();
        assert_eq!(
            tax(TaxCategory::Exempt, "0", ""),
            Err((field, Problem::Required))
        );
    }
}
