//! Domain values as columns and back. A column that cannot be read means a damaged file.

use ::store::rusqlite::{self, types::Type};
use money::{Currency, Money};

use crate::domain::{AccountType, Side, Turnover};

pub(super) const fn type_number(account_type: AccountType) -> i64 {
    match account_type {
        AccountType::Asset => 1,
        AccountType::Liability => 2,
        AccountType::Equity => 3,
        AccountType::Income => 4,
        AccountType::Expense => 5,
    }
}

pub(super) fn account_type(column: usize, number: i64) -> rusqlite::Result<AccountType> {
    Ok(match number {
        1 => AccountType::Asset,
        2 => AccountType::Liability,
        3 => AccountType::Equity,
        4 => AccountType::Income,
        5 => AccountType::Expense,
        _ => return Err(rusqlite::Error::IntegralValueOutOfRange(column, number)),
    })
}

pub(super) const fn side_number(side: Side) -> i64 {
    match side {
        Side::Debit => 1,
        Side::Credit => 2,
    }
}

/// The smallest units of an amount that the domain has bounded.
pub(super) fn minor(amount: Money) -> rusqlite::Result<i64> {
    i64::try_from(amount.minor())
        .map_err(|cause| rusqlite::Error::ToSqlConversionFailure(cause.into()))
}

pub(super) fn currency(column: usize, code: &str) -> rusqlite::Result<Currency> {
    code.parse()
        .map_err(|cause: money::Error| unreadable(column, cause))
}

pub(super) fn turnover(currency: Currency, debits: i64, credits: i64) -> Turnover {
    Turnover {
        debits: Money::from_minor(debits.into(), currency),
        credits: Money::from_minor(credits.into(), currency),
    }
}

pub(super) fn unreadable(
    column: usize,
    cause: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(cause))
}
