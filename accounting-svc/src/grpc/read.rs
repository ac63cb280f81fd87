//! Requests into values of the domain and the store; every field that breaks its limit is noted.

use std::collections::BTreeMap;

use mizan::status::Violations;
use mizan_contracts::{accounting::v1 as pb, r#type::v1 as pb_type};
use money::Currency;
use prost::Message as _;

use super::{page_token, time};
use crate::{
    domain::{AccountType, InvalidTransaction, Leg, Side, Transaction},
    store::{Filter, Micros, NewAccount, NewTransaction},
};

const ID_CHARS_MAX: usize = 128;
const DISPLAY_NAME_CHARS_MAX: usize = 256;
const DESCRIPTION_CHARS_MAX: usize = 512;
const REFERENCE_CHARS_MAX: usize = 256;
const METADATA_ENTRIES_MAX: usize = 64;
const METADATA_KEY_CHARS_MAX: usize = 128;
const METADATA_VALUE_CHARS_MAX: usize = 512;
const LEGS: std::ops::RangeInclusive<usize> = 2..=1000;
const PAGE_SIZE_DEFAULT: usize = 50;
const PAGE_SIZE_MAX: usize = 1000;

/// The most legs of one request that violations are told of: a status travels in HTTP headers,
/// which clients bound to some 16 KiB.
const LEGS_TOLD_MAX: usize = 8;

/// Whether an id is well-formed; what is wrong with it is noted.
pub(super) fn id(violations: &mut Violations, field: &str, id: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
    if id.is_empty() {
        violations.add(field, "is required");
        return false;
    }
    let fine = id.len() <= ID_CHARS_MAX && id.bytes().all(allowed);
    violations.require(fine, field, "is not 1 to 128 characters of [A-Za-z0-9._:-]");
    fine
}

fn text(violations: &mut Violations, field: &str, text: &str, chars_max: usize) {
    // Characters are never more than bytes, so most texts need no counting.
    if text.len() > chars_max && text.chars().count() > chars_max {
        violations.add(field, format!("is longer than {chars_max} characters"));
    }
}

fn metadata(violations: &mut Violations, metadata: &BTreeMap<String, String>) {
    let field = "metadata";
    violations.require(
        metadata.len() <= METADATA_ENTRIES_MAX,
        field,
        "has more than 64 entries",
    );
    // Keys are not repeated in the answer: they may be anything.
    let key_fits = |key: &String| (1..=METADATA_KEY_CHARS_MAX).contains(&key.chars().count());
    violations.require(
        metadata.keys().all(key_fits),
        field,
        "has a key that is not 1 to 128 characters",
    );
    let value_fits = |value: &String| value.chars().count() <= METADATA_VALUE_CHARS_MAX;
    violations.require(
        metadata.values().all(value_fits),
        field,
        "has a value longer than 512 characters",
    );
}

/// The account to create; none if anything was noted.
pub(super) fn account(
    violations: &mut Violations,
    request: &pb::CreateAccountRequest,
    now: Micros,
) -> Option<NewAccount> {
    id(violations, "request_id", &request.request_id);
    id(violations, "account_id", &request.account_id);
    violations.require(
        !request.display_name.is_empty(),
        "display_name",
        "is required",
    );
    text(
        violations,
        "display_name",
        &request.display_name,
        DISPLAY_NAME_CHARS_MAX,
    );
    let account_type = account_type(request.r#type());
    violations.require(
        account_type.is_some(),
        "type",
        if request.r#type == 0 {
            "is required"
        } else {
            "is not a known type"
        },
    );
    let currency: Option<Currency> = request.currency_code.parse().ok();
    violations.require(
        currency.is_some(),
        "currency_code",
        if request.currency_code.is_empty() {
            "is required"
        } else {
            "is not an ISO 4217 currency"
        },
    );
    metadata(violations, &request.metadata);
    Some(NewAccount {
        request_id: request.request_id.clone(),
        account_id: request.account_id.clone(),
        account_type: account_type?,
        currency: currency?,
        body: request.encode_to_vec(),
        now,
    })
}

const fn account_type(message: pb::AccountType) -> Option<AccountType> {
    match message {
        pb::AccountType::Unspecified => None,
        pb::AccountType::Asset => Some(AccountType::Asset),
        pb::AccountType::Liability => Some(AccountType::Liability),
        pb::AccountType::Equity => Some(AccountType::Equity),
        pb::AccountType::Income => Some(AccountType::Income),
        pb::AccountType::Expense => Some(AccountType::Expense),
    }
}

/// The legs of the transaction to record, each within its limits; none if anything was noted about
/// them.
pub(super) fn legs(violations: &mut Violations, legs: &[pb::Leg]) -> Option<Vec<Leg>> {
    if !LEGS.contains(&legs.len()) {
        violations.add("legs", "must be 2 to 1000");
        return None;
    }
    let mut read = Vec::with_capacity(legs.len());
    let mut told = 0;
    for (index, message) in legs.iter().enumerate() {
        match leg(violations, index, message) {
            Some(leg) => read.push(leg),
            None => told += 1,
        }
        if told == LEGS_TOLD_MAX {
            break;
        }
    }
    (told == 0).then_some(read)
}

fn leg(violations: &mut Violations, index: usize, leg: &pb::Leg) -> Option<Leg> {
    let field = |part: &str| format!("legs[{index}].{part}");
    let named = id(violations, &field("account_id"), &leg.account_id);
    let side = match leg.side() {
        pb::Side::Debit => Some(Side::Debit),
        pb::Side::Credit => Some(Side::Credit),
        pb::Side::Unspecified => None,
    };
    let missing = if leg.side == 0 {
        "is required"
    } else {
        "is not a known side"
    };
    violations.require(side.is_some(), field("side"), missing);
    let amount = pb_type::Money::read(leg.amount.as_ref());
    let amount = violations.keep(field("amount"), amount)?;
    // Made also without a side, so that an amount that cannot be moved is told of as well.
    let made = Leg::new(&*leg.account_id, side.unwrap_or(Side::Debit), amount);
    let made = violations.keep(field("amount"), made)?;
    (named && side.is_some()).then_some(made)
}

/// The limits of a transaction's fields other than its legs.
pub(super) fn transaction_fields(
    violations: &mut Violations,
    request: &pb::RecordTransactionRequest,
) -> Option<Micros> {
    id(violations, "request_id", &request.request_id);
    text(
        violations,
        "description",
        &request.description,
        DESCRIPTION_CHARS_MAX,
    );
    text(
        violations,
        "reference",
        &request.reference,
        REFERENCE_CHARS_MAX,
    );
    metadata(violations, &request.metadata);
    let effective_time = request.effective_time.as_ref()?;
    violations.keep("effective_time", time::read(effective_time))
}

/// The transaction to record, of legs that are within their limits.
pub(super) fn transaction(
    request: &pb::RecordTransactionRequest,
    legs: Vec<Leg>,
    effective_time: Option<Micros>,
    now: Micros,
) -> Result<NewTransaction, InvalidTransaction> {
    Ok(NewTransaction {
        request_id: request.request_id.clone(),
        transaction: Transaction::new(legs)?,
        reference: request.reference.clone(),
        effective_time,
        body: request.encode_to_vec(),
        now,
    })
}

pub(super) fn filter(violations: &mut Violations, request: &pb::ListTransactionsRequest) -> Filter {
    let limit = match usize::try_from(request.page_size) {
        Ok(0) => PAGE_SIZE_DEFAULT,
        Ok(size) => size.min(PAGE_SIZE_MAX),
        Err(_) => {
            violations.add("page_size", "is below zero");
            0
        }
    };
    let (account_id, reference) = (&request.account_id, &request.reference);
    if !account_id.is_empty() {
        id(violations, "account_id", account_id);
    }
    text(violations, "reference", reference, REFERENCE_CHARS_MAX);
    let mut after = 0;
    if !request.page_token.is_empty() {
        match page_token::read(&request.page_token, account_id, reference) {
            Ok(place) => after = place,
            Err(page_token::Foreign) => {
                violations.add(
                    "page_token",
                    "is not the next_page_token of a list with these filters",
                );
            }
        }
    }
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    Filter {
        account_id: given(account_id),
        reference: given(reference),
        after,
        limit,
    }
}
