//! The service over the wire, in this process: every call, every refusal, on both back-ends.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::duplicate_mod, reason = "one suite for two back-ends")]

mod storage;

/// The same tests on either back-end.
macro_rules! suite {
    ($name:ident, $postgres:literal) => {
        #[path = "."]
        mod $name {
            const POSTGRES: bool = $postgres;

            mod credit;
            mod documents;
            #[allow(dead_code, reason = "some is for one back-end only")]
            pub(crate) mod harness;
            mod idempotency;
            mod lifecycle;
            mod listing;
            mod refusals;
            #[path = "shared_file.rs"]
            mod shared;
            mod validation;
        }
    };
}

suite!(file, false);
suite!(postgres, true);
