//! accounting-svc
