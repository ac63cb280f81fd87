//! What a saga is: a table of steps, each with what does it and what undoes it.

use tonic::Status;

use super::{outside::Call, pay, refund};
use crate::domain::{Payment, Step};

/// The calls that do a step, in order. Every one derives its id from the payment's, so that a step
/// can be repeated, from its first call on, by anyone at any time.
pub(super) type Calls = fn(&Payment) -> Result<Vec<Call>, Status>;

/// A line of a saga's table. First come steps that can be undone; then the pivot, which cannot, and
/// which decides whether the saga goes on or back; then what is repeated until done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) step: Step,
    pub(super) run: Calls,
    pub(super) undo: Option<Calls>,
}

/// The saga of a payment.
fn lines(payment: &Payment) -> &'static [Line] {
    if payment.intent.refund_of.is_some() {
        refund::STEPS
    } else {
        pay::STEPS
    }
}

/// The calls of a step of a payment: of the way forward, or what undoes it.
pub(super) fn calls(payment: &Payment, step: Step) -> Result<Vec<Call>, Status> {
    let lines = lines(payment);
    let calls = if step == Step::Void {
        lines.iter().find_map(|line| line.undo)
    } else {
        lines.iter().find(|line| line.step == step).map(|l| l.run)
    };
    calls.map_or_else(
        || Err(Status::internal("a step that no saga has")),
        |calls| calls(payment),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_before_the_pivot_can_be_undone_and_nothing_after() {
        for lines in [pay::STEPS, refund::STEPS] {
            let steps: Vec<_> = lines.iter().map(|line| line.step).collect();
            assert_eq!(steps, [Step::Document, Step::Ledger, Step::Settle]);
            let undone: Vec<_> = lines.iter().map(|line| line.undo.is_some()).collect();
            assert_eq!(undone, [true, false, false]);
        }
    }
}
