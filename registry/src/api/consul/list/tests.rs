//! Lists that are made in turns: whatever the turns are, the list is the same.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::consul::filter::{Kind, Selectors};

const SELECTORS: Selectors = &[("Name", Kind::Text)];

/// A source that says how many bytes it has.
#[derive(Debug, Clone)]
struct Named(NodeView, Vec<String>, u64);

impl Source for Named {
    fn parts(&self) -> (&NodeView, &[String]) {
        (&self.0, &self.1)
    }

    fn bytes(&self) -> u64 {
        self.2
    }
}

fn named(name: &str, tags: &[&str]) -> Named {
    let mut node = crate::catalogue::Node {
        name: name.to_owned(),
        ..crate::catalogue::Node::default()
    };
    node.metadata.insert("rack".to_owned(), "7".to_owned());
    let view = NodeView {
        node: Arc::new(node),
        checks: Vec::new(),
        maintenance: None,
        create_revision: 1,
        modify_revision: 1,
    };
    let tags = tags.iter().map(|&tag| tag.to_owned()).collect();
    Named(view, tags, u64::try_from(name.len()).unwrap())
}

fn filter(text: &str) -> Filter {
    Filter::parse(text, SELECTORS).unwrap()
}

/// A list of which each source has two parts: its name, and its name twice.
fn list(sources: Vec<Named>, narrow: Narrow, text: &str, work: Work) -> List<Named, Value> {
    let shape = |source: &Named, made: &mut Vec<_>| {
        let name = &source.0.node.name;
        made.push(json!({"Name": name}));
        made.push(json!({"Name": format!("{name}{name}")}));
    };
    List::new(sources, narrow, Box::new(shape), filter(text), work)
}

fn names(list: List<Named, Value>) -> Vec<String> {
    let (kept, _) = list.kept();
    let names = kept.iter().map(|one| one["Name"].as_str().unwrap());
    names.map(str::to_owned).collect()
}

#[test]
fn it_is_narrowed_by_tags_in_any_case_and_by_pairs_of_the_node() {
    let sources = vec![
        named("a", &["Blue"]),
        named("b", &["blue", "v1"]),
        named("c", &[]),
    ];
    let made = |tags: &[&str], node_meta: &[(&str, &str)]| {
        let narrow = Narrow {
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            node_meta: node_meta
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let mut list = list(sources.clone(), narrow, "", Work::default());
        assert_eq!(list.turn(u64::MAX), Ok(true));
        names(list)
    };
    assert_eq!(made(&["BLUE"], &[]), ["a", "aa", "b", "bb"]);
    assert_eq!(made(&["blue", "v1"], &[("rack", "7")]), ["b", "bb"]);
    assert_eq!(made(&[], &[("rack", "8")]), [""; 0]);
    assert_eq!(made(&[], &[("rack", "7"), ("row", "")]), [""; 0]);
}

#[test]
fn a_pattern_that_is_none_is_told_even_when_there_is_nothing_to_look_at() {
    let mut wrong = list(
        Vec::new(),
        Narrow::default(),
        "Name matches `(`",
        Work::default(),
    );
    assert!(matches!(wrong.turn(u64::MAX), Err(Wrong::Expression(_))));
    let text = r"Name matches `\pL{40}`";
    let mut large = list(Vec::new(), Narrow::default(), text, Work::default());
    assert!(matches!(large.turn(u64::MAX), Err(Wrong::Expensive(_))));
}

#[test]
fn what_is_refused_is_refused_in_the_turn_that_it_would_happen_in() {
    let long = "ab".repeat(200);
    let sources = vec![named(&long, &[]); 10];
    let text = "Name matches `a[ab]{100}[^ab]`";
    let mut list = list(sources, Narrow::default(), text, Work::bounded(1_000_000));
    let mut turns = 0;
    let why = loop {
        match list.turn(1) {
            Ok(done) => assert!(!done),
            Err(why) => break why,
        }
        turns += 1;
    };
    assert!(matches!(why, Wrong::Expensive(_)), "{why}");
    // The pattern, and some of the sources.
    assert!((2..10).contains(&turns), "{turns}");
}

#[test]
fn what_has_patterns_or_much_to_look_at_is_never_cheap() {
    let some = vec![named("a", &[]); 100];
    let cheap = |sources: &[Named], text: &str, tags: usize| {
        let narrow = Narrow {
            tags: vec!["a".to_owned(); tags],
            node_meta: Vec::new(),
        };
        is_cheap(sources, &narrow, &filter(text), 1_000_000)
    };
    assert!(cheap(&some, "", 0));
    assert!(cheap(&some, "Name == a", 0));
    assert!(cheap(&some, "Name == a or Name == b", 1));
    assert!(!cheap(&some, &vec!["Name contains a"; 100].join(" or "), 0));
    assert!(!cheap(&some, "Name == a", 30));
    assert!(!cheap(&vec![named("a", &[]); 10_000], "Name == a", 0));
    let mut large = named("a", &[]);
    large.2 = 1_000_000;
    assert!(!cheap(&[large], "Name == a", 0));
    assert!(!cheap(&[], "Name matches a", 0));
}

proptest! {
    #[test]
    fn turns_are_bounded_and_change_nothing(
        sources in prop::collection::vec("[ab]{0,60}", 0..30),
        text in prop::sample::select(vec![
            "", "Name == ab", "Name contains aba", "Name matches `^a[ab]{3}`",
            "Name matches `ba` and Name not matches `bb` or Name is empty",
        ]),
        most in 1_u64..20_000,
    ) {
        let sources: Vec<_> = sources.iter().map(|name| named(name, &[])).collect();
        let mut whole = list(sources.clone(), Narrow::default(), text, Work::default());
        prop_assert_eq!(whole.turn(u64::MAX), Ok(true));
        // The largest step is one source with its tests, or one pattern.
        let tests = filter(text).tests();
        let source = sources.iter().map(|source| 4 * cost(source, tests)).max().unwrap_or(0);
        let mut compiling = Work::default();
        compiling.read(text).unwrap();
        let step = source + compiling.used() + 100_000;
        if text.is_empty() {
            let shape = list(Vec::new(), Narrow::default(), "", Work::default()).shape;
            let written = serde_json::to_value(Whole::new(sources.clone(), Narrow::default(), shape));
            prop_assert_eq!(written.unwrap(), Value::from(whole.kept.clone()));
        }
        let mut parts = list(sources, Narrow::default(), text, Work::default());
        // The first turn is never longer than it may be, and what it pauses at is not lost.
        let begun = parts.begin(most).unwrap();
        let patterns = if filter(text).has_patterns() { 100_000 } else { 0 };
        prop_assert!(parts.work.used() <= most + patterns);
        prop_assert!(!begun || parts.work.used() == whole.work.used());
        let paused = parts.work.used();
        let mut turns = 0;
        loop {
            let before = parts.work.used();
            let done = parts.turn(most);
            let used = parts.work.used() - before;
            prop_assert!(used <= most + step, "{used} of {most} and {step}");
            turns += 1;
            if done == Ok(true) {
                break;
            }
            prop_assert_eq!(done, Ok(false));
            prop_assert!(used >= most, "a turn ends because it is used up");
        }
        prop_assert!(turns <= 64);
        // Only the source that it paused at was begun twice.
        prop_assert!((0..=source).contains(&(parts.work.used() - whole.work.used())), "{paused}");
        prop_assert_eq!(names(parts), names(whole));
    }

    /// What is done at once, on the workers that serve, is never more than was said beforehand.
    #[test]
    fn what_is_cheap_does_not_cost_more(
        sources in prop::collection::vec("[ab]{0,200}", 0..30),
        tests in prop::collection::vec(
            prop::sample::select(vec![
                "Name == ab", "Name contains aba", "Name is empty", "a not in Name",
            ]),
            0..40,
        ),
        most in 0_u64..1_000_000,
    ) {
        let sources: Vec<_> = sources.iter().map(|name| named(name, &[])).collect();
        let text = tests.join(" or ");
        if is_cheap(&sources, &Narrow::default(), &filter(&text), most) {
            let mut list = list(sources, Narrow::default(), &text, Work::default());
            prop_assert_eq!(list.turn(u64::MAX), Ok(true));
            prop_assert!(list.work.used() <= most);
        }
    }
}
