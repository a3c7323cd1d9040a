//! A diagnosis for the pipeline of a forge: SARIF for code scanning, JUnit for test reports, annotations for a GitHub workflow.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::kinds::StatefulSet;
use crate::rules::{Finding, RULES, Rule, Severity, Skipped, Subject};
use crate::text::clean;

/// What a pipeline is told.
pub struct Report<'a> {
    /// The StatefulSets that were checked.
    pub checked: Vec<&'a StatefulSet>,
    /// What was found, the worst first.
    pub cases: Vec<Case<'a>>,
    /// What could not be checked.
    pub skipped: &'a [Skipped],
    /// The file of each StatefulSet, by its namespace and name.
    pub files: &'a BTreeMap<(String, String), String>,
    /// How much was checked and found, in one line.
    pub summary: String,
    /// When the cluster was read.
    pub read_at: Timestamp,
}

/// A finding about a StatefulSet.
pub struct Case<'a> {
    /// The StatefulSet.
    pub set: &'a StatefulSet,
    /// What was found.
    pub finding: &'a Finding,
    /// Whether it makes the command fail.
    pub fails: bool,
}

impl Case<'_> {
    /// What, why and what to do, a line each.
    fn lines(&self) -> Vec<String> {
        let finding = self.finding;
        let mut lines = vec![clean(&finding.what)];
        if !finding.because.is_empty() {
            lines.push(format!("because {}", clean(&finding.because)));
        }
        if let Some(blocked) = &finding.blocks {
            lines.push(format!("blocks {}", clean(&blocked.to_string())));
        }
        let remedy = finding.remedy.iter().map(|command| ("try", command));
        let all = remedy.chain(finding.instead.iter().map(|command| ("or", command)));
        lines.extend(all.map(|(label, command)| match command.line() {
            Some(line) => format!("{label}: {}", clean(&line)),
            None => clean(&command.to_string()),
        }));
        lines
    }

    /// The same, and the page of the rule.
    fn lines_with_page(&self) -> Vec<String> {
        let mut lines = self.lines();
        lines.push(format!("see: {}", self.finding.rule.url()));
        lines
    }

    /// `shop/postgres`.
    fn of(&self) -> String {
        full_name(self.set)
    }

    /// The objects it is about: `shop/Pod/postgres-0`.
    fn objects(&self) -> impl Iterator<Item = String> {
        let namespace = &self.set.metadata.namespace;
        let all = std::iter::once(&self.finding.subject).chain(&self.finding.also);
        all.map(move |subject| match subject.kind.is_namespaced() {
            true => {
                let namespace = subject.namespace.as_deref().unwrap_or(namespace);
                clean(&format!("{namespace}/{}", short(subject)))
            }
            false => short(subject),
        })
    }
}

fn full_name(set: &StatefulSet) -> String {
    clean(&format!("{}/{}", set.metadata.namespace, set.metadata.name))
}

/// `Pod/postgres-0`.
fn short(subject: &Subject) -> String {
    clean(&format!("{}/{}", subject.kind.name(), subject.name))
}

impl Report<'_> {
    /// Where a StatefulSet is written, if it was read from a file.
    fn file(&self, set: &StatefulSet) -> Option<&str> {
        let key = (set.metadata.namespace.clone(), set.metadata.name.clone());
        self.files.get(&key).map(String::as_str)
    }

    /// A SARIF 2.1.0 log (OASIS standard). A result of a cluster has the object's name as its path: viewers drop results
    /// without one.
    pub fn sarif(&self) -> Value {
        let found: BTreeSet<&str> = self.cases.iter().map(|case| case.finding.rule.code).collect();
        let rules: Vec<&Rule> = RULES.iter().copied().filter(|rule| found.contains(rule.code)).collect();
        let results = self.cases.iter().map(|case| {
            let rule = case.finding.rule;
            let path = match self.file(case.set) {
                Some(file) => file.to_owned(),
                None => format!("{}/StatefulSet/{}", case.set.metadata.namespace, case.set.metadata.name),
            };
            let logical = case.objects().map(|name| json!({"fullyQualifiedName": name, "kind": "resource"}));
            json!({
                "ruleId": rule.code,
                "ruleIndex": rules.iter().position(|known| known.code == rule.code),
                "level": case.finding.severity.word(),
                "message": {"text": case.lines().join("\n")},
                "locations": [{
                    "physicalLocation": {
                        "artifactLocation": {"uri": uri(&path)},
                        "region": {"startLine": 1},
                    },
                    "logicalLocations": logical.collect::<Vec<_>>(),
                }],
                "partialFingerprints": {
                    "kubectlSts/v1": format!("{}:{}:{}", rule.code, case.of(), short(&case.finding.subject)),
                },
            })
        });
        let notifications = self.skipped.iter().map(|skipped| {
            let rules: Vec<&str> = skipped.rules.iter().map(|rule| rule.code).collect();
            let rules = if rules.is_empty() { String::new() } else { format!("; skipped: {}", rules.join(", ")) };
            let level = if skipped.is_failure() { "error" } else { "warning" };
            json!({"level": level, "message": {"text": format!("not checked: {}{rules}", clean(&skipped.unseen.to_string()))}})
        });
        json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "tool": {"driver": {
                    "name": "kubectl-sts",
                    "semanticVersion": env!("CARGO_PKG_VERSION"),
                    "rules": rules.iter().map(|rule| descriptor(rule)).collect::<Vec<_>>(),
                }},
                "invocations": [{
                    "executionSuccessful": !Skipped::any_failure(self.skipped),
                    "toolExecutionNotifications": notifications.collect::<Vec<_>>(),
                }],
                "results": results.collect::<Vec<_>>(),
            }],
        })
    }

    /// JUnit XML: a suite a StatefulSet, a case a finding. Only what makes the command fail is a failure; a rule that was
    /// not asked is a skipped case, and an error where the command fails because of that.
    ///
    /// # Errors
    /// Never in practice: it is written to memory.
    pub fn junit(&self) -> Result<String> {
        let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
        let written = self.write_junit(&mut writer);
        let text = written
            .map_err(|error| error.to_string())
            .and_then(|()| String::from_utf8(writer.into_inner()).map_err(|error| error.to_string()));
        text.map(|text| text + "\n").map_err(|error| Error::cluster("could not write XML").because(error))
    }

    fn write_junit(&self, writer: &mut Writer<Vec<u8>>) -> std::io::Result<()> {
        writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        let skipped: Vec<(&Rule, &Skipped)> =
            self.skipped.iter().flat_map(|it| it.rules.iter().map(move |rule| (*rule, it))).collect();
        let of = |set: &StatefulSet| {
            let name = full_name(set);
            self.cases.iter().filter(move |case| case.of() == name)
        };
        let passed = self.checked.iter().filter(|set| of(set).next().is_none()).count();
        let failures = self.cases.iter().filter(|case| case.fails).count();
        let errors = skipped.iter().filter(|(_, skipped)| skipped.is_failure()).count();
        let counts = [
            ("tests", self.cases.len() + passed + skipped.len()),
            ("failures", failures),
            ("errors", errors),
        ]
        .map(|(name, count)| (name, count.to_string()));
        let mut root = writer.create_element("testsuites").with_attribute(("name", "kubectl sts doctor"));
        for (name, count) in &counts {
            root = root.with_attribute((*name, count.as_str()));
        }
        root.write_inner_content(|writer| {
            for set in &self.checked {
                let cases: Vec<&Case<'_>> = of(set).collect();
                suite(writer, &full_name(set), &cases, self.file(set))?;
            }
            if skipped.is_empty() {
                return Ok(());
            }
            let [tests, errors, skips] =
                [skipped.len(), errors, skipped.len() - errors].map(|count| count.to_string());
            let suite = writer.create_element("testsuite").with_attribute(("name", "not checked"));
            let suite = suite
                .with_attribute(("tests", tests.as_str()))
                .with_attribute(("failures", "0"))
                .with_attribute(("errors", errors.as_str()))
                .with_attribute(("skipped", skips.as_str()));
            suite.write_inner_content(|writer| {
                for (rule, skipped) in &skipped {
                    let name = format!("{} {}", rule.code, rule.name);
                    let case = writer.create_element("testcase").with_attribute(("classname", "not checked"));
                    case.with_attribute(("name", name.as_str())).write_inner_content(|writer| {
                        let why = in_xml(&skipped.unseen.to_string());
                        writer
                            .create_element(if skipped.is_failure() { "error" } else { "skipped" })
                            .with_attribute(("message", why.as_str()))
                            .write_empty()?;
                        Ok(())
                    })?;
                }
                Ok(())
            })?;
            Ok(())
        })?;
        Ok(())
    }

    /// Workflow commands of GitHub Actions, one a finding, and the summary. What stands in them cannot begin another.
    pub fn github(&self) -> String {
        let mut text = String::new();
        for case in &self.cases {
            let level = match case.finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "notice",
            };
            let rule = case.finding.rule;
            let title = property(&format!("{} {}: {}", rule.code, rule.name, case.of()));
            let file =
                self.file(case.set).map_or(String::new(), |file| format!("file={},", property(&clean(file))));
            text += &format!("::{level} {file}title={title}::{}\n", data(&case.lines_with_page().join("\n")));
        }
        for skipped in self.skipped.iter().filter(|skipped| !skipped.rules.is_empty()) {
            let rules: Vec<&str> = skipped.rules.iter().map(|rule| rule.code).collect();
            let line = format!("not checked: {}; skipped: {}", skipped.unseen, rules.join(", "));
            let level = if skipped.is_failure() { "error" } else { "notice" };
            text += &format!("::{level} title=not checked::{}\n", data(&clean(&line)));
        }
        text + &clean(&self.summary) + "\n"
    }
}

/// One suite of JUnit.
fn suite(
    writer: &mut Writer<Vec<u8>>,
    name: &str,
    cases: &[&Case<'_>],
    file: Option<&str>,
) -> std::io::Result<()> {
    let tests = cases.len().max(1).to_string();
    let failures = cases.iter().filter(|case| case.fails).count().to_string();
    let name = in_xml(name);
    let counts = [("tests", tests.as_str()), ("failures", &failures), ("errors", "0"), ("skipped", "0")];
    let file = file.map(in_xml);
    let suite = writer
        .create_element("testsuite")
        .with_attribute(("name", name.as_str()))
        .with_attributes(counts)
        .with_attributes(file.as_deref().map(|file| ("file", file)));
    suite.write_inner_content(|writer| {
        let begin = |case: &str| {
            let element = quick_xml::events::BytesStart::new("testcase");
            element.with_attributes([("classname", name.as_str()), ("name", case)])
        };
        if cases.is_empty() {
            writer.write_event(Event::Empty(begin("no problems found")))?;
        }
        for case in cases {
            let finding = case.finding;
            let title =
                in_xml(&format!("{} {}: {}", finding.rule.code, finding.rule.name, short(&finding.subject)));
            let start = begin(&title);
            let end = start.to_end().into_owned();
            writer.write_event(Event::Start(start))?;
            let text = in_xml_lines(&case.lines_with_page());
            if case.fails {
                let failure =
                    writer.create_element("failure").with_attribute(("type", finding.severity.word()));
                let what = in_xml(&finding.what);
                failure
                    .with_attribute(("message", what.as_str()))
                    .write_text_content(BytesText::new(&text))?;
            } else {
                let text = format!("{}: {text}", finding.severity.word());
                writer.create_element("system-out").write_text_content(BytesText::new(&text))?;
            }
            writer.write_event(Event::End(end))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// A rule, as SARIF describes it.
fn descriptor(rule: &Rule) -> Value {
    let it = rule.explanation();
    json!({
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": it.title},
        "fullDescription": {"text": it.meaning},
        "help": {"text": it.fix, "markdown": it.fix},
        "helpUri": rule.url(),
        "defaultConfiguration": {"level": rule.severity.word()},
    })
}

/// A path as a URI reference (RFC 3986): all but what may stand in a path is written as %XX.
fn uri(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'\\' if cfg!(windows) => uri.push('/'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(byte as char);
            }
            _ => uri += &format!("%{byte:02X}"),
        }
    }
    uri
}

/// A text in one line of XML: without what XML cannot hold.
fn in_xml(text: &str) -> String {
    clean(text).chars().filter(|c| !matches!(c, '\u{fffe}' | '\u{ffff}')).collect()
}

fn in_xml_lines(lines: &[String]) -> String {
    lines.iter().map(|line| in_xml(line)).collect::<Vec<_>>().join("\n")
}

/// The text of a workflow command, escaped as `@actions/core` does (toolkit, packages/core/src/command.ts).
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
