//! What a path of the API asks for.

use super::items::Asked;
use crate::kinds::Kind;

/// Kinds that are read besides those of [`Kind`]: kind, version, plural, whether it has a namespace.
const OTHERS: [(&str, &str, &str, bool); 7] = [
    ("Deployment", "apps/v1", "deployments", true),
    ("ReplicaSet", "apps/v1", "replicasets", true),
    ("DaemonSet", "apps/v1", "daemonsets", true),
    ("Job", "batch/v1", "jobs", true),
    ("CronJob", "batch/v1", "cronjobs", true),
    ("ReplicationController", "v1", "replicationcontrollers", true),
    ("VolumeSnapshot", "snapshot.storage.k8s.io/v1", "volumesnapshots", true),
];

/// A path taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub asked: Asked<'a>,
    pub plural: &'static str,
    /// `None`: a list.
    pub name: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// `None` for a path of another form, or of a kind that is not known here.
    pub fn of(path_and_query: &'a str) -> Option<Place<'a>> {
        let path = path_and_query.split('?').next()?;
        let (version, rest) = match path.strip_prefix("/api/v1/") {
            Some(rest) => ("v1".to_owned(), rest),
            None => {
                let mut parts = path.strip_prefix("/apis/")?.splitn(3, '/');
                (format!("{}/{}", parts.next()?, parts.next()?), parts.next()?)
            }
        };
        let (namespace, rest) = match rest.strip_prefix("namespaces/").and_then(|rest| rest.split_once('/')) {
            Some((namespace, rest)) => (namespace, rest),
            None => ("", rest),
        };
        let (plural, name) = match rest.split_once('/') {
            Some((plural, name)) => (plural, Some(name)),
            None => (rest, None),
        };
        let own = Kind::ALL
            .into_iter()
            .map(|kind| (kind.name(), kind.api_version(), kind.plural(), kind.is_namespaced()));
        let known = own.chain(OTHERS).find(|known| (known.1, known.2) == (version.as_str(), plural));
        let (kind, api_version, plural, namespaced) = known?;
        if name.is_some_and(|name| name.is_empty() || name.contains('/')) {
            return None;
        }
        Some(Place {
            asked: Asked { kind, api_version, namespace: namespaced.then_some(namespace) },
            plural,
            name,
        })
    }
}

/// Percent-encodes a query value.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_what_they_ask_for() {
        let all: Vec<String> = Kind::ALL
            .into_iter()
            .flat_map(|kind| {
                [kind.path(Some("shop")), kind.path(None), format!("{}/a", kind.path(Some("shop")))]
            })
            .collect();
        for path in &all {
            let place = Place::of(path);
            assert!(place.is_some(), "{path}");
        }
        let place = Place::of("/apis/apps/v1/namespaces/shop/statefulsets/db?fieldManager=a/b");
        let asked = Asked { kind: "StatefulSet", api_version: "apps/v1", namespace: Some("shop") };
        assert_eq!(place, Some(Place { asked, plural: "statefulsets", name: Some("db") }));
        for path in
            ["/apis/apps/v1/pods", "/api/v1/secrets", "/version", "/apis/apps", "", "/api/v1/pods/a/log"]
        {
            assert_eq!(Place::of(path), None, "{path}");
        }
    }
}
