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

# The documentation, without warnings.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Pay files while a random process is killed every second, and judge the books: `--seed N` to repeat.
chaos +FILES:
    cargo run --release --locked -p e2e --bin chaos -- {{FILES}}

# Attack the running whole, each attack beside well-behaved clients: `--list` names them.
attack *ARGS:
    cargo run --release --locked -p e2e --bin attack -- {{ARGS}}

# Beside the peers: `just bench channel`, `decisions`, `rolling`, `soak` or `all`; `--quick` for a try.
bench *ARGS:
    cargo run --release --locked -p mizan-bench -- {{ARGS}}

# Record anew what gobreaker and x/time/rate do. Needs Go.
oracle:
    cd mizan/oracle/gobreaker && go test -count=1 ./... -write
    cd mizan/oracle/rate && go test -count=1 ./... -write

# Other people's clients and suites against Mizan.
interop:
    interop/run

# Fuzz one of body, filter, duration for ten minutes. Needs cargo-fuzz and a nightly compiler.
fuzz TARGET:
    cargo +nightly fuzz run {{TARGET}} -- -max_total_time=600 -max_len=4096

# What takes longer than CI has: ten million calls, attacks by the clock, and twenty thousand simulated runs.
nightly:
    cargo run --release --locked -p mizan-bench -- soak
    cargo run --release --locked -p e2e --bin attack -- --seconds 30 --judge-time
    MIZAN_SIM_SEEDS=20000 cargo test --release -p sim --locked

# What CI runs.
verify: lint doc test
