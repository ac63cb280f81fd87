//! How `mizan up` ends.

use e2e::{Signal, Up};

/// Who asks twice does not want to wait: not for one that hangs, and not for those that drain after it.
#[test]
fn a_second_signal_ends_every_process_at_once() {
    let up = Up::start();
    up.signal("payment-1", Signal::STOP);
    up.ask_to_stop();
    // The first signal was heard: the other one of what drains first has drained.
    let drained = |line: &str| line.starts_with("payment-2 ") && line.contains("\"drained\"");
    up.stderr.wait_for(drained);
    up.ask_to_stop();
    for name in ["payment-1", "registry"] {
        let killed = format!("{name} is killed");
        up.stderr.wait_for(|line| line.ends_with(&killed));
    }
}
