//! One way to read from either back-end: the same statement, the same rows.
//!
//! Parameters are written `$1`, `$2`, … and must appear in that order: for SQLite these are names,
//! numbered as they come.

use ::store::{
    Unavailable, postgres,
    rusqlite::{self, types::ValueRef},
};
use futures_util::FutureExt as _;
use money::Currency;

use crate::domain::{Hash, Numbered};

/// A connection of either back-end, inside a transaction. Not an enum of the two: what reads from a
/// server is sent between threads, and a file's connection is not.
pub(super) trait Reader: Copy {
    /// The rows that a statement answers with.
    fn rows(
        self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> impl Future<Output = Result<Vec<Cells>, Unavailable>>;

    /// The first of them.
    async fn row(
        self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Option<Cells>, Unavailable> {
        Ok(self.rows(sql, params).await?.into_iter().next())
    }
}

impl Reader for &rusqlite::Connection {
    async fn rows(
        self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Vec<Cells>, Unavailable> {
        in_file(self, sql, params)
    }
}

impl Reader for &postgres::Session {
    async fn rows(
        self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Vec<Cells>, Unavailable> {
        let params: Vec<&(dyn postgres::ToSql + Sync)> =
            params.iter().map(Param::for_server).collect();
        let rows = self.query(sql, &params).await?;
        rows.iter().map(Cells::of_server).collect()
    }
}

/// A parameter.
#[derive(Debug, Clone, Copy)]
pub(super) enum Param<'a> {
    Int(i64),
    OptInt(Option<i64>),
    Text(&'a str),
    OptText(Option<&'a str>),
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    Int(i64),
    Text(String),
    Blob(Vec<u8>),
}

/// A row, by the places of its columns. What does not fit is a damaged store.
#[derive(Debug, Clone)]
pub(super) struct Cells(pub(super) Vec<Cell>);

/// What a read of a file comes to: it never waits.
pub(super) fn at_once<T>(
    read: impl Future<Output = Result<T, Unavailable>>,
) -> Result<T, Unavailable> {
    let waited = || Err(Unavailable::damaged("a read of a file waited"));
    read.now_or_never().unwrap_or_else(waited)
}

fn in_file(
    file: &rusqlite::Connection,
    sql: &str,
    params: &[Param<'_>],
) -> Result<Vec<Cells>, Unavailable> {
    let mut statement = file.prepare_cached(sql)?;
    for (index, param) in params.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, param)?;
    }
    let columns = statement.column_count();
    let mut found = Vec::new();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let cells = (0..columns).map(|column| {
            Ok(match row.get_ref(column)? {
                ValueRef::Null => Cell::Null,
                ValueRef::Integer(number) => Cell::Int(number),
                ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
                ValueRef::Blob(bytes) => Cell::Blob(bytes.to_vec()),
                ValueRef::Real(_) => return Err(Unavailable::damaged("a broken number")),
            })
        });
        found.push(Cells(cells.collect::<Result<_, _>>()?));
    }
    Ok(found)
}

impl Param<'_> {
    fn for_server(&self) -> &(dyn postgres::ToSql + Sync) {
        match self {
            Self::Int(number) => number,
            Self::OptInt(number) => number,
            Self::Text(text) => text,
            Self::OptText(text) => text,
        }
    }
}

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        match self {
            Self::Int(number) => number.to_sql(),
            Self::OptInt(number) => number.to_sql(),
            Self::Text(text) => text.to_sql(),
            Self::OptText(text) => text.to_sql(),
        }
    }
}

impl Cells {
    pub(super) fn of_server(row: &postgres::Row) -> Result<Self, Unavailable> {
        use postgres::types::Type;
        let types = row.columns().iter().map(|column| column.type_().clone());
        let cell = |(index, kind): (usize, Type)| {
            Ok(match kind {
                Type::INT8 => row.try_get::<_, Option<i64>>(index)?.map(Cell::Int),
                Type::INT4 => row
                    .try_get::<_, Option<i32>>(index)?
                    .map(|number| Cell::Int(number.into())),
                Type::TEXT => row.try_get::<_, Option<String>>(index)?.map(Cell::Text),
                Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(index)?.map(Cell::Blob),
                other => {
                    return Err(Unavailable::damaged(format!("a column of type {other}")));
                }
            }
            .unwrap_or(Cell::Null))
        };
        let cells = types.enumerate().map(cell);
        Ok(Self(cells.collect::<Result<_, _>>()?))
    }

    pub(super) fn int(&self, column: usize) -> Result<i64, Unavailable> {
        match self.0.get(column) {
            Some(Cell::Int(number)) => Ok(*number),
            _ => Err(wrong(column)),
        }
    }

    pub(super) fn opt_int(&self, column: usize) -> Result<Option<i64>, Unavailable> {
        match self.0.get(column) {
            Some(Cell::Null) => Ok(None),
            _ => self.int(column).map(Some),
        }
    }

    pub(super) fn text(&self, column: usize) -> Result<&str, Unavailable> {
        match self.0.get(column) {
            Some(Cell::Text(text)) => Ok(text),
            _ => Err(wrong(column)),
        }
    }

    pub(super) fn opt_text(&self, column: usize) -> Result<Option<&str>, Unavailable> {
        match self.0.get(column) {
            Some(Cell::Null) => Ok(None),
            _ => self.text(column).map(Some),
        }
    }

    pub(super) fn blob(&self, column: usize) -> Result<&[u8], Unavailable> {
        match self.0.get(column) {
            Some(Cell::Blob(bytes)) => Ok(bytes),
            _ => Err(wrong(column)),
        }
    }

    pub(super) fn hash(&self, column: usize) -> Result<Option<Hash>, Unavailable> {
        match self.0.get(column) {
            Some(Cell::Null) => Ok(None),
            _ => {
                let hash = self.blob(column)?.try_into();
                hash.map(Some).map_err(|_| wrong(column))
            }
        }
    }

    pub(super) fn currency(&self, column: usize) -> Result<Currency, Unavailable> {
        self.text(column)?.parse().map_err(|_| wrong(column))
    }

    pub(super) fn word<T: Numbered>(&self, column: usize) -> Result<T, Unavailable> {
        T::from_number(self.int(column)?).ok_or_else(|| wrong(column))
    }
}

fn wrong(column: usize) -> Unavailable {
    Unavailable::damaged(format!("column {column} does not hold what was written"))
}
