//! What a pipeline gets of `doctor`: SARIF, JUnit, annotations of a GitHub workflow, comparisons with a saved diagnosis, and
//! manifests as input.

#[path = "pipeline/junit.rs"]
mod junit;
#[path = "pipeline/sarif.rs"]
mod sarif;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use kubectl_sts::rules::Rule;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::Value;

use crate::support::{self, Run};

const TRAP: &str = "docs/recordings/postgres-rollback-trap.yaml";

/// Doctor, without a cluster and with this on standard input.
fn doctor_in(folder: &Path, input: &str, args: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
    command.current_dir(folder).arg("doctor").args(args).env_clear().env("LANG", "C.UTF-8");
    Run::of(&mut command, input)
}

fn doctor(args: &[&str]) -> Run {
    doctor_in(Path::new(env!("CARGO_MANIFEST_DIR")), "", args)
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"))
}

/// An event whose text tries to begin a workflow command, to end an element, and to hide.
const HOSTILE: &str = r#"
apiVersion: kubectl-sts/v1
kind: Recording
takenAt: "2026-11-20T12:14:00Z"
counts: {}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec: {replicas: 1}
---
apiVersion: v1
kind: Event
metadata: {name: db.1, namespace: shop}
type: Warning
reason: FailedCreate
involvedObject: {kind: StatefulSet, name: db, namespace: shop}
message: "create Pod db-0 in StatefulSet db failed error: admission webhook \"a\" denied the request: 100%\r\n::error title=x::y\n]]></failure><testcase name=\"z\"/>&amp;\e[2J\uFFFE\uFFFF\u202E"
lastTimestamp: "2026-11-20T12:12:00Z"
"#;

/// An element: its name, attributes and own text.
pub type Element = (String, BTreeMap<String, String>, String);

/// The elements of an XML document, in their order.
pub fn elements(xml: &str) -> Vec<Element> {
    let mut reader = Reader::from_str(xml);
    let (mut all, mut open): (Vec<Element>, Vec<usize>) = (Vec::new(), Vec::new());
    loop {
        let event = reader.read_event().unwrap_or_else(|error| panic!("{error}: {xml}"));
        match event {
            Event::Start(ref start) | Event::Empty(ref start) => {
                let attributes = start.attributes().map(|attribute| {
                    let attribute = attribute.unwrap();
                    let key = attribute.key.as_ref().to_owned();
                    let value = &attribute.value;
                    (key, quick_xml::escape::unescape(value).unwrap().into_owned())
                });
                let name = start.name().as_ref().to_owned();
                all.push((name, attributes.collect(), String::new()));
                if matches!(event, Event::Start(_)) {
                    open.push(all.len() - 1);
                }
            }
            Event::End(_) => {
                open.pop().unwrap();
            }
            Event::Text(text) => {
                if let Some(own) = open.last() {
                    all[*own].2 += &text;
                }
            }
            Event::GeneralRef(name) => {
                let text = quick_xml::escape::unescape(&format!("&{};", &*name)).unwrap().into_owned();
                all[*open.last().unwrap()].2 += &text;
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(open.is_empty(), "{xml}");
    all
}

#[test]
fn code_scanning_gets_every_finding_with_its_rule_and_its_file() {
    let run = doctor(&["--from", TRAP, "-o", "sarif"]).code(1);
    let log = json(&run);
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let (rules, results) = (&run["tool"]["driver"]["rules"], run["results"].as_array().unwrap());
    let diagnosis = json(&doctor(&["--from", TRAP, "-o", "json"]).code(1));
    let findings = diagnosis["findings"].as_array().unwrap();
    assert_eq!(results.len(), findings.len());
    for (result, finding) in results.iter().zip(findings) {
        assert_eq!(result["ruleId"], finding["code"]);
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], finding["code"]);
        assert_eq!(rules[index]["name"], finding["rule"]);
        let rule = Rule::find(finding["code"].as_str().unwrap()).unwrap();
        assert_eq!(
            (&rules[index]["helpUri"], &finding["url"]),
            (&Value::from(rule.url()), &Value::from(rule.url()))
        );
        assert_eq!(result["level"], finding["severity"]);
        let text = result["message"]["text"].as_str().unwrap();
        for part in ["what", "because"] {
            assert!(text.contains(finding[part].as_str().unwrap()), "{text}");
        }
        assert!(finding["try"].as_array().unwrap().iter().all(|line| text.contains(line.as_str().unwrap())));
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], TRAP);
        assert!(place["region"]["startLine"].as_u64().unwrap() >= 1);
    }
    // A log without results is a log too.
    let healthy = json(&doctor(&["--from", "docs/recordings/postgres.yaml", "-o", "sarif"]).code(0));
    assert_eq!(healthy["runs"][0]["results"], Value::Array(Vec::new()));
}

#[test]
fn a_path_is_written_as_a_uri() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a b#ü?.yaml"), HOSTILE).unwrap();
    let log = json(&doctor_in(folder.path(), "", &["-f", "./a b#ü?.yaml", "-o", "sarif"]).code(1));
    let place = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "a%20b%23%C3%BC%3F.yaml");
}

#[test]
fn a_test_report_has_a_suite_a_set_and_a_failure_only_for_what_fails_the_command() {
    let left = "docs/recordings/left-over-claims.yaml";
    for (fail_on, code, failures) in [("error", 0, "0"), ("warning", 1, "1"), ("never", 0, "0")] {
        let run = doctor(&["--from", left, "-o", "junit", "--fail-on", fail_on]).code(code);
        let all = elements(&run.stdout);
        let of = |name: &str| all.iter().filter(|(own, ..)| own == name).collect::<Vec<_>>();
        assert_eq!(of("testsuites")[0].1["failures"], failures, "{run}");
        assert_eq!(of("failure").len().to_string(), failures, "{run}");
        assert_eq!(of("testsuites")[0].1["tests"], of("testcase").len().to_string(), "{run}");
        let in_suites =
            of("testsuite").iter().map(|suite| suite.1["tests"].parse::<usize>().unwrap()).sum::<usize>();
        assert_eq!(in_suites, of("testcase").len(), "{run}");
        let page = format!("see: {}", Rule::find("STS210").unwrap().url());
        let told = all.iter().any(|(_, _, text)| text.lines().any(|line| line.trim() == page));
        assert!(told, "{page} is not in {run}");
    }
    // A StatefulSet without findings is a test that passes, and a rule that was not asked is a skipped one.
    let folder = tempfile::tempdir().unwrap();
    let set = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: web}\nspec:\n  selector: {matchLabels: {a: b}}\n  template:\n    metadata: {labels: {a: b}}\n    spec: {containers: [{name: web, image: web}]}\n";
    fs::write(folder.path().join("web.yaml"), set).unwrap();
    let run = doctor_in(folder.path(), "", &["-f", ".", "-o", "junit", "--skip", "STS104"]).code(0);
    let all = elements(&run.stdout);
    let suites: Vec<&str> =
        all.iter().filter(|it| it.0 == "testsuite").map(|it| it.1["name"].as_str()).collect();
    assert_eq!(suites, ["default/web", "not checked"], "{run}");
    assert!(all.iter().any(|it| it.0 == "testcase" && it.1["name"] == "no problems found"), "{run}");
    assert!(
        all.iter().any(|it| it.0 == "skipped" && it.1["message"].contains("not in the files given")),
        "{run}"
    );
}

#[test]
fn nothing_that_the_cluster_says_becomes_a_command_or_an_element() {
    let args = |format| ["-f", "-", "-o", format];
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let github = doctor_in(here, HOSTILE, &args("github")).code(1);
    let commands: Vec<&str> = github.stdout.lines().filter(|line| line.starts_with("::")).collect();
    assert!(commands[0].starts_with("::error "), "{github}");
    assert_eq!(github.stdout.matches("\n::error").count(), 0, "{github}");
    assert!(commands[0].contains("100%25") && commands[0].contains("%0Abecause"), "{github}");
    // The last line, for people, is no command.
    assert!(github.stdout.lines().last().unwrap().contains("1 StatefulSet"), "{github}");
    let junit = doctor_in(here, HOSTILE, &args("junit")).code(1);
    let all = elements(&junit.stdout);
    let failure = all.iter().find(|it| it.0 == "failure").unwrap();
    assert!(failure.2.contains("]]></failure><testcase name=\"z\"/>&amp;"), "{junit}");
    assert!(!all.iter().any(|it| it.1.get("name").is_some_and(|name| name == "z")), "{junit}");
    let sarif = doctor_in(here, HOSTILE, &args("sarif")).code(1);
    json(&sarif);
    for run in [&github, &junit, &sarif] {
        let hidden = run.stdout.chars().find(|c| kubectl_sts::text::is_hidden(*c) && *c != '\n');
        assert_eq!(hidden, None, "{run}");
    }
    assert!(!junit.stdout.contains(['\u{fffe}', '\u{ffff}']), "{junit}");
}

#[test]
fn only_doctor_writes_for_pipelines() {
    for command in ["status", "history", "record", "prune-pvcs", "version"] {
        for format in ["sarif", "junit", "github"] {
            let mut program = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
            program.args([command, "-o", format]).env_clear();
            let run = Run::of(&mut program, "").code(2);
            assert!(run.stderr.contains("text, wide, json, yaml, name]"), "{run}");
        }
    }
    // Before the command the flag is that of every command.
    let mut program = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
    program.current_dir(env!("CARGO_MANIFEST_DIR")).env_clear();
    program.args(["-o", "json", "doctor", "--from", TRAP]);
    assert_eq!(json(&Run::of(&mut program, "").code(1))["kind"], "Diagnosis");
}

#[test]
fn a_template_takes_parts_of_the_json() {
    let doctor = |format: &str| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
        program.current_dir(env!("CARGO_MANIFEST_DIR")).env_clear();
        Run::of(program.args(["doctor", "--from", TRAP, "-o", format]), "")
    };
    let findings = json(&doctor("json").code(1))["findings"].clone();
    let (code, what) = (findings[0]["code"].as_str().unwrap(), findings[0]["what"].as_str().unwrap());
    let template = "{range .findings[*]}{.code}{\"\\t\"}{.what}{\"\\n\"}{end}";
    let columns = "CODE:.code,WHAT:.what";
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).display().to_string()
    };
    let (path, lines) = (file("path", template), file("lines", "CODE WHAT\n.code .what\n"));
    for (format, start) in [
        (format!("jsonpath={template}"), format!("{code}\t{what}\n")),
        (format!("jsonpath-file={path}"), format!("{code}\t{what}\n")),
        (format!("custom-columns={columns}"), format!("CODE     WHAT\n{code}   {what}\n")),
        (format!("custom-columns-file={lines}"), format!("CODE     WHAT\n{code}   {what}\n")),
    ] {
        let run = doctor(&format).code(1);
        assert!(run.stdout.starts_with(&start), "{run}");
    }
    for (format, why) in [
        ("go-template={{.kind}}", "templates of Go are not supported"),
        ("jsonpath", "it needs a template: jsonpath=..."),
        ("custom-columns=", "it needs a template: custom-columns=..."),
        ("jsonpath={.findings[}", "has a [ without its ]"),
        ("jsonpath-file=/nowhere", "could not read /nowhere"),
        ("xml=1", "[possible values: text, wide,"),
    ] {
        let run = doctor(format).code(2);
        assert!(run.stdout.is_empty() && run.stderr.contains(why), "{run}");
    }
}

#[test]
fn manifests_are_read_as_kubectl_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let set = |name: &str| {
        format!(
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: {name}}}\nspec:\n  serviceName: {name}\n  selector: {{matchLabels: {{a: b}}}}\n  template:\n    metadata: {{labels: {{a: b}}}}\n    spec: {{containers: [{{name: web, image: web}}]}}\n"
        )
    };
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("one.yaml", &set("one"));
    write("two.yml", &set("two"));
    write(
        "three.json",
        r#"{"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "three"}, "spec": {"serviceName": "three"}}"#,
    );
    write("deep/er/four.yaml", &set("four"));
    write("kustomization.yaml", "resources: [one.yaml]\n");
    write("notes.txt", "{{ no YAML");
    write("none/notes.txt", "no manifest");
    write("deep/config.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n");
    let sets = |args: &[&str], input: &str| {
        let run = doctor_in(folder.path(), input, &[args, &["-o", "json", "--only", "STS101"]].concat());
        let mut names: Vec<String> = json(&run)["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["set"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(sets(&["-f", "."], ""), "one three two");
    assert_eq!(sets(&["-f", ".", "-R"], ""), "four one three two");
    assert_eq!(sets(&["-f", "one.yaml", "-f", "deep", "-R"], ""), "four one");
    assert_eq!(sets(&["-f", "-"], &format!("{}---\n{}", set("five"), set("six"))), "five six");
    assert_eq!(sets(&["-f", ".", "one"], ""), "one");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(folder.path(), folder.path().join("deep/loop")).unwrap();
        assert_eq!(sets(&["-f", ".", "-R"], ""), "four one three two");
    }
    for (args, code, said) in [
        (&["-f", "missing.yaml"][..], 3, "could not read missing.yaml"),
        (&["-f", "none"], 3, "use -R"),
        (&["-f", "kustomization.yaml"], 3, "holds no Kubernetes object"),
        (&["-f", "notes.txt"], 3, "neither YAML nor JSON"),
        (&["-f", "deep/config.yaml"], 3, "no Kubernetes object"),
        (&["-f", "https://user:secret@example.com/web.yaml?token=secret"], 2, "https://example.com"),
        (&["-R"], 2, "--filename"),
        (&["-f", "one.yaml", "--from", "two.yml"], 2, "cannot be used with"),
    ] {
        let run = doctor_in(folder.path(), "", args).code(code);
        assert!(run.stderr.contains(said) && !run.stderr.contains("secret"), "{run}");
    }
}

#[test]
fn a_service_that_may_be_elsewhere_is_not_missing() {
    let folder = tempfile::tempdir().unwrap();
    let set = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: web, namespace: shop}\nspec:\n  replicas: 3\n  serviceName: \
               web-peers\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec: \
               {containers: [{name: web, image: web}]}\n---\n";
    let service = |name: &str, spec: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{selector: {{app: web}}, {spec}}}\n---\n"
        )
    };
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let ports = "ports: [{port: 80}]";
    write("alone.yaml", set);
    write("client.yaml", &(set.to_owned() + &service("web", ports)));
    write("whole/set.yaml", set);
    write("whole/client.yaml", &service("web", ports));
    write("near/set.yaml", set);
    write("near/service.yaml", &service("web-peer", "clusterIP: None"));
    let found = |args: &[&str], input: &str, code: i32| {
        let run =
            doctor_in(folder.path(), input, &[args, &["-o", "json", "--only", "STS101"]].concat()).code(code);
        json(&run)["findings"].as_array().unwrap().clone()
    };
    for (args, input, severity) in [
        (&["-f", "alone.yaml"][..], String::new(), "note"),
        (&["--from", "alone.yaml"], String::new(), "note"),
        (&["-f", "client.yaml"], String::new(), "warning"),
        (&["-f", "alone.yaml", "-f", "whole/client.yaml"], String::new(), "error"),
        (&["-f", "whole"], String::new(), "error"),
        (&["-f", "-"], set.to_owned() + &service("web", ports), "error"),
        (&["-f", "near"], String::new(), "error"),
    ] {
        let all = found(args, &input, i32::from(severity == "error"));
        assert_eq!(all.len(), 1, "{args:?}");
        assert_eq!(all[0]["severity"], severity, "{args:?}");
        let what = all[0]["what"].as_str().unwrap();
        assert!(what.ends_with("but no such Service is among these manifests"), "{what}");
    }
    let near = found(&["-f", "near"], "", 1);
    assert!(near[0]["because"].as_str().unwrap().contains("set spec.serviceName to web-peer"), "{near:?}");
    assert_eq!(near[0]["try"], serde_json::json!([]), "nothing to run before it is applied");
    // The manifest that the command writes is the one that is missing.
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("manifests");
    let command = found(&["-f", "alone.yaml"], "", 0)[0]["try"][0].as_str().unwrap().to_owned();
    let written = ns.shell(&command).ok();
    write("whole/peers.yaml", &written);
    assert_eq!(found(&["-f", "whole"], "", 0), Vec::<Value>::new(), "{written}");
}

#[test]
fn a_baseline_hides_what_was_known_and_nothing_that_is_new_or_worse() {
    let folder = tempfile::tempdir().unwrap();
    let here = env!("CARGO_MANIFEST_DIR");
    let from = |name: &str| format!("{here}/docs/recordings/{name}.yaml");
    let (trap, left) = (from("postgres-rollback-trap"), from("left-over-claims"));
    let save = |name: &str, args: &[&str]| {
        let run =
            doctor_in(folder.path(), "", &[args, &["-o", "json", "--fail-on", "never"]].concat()).code(0);
        fs::write(folder.path().join(name), &run.stdout).unwrap();
        run.stdout
    };
    save("trap.json", &["--from", &trap]);
    save("left.json", &["--from", &left]);
    let with = |args: &[&str]| doctor_in(folder.path(), "", args);
    let known = with(&["--from", &trap, "--baseline", "trap.json"]).code(0);
    assert!(known.stdout.contains("no new problems found"), "{known}");
    assert!(known.stdout.contains("not shown, as the baseline has them: 1 finding"), "{known}");
    let new = with(&["--from", &trap, "--baseline", "left.json", "-o", "json"]).code(1);
    crate::schema::holds(&new.stdout);
    let new = json(&new);
    assert_eq!(new["findings"].as_array().unwrap().len(), 1);
    assert_eq!(new["baseline"]["known"], 0);
    assert!(new["baseline"]["gone"].as_u64().unwrap() > 0);
    // What is worse than before is new.
    let saved = fs::read_to_string(folder.path().join("trap.json")).unwrap();
    fs::write(
        folder.path().join("lesser.json"),
        saved.replace("\"severity\": \"error\"", "\"severity\": \"note\""),
    )
    .unwrap();
    with(&["--from", &trap, "--baseline", "lesser.json"]).code(1);
    // So is the same about another object.
    fs::write(folder.path().join("other.json"), saved.replace("postgres-2\"", "postgres-1\"")).unwrap();
    with(&["--from", &trap, "--baseline", "other.json"]).code(1);
    save("part.json", &["--from", &trap, "--baseline", "left.json"]);
    fs::write(folder.path().join("none.json"), "{}").unwrap();
    for (file, said) in [
        ("part.json", "holds only what was new"),
        ("none.json", "is no saved diagnosis"),
        ("missing.json", "could not read missing.json"),
    ] {
        let run = with(&["--from", &trap, "--baseline", file]).code(3);
        assert!(run.stderr.contains(said), "{run}");
    }
}

#[test]
fn a_diagnosis_of_the_cluster_is_a_baseline_for_the_next() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("baseline");
    let set = |name: &str| {
        format!(
            "---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: {name}}}\nspec:\n  serviceName: {name}\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec: {{containers: [{{name: web, image: 'web:1'}}]}}\n"
        )
    };
    ns.apply(&set("old"));
    ns.wait_ready("old", 1);
    let file = tempfile::NamedTempFile::new().unwrap();
    let before = ns.sts(&["doctor", "--fail-on", "warning", "-o", "json"]).code(1);
    fs::write(file.path(), &before.stdout).unwrap();
    let baseline = file.path().to_str().unwrap();
    let same = ns.sts(&["doctor", "--fail-on", "warning", "--baseline", baseline]).code(0);
    assert!(same.stdout.contains("no new problems found"), "{same}");
    ns.apply(&set("new"));
    let new = json(
        &ns.sts(&[
            "doctor",
            "--fail-on",
            "warning",
            "--baseline",
            baseline,
            "-o",
            "json",
            "--only",
            "STS101",
        ])
        .code(1),
    );
    let sets: Vec<&str> =
        new["findings"].as_array().unwrap().iter().map(|it| it["set"].as_str().unwrap()).collect();
    assert_eq!(sets, ["new"]);
    // A result of a cluster has a place too, as viewers drop those without one.
    let log = json(&ns.sts(&["doctor", "--fail-on", "warning", "old", "-o", "sarif"]).code(1));
    let place = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], format!("{}/StatefulSet/old", ns.name));
    ns.apply("{apiVersion: v1, kind: Service, metadata: {name: old}, spec: {clusterIP: None, selector: {app: old}}}");
    let gone =
        json(&ns.sts(&["doctor", "--fail-on", "warning", "old", "--baseline", baseline, "-o", "json"]));
    assert_eq!(gone["baseline"]["gone"], 1, "{gone}");
}
