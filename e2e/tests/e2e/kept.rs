//! What is left on the disk: after an orderly stop, and in a backup that is made while files are paid.

use std::{fs, path::Path, process::Command};

use e2e::{Up, mizan};

const FILES: [&str; 4] = ["payment.db", "invoice.db", "accounting.db", "registry.db"];

/// Two files of payments, for before and for meanwhile.
fn spending(folder: &Path) -> [String; 2] {
    [0, 1].map(|part| {
        let mut text = "Paid Date,Trans No,Amount,Supplier Name\n".to_owned();
        for row in 0..60 {
            let number = 700_000 + part * 1_000 + row;
            text.push_str(&format!(
                "05/04/2016,{number},{row}.25,Supplier {}\n",
                row % 7
            ));
        }
        let file = folder.join(format!("spending-{part}.csv"));
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    })
}

/// The books of a folder, served from there, agree with these files.
fn assert_agree(data: &Path, files: [&str; 2]) {
    let up = Up::start_in(data.to_owned());
    let (code, report) = up.replay(&["--check", files[0], files[1]]);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["reconciliation"]["agree"], true, "{report:#}");
    assert_eq!(up.stop().0, Some(0));
}

#[test]
fn the_files_alone_are_all_of_it_after_an_orderly_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
    let spending = spending(folder.path());
    let files = [&*spending[0], &*spending[1]];
    let up = Up::start_in(data.clone());
    let (code, report) = up.replay(&files);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(up.stop().0, Some(0));
    fs::create_dir(&copy).unwrap();
    for name in FILES {
        let log = data.join(format!("{name}-wal"));
        assert!(!log.exists(), "{} is left", log.display());
        fs::copy(data.join(name), copy.join(name)).unwrap();
    }
    assert_agree(&copy, files);
}

#[test]
fn a_backup_that_is_made_while_payments_go_on_is_served_and_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let (data, to) = (folder.path().join("data"), folder.path().join("backup"));
    let spending = spending(folder.path());
    let files = [&*spending[0], &*spending[1]];
    let up = Up::start_in(data.clone());
    let (code, report) = up.replay(&files[..1]);
    assert_eq!(code, Some(0), "{report:#}");
    let mut paying = up.command(&["replay", "--json", files[1]]);
    let paying = paying.stdout(std::process::Stdio::null()).spawn();
    let run = |args: &[&str], data: &Path| {
        let mut command = Command::new(mizan());
        let output = command.args(args).arg("--data").arg(data).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
    };
    run(&["backup", to.to_str().unwrap()], &data);
    assert!(paying.unwrap().wait().unwrap().success());
    assert_eq!(up.stop().0, Some(0));

    // What was paid before is in it; what went on meanwhile goes on from it, and is paid once.
    let restored = folder.path().join("restored");
    run(&["restore", to.to_str().unwrap()], &restored);
    let up = Up::start_in(restored.clone());
    let (code, report) = up.replay(&files);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["reconciliation"]["agree"], true, "{report:#}");
    assert_eq!(up.stop().0, Some(0));
    assert_agree(&restored, files);
}
