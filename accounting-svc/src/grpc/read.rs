//! Requests into values of the domain and the store; every field that breaks its limit is noted.

use mizan::{
    request::{
        METADATA_MAX, PageToken, id, metadata, page_size, read_micros, reference, required_text,
        text,
    },
    status::Violations,
};
use mizan_contracts::{accounting::v1 as pb, r#type::v1 as pb_type};
use money::Currency;
use prost::Message as _;

use crate::{
    domain::{AccountType, InvalidTransaction, Leg, Side, Transaction},
    store::{Filter, Micros, NewAccount, NewTransaction},
};

const DISPLAY_NAME_CHARS_MAX: usize = 256;
const DESCRIPTION_CHARS_MAX: usize = 512;
const LEGS: std::ops::RangeInclusive<usize> = 2..=1000;
const PAGE_SIZE_DEFAULT: u32 = 50;
const PAGE_SIZE_MAX: u32 = 1000;

/// The account to create; none if its type or currency was noted.
pub(super) fn account(
    request: &pb::CreateAccountRequest,
    now: Micros,
    violations: &mut Violations,
) -> Option<NewAccount> {
    id("request_id", &request.request_id, violations);
    id("account_id", &request.account_id, violations);
    required_text(
        DISPLAY_NAME_CHARS_MAX,
        "display_name",
        &request.display_name,
        violations,
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
    metadata(METADATA_MAX, &request.metadata, violations);
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

/// The legs of the transaction to record: all of them, unless something was noted.
pub(super) fn legs(legs: &[pb::Leg], violations: &mut Violations) -> Vec<Leg> {
    if !LEGS.contains(&legs.len()) {
        violations.add("legs", "must be 2 to 1000");
        return Vec::new();
    }
    let legs = legs.iter().enumerate();
    legs.filter_map(|(index, message)| leg(index, message, violations))
        .collect()
}

fn leg(index: usize, leg: &pb::Leg, violations: &mut Violations) -> Option<Leg> {
    let field = |part: &str| format!("legs[{index}].{part}");
    id(&field("account_id"), &leg.account_id, violations);
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
    violations.keep(field("amount"), made)
}

/// The limits of a transaction's fields other than its legs; the effective time, if there is one.
pub(super) fn transaction_fields(
    request: &pb::RecordTransactionRequest,
    violations: &mut Violations,
) -> Option<Micros> {
    id("request_id", &request.request_id, violations);
    text(
        DESCRIPTION_CHARS_MAX,
        "description",
        &request.description,
        violations,
    );
    reference(&request.reference, violations);
    metadata(METADATA_MAX, &request.metadata, violations);
    let effective_time = request.effective_time.as_ref()?;
    violations.keep("effective_time", read_micros(effective_time))
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

/// Which transactions to list, from the place of the page token on.
pub(super) fn filter(
    request: &pb::ListTransactionsRequest,
    tokens: &PageToken<'_>,
    violations: &mut Violations,
) -> Filter {
    let (default, max) = (PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX);
    let limit = page_size(request.page_size, default, max, violations);
    if !request.account_id.is_empty() {
        id("account_id", &request.account_id, violations);
    }
    reference(&request.reference, violations);
    let after = tokens.read(&request.page_token, violations);
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    Filter {
        account_id: given(&request.account_id),
        reference: given(&request.reference),
        after: after.unwrap_or(0),
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
    }
}
