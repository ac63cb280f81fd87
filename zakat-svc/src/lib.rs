//! zakat-svc
