//! What acting commands answer to programs: with `-o json`, `-o yaml` and `-o name` nothing but the answer is on standard
//! output, it names the cluster, and nothing in it is hidden.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use kubectl_sts::text::is_hidden;
use serde_json::{Value, json};

use crate::canary::{get, mark, partition, pods, ready};
use crate::support::terminal::Terminal;
use crate::support::{self, Namespace, PATIENCE, Run};

const FORMATS: [&str; 5] = ["json", "yaml", "name", "text", "wide"];
/// Arguments, the recording, the exit code, the kind of the answer, and the names in it.
type Row<'a> = (&'a [&'a str], &'a str, i32, &'a str, &'a [&'a str]);

const DRY: [&str; 3] = ["client", "server", "none"];

/// A context that a terminal would obey, a shell would read as several words, and an eye would misread.
const CONTEXT: &str = "prod $(touch PWNED) it's\u{202e}eu\u{9b}2J\u{7f}\u{200b}";

/// The one answer on standard output, for programs; `None` where there is none.
fn answer(format: &str, run: &Run) -> Option<Value> {
    if run.stdout.is_empty() {
        return None;
    }
    let hidden = run.stdout.chars().find(|c| is_hidden(*c) && *c != '\n');
    assert_eq!(hidden, None, "{run}");
    let value: Value = match format {
        "json" => serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}")),
        "yaml" => serde_saphyr::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}")),
        "name" => {
            let names: Vec<&str> = run.stdout.lines().collect();
            assert!(names.iter().all(|name| name.split('/').count() == 2 && !name.contains(' ')), "{run}");
            names.into()
        }
        _ => run.stdout.clone().into(),
    };
    if ["json", "yaml"].contains(&format) {
        crate::schema::holds(&value.to_string());
    }
    Some(value)
}

fn offline(args: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(args).env_clear().env("LANG", "C.UTF-8");
    Run::of(&mut command, "")
}

#[test]
fn every_combination_of_formats_and_dry_runs_is_one_answer_of_a_recording() {
    let trap = "docs/recordings/postgres-rollback-trap.yaml";
    let canary = "docs/recordings/postgres-canary.yaml";
    let plain = "docs/recordings/postgres.yaml";
    let left = "docs/recordings/left-over-claims.yaml";
    let image = "postgres=postgres:17.1";
    let set = &["statefulset.apps/postgres"][..];
    let claims = &["persistentvolumeclaim/data-web-2", "persistentvolumeclaim/data-web-1"][..];
    let table: [Row; 10] = [
        (&["recover", "postgres"], trap, 0, "Plan", set),
        (&["recover", "postgres"], plain, 0, "Plan", set),
        (&["canary", "postgres", "--pods", "2", "--image", image], plain, 0, "Plan", set),
        (&["canary", "postgres", "--partition", "5", "--image", image], plain, 4, "Refusal", &[]),
        (&["promote", "postgres", "--full"], canary, 0, "Plan", set),
        (&["promote", "postgres"], trap, 4, "Refusal", &[]),
        (&["abort", "postgres"], canary, 0, "Plan", set),
        (&["undo", "postgres"], trap, 2, "", &[]),
        (&["prune-pvcs", "-n", "shop"], left, 0, "ClaimList", claims),
        (&["restore-pvc", "backup"], plain, 2, "", &[]),
    ];
    for (args, recording, code, kind, names) in table {
        for (format, dry) in FORMATS.iter().flat_map(|format| DRY.map(|dry| (*format, dry))) {
            let dry_run = format!("--dry-run={dry}");
            let run = offline(&[args, &["--from", recording, "-o", format, &dry_run]].concat()).code(code);
            assert_eq!(run.stderr.is_empty(), code == 0, "{run}");
            let Some(value) = answer(format, &run) else {
                assert!(
                    names.is_empty() && (kind.is_empty() || !["json", "yaml"].contains(&format)),
                    "{run}"
                );
                continue;
            };
            match format {
                "json" | "yaml" => {
                    assert_eq!(value["kind"], kind, "{run}");
                    // A recording is of no cluster that could be reached again.
                    assert_eq!((value.get("context"), value.get("server")), (None, None), "{run}");
                }
                "name" => assert_eq!(value, json!(names), "{run}"),
                _ => assert!(!run.stdout.contains("context"), "{run}"),
            }
        }
    }
}

#[test]
fn plans_and_errors_fit_the_terminal_and_break_no_word() {
    let recording = |name: &str| format!("{}/docs/recordings/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let (trap, canary, plain) =
        (recording("postgres-rollback-trap"), recording("postgres-canary"), recording("postgres"));
    let env =
        "{spec: {containers: [{name: postgres, env: [{name: A_VARIABLE_WITH_A_LONG_NAME, value: x}]}]}}";
    let steps =
        ["canary", "postgres", "--steps", "4,2,0", "--patch", env, "--bake", "10m", "--check", "./smoke.sh"];
    let table: [(&[&str], &str); 9] = [
        (&["recover", "postgres"], &trap),
        (&steps, &plain),
        (&["promote", "postgres", "--full"], &canary),
        (&["abort", "postgres"], &canary),
        (&["undo", "postgres"], &trap),
        (&["promote", "postgres"], &trap),
        (&["recover", "postgers"], &trap),
        (&["canary", "postgres", "--pods", "1", "--image", "postgres=x", "--allow-unhealthy"], &trap),
        (&["canary", "postgres", "--pods", "1", "--image", "web=x"], &plain),
    ];
    for (args, file) in table {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
        command.args(args).args(["--from", file]).env_clear().env("LANG", "C.UTF-8").env("NO_COLOR", "1");
        let plain = Run::of(&mut command, "");
        let plain = plain.stdout + &plain.stderr;
        for (rows, cols) in [(24, 80), (15, 60), (10, 40)] {
            let shown = Terminal::start(&command, (rows, cols), None).ended().text;
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(&shown), words(&plain), "{shown}");
            for line in shown.lines().map(str::trim_end) {
                // What is to be pasted stands alone, with a label at most.
                let before = line.split("kubectl ").next().unwrap_or_default();
                let is_command = before.len() < line.len() && before.split_whitespace().count() <= 2;
                let fits = line.chars().count() <= usize::from(cols);
                // A path of a field is one word, and may be too long behind its label.
                let last = line.split_whitespace().last().map_or(0, |word| word.chars().count());
                let is_one_word = line.split_whitespace().count() <= 2 && last + 13 > usize::from(cols);
                assert!(fits || is_command || is_one_word, "{line:?} on {cols} columns\n{shown}");
            }
        }
    }
}

/// A kubeconfig whose current context has the odd name, and no flag says so.
fn kubeconfig(ns: &Namespace) -> PathBuf {
    let text = ns.kubectl(&["config", "view", "--raw", "-o", "json"]).ok();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["contexts"][0]["name"] = CONTEXT.into();
    config["current-context"] = CONTEXT.into();
    let path = ns.cluster.plane.dir.join(format!("odd-{}", ns.name));
    // YAML takes no control characters as they are.
    let escaped = |c: char| {
        if c.is_ascii_graphic() || c == ' ' { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) }
    };
    fs::write(&path, config.to_string().chars().map(escaped).collect::<String>()).unwrap();
    path
}

#[test]
fn the_answer_is_alone_on_standard_output_and_names_the_cluster() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("answers");
    ready(&ns, "web", 2, "", "");
    let config = kubeconfig(&ns);
    let run = |args: &[&str], format: &str| {
        ns.sts_as(&config, &[args, &["-o", format, "--yes", "--stuck-after", "20s"]].concat())
    };
    // People read the name without what is hidden in it, in quotes.
    let named = "context \"prod $(touch PWNED) it's\\u{202e}eu\\u{9b}2J\\u{7f}\\u{200b}\"";
    for (number, format) in ["json", "yaml", "name"].into_iter().enumerate() {
        let image = format!("web=web:{number}");
        for args in [
            &["canary", "web", "--pods", "1", "--image", &image][..],
            &["promote", "web", "--full"],
            &["undo", "web"],
            &["canary", "web", "--pods", "1", "--image", &image],
            &["abort", "web"],
            &["abort", "web"],
        ] {
            for dry in ["--dry-run=client", "--dry-run=server", "--dry-run=none"] {
                let run = run(&[args, &[dry]].concat(), format).code(0);
                let value = answer(format, &run).unwrap_or_else(|| panic!("no answer: {run}"));
                if format == "name" {
                    assert_eq!(value, json!(["statefulset.apps/web"]), "{run}");
                } else {
                    assert_eq!(value["context"], CONTEXT, "{run}");
                    assert!(["Plan", "Result"].iter().any(|kind| value["kind"] == *kind), "{run}");
                }
                let hidden = run.stderr.chars().find(|c| is_hidden(*c) && *c != '\n');
                assert_eq!(hidden, None, "{run}");
                // What was done is followed on standard error, with the plan before it.
                let acted = value["kind"] == "Result" || (format == "name" && dry == "--dry-run=none");
                let is_idle = run.stderr.is_empty();
                assert!(
                    !acted || is_idle || (run.stderr.contains(named) && run.stderr.contains("s  web")),
                    "{run}"
                );
                assert!(acted || is_idle, "{run}");
            }
        }
        // A refusal is an answer too.
        let refused = run(&["recover", "web", "--dry-run=none"], format);
        assert!([0, 4].contains(&refused.code), "{refused}");
        let _ = answer(format, &refused);
    }
    // Lines are broken between words, so that words are compared.
    let words = |run: &Run| run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = run(&["canary", "web", "--pods", "1", "--image", "web=web:9"], "text").code(0);
    let begin = format!("canary web in {} ({named}): 1 of 2 pods", ns.name);
    assert!(words(&text).starts_with(&begin) && text.stdout.contains(named), "{text}");
    let end = format!("the rollout is paused at partition 1 (web-1) ({named})");
    assert!(words(&text).contains(&end), "{text}");
    let text = run(&["abort", "web", "--dry-run=client"], "text").code(0);
    assert!(text.stdout.contains(named), "{text}");
    for args in [&["status", "web"][..], &["doctor"], &["history", "web"], &["prune-pvcs"]] {
        let run = ns.sts_as(&config, &[args, &["-o", "json"]].concat());
        assert_eq!(answer("json", &run).unwrap()["context"], CONTEXT, "{run}");
    }
    // Where no context says which cluster it is, its server does.
    let server = ns.kubectl(&["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"]).ok();
    let host = server.trim_start_matches("https://");
    let text = ns.sts(&["abort", "web", "--dry-run=client", "--server", &server]).ok();
    assert!(text.contains(&format!(", server {host})")), "{text}");
}

/// New pods are ready after some seconds.
const SLOW: &str = r#"{"metadata": {"annotations": {"fake.test/ready-delay": "4s"}}}"#;

/// Runs a command and interrupts it once the condition holds.
fn interrupted(ns: &Namespace, args: &[&str], what: &str, holds: impl Fn() -> bool) -> Run {
    let mut command = ns.sts_command(args);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    ns.wait(what, PATIENCE, || if holds() { Ok(()) } else { Err("not yet".to_owned()) });
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    Run { command: format!("{args:?}"), code: output.status.code().unwrap_or(-1), stdout, stderr }
}

/// The command behind a label.
fn typed(run: &Run, label: &str) -> Option<String> {
    let line =
        run.stdout.lines().find_map(|line| line.trim().strip_prefix(label)?.trim().strip_prefix("kubectl "));
    line.map(|rest| format!("kubectl {rest}"))
}

#[test]
fn ctrl_c_says_what_continues_and_the_pause_holds() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("answers-int");
    ready(&ns, "web", 4, "ordinals: {start: 2},", "");
    let before = pods(&ns);
    let is_new = |name: &str| {
        let now = pods(&ns);
        let uid = |pods: &[(String, String, String)]| {
            pods.iter().find(|pod| pod.0 == name).map(|pod| pod.1.clone())
        };
        uid(&now).is_some_and(|now| uid(&before) != Some(now))
    };
    let args = ["canary", "web", "--partition", "0", "--patch", SLOW, "--yes"];
    let run = interrupted(&ns, &args, "web-5 to be replaced", || is_new("web-5")).code(130);
    assert!(
        run.stdout
            .contains("web: interrupted: stopped watching; the rollout of web continues in the cluster"),
        "{run}"
    );
    assert_eq!(typed(&run, "follow"), Some(format!("kubectl sts watch web -n {}", ns.name)), "{run}");
    assert_eq!(typed(&run, "abort"), Some(format!("kubectl sts abort web -n {}", ns.name)), "{run}");
    let pause = typed(&run, "pause").unwrap_or_else(|| panic!("no pause: {run}"));
    ns.shell(&pause).code(0);
    let held = partition(&get(&ns, "web"));
    // web-5 has index 3; the controller may have gone on by one until the command was typed.
    assert_eq!(held, 3, "{run}");
    ns.wait_pod("web-5", "ready", |pod| {
        pod["status"]["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|it| it["type"] == "Ready" && it["status"] == "True"))
    });
    std::thread::sleep(Duration::from_secs(3));
    assert!(["web-2", "web-3", "web-4"].iter().all(|pod| !is_new(pod)), "{:?}", pods(&ns));
    assert!(mark(&get(&ns, "web")).is_some());

    // Nothing moves while the pods are observed.
    let args = ["promote", "web", "--partition", "3", "--bake", "60s", "--yes"];
    let settled = || get(&ns, "web")["status"]["updatedReplicas"] == 1;
    let started = std::time::Instant::now();
    let run = interrupted(&ns, &args, "the pods to be observed", || {
        settled() && started.elapsed() > Duration::from_secs(2)
    })
    .code(130);
    assert!(run.stdout.contains("stopped watching; nothing is in progress"), "{run}");
    assert_eq!((typed(&run, "follow"), typed(&run, "pause")), (None, None), "{run}");
    assert_eq!(typed(&run, "abort"), Some(format!("kubectl sts abort web -n {}", ns.name)), "{run}");
    ns.sts(&["abort", "web", "--yes"]).code(0);
    assert!(is_new("web-5") && ["web-2", "web-3", "web-4"].iter().all(|pod| !is_new(pod)));
}
