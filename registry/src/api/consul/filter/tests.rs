//! Filter expressions by table, and by chance.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const SELECTORS: Selectors = &[
    ("Name", Kind::Text),
    ("Port", Kind::Text),
    ("Service.Tags", Kind::List),
    ("Service.Meta", Kind::Map),
    ("Checks.Status", Kind::Text),
];

/// Applies an expression: whether it keeps the answer, and the work it took.
fn apply(text: &str, answer: &Value, mut work: Work) -> Result<(bool, u64), Wrong> {
    let mut judge = Judge::from(Filter::parse(text, SELECTORS)?);
    let mut applied = || {
        while judge.prepare(&mut work)? {}
        let compiled = work.used();
        let kept = judge.keeps(answer, &mut work)?;
        Ok((kept, work.used() - compiled))
    };
    applied().map_err(|why| match why {
        Stop::Wrong(why) => why,
        Stop::Pause => panic!("nobody said that it must pause"),
    })
}

fn keeps(text: &str, answer: &Value) -> Result<bool, Wrong> {
    apply(text, answer, Work::default()).map(|(kept, _)| kept)
}

#[test]
fn expressions_keep_what_they_describe() {
    let answer = json!({
        "Name": "web", "Port": 8080,
        "Service": {"Tags": ["v1", "blue"], "Meta": {"env": "prod", "a-b": ""}},
        "Checks": [{"Status": "passing"}, {"Status": "warning"}],
    });
    for (text, kept) in [
        ("", true),
        ("Name == web", true),
        ("Name == \"web\"", true),
        ("Name==`web`", true),
        ("Name != web", false),
        ("Port == 8080", true),
        ("Port != 8080", false),
        ("v1 in Service.Tags", true),
        ("\"v2\" in Service.Tags", false),
        ("v2 not in Service.Tags", true),
        ("Service.Tags contains \"blue\"", true),
        ("Service.Tags not contains blue", false),
        ("Service.Tags is empty", false),
        ("Service.Tags is not empty", true),
        ("Service.Meta.env == prod", true),
        ("Service.Meta[\"env\"] == prod", true),
        ("Service.Meta[\"a-b\"] is empty", true),
        ("Service.Meta.none == x", false),
        ("Service.Meta.none != x", true),
        ("Service.Meta.none is empty", true),
        ("env in Service.Meta", true),
        ("Name contains eb", true),
        ("Name matches \"^w.b$\"", true),
        ("Name not matches \"^w.b$\"", false),
        ("Checks.Status == warning", true),
        ("Checks.Status == critical", false),
        ("not Name == web", false),
        ("not (Name == api)", true),
        ("Name == api or Port == 8080 and Name == web", true),
        ("(Name == api or Port == 8080) and Name == api", false),
    ] {
        assert_eq!(keeps(text, &answer), Ok(kept), "{text}");
    }
}

#[test]
fn what_is_no_expression_is_refused_with_its_reason() {
    for (text, why) in [
        ("Foo == x", "Selector \"Foo\" is not valid"),
        ("Name.x == x", "Selector \"Name.x\" is not valid"),
        ("Name", "ends too early"),
        ("Name ==", "a value must follow"),
        ("Name = x", "did not expect"),
        ("Name == x y", "did not expect \"y\""),
        ("(Name == x", "a parenthesis does not end"),
        ("Name == \"x", "a string does not end"),
        ("Name is full", "must be followed by"),
        ("Name like x", "is not an operator"),
        (
            "Name matches \"(\"",
            "the pattern is not one: unclosed group",
        ),
        (
            "Name matches `a{2,1}`",
            "the pattern is not one: invalid repetition",
        ),
        ("Service.Tags == x", "compares texts"),
        ("Service.Meta[env] == x", "must be a string"),
        ("x in", "a selector is missing"),
        ("%", "did not expect \"%\""),
    ] {
        let refused = keeps(text, &json!({})).unwrap_err();
        assert!(matches!(refused, Wrong::Expression(_)), "{text}: {refused}");
        let refused = refused.to_string();
        assert!(
            refused.contains(why) && !refused.contains('\n'),
            "{text}: {refused}"
        );
    }
    let deep = format!("{}Name == x", "not ".repeat(1000));
    assert!(Filter::parse(&deep, SELECTORS).is_err());
    assert!(Filter::parse(&"(".repeat(5000), SELECTORS).is_err());
    assert!(Filter::parse(&" ".repeat(10_000), SELECTORS).is_err());
}

/// Why an expression is too expensive.
fn expensive(text: &str, answer: &Value) -> String {
    match keeps(text, answer) {
        Err(Wrong::Expensive(why)) => why,
        other => panic!("{text:.80}: {other:?}"),
    }
}

fn any_of(patterns: impl Iterator<Item = String>) -> String {
    let tests: Vec<_> = patterns
        .map(|one| format!("Name matches `{one}`"))
        .collect();
    tests.join(" or ")
}

#[test]
fn what_would_cost_too_much_is_refused_before_it_is_done() {
    let long = json!({"Name": "ab".repeat(250)});
    for (text, why) in [
        // Too many of them: refused before any is compiled.
        (any_of((0..33).map(|n| format!("a{n}"))), "33 patterns"),
        (
            any_of((0..32).map(|_| "a".repeat(65))),
            "2080 bytes together",
        ),
        // Each is small, all of them are not.
        (
            any_of((0..32).map(|_| "[ab]{400}".to_owned())),
            "when they are compiled",
        ),
        (
            any_of((0..32).map(|_| r"\pL".to_owned())),
            "when they are compiled",
        ),
        // One is large: refused while it is compiled.
        (
            r"Name matches `\pL{40}`".to_owned(),
            "when they are compiled",
        ),
        (
            "Name matches `((a{50}){50}){50}`".to_owned(),
            "when they are compiled",
        ),
        (
            format!("Name matches `(?i){}`", r"\pL".repeat(600)),
            "when they are compiled",
        ),
    ] {
        let told = expensive(&text, &long);
        assert!(told.contains(why), "{text:.80}: {told}");
    }
    // As many as there may be, and as people write them.
    let many = any_of((0..32).map(|n| format!("^web-{n}-(a|b)$")));
    assert_eq!(keeps(&many, &long), Ok(false));
    assert_eq!(keeps(r"Name matches `^[\w-]+$`", &long), Ok(true));
}

#[test]
fn patterns_of_which_no_automaton_can_be_built_take_no_more_than_their_size_times_the_text() {
    let answer = |bytes: usize| json!({"Name": "ab".repeat(bytes / 2)});
    for pattern in [
        "a[ab]{200}[^ab]",
        "(?:a?){200}a{200}",
        "(.*z){9}",
        "(a*)*b*c",
    ] {
        let text = format!("Name matches `{pattern}`");
        let (_, once) = apply(&text, &answer(500), Work::default()).unwrap();
        let (_, twice) = apply(&text, &answer(1_000), Work::default()).unwrap();
        assert!(
            once < twice && twice <= 2 * once,
            "{pattern}: {once}, {twice}"
        );
        // A bound below that refuses it, and nothing is left half done.
        let refused = apply(&text, &answer(500), Work::bounded(once - 1));
        assert!(matches!(refused, Err(Wrong::Expensive(_))), "{refused:?}");
    }
}

#[test]
fn plain_tests_cost_what_they_look_at() {
    let output = "x".repeat(1_000);
    let answer = json!({"Name": output, "Checks": vec![json!({"Status": output}); 32]});
    let cost = |text: &str| apply(text, &answer, Work::default()).unwrap().1;
    let one = cost("Name contains y");
    assert!((1_000..2_000).contains(&one), "{one}");
    let many = cost(&vec!["Name contains y"; 100].join(" or "));
    assert_eq!(many, 100 * one);
    let through = cost("Checks.Status contains y");
    assert_eq!(through, 32 * one);
    // Those that are not needed any more are not made.
    assert_eq!(cost("Name contains x or Name contains y"), one);
    let text = vec!["Name contains y"; 100].join(" or ");
    assert!(apply(&text, &answer, Work::bounded(99 * one)).is_err());
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in "\\PC*") {
        let _ = Filter::parse(&text, SELECTORS);
    }

    #[test]
    fn what_almost_is_an_expression_does_no_harm(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "Name", "Service.Meta.a", "Service.Tags", "==", "!=", "in", "not", "is",
                "empty", "and", "or", "(", ")", "\"x\"", "`y", "contains", "matches", "[", ".",
            ]),
            0..20,
        )
    ) {
        let _ = keeps(&words.join(" "), &json!({"Name": "x", "Service": {"Meta": {}}}));
    }

    #[test]
    fn no_filter_works_beyond_its_bound(
        tests in prop::collection::vec(
            (
                prop::sample::select(vec!["Name", "Service.Meta.a", "Checks.Status"]),
                prop::sample::select(vec![
                    "matches `a[ab]{20}[^ab]`", "matches `(a|b)*c`", "contains b", "== x",
                    "is empty", "not matches `^a`",
                ]),
                prop::sample::select(vec![" and ", " or ", " and not "]),
            ),
            1..20,
        ),
        name in "[ab]{0,300}",
        most in 0_u64..200_000,
    ) {
        let mut text = "Name is not empty".to_owned();
        for (selector, test, word) in tests {
            text.push_str(&format!("{word}{selector} {test}"));
        }
        let answer = json!({
            "Name": name, "Service": {"Meta": {"a": name}},
            "Checks": [{"Status": name}, {"Status": "b"}],
        });
        let all = apply(&text, &answer, Work::bounded(u64::MAX)).unwrap();
        match apply(&text, &answer, Work::bounded(most)) {
            // With enough, the answer is the same, and so is the work.
            Ok(bounded) => prop_assert!(bounded == all && bounded.1 <= most),
            Err(why) => {
                prop_assert!(matches!(why, Wrong::Expensive(_)), "{why}");
                prop_assert!(all.1 > most);
            }
        }
    }
}
