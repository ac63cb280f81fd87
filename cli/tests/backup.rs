//! `mizan backup` and `mizan restore`, on files that are open and files that are not.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use store::{Database, Unavailable, backup, rusqlite::Connection};
use tempfile::TempDir;

const FILES: [&str; 4] = ["payment.db", "invoice.db", "accounting.db", "registry.db"];

fn mizan(data: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mizan"));
    command.args(args).arg("--data").arg(data);
    command.env_remove("MIZAN_DATABASE_URL").output().unwrap()
}

fn done(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

async fn open(data: &Path) -> Vec<Database> {
    let migrations = &["CREATE TABLE item (name TEXT) STRICT"];
    let open = |name| Database::open(&data.join(name), migrations).unwrap();
    FILES.map(open).into()
}

async fn write(all: &[Database], item: &'static str) {
    for database in all {
        let insert = move |c: &Connection| {
            c.execute("INSERT INTO item VALUES (?1)", [item])
                .map_err(Unavailable::from)
        };
        database.write(insert).await.unwrap();
    }
}

async fn close(all: Vec<Database>) {
    for database in all {
        database.close().await;
    }
}

/// What each file holds.
fn holds(folder: &Path) -> BTreeMap<String, String> {
    let of = |name: &str| {
        let file = Connection::open(folder.join(name)).unwrap();
        let items = "SELECT group_concat(name) FROM (SELECT name FROM item ORDER BY name)";
        let items: Option<String> = file.query_row(items, [], |row| row.get(0)).unwrap();
        (name.to_owned(), items.unwrap_or_default())
    };
    FILES.into_iter().map(of).collect()
}

fn all(items: &str) -> BTreeMap<String, String> {
    let each = |name: &str| (name.to_owned(), items.to_owned());
    FILES.into_iter().map(each).collect()
}

/// A folder of state in which everything holds `a`, and its backup; then it holds `b` too.
async fn backed_up() -> (TempDir, PathBuf, PathBuf) {
    let folder = TempDir::new().unwrap();
    let (data, to) = (folder.path().join("data"), folder.path().join("copies/one"));
    let running = open(&data).await;
    write(&running, "a").await;
    let said = done(&mizan(&data, &["backup", to.to_str().unwrap()]));
    for name in FILES {
        assert!(said.contains(name), "{said}");
    }
    write(&running, "b").await;
    close(running).await;
    (folder, data, to)
}

#[tokio::test]
async fn a_backup_is_made_while_everything_runs_and_put_back_when_nothing_does() {
    let (_folder, data, to) = backed_up().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&to), 0o700);
    for name in FILES {
        assert_eq!(mode(&to.join(name)), 0o600);
    }
    let copies = fs::read_dir(&to).unwrap().count();
    assert_eq!(
        copies,
        FILES.len(),
        "only whole files, and nothing beside them"
    );
    let there = fs::read_dir(to.parent().unwrap()).unwrap().count();
    assert_eq!(there, 1, "nothing unfinished is left");
    let from = to.to_str().unwrap();

    // Not over a backup, nor over what is in use, nor over anything unless that is said.
    let said = refused(&mizan(&data, &["backup", from]));
    assert!(said.contains("is not empty"), "{said}");
    let running = open(&data).await;
    let said = refused(&mizan(&data, &["restore", from, "--replace"]));
    assert!(said.contains("is in use"), "{said}");
    close(running).await;
    let said = refused(&mizan(&data, &["restore", from]));
    assert!(said.contains("--replace"), "{said}");
    assert_eq!(holds(&data), all("a,b"));

    let said = done(&mizan(&data, &["restore", from, "--replace"]));
    let aside = said.lines().last().unwrap();
    let aside = aside.strip_prefix("what was there is in ").unwrap();
    assert_eq!(holds(Path::new(aside)), all("a,b"));
    // It is served at once: nothing of it is missing.
    let running = open(&data).await;
    write(&running, "c").await;
    close(running).await;
    assert_eq!(holds(&data), all("a,c"));
    // And what was put aside can be put back where nothing is.
    let elsewhere = data.with_file_name("elsewhere");
    done(&mizan(&elsewhere, &["restore", aside]));
    close(open(&elsewhere).await).await;
    assert_eq!(holds(&elsewhere), all("a,b"));
}

#[tokio::test]
async fn a_damaged_backup_is_refused_before_anything_is_touched() {
    let (_folder, data, to) = backed_up().await;
    let last = to.join("registry.db");
    let mut bytes = fs::read(&last).unwrap();
    let half = bytes.len() / 2;
    bytes.truncate(half);
    fs::write(&last, bytes).unwrap();
    let args = ["restore", to.to_str().unwrap(), "--replace"];
    let said = refused(&mizan(&data, &args));
    assert!(said.contains("registry.db"), "{said}");
    assert_eq!(holds(&data), all("a,b"));
}

#[tokio::test]
async fn what_cannot_be_put_back_whole_is_not_put_back_at_all() {
    let (_folder, data, to) = backed_up().await;
    // In the way of the last of the four.
    fs::create_dir(data.join("registry.db-restoring")).unwrap();
    let args = ["restore", to.to_str().unwrap(), "--replace"];
    let said = refused(&mizan(&data, &args));
    assert!(!said.contains("cannot be put back"), "{said}");
    close(open(&data).await).await;
    assert_eq!(holds(&data), all("a,b"));
    for name in FILES.iter().take(3) {
        assert!(!data.join(format!("{name}-restoring")).exists());
    }
}

#[tokio::test]
async fn what_is_damaged_is_not_backed_up() {
    let (_folder, data, to) = backed_up().await;
    let file = data.join("accounting.db");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let other = to.with_file_name("two");
    let said = refused(&mizan(&data, &["backup", other.to_str().unwrap()]));
    assert!(said.contains("accounting.db"), "{said}");
    assert_eq!(fs::read_dir(to.parent().unwrap()).unwrap().count(), 1);
    backup::check(&to.join("accounting.db")).unwrap();
}

#[test]
fn what_is_not_there_and_what_is_elsewhere_is_said() {
    let folder = TempDir::new().unwrap();
    let (data, to) = (folder.path().join("data"), folder.path().join("to"));
    let to = to.to_str().unwrap();
    let said = refused(&mizan(&data, &["backup", to]));
    assert!(said.contains("nothing to copy"), "{said}");
    let said = refused(&mizan(&data, &["restore", to]));
    assert!(said.contains("no backup"), "{said}");
    for command in ["backup", "restore"] {
        let url = "postgres://mizan:secret@localhost/mizan";
        let args = [command, to, "--database-url", url];
        let said = refused(&mizan(&data, &args));
        assert!(
            said.contains("pg_dump") && !said.contains("secret"),
            "{said}"
        );
    }
    assert!(!data.exists());
}

#[tokio::test]
async fn what_belongs_together_is_kept_and_put_back_together() {
    let (_folder, data, to) = backed_up().await;
    let accounting = data.join("accounting.db");
    // A backup of less than there is, and one that lacks what was there, are none.
    let part = to.with_file_name("part");
    fs::create_dir(&part).unwrap();
    fs::copy(to.join("payment.db"), part.join("payment.db")).unwrap();
    let part = part.to_str().unwrap();
    let said = refused(&mizan(&data, &["restore", part, "--replace"]));
    assert!(said.contains("the backup has no"), "{said}");
    fs::remove_file(&accounting).unwrap();
    let other = to.with_file_name("two");
    let said = refused(&mizan(&data, &["backup", other.to_str().unwrap()]));
    assert!(said.contains("accounting.db is gone"), "{said}");
    // Into an empty folder it is put back, and what is not in it is said.
    let empty = data.with_file_name("empty");
    let said = done(&mizan(&empty, &["restore", part]));
    assert!(said.contains("registry.db  is not in the backup"), "{said}");
}

#[tokio::test]
async fn a_file_of_another_service_is_not_put_back_nor_opened() {
    let (_folder, data, to) = backed_up().await;
    for (from, name) in [
        ("accounting.db", "invoice.db"),
        ("registry.db", "payment.db"),
    ] {
        let mixed = to.with_file_name(format!("mixed-{name}"));
        fs::create_dir(&mixed).unwrap();
        fs::copy(to.join(from), mixed.join(name)).unwrap();
        let empty = data.with_file_name(format!("empty-{name}"));
        let said = refused(&mizan(&empty, &["restore", mixed.to_str().unwrap()]));
        assert!(said.contains("it is a file of"), "{said}");
        let opened = Database::open(&mixed.join(name), &[])
            .unwrap_err()
            .to_string();
        assert!(opened.contains("it is a file of"), "{opened}");
    }
    let foreign = to.with_file_name("foreign");
    fs::create_dir(&foreign).unwrap();
    let file = Connection::open(foreign.join("payment.db")).unwrap();
    file.execute_batch("CREATE TABLE foo (a)").unwrap();
    drop(file);
    let said = refused(&mizan(
        &data.with_file_name("none"),
        &["restore", foreign.to_str().unwrap()],
    ));
    assert!(said.contains("it is no backup"), "{said}");
}

#[tokio::test]
async fn while_a_restore_has_not_come_to_its_end_nothing_in_its_folder_opens() {
    let (_folder, data, to) = backed_up().await;
    backup::mark_folder(&data).unwrap();
    let refused = Database::open(&data.join("invoice.db"), &[]).unwrap_err();
    assert!(
        refused.to_string().contains("did not come to its end"),
        "{refused}"
    );
    done(&mizan(
        &data,
        &["restore", to.to_str().unwrap(), "--replace"],
    ));
    assert_eq!(holds(&data), all("a"));
    close(open(&data).await).await;
    // One that failed and was undone leaves no mark.
    let missing = to.with_file_name("nowhere");
    assert!(
        !mizan(&data, &["restore", missing.to_str().unwrap()])
            .status
            .success()
    );
    close(open(&data).await).await;
}
