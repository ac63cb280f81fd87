//! Refusals, remembered with the request they answered.

use ::store::{
    Unavailable,
    rusqlite::{Connection, OptionalExtension as _, params},
};

use crate::{
    domain::{Reason, Refusal},
    store::{Micros, Outcome, columns},
};

/// The calls whose refusals are remembered; each has request ids of its own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    CreateAccount,
    RecordTransaction,
}

impl Call {
    const fn as_str(self) -> &'static str {
        match self {
            Self::CreateAccount => "CreateAccount",
            Self::RecordTransaction => "RecordTransaction",
        }
    }
}

/// A word in the file that is no reason of this version.
#[derive(Debug, thiserror::Error)]
#[error("unknown reason of a refusal")]
struct UnknownReason;

/// How the id was refused before, if it was; or that it was used with another body.
pub(super) fn find<T>(
    file: &Connection,
    call: Call,
    request_id: &str,
    body: &[u8],
) -> Result<Option<Outcome<T>>, Unavailable> {
    let found = file
        .prepare_cached(
            "SELECT reason, field, description, body FROM refusal
             WHERE call = ?1 AND request_id = ?2",
        )?
        .query_row(params![call.as_str(), request_id], |row| {
            let reason = Reason::from_word(row.get_ref(0)?.as_str()?)
                .ok_or_else(|| columns::unreadable(0, UnknownReason))?;
            let refusal = Refusal {
                reason,
                field: row.get(1)?,
                description: row.get(2)?,
            };
            Ok((refusal, row.get::<_, Vec<u8>>(3)?))
        })
        .optional()?;
    Ok(found.map(|(refusal, first)| {
        if first == body {
            Outcome::Refused(refusal)
        } else {
            Outcome::Reused(first)
        }
    }))
}

/// Remembers a refusal and answers with it.
pub(super) fn remember<T>(
    file: &Connection,
    call: Call,
    request_id: &str,
    body: &[u8],
    refusal: Refusal,
    now: Micros,
) -> Result<Outcome<T>, Unavailable> {
    file.prepare_cached(
        "INSERT INTO refusal (call, request_id, reason, field, description, record_time, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        call.as_str(),
        request_id,
        refusal.reason.as_str(),
        refusal.field,
        refusal.description,
        now,
        body
    ])?;
    Ok(Outcome::Refused(refusal))
}
