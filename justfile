# Thin aliases over cargo; CI runs the same words.

# The registry and two of each service, until Ctrl-C.
up *ARGS:
    cargo run --release --locked --bin mizan -- up {{ARGS}}

# Pay every row of spending files.
replay +FILES:
    cargo run --release --locked --bin mizan -- replay {{FILES}}

# All tests.
test:
    cargo test --workspace --locked

# Formatting and lints, as CI has them.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

fmt:
    cargo fmt --all

# Measure beside the peers: `just bench all`, `just bench channel --quick`.
bench *ARGS:
    cargo build --release --locked -p mizan-bench
    target/release/mizan-bench {{ARGS}}

# The documentation, without warnings.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# What CI runs.
verify: lint doc test
