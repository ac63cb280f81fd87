//! A journal as it is stored: one message in the payment's row, so that it is written with the
//! payment's state or not at all.

use prost::Message;

use crate::domain::{
    Attempt, AttemptEnd, Error, Failure, Journal, State, Steering, Step, StepRecord, StepState,
};

#[derive(Clone, PartialEq, Message)]
struct StoredJournal {
    #[prost(message, repeated, tag = "1")]
    steps: Vec<StoredStep>,
    #[prost(message, repeated, tag = "2")]
    steerings: Vec<StoredSteering>,
    #[prost(message, optional, tag = "3")]
    parked: Option<StoredParked>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredParked {
    #[prost(int64, tag = "1")]
    state: i64,
    #[prost(string, tag = "2")]
    step: String,
    #[prost(string, tag = "3")]
    reason: String,
    #[prost(string, tag = "4")]
    message: String,
}

#[derive(Clone, PartialEq, Message)]
struct StoredStep {
    #[prost(int32, tag = "1")]
    step: i32,
    #[prost(int32, tag = "2")]
    state: i32,
    #[prost(uint32, tag = "3")]
    attempts: u32,
    #[prost(uint32, tag = "4")]
    round: u32,
    #[prost(uint32, tag = "5")]
    open: u32,
    #[prost(int64, tag = "6")]
    begun_micros: i64,
    #[prost(int64, tag = "7")]
    round_micros: i64,
    #[prost(int64, optional, tag = "8")]
    ended_micros: Option<i64>,
    #[prost(message, optional, tag = "9")]
    last_error: Option<StoredError>,
    #[prost(message, repeated, tag = "10")]
    recent: Vec<StoredAttempt>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredAttempt {
    #[prost(uint32, tag = "1")]
    number: u32,
    #[prost(int64, tag = "2")]
    begun_micros: i64,
    #[prost(int64, optional, tag = "3")]
    ended_micros: Option<i64>,
    #[prost(int32, tag = "4")]
    end: i32,
    #[prost(message, optional, tag = "5")]
    error: Option<StoredError>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredError {
    #[prost(string, tag = "1")]
    code: String,
    #[prost(string, tag = "2")]
    reason: String,
    #[prost(string, tag = "3")]
    message: String,
}

#[derive(Clone, PartialEq, Message)]
struct StoredSteering {
    #[prost(string, tag = "1")]
    request_id: String,
    #[prost(string, tag = "2")]
    verb: String,
    #[prost(string, tag = "3")]
    reason: String,
    #[prost(int64, tag = "4")]
    micros: i64,
}

pub(super) type Parked = Option<(State, Failure)>;

pub(super) fn write(journal: &Journal, parked: &Parked) -> Vec<u8> {
    let stored = StoredJournal {
        steps: journal.steps.iter().map(StoredStep::of).collect(),
        steerings: journal.steerings.iter().map(StoredSteering::of).collect(),
        parked: parked.as_ref().map(|(state, why)| StoredParked {
            state: *state as i64,
            step: why.step.clone(),
            reason: why.reason.clone(),
            message: why.message.clone(),
        }),
    };
    stored.encode_to_vec()
}

/// `None` when it is no journal.
pub(super) fn read(bytes: &[u8]) -> Option<(Journal, Parked)> {
    let stored = StoredJournal::decode(bytes).ok()?;
    let parked = match stored.parked {
        None => None,
        Some(parked) => {
            let why = Failure {
                step: parked.step,
                reason: parked.reason,
                message: parked.message,
            };
            Some((State::from_number(parked.state)?, why))
        }
    };
    let steps = stored.steps.into_iter().map(StoredStep::read);
    let steerings = stored.steerings.into_iter().map(StoredSteering::read);
    let journal = Journal {
        steps: steps.collect::<Option<_>>()?,
        steerings: steerings.collect(),
    };
    Some((journal, parked))
}

impl StoredStep {
    fn of(record: &StepRecord) -> Self {
        let attempts = record.recent.iter().map(|attempt| StoredAttempt {
            number: attempt.number,
            begun_micros: attempt.begun_micros,
            ended_micros: attempt.ended_micros,
            end: attempt.end.map_or(0, |end| end as i32),
            error: attempt.error.as_ref().map(StoredError::of),
        });
        Self {
            step: record.step as i32,
            state: record.state as i32,
            attempts: record.attempts,
            round: record.round,
            open: record.open,
            begun_micros: record.begun_micros,
            round_micros: record.round_micros,
            ended_micros: record.ended_micros,
            last_error: record.last_error.as_ref().map(StoredError::of),
            recent: attempts.collect(),
        }
    }

    fn read(self) -> Option<StepRecord> {
        let attempts = self.recent.into_iter().map(|attempt| Attempt {
            number: attempt.number,
            begun_micros: attempt.begun_micros,
            ended_micros: attempt.ended_micros,
            end: AttemptEnd::from_number(attempt.end),
            error: attempt.error.map(StoredError::read),
        });
        Some(StepRecord {
            step: Step::from_number(self.step)?,
            state: StepState::from_number(self.state)?,
            attempts: self.attempts,
            round: self.round,
            open: self.open,
            begun_micros: self.begun_micros,
            round_micros: self.round_micros,
            ended_micros: self.ended_micros,
            last_error: self.last_error.map(StoredError::read),
            recent: attempts.collect(),
        })
    }
}

impl StoredError {
    fn of(error: &Error) -> Self {
        Self {
            code: error.code.clone(),
            reason: error.reason.clone(),
            message: error.message.clone(),
        }
    }

    fn read(self) -> Error {
        Error {
            code: self.code,
            reason: self.reason,
            message: self.message,
        }
    }
}

impl StoredSteering {
    fn of(steering: &Steering) -> Self {
        Self {
            request_id: steering.request_id.clone(),
            verb: steering.verb.clone(),
            reason: steering.reason.clone(),
            micros: steering.micros,
        }
    }

    fn read(self) -> Steering {
        Steering {
            request_id: self.request_id,
            verb: self.verb,
            reason: self.reason,
            micros: self.micros,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let error = Error {
            code: "Unavailable".to_owned(),
            reason: "AWAY".to_owned(),
            message: "m".to_owned(),
        };
        let mut journal = Journal::default();
        journal.begin(Step::Document, 1);
        journal.end(Step::Document, AttemptEnd::Unknown, Some(&error), 2);
        journal.begin(Step::Document, 3);
        journal.note(Steering {
            request_id: "c".to_owned(),
            verb: "cancel".to_owned(),
            reason: "r".to_owned(),
            micros: 4,
        });
        let why = Failure {
            step: "invoice".to_owned(),
            reason: "R".to_owned(),
            message: String::new(),
        };
        let parked = Some((State::Accepted, why));
        assert_eq!(read(&write(&journal, &parked)), Some((journal, parked)));
        assert_eq!(read(&[0xff]), None);
    }
}
