//! Test reports are as the schema says that Jenkins checks them with: `junit-10.xsd` of jenkinsci/xunit-plugin
//! (src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd). The table below was written after its elements and
//! attributes; with `xmllint` and a copy of the schema in `STS_JUNIT_XSD`, the schema itself is asked too.

use std::fs;
use std::path::Path;
use std::process::Command;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::{HOSTILE, TRAP, doctor, doctor_in};
use crate::support::controlplane::loud;

/// What an element may be: its name, the attributes that it must and may have, the elements in it, and whether text is.
struct Allowed {
    name: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
    inner: &'static [&'static str],
    text: bool,
}

const REASON: &[&str] = &["type", "message"];

/// Of what `doctor` may write; the elements for reruns and properties are not among it.
const SCHEMA: &[Allowed] = &[
    Allowed {
        name: "testsuites",
        required: &[],
        optional: &["name", "time", "tests", "failures", "errors"],
        inner: &["testsuite"],
        text: false,
    },
    Allowed {
        name: "testsuite",
        required: &["name", "tests", "failures", "errors"],
        optional: &[
            "group",
            "time",
            "skipped",
            "timestamp",
            "hostname",
            "id",
            "package",
            "file",
            "log",
            "url",
        ],
        inner: &["testsuite", "properties", "testcase", "system-out", "system-err"],
        text: false,
    },
    Allowed {
        name: "testcase",
        required: &["name"],
        optional: &["time", "classname", "group"],
        inner: &["skipped", "error", "failure", "system-out", "system-err"],
        text: false,
    },
    Allowed { name: "failure", required: &[], optional: REASON, inner: &[], text: true },
    Allowed { name: "error", required: &[], optional: REASON, inner: &[], text: true },
    Allowed { name: "skipped", required: &[], optional: REASON, inner: &[], text: true },
    Allowed { name: "system-out", required: &[], optional: &[], inner: &[], text: true },
    Allowed { name: "system-err", required: &[], optional: &[], inner: &[], text: true },
];

/// What of a report the schema does not allow.
fn wrong(xml: &str) -> Vec<String> {
    let mut reader = Reader::from_str(xml);
    let (mut wrong, mut open): (Vec<String>, Vec<&Allowed>) = (Vec::new(), Vec::new());
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("{error}: {xml}")) {
            Event::Start(start) => {
                let allowed = begun(&start, open.last().copied(), &mut wrong);
                open.push(allowed);
            }
            Event::Empty(start) => drop(begun(&start, open.last().copied(), &mut wrong)),
            Event::End(_) => drop(open.pop()),
            Event::Text(text) if !open.last().is_some_and(|it| it.text) && !text.trim().is_empty() => {
                wrong.push(format!("text where none may be: {}", &*text));
            }
            Event::Eof => break,
            _ => {}
        }
    }
    wrong
}

fn begun<'s>(start: &BytesStart<'_>, within: Option<&Allowed>, wrong: &mut Vec<String>) -> &'s Allowed {
    let name = start.name().as_ref().to_owned();
    let Some(allowed) = SCHEMA.iter().find(|it| it.name == name) else { panic!("no element {name}") };
    match within {
        Some(outer) if !outer.inner.contains(&allowed.name) => {
            wrong.push(format!("{name} in {}", outer.name));
        }
        None if name != "testsuites" && name != "testsuite" => wrong.push(format!("the root is {name}")),
        _ => {}
    }
    let has: Vec<String> = start.attributes().map(|it| it.unwrap().key.as_ref().to_owned()).collect();
    let lacks = allowed.required.iter().filter(|key| !has.iter().any(|it| it == *key));
    wrong.extend(lacks.map(|key| format!("{name} without {key}")));
    let strange = has
        .iter()
        .filter(|key| !allowed.required.contains(&key.as_str()) && !allowed.optional.contains(&key.as_str()));
    wrong.extend(strange.map(|key| format!("{name} with {key}")));
    allowed
}

/// Of the schema itself, where there is one and a program for it.
fn asked(xml: &str) {
    let Ok(schema) = std::env::var("STS_JUNIT_XSD") else {
        loud("SKIPPED: xmllint with the schema of JUnit, as STS_JUNIT_XSD names no file");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.xml");
    fs::write(&path, xml).unwrap();
    let run = Command::new("xmllint").args(["--noout", "--nonet", "--schema", &schema]).arg(&path).output();
    let run = run.unwrap();
    assert!(run.status.success(), "{}\n{xml}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn test_reports_are_as_the_schema_of_jenkins_says() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let left = "docs/recordings/left-over-claims.yaml";
    // With failures, with other findings, without any, with rules that were skipped, and with hostile text.
    let reports = [
        doctor(&["--from", TRAP, "-o", "junit"]).code(1),
        doctor(&["--from", left, "-o", "junit"]).code(0),
        doctor(&["--from", left, "-o", "junit", "--fail-on", "warning"]).code(1),
        doctor(&["--from", "docs/recordings/postgres.yaml", "-o", "junit"]).code(0),
        doctor(&["-f", "tests/manifests/postgres.yaml", "-o", "junit"]).code(0),
        doctor_in(here, HOSTILE, &["-f", "-", "-o", "junit"]).code(1),
        doctor_in(
            here,
            &HOSTILE
                .replace("counts: {}", "counts: {}\nnotSeen: {Pod: forbidden to user bob, Node: forbidden}"),
            &["-f", "-", "-o", "junit", "--fail-on", "never"],
        )
        .code(3),
    ];
    for report in &reports {
        assert_eq!(wrong(&report.stdout), Vec::<String>::new(), "{report}");
    }
    assert!(
        reports[4].stdout.contains("<skipped ") && reports[6].stdout.contains("<error "),
        "{}",
        reports[6]
    );
    asked(&reports[0].stdout);
    asked(&reports[6].stdout);
}

#[test]
fn what_the_schema_does_not_allow_is_found() {
    let suite = |inner: &str| {
        format!(
            "<testsuites><testsuite name=\"a\" tests=\"1\" failures=\"0\" errors=\"0\">{inner}</testsuite></testsuites>"
        )
    };
    assert_eq!(wrong(&suite("<testcase name=\"b\"/>")), Vec::<String>::new());
    for (xml, said) in [
        ("<testsuites skipped=\"1\"/>".to_owned(), "testsuites with skipped"),
        (
            "<testsuites><testsuite name=\"a\" tests=\"1\" failures=\"0\"/></testsuites>".to_owned(),
            "testsuite without errors",
        ),
        (suite("<testcase name=\"b\" file=\"c\"/>"), "testcase with file"),
        (suite("<testcase/>"), "testcase without name"),
        (suite("<failure/>"), "failure in testsuite"),
        (suite("text"), "text where none may be: text"),
        ("<testcase name=\"b\"/>".to_owned(), "the root is testcase"),
    ] {
        assert_eq!(wrong(&xml), [said], "{xml}");
    }
}
