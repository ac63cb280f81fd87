//! Herds: the tables of the tradition, row by row, and what holds for every size.
#![allow(clippy::unwrap_used, reason = "tests")]

use zakat_svc::domain::{
    livestock::{
        Animal::{self, BintLabun, BintMakhad, Hiqqah, Jadhaah, Musinnah, Sheep, Tabi},
        CamelRule, CattleRule, Due, HERD_MAX, Rules, Species, due,
    },
    ratio::Ratio,
};

const MAJORITY: Rules = Rules {
    camels: CamelRule::Decades,
    cattle: CattleRule::Bands,
};
const MALIKI: Rules = Rules {
    camels: CamelRule::DecadesWithChoice,
    cattle: CattleRule::Bands,
};
const HANAFI: Rules = Rules {
    camels: CamelRule::Restart,
    cattle: CattleRule::ProRata,
};

type Bundle = &'static [(Animal, i128)];

fn check(
    species: Species,
    rules: Rules,
    heads: std::ops::RangeInclusive<u32>,
    expected: &[Bundle],
) {
    let expected: Vec<Vec<(Animal, Ratio)>> = expected
        .iter()
        .map(|bundle| {
            let animals = bundle.iter();
            animals
                .map(|(animal, count)| (*animal, Ratio::whole(*count)))
                .collect()
        })
        .collect();
    for count in heads {
        assert_eq!(
            due(species, count, rules).alternatives,
            expected,
            "{count} {species:?}"
        );
    }
}

/// Bukhari 1454 and, above 120, Abu Dawud 1570: the whole of the table.
#[test]
fn camels_of_the_majority() {
    let rows: [(std::ops::RangeInclusive<u32>, &[Bundle]); 21] = [
        (0..=4, &[]),
        (5..=9, &[&[(Sheep, 1)]]),
        (10..=14, &[&[(Sheep, 2)]]),
        (15..=19, &[&[(Sheep, 3)]]),
        (20..=24, &[&[(Sheep, 4)]]),
        (25..=35, &[&[(BintMakhad, 1)]]),
        (36..=45, &[&[(BintLabun, 1)]]),
        (46..=60, &[&[(Hiqqah, 1)]]),
        (61..=75, &[&[(Jadhaah, 1)]]),
        (76..=90, &[&[(BintLabun, 2)]]),
        (91..=120, &[&[(Hiqqah, 2)]]),
        (121..=129, &[&[(BintLabun, 3)]]),
        (130..=139, &[&[(Hiqqah, 1), (BintLabun, 2)]]),
        (140..=149, &[&[(Hiqqah, 2), (BintLabun, 1)]]),
        (150..=159, &[&[(Hiqqah, 3)]]),
        (160..=169, &[&[(BintLabun, 4)]]),
        (170..=179, &[&[(Hiqqah, 1), (BintLabun, 3)]]),
        (180..=189, &[&[(Hiqqah, 2), (BintLabun, 2)]]),
        (190..=199, &[&[(Hiqqah, 3), (BintLabun, 1)]]),
        // "Whichever is available."
        (200..=209, &[&[(Hiqqah, 4)], &[(BintLabun, 5)]]),
        (210..=219, &[&[(Hiqqah, 1), (BintLabun, 4)]]),
    ];
    for (heads, expected) in rows {
        check(Species::Camels, MAJORITY, heads, expected);
    }
}

#[test]
fn camels_of_the_malikis_have_a_choice_above_120() {
    check(
        Species::Camels,
        MALIKI,
        121..=129,
        &[&[(Hiqqah, 2)], &[(BintLabun, 3)]],
    );
    for count in (0..=120).chain(130..=1000) {
        assert_eq!(
            due(Species::Camels, count, MALIKI),
            due(Species::Camels, count, MAJORITY)
        );
    }
}

/// Al-Muhit al-Burhani, and the examples of al-Muqaddimat al-Mumahhidat 317.
#[test]
fn camels_of_the_hanafis_begin_anew() {
    let rows: [(std::ops::RangeInclusive<u32>, &[Bundle]); 20] = [
        (91..=124, &[&[(Hiqqah, 2)]]),
        (125..=129, &[&[(Hiqqah, 2), (Sheep, 1)]]),
        (130..=134, &[&[(Hiqqah, 2), (Sheep, 2)]]),
        (135..=139, &[&[(Hiqqah, 2), (Sheep, 3)]]),
        (140..=144, &[&[(Hiqqah, 2), (Sheep, 4)]]),
        (145..=149, &[&[(Hiqqah, 2), (BintMakhad, 1)]]),
        (150..=154, &[&[(Hiqqah, 3)]]),
        (155..=159, &[&[(Hiqqah, 3), (Sheep, 1)]]),
        (160..=164, &[&[(Hiqqah, 3), (Sheep, 2)]]),
        (165..=169, &[&[(Hiqqah, 3), (Sheep, 3)]]),
        (170..=174, &[&[(Hiqqah, 3), (Sheep, 4)]]),
        (175..=185, &[&[(Hiqqah, 3), (BintMakhad, 1)]]),
        (186..=195, &[&[(Hiqqah, 3), (BintLabun, 1)]]),
        (196..=204, &[&[(Hiqqah, 4)]]),
        (205..=209, &[&[(Hiqqah, 4), (Sheep, 1)]]),
        (225..=235, &[&[(Hiqqah, 4), (BintMakhad, 1)]]),
        (236..=245, &[&[(Hiqqah, 4), (BintLabun, 1)]]),
        (246..=254, &[&[(Hiqqah, 5)]]),
        (255..=259, &[&[(Hiqqah, 5), (Sheep, 1)]]),
        (1000..=1004, &[&[(Hiqqah, 20)]]),
    ];
    for (heads, expected) in rows {
        check(Species::Camels, HANAFI, heads, expected);
    }
    for count in 0..=120 {
        let (ours, theirs) = (
            due(Species::Camels, count, HANAFI),
            due(Species::Camels, count, MAJORITY),
        );
        assert_eq!(ours.alternatives, theirs.alternatives);
    }
}

/// Abu Dawud 1576; oracle O19.
#[test]
fn cattle() {
    let rows: [(std::ops::RangeInclusive<u32>, &[Bundle]); 11] = [
        (0..=29, &[]),
        (30..=39, &[&[(Tabi, 1)]]),
        (40..=59, &[&[(Musinnah, 1)]]),
        (60..=69, &[&[(Tabi, 2)]]),
        (70..=79, &[&[(Musinnah, 1), (Tabi, 1)]]),
        (80..=89, &[&[(Musinnah, 2)]]),
        (90..=99, &[&[(Tabi, 3)]]),
        (100..=109, &[&[(Musinnah, 1), (Tabi, 2)]]),
        (110..=119, &[&[(Musinnah, 2), (Tabi, 1)]]),
        (120..=129, &[&[(Musinnah, 3)], &[(Tabi, 4)]]),
        (130..=139, &[&[(Musinnah, 1), (Tabi, 3)]]),
    ];
    for (heads, expected) in rows {
        check(Species::Cattle, MAJORITY, heads, expected);
    }
}

#[test]
fn cattle_of_abu_hanifa_between_forty_and_sixty() {
    for count in 40..=59 {
        let share = Ratio::new(count.into(), 40).unwrap();
        assert_eq!(
            due(Species::Cattle, count, HANAFI).alternatives,
            [vec![(Musinnah, share)]]
        );
    }
    for count in (0..=39).chain(60..=1000) {
        assert_eq!(
            due(Species::Cattle, count, HANAFI),
            due(Species::Cattle, count, MAJORITY)
        );
    }
}

/// Oracle O18.
#[test]
fn sheep() {
    let rows = [
        (39, 0),
        (40, 1),
        (120, 1),
        (121, 2),
        (200, 2),
        (201, 3),
        (399, 3),
        (400, 4),
        (999, 9),
    ];
    for (count, expected) in rows {
        let bundles = due(Species::Sheep, count, MAJORITY).alternatives;
        let given = bundles.first().map_or(Ratio::ZERO, |bundle| bundle[0].1);
        assert_eq!(given, Ratio::whole(expected), "{count} sheep");
    }
}

/// Ages priced so that an older animal is worth more: a sheep 4, then 20, 40, 50, 60 (a hiqqah and
/// a bint labun stand as 50 to 40), a tabi' 30, a musinnah 40.
fn value(animal: Animal) -> Ratio {
    Ratio::whole(match animal {
        Sheep => 4,
        BintMakhad => 20,
        BintLabun => 40,
        Hiqqah => 50,
        Jadhaah => 60,
        Tabi => 30,
        Musinnah => 40,
    })
}

fn cheapest(due: &Due) -> Ratio {
    let worth = |bundle: &Vec<(Animal, Ratio)>| {
        bundle.iter().fold(Ratio::ZERO, |sum, (animal, count)| {
            sum.plus(value(*animal).times(*count).unwrap()).unwrap()
        })
    };
    due.alternatives
        .iter()
        .map(worth)
        .min()
        .unwrap_or(Ratio::ZERO)
}

const SCHOOLS: [Rules; 3] = [MAJORITY, MALIKI, HANAFI];
const SPECIES: [Species; 3] = [Species::Camels, Species::Cattle, Species::Sheep];

/// Bands follow each other by one rule from 400 heads on; every one of them is walked to here, and
/// from here to the largest herd one of 89.
const EVERY_BAND_TO: u32 = 8_000;

/// In every school: bands follow each other without a gap, something is due above the smallest
/// nisab, and the same is due throughout a band and not beyond it.
#[test]
fn bands_are_exact() {
    for rules in SCHOOLS {
        for species in SPECIES {
            let mut count = 0;
            while count <= HERD_MAX {
                let here = due(species, count, rules);
                let (first, last) = here.band;
                assert_eq!(
                    first, count,
                    "{species:?} {rules:?}: a band begins where one ended"
                );
                assert!(last >= count);
                assert_eq!(here.alternatives.is_empty(), first == 0);
                for within in [first, first.midpoint(last), last] {
                    assert_eq!(due(species, within, rules), here, "{within} {species:?}");
                }
                let next = due(species, last + 1, rules);
                assert_ne!(next.alternatives, here.alternatives);
                count = if count < EVERY_BAND_TO {
                    last + 1
                } else {
                    due(species, last + 890, rules).band.0
                };
            }
        }
    }
}

/// More animals never owe less, at fixed prices; nor does the remainder of a decade, the waqs, owe
/// anything from 130 camels and 60 cattle on.
#[test]
fn more_animals_never_owe_less_and_a_waqs_is_never_taxed() {
    for (rules, species) in [
        (MAJORITY, Species::Camels),
        (MAJORITY, Species::Cattle),
        (MAJORITY, Species::Sheep),
    ] {
        let mut before = Ratio::ZERO;
        for count in (0..EVERY_BAND_TO).chain((EVERY_BAND_TO..=HERD_MAX).step_by(97)) {
            let here = due(species, count, rules);
            let owed = cheapest(&here);
            assert!(owed >= before, "{count} {species:?}: {owed} after {before}");
            before = owed;
            let from = match species {
                Species::Camels => 130,
                Species::Cattle => 60,
                Species::Sheep => 400,
            };
            if count >= from {
                let size = if species == Species::Sheep { 100 } else { 10 };
                assert_eq!(here, due(species, count / size * size, rules));
            }
        }
    }
}

/// What is due on a decade of `tens` above 120: of ways to make it up by `older` and `younger` tens
/// the most of the older, and how many there are. By counting up from nothing, and not as the code
/// does.
fn ways(tens: u32, older: u32, younger: u32) -> (u32, usize) {
    let mut most = (0, 0);
    for younger_ones in 0..=tens / younger {
        let rest = tens - younger_ones * younger;
        if rest.is_multiple_of(older) {
            most = (most.0.max(rest / older), most.1 + 1);
        }
    }
    most
}

/// Each herd by itself, from one head to the largest, in every school.
#[test]
fn every_herd_of_one_to_a_hundred_thousand() {
    std::thread::scope(|scope| {
        for (species, rules, from, older, younger) in [
            (Species::Camels, MAJORITY, 130, 5, 4),
            (Species::Cattle, MAJORITY, 60, 4, 3),
        ] {
            scope.spawn(move || {
                let mut expected = (0, 0);
                for count in from..=HERD_MAX {
                    if count % 10 == 0 {
                        expected = ways(count / 10, older, younger);
                    }
                    let here = due(species, count, rules);
                    assert_eq!(here.band, (count / 10 * 10, count / 10 * 10 + 9));
                    assert_eq!(here.alternatives.len(), expected.1, "{count}");
                    let (animal, first) = here.alternatives[0][0];
                    if expected.0 > 0 {
                        assert_eq!(first, Ratio::whole(expected.0.into()), "{count}");
                    } else {
                        assert!([BintLabun, Tabi].contains(&animal));
                        assert_eq!(first, Ratio::whole((count / 10 / younger).into()));
                    }
                }
            });
        }
    });
}

/// The same for what is reckoned by one rule from 150 camels of the Hanafis and 400 sheep on; and
/// the Malikis reckon camels as the majority from 130 on, whose herds are above.
#[test]
fn every_herd_of_the_hanafis_and_every_flock() {
    for count in 150..=HERD_MAX {
        let (fifties, above) = ((count - 150) / 50, (count - 150) % 50);
        let more: Bundle = match above {
            0..=4 | 46.. => &[],
            5..=9 => &[(Sheep, 1)],
            10..=14 => &[(Sheep, 2)],
            15..=19 => &[(Sheep, 3)],
            20..=24 => &[(Sheep, 4)],
            25..=35 => &[(BintMakhad, 1)],
            36..=45 => &[(BintLabun, 1)],
        };
        let hiqqahs = 3 + fifties + u32::from(above >= 46);
        let given = due(Species::Camels, count, HANAFI).alternatives;
        let mut expected = vec![(Hiqqah, Ratio::whole(hiqqahs.into()))];
        expected.extend(more.iter().map(|(a, n)| (*a, Ratio::whole(*n))));
        assert_eq!(given, [expected], "{count} camels");
    }
    for count in 400..=HERD_MAX {
        let given = due(Species::Sheep, count, MAJORITY).alternatives;
        let expected = Ratio::whole((count / 100).into());
        assert_eq!(given, [vec![(Sheep, expected)]], "{count} sheep");
    }
}

/// From 130 camels or 60 cattle, every decade to 20,000 and then one of thirteen to the largest
/// herd: each alternative makes up its decade exactly, no two are the same, and none is left out.
/// (The heads above a decade add nothing: the test before.)
#[test]
fn alternatives_are_all_there_are() {
    for (species, from, older, younger) in
        [(Species::Camels, 130, 5, 4), (Species::Cattle, 60, 4, 3)]
    {
        let all = (from..20_000).step_by(10);
        for decade in all.chain((20_000..=HERD_MAX).step_by(130)) {
            let tens = decade / 10;
            let given = due(species, decade, MAJORITY).alternatives;
            let solutions =
                (0..=tens / older).filter(|n| (tens - older * n).is_multiple_of(younger));
            assert_eq!(given.len(), solutions.count(), "{decade}");
            assert!(!given.is_empty());
            let whole = Ratio::whole(decade.into());
            // Beyond the first thousand decades the two ends stand for the rest: adding is slow.
            let ends = given.len().saturating_sub(1).max(1);
            let step = if decade <= 10_000 { 1 } else { ends };
            for bundle in given.iter().step_by(step) {
                let sum = bundle.iter().fold(Ratio::ZERO, |sum, (animal, count)| {
                    sum.plus(value(*animal).times(*count).unwrap()).unwrap()
                });
                assert_eq!(sum, whole);
            }
            assert!(given.windows(2).all(|pair| pair[0] != pair[1]));
        }
    }
}
