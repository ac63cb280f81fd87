//! The invariants of `docs/ARCHITECTURE.md` that a machine can check.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

const SERVICES: [&str; 4] = ["zakat-svc", "invoice-svc", "accounting-svc", "payment-svc"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn metadata() -> Value {
    let output = Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
        .args([
            "metadata",
            "--format-version=1",
            "--no-deps",
            "--locked",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Every package of the workspace with what it depends on, tests' own dependencies left out.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let normal = dependencies.filter(|d| d["kind"].as_str() != Some("dev"));
            let names = normal
                .map(|d| d["name"].as_str().unwrap().to_owned())
                .collect();
            (package["name"].as_str().unwrap().to_owned(), names)
        })
        .collect()
}

/// The source files below a folder, generated ones left out.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "{} holds no source", folder.display());
    found
}

fn members() -> Vec<String> {
    dependencies().into_keys().collect()
}

/// The folder of a package: its name, but for the root and the command line.
fn folder(package: &str) -> PathBuf {
    match package {
        "mizan-contracts" => root(),
        "mizan-cli" => root().join("cli"),
        "mizan-bench" => root().join("bench"),
        other => root().join(other),
    }
}

/// Code lines: without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    lines
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
}

#[test]
fn dependencies_point_one_way() {
    let all = dependencies();
    let ours = members();
    let own = |package: &str| -> Vec<&str> {
        let names = all[package].iter().filter(|d| ours.contains(d));
        let mut names: Vec<_> = names.map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    assert_eq!(own("money"), [""; 0]);
    assert_eq!(own("store"), [""; 0]);
    assert_eq!(own("mizan-contracts"), ["money"]);
    assert_eq!(own("mizan"), ["mizan-contracts"]);
    assert_eq!(own("registry"), ["mizan", "mizan-contracts", "store"]);
    for service in SERVICES {
        for dependency in own(service) {
            let allowed = ["mizan", "mizan-contracts", "money", "store"];
            assert!(
                allowed.contains(&dependency),
                "{service} must not depend on {dependency}"
            );
        }
    }
    for package in &ours {
        let rim = ["mizan-cli", "e2e", "sim"].contains(&package.as_str());
        assert!(
            rim || !own(package).iter().any(|d| SERVICES.contains(d)),
            "{package} depends on a service"
        );
    }
}

#[test]
fn money_is_a_leaf_without_async_or_grpc() {
    for foreign in ["tokio", "tonic", "prost", "futures-util", "tower"] {
        assert!(
            !dependencies()["money"].contains(&foreign.to_owned()),
            "money depends on {foreign}"
        );
    }
}

#[test]
fn the_library_sees_only_the_registrys_contract() {
    for (path, text) in sources(&root().join("mizan/src")) {
        for (number, line) in code(&text) {
            for package in ["zakat", "invoice", "accounting", "payment", "r#type"] {
                let named = format!("mizan_contracts::{package}");
                assert!(
                    !line.contains(&named),
                    "{}:{number} names {named}",
                    path.display()
                );
            }
        }
    }
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let mizan = packages.iter().find(|p| p["name"] == "mizan").unwrap();
    let dependencies = mizan["dependencies"].as_array().unwrap();
    let contracts = dependencies
        .iter()
        .find(|d| d["name"] == "mizan-contracts")
        .unwrap();
    assert_eq!(contracts["features"], serde_json::json!(["registry"]));
    assert_eq!(contracts["uses_default_features"], false);
}

#[test]
fn no_float_comes_near_money() {
    let mut folders = vec![root().join("money/src"), root().join("store/src")];
    folders.extend(
        SERVICES
            .iter()
            .map(|service| root().join(service).join("src")),
    );
    for folder in folders {
        for (path, text) in sources(&folder) {
            for (number, line) in code(&text) {
                let float = words(line).find(|word| ["f32", "f64"].contains(word));
                assert_eq!(float, None, "{}:{number}: {line}", path.display());
            }
        }
    }
    for (path, text) in protos() {
        for (number, line) in code(&text) {
            let float = words(line).find(|word| ["float", "double"].contains(word));
            assert_eq!(float, None, "{path}:{number}: {line}");
        }
    }
}

#[test]
fn domains_are_pure() {
    let pure = SERVICES
        .iter()
        .map(|service| root().join(service).join("src/domain"));
    for folder in pure.chain([root().join("registry/src/catalogue")]) {
        for (path, text) in sources(&folder) {
            let text = text
                .split("#[cfg(test)]")
                .next()
                .unwrap_or_default()
                .to_owned();
            for (number, line) in code(&text) {
                for impure in [
                    "tonic",
                    "tokio",
                    "rusqlite",
                    "async",
                    "await",
                    "SystemTime",
                    "tracing",
                ] {
                    assert!(
                        !words(line).any(|w| w == impure),
                        "{}:{number} names {impure}",
                        path.display()
                    );
                }
                assert!(
                    !line.contains("Instant::now"),
                    "{}:{number} reads a clock",
                    path.display()
                );
            }
        }
    }
}

/// What decides without waiting: every `state.rs` of the library, and what it decides by.
fn machines() -> Vec<(PathBuf, String)> {
    const BESIDE: [&str; 11] = [
        "breaker/counts.rs",
        "breaker/phase.rs",
        "retry/backoff.rs",
        "discover/backoff.rs",
        "discover/cache/file.rs",
        "balance/policy/rotation.rs",
        "balance/policy/ring_hash.rs",
        "balance/policy/round_robin.rs",
        "channel/message_size.rs",
        "connection/frames.rs",
        "service_config/json.rs",
    ];
    let source = root().join("mizan/src");
    let beside = BESIDE.map(|file| source.join(file));
    let found = sources(&source).into_iter();
    found
        .filter(|(path, _)| path.ends_with("state.rs") || beside.contains(path))
        .collect()
}

#[test]
fn state_machines_take_time_and_randomness_as_arguments() {
    let machines = machines();
    assert!(machines.len() >= 15, "{} are not all", machines.len());
    for (machine, text) in machines {
        let machine = machine.display();
        let text = text
            .split("#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or_default();
        for (number, line) in code(text) {
            for impure in ["tokio", "async", "Mutex"] {
                assert!(
                    !words(line).any(|w| w == impure),
                    "{machine}:{number} names {impure}"
                );
            }
            assert!(!line.contains("::now("), "{machine}:{number} reads a clock");
        }
    }
}

#[test]
fn every_package_inherits_the_lints() {
    for package in members() {
        let manifest = fs::read_to_string(folder(&package).join("Cargo.toml")).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{package} does not inherit the lints"
        );
    }
}

#[test]
fn exceptions_from_lints_are_reasoned() {
    for package in members() {
        for (path, text) in sources(&folder(&package).join("src")) {
            let attributes = text
                .match_indices("#[allow(")
                .chain(text.match_indices("#[expect("));
            for (start, _) in attributes.chain(text.match_indices("#![allow(")) {
                let end = text[start..]
                    .find(")]")
                    .map_or(text.len(), |length| start + length);
                assert!(
                    text[start..end].contains("reason ="),
                    "{}: {}",
                    path.display(),
                    &text[start..end]
                );
            }
        }
    }
}

#[test]
fn files_stay_readable() {
    for package in members() {
        for (path, text) in sources(&folder(&package).join("src")) {
            let lines = text.lines().count();
            assert!(
                lines <= 600,
                "{} has {lines} lines: would two names fit better?",
                path.display()
            );
        }
    }
}

#[test]
fn every_file_says_what_it_holds() {
    for package in members() {
        for (path, text) in sources(&folder(&package).join("src")) {
            assert!(
                text.starts_with("//!"),
                "{} does not begin with what it holds",
                path.display()
            );
        }
    }
}

fn protos() -> Vec<(String, String)> {
    let names = [
        "type/v1/money",
        "registry/v1/registry",
        "zakat/v1/zakat",
        "invoice/v1/invoice",
    ];
    let names = names
        .into_iter()
        .chain(["accounting/v1/accounting", "payment/v1/payment"]);
    names
        .map(|name| {
            let path = format!("proto/mizan/{name}.proto");
            let text = fs::read_to_string(root().join(&path)).unwrap();
            (path, text)
        })
        .collect()
}

/// Fields, calls, messages and values each have a comment right above them, but for the values
/// that are never sent.
#[test]
fn every_part_of_a_contract_is_documented() {
    for (path, text) in protos() {
        let mut documented = false;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            let declares = ["rpc ", "message ", "enum ", "service "]
                .iter()
                .any(|word| line.starts_with(word));
            let declares = declares
                || (line.ends_with(';') && line.contains(" = ") && !line.starts_with("syntax"));
            let exempt = line.contains("_UNSPECIFIED = 0") || line.starts_with("option ");
            assert!(
                !declares || documented || exempt,
                "{path}:{}: {line}",
                number + 1
            );
            documented = line.starts_with("//");
        }
    }
}

/// Every reason that the code can give is in docs/ERRORS.md, and nothing else is.
#[test]
fn every_reason_is_in_the_book_of_errors() {
    let book = fs::read_to_string(root().join("docs/ERRORS.md")).unwrap();
    let listed: Vec<&str> = book
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|word| word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
        .collect();
    let mut code = String::new();
    for package in members() {
        for (_, text) in sources(&folder(&package).join("src")) {
            code += &text;
        }
    }
    for reason in &listed {
        assert!(
            code.contains(&format!("\"{reason}\"")),
            "no code gives {reason}"
        );
    }
    let calls = ["refused(", "refused_field(", "retry_later("];
    for call in calls {
        for (start, _) in code.match_indices(call) {
            let arguments: String = code[start..].chars().take(160).collect();
            let quoted = arguments.split('"').skip(1).step_by(2);
            for reason in quoted.take(1).filter(|w| {
                w.contains('_') && w.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
            }) {
                assert!(
                    listed.contains(&reason),
                    "docs/ERRORS.md does not list {reason}"
                );
            }
        }
    }
}

/// The repository speaks of Mizan alone: no path of one machine, no address of a mirror.
#[test]
fn nothing_names_a_machine() {
    let listed = Command::new("git")
        .args(["ls-files"])
        .current_dir(root())
        .output();
    let Ok(listed) = listed else { return };
    for path in String::from_utf8_lossy(&listed.stdout).lines() {
        let Ok(text) = fs::read_to_string(root().join(path)) else {
            continue;
        };
        // Put together here, so that this file does not name them.
        for place in ["work", "root", "farm", "home"] {
            let named = format!("/{place}/");
            assert!(
                !text.contains(&named) || path == "Cargo.lock",
                "{path} names {named}"
            );
        }
    }
}
