//! Every touch of the outside (a call, or a write of the store) crossed with every fault, alone and in
//! pairs, over the store's rules in memory; alone on the real stores too. After each: recovery, and
//! the invariant. How many combinations ran is printed, and is in `docs/PAYMENTS.md`.

use std::sync::atomic::Ordering::Relaxed;

use super::{
    faulty::Fault,
    rig::{POLICY, Rig, payment, refund},
};
use crate::domain::{Payment, State};

const FAULTS: [Fault; 8] = [
    // An error.
    Fault::NotExecuted,
    // A timeout before the effect, and after it.
    Fault::LostBefore,
    Fault::LostAfter,
    // Duplicate delivery.
    Fault::Twice,
    // Reordering: behind the next one, and behind all.
    Fault::Late(2),
    Fault::Late(usize::MAX / 2),
    // A crash before the touch, and after it.
    Fault::CrashBefore,
    Fault::CrashAfter,
];

/// How far behind the first the second fault of a pair may be: longer than what any one fault adds
/// to a run until it is at rest.
const APART_MAX: usize = 9;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Story {
    /// A payment that goes well.
    Pays,
    /// One that the ledger refuses.
    LedgerRefuses,
    /// One that invoicing refuses.
    InvoicesRefuse,
    /// A refund that goes well.
    Refunds,
    /// A refund that the ledger refuses.
    RefundRefused,
}

const STORIES: [Story; 5] = [
    Story::Pays,
    Story::LedgerRefuses,
    Story::InvoicesRefuse,
    Story::Refunds,
    Story::RefundRefused,
];

/// Plays a story; the faults count from its first touch. Gives how many touches it had, and whether
/// all faults came to pass.
async fn play(rig: &mut Rig, story: Story, nth: usize, faults: &[(usize, Fault)]) -> (usize, bool) {
    let id = format!("p{nth}");
    let spent_before = rig.shared.world.lock().spent();
    let body = match story {
        Story::Refunds | Story::RefundRefused => {
            rig.shared.world.lock().ledger_refuses = false;
            let paid = format!("paid{nth}");
            rig.pay(&paid).await;
            refund(&id, &paid, Some(30))
        }
        _ => payment(&id),
    };
    let hits_before = rig.shared.hits.load(Relaxed);
    {
        let mut world = rig.shared.world.lock();
        world.ledger_refuses = matches!(story, Story::LedgerRefuses | Story::RefundRefused);
        world.invoices_refuse = story == Story::InvoicesRefuse;
    }
    let before = rig.shared.touched();
    for (after, fault) in faults {
        rig.fault(*after, *fault);
    }
    let ended: Payment = rig.settle(body.clone()).await;
    let touches = rig.shared.touched() - before;
    let all = rig.shared.hits.load(Relaxed) - hits_before == faults.len();
    let expected: &[State] = match story {
        Story::Pays | Story::Refunds => &[State::Completed],
        Story::LedgerRefuses | Story::RefundRefused => &[State::Compensated],
        // Fenced, if another attempt may be on its way.
        Story::InvoicesRefuse => &[State::Failed, State::Compensated],
    };
    assert!(expected.contains(&ended.state), "{ended:?}");
    rig.check(&ended, body).await;
    let spent = rig.shared.world.lock().spent() - spent_before;
    let expected = match story {
        Story::Pays | Story::RefundRefused => 100,
        Story::LedgerRefuses | Story::InvoicesRefuse => 0,
        Story::Refunds => 70,
    };
    assert_eq!(spent, expected);
    (touches, all)
}

#[tokio::test(start_paused = true)]
async fn every_touch_of_the_outside_fails_in_every_way_alone_and_in_pairs() {
    let mut counts = [0_usize; 2];
    for story in STORIES {
        let mut clean = Rig::in_memory(&[]).await;
        let (touches, _) = play(&mut clean, story, 0, &[]).await;
        for first in 0..touches {
            for fault in FAULTS {
                let mut rig = Rig::in_memory(&[]).await;
                let faults = [(first, fault)];
                play(&mut rig, story, 0, &faults).await;
                counts[0] += 1;
                // Its way is that of a payment which the ledger refuses.
                if story == Story::RefundRefused {
                    continue;
                }
                for second in first + 1..=first + APART_MAX {
                    for other in FAULTS {
                        let mut rig = Rig::in_memory(&[]).await;
                        let faults = [(first, fault), (second, other)];
                        let (_, all) = play(&mut rig, story, 0, &faults).await;
                        counts[1] += usize::from(all);
                    }
                }
            }
        }
    }
    println!(
        "crash points: {} single faults and {} pairs, 0 violations",
        counts[0], counts[1]
    );
    assert!(counts[0] > 250 && counts[1] > 10_000, "{counts:?}");
}

#[tokio::test]
async fn every_touch_of_the_outside_fails_in_every_way_on_the_real_stores() {
    let mut count = 0_usize;
    let mut stores = 0;
    for story in STORIES {
        let mut clean = Rig::in_memory(&[]).await;
        let (touches, _) = play(&mut clean, story, 0, &[]).await;
        let rigs = Rig::on_both(POLICY).await;
        stores = rigs.len();
        for mut rig in rigs {
            for first in 0..touches {
                for fault in FAULTS {
                    count += 1;
                    play(&mut rig, story, count, &[(first, fault)]).await;
                }
            }
        }
    }
    println!("crash points on {stores} real stores: {count}, 0 violations");
    assert!(count >= 300);
}
