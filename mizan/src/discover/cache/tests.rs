//! A client that restarts while its source is away, and what is in its file.

use std::sync::Arc;

use tempfile::TempDir;
use tokio::{sync::mpsc, time::advance};

use super::*;
use crate::discover::{self, Discovery, Known, SourceState};

/// Says what a test tells it to.
struct Told(mpsc::UnboundedReceiver<Result<Vec<Endpoint>, String>>);

impl Discover for Told {
    fn discover(mut self: Box<Self>, _: String, updates: Updates) -> Discovering {
        Box::pin(async move {
            while let Some(told) = self.0.recv().await {
                match told {
                    Ok(endpoints) => updates.instances(endpoints),
                    Err(reason) => updates.unreachable(reason),
                }
            }
            std::future::pending().await
        })
    }
}

type Tell = mpsc::UnboundedSender<Result<Vec<Endpoint>, String>>;

fn start(path: &Path) -> (Tell, Discovery) {
    let (tell, told) = mpsc::unbounded_channel();
    let cached = Cached::new(Told(told), path);
    (tell, discover::start("s", Box::new(cached)))
}

fn list(ports: &[u16]) -> Vec<Endpoint> {
    let authorities = ports.iter().map(|port| format!("h:{port}"));
    authorities.map(|a| Endpoint::new(a).unwrap()).collect()
}

fn folder() -> (Arc<TempDir>, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.json");
    (Arc::new(folder), path)
}

/// What is in the file, whatever its age.
fn written(path: &Path) -> Option<Vec<Endpoint>> {
    let bytes = fs::read(path).ok()?;
    let read = file::decode(&bytes, "s", since_1970(), AGE_MAX);
    Some(read.expect("a file that is there is whole").0)
}

/// Waits until this is in the file.
async fn until_written(path: &Path, expected: &[Endpoint]) {
    // Writing is done by other threads, so virtual time must not run away from them.
    while written(path).as_deref() != Some(expected) {
        advance(Duration::from_millis(100)).await;
        tokio::task::yield_now().await;
    }
}

async fn first(discovery: &Discovery) -> Known {
    let mut slot = discovery.known();
    let first = slot.wait_for(|known| *known != Known::Unknown).await;
    first.unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_restarts_begins_with_what_was_known() {
    let (_folder, path) = folder();
    let (tell, discovery) = start(&path);
    tell.send(Ok(list(&[1, 2]))).unwrap();
    until_written(&path, &list(&[1, 2])).await;
    drop(discovery);

    let (tell, discovery) = start(&path);
    assert_eq!(first(&discovery).await, Known::Instances(list(&[1, 2])));
    let status = discovery.status();
    assert!(status.recalled && status.age.is_some());
    assert_eq!(status.state, SourceState::Waiting);
    // The source is away: the list stays, and is still marked.
    tell.send(Err("gone".to_owned())).unwrap();
    while discovery.status().state != SourceState::Lost {
        tokio::task::yield_now().await;
    }
    assert_eq!(first(&discovery).await, Known::Instances(list(&[1, 2])));
    assert!(discovery.status().recalled);
    // It is back, and its answer is taken, though it is that nobody is there.
    tell.send(Ok(Vec::new())).unwrap();
    let mut slot = discovery.known();
    slot.wait_for(|known| *known == Known::Instances(Vec::new()))
        .await
        .unwrap();
    assert!(!discovery.status().recalled);
    until_written(&path, &[]).await;

    // An empty list is not recalled: calls wait for the source.
    let (tell, discovery) = start(&path);
    tell.send(Err("gone".to_owned())).unwrap();
    assert_eq!(
        first(&discovery).await,
        Known::Unreachable("gone".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn of_many_changes_the_latest_is_written_and_nothing_is_left_beside() {
    let (folder, path) = folder();
    let (tell, _discovery) = start(&path);
    for port in 1..200 {
        tell.send(Ok(list(&[port]))).unwrap();
        tokio::task::yield_now().await;
    }
    until_written(&path, &list(&[199])).await;
    let names = fs::read_dir(folder.path()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["s.json"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_file_of_ours_is_ignored_and_replaced() {
    for content in [&b"not json"[..], b"", b"{}", b"\xff\xfe"] {
        let (_folder, path) = folder();
        fs::write(&path, content).unwrap();
        let (tell, discovery) = start(&path);
        tell.send(Err("gone".to_owned())).unwrap();
        assert_eq!(
            first(&discovery).await,
            Known::Unreachable("gone".to_owned())
        );
        tell.send(Ok(list(&[3]))).unwrap();
        let mut slot = discovery.known();
        slot.wait_for(|known| *known == Known::Instances(list(&[3])))
            .await
            .unwrap();
        while fs::read(&path).unwrap() == content {
            advance(Duration::from_millis(100)).await;
        }
        assert_eq!(written(&path), Some(list(&[3])));
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_too_old_or_of_another_service_is_ignored() {
    let now = since_1970();
    let old = now.saturating_sub(AGE_MAX + Duration::from_secs(1));
    for bytes in [
        file::encode("s", &list(&[1]), old),
        file::encode("other", &list(&[1]), now),
    ] {
        let (_folder, path) = folder();
        fs::write(&path, bytes).unwrap();
        let (tell, discovery) = start(&path);
        tell.send(Err("gone".to_owned())).unwrap();
        assert_eq!(
            first(&discovery).await,
            Known::Unreachable("gone".to_owned())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_was_recalled_is_as_old_as_its_file() {
    let (_folder, path) = folder();
    let hour = Duration::from_secs(3600);
    let written = since_1970().saturating_sub(hour);
    fs::write(&path, file::encode("s", &list(&[1]), written)).unwrap();
    let (_tell, discovery) = start(&path);
    assert_eq!(first(&discovery).await, Known::Instances(list(&[1])));
    let age = discovery.status().age.unwrap();
    assert!(age >= hour && age < 2 * hour, "{age:?}");
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_is_not_there_costs_only_the_cache() {
    let (folder, _) = folder();
    let path = folder.path().join("no/such/s.json");
    let (tell, discovery) = start(&path);
    tell.send(Ok(list(&[1]))).unwrap();
    assert_eq!(first(&discovery).await, Known::Instances(list(&[1])));
    assert!(!path.exists());
}

#[tokio::test(start_paused = true)]
async fn a_list_that_does_not_change_is_written_again_within_its_time() {
    let (_folder, path) = folder();
    let (tell, _discovery) = start(&path);
    tell.send(Ok(list(&[1]))).unwrap();
    until_written(&path, &list(&[1])).await;
    // As if it were long ago: what is written again is there again.
    fs::remove_file(&path).unwrap();
    let renewed = async {
        while !path.exists() {
            tell.send(Ok(list(&[1]))).unwrap();
            advance(Duration::from_secs(1)).await;
            tokio::task::yield_now().await;
        }
    };
    let begun = Instant::now();
    let within = timeout(RENEWAL * 100, renewed).await;
    assert!(within.is_ok(), "never");
    // Writing is done by other threads, while virtual time runs on: only the other side is exact.
    assert!(
        begun.elapsed() >= RENEWAL - WRITE_PAUSE * 2,
        "not at every word"
    );
    assert_eq!(written(&path), Some(list(&[1])));
}

#[tokio::test(start_paused = true)]
async fn how_old_a_file_may_be_is_the_users_to_say() {
    let hour = Duration::from_secs(3600);
    let bytes = file::encode("s", &list(&[1]), since_1970().saturating_sub(hour));
    for (age_max, used) in [(hour / 2, false), (hour * 2, true)] {
        let (_folder, path) = folder();
        fs::write(&path, &bytes).unwrap();
        let (tell, told) = mpsc::unbounded_channel();
        let cached = Cached::new(Told(told), &path).age_max(age_max);
        let discovery = discover::start("s", Box::new(cached));
        tell.send(Err("gone".to_owned())).unwrap();
        let expected = match used {
            true => Known::Instances(list(&[1])),
            false => Known::Unreachable("gone".to_owned()),
        };
        assert_eq!(first(&discovery).await, expected);
    }
}

#[test]
fn what_is_far_too_large_is_not_read_and_what_was_not_written_leaves_nothing() {
    let (folder, path) = folder();
    for (len, read) in [(FILE_LEN_MAX, true), (FILE_LEN_MAX + 1, false)] {
        fs::File::create(&path).unwrap().set_len(len).unwrap();
        assert_eq!(super::read(&path).is_ok(), read, "{len}");
    }
    fs::remove_file(&path).unwrap();
    // A folder stands in the way of the file, but not of what is written beside it.
    fs::create_dir(&path).unwrap();
    assert!(write(&path, b"{}").is_err());
    let left = fs::read_dir(folder.path()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["s.json"]);
}
