//! The words that stand for the domain's values in the file.

use store::rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use crate::domain::{DocumentType, Micros, State};

impl ToSql for State {
    fn to_sql(&self) -> store::rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Draft => "draft",
            Self::Open => "open",
            Self::Paid => "paid",
            Self::Void => "void",
        }
        .into())
    }
}

impl FromSql for State {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "draft" => Ok(Self::Draft),
            "open" => Ok(Self::Open),
            "paid" => Ok(Self::Paid),
            "void" => Ok(Self::Void),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

impl ToSql for DocumentType {
    fn to_sql(&self) -> store::rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Invoice => "invoice",
            Self::CreditNote => "credit_note",
        }
        .into())
    }
}

impl FromSql for DocumentType {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "invoice" => Ok(Self::Invoice),
            "credit_note" => Ok(Self::CreditNote),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

impl ToSql for Micros {
    fn to_sql(&self) -> store::rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl FromSql for Micros {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self)
    }
}
