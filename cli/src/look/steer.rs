//! `mizan drain`, `mizan maint` and `mizan deregister`: taking instances and nodes out, putting them
//! back, and removing what is dead.

use std::process::ExitCode;

use mizan_contracts::registry::v1::{DeregisterRequest, SetMaintenanceRequest};
use serde::Serialize;

use super::{Common, LookError, client, exit, put};
use crate::terminal::inert;

/// Takes an instance out of what clients are given, until `mizan maint off`. It goes on running,
/// and what it is doing is finished.
#[derive(Debug, clap::Args)]
pub(crate) struct DrainArgs {
    /// The instance's id, such as payment-1.
    #[arg(value_name = "ID")]
    instance_id: String,

    /// Why, for people.
    #[arg(long, default_value = "drained by hand")]
    reason: String,

    /// Its node, when several have an instance of this id.
    #[arg(long, default_value = "")]
    node: String,

    #[command(flatten)]
    common: Common,
}

/// Takes an instance or a whole node out, or puts it back.
#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("what").required(true).multiple(true)),
    // Of its own accord clap names the group before the switch.
    override_usage = "mizan maint [OPTIONS] <on|off> <ID|--node <NODE>>",
)]
pub(crate) struct MaintArgs {
    /// Out or back.
    #[arg(value_name = "on|off")]
    switch: Switch,

    /// The instance's id; without one, the whole node.
    #[arg(value_name = "ID", group = "what")]
    instance_id: Option<String>,

    /// The node.
    #[arg(long, group = "what")]
    node: Option<String>,

    /// Why, for people.
    #[arg(long, default_value = "maintenance")]
    reason: String,

    #[command(flatten)]
    common: Common,
}

/// Removes an instance that is dead. One that lives registers again at once: `mizan drain` takes it out.
#[derive(Debug, clap::Args)]
pub(crate) struct DeregisterArgs {
    /// The instance's id, such as payment-1.
    #[arg(value_name = "ID")]
    instance_id: String,

    /// Its node, when it is not the registry's own.
    #[arg(long, default_value = "")]
    node: String,

    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

/// What was done, as shown.
#[derive(Debug, Serialize)]
struct Done {
    #[serde(skip_serializing_if = "String::is_empty")]
    instance_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    node: String,
    maintenance: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

/// What was removed, as shown.
#[derive(Debug, Serialize)]
struct Gone {
    instance_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    node: String,
    removed: bool,
    /// Its process lives, and registers again.
    beating: bool,
}

/// Runs `mizan deregister`.
pub(crate) async fn deregister(args: DeregisterArgs) -> ExitCode {
    exit(remove(args).await)
}

async fn remove(args: DeregisterArgs) -> Result<(), LookError> {
    let DeregisterArgs {
        instance_id,
        node,
        common,
    } = args;
    let request = DeregisterRequest {
        instance_id: instance_id.clone(),
        node: node.clone(),
        ..DeregisterRequest::default()
    };
    let left = client(&common).await?.deregister(request).await?;
    let left = left.into_inner();
    if !left.removed {
        return Err(LookError::NoInstance { instance_id, node });
    }
    let gone = Gone {
        instance_id,
        node,
        removed: left.removed,
        beating: left.beating,
    };
    put(&common, &gone, words)
}

fn words(gone: &Gone) -> String {
    let id = inert(&gone.instance_id);
    if gone.beating {
        format!(
            "{id} is removed, but it lives and registers again; `mizan drain {id}` takes it out\n"
        )
    } else {
        format!("{id} is removed\n")
    }
}

/// Runs `mizan drain`.
pub(crate) async fn drain(args: DrainArgs) -> ExitCode {
    let done = Done {
        instance_id: args.instance_id,
        node: args.node,
        maintenance: true,
        reason: args.reason,
    };
    exit(set(&args.common, done).await)
}

/// Runs `mizan maint`.
pub(crate) async fn maint(args: MaintArgs) -> ExitCode {
    let maintenance = args.switch == Switch::On;
    let done = Done {
        instance_id: args.instance_id.unwrap_or_default(),
        node: args.node.unwrap_or_default(),
        maintenance,
        reason: if maintenance {
            args.reason
        } else {
            String::new()
        },
    };
    exit(set(&args.common, done).await)
}

async fn set(common: &Common, done: Done) -> Result<(), LookError> {
    let request = SetMaintenanceRequest {
        instance_id: done.instance_id.clone(),
        node: done.node.clone(),
        enabled: done.maintenance,
        reason: done.reason.clone(),
    };
    client(common).await?.set_maintenance(request).await?;
    put(common, &done, text)
}

fn text(done: &Done) -> String {
    let what = if done.instance_id.is_empty() {
        format!("node {}", inert(&done.node))
    } else {
        inert(&done.instance_id)
    };
    if done.maintenance {
        format!("{what} is out: {}\n", inert(&done.reason))
    } else {
        format!("{what} is back\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_told_without_obeying_what_was_written() {
        let hostile = "a\x1b[2Jb\u{202e}\r\nFORGED";
        let shown = "a\u{fffd}[2Jb\u{fffd} FORGED";
        let mut done = Done {
            instance_id: hostile.to_owned(),
            node: String::new(),
            maintenance: true,
            reason: hostile.to_owned(),
        };
        assert_eq!(text(&done), format!("{shown} is out: {shown}\n"));
        done.maintenance = false;
        assert_eq!(text(&done), format!("{shown} is back\n"));
        (done.instance_id, done.node) = (String::new(), hostile.to_owned());
        assert_eq!(text(&done), format!("node {shown} is back\n"));
        for beating in [false, true] {
            let gone = Gone {
                instance_id: hostile.to_owned(),
                node: String::new(),
                removed: true,
                beating,
            };
            let said = words(&gone);
            assert!(said.starts_with(&format!("{shown} is removed")), "{said:?}");
        }
    }
}
