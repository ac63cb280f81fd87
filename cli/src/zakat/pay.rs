//! Paying what an assessment says, through the running system.
//!
//! The payment's id derives from the assessment, so paying the same one twice pays once; another
//! amil or amount under the same id is refused by the payment service and not paid.

use std::{collections::BTreeMap, time::Duration};

use mizan::{Channel, InvalidChannel};
use mizan_contracts::{
    payment::v1::{
        Counterparty, Direction, ProcessPaymentRequest,
        payment_service_client::PaymentServiceClient,
    },
    r#type::v1::Money,
    zakat::v1::{AssessRequest, AssessResponse},
};
use prost::Message as _;
use uuid::Uuid;

use crate::{
    reach::{RegistryArgs, Unreachable},
    replay::{
        answer::judge_payment,
        patience::{End, until_known},
    },
    terminal::say,
};

/// The namespace of the ids of zakat payments (a version 5 UUID's). Never changes: an assessment
/// that was paid would be paid again.
const NAMESPACE: Uuid = Uuid::from_u128(0x7a61_6b61_745f_4173_8573_736d_656e_7401);

/// How long one call may take, retries of the channel included.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// Whether, and to whom, to pay.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PayArgs {
    /// Pay what is due in money through the running system (see `mizan up`).
    #[arg(long, requires = "amil")]
    pay: bool,

    /// Who receives and distributes it.
    #[arg(long, value_name = "NAME")]
    amil: Option<String>,

    /// The id by which you know the amil.
    #[arg(long, value_name = "ID", default_value = "")]
    amil_id: String,

    /// The ledger account to debit, which must exist; the currency's expense account by default.
    #[arg(long, value_name = "ACCOUNT", default_value = "")]
    amil_account: String,

    /// The ledger account to credit, which must exist; the currency's cash account by default.
    #[arg(long, value_name = "ACCOUNT", default_value = "")]
    cash_account: String,

    /// How long to go on asking for a payment whose end is not known, in seconds.
    #[arg(long = "patience", default_value_t = 120, value_name = "SECONDS")]
    patience_seconds: u64,

    #[command(flatten)]
    registry: RegistryArgs,
}

/// What was paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Paid {
    /// Nothing is due in money.
    Nothing,
    /// A payment.
    As { payment_id: String, amount: String },
}

/// Why it was not paid.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PayError {
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    #[error(transparent)]
    Channel(#[from] InvalidChannel),
    #[error("the payment {id} was refused: {why}")]
    Refused { id: String, why: String },
    #[error("whether {id} is paid is not known yet ({why}); run it again: nothing is paid twice")]
    Unknown { id: String, why: String },
}

impl PayArgs {
    /// Pays, if that was asked.
    pub(crate) async fn pay(
        &self,
        request: &AssessRequest,
        answer: &AssessResponse,
        owner: Option<&str>,
    ) -> Result<Option<Paid>, PayError> {
        let Some(amil) = self.amil.as_deref().filter(|_| self.pay) else {
            return Ok(None);
        };
        let due = answer.total_due.clone().unwrap_or_default();
        if due.units == 0 && due.nanos == 0 {
            return Ok(Some(Paid::Nothing));
        }
        let payment = self.payment(request, answer, owner, amil, due.clone());
        self.registry.connect().await?;
        let client = PaymentServiceClient::new(self.channel()?);
        let end = until_known(
            || {
                let (mut client, payment) = (client.clone(), payment.clone());
                async move { Ok(client.process_payment(payment).await?.into_inner()) }
            },
            judge_payment,
            Duration::from_secs(self.patience_seconds),
            |why| say(&format!("mizan zakat assess: {why}; asking again")),
        );
        let id = payment.request_id.clone();
        match end.await {
            End::Done { .. } => Ok(Some(Paid::As {
                payment_id: id,
                amount: super::report::amount(Some(&due)),
            })),
            End::Refused(why) => Err(PayError::Refused { id, why }),
            End::Unknown(why) => Err(PayError::Unknown { id, why }),
        }
    }

    /// A channel without a breaker: one payment waits and tries again by itself.
    fn channel(&self) -> Result<Channel, InvalidChannel> {
        Channel::builder("payment")
            .registry(self.registry.registry.clone())
            .contracts(mizan_contracts::FILE_DESCRIPTOR_SET)
            .deadline(CALL_DEADLINE)
            .no_breaker()
            .connect()
    }

    fn payment(
        &self,
        request: &AssessRequest,
        answer: &AssessResponse,
        owner: Option<&str>,
        amil: &str,
        due: Money,
    ) -> ProcessPaymentRequest {
        let id = assessment_id(request, answer, owner);
        let date = super::report::date(answer.valuation_date.as_ref());
        let metadata = [
            ("category", "zakat".to_owned()),
            ("assessment", id.clone()),
            ("policy", answer.policy_id.clone()),
            ("policy_version", answer.policy_version.to_string()),
            ("policy_digest", answer.policy_digest.clone()),
            ("valuation_date", date.clone()),
            (
                "owner",
                owner.unwrap_or_default().chars().take(512).collect(),
            ),
        ];
        let metadata: BTreeMap<String, String> = metadata
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        ProcessPaymentRequest {
            request_id: id.clone(),
            amount: Some(due),
            direction: Direction::Outgoing.into(),
            counterparty: Some(Counterparty {
                counterparty_id: self.amil_id.clone(),
                name: amil.to_owned(),
            }),
            description: format!("Zakat by {}, {date}", answer.policy_id),
            reference: id,
            metadata,
            expense_account_id: self.amil_account.clone(),
            cash_account_id: self.cash_account.clone(),
            effective_time: None,
            asynchronous: false,
        }
    }
}

/// The id of an assessment: the same for the same facts of the same owner under the same rules,
/// however much of it was shown and in whichever language.
fn assessment_id(request: &AssessRequest, answer: &AssessResponse, owner: Option<&str>) -> String {
    let facts = AssessRequest {
        view: 0,
        languages: Vec::new(),
        policy_version: answer.policy_version,
        ..request.clone()
    };
    let mut bytes = facts.encode_length_delimited_to_vec();
    bytes.extend_from_slice(answer.policy_digest.as_bytes());
    bytes.extend_from_slice(owner.unwrap_or_default().as_bytes());
    format!("zakat-{}", Uuid::new_v5(&NAMESPACE, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> AssessResponse {
        AssessResponse {
            policy_id: "shafii".to_owned(),
            policy_version: 1,
            policy_digest: "d1".to_owned(),
            ..AssessResponse::default()
        }
    }

    fn request() -> AssessRequest {
        AssessRequest {
            policy_id: "shafii".to_owned(),
            currency_code: "USD".to_owned(),
            ..AssessRequest::default()
        }
    }

    #[test]
    fn the_same_assessment_has_the_same_id() {
        let id = assessment_id(&request(), &answer(), None);
        let shown = AssessRequest {
            view: 2,
            languages: vec!["ar".to_owned()],
            policy_version: 1,
            ..request()
        };
        assert_eq!(assessment_id(&shown, &answer(), None), id);
        assert!(id.len() <= 128 && id.starts_with("zakat-"));
    }

    #[test]
    fn other_facts_rules_or_owners_have_another() {
        let id = assessment_id(&request(), &answer(), None);
        let facts = AssessRequest {
            currency_code: "GBP".to_owned(),
            ..request()
        };
        let rules = AssessResponse {
            policy_digest: "d2".to_owned(),
            ..answer()
        };
        for other in [
            assessment_id(&facts, &answer(), None),
            assessment_id(&request(), &rules, None),
            assessment_id(&request(), &answer(), Some("Aisha")),
        ] {
            assert_ne!(other, id);
        }
    }
}
