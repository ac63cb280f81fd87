//! Which calls that failed are told in the log, where a person looks.
//!
//! Anybody who reaches the server can have calls fail, thousands in a second: a line for each would
//! fill its disk. So of each kind one is told now and then, with how many there were; all of them are in
//! the metrics, and in the log at debug.

use std::collections::HashMap;

use http::HeaderMap;
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::seldom::Seldom;

/// How many kinds are told apart; further ones are one kind.
const KINDS_MAX: usize = 64;

/// Whose fault it is that a call failed, as far as the server can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Fault {
    /// The service's, or nobody knows.
    #[default]
    Ours,
    /// The caller's: what it sent cannot be read.
    Callers,
}

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// By method and status.
    ours: Mutex<HashMap<(usize, i32), Seldom>>,
    further: Mutex<Seldom>,
    /// Of all methods together: a stranger chooses among them.
    callers: Mutex<Seldom>,
}

impl Failures {
    /// A call of a method failed. If a person is to read of it now: how many like it there were since the
    /// last one that was told, this one included. Methods are known by a number of the caller's.
    pub(super) fn happened(
        &self,
        method: usize,
        code: Code,
        fault: Fault,
        now: Instant,
    ) -> Option<u64> {
        if fault == Fault::Callers {
            return self.callers.lock().happened(now);
        }
        let kind = (method, i32::from(code));
        let mut ours = self.ours.lock();
        if ours.len() >= KINDS_MAX && !ours.contains_key(&kind) {
            drop(ours);
            return self.further.lock().happened(now);
        }
        ours.entry(kind).or_default().happened(now)
    }
}

/// Whose fault an answer is. What tonic's codec finds in a request that it cannot read is INTERNAL, by
/// gRPC's own table, with these words and without details.
pub(super) fn fault(answer: &HeaderMap) -> Fault {
    const DETAILS: &str = "grpc-status-details-bin";
    const UNREADABLE: [&str; 4] = [
        "failed to decode Protobuf message",
        "protocol error: received message with",
        "Error decompressing",
        "Unexpected EOF decoding stream",
    ];
    /// The same words about an answer that the service itself got.
    const ANOTHERS: &str = "while receiving response";
    if answer.contains_key(DETAILS) {
        return Fault::Ours;
    }
    let status = Status::from_header_map(answer).filter(|status| status.code() == Code::Internal);
    let is_unreadable = status.is_some_and(|status| {
        let message = status.message();
        UNREADABLE.iter().any(|words| message.starts_with(words)) && !message.contains(ANOTHERS)
    });
    if is_unreadable {
        Fault::Callers
    } else {
        Fault::Ours
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// How many lines so many failures make, in a day, a hundred each second.
    fn lines_of_a_day(mut fail: impl FnMut(u64, Instant) -> Option<u64>) -> (usize, u64) {
        let start = Instant::now();
        let told: Vec<_> = (0..24 * 3600 * 100)
            .filter_map(|n| fail(n, start + Duration::from_millis(n * 10)))
            .collect();
        (told.len(), told.iter().sum())
    }

    #[test]
    fn failures_without_end_are_a_bounded_log_and_all_of_them_are_counted_in_it() {
        let failures = Failures::default();
        let (lines, told) =
            lines_of_a_day(|_, now| failures.happened(1, Code::Internal, Fault::Ours, now));
        assert!(lines <= 8640, "{lines}");
        assert!(told > 24 * 3600 * 100 - 1001, "{told}");
        // Whatever method a stranger chooses.
        let (lines, _) = lines_of_a_day(|n, now| {
            let method = usize::try_from(n % 1000).unwrap();
            failures.happened(method, Code::Internal, Fault::Callers, now)
        });
        assert!(lines <= 8640, "{lines}");
    }

    #[test]
    fn what_a_stranger_does_hides_nothing_of_ours_and_no_method_another() {
        let (failures, now) = (Failures::default(), Instant::now());
        let ours = |method, code| failures.happened(method, code, Fault::Ours, now);
        for _ in 0..100 {
            failures.happened(1, Code::Internal, Fault::Callers, now);
        }
        assert_eq!(ours(1, Code::Internal), Some(1));
        assert_eq!(ours(1, Code::Internal), None);
        assert_eq!(ours(1, Code::DataLoss), Some(1));
        assert_eq!(ours(2, Code::Internal), Some(1));
    }

    #[test]
    fn kinds_are_bounded() {
        let (failures, now) = (Failures::default(), Instant::now());
        let told = (0..1000).filter(|method| {
            let told = failures.happened(*method, Code::Unknown, Fault::Ours, now);
            told.is_some()
        });
        assert_eq!(told.count(), KINDS_MAX + 1);
        assert_eq!(failures.ours.lock().len(), KINDS_MAX);
    }

    #[test]
    fn a_request_that_cannot_be_read_is_its_callers_fault_and_nothing_else_is() {
        let of = |status: Status| {
            let mut headers = HeaderMap::new();
            status.add_header(&mut headers).unwrap();
            fault(&headers)
        };
        for unreadable in [
            "failed to decode Protobuf message: invalid wire type",
            "protocol error: received message with compressed-flag but no grpc-encoding was specified",
            "Error decompressing: corrupt deflate stream, while sending request",
            "Unexpected EOF decoding stream.",
        ] {
            assert_eq!(of(Status::internal(unreadable)), Fault::Callers);
            assert_eq!(of(Status::unknown(unreadable)), Fault::Ours);
        }
        let answer = "Error decompressing: corrupt, while receiving response with status: 200 OK";
        assert_eq!(of(Status::internal(answer)), Fault::Ours);
        assert_eq!(of(Status::internal("the ledger is damaged")), Fault::Ours);
        let own = crate::status::refused(Code::Internal, "DAMAGED", "Error decompressing a file");
        assert_eq!(of(own), Fault::Ours);
        assert_eq!(fault(&HeaderMap::new()), Fault::Ours);
    }
}
