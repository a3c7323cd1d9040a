//! One line a set, the worst first.

use serde_json::{Value, json};

use super::super::probe;
use super::one::Screen;
use crate::render::{Column, Glyph, Page, Table, View, by_path, skipped};
use crate::rules::{self, Severity, Skipped};
use crate::words;

/// Where the column about DNS stands.
const DNS: usize = 4;

/// Many StatefulSets.
pub(super) struct List {
    screens: Vec<Screen>,
    place: String,
    with_namespace: bool,
    labels: Labels,
}

/// Which labels have columns.
#[derive(Default)]
pub(super) struct Labels {
    /// By their keys, each in a column.
    pub(super) columns: Vec<String>,
    /// All of them, in the last column.
    pub(super) all: bool,
}

impl Labels {
    /// Whether there are columns for labels.
    pub(super) fn any(&self) -> bool {
        self.all || !self.columns.is_empty()
    }
}

/// `TIER` of `example.com/tier` (cli-runtime, `tableprinter.go:formatLabelHeaders`).
fn heading(key: &str) -> String {
    key.rsplit('/').next().unwrap_or_default().to_uppercase()
}

/// All labels in the order of their keys (apimachinery, `labels.go:FormatLabels`).
fn all_labels(screen: &Screen) -> String {
    let labels = &screen.set.metadata.labels;
    let pairs: Vec<String> = labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    or_none(&pairs.join(","))
}

impl List {
    /// Sorts them: broken, then moving, then complete.
    pub(super) fn new(mut screens: Vec<Screen>, place: String, with_namespace: bool, labels: Labels) -> List {
        screens.sort_by(|a, b| {
            let key = |screen: &Screen| (std::cmp::Reverse(screen.worst()), screen.resting);
            let name =
                |screen: &Screen| (screen.set.metadata.namespace.clone(), screen.set.metadata.name.clone());
            key(a).cmp(&key(b)).then_with(|| name(a).cmp(&name(b)))
        });
        List { screens, place, with_namespace, labels }
    }

    /// In the order of what is found at this path of the JSON of each.
    pub(super) fn sorted_by(mut self, path: &str) -> List {
        let mut keyed: Vec<(Value, Screen)> =
            self.screens.into_iter().map(|screen| (screen.json(), screen)).collect();
        keyed.sort_by(|(a, _), (b, _)| by_path(path, a, b));
        self.screens = keyed.into_iter().map(|(_, screen)| screen).collect();
        self
    }
}

impl List {
    /// What was not seen for any of the sets.
    fn not_seen(&self) -> Vec<Skipped> {
        let all = self.screens.iter().flat_map(|screen| &screen.skipped);
        let unseen = all.clone().map(|skipped| skipped.unseen.clone()).collect();
        let rules: Vec<_> = all
            .flat_map(|skipped| skipped.rules.iter().map(|rule| (*rule, skipped.unseen.clone())))
            .collect();
        rules::skipped(unseen, &rules)
    }
}

impl View for List {
    fn text(&self, page: &mut Page) {
        if self.screens.is_empty() {
            return;
        }
        let mut columns = vec![
            Column::new("NAME"),
            Column::new("READY"),
            Column::new("ROLLOUT"),
            Column::new("FINDINGS"),
            Column::wide("AGE"),
            Column::wide("SERVICE"),
            Column::wide("IMAGE"),
        ];
        columns.extend(self.labels.columns.iter().map(|key| Column::titled(&heading(key))));
        // Only the last column goes on in further lines.
        columns.extend(match self.labels.all {
            true => vec![Column::remark("NEXT"), Column::prose("LABELS")],
            false => vec![Column::prose("NEXT")],
        });
        let has_dns = self.screens.iter().any(|screen| screen.dns.is_some());
        if has_dns {
            columns.insert(DNS, Column::new("DNS"));
        }
        if self.with_namespace {
            columns.insert(0, Column::new("NAMESPACE"));
        }
        let mut table = Table::new(&columns);
        for screen in &self.screens {
            let meta = &screen.set.metadata;
            let mut cells = vec![
                meta.name.clone(),
                screen.ready(),
                screen.rollout.word.clone(),
                findings(screen),
                screen.age.map_or_else(none, words::age),
                or_none(&screen.set.spec.service_name),
                or_none(&screen.images()),
            ];
            let value = |key: &String| meta.labels.get(key).map_or_else(none, |value| or_none(value));
            cells.extend(self.labels.columns.iter().map(value));
            cells.push(screen.next_word.clone());
            cells.extend(self.labels.all.then(|| all_labels(screen)));
            if has_dns {
                cells.insert(DNS, screen.dns_word().unwrap_or_else(none));
            }
            if self.with_namespace {
                cells.insert(0, meta.namespace.clone());
            }
            let glyph = match (screen.worst(), screen.resting) {
                (Some(Severity::Error), _) => Glyph::Bad,
                (Some(Severity::Warning), _) => Glyph::Warning,
                (_, false) => Glyph::Moving,
                (_, true) if screen.set.replicas() == 0 => Glyph::Empty,
                (_, true) => Glyph::Good,
            };
            table.row(Some(glyph), cells);
        }
        page.table(&table);
        let not_seen = self.not_seen();
        // It is one for all of them.
        let probe = self.screens.iter().find_map(|screen| Some(&screen.dns.as_ref()?.1));
        if !not_seen.is_empty() || probe.is_some_and(|probe| !probe.not_asked.is_empty()) {
            page.gap();
        }
        skipped(page, &not_seen);
        probe::not_asked(page, probe);
    }

    fn nothing(&self) -> Option<String> {
        self.screens.is_empty().then(|| format!("no StatefulSets found {}", self.place))
    }

    fn json(&self) -> Value {
        json!({
            "apiVersion": "kubectl-sts/v1",
            "kind": "StatusList",
            "items": self.screens.iter().map(View::json).collect::<Vec<_>>(),
        })
    }

    fn names(&self) -> Vec<String> {
        self.screens.iter().flat_map(View::names).collect()
    }
}

fn none() -> String {
    "–".to_owned()
}

fn or_none(text: &str) -> String {
    if text.is_empty() { none() } else { text.to_owned() }
}

/// The worst ones, and how many more: `1 error +2`.
fn findings(screen: &Screen) -> String {
    let Some(worst) = screen.worst() else {
        let is_unread = Skipped::any_failure(&screen.skipped);
        return if is_unread { "unknown".to_owned() } else { none() };
    };
    let count = screen.findings.iter().filter(|finding| finding.severity == worst).count();
    let more = match screen.findings.len() - count {
        0 => String::new(),
        more => format!(" +{more}"),
    };
    format!("{}{more}", words::count(count, worst.word()))
}
