//! The logs of failing containers: what is shown of them, and what a known sentence in one means.

use std::process::Command;
use std::time::Duration;

use kubectl_sts::cluster::recorded::{self, Absent};
use kubectl_sts::kinds::Said;
use kubectl_sts::render::{Page, Style, finding};
use kubectl_sts::rules::{Filter, LogTail, diagnose, hints};
use kubectl_sts::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::support::proxy::{LogAnswer, Proxy};
use crate::support::{self, Namespace, Run};

/// A recording of a container that crashes, with these lines in its log.
fn crashing(lines: &[&str]) -> String {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "db-0", "namespace": "shop", "creationTimestamp": "2026-11-20T12:00:00Z"},
        "spec": {"nodeName": "node-a", "containers": [{"name": "db", "image": "db"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-20T12:00:00Z"}],
            "containerStatuses": [{
                "name": "db", "restartCount": 7,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {
                    "exitCode": 1, "reason": "Error",
                    "startedAt": "2026-11-20T12:12:57Z", "finishedAt": "2026-11-20T12:13:00Z",
                }},
            }],
        },
    });
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"replicas": 1},
    });
    json!({
        "apiVersion": "kubectl-sts/v1", "kind": "Recording", "takenAt": "2026-11-20T12:14:00Z",
        "counts": {"Pod": 1, "StatefulSet": 1},
        "logs": [{"namespace": "shop", "pod": "db-0", "container": "db", "previous": true, "lines": lines}],
        "objects": [pod, set],
    })
    .to_string()
}

/// What is said of it: as text of this width, and what was read.
pub fn told(lines: &[&str], width: Option<usize>) -> (String, LogTail) {
    let files = [("file".to_owned(), crashing(lines))];
    let observed = recorded::read(&files, Absent::Empty, jiff::Timestamp::UNIX_EPOCH).unwrap();
    let mut diagnosis = diagnose(&observed, |_| true, &Filter::default());
    let (set, found) = &mut diagnosis.findings[0];
    let namespaces = observed.namespaces();
    let snapshot = Snapshot::of(&observed, &namespaces["shop"], set);
    found.add_log(&snapshot, &observed.logs[0], 3);
    let mut page = Page::new(Style { width, ..Style::PLAIN });
    finding(&mut page, set, found, false);
    (page.finish(), found.log.clone().unwrap())
}

#[test]
fn every_hint_is_given_for_what_its_project_prints() {
    assert!(hints().len() > 50, "the file of the hints cannot be read");
    let mut names = std::collections::BTreeSet::new();
    for hint in hints() {
        let name = &hint.name;
        assert!(names.insert(name), "{name} is there twice");
        let lines: Vec<&str> = hint.example.lines().collect();
        let (text, log) = told(&lines, Some(100));
        let found = log.hint.unwrap_or_else(|| panic!("nothing is said of the example of {name}"));
        assert_eq!(&found.name, name, "another hint comes first");
        // As it is shown: credentials are taken out.
        assert_eq!(found.line, Said::from(lines.last().unwrap()), "{name}");
        let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let wanted = format!("hint the log says that {}; {}", hint.cause, hint.remedy);
        assert!(said.contains(&wanted.split_whitespace().collect::<Vec<_>>().join(" ")), "{name}: {text}");
        for sentence in &hint.says {
            let (_, log) = told(&[&sentence.replace("{}", "X")], None);
            assert!(log.hint.is_some_and(|found| found.name == *name), "{name}: {sentence}");
        }
        assert!(!hint.sources.is_empty(), "{name} has no source");
        assert!(["", "architecture", "old-pvc"].contains(&hint.asks.as_str()), "{name}");
        for words in [&hint.cause, &hint.remedy] {
            assert!(!words.ends_with('.') && !words.is_empty(), "{name}: {words}");
            assert!(words.chars().count() <= 200, "{name} is too long: {words}");
            let lower = words.to_lowercase();
            assert!(!lower.contains("delete the pvc") && !lower.contains("delete pvc"), "{name}: {words}");
        }
    }
}

/// What healthy applications write, or write while they start, and sentences that only look like known ones.
#[test]
fn ordinary_lines_are_no_hints() {
    for line in [
        "2026-11-20 12:13:00.103 UTC [1] LOG:  database system is ready to accept connections",
        "2026-11-20 12:13:00.103 UTC [1] LOG:  received fast shutdown request",
        "2026-11-20 12:13:00.103 UTC [40] FATAL:  the database system is starting up",
        "2026-11-20 12:13:00.103 UTC [41] ERROR:  permission denied for table orders",
        "2026-11-20T12:13:00.211528Z 1 [System] [MY-013576] [InnoDB] InnoDB initialization has started.",
        "{\"level\":\"info\",\"msg\":\"published local member to cluster through raft\",\"cluster-id\":\"cdf8\"}",
        "[2026-11-20 12:13:00,780] INFO Cluster ID = OkOjGPrdRimp8nkFohYkCw (kafka.server.KafkaServer)",
        "1:M 20 Nov 2026 12:13:00.415 * Ready to accept connections tcp",
        "2026-11-20 12:13:00.103 UTC [41] ERROR:  relation \"role\" does not exist",
        "2026-11-20 12:13:00 [info] <0.269.0> Waiting for Mnesia tables for 30000 ms, 9 retries left",
        "[2026-11-20T12:13:00,404][INFO ][o.e.n.Node] [es-0] started",
        "",
    ] {
        let (text, log) = told(&[line], None);
        assert!(log.hint.is_none(), "{line}: {text}");
    }
}

#[test]
fn lines_of_a_log_cannot_steer_the_terminal() {
    let long = "x".repeat(5000);
    let wide = "\u{6f22}".repeat(300);
    let lines = ["\u{1b}[31mred\u{1b}[0m\u{1b}]0;title\u{7}", "a\u{202e}b\rc\td\u{0}", &long, &wide];
    for width in [30, 60, 80, 100, 200] {
        let (text, _) = told(&lines, Some(width));
        assert!(!text.contains(['\u{1b}', '\u{7}', '\r', '\t', '\u{0}', '\u{202e}']), "{text:?}");
        let quoted = text.lines().filter(|line| line.contains(['x', '\u{6f22}', '|']));
        for line in quoted.filter(|line| !line.contains("kubectl") && !line.contains("exit")) {
            assert!(console::measure_text_width(line) <= width, "{width}: {line}");
        }
        // Of a line without an end only some is shown.
        assert!(text.matches('x').count() < 400, "{text}");
    }
    let (_, log) = told(&lines[..1], None);
    assert_eq!(log.lines[0].as_str(), "red");
    // Programs get it all.
    let (_, log) = told(&[&long], None);
    assert_eq!(log.lines[0].len(), 5000);
}

#[test]
fn a_sentence_above_the_lines_that_are_shown_is_quoted() {
    let lines = ["exec /web: exec format error", "a", "b", "c"];
    let (text, log) = told(&lines, None);
    assert!(
        text.contains("  log      | exec /web: exec format error\n           | …\n           | a\n"),
        "{text}"
    );
    assert_eq!(log.lines.len(), 3);
    let (text, _) = told(&[], None);
    assert!(text.contains("  log      empty: the container wrote nothing\n"), "{text}");
    let gone = "unable to retrieve container logs for containerd://0123";
    let (text, log) = told(&[gone], None);
    assert!(log.not_read.is_some() && !text.contains("containerd"), "{text}");
    // A log that quotes it is a log.
    let (_, log) = told(&[gone, "b"], None);
    assert_eq!((log.lines.len(), log.not_read.is_none()), (2, true));
}

/// With a termination message, in a file as `kubectl get -o json` writes it, which has no logs.
fn with_message(message: &str, log: Option<&[&str]>) -> String {
    let mut file: Value = serde_json::from_str(&crashing(log.unwrap_or_default())).unwrap();
    file["objects"][0]["status"]["containerStatuses"][0]["lastState"]["terminated"]["message"] =
        message.into();
    if log.is_none() {
        file.as_object_mut().unwrap().remove("logs");
    }
    file.to_string()
}

#[test]
fn a_termination_message_is_shown_as_a_log_is() {
    let message = "first\n\u{1b}[31msecond\u{1b}[0m\nconnecting to postgres://app:hunter2@db failed\n\nparting words\r\n";
    let read = |file: &str, args: &[&str]| sts(&[args, &["--from", "-"]].concat(), file);
    let file = with_message(message, None);
    for command in [&["doctor"][..], &["status", "db"]] {
        let text = read(&file, command).stdout;
        let lines = "  message  | second\n           | connecting to postgres://";
        assert!(text.contains(lines) && text.contains("           | parting words\n"), "{text}");
        assert!(!text.contains("| first") && !text.contains("hunter2") && !text.contains('\u{1b}'), "{text}");
        assert!(!text.contains("  log  "), "{text}");
        let text = read(&file, &[command, &["--no-logs"]].concat()).stdout;
        assert!(!text.contains("| parting words"), "{text}");
    }
    // The end of the log itself is not said twice, and another message beside it is.
    let text = read(&with_message("b\nc", Some(&["a", "b", "c"])), &["doctor"]).stdout;
    assert!(text.contains("| c\n") && !text.contains("message  |"), "{text}");
    let text = read(&with_message("out of disk quota", Some(&["a", "b", "c"])), &["doctor"]).stdout;
    assert!(text.contains("| c\n") && text.contains("  message  | out of disk quota\n"), "{text}");
    // A known sentence in it is a hint.
    let json = read(&with_message("exec /web: exec format error", None), &["doctor", "-o", "json"]).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    let hint = &json["findings"][0]["log"]["hint"];
    assert_eq!(
        (&hint["in"], &hint["line"]),
        (&json!("terminationMessage"), &json!("exec /web: exec format error"))
    );
    // It is recorded as a log is: only where that is asked for.
    assert!(!read(&file, &["record"]).ok().contains("parting words"));
    let again = read(&file, &["record", "--logs"]).ok();
    assert!(read(&again, &["doctor"]).stdout.contains("| parting words\n"), "{again}");
    assert!(!again.contains("hunter2"), "{again}");
}

/// Logs that are written as JSON, as that of CloudNativePG.
#[test]
fn quotes_within_json_hide_no_sentence() {
    for (line, name) in [
        (
            r#"{"logger":"postgres","record":{"error_severity":"FATAL","message":"role \"app\" does not exist"}}"#,
            "postgres-role-missing",
        ),
        // The log of the server says which it is, and a client is not told.
        (r#"DETAIL:  Role "app" does not exist."#, "postgres-role-missing"),
        (r#"{"level":"fatal","msg":"lock file \"postmaster.pid\" already exists"}"#, "postgres-lock-file"),
    ] {
        let (text, log) = told(&[line], None);
        assert_eq!(log.hint.map(|hint| hint.name), Some(name.to_owned()), "{text}");
    }
}

/// The kubelet says how long it waits, and the clock of the recording how much of that is left. Where either is not known,
/// nothing is said.
#[test]
fn the_next_start_is_told_only_where_it_is_known() {
    let because = |message: &str, finished: &str, is_plain: bool| {
        let mut file: Value = serde_json::from_str(&crashing(&[])).unwrap();
        let status = &mut file["objects"][0]["status"]["containerStatuses"][0];
        status["state"]["waiting"]["message"] = message.into();
        status["lastState"]["terminated"]["finishedAt"] = finished.into();
        if is_plain {
            file = json!({"apiVersion": "v1", "kind": "List", "items": file["objects"]});
        }
        let run = sts(&["doctor", "-o", "json", "--only", "STS402", "--from", "-"], &file.to_string());
        let report: Value =
            serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"));
        report["findings"][0]["because"].as_str().unwrap_or_else(|| panic!("{run}")).to_owned()
    };
    let message = |pause: &str| format!("back-off {pause} restarting failed container=db pod=db-0_shop(0)");
    let end = "2026-11-20T12:13:00Z";
    for (pause, finished, said) in [
        ("5m0s", end, "the kubelet starts it again in 4m"),
        ("1m20s", end, "the kubelet starts it again in 20s"),
        ("1m0s", end, "the kubelet starts it again within seconds"),
        ("50s", end, "the kubelet starts it again within seconds"),
        ("31s", end, "the kubelet starts it again within seconds"),
    ] {
        let text = because(&message(pause), finished, false);
        assert!(text.ends_with(said), "{pause}: {text}");
    }
    for (message, finished, is_plain) in [
        (message("29s"), end, false),
        (message("soon"), end, false),
        (message("999999999999h"), end, false),
        (String::new(), end, false),
        ("waiting".to_owned(), end, false),
        (message("5m0s"), end, true),
    ] {
        let text = because(&message, finished, is_plain);
        assert!(!text.contains("starts it again"), "{message}: {text}");
    }
}

fn sts(args: &[&str], stdin: &str) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
    command.args(args).env_clear();
    let run = Run::of(&mut command, stdin);
    if args.windows(2).any(|pair| pair == ["-o", "json"]) {
        crate::schema::holds(&run.stdout);
    }
    run
}

#[test]
fn flags_say_how_much_of_a_recorded_log_is_shown() {
    let file = crashing(&["one", "two", "three", "four"]);
    let read = |args: &[&str]| sts(&[args, &["--from", "-"]].concat(), &file);
    for command in [&["doctor"][..], &["status", "db"]] {
        let shown = |more: &[&str]| {
            let text = read(&[command, more].concat()).stdout;
            ["| one\n", "| two\n", "| three\n", "| four\n"]
                .iter()
                .filter(|line| text.contains(**line))
                .count()
        };
        assert_eq!(shown(&[]), 3);
        assert_eq!(shown(&["--logs", "1"]), 1);
        assert_eq!(shown(&["--logs", "200"]), 4);
        assert_eq!(shown(&["--logs", "0"]), 0);
        assert_eq!(shown(&["--no-logs"]), 0);
        read(&[command, &["--logs", "201"]].concat()).code(2);
        read(&[command, &["--logs", "1", "--no-logs"]].concat()).code(2);
        let json: Value = serde_json::from_str(&read(&[command, &["-o", "json"]].concat()).stdout).unwrap();
        assert_eq!(json["findings"][0]["log"]["lines"], json!(["two", "three", "four"]));
        let json = read(&[command, &["-o", "json", "--no-logs"]].concat()).stdout;
        assert!(serde_json::from_str::<Value>(&json).unwrap()["findings"][0]["log"].is_null());
    }
    // What is recorded again has it only where that is asked for.
    assert!(!read(&["record"]).ok().contains("three"));
    let again = read(&["record", "--logs"]).ok();
    assert!(sts(&["doctor", "--from", "-"], &again).stdout.contains("| four\n"));
}

/// The logs that a namespace's findings show, by object.
fn logs(ns: &Namespace, args: &[&str]) -> (Run, std::collections::BTreeMap<String, Value>) {
    let run = ns.sts(&[&["doctor", "-o", "json"], args].concat());
    let report: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"));
    let all = report["findings"].as_array().unwrap().iter();
    let named = all.map(|it| (it["object"]["name"].as_str().unwrap().to_owned(), it["log"].clone()));
    let named = named.collect();
    (run, named)
}

/// A StatefulSet whose pod does what these annotations say.
fn faulty(name: &str, annotations: &Value, more: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: {name}}}\nspec:\n  serviceName: {name}\n  \
         selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}, annotations: \
         {annotations}}}\n    spec: {{terminationGracePeriodSeconds: 1, {more}}}\n---\n{{apiVersion: v1, kind: Service, metadata: \
         {{name: {name}}}, spec: {{clusterIP: None, selector: {{app: {name}}}, publishNotReadyAddresses: true}}}}\n"
    )
}

const SECRET: &str = "sentence-of-the-log";

fn four_faults(ns: &Namespace) {
    let probe = "{tcpSocket: {port: 80}, periodSeconds: 1, failureThreshold: 1}";
    let old = "The data directory was initialized by PostgreSQL version 15, which is not compatible with this version 17.2";
    ns.apply(&faulty(
        "crash",
        &json!({"fake.test/mode": "crashloop", "fake.test/restarts": "5", "fake.test/log": format!("{SECRET}\nFATAL:  a\nDETAIL:  {old}\n")}),
        "containers: [{name: main, image: 'a:1'}]",
    ));
    ns.apply(&faulty(
        "killed",
        &json!({"fake.test/mode": "liveness", "fake.test/up": "2s", "fake.test/down": "3s", "fake.test/log": "a\nb\nc\nd\n"}),
        &format!("containers: [{{name: main, image: 'a:1', livenessProbe: {probe}}}]"),
    ));
    ns.apply(&faulty(
        "init",
        &json!({"fake.test/mode": "init-fail", "fake.test/restarts": "5", "fake.test/log": "dial tcp: lookup db: no such host\n"}),
        "initContainers: [{name: first, image: 'a:1'}], containers: [{name: main, image: 'a:1'}]",
    ));
    ns.apply(&faulty(
        "unready",
        &json!({"fake.test/mode": "unready", "fake.test/log": "waiting for the lock\n"}),
        &format!("containers: [{{name: main, image: 'a:1', readinessProbe: {probe}}}]"),
    ));
}

/// Waits until all four are found.
fn wait_found(ns: &Namespace) {
    ns.wait("four findings with a log", support::PATIENCE, || {
        let (run, logs) = logs(ns, &[]);
        let found = logs.values().filter(|log| !log.is_null()).count();
        if found == 4 { Ok(()) } else { Err(run.to_string()) }
    });
}

/// One namespace for all of it: to make the faults takes most of the time.
#[test]
fn the_logs_of_the_failing_containers_are_shown() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("logs");
    four_faults(&ns);
    wait_found(&ns);

    let (run, all) = logs(&ns, &[]);
    assert_eq!(run.code, 1, "{run}");
    let crash = &all["crash-0"];
    assert_eq!(crash["container"], "main");
    assert_eq!(crash["lines"].as_array().unwrap().len(), 3, "{crash}");
    assert_eq!(crash["hint"]["name"], "postgres-other-major-version");
    assert_eq!(all["killed-0"]["lines"], json!(["b", "c", "d"]));
    assert_eq!(all["init-0"]["container"], "first");
    assert_eq!(all["init-0"]["hint"]["name"], "name-not-resolved");
    assert_eq!(all["unready-0"]["lines"], json!(["waiting for the lock"]));
    assert_eq!(all["unready-0"]["previous"], false);

    // People get the same; a list and names read none.
    let text = ns.sts(&["doctor"]).stdout;
    assert!(
        text.contains("hint     the log says that the data was written by another major version"),
        "{text}"
    );
    assert!(ns.sts(&["status", "crash"]).ok().contains(SECRET));
    for args in
        [&["status"][..], &["status", "-o", "json"], &["doctor", "-o", "name"], &["doctor", "--no-logs"]]
    {
        let run = ns.sts(args);
        assert!(!run.stdout.contains(SECRET), "{run}");
    }
    let run = ns.sts(&["watch", "crash", "--stuck-after", "0s", "--timeout", "2m"]).code(1);
    assert!(run.stdout.contains(SECRET) && run.stdout.contains("hint     the log says"), "{run}");
    let run = ns.sts(&["watch", "crash", "--stuck-after", "0s", "--timeout", "2m", "--no-logs"]).code(1);
    assert!(!run.stdout.contains(SECRET), "{run}");

    what_gets_stuck_while_it_acts_shows_its_log(&ns);
    a_recording_has_logs_only_where_they_are_asked_for(&ns);
    what_may_not_be_read_is_named(&ns);
    no_answer_is_an_error(&ns);
    ten_logs_are_read_and_the_others_named(&ns);
}

fn what_gets_stuck_while_it_acts_shows_its_log(ns: &Namespace) {
    ns.apply(&faulty("acts", &json!({}), "containers: [{name: main, image: 'a:1'}]"));
    ns.wait_ready("acts", 1);
    let bad = json!({"metadata": {"annotations": {
        "fake.test/mode": "crashloop", "fake.test/restarts": "5", "fake.test/log": format!("{SECRET}\n"),
    }}});
    let patch = bad.to_string();
    let stuck = ["--yes", "--stuck-after", "0s", "--timeout", "2m"];
    let run =
        ns.sts(&[&["canary", "acts", "--partition", "0", "--patch", &patch], &stuck[..]].concat()).code(1);
    assert!(run.stdout.contains(&format!("| {SECRET}")), "{run}");
    // Promoting it gets stuck on the same pod.
    for (args, is_shown) in [(&["--no-logs"][..], false), (&["--logs", "1"], true), (&["-o", "json"], true)] {
        let run = ns.sts(&[&["promote", "acts", "--full"], &stuck[..], args].concat()).code(1);
        assert_eq!(run.stdout.contains(SECRET), is_shown, "{run}");
    }
    ns.kubectl(&["delete", "statefulset", "acts", "--cascade=foreground", "--wait"]).ok();
}

fn a_recording_has_logs_only_where_they_are_asked_for(ns: &Namespace) {
    let without = ns.sts(&["record"]).ok();
    assert!(!without.contains(SECRET), "{without}");
    let with = ns.sts(&["record", "--logs"]).ok();
    crate::schema::holds(&ns.sts(&["record", "--logs", "-o", "json"]).ok());
    let run = ns.sts_in(&["doctor", "--from", "-"], &with).code(1);
    assert!(run.stdout.contains(SECRET) && run.stdout.contains("no such host"), "{run}");
    let run = ns.sts_in(&["doctor", "--from", "-"], &without).code(1);
    assert!(!run.stdout.contains("  log  ") && !run.stdout.contains("log of"), "{run}");
}

/// The rules of the role for readers, without that for logs.
fn role_without_logs() -> String {
    let page = include_str!("../docs/permissions.md");
    let yaml = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let lines = yaml.split("rules:\n").nth(1).unwrap().lines();
    let rest: Vec<&str> = lines.filter(|line| !line.contains("pods/log")).collect();
    rest.join("\n")
}

fn what_may_not_be_read_is_named(ns: &Namespace) {
    let user = ns.user("no-logs", "- {apiGroups: [apps], resources: [statefulsets], verbs: [list]}");
    ns.grant_cluster("no-logs", &role_without_logs());
    let run = ns.wait("the role", support::PATIENCE, || {
        let run = ns.sts_as(&user, &["doctor"]);
        let is_granted = run.stdout.matches("not checked:").count() == 1;
        if is_granted { Ok(run) } else { Err(run.to_string()) }
    });
    assert_eq!(run.code, 1, "{run}");
    let line = run.stdout.split("not checked:").nth(1).unwrap();
    assert!(line.contains("logs of ") && line.contains("forbidden to user"), "{run}");
    let run = ns.sts_as(&user, &["status", "crash"]).code(0);
    assert!(run.stdout.contains("log of crash-0 (forbidden to user"), "{run}");
    let run = ns.sts_as(&user, &["watch", "crash", "--stuck-after", "0s", "--timeout", "2m"]).code(1);
    assert!(run.stdout.contains("log of crash-0 (forbidden to user"), "{run}");
    let run = ns.sts_as(&user, &["doctor", "--no-logs"]).code(1);
    assert!(!run.stdout.contains("not checked"), "{run}");

    // The status of the pod has what its container left, and may be read.
    let message = json!({"fake.test/mode": "crashloop", "fake.test/down": "1h", "fake.test/restarts": "3"});
    ns.apply(&faulty("left", &message, "containers: [{name: main, image: 'a:1'}]"));
    ns.wait_pod_status("left-0", "CrashLoopBackOff");
    let mut statuses = ns.kubectl_json(&["get", "pod", "left-0"])["status"]["containerStatuses"].clone();
    statuses[0]["lastState"]["terminated"]["message"] = "config: unknown key\nthe end of it\n".into();
    ns.patch_status("pod/left-0", &json!({"status": {"containerStatuses": statuses}}));
    let run = ns.sts_as(&user, &["doctor", "left"]).code(1);
    assert!(run.stdout.contains("  message  | config: unknown key\n           | the end of it\n"), "{run}");
    assert!(run.stdout.contains("log of left-0 (forbidden to user"), "{run}");
    let run = ns.sts_as(&user, &["watch", "left", "--stuck-after", "0s", "--timeout", "2m"]).code(1);
    assert!(run.stdout.contains("| the end of it"), "{run}");
    assert!(!ns.sts(&["record", "left"]).ok().contains("the end of it"));
    assert!(ns.sts(&["record", "left", "--logs"]).ok().contains("the end of it"));
    ns.delete(&["statefulset/left", "--wait=true"]);
}

fn no_answer_is_an_error(ns: &Namespace) {
    let proxy = Proxy::start(ns.cluster);
    let through = || logs(ns, &["--server", &proxy.server]);
    let tell = |answer| proxy.answer_logs(Some(answer));
    tell(LogAnswer::Whole(b"\x1b[31mred\x1b[0m\r\n\xff\xfe\x00\x01binary\n\n\n".to_vec()));
    let (run, all) = through();
    assert_eq!(run.code, 1, "{run}");
    assert_eq!(all["crash-0"]["lines"][0], "red", "{run}");
    assert_eq!(all["crash-0"]["lines"].as_array().unwrap().len(), 2, "{run}");

    tell(LogAnswer::Whole(Vec::new()));
    let (run, all) = through();
    assert_eq!(
        (run.code, &all["crash-0"]["lines"], &all["crash-0"]["notRead"]),
        (1, &json!([]), &Value::Null)
    );

    // More than was asked for, and no end: it is left after so many bytes.
    tell(LogAnswer::Endless(b"noise\n".repeat(100_000)));
    let (run, all) = through();
    assert_eq!((run.code, &all["crash-0"]["cut"]), (1, &json!(true)), "{run}");
    assert_eq!(all["crash-0"]["lines"], json!(["noise", "noise", "noise"]));

    tell(LogAnswer::Refused(
        500,
        "an error on the server (\"boom\") has prevented the request from succeeding",
    ));
    let (run, all) = through();
    assert_eq!(run.code, 1, "{run}");
    assert!(all["crash-0"]["notRead"].as_str().unwrap().contains("boom"), "{run}");
    let text = ns.sts(&["doctor", "--server", &proxy.server]).code(1).stdout;
    assert_eq!(text.matches("boom").count(), 1, "one line for all of them: {text}");

    tell(LogAnswer::Nothing);
    let (run, all) = through();
    assert_eq!(run.code, 1, "{run}");
    assert!(
        all.values().filter(|log| !log.is_null()).all(|log| log["notRead"] == "no answer within 10s"),
        "{run}"
    );
}

/// The container ends after doctor has looked at its pod: the kubelet has removed the run before.
#[test]
fn the_log_of_a_run_that_ends_meanwhile_is_read() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("ends");
    let does = json!({
        "fake.test/mode": "crashloop", "fake.test/restarts": "5", "fake.test/up": "2s", "fake.test/down": "6s", "fake.test/moment": "5s",
        "fake.test/log": "the cause\n",
    });
    ns.apply(&faulty("crash", &does, "containers: [{name: main, image: 'a:1'}]"));
    let proxy = Proxy::start(cluster);
    proxy.answer_logs(Some(LogAnswer::Late(Duration::from_secs(3))));
    ns.wait("an end between the look at the pod and the look at the log", support::PATIENCE, || {
        let state = || ns.kubectl_json(&["get", "pod", "crash-0"])["status"]["containerStatuses"][0].clone();
        let before = state();
        if before["state"]["running"].is_null() {
            return Err(before.to_string());
        }
        let (run, all) = logs(&ns, &["--server", &proxy.server]);
        let after = state();
        let was_running = before["restartCount"] == after["restartCount"];
        let Some(log) = all.get("crash-0").filter(|log| !log.is_null() && was_running) else {
            return Err(run.to_string());
        };
        if after["state"]["terminated"].is_null() {
            return Err(after.to_string());
        }
        assert_eq!(log["lines"], json!(["the cause"]), "{run}");
        Ok(())
    });
}

/// The container is started again after doctor has looked at its pod: the run that has just begun has written nothing.
#[test]
fn the_log_of_a_run_before_one_that_begins_meanwhile_is_read() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("begins");
    let does = json!({
        "fake.test/mode": "crashloop", "fake.test/restarts": "5", "fake.test/up": "8s", "fake.test/down": "1s", "fake.test/moment": "5s",
        "fake.test/log": "the cause\n",
    });
    ns.apply(&faulty("crash", &does, "containers: [{name: main, image: 'a:1'}]"));
    let proxy = Proxy::start(cluster);
    proxy.answer_logs(Some(LogAnswer::Begun(Duration::from_secs(7))));
    ns.wait("a start between the look at the pod and the look at the log", support::PATIENCE, || {
        let state = || ns.kubectl_json(&["get", "pod", "crash-0"])["status"]["containerStatuses"][0].clone();
        let before = state();
        if before["state"]["terminated"].is_null() {
            return Err(before.to_string());
        }
        let (run, all) = logs(&ns, &["--server", &proxy.server]);
        let after = state();
        let was_ended = all.get("crash-0").is_some_and(|log| log["previous"] == false);
        if !was_ended || after["state"]["running"].is_null() {
            return Err(format!("{after}\n{run}"));
        }
        assert_eq!(all["crash-0"]["lines"], json!(["the cause"]), "{run}");
        Ok(())
    });
}

fn ten_logs_are_read_and_the_others_named(ns: &Namespace) {
    let more: String = (0..8)
        .map(|number| {
            let annotations = json!({"fake.test/mode": "crashloop", "fake.test/restarts": "5"});
            faulty(&format!("more-{number}"), &annotations, "containers: [{name: main, image: 'a:1'}]")
        })
        .collect();
    ns.apply(&more);
    let (run, all) = ns.wait("twelve findings with a log", support::PATIENCE, || {
        let (run, all) = logs(ns, &[]);
        let found = all.values().filter(|log| !log.is_null()).count();
        if found == 12 { Ok((run, all)) } else { Err(run.to_string()) }
    });
    let unread: Vec<&Value> = all.values().map(|log| &log["notRead"]).filter(|why| why.is_string()).collect();
    assert_eq!(unread, ["at most 10 logs are read"; 2], "{run}");
    let text = ns.sts(&["doctor"]).code(1).stdout;
    assert_eq!(text.matches("(at most 10 logs are read)").count(), 1, "{text}");
}

/// By the kubelet's own message, and only while the container waits.
#[test]
fn the_next_start_of_a_container_that_waits_is_told() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("back-off");
    ns.apply(&faulty(
        "slow",
        &json!({"fake.test/mode": "crashloop", "fake.test/restarts": "6"}),
        "containers: [{name: main, image: 'a:1'}]",
    ));
    ns.wait_pod_status("slow-0", "CrashLoopBackOff");
    let run = ns.sts(&["doctor"]);
    let because = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let wait = because.split_once("; the kubelet starts it again in ");
    let wait = wait.unwrap_or_else(|| panic!("{run}")).1.split_whitespace().next().unwrap().to_owned();
    let pod = ns.kubectl_json(&["get", "pod", "slow-0"]);
    let status = &pod["status"]["containerStatuses"][0];
    let message = status["state"]["waiting"]["message"].as_str().unwrap_or_else(|| panic!("{pod}"));
    assert!(message.starts_with("back-off 5m0s restarting failed container"), "{message}");
    // Such as `4m58s`, `4m` or `58s`.
    let seconds = wait.split_inclusive(['m', 's']).map(|part| {
        let (number, unit) = part.split_at(part.len() - 1);
        let number: u32 = number.parse().unwrap_or_else(|_| panic!("{wait} in {run}"));
        if unit == "m" { number * 60 } else { number }
    });
    let seconds: u32 = seconds.sum();
    assert!((1..=300).contains(&seconds), "{run}");
}
