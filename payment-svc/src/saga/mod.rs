//! The saga: driving a payment from step to step until it is final, whatever fails.
//!
//! [`steps`] says what each step does; [`domain::Payment`](crate::domain::Payment) says where it
//! leads; the [`Coordinator`] runs them and makes every change durable before the next step; what a
//! process leaves unfinished, another takes over.

mod coordinator;
mod recovery;
mod steps;

pub(crate) use coordinator::{Coordinator, Progress};
pub(crate) use recovery::{join, recover};
pub(crate) use steps::{Peers, invoice_id, transaction_id};
