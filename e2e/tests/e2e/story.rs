//! `mizan up` with its real processes: started, looked at, paid through, killed, drained.

use std::process::Stdio;

use e2e::{Lines, Signal, Up};
use rustix::process::test_kill_process;
use serde_json::Value;

const QUARTERS: [&str; 3] = [
    "../cli/tests/data/quarter-of-2016.csv",
    "../cli/tests/data/quarter-with-a-slip.csv",
    "../cli/tests/data/quarter-of-2018.csv",
];

#[test]
fn payments_are_paid_once_and_the_whole_drains() {
    let up = Up::start();

    up.says(&["services"], |table| {
        table.contains("payment     2        2\n")
    });
    up.says(&["instances", "zakat", "--json"], |text| {
        let listing: Value = serde_json::from_str(text).unwrap();
        let second = &listing["instances"][1];
        second["instance_id"] == "zakat-2" && second["status"] == "passing"
    });

    let (code, first) = up.replay(&QUARTERS);
    assert_eq!(code, Some(3), "{first:#}");
    assert_eq!(first["rows"], 10);
    assert_eq!(first["paid"], 9);
    assert_eq!(first["refunds"], 3);
    assert_eq!(first["totals"][0]["amount"], "5861.74");
    assert_eq!(first["refused_rows"][0]["line"], 9);
    let reason = "has no transaction number (a total)";
    assert_eq!(first["refused_rows"][0]["reason"], reason);
    let books = &first["trial_balance"];
    assert_eq!(books["transactions"], 9);
    assert_eq!(books["totals"][0]["difference"], "0.00");

    let (code, second) = up.replay(&QUARTERS);
    assert_eq!(code, Some(3));
    assert_eq!(
        (&second["paid"], &second["already_paid"]),
        (&0.into(), &9.into())
    );
    assert_eq!(second["totals"], first["totals"]);
    assert_eq!(second["trial_balance"], first["trial_balance"]);

    let (code, third) = up.replay(&[QUARTERS[0], "../cli/tests/data/untidy.csv"]);
    assert_eq!(code, Some(3));
    assert_eq!(
        (&third["paid"], &third["already_paid"]),
        (&1.into(), &3.into())
    );
    assert_eq!(third["duplicate_rows"][0]["first_line"], 2);
    // Its other repetition has another amount.
    assert_eq!(
        (&third["duplicates"], &third["refused"]),
        (&1.into(), &5.into()),
        "{third:#}"
    );

    let (code, table) = up.stop();
    assert_eq!(code, Some(0));
    for [name, _, pid] in table {
        assert!(
            test_kill_process(e2e::pid(&pid)).is_err(),
            "{name} is still there"
        );
    }
}

#[test]
fn a_killed_process_is_started_again_and_nothing_is_lost() {
    let up = Up::start();
    up.signal("payment-1", Signal::KILL);
    up.signal("invoice-2", Signal::KILL);
    up.stderr
        .wait_for(|line| line.contains("payment-1 died (signal: 9"));
    let (code, report) = up.replay(&QUARTERS[..2]);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["paid"], 6);

    // The watch tells when the new one is passing.
    let mut watch = up
        .command(&["watch", "payment", "--passing", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let changes = Lines::of(watch.stdout.take().unwrap());
    changes.wait_for(|line| {
        let listing: Value = serde_json::from_str(line).unwrap();
        listing["instances"].as_array().unwrap().len() == 2
    });
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(up.stop().0, Some(0));
}

#[test]
fn children_do_not_outlive_a_supervisor_that_is_killed() {
    let mut up = Up::start();
    up.kill_supervisor();
    // Standard error is the supervisor's alone; the children's ends are pipes to it. What tells
    // that they are gone is that nothing answers at the registry's address any more.
    let began = std::time::Instant::now();
    while std::net::TcpStream::connect(&up.registry).is_ok() {
        assert!(began.elapsed().as_secs() < 60, "the registry lives on");
        std::thread::yield_now();
    }
}
