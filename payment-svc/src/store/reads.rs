//! What is read from the store.

use store::{Query, Unavailable, postgres::Session, rusqlite::Connection};

use super::{
    Figures, Filter, postgres,
    rows::Damaged,
    sqlite::{self, Page},
};
use crate::domain::Payment;

pub(super) struct Get(pub(super) String);

impl Query for Get {
    type Output = Result<Option<Payment>, Damaged>;

    fn in_file(self, file: &Connection) -> Result<Self::Output, Unavailable> {
        sqlite::get(file, &self.0)
    }

    async fn on_server(self, server: &Session) -> Result<Self::Output, Unavailable> {
        postgres::get(server, &self.0).await
    }
}

pub(super) struct List {
    pub(super) filter: Filter,
    pub(super) before: i64,
    pub(super) most: u32,
}

impl Query for List {
    type Output = Page;

    fn in_file(self, file: &Connection) -> Result<Page, Unavailable> {
        sqlite::list(file, &self.filter, self.before, self.most)
    }

    async fn on_server(self, server: &Session) -> Result<Page, Unavailable> {
        postgres::list(server, &self.filter, self.before, self.most).await
    }
}

pub(super) struct Workers;

impl Query for Workers {
    type Output = Vec<(String, i64)>;

    fn in_file(self, file: &Connection) -> Result<Self::Output, Unavailable> {
        sqlite::workers(file)
    }

    async fn on_server(self, server: &Session) -> Result<Self::Output, Unavailable> {
        postgres::workers(server).await
    }
}

pub(super) struct OfWorker(pub(super) String);

impl Query for OfWorker {
    type Output = Vec<(String, i64)>;

    fn in_file(self, file: &Connection) -> Result<Self::Output, Unavailable> {
        sqlite::of_worker(file, &self.0)
    }

    async fn on_server(self, server: &Session) -> Result<Self::Output, Unavailable> {
        postgres::of_worker(server, &self.0).await
    }
}

pub(super) struct AnythingFree;

impl Query for AnythingFree {
    type Output = bool;

    fn in_file(self, file: &Connection) -> Result<bool, Unavailable> {
        sqlite::anything_free(file)
    }

    async fn on_server(self, server: &Session) -> Result<bool, Unavailable> {
        postgres::anything_free(server).await
    }
}

pub(super) struct FiguresAt(pub(super) i64);

impl Query for FiguresAt {
    type Output = Figures;

    fn in_file(self, file: &Connection) -> Result<Figures, Unavailable> {
        sqlite::figures(file, self.0)
    }

    async fn on_server(self, server: &Session) -> Result<Figures, Unavailable> {
        postgres::figures(server, self.0).await
    }
}
