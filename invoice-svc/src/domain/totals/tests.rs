//! The oracles: Peppol BIS Billing 3.0's own examples, to the cent, and what holds for any document.

use proptest::prelude::*;

use super::*;
use crate::domain::{
    Adjustment, Document, DocumentSpec, LineSpec, Size, TaxedAdjustment,
    samples::{amount, document, line, pounds, spec, taxed},
};

/// The totals in the order of BG-22, and per rate what is taxable and the tax.
type Figures = ([i128; 9], Vec<(i128, i128)>);

fn figures(totals: &Totals, breakdown: &[Subtotal]) -> Figures {
    let t = totals;
    let totals = [
        t.lines,
        t.allowances,
        t.charges,
        t.net,
        t.tax,
        t.gross,
        t.prepaid,
        t.rounding,
        t.due,
    ];
    let breakdown = breakdown
        .iter()
        .map(|s| (s.taxable.minor(), s.amount.minor()));
    (totals.map(|money| money.minor()), breakdown.collect())
}

fn figures_of(asked: DocumentSpec) -> Figures {
    let document = Document::new(asked).unwrap();
    figures(document.totals(), document.breakdown())
}

/// Adds lines and document charges up without asking that something is to pay.
fn add(lines: &[LineSpec], charges: &[TaxedAdjustment]) -> Figures {
    let lines: Vec<_> = lines
        .iter()
        .cloned()
        .map(|l| Line::new(l).unwrap())
        .collect();
    let whole = lines
        .iter()
        .map(Line::amount)
        .fold(pounds(0), |sum, amount| sum.checked_add(amount).unwrap());
    let charges: Vec<_> = charges
        .iter()
        .cloned()
        .map(|TaxedAdjustment { adjustment, tax }| Taxed {
            adjusted: adjustment.of(whole).unwrap(),
            tax,
        })
        .collect();
    let currency = pounds(0).currency();
    let (totals, breakdown) =
        add_up(currency, &lines, &[], &charges, pounds(0), pounds(0)).unwrap();
    figures(&totals, &breakdown)
}

/// base-example.xml: 7 × 400, −3 × 500, a charge of 25, all at 25 %.
#[test]
fn peppols_base_example() {
    let lines = [line("7", 40_000, "25"), line("-3", 50_000, "25")];
    let mut asked = spec(&lines);
    asked.charges = vec![taxed(amount(2_500), "25")];
    let expected = (
        [130_000, 0, 2_500, 132_500, 33_125, 165_625, 0, 0, 165_625],
        vec![(132_500, 33_125)],
    );
    assert_eq!(figures_of(asked), expected);
}

/// Allowance-example.xml: allowances and charges on lines and document, a base quantity, an exempt
/// line, an amount paid in advance.
#[test]
fn peppols_allowance_example() {
    let of_hundred = Adjustment {
        size: Size::Percent {
            percent: "1".parse().unwrap(),
            base: Some(pounds(10_000)),
        },
        ..amount(0)
    };
    let adjusted = |price| LineSpec {
        charges: vec![of_hundred.clone()],
        allowances: vec![amount(10_100)],
        ..line("10", price, "25")
    };
    let by_two = LineSpec {
        base_quantity: "2".parse().unwrap(),
        ..line("10", 20_000, "0")
    };
    let mut asked = spec(&[adjusted(41_000), by_two, adjusted(10_000)]);
    let fifth = Adjustment {
        size: Size::Percent {
            percent: "20".parse().unwrap(),
            base: Some(pounds(100_000)),
        },
        ..amount(0)
    };
    asked.charges = vec![taxed(fifth, "25")];
    asked.allowances = vec![taxed(amount(20_000), "25")];
    asked.prepaid = Some(pounds(100_000));
    let lines: Vec<_> = asked.lines.iter().map(|l| l.amount().minor()).collect();
    assert_eq!(lines, [400_000, 100_000, 90_000]);
    let expected = (
        [
            590_000, 20_000, 20_000, 590_000, 122_500, 712_500, 100_000, 0, 612_500,
        ],
        vec![(490_000, 122_500), (100_000, 0)],
    );
    assert_eq!(figures_of(asked), expected);
}

/// Vat-category-S.xml: two standard rates, a charge and an allowance on the document.
#[test]
fn peppols_example_of_two_standard_rates() {
    let mut asked = spec(&[
        line("1", 400_000, "25"),
        line("1", 200_000, "15"),
        line("1", 90_000, "25"),
    ]);
    asked.charges = vec![taxed(amount(20_000), "25")];
    asked.allowances = vec![taxed(amount(10_000), "25")];
    let expected = (
        [
            690_000, 10_000, 20_000, 700_000, 155_000, 855_000, 0, 0, 855_000,
        ],
        vec![(500_000, 125_000), (200_000, 30_000)],
    );
    assert_eq!(figures_of(asked), expected);
}

/// base-negative-inv-correction.xml: the base example with every sign turned, and every total.
#[test]
fn peppols_negative_correction_is_the_exact_negation() {
    let negative = add(
        &[line("-7", 40_000, "25"), line("3", 50_000, "25")],
        &[taxed(amount(-2_500), "25")],
    );
    let expected = (
        [
            -130_000, 0, -2_500, -132_500, -33_125, -165_625, 0, 0, -165_625,
        ],
        vec![(-132_500, -33_125)],
    );
    assert_eq!(negative, expected);
}

/// The half that XPath's `round` would take the other way for the negative one.
#[test]
fn a_half_is_rounded_away_from_zero_for_both_signs() {
    // 0.10 at 25 % is 0.025; 1.5 × 0.05 is 0.075.
    for (quantity, minor, percent, tax, net) in [
        ("1", 10, "25", 3, 10),
        ("1.5", 5, "0", 0, 8),
        ("1", 30, "15", 5, 30),
    ] {
        let (up, _) = add(&[line(quantity, minor, percent)], &[]);
        assert_eq!(
            (up[3], up[4]),
            (net, tax),
            "{quantity} × {minor} at {percent} %"
        );
        let (down, _) = add(&[line(&format!("-{quantity}"), minor, percent)], &[]);
        assert_eq!(
            (down[3], down[4]),
            (-net, -tax),
            "-{quantity} × {minor} at {percent} %"
        );
    }
}

#[test]
fn tax_is_rounded_once_per_rate_and_not_per_line() {
    // 3 × 0.10 at 25 %: 0.075 is 0.08, where three rounded taxes would be 0.09.
    let (totals, _) = add(
        &[
            line("1", 10, "25"),
            line("1", 10, "25"),
            line("1", 10, "25"),
        ],
        &[],
    );
    assert_eq!(totals[4], 8);
}

#[test]
fn the_due_amount_is_rounded_as_asked() {
    let mut asked = spec(&[line("1", 10_003, "0")]);
    asked.rounding = Some(pounds(2));
    let (totals, _) = figures_of(asked);
    assert_eq!((totals[5], totals[7], totals[8]), (10_003, 2, 10_005));
}

#[test]
fn what_makes_no_document_is_told_by_field() {
    use crate::domain::Problem;
    let refused = |asked: DocumentSpec| {
        let invalid = Document::new(asked).unwrap_err();
        (invalid.field, invalid.problem)
    };
    let lines = |problem| ("lines".to_owned(), problem);
    let most = i128::from(i64::MAX);
    assert_eq!(refused(spec(&[])), lines(Problem::Required));
    assert_eq!(refused(spec(&[line("1", 0, "0")])), lines(Problem::Nothing));
    assert_eq!(
        refused(spec(&[line("-1", 1, "0")])),
        lines(Problem::BelowZero)
    );
    assert!(document(&[line("1", most, "0")]).is_ok());
    let too_large = lines(Problem::TooLarge);
    assert_eq!(
        refused(spec(&[line("1", most, "0"), line("1", 1, "0")])),
        too_large
    );
    assert_eq!(refused(spec(&[line("1", most, "25")])), too_large);
    let scope = LineSpec {
        tax: Tax::none(),
        ..line("1", 1, "0")
    };
    let mixed = lines(Problem::MixedScope);
    assert_eq!(refused(spec(&[scope, line("1", 1, "25")])), mixed);
    let dollar = LineSpec {
        unit_price: Money::from_minor(1, "USD".parse().unwrap()),
        ..line("1", 1, "0")
    };
    let mixed = lines(Problem::MixedCurrencies);
    assert_eq!(refused(spec(&[line("1", 1, "0"), dollar])), mixed);
    let with = |prepaid: i128, rounding: i128| DocumentSpec {
        prepaid: Some(pounds(prepaid)),
        rounding: Some(pounds(rounding)),
        ..spec(&[line("1", 100, "0")])
    };
    let prepaid = |problem| ("prepaid".to_owned(), problem);
    assert_eq!(refused(with(101, 0)), prepaid(Problem::MoreThanTotal));
    assert_eq!(refused(with(-1, 0)), prepaid(Problem::Negative));
    assert!(Document::new(with(101, 1)).is_ok());
    let rounding = ("rounding".to_owned(), Problem::BelowZero);
    assert_eq!(refused(with(0, -100)), rounding);
}

prop_compose! {
    fn lines()(asked in prop::collection::vec((-2_000_000_i64..2_000_000, 0_i64..100_000, 0_usize..4), 1..8))
        -> Vec<(i64, i64, &'static str)>
    {
        asked.into_iter().map(|(quantity, price, rate)| (quantity, price, ["0", "5.5", "15", "25"][rate])).collect()
    }
}

proptest! {
    #[test]
    fn turning_every_sign_turns_every_total(lines in lines(), charge in -10_000_i64..10_000) {
        let with = |sign: i64| {
            let lines: Vec<_> = lines
                .iter()
                .map(|(quantity, price, rate)| LineSpec {
                    quantity: crate::domain::Decimal::from_millionths(sign * quantity),
                    ..line("1", i128::from(*price), rate)
                })
                .collect();
            add(&lines, &[taxed(amount(i128::from(sign * charge)), "15")])
        };
        let (up, up_parts) = with(1);
        let (down, down_parts) = with(-1);
        prop_assert_eq!(up.map(|minor| -minor), down);
        let turned: Vec<_> = up_parts.iter().map(|(net, tax)| (-net, -tax)).collect();
        prop_assert_eq!(turned, down_parts);
    }

    #[test]
    fn the_sums_of_en_16931_hold(lines in lines(), charge in -10_000_i64..10_000) {
        let specs: Vec<_> = lines
            .iter()
            .map(|(quantity, price, rate)| LineSpec {
                quantity: crate::domain::Decimal::from_millionths(*quantity),
                ..line("1", i128::from(*price), rate)
            })
            .collect();
        let ([lines, allowances, charges, net, tax, gross, prepaid, rounding, due], parts) =
            add(&specs, &[taxed(amount(i128::from(charge)), "15")]);
        let each = specs.iter().cloned().map(|l| Line::new(l).unwrap().amount().minor());
        prop_assert_eq!(lines, each.sum::<i128>(), "BR-CO-10");
        prop_assert_eq!(net, lines - allowances + charges, "BR-CO-13");
        prop_assert_eq!(tax, parts.iter().map(|p| p.1).sum::<i128>(), "BR-CO-14");
        prop_assert_eq!(gross, net + tax, "BR-CO-15");
        prop_assert_eq!(due, gross - prepaid + rounding, "BR-CO-16");
        prop_assert_eq!(net, parts.iter().map(|p| p.0).sum::<i128>(), "each part has a rate");
    }
}
