//! invoice-svc
