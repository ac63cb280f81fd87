//! The saga: driving a payment from step to step until it is final, whatever fails.
//!
//! [`pay`] and [`refund`] say what each step does and what undoes it;
//! [`domain::Payment`](crate::domain::Payment) says where an end leads; the [`Coordinator`] does the
//! steps and makes every change durable before the next call goes out; what a process leaves
//! unfinished, another takes over ([`recover`]). All that touches the outside goes through
//! [`Outside`].

mod coordinator;
mod metrics;
mod outside;
mod pay;
mod peers;
mod recovery;
mod refund;
mod requests;
mod sort;
mod table;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use tests::testing;

pub(crate) use coordinator::{Coordinator, Progress, Settings};
pub(crate) use outside::Outside;
pub(crate) use peers::Peers;
pub(crate) use recovery::{join, recover};
