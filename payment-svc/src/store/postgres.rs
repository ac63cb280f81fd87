//! The payments on PostgreSQL.
//!
//! The rows that a group touches are locked first, in the order of their ids; then each table is
//! read and written by one statement for the whole group. Two processes that accept the same new id
//! at once: of a payment, the second one's group is refused by the table, and its commands are tried
//! alone, when the id is known; of a refund, the second one waits for the payment that is paid back.

use std::collections::{BTreeMap, BTreeSet};

use store::{
    Unavailable,
    postgres::{Row as SqlRow, Session},
};

use super::{
    Figures, Filter, Oldest, damaged,
    rows::{Damaged, Fixed, Raw, RefusalRow, columns, journal_of, turned},
};
use crate::domain::{Change, Command, Payment, Row, Set, State};

pub(super) async fn load(server: &Session, commands: &[Command]) -> Result<Set, Unavailable> {
    let mut set = Set::default();
    let of: BTreeSet<&str> = commands.iter().filter_map(Command::refund_of).collect();
    let ids: BTreeSet<&str> = commands.iter().filter_map(Command::payment_id).collect();
    let ids: Vec<&str> = ids.union(&of).copied().collect();
    if !of.is_empty() {
        // A statement sees what was committed when it began, not what the one that it waited for
        // inserted: so the wait is one of its own, and the next reads all refunds made before it.
        let sql =
            "SELECT 1 FROM payment WHERE payment_id = ANY ($1) ORDER BY payment_id FOR UPDATE";
        server.execute(sql, &[&ids]).await?;
    }
    if !ids.is_empty() {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM payment WHERE payment_id = ANY ($1) ORDER BY payment_id FOR UPDATE"
        );
        for row in server.query(sql, &[&ids]).await? {
            let raw = raw(&row)?;
            set.rows.insert(raw.id.clone(), raw.row().map_err(damaged)?);
        }
    }
    if !of.is_empty() {
        let of: Vec<&str> = of.into_iter().collect();
        let sql = "SELECT refund_of, SUM(refund_minor)::bigint FROM payment
             WHERE refund_of = ANY ($1) AND state NOT IN (6, 7) GROUP BY refund_of";
        for row in server.query(sql, &[&of]).await? {
            let sum: i64 = row.try_get(1)?;
            set.refunded.insert(row.try_get(0)?, sum.into());
        }
        load_refused(server, commands, &mut set).await?;
    }
    if commands.iter().any(|c| matches!(c, Command::Accept(_))) {
        // One clock for all workers, wherever they are.
        let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
        let row = server.query_opt(sql, &[]).await?;
        set.clock_micros = row.map(|row| row.try_get(0)).transpose()?;
    }
    let most = commands.iter().map(|command| match command {
        Command::TakeOver { most, .. } => i64::from(*most),
        _ => 0,
    });
    let most: i64 = most.fold(0, i64::saturating_add);
    if most > 0 {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM payment WHERE state IN (1, 2, 3, 5)
                 AND NOT EXISTS (SELECT 1 FROM worker w WHERE w.worker = payment.worker)
             LIMIT $1 FOR UPDATE OF payment SKIP LOCKED"
        );
        for row in server.query(sql, &[&most]).await? {
            let raw = raw(&row)?;
            let id = raw.id.clone();
            match raw.row() {
                Ok(row) => {
                    set.rows.entry(id.clone()).or_insert(row);
                    set.free.push(id);
                }
                // It must not keep the others from being finished: said, and left for a person.
                Err(error) => tracing::error!(%error, "a payment is stuck"),
            }
        }
    }
    Ok(set)
}

async fn load_refused(
    server: &Session,
    commands: &[Command],
    set: &mut Set,
) -> Result<(), Unavailable> {
    let ids: Vec<&str> = commands.iter().filter_map(Command::refund_id).collect();
    let sql = "SELECT request_id, request, reason, state, left_minor, currency FROM refused
         WHERE request_id = ANY ($1)";
    for row in server.query(sql, &[&ids]).await? {
        let id: String = row.try_get(0)?;
        let refusal = RefusalRow {
            reason: row.try_get(2)?,
            state: row.try_get(3)?,
            left_minor: row.try_get(4)?,
            currency: row.try_get(5)?,
        };
        let refused = refusal.refused(&id, row.try_get(1)?).map_err(damaged)?;
        set.refused.insert(id, refused);
    }
    Ok(())
}

/// One by one: they are few.
async fn save_refused(server: &Session, set: &Set) -> Result<(), Unavailable> {
    for (id, refused) in set.refused.iter().filter(|(_, refused)| refused.is_new) {
        let row = RefusalRow::of(&refused.refusal);
        let sql = "INSERT INTO refused (request_id, request, reason, state, left_minor, currency)
             VALUES ($1, $2, $3, $4, $5, $6)";
        server
            .execute(
                sql,
                &[
                    id,
                    &refused.request,
                    &row.reason,
                    &row.state,
                    &row.left_minor,
                    &row.currency,
                ],
            )
            .await?;
    }
    Ok(())
}

/// The columns of rows that are to be written, one array each.
#[derive(Default)]
struct Columns<'a> {
    id: Vec<&'a str>,
    request: Vec<&'a [u8]>,
    intent: Vec<Option<Vec<u8>>>,
    reference: Vec<&'a str>,
    refund_of: Vec<Option<String>>,
    refund_minor: Vec<Option<i64>>,
    state: Vec<i64>,
    failure_step: Vec<Option<&'a str>>,
    failure_reason: Vec<Option<&'a str>>,
    failure_message: Vec<Option<&'a str>>,
    journal: Vec<Vec<u8>>,
    turned: Vec<Option<i64>>,
    version: Vec<i64>,
    worker: Vec<&'a str>,
    create: Vec<i64>,
    update: Vec<i64>,
}

impl<'a> Columns<'a> {
    fn of(rows: &[&'a Row]) -> Self {
        let mut columns = Self::default();
        for row in rows {
            let payment = &row.payment;
            let fixed = Fixed::of(payment);
            let failure = payment.failure.as_ref();
            columns.id.push(&payment.intent.id);
            columns.request.push(&row.request);
            columns.intent.push(fixed.intent);
            columns.reference.push(&payment.intent.reference);
            columns.refund_of.push(fixed.refund_of);
            columns.refund_minor.push(fixed.refund_minor);
            columns.state.push(payment.state as i64);
            columns.failure_step.push(failure.map(|f| &*f.step));
            columns.failure_reason.push(failure.map(|f| &*f.reason));
            columns.failure_message.push(failure.map(|f| &*f.message));
            columns.journal.push(journal_of(payment));
            columns.turned.push(turned(payment));
            columns.version.push(payment.version);
            columns.worker.push(&row.worker);
            columns.create.push(payment.create_micros);
            columns.update.push(payment.update_micros);
        }
        columns
    }
}

/// Writes what changed.
pub(super) async fn save(server: &Session, set: &Set) -> Result<(), Unavailable> {
    let rows = |change| set.rows.values().filter(move |row| row.change == change);
    let mut new: Vec<&Row> = rows(Change::New).collect();
    if !new.is_empty() {
        // In the order of acceptance.
        new.sort_by_key(|row| row.payment.create_micros);
        insert(server, &Columns::of(&new)).await?;
    }
    let changed: Vec<&Row> = rows(Change::Changed).collect();
    if !changed.is_empty() {
        update(server, &Columns::of(&changed)).await?;
    }
    save_refused(server, set).await
}

async fn insert(server: &Session, c: &Columns<'_>) -> Result<(), Unavailable> {
    let sql = "INSERT INTO payment
             (payment_id, request, intent, reference, refund_of, refund_minor, state, failure_step,
              failure_reason, failure_message, journal, turned_micros, version, worker,
              create_micros, update_micros)
         SELECT n.payment_id, n.request, n.intent, n.reference, n.refund_of, n.refund_minor, n.state,
                n.failure_step, n.failure_reason, n.failure_message, n.journal, n.turned_micros,
                n.version, n.worker, n.create_micros, n.update_micros
         FROM UNNEST ($1::text[], $2::bytea[], $3::bytea[], $4::text[], $5::text[], $6::bigint[],
                      $7::bigint[], $8::text[], $9::text[], $10::text[], $11::bytea[],
                      $12::bigint[], $13::bigint[], $14::text[], $15::bigint[], $16::bigint[])
              WITH ORDINALITY
              AS n (payment_id, request, intent, reference, refund_of, refund_minor, state,
                    failure_step, failure_reason, failure_message, journal, turned_micros, version,
                    worker, create_micros, update_micros, nth)
         ORDER BY n.nth";
    server
        .execute(
            sql,
            &[
                &c.id,
                &c.request,
                &c.intent,
                &c.reference,
                &c.refund_of,
                &c.refund_minor,
                &c.state,
                &c.failure_step,
                &c.failure_reason,
                &c.failure_message,
                &c.journal,
                &c.turned,
                &c.version,
                &c.worker,
                &c.create,
                &c.update,
            ],
        )
        .await
        .map(drop)
}

async fn update(server: &Session, c: &Columns<'_>) -> Result<(), Unavailable> {
    let sql = "UPDATE payment AS p
         SET state = n.state, failure_step = n.failure_step, failure_reason = n.failure_reason,
             failure_message = n.failure_message, journal = n.journal,
             turned_micros = n.turned_micros, version = n.version, worker = n.worker,
             update_micros = n.update_micros
         FROM UNNEST ($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bytea[],
                      $7::bigint[], $8::bigint[], $9::text[], $10::bigint[])
              AS n (payment_id, state, failure_step, failure_reason, failure_message, journal,
                    turned_micros, version, worker, update_micros)
         WHERE p.payment_id = n.payment_id";
    server
        .execute(
            sql,
            &[
                &c.id,
                &c.state,
                &c.failure_step,
                &c.failure_reason,
                &c.failure_message,
                &c.journal,
                &c.turned,
                &c.version,
                &c.worker,
                &c.update,
            ],
        )
        .await
        .map(drop)
}

/// What the commands say of workers.
pub(super) async fn note_workers(
    server: &Session,
    commands: &[Command],
) -> Result<(), Unavailable> {
    for command in commands {
        match command {
            Command::Beat { worker } => {
                let sql = "INSERT INTO worker AS w (worker, beats) VALUES ($1, 1)
                     ON CONFLICT (worker) DO UPDATE SET beats = w.beats + 1";
                server.execute(sql, &[worker]).await?;
            }
            // Without waiting for one that is about to beat: it lives.
            Command::Bury { worker, beats } => {
                let sql = "DELETE FROM worker WHERE worker IN
                     (SELECT worker FROM worker WHERE worker = $1 AND beats = $2
                      FOR UPDATE SKIP LOCKED)";
                server.execute(sql, &[worker, beats]).await?;
            }
            Command::Leave { worker } => {
                let sql = "DELETE FROM worker WHERE worker = $1";
                server.execute(sql, &[worker]).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

pub(super) async fn get(
    server: &Session,
    id: &str,
) -> Result<Result<Option<Payment>, Damaged>, Unavailable> {
    let sql = concat!("SELECT ", columns!(), " FROM payment WHERE payment_id = $1");
    let row = server.query_opt(sql, &[&id]).await?;
    let raw = row.as_ref().map(raw).transpose()?;
    Ok(raw.map(Raw::payment).transpose())
}

pub(super) async fn anything_free(server: &Session) -> Result<bool, Unavailable> {
    let sql = "SELECT EXISTS (SELECT 1 FROM payment WHERE state IN (1, 2, 3, 5)
             AND NOT EXISTS (SELECT 1 FROM worker w WHERE w.worker = payment.worker))";
    let row = server.query_opt(sql, &[]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?.unwrap_or(false))
}

pub(super) async fn workers(server: &Session) -> Result<Vec<(String, i64)>, Unavailable> {
    pairs(
        &server
            .query("SELECT worker, beats FROM worker", &[])
            .await?,
    )
}

pub(super) async fn of_worker(
    server: &Session,
    worker: &str,
) -> Result<Vec<(String, i64)>, Unavailable> {
    let sql = "SELECT payment_id, version FROM payment WHERE state IN (1, 2, 3, 5) AND worker = $1";
    pairs(&server.query(sql, &[&worker]).await?)
}

fn pairs(rows: &[SqlRow]) -> Result<Vec<(String, i64)>, Unavailable> {
    let pairs = rows
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    pairs.collect()
}

pub(super) async fn figures(server: &Session, now: i64) -> Result<Figures, Unavailable> {
    let sql = "SELECT state, COUNT(*), MIN(create_micros), MIN(turned_micros) FROM payment
         WHERE state IN (1, 2, 3, 5, 8) GROUP BY state";
    let mut counts = BTreeMap::new();
    let mut oldest = Oldest::default();
    for row in server.query(sql, &[]).await? {
        Figures::count(
            &mut counts,
            &mut oldest,
            row.try_get(0)?,
            row.try_get(1)?,
            row.try_get(2)?,
            row.try_get(3)?,
        );
    }
    Ok(Figures::new(counts, &oldest, now))
}

/// One statement for each index that a list may use; the other limits are checked row by row.
const BY_REFUND: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM payment WHERE place < $1 AND ($2::bigint = 0 OR state = $2)
         AND ($3::text = '' OR reference = $3) AND refund_of = $4
         AND create_micros >= $5 AND create_micros < $6 ORDER BY place DESC LIMIT $7"
);
const BY_REFERENCE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM payment WHERE place < $1 AND ($2::bigint = 0 OR state = $2)
         AND reference = $3 AND $4::text = ''
         AND create_micros >= $5 AND create_micros < $6 ORDER BY place DESC LIMIT $7"
);
const BY_STATE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM payment WHERE place < $1 AND state = $2 AND $3::text = '' AND $4::text = ''
         AND create_micros >= $5 AND create_micros < $6 ORDER BY place DESC LIMIT $7"
);
const BY_PLACE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM payment WHERE place < $1 AND $2::bigint = 0 AND $3::text = '' AND $4::text = ''
         AND create_micros >= $5 AND create_micros < $6 ORDER BY place DESC LIMIT $7"
);

pub(super) type Page = Result<Vec<(i64, Payment)>, Damaged>;

pub(super) async fn list(
    server: &Session,
    filter: &Filter,
    before: i64,
    most: u32,
) -> Result<Page, Unavailable> {
    let state = filter.state.map_or(0, |state: State| state as i64);
    let sql = if !filter.refund_of.is_empty() {
        BY_REFUND
    } else if !filter.reference.is_empty() {
        BY_REFERENCE
    } else if state != 0 {
        BY_STATE
    } else {
        BY_PLACE
    };
    let rows = server
        .query(
            sql,
            &[
                &before,
                &state,
                &filter.reference,
                &filter.refund_of,
                &filter.from_micros.unwrap_or(i64::MIN),
                &filter.until_micros.unwrap_or(i64::MAX),
                &i64::from(most),
            ],
        )
        .await?;
    let raws: Vec<Raw> = rows.iter().map(raw).collect::<Result<_, _>>()?;
    let payments = raws.into_iter().map(|raw| Ok((raw.place, raw.payment()?)));
    Ok(payments.collect())
}

fn raw(row: &SqlRow) -> Result<Raw, Unavailable> {
    Ok(Raw {
        id: row.try_get(0)?,
        request: row.try_get(1)?,
        intent: row.try_get(2)?,
        refund_of: row.try_get(3)?,
        state: row.try_get(4)?,
        failure_step: row.try_get(5)?,
        failure_reason: row.try_get(6)?,
        failure_message: row.try_get(7)?,
        journal: row.try_get(8)?,
        version: row.try_get(9)?,
        worker: row.try_get(10)?,
        create_micros: row.try_get(11)?,
        update_micros: row.try_get(12)?,
        place: row.try_get(13)?,
    })
}
