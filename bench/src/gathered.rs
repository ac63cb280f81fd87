//! Transfers gathered into one call: what a client does who has many at once.

use mizan_contracts::accounting::v1::{
    BatchRecordTransactionsRequest, RecordTransactionRequest,
    accounting_service_client::AccountingServiceClient, record_transaction_result::Outcome,
};
use tokio::sync::{mpsc, oneshot};
use tonic::transport::Channel;

use crate::Error;

/// The most in one call; as many as SQL in batches has in one statement.
const CALL_MAX: usize = 512;

/// How many calls are under way at once: one is being written while the next is on its way.
const CALLS: usize = 2;

type Asked = (RecordTransactionRequest, oneshot::Sender<()>);

/// Collects what waits and sends it in one call; meanwhile the next one gathers.
#[derive(Debug, Clone)]
pub struct Gathered(mpsc::Sender<Asked>);

impl Gathered {
    /// Begins to gather.
    #[must_use]
    pub fn new(client: &AccountingServiceClient<Channel>) -> Self {
        let (queue, waiting) = mpsc::channel::<Asked>(2 * CALL_MAX);
        let waiting = std::sync::Arc::new(tokio::sync::Mutex::new(waiting));
        for _ in 0..CALLS {
            let (mut client, waiting) = (client.clone(), waiting.clone());
            tokio::spawn(async move {
                loop {
                    let mut batch = Vec::with_capacity(CALL_MAX);
                    if waiting.lock().await.recv_many(&mut batch, CALL_MAX).await == 0 {
                        return;
                    }
                    let (requests, callers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
                    let request = BatchRecordTransactionsRequest {
                        requests,
                        atomic: false,
                    };
                    // Who is not answered ends the measurement.
                    let Ok(answer) = client.batch_record_transactions(request).await else {
                        return;
                    };
                    for (caller, result) in callers.into_iter().zip(answer.into_inner().results) {
                        if let Some(Outcome::Transaction(_)) = result.outcome {
                            let _ = caller.send(());
                        }
                    }
                }
            });
        }
        Self(queue)
    }

    /// Returns once the transaction is durable.
    ///
    /// # Errors
    /// When it is not.
    pub async fn record(&self, request: RecordTransactionRequest) -> Result<(), Error> {
        let (caller, answer) = oneshot::channel();
        self.0.send((request, caller)).await?;
        Ok(answer.await?)
    }
}
