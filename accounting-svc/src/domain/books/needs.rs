//! Which part of the books some commands touch.

use std::collections::BTreeSet;

use crate::domain::{Action, Call, Command, Micros};

/// What to load before [`crate::domain::Books::apply`]. Of what does not exist, nothing is loaded.
#[derive(Debug, Default)]
pub struct Needs<'a> {
    /// The latest of the commands' clocks.
    pub now: Micros,
    /// Accounts, by id; and those on the legs of the transactions.
    pub accounts: BTreeSet<&'a str>,
    /// Transactions, by id: those that requests name, and those that they may have recorded before.
    pub transactions: BTreeSet<&'a str>,
    /// Whether any of these is named by a request, so that it is likely to exist.
    pub names_transactions: bool,
    /// Requests that may have been done before, but for those that record transactions.
    pub requests: BTreeSet<(Call, &'a str)>,
    /// Requests that may have been refused before, by the space of their ids.
    pub refusals: BTreeSet<(Call, &'a str)>,
}

impl<'a> Needs<'a> {
    /// What these commands touch.
    #[must_use]
    pub fn of(commands: &'a [Command]) -> Self {
        let mut needs = Self {
            now: commands.iter().map(|c| c.now).max().unwrap_or(Micros::MIN),
            ..Self::default()
        };
        for request in commands.iter().flat_map(|c| &c.requests) {
            let call = request.action.call();
            needs
                .refusals
                .insert((call.space(), request.request_id.as_str()));
            if call.space() == Call::Record {
                needs.transactions.insert(&request.request_id);
            } else {
                needs.requests.insert((call, &request.request_id));
            }
            match &request.action {
                Action::CreateAccount(new) => {
                    needs.accounts.insert(&new.account_id);
                }
                Action::CloseAccount(account_id) | Action::ReopenAccount(account_id) => {
                    needs.accounts.insert(account_id);
                }
                Action::Record(new) => {
                    let legs = new.transaction.legs().iter();
                    needs.accounts.extend(legs.map(|leg| leg.account_id()));
                }
                Action::Post { transaction_id, .. }
                | Action::Void(transaction_id)
                | Action::Reverse { transaction_id, .. } => {
                    needs.transactions.insert(transaction_id);
                    needs.names_transactions = true;
                }
            }
        }
        needs
    }
}
