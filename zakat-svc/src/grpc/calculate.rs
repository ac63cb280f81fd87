//! Calculate: the plain rule.

use mizan::status::{Violations, invalid};
use mizan_contracts::{
    r#type::v1 as wire,
    zakat::v1::{CalculateRequest, CalculateResponse, ZakatBase},
};
use money::Money;
use tonic::Status;

use crate::domain::{self, Base};

/// Reads the request, asks the domain, writes the answer.
pub(super) fn calculate(request: &CalculateRequest) -> Result<CalculateResponse, Status> {
    let asked = Asked::read(request)?;
    // Amounts of the wire are far below what 128 bits hold, so neither step fails.
    let too_large = |e: money::Error| invalid("wealth", &e.to_string());
    let zakat = domain::calculate(asked.wealth, asked.nisab, asked.base).map_err(too_large)?;
    let zakat_due = wire::Money::try_from(zakat.due).map_err(too_large)?;
    Ok(CalculateResponse {
        wealth: request.wealth.clone(),
        nisab: request.nisab.clone(),
        zakat_due: Some(zakat_due),
        is_eligible: zakat.is_eligible,
        base: to_wire(asked.base).into(),
    })
}

/// A request that keeps the contract.
struct Asked {
    wealth: Money,
    nisab: Money,
    base: Base,
}

impl Asked {
    /// Reads all fields, so that a refusal names everything that is wrong.
    fn read(request: &CalculateRequest) -> Result<Self, Status> {
        let mut violations = Violations::new();
        let wealth = not_negative("wealth", request.wealth.as_ref(), &mut violations);
        let nisab = not_negative("nisab", request.nisab.as_ref(), &mut violations);
        if let (Some(wealth), Some(nisab)) = (wealth, nisab) {
            violations.require(
                wealth.currency() == nisab.currency(),
                "nisab",
                "has another currency than wealth",
            );
        }
        let base = from_wire(request.base);
        violations.require(base.is_some(), "base", "is not a ZakatBase");
        violations.check()?;
        match (wealth, nisab, base) {
            (Some(wealth), Some(nisab), Some(base)) => Ok(Self {
                wealth,
                nisab,
                base,
            }),
            // Whatever is absent was noted above, and `check` has refused it.
            _ => Err(Status::internal("an unread field was not refused")),
        }
    }
}

fn not_negative(
    field: &str,
    value: Option<&wire::Money>,
    violations: &mut Violations,
) -> Option<Money> {
    let amount = violations.keep(field, wire::Money::read(value))?;
    violations.require(!amount.is_negative(), field, "is negative");
    Some(amount)
}

fn from_wire(base: i32) -> Option<Base> {
    match ZakatBase::try_from(base).ok()? {
        ZakatBase::Unspecified => Some(Base::default()),
        ZakatBase::ExcessOverNisab => Some(Base::ExcessOverNisab),
        ZakatBase::WholeWealth => Some(Base::WholeWealth),
    }
}

fn to_wire(base: Base) -> ZakatBase {
    match base {
        Base::ExcessOverNisab => ZakatBase::ExcessOverNisab,
        Base::WholeWealth => ZakatBase::WholeWealth,
    }
}
