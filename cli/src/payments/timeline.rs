//! What was done for a payment, in the order of time.

use super::{
    text::plain,
    view::{Attempt, Payment, Step, Told},
};
use crate::terminal::table;

/// The table: a line for the acceptance, for every attempt that is kept, and for where the payment
/// stands now.
pub(super) fn text(payment: &Payment) -> String {
    let mut lines = vec![["TIME", "STEP", "TRY", "OUTCOME", "TOOK", "TOLD"].map(str::to_owned)];
    lines.extend(events(payment));
    table(&lines)
}

type Line = [String; 6];

fn events(payment: &Payment) -> Vec<Line> {
    let line = |time: &str, what: &str| {
        let mut line = Line::default();
        time.clone_into(&mut line[0]);
        what.clone_into(&mut line[3]);
        line
    };
    let mut lines = vec![line(&payment.create_time, "accepted")];
    let mut steps: Vec<Line> = payment.steps.iter().flat_map(of_step).collect();
    // All times are written alike, so their order as text is that of time. Stable: what has one
    // time keeps its order.
    steps.sort_by(|one, other| one[0].cmp(&other[0]));
    lines.extend(steps);
    lines.push(line(&payment.update_time, &payment.state));
    lines
}

fn of_step(step: &Step) -> Vec<Line> {
    let mut lines = Vec::new();
    let first = step.recent_attempts.first().map(|attempt| attempt.number);
    // Of a step that was tried often only the latest attempts are kept.
    if let Some(lost) = first.map(|number| number - 1).filter(|lost| *lost > 0) {
        lines.push([
            step.begin_time.clone(),
            step.name.clone(),
            format!("1-{lost}"),
            "not kept".to_owned(),
            String::new(),
            String::new(),
        ]);
    }
    lines.extend(step.recent_attempts.iter().map(|attempt| {
        [
            attempt.begin_time.clone(),
            step.name.clone(),
            attempt.number.to_string(),
            outcome(step, attempt).to_owned(),
            attempt.took_micros.map(took).unwrap_or_default(),
            attempt.error.as_ref().map(told).unwrap_or_default(),
        ]
    }));
    lines
}

/// How an attempt ended. One without an answer is on its way if its step still runs and no later
/// one was begun; otherwise its worker died.
fn outcome<'a>(step: &Step, attempt: &'a Attempt) -> &'a str {
    match attempt.outcome.as_str() {
        "" if step.state == "RUNNING" && attempt.number == step.attempts => "no answer yet",
        "" => "answer lost",
        known => known,
    }
}

fn took(micros: i64) -> String {
    format!("{}.{} ms", micros / 1000, (micros % 1000).abs() / 100)
}

fn told(error: &Told) -> String {
    let Told {
        code,
        reason,
        message,
    } = error;
    plain(&match reason == code {
        true => format!("{code}: {message}"),
        false => format!("{code} {reason}: {message}"),
    })
}

#[cfg(test)]
mod tests {
    use mizan_contracts::payment::v1 as wire;
    use prost_types::Timestamp;

    use super::*;

    fn at(millis: i64) -> Option<Timestamp> {
        Some(Timestamp {
            seconds: millis / 1000,
            nanos: i32::try_from(millis % 1000 * 1_000_000).unwrap(),
        })
    }

    fn attempt(number: i32, begin: i64, error: &str) -> wire::Attempt {
        wire::Attempt {
            number,
            begin_time: at(begin),
            end_time: at(begin + 2),
            outcome: match error {
                "" => wire::AttemptOutcome::Done.into(),
                _ => wire::AttemptOutcome::Unknown.into(),
            },
            error: (!error.is_empty()).then(|| wire::StepError {
                code: "UNAVAILABLE".to_owned(),
                reason: error.to_owned(),
                message: "lost".to_owned(),
            }),
        }
    }

    #[test]
    fn every_attempt_is_a_line_in_the_order_of_time() {
        let step = |name: &str, attempts, recent_attempts: Vec<wire::Attempt>| wire::Step {
            name: name.to_owned(),
            state: wire::StepState::Done.into(),
            attempts,
            begin_time: recent_attempts[0].begin_time,
            recent_attempts,
            ..wire::Step::default()
        };
        let lost = wire::Attempt {
            end_time: None,
            outcome: 0,
            ..attempt(19, 1_300, "")
        };
        let payment = Payment::from(wire::Payment {
            state: wire::PaymentState::Completed.into(),
            create_time: at(1_000),
            update_time: at(1_900),
            steps: vec![
                step("invoice", 1, vec![attempt(1, 1_100, "")]),
                step(
                    "ledger",
                    20,
                    vec![
                        attempt(18, 1_200, "CONNECTION_LOST"),
                        lost,
                        attempt(20, 1_400, ""),
                    ],
                ),
            ],
            ..wire::Payment::default()
        });
        let text = text(&payment);
        let words: Vec<String> = text
            .lines()
            .map(|line| {
                line.split_whitespace()
                    .skip(1)
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        assert_eq!(
            words,
            [
                "STEP TRY OUTCOME TOOK TOLD",
                "accepted",
                "invoice 1 DONE 2.0 ms",
                "ledger 1-17 not kept",
                "ledger 18 UNKNOWN 2.0 ms UNAVAILABLE CONNECTION_LOST: lost",
                "ledger 19 answer lost",
                "ledger 20 DONE 2.0 ms",
                "COMPLETED",
            ]
        );
    }
}
