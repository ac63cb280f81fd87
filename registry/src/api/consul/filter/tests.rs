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
        let filter = Filter::parse(text, SELECTORS).unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(filter.keeps(&answer), kept, "{text}");
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
        ("Name matches \"(\"", "the pattern is not one"),
        ("Service.Tags == x", "compares texts"),
        ("Service.Meta[env] == x", "must be a string"),
        ("x in", "a selector is missing"),
        ("%", "did not expect \"%\""),
    ] {
        let refused = Filter::parse(text, SELECTORS).unwrap_err();
        assert!(refused.contains(why), "{text}: {refused}");
    }
    let deep = format!("{}Name == x", "not ".repeat(1000));
    assert!(Filter::parse(&deep, SELECTORS).is_err());
    assert!(Filter::parse(&"(".repeat(5000), SELECTORS).is_err());
    assert!(Filter::parse(&" ".repeat(10_000), SELECTORS).is_err());
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
        if let Ok(filter) = Filter::parse(&words.join(" "), SELECTORS) {
            filter.keeps(&json!({"Name": "x", "Service": {"Meta": {}}}));
        }
    }
}
