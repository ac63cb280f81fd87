//! gobreaker and x/time/rate, by a Go program beside this package, where Go is.

use std::{path::Path, process::Command};

use super::{Plan, spread};

/// Rows for the table, or why there are none.
pub(super) fn figures(plan: Plan) -> Result<Vec<Vec<String>>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("go");
    let arguments = [plan.rounds.to_string(), plan.count.to_string()];
    let output = Command::new("go")
        .args(["run", "."])
        .args(arguments)
        .current_dir(&folder)
        .output()
        .map_err(|error| format!("`go` does not run: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.lines().last().unwrap_or("`go run` failed").to_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(row).collect())
}

/// A line: the name, a tab, the figures of one thread, a tab, those of two.
fn row(line: &str) -> Option<Vec<String>> {
    let mut fields = line.split('\t');
    let name = fields.next()?.to_owned();
    let mut figures = || {
        let numbers = fields.next()?.split(' ').map(str::parse);
        Some(spread(numbers.collect::<Result<_, _>>().ok()?))
    };
    Some(vec![name, figures()?, figures()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_a_row() {
        let cells = row("gobreaker\t100 120 110\t200 200 200").unwrap_or_default();
        assert_eq!(
            cells,
            ["gobreaker", "110.0 (100.0–120.0)", "200.0 (200.0–200.0)"]
        );
        assert_eq!(row("no figures"), None);
    }
}
