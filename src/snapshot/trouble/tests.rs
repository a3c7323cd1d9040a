//! What each state of a pod is taken for.

use super::*;

const NOW: &str = "2026-11-20T12:10:00Z";

/// The word for the trouble of a pod made at 12:00 with this status and container, or `-`.
fn word(status: &str, container: &str) -> String {
    let json = format!(
        r#"{{"metadata": {{"name": "db-0", "creationTimestamp": "2026-11-20T12:00:00Z"}},
            "spec": {{"nodeName": "a", "containers": [{{"name": "db"}}]}},
            "status": {{"phase": "Running", {status} "containerStatuses": [{{"name": "db", {container}}}]}}}}"#
    );
    let pod: Pod = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let now = NOW.parse().unwrap_or_default();
    of(&pod, &[], None, now).map_or("-".to_owned(), |trouble| trouble.why.word().to_owned())
}

const READY: &str = r#""conditions": [{"type": "Ready", "status": "True"}],"#;
const UNREADY: &str =
    r#""conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-20T12:00:00Z"}],"#;

/// A container that runs since, whose last run had this begin, end and exit code.
fn ran(since: &str, restarts: i32, last: (&str, &str, i32)) -> String {
    format!(
        r#""restartCount": {restarts}, "ready": true, "state": {{"running": {{"startedAt": "2026-11-20T{since}Z"}}}},
          "lastState": {{"terminated": {{"exitCode": {}, "startedAt": "2026-11-20T{}Z", "finishedAt": "2026-11-20T{}Z"}}}}"#,
        last.2, last.0, last.1
    )
}

#[test]
fn a_loop_is_told_from_its_history() {
    for (case, container, expected) in [
        ("runs as briefly as before", ran("12:09:50", 4, ("12:09:00", "12:09:20", 1)), "CrashLoopBackOff"),
        ("runs much longer than before", ran("12:08:00", 4, ("12:07:00", "12:07:05", 1)), "-"),
        ("ran for long before", ran("12:09:50", 9, ("10:00:00", "12:09:49", 1)), "-"),
        (
            "failed twice, so that it was in back-off",
            ran("12:09:50", 2, ("12:09:00", "12:09:20", 1)),
            "CrashLoopBackOff",
        ),
        ("failed once only", ran("12:09:50", 1, ("12:09:00", "12:09:20", 1)), "-"),
        ("ends well, and is ready", ran("12:09:50", 4, ("12:09:00", "12:09:20", 0)), "CrashLoopBackOff"),
    ] {
        assert_eq!(word(READY, &container), expected, "{case}");
    }
    let back_off = r#""restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}"#;
    assert_eq!(word(UNREADY, back_off), "CrashLoopBackOff");
    let first = r#""state": {"terminated": {"exitCode": 1, "finishedAt": "2026-11-20T12:09:59Z"}}"#;
    assert_eq!(word(UNREADY, first), "starting", "it is started again at once");
}

#[test]
fn waiting_is_no_trouble_until_the_kubelet_says_so() {
    for (reason, message, expected) in [
        ("ContainerCreating", "", "starting"),
        ("PodInitializing", "", "starting"),
        ("ErrImagePull", "", "ErrImagePull"),
        ("CreateContainerConfigError", "secret \\\"x\\\" not found", "CreateContainerConfigError"),
        ("CreateContainerConfigError", "failed to sync secret cache", "starting"),
    ] {
        let container =
            format!(r#""state": {{"waiting": {{"reason": "{reason}", "message": "{message}"}}}}"#);
        assert_eq!(word(UNREADY, &container), expected, "{reason} {message}");
    }
    let runs = r#""state": {"running": {"startedAt": "2026-11-20T12:00:10Z"}}"#;
    assert_eq!(word(UNREADY, runs), "not ready");
    assert_eq!(word(READY, runs), "-");
}
