//! Requests into values of the domain and the store; every field that breaks its limit is noted.

use mizan::{
    request::{
        METADATA_MAX, PageToken, id, metadata, page_size, read_micros, reference, required_text,
        text,
    },
    status::Violations,
};
use mizan_contracts::{accounting::v1 as pb, r#type::v1 as pb_type};
use money::{Currency, Money};
use prost::Message;
use prost_types::{Duration, Timestamp};
use tonic::Status;

use super::{order, refuse};
use crate::{
    domain::{
        About, AccountType, Action, Hold, Leg, Limit, Micros, NewAccount, NewTransaction, Side,
        State, Transaction,
    },
    store::{AccountFilter, AsOf, Filter, LABELS_MAX},
};

const DISPLAY_NAME_CHARS_MAX: usize = 256;
const DESCRIPTION_CHARS_MAX: usize = 512;
const LEGS: std::ops::RangeInclusive<usize> = 2..=1000;
const PAGE_SIZE_DEFAULT: u32 = 50;
const PAGE_SIZE_MAX: u32 = 1000;

/// How many transactions a batch may have.
pub(super) const BATCH: std::ops::RangeInclusive<usize> = 1..=1000;

/// How much a batch may be: its answer says some hundred bytes more of each transaction, and must stay
/// within the 4 MiB that gRPC clients accept by default.
pub(super) const BATCH_BYTES_MAX: usize = 3840 << 10;

/// The longest that something is pending on its own: ten years.
const TIMEOUT_DAYS_MAX: i64 = 3650;
const MICROS_PER_SECOND: i64 = 1_000_000;

/// The most balances that one read takes; an answer holds about as many.
const BALANCES_MAX: u32 = 10_000;

const ENTRIES_DEFAULT: i64 = 10_000;
const ENTRIES_MAX: i64 = 50_000;

/// The account to create; none if its type or currency was noted.
pub(super) fn account(
    request: &pb::CreateAccountRequest,
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
    let limit = limit(request.limit);
    violations.require(limit.is_some(), "limit", "is not a known limit");
    Some(NewAccount {
        account_id: request.account_id.clone(),
        account_type: account_type?,
        currency: currency?,
        limit: limit?,
    })
}

fn limit(number: i32) -> Option<Limit> {
    match pb::AccountLimit::try_from(number).ok()? {
        pb::AccountLimit::Unspecified => Some(Limit::None),
        pb::AccountLimit::DebitsMustNotExceedCredits => Some(Limit::DebitsWithinCredits),
        pb::AccountLimit::CreditsMustNotExceedDebits => Some(Limit::CreditsWithinDebits),
    }
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

/// The transaction to record; `prefix` leads to it within the request.
pub(super) fn transaction(
    request: &pb::RecordTransactionRequest,
    prefix: &str,
) -> Result<NewTransaction, Status> {
    let mut violations = Within {
        prefix,
        violations: Violations::new(),
    };
    let about = about(
        &mut violations,
        &request.request_id,
        &request.description,
        &request.reference,
        &request.metadata,
        request.effective_time.as_ref(),
    );
    let timeout = violations.read(|v| timeout(request, v));
    let legs = violations.read(|v| legs(&request.legs, v));
    violations.violations.check()?;
    let transaction = Transaction::new(legs);
    Ok(NewTransaction {
        transaction: transaction.map_err(|e| refuse::not_a_transaction(e, prefix))?,
        about,
        hold: request.pending.then_some(Hold { timeout }),
    })
}

/// What is wrong with a part of a request, named from the whole of it.
struct Within<'a> {
    prefix: &'a str,
    violations: Violations,
}

impl Within<'_> {
    fn read<T>(&mut self, read: impl FnOnce(&mut Violations) -> T) -> T {
        if self.prefix.is_empty() {
            return read(&mut self.violations);
        }
        let mut inner = Violations::new();
        let value = read(&mut inner);
        for (field, description) in inner.into_fields() {
            self.violations
                .add(format!("{}{field}", self.prefix), description);
        }
        value
    }
}

fn about(
    violations: &mut Within<'_>,
    request_id: &str,
    description: &str,
    reference_: &str,
    pairs: &std::collections::BTreeMap<String, String>,
    effective_time: Option<&Timestamp>,
) -> About {
    violations.read(|v| {
        id("request_id", request_id, v);
        text(DESCRIPTION_CHARS_MAX, "description", description, v);
        reference(reference_, v);
        metadata(METADATA_MAX, pairs, v);
        About {
            reference: reference_.to_owned(),
            effective_time: time("effective_time", effective_time, v),
            metadata: pairs.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        }
    })
}

fn time(field: &str, time: Option<&Timestamp>, violations: &mut Violations) -> Option<Micros> {
    violations.keep(field, read_micros(time?))
}

fn timeout(request: &pb::RecordTransactionRequest, violations: &mut Violations) -> Option<Micros> {
    let timeout = request.timeout.as_ref()?;
    violations.require(
        request.pending,
        "timeout",
        "is only for a pending transaction",
    );
    violations.keep("timeout", read_timeout(timeout))
}

fn read_timeout(timeout: &Duration) -> Result<Micros, &'static str> {
    let seconds_max = TIMEOUT_DAYS_MAX * 86_400;
    let out_of_range = "must be above zero and at most 3650 days";
    if !(0..1_000_000_000).contains(&timeout.nanos) || !(0..=seconds_max).contains(&timeout.seconds)
    {
        return Err(out_of_range);
    }
    let micros = timeout.seconds * MICROS_PER_SECOND + i64::from(timeout.nanos) / 1_000;
    if micros == 0 || micros > seconds_max * MICROS_PER_SECOND {
        return Err(out_of_range);
    }
    Ok(micros)
}

/// The legs of the transaction to record: all of them, unless something was noted.
fn legs(legs: &[pb::Leg], violations: &mut Violations) -> Vec<Leg> {
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

/// What PostTransaction asks.
pub(super) fn post(request: &pb::PostTransactionRequest) -> Result<Action, Status> {
    let mut violations = Violations::new();
    id("request_id", &request.request_id, &mut violations);
    let target = &request.transaction_id;
    id("transaction_id", target, &mut violations);
    violations.require(
        request.amounts.len() <= *LEGS.end(),
        "amounts",
        "must be at most 1000",
    );
    let mut amounts: Vec<Money> = Vec::with_capacity(request.amounts.len().min(*LEGS.end()));
    for (index, amount) in request.amounts.iter().take(*LEGS.end()).enumerate() {
        let field = format!("amounts[{index}]");
        let amount = violations.keep(field.clone(), pb_type::Money::read(Some(amount)));
        let Some(amount) = amount else { continue };
        violations.require(!amount.is_negative(), field, "is below zero");
        amounts.push(amount);
    }
    violations.check()?;
    Ok(Action::Post {
        transaction_id: target.clone(),
        amounts: (!amounts.is_empty()).then_some(amounts),
    })
}

/// What ReverseTransaction asks.
pub(super) fn reverse(request: &pb::ReverseTransactionRequest) -> Result<Action, Status> {
    let mut violations = Within {
        prefix: "",
        violations: Violations::new(),
    };
    let about = about(
        &mut violations,
        &request.request_id,
        &request.description,
        &request.reference,
        &request.metadata,
        request.effective_time.as_ref(),
    );
    let mut violations = violations.violations;
    id("transaction_id", &request.transaction_id, &mut violations);
    violations.check()?;
    Ok(Action::Reverse {
        transaction_id: request.transaction_id.clone(),
        about,
    })
}

/// A list's request as text, which its page tokens are sealed with.
pub(super) fn shown(request: &impl Message) -> String {
    let bytes = request.encode_to_vec();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Which accounts to list.
pub(super) fn account_filter(
    request: &pb::ListAccountsRequest,
    tokens: &PageToken<'_>,
    violations: &mut Violations,
) -> AccountFilter {
    let (default, max) = (PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX);
    let limit = page_size(request.page_size, default, max, violations);
    let kind = pb::AccountType::try_from(request.r#type);
    violations.require(kind.is_ok(), "type", "is not a known type");
    let code = &request.currency_code;
    let known = code.is_empty() || code.parse::<Currency>().is_ok();
    violations.require(known, "currency_code", "is not an ISO 4217 currency");
    let state = pb::AccountStateFilter::try_from(request.state);
    violations.require(state.is_ok(), "state", "is not a known state");
    AccountFilter {
        account_type: kind.ok().and_then(account_type),
        currency: (!code.is_empty()).then(|| code.clone()),
        closed: match state {
            Ok(pb::AccountStateFilter::Open) => Some(false),
            Ok(pb::AccountStateFilter::Closed) => Some(true),
            Ok(pb::AccountStateFilter::Unspecified) | Err(_) => None,
        },
        after: tokens.read(&request.page_token, violations).unwrap_or(0),
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
    }
}

/// As of when a balance is asked for.
pub(super) fn as_of(
    request: &pb::GetBalanceRequest,
    now: Micros,
    violations: &mut Violations,
) -> AsOf {
    id("account_id", &request.account_id, violations);
    let recorded = request.recorded_as_of.as_ref();
    let effective = request.effective_as_of.as_ref();
    AsOf {
        now,
        recorded: time("recorded_as_of", recorded, violations),
        effective: time("effective_as_of", effective, violations),
    }
}

/// After which account a page of the trial balance begins, and how many it may have.
pub(super) fn trial_page(
    request: &pb::GetTrialBalanceRequest,
    tokens: &PageToken<'_>,
    violations: &mut Violations,
) -> (Option<i64>, usize) {
    let limit = page_size(request.page_size, BALANCES_MAX, BALANCES_MAX, violations);
    let after = tokens.read(&request.page_token, violations);
    (after, usize::try_from(limit).unwrap_or(usize::MAX))
}

/// After which entry to check, and how many.
pub(super) fn verification(
    request: &pb::VerifyJournalRequest,
    violations: &mut Violations,
) -> (i64, i64) {
    let after = request.after_sequence;
    violations.require(after >= 0, "after_sequence", "is negative");
    let asked = i64::from(request.max_entries);
    violations.require(asked >= 0, "max_entries", "is negative");
    let limit = if asked == 0 { ENTRIES_DEFAULT } else { asked };
    (after, limit.min(ENTRIES_MAX))
}

/// Which transactions to list, from the place of the page token on.
pub(super) fn filter(
    request: &pb::ListTransactionsRequest,
    tokens: &PageToken<'_>,
    now: Micros,
    violations: &mut Violations,
) -> Filter {
    let (default, max) = (PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX);
    let limit = page_size(request.page_size, default, max, violations);
    if !request.account_id.is_empty() {
        id("account_id", &request.account_id, violations);
    }
    reference(&request.reference, violations);
    metadata(LABELS_MAX, &request.metadata, violations);
    let state = pb::TransactionState::try_from(request.state);
    violations.require(state.is_ok(), "state", "is not a known state");
    let order = order(&request.order_by);
    let words = "must be sequence, or sequence desc";
    violations.require(order.is_some(), "order_by", words);
    let effective_from = request.effective_from.as_ref();
    let effective_before = request.effective_before.as_ref();
    let recorded_from = request.recorded_from.as_ref();
    let recorded_before = request.recorded_before.as_ref();
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    let labels = request.metadata.iter();
    Filter {
        now,
        account_id: given(&request.account_id),
        reference: given(&request.reference),
        labels: labels.map(|(k, v)| (k.clone(), v.clone())).collect(),
        state: match state {
            Ok(pb::TransactionState::Posted) => Some(State::Posted),
            Ok(pb::TransactionState::Pending) => Some(State::Pending),
            Ok(pb::TransactionState::Voided) => Some(State::Voided),
            Ok(pb::TransactionState::Expired) => Some(State::Expired),
            Ok(pb::TransactionState::Unspecified) | Err(_) => None,
        },
        effective_from: time("effective_from", effective_from, violations),
        effective_before: time("effective_before", effective_before, violations),
        recorded_from: time("recorded_from", recorded_from, violations),
        recorded_before: time("recorded_before", recorded_before, violations),
        order: order.unwrap_or_default(),
        after: tokens.read(&request.page_token, violations),
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
    }
}
