//! A node that is cut off and returns. The module has the last name: libtest starts tests by name, and this one waits for all
//! others that need the node.

use std::time::Duration;

use super::article::codes;
use super::faults::Fault;
use super::machine::{disturbed, machine};
use crate::support::findings::finding;

const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn a_lost_node_is_found_and_its_return_too() {
    let Some(machine) = machine() else { return };
    let _held = disturbed();
    let ns = machine.cluster.namespace("lost");
    ns.apply(&Fault::named("healthy").manifest());
    ns.wait_ready("db", 2);
    let lost = machine.lose_node();
    let found = finding(&ns, "STS409", "db-0", &["NodeStatusUnknown"]);
    assert_eq!(found["set"], "db");
    let run = ns.sts(&["recover", "db", "--yes"]).code(4);
    assert!(run.stderr.contains("node"), "{run}");
    drop(lost);
    ns.wait("doctor to find nothing", PATIENCE, || {
        let found = codes(&ns);
        if found.is_empty() { Ok(()) } else { Err(format!("{found:?}")) }
    });
    ns.wait_ready("db", 2);
}
