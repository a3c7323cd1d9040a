//! Label and field selectors, as the API server understands them.

use serde_json::Value;

/// Which fields a kind can be selected by, besides `metadata.name` and `metadata.namespace` (`core/v1/conversion.go`).
const FIELDS: &[(&str, &[&str])] = &[
    (
        "Pod",
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
        ],
    ),
    (
        "Event",
        &[
            "involvedObject.kind",
            "involvedObject.name",
            "involvedObject.namespace",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "type",
        ],
    ),
    ("Service", &["spec.clusterIP", "spec.type"]),
    ("Node", &["spec.unschedulable"]),
    ("Namespace", &["status.phase"]),
];

/// Both selectors of a request.
#[derive(Default)]
pub struct Selectors {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

struct Requirement {
    key: String,
    wanted: Wanted,
}

enum Wanted {
    There,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Selectors {
    /// # Errors
    /// What the server says of a selector that it does not support.
    pub fn parse(kind: &str, labels: &str, fields: &str) -> Result<Selectors, String> {
        let fields: Vec<Requirement> = parts(fields).iter().map(|part| requirement(part)).collect();
        for Requirement { key, .. } in &fields {
            let own = FIELDS.iter().find(|known| known.0 == kind).map_or(&[][..], |known| known.1);
            if !["metadata.name", "metadata.namespace"].contains(&key.as_str())
                && !own.contains(&key.as_str())
            {
                return Err(format!("field label not supported: {key}"));
            }
        }
        Ok(Selectors { labels: parts(labels).iter().map(|part| requirement(part)).collect(), fields })
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        let field = |path: &str| path.split('.').fold(object, |value, key| &value[key]).as_str();
        self.labels.iter().all(|it| it.wanted.matches(labels[&it.key].as_str()))
            // A field that is not there is empty.
            && self.fields.iter().all(|it| it.wanted.matches(Some(field(&it.key).unwrap_or_default())))
    }
}

impl Wanted {
    fn matches(&self, value: Option<&str>) -> bool {
        let among =
            |values: &[String]| value.is_some_and(|value| values.iter().any(|wanted| wanted == value));
        match self {
            Wanted::There => value.is_some(),
            Wanted::Absent => value.is_none(),
            Wanted::In(values) => among(values),
            Wanted::NotIn(values) => !among(values),
        }
    }
}

/// Splits at commas that are not in parentheses.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        match c {
            ',' if depth == 0 => parts.push(String::new()),
            _ => parts.last_mut().expect("at least one").push(c),
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn requirement(text: &str) -> Requirement {
    let text = text.trim();
    let values = |text: &str| {
        text.trim()
            .trim_matches(['(', ')'])
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let of = |key: &str, wanted| Requirement { key: key.trim().to_owned(), wanted };
    if let Some((key, rest)) = text.split_once(" notin ") {
        return of(key, Wanted::NotIn(values(rest)));
    }
    if let Some((key, rest)) = text.split_once(" in ") {
        return of(key, Wanted::In(values(rest)));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return of(key, Wanted::NotIn(vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = text.split_once('=') {
        return of(key, Wanted::In(vec![value.trim_start_matches('=').trim().to_owned()]));
    }
    match text.strip_prefix('!') {
        Some(key) => of(key, Wanted::Absent),
        None => of(text, Wanted::There),
    }
}
