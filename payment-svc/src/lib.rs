//! payment-svc
