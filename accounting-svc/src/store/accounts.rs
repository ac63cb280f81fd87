//! Reading accounts.

use ::store::Unavailable;

use crate::domain::{AccountRecord, AccountType, Numbered as _};

use super::{
    reader::{Param, Reader},
    rows::{self, select_holding},
};

/// An account and its place in the order of creation.
#[derive(Debug, Clone)]
pub struct SavedAccount {
    /// The place.
    pub key: i64,
    /// As it is recorded.
    pub record: AccountRecord,
}

/// Which accounts to list.
#[derive(Debug, Clone, Default)]
pub struct AccountFilter {
    /// Only those of this type.
    pub account_type: Option<AccountType>,
    /// Only those in this currency.
    pub currency: Option<String>,
    /// Only closed, or only open ones.
    pub closed: Option<bool>,
    /// Only those after this place.
    pub after: i64,
    /// The most to return.
    pub limit: usize,
}

/// Some accounts.
#[derive(Debug, Clone)]
pub struct AccountPage {
    /// In the order they were created.
    pub accounts: Vec<SavedAccount>,
    /// Whether there are more after them.
    pub more: bool,
}

#[derive(Debug)]
pub(super) struct GetAccount(pub(super) String);

#[derive(Debug)]
pub(super) struct ListAccounts(pub(super) AccountFilter);

impl GetAccount {
    pub(super) async fn read(
        self,
        reader: impl Reader,
    ) -> Result<Option<SavedAccount>, Unavailable> {
        const SQL: &str = select_holding!("WHERE a.account_id = $1");
        let row = reader.row(SQL, &[Param::Text(&self.0)]).await?;
        row.map(|row| saved(rows::holding(&row)?)).transpose()
    }
}

impl ListAccounts {
    pub(super) async fn read(self, reader: impl Reader) -> Result<AccountPage, Unavailable> {
        const SQL: &str = select_holding!(
            "WHERE a.account_key > $1
                 AND (CAST($2 AS bigint) IS NULL OR a.type = $2)
                 AND (CAST($3 AS text) IS NULL OR a.currency = $3)
                 AND (CAST($4 AS bigint) IS NULL OR t.closed = $4)
             ORDER BY a.account_key LIMIT $5"
        );
        let filter = &self.0;
        let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX - 1);
        let params = [
            Param::Int(filter.after),
            Param::OptInt(filter.account_type.map(|t| t.number())),
            Param::OptText(filter.currency.as_deref()),
            Param::OptInt(filter.closed.map(i64::from)),
            Param::Int(limit + 1),
        ];
        let rows = reader.rows(SQL, &params).await?;
        let more = rows.len() > filter.limit;
        let rows = rows.iter().take(filter.limit);
        let accounts = rows.map(|row| saved(rows::holding(row)?));
        Ok(AccountPage {
            accounts: accounts.collect::<Result<_, _>>()?,
            more,
        })
    }
}

fn saved(holding: crate::domain::Holding) -> Result<SavedAccount, Unavailable> {
    Ok(SavedAccount {
        key: holding.key,
        record: holding.record,
    })
}
