//! Loading and saving the books on PostgreSQL: one statement a table a group, and what can be sent
//! together is. The head's row is locked first, so groups of several instances take turns.

use std::collections::{BTreeSet, HashMap};

use ::store::{
    Unavailable,
    postgres::{Row, Session, ToSql},
};
use futures_util::try_join;

use crate::domain::{
    Books, Call, Command, Counters, Earlier, Finished, Head, Leg, Needs, Numbered as _,
    TransactionRecord,
};

use super::{
    file::{entry_of, ids, refused, too_large},
    reader::Cells,
    rows::{self, select_holding, select_legs, select_transaction},
};

const LOCK_HEAD: &str = "SELECT sequence, record_time, transactions, hash, accounts, accounts_hash
                         FROM head FOR UPDATE";
const REFUSED: &str = "SELECT space, request_id, call, body, reason, field, description
                       FROM refused WHERE request_id = ANY($1)";
const CREATED: &str = "SELECT request_id, body FROM account WHERE request_id = ANY($1)";
const DONE: &str = "SELECT kind, request_id, body FROM journal
                    WHERE kind = ANY($1) AND request_id = ANY($2)";
const BY_ID: &str = select_transaction!(
    "FROM journal j",
    "WHERE j.transaction_id = ANY($1) AND j.kind <= 3"
);
const DUE: &str = select_transaction!(
    "FROM hold h JOIN journal j ON j.sequence = h.sequence",
    "WHERE h.expire_time <= $1"
);
const LEGS: &str = select_legs!("WHERE l.sequence = ANY($1)");
const HOLDINGS: &str = select_holding!("WHERE a.account_id = ANY($1)");
const TOTALS: &str = "SELECT currency, debits, credits, pending_debits, pending_credits FROM total";

pub(super) async fn load(
    server: &Session,
    commands: &[Command],
) -> Result<(Head, Books), Unavailable> {
    let needs = Needs::of(commands);
    let head = server.query_opt(LOCK_HEAD, &[]).await?;
    let head = head.as_ref().map(|row| rows::head(&cells(row)?));
    let head = head.transpose()?.flatten();
    let head = head.ok_or_else(|| Unavailable::damaged("no head"))?;
    let mut books = Books::new(head, needs.now);
    let time = books.time();

    let refusals = distinct(needs.refusals.iter().map(|(_, id)| *id));
    let transactions: Vec<&str> = needs.transactions.iter().copied().collect();
    let accounts: Vec<&str> = needs.accounts.iter().copied().collect();
    let by_time: [&(dyn ToSql + Sync); 1] = [&time];
    let (holdings, totals, recorded, kept, due) = try_join!(
        some(server, HOLDINGS, &accounts),
        server.query(TOTALS, &[]),
        some(server, BY_ID, &transactions),
        some(server, REFUSED, &refusals),
        server.query(DUE, &by_time),
    )?;
    for row in &holdings {
        let row = cells(row)?;
        books.put_account(row.text(0)?, rows::holding(&row)?);
    }
    for row in &totals {
        let row = cells(row)?;
        let numbers = [row.int(1)?, row.int(2)?, row.int(3)?, row.int(4)?];
        let currency = row.currency(0)?;
        books.put_total(currency, Counters::of_row(currency, numbers));
    }
    for row in &kept {
        load_refusal(&cells(row)?, &needs, &mut books)?;
    }
    if !needs.requests.is_empty() {
        load_requests(server, &needs, &mut books).await?;
    }
    let due_ids = load_transactions(server, &recorded, &due, &mut books).await?;
    books.expire(&due_ids);
    Ok((head, books))
}

fn distinct<'a>(ids: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    ids.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Asks for those ids, if there are any.
async fn some(server: &Session, sql: &'static str, ids: &[&str]) -> Result<Vec<Row>, Unavailable> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    server.query(sql, &[&ids]).await
}

fn cells(row: &Row) -> Result<Cells, Unavailable> {
    Cells::of_server(row)
}

fn load_refusal(row: &Cells, needs: &Needs<'_>, books: &mut Books) -> Result<(), Unavailable> {
    let (space, request_id): (Call, _) = (row.word(0)?, row.text(1)?);
    if needs.refusals.contains(&(space, request_id)) {
        let body = row.blob(3)?.to_vec();
        let (field, description) = (row.text(5)?.to_owned(), row.text(6)?.to_owned());
        let earlier = refused(row.int(2)?, body, row.text(4)?, field, description)?;
        books.put_earlier(space, request_id, earlier);
    }
    Ok(())
}

async fn load_requests(
    server: &Session,
    needs: &Needs<'_>,
    books: &mut Books,
) -> Result<(), Unavailable> {
    let of = |created: bool| {
        let requests = needs.requests.iter();
        let requests = requests.filter(move |(call, _)| entry_of(*call).is_none() == created);
        distinct(requests.map(|(_, id)| *id))
    };
    let (creating, changing) = (of(true), of(false));
    for row in some(server, CREATED, &creating).await? {
        let row = cells(&row)?;
        let earlier = Earlier::Done(row.blob(1)?.into());
        books.put_earlier(Call::CreateAccount, row.text(0)?, earlier);
    }
    if changing.is_empty() {
        return Ok(());
    }
    let calls = needs.requests.iter().map(|(call, _)| *call);
    let calls: BTreeSet<Call> = calls.collect();
    let kinds: Vec<i64> = calls
        .iter()
        .filter_map(|c| Some(entry_of(*c)?.number()))
        .collect();
    for row in server.query(DONE, &[&kinds, &changing]).await? {
        let row = cells(&row)?;
        let call = calls
            .iter()
            .find(|call| entry_of(**call).map(|kind| kind.number()) == row.int(0).ok());
        if let Some(call) = call {
            let earlier = Earlier::Done(row.blob(2)?.into());
            books.put_earlier(*call, row.text(1)?, earlier);
        }
    }
    Ok(())
}

/// Puts in transactions with their legs and the accounts on these; returns the ids of those due.
async fn load_transactions(
    server: &Session,
    recorded: &[Row],
    due: &[Row],
    books: &mut Books,
) -> Result<Vec<String>, Unavailable> {
    if recorded.is_empty() && due.is_empty() {
        return Ok(Vec::new());
    }
    let mut found: HashMap<i64, (TransactionRecord, Option<i64>)> = HashMap::new();
    for row in recorded.iter().chain(due) {
        let (record, posted_at) = rows::transaction(&cells(row)?)?;
        found.insert(record.sequence, (record, posted_at));
    }
    let mut due_ids = Vec::with_capacity(due.len());
    for row in due {
        due_ids.push(cells(row)?.text(2)?.to_owned());
    }
    let posted = found.values().filter_map(|(_, posted_at)| *posted_at);
    let sequences: Vec<i64> = found.keys().copied().chain(posted).collect();
    let mut legs: HashMap<i64, Vec<(i64, i64, Leg)>> = HashMap::new();
    for row in server.query(LEGS, &[&sequences]).await? {
        let leg = rows::leg(&cells(&row)?)?;
        legs.entry(leg.0).or_default().push(leg);
    }
    let mut accounts = BTreeSet::new();
    for (record, posted_at) in found.values_mut() {
        let places = [Some(record.sequence), *posted_at];
        let own = places.iter().flatten().filter_map(|place| legs.get(place));
        rows::complete(record, *posted_at, own.flatten());
        let ids = record.legs.iter().map(Leg::account_id);
        accounts.extend(ids.filter(|id| !books.has_account(id)).map(str::to_owned));
    }
    let accounts: Vec<&str> = accounts.iter().map(String::as_str).collect();
    for row in some(server, HOLDINGS, &accounts).await? {
        let row = cells(&row)?;
        books.put_account(row.text(0)?, rows::holding(&row)?);
    }
    for (record, _) in found.into_values() {
        books.put_transaction(record);
    }
    Ok(due_ids)
}

/// A column of the rows to write.
macro_rules! column {
    ($rows:expr, $row:pat => $value:expr) => {
        $rows.iter().map(|$row| $value).collect::<Vec<_>>()
    };
}

/// Writes what changed; the head goes last and seals it.
pub(super) async fn save(server: &Session, finished: &Finished) -> Result<(), Unavailable> {
    if finished.changes.is_empty() {
        return Ok(());
    }
    save_accounts(server, finished).await?;
    try_join!(
        save_journal(server, finished),
        save_legs(server, finished),
        save_turnover(server, finished),
        save_totals(server, finished),
        save_holds(server, finished),
        save_labels(server, finished),
        save_refusals(server, finished),
    )?;
    // Not with the others: a statement that is prepared already overtakes one that is not.
    save_head(server, finished).await
}

async fn execute(
    server: &Session,
    sql: &'static str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<(), Unavailable> {
    server.execute(sql, params).await.map(drop)
}

async fn save_accounts(server: &Session, finished: &Finished) -> Result<(), Unavailable> {
    let rows = &finished.changes.accounts;
    if rows.is_empty() {
        return Ok(());
    }
    execute(
        server,
        "INSERT INTO account (account_key, account_id, type, currency, limits, create_time,
                              request_id, body, hash)
         SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::bigint[],
                              $6::bigint[], $7::text[], $8::bytea[], $9::bytea[])",
        &[
            &column!(rows, r => r.key),
            &column!(rows, r => &*r.new.account_id),
            &column!(rows, r => r.new.account_type.number()),
            &column!(rows, r => r.new.currency.code()),
            &column!(rows, r => r.new.limit.number()),
            &column!(rows, r => r.create_time),
            &column!(rows, r => &*r.request_id),
            &column!(rows, r => &*r.body),
            &column!(rows, r => &r.hash[..]),
        ],
    )
    .await?;
    let mut columns = [const { Vec::new() }; 7];
    for row in rows {
        let holding = finished
            .holding(&row.new.account_id)
            .ok_or_else(too_large)?;
        let [debits, credits, pending_debits, pending_credits] =
            holding.row().ok_or_else(too_large)?;
        let numbers = [
            row.key,
            debits,
            credits,
            pending_debits,
            pending_credits,
            i64::from(holding.record.closed),
            row.new.limit.number(),
        ];
        for (column, number) in columns.iter_mut().zip(numbers) {
            column.push(number);
        }
    }
    let [a, b, c, d, e, f, g] = &columns;
    execute(
        server,
        "INSERT INTO turnover (account_key, debits, credits, pending_debits, pending_credits,
                               closed, limits)
         SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[],
                              $5::bigint[], $6::bigint[], $7::bigint[])",
        &[a, b, c, d, e, f, g],
    )
    .await
}

async fn save_journal(server: &Session, finished: &Finished) -> Result<(), Unavailable> {
    let rows = &finished.changes.entries;
    if rows.is_empty() {
        return Ok(());
    }
    let ids = column!(rows, entry => ids(entry));
    execute(
        server,
        "INSERT INTO journal (sequence, kind, transaction_id, request_id, target, reference,
                              effective_time, record_time, expire_time, body, hash)
         SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bigint[],
                              $6::text[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bytea[],
                              $11::bytea[])",
        &[
            &column!(rows, e => e.sequence),
            &column!(rows, e => e.kind.number()),
            &column!(ids, (transaction_id, _) => &**transaction_id),
            &column!(ids, (_, request_id) => *request_id),
            &column!(rows, e => e.target),
            &column!(rows, e => &*e.reference),
            &column!(rows, e => e.effective_time),
            &column!(rows, e => e.record_time),
            &column!(rows, e => e.expire_time),
            &column!(rows, e => &*e.body),
            &column!(rows, e => &e.hash[..]),
        ],
    )
    .await
}

async fn save_legs(server: &Session, finished: &Finished) -> Result<(), Unavailable> {
    let entries = finished.changes.entries.iter();
    let legs = entries.flat_map(|entry| entry.legs.iter().map(|leg| (entry.sequence, leg)));
    let rows: Vec<_> = legs.collect();
    if rows.is_empty() {
        return Ok(());
    }
    execute(
        server,
        "INSERT INTO leg (sequence, position, account_key, currency, side, amount)
         SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[],
                              $6::bigint[])",
        &[
            &column!(rows, (sequence, _) => *sequence),
            &column!(rows, (_, leg) => leg.position),
            &column!(rows, (_, leg) => leg.account_key),
            &column!(rows, (_, leg) => leg.currency.code()),
            &column!(rows, (_, leg) => leg.side.number()),
            &column!(rows, (_, leg) => leg.minor),
        ],
    )
    .await
}

async fn save_turnover(server: &Session, finished: &Finished) -> Result<(), Unavailable> {
    let mut columns = [const { Vec::new() }; 6];
    for holding in finished.touched() {
        let [debits, credits, pending_debits, pending_credits] =
            holding.row().ok_or_else(too_large)?;
        let closed = i64::from(holding.record.closed);
        let numbers = [
            holding.key,
            debits,
            credits,
            pending_debits,
            pending_credits,
            closed,
        ];
        for (column, number) in columns.iter_mut().zip(numbers) {
            column.push(number);
        }
    }
    let [
        keys,
        debits,
        credits,
        pending_debits,
        pending_credits,
        closed,
    ] = &columns;
    if keys.is_empty() {
        return Ok(());
    }
    execute(
        server,
        "UPDATE turnover t SET debits = n.a, credits = n.b, pending_debits = n.c,
                pending_credits = n.d, closed = n.e
         FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],
                     $6::bigint[]) AS n(k, a, b, c, d, e)
         WHERE t.account_key = n.k",
        &[
            keys,
            debits,
            credits,
            pending_debits,
            pending_credits,
            closed,
        ],
    )
    .await
}

async fn save_totals(server: &Session, finished: &Finished) -> Result<(), Unavailable> {
    let mut codes = Vec::new();
    let mut columns = [const { Vec::new() }; 4];
    for (currency, counters) in finished.totals() {
        codes.push(currency.code().to_owned());
        let numbers = counters.row().ok_or_else(too_large)?;
        for (column, number) in columns.iter_mut().zip(numbers) {
            column.push(number);
        }
    }
    if codes.is_empty() {
        return Ok(());
    }
    let [a, b, c, d] = &columns;
    execute(
        server,
        "INSERT INTO total (currency, debits, credits, pending_debits, pending_credits)
         SELECT * FROM UNNEST($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
         ON CONFLICT (currency) DO UPDATE SET
             debits = excluded.debits, credits = excluded.credits,
             pending_debits = excluded.pending_debits, pending_credits = excluded.pending_credits",
        &[&codes, a, b, c, d],
    )
    .await
}

async fn save_holds(server: &Session, finished: &Finished) -> Result<(), Unavailable> {
    let changes = &finished.changes;
    if !changes.held.is_empty() {
        execute(
            server,
            "INSERT INTO hold (sequence, expire_time)
             SELECT * FROM UNNEST($1::bigint[], $2::bigint[])",
            &[
                &column!(changes.held, (sequence, _) => *sequence),
                &column!(changes.held, (_, expire_time) => *expire_time),
            ],
        )
        .await?;
    }
    if !changes.released.is_empty() {
        let sql = "DELETE FROM hold WHERE sequence = ANY($1)";
        execute(server, sql, &[&changes.released]).await?;
    }
    Ok(())
}

async fn save_labels(server: &Session, finished: &Finished) -> Result<(), Unavailable> {
    let rows = &finished.changes.labels;
    if rows.is_empty() {
        return Ok(());
    }
    execute(
        server,
        "INSERT INTO label (sequence, key, value)
         SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::text[])",
        &[
            &column!(rows, (sequence, ..) => *sequence),
            &column!(rows, (_, key, _) => &**key),
            &column!(rows, (.., value) => &**value),
        ],
    )
    .await
}

async fn save_refusals(server: &Session, finished: &Finished) -> Result<(), Unavailable> {
    let rows = &finished.changes.refusals;
    if rows.is_empty() {
        return Ok(());
    }
    execute(
        server,
        "INSERT INTO refused
             (space, request_id, call, reason, field, description, record_time, body)
         SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[],
                              $6::text[], $7::bigint[], $8::bytea[])",
        &[
            &column!(rows, r => r.call.space().number()),
            &column!(rows, r => &*r.request_id),
            &column!(rows, r => r.call.number()),
            &column!(rows, r => r.refusal.reason.as_str()),
            &column!(rows, r => &*r.refusal.field),
            &column!(rows, r => &*r.refusal.description),
            &column!(rows, r => r.record_time),
            &column!(rows, r => &*r.body),
        ],
    )
    .await
}

async fn save_head(server: &Session, finished: &Finished) -> Result<(), Unavailable> {
    let head = &finished.head;
    execute(
        server,
        "UPDATE head SET sequence = $1, record_time = $2, transactions = $3, hash = $4,
                accounts = $5, accounts_hash = $6",
        &[
            &head.sequence,
            &head.record_time,
            &head.transactions,
            &&head.hash[..],
            &head.accounts,
            &&head.accounts_hash[..],
        ],
    )
    .await
}
