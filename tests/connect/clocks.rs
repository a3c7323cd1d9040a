//! Ages are counted by the server's clock: no client clock and no gateway makes a young PVC old.

use jiff::{SignedDuration, Timestamp};

use super::stand_in::{Said, StandIn, date, with_header};
use crate::support::Run;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const SECONDS: SignedDuration = SignedDuration::from_secs(5);

/// A stand-in whose clock differs from ours by `ahead`; its PVC is of this age. `dated` is what its answers say.
fn server(ahead: SignedDuration, age: SignedDuration, dated: Option<SignedDuration>) -> StandIn {
    let header = move || dated.map(|ahead| date(Timestamp::now() + ahead)).unwrap_or_default();
    StandIn::start(move |_, said: Said| with_header(&said, &header()))
        .with_left_over(Timestamp::now() + ahead - age)
}

fn prune(stand_in: &StandIn, flag: &str) -> Run {
    stand_in.take();
    stand_in.sts(&["prune-pvcs", flag, "30m", "--yes", "--backup", "backup"])
}

#[test]
fn a_young_claim_is_never_old_whatever_the_clocks_say() {
    for flag in ["--older-than", "--unused-for"] {
        // The server's clock and ours an hour apart, both ways, and a Date an hour away from everything.
        for (ahead, dated) in [(-HOUR, -HOUR), (HOUR, HOUR), (SignedDuration::ZERO, HOUR)] {
            let stand_in = server(ahead, SECONDS, Some(dated));
            let run = prune(&stand_in, flag);
            assert!(stand_in.has("persistentvolumeclaims", "data-db-1"), "{flag} {ahead} {dated}\n{run}");
            assert!(
                !stand_in.take().iter().any(super::stand_in::Asked::is_write),
                "{flag} {ahead} {dated}\n{run}"
            );
            let way = if dated > SignedDuration::ZERO { "behind" } else { "ahead of" };
            // A Date has whole seconds.
            let says =
                ["59m", "60m"].map(|by| format!("this machine's clock is {by} {way} the API server's"));
            let said: usize = says.iter().map(|says| run.stderr.matches(says).count()).sum();
            assert_eq!(said, 1, "said once: {says:?}\n{run}");
        }
    }
}

#[test]
fn an_old_claim_is_old_by_the_servers_clock() {
    for ahead in [-HOUR, SignedDuration::ZERO, HOUR] {
        // Something was created lately: without it nothing but our own clock would speak against a forged Date.
        let stand_in = server(ahead, HOUR + HOUR, Some(ahead));
        stand_in.put(
            "services",
            &serde_json::json!({"metadata": {"name": "new",
            "creationTimestamp": (Timestamp::now() + ahead - SECONDS).to_string()}, "spec": {}}),
        );
        let run = prune(&stand_in, "--older-than");
        assert!(!stand_in.has("persistentvolumeclaims", "data-db-1"), "{ahead}\n{run}");
    }
}

#[test]
fn without_the_servers_time_nothing_is_deleted_for_its_age() {
    let year = SignedDuration::from_hours(24 * 366 * 3);
    for dated in [None, Some(year), Some(-year), Some(-HOUR)] {
        for flag in ["--older-than", "--unused-for"] {
            let stand_in = server(SignedDuration::ZERO, SECONDS, dated);
            let run = prune(&stand_in, flag).code(4);
            assert!(run.stderr.contains("server-time-unknown"), "{run}");
            assert!(!stand_in.take().iter().any(super::stand_in::Asked::is_write), "{run}");
        }
    }
    // What is asked for without an age needs no clock.
    let stand_in = server(SignedDuration::ZERO, SECONDS, None);
    let run = stand_in.sts(&["prune-pvcs", "--yes", "--backup", "backup"]);
    assert!(!stand_in.has("persistentvolumeclaims", "data-db-1"), "{run}");
    assert!(run.stderr.contains("the API server's answers have no Date"), "{run}");
}

#[test]
fn doctor_tells_of_the_clocks_in_text_and_json() {
    let stand_in = server(HOUR, SECONDS, Some(HOUR));
    let run = stand_in.sts(&["doctor"]);
    assert!(
        run.stdout.contains("note: this machine's clock is ") && run.stdout.contains("m behind"),
        "{run}"
    );
    let run = stand_in.sts(&["doctor", "-o", "json"]);
    crate::schema::holds(&run.stdout);
    let told: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(told["clock"]["source"], "server", "{run}");
    assert!((-3605..=-3595).contains(&told["clock"]["aheadSeconds"].as_i64().unwrap()), "{run}");
    let same = server(SignedDuration::ZERO, SECONDS, Some(SignedDuration::ZERO)).sts(&["doctor"]);
    assert!(!same.stdout.contains("clock") && !same.stderr.contains("clock"), "{same}");
}
