//! Asking the payment service.

use std::time::Duration;

use mizan::{Channel, InvalidChannel};
use mizan_contracts::payment::v1::payment_service_client::PaymentServiceClient;
use tonic::{Code, Status};

use super::Common;
use crate::{reach::Unreachable, replay::answer::describe};

/// The largest answer that is taken: a page of a thousand payments, each as large as it may be.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why a command did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    #[error(transparent)]
    Channel(#[from] InvalidChannel),
    /// The service's own words. Boxed, since a status is large.
    #[error("{}", describe(.0))]
    Told(Box<Status>),
    /// Of several payments, some were refused, or their answer is not known; each was told.
    #[error("{failed} of {asked} could not be done")]
    Some {
        failed: usize,
        asked: usize,
        refused: bool,
    },
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        Self::Told(Box::new(status))
    }
}

impl Trouble {
    /// Whether asking again, the same, would be answered the same.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Told(status) => is_refusal(status),
            Self::Some { refused, .. } => *refused,
            Self::Unreachable(_) | Self::Channel(_) | Self::Json(_) => false,
        }
    }
}

/// Whether a status is a judgement about the request.
pub(super) fn is_refusal(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::OutOfRange
    )
}

/// A client of the payment service. The registry is asked first, so that one that is not there is
/// told as such.
pub(super) async fn client(common: &Common) -> Result<PaymentServiceClient<Channel>, Trouble> {
    common.registry.connect().await?;
    let channel = Channel::builder("payment")
        .registry(common.registry.registry.clone())
        .contracts(mizan_contracts::FILE_DESCRIPTOR_SET)
        .deadline(Duration::from_secs(u64::from(common.timeout)))
        .no_breaker()
        .connect()?;
    Ok(PaymentServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX))
}
