//! A diagnosis as metrics, in the text format of Prometheus: for the textfile collector of the node exporter.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::Report;
use crate::rules::Severity;
use crate::text::clean;

/// A line for each finding, and how much was read. Two findings of one rule about one object are one: a series may be there only
/// once.
pub(super) fn metrics(report: &Report<'_>) -> String {
    let mut text = Text::default();
    text.family("kubectl_sts_finding", "A problem that kubectl sts doctor found; the value is always 1.");
    let series = report.cases.iter().map(|case| {
        let (finding, set) = (case.finding, &case.set.metadata);
        let subject = &finding.subject;
        let own = subject.namespace.as_deref().unwrap_or(&set.namespace);
        let namespace = if subject.kind.is_namespaced() { own } else { "" };
        labels(&[
            ("rule", finding.rule.name),
            ("code", finding.rule.code),
            ("severity", finding.severity.word()),
            ("namespace", namespace),
            ("kind", subject.kind.name()),
            ("name", &subject.name),
            ("statefulset_namespace", &set.namespace),
            ("statefulset", &set.name),
        ])
    });
    for labels in series.collect::<BTreeSet<_>>() {
        text.sample("kubectl_sts_finding", &labels, "1");
    }
    text.family("kubectl_sts_findings", "How many problems kubectl sts doctor found.");
    for severity in [Severity::Error, Severity::Warning, Severity::Note] {
        let count = report.cases.iter().filter(|case| case.finding.severity == severity).count();
        text.sample("kubectl_sts_findings", &labels(&[("severity", severity.word())]), &count.to_string());
    }
    text.family(
        "kubectl_sts_not_checked",
        "Objects that could not be read; rules that need them were skipped.",
    );
    let unread = report.skipped.iter().map(|skipped| labels(&[("resource", skipped.unseen.kind.plural())]));
    for labels in unread.collect::<BTreeSet<_>>() {
        text.sample("kubectl_sts_not_checked", &labels, "1");
    }
    text.family("kubectl_sts_statefulsets_checked", "How many StatefulSets were checked.");
    text.sample("kubectl_sts_statefulsets_checked", "", &report.checked.len().to_string());
    text.family("kubectl_sts_read_timestamp_seconds", "When the cluster was read.");
    text.sample("kubectl_sts_read_timestamp_seconds", "", &report.read_at.as_second().to_string());
    text.0
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge");
    }

    fn sample(&mut self, name: &str, labels: &str, value: &str) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

/// `{rule="rollback-trap",…}`, escaped as the text format wants it.
fn labels(all: &[(&str, &str)]) -> String {
    let escaped = |value: &str| clean(value).replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
    let all: Vec<String> = all.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", all.join(","))
}

#[cfg(test)]
mod tests {
    use super::labels;

    #[test]
    fn what_would_end_a_label_is_escaped() {
        assert_eq!(labels(&[("a", "x\"} 2\n"), ("b", r"\")]).matches('\n').count(), 0);
        assert_eq!(labels(&[("a", r#"x"y\"#)]), r#"{a="x\"y\\"}"#);
    }
}
