//! Names of pods and claims, taken apart exactly as the controller makes them.

use crate::kinds::StatefulSet;

/// The set's name and the ordinal in a pod's name. Greedy, as `stateful_set_utils.go:statefulPodRegex`, so that the
/// set `web-1` owns `web-1-0`; an ordinal the controller would not write (leading zero, over 31 bits) is none.
pub fn parse_pod_name(name: &str) -> Option<(&str, i32)> {
    let (parent, digits) = name.rsplit_once('-')?;
    Some((parent, ordinal(digits)?))
}

/// A claim's name, read as one of a set's: `<template>-<set>-<ordinal>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimName<'a> {
    /// The claim template.
    pub template: &'a str,
    /// The replica it is for.
    pub ordinal: i32,
}

impl<'a> ClaimName<'a> {
    /// Reads `name` as a claim of `set`, by the exact names of its own templates. At most one template fits, as a
    /// set's templates have different names.
    pub fn parse(set: &'a StatefulSet, name: &str) -> Option<ClaimName<'a>> {
        set.spec.volume_claim_templates.iter().find_map(|template| {
            let template = template.metadata.name.as_str();
            let digits = name.strip_prefix(template)?.strip_prefix('-')?;
            let digits = digits.strip_prefix(set.metadata.name.as_str())?.strip_prefix('-')?;
            Some(ClaimName { template, ordinal: ordinal(digits)? })
        })
    }
}

/// What the names of all claims have in common that are made from one template of a set, whatever their ordinals.
pub(super) fn stem(name: &str) -> Option<&str> {
    let (stem, digits) = name.rsplit_once('-')?;
    ordinal(digits).map(|_| stem)
}

fn ordinal(digits: &str) -> Option<i32> {
    let canonical = digits == "0" || !digits.starts_with('0');
    (canonical && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{Meta, PersistentVolumeClaim, StatefulSetSpec};

    fn set(name: &str, templates: &[&str]) -> StatefulSet {
        let template = |name: &&str| PersistentVolumeClaim {
            metadata: Meta { name: (*name).to_owned(), ..Meta::default() },
            ..PersistentVolumeClaim::default()
        };
        StatefulSet {
            metadata: Meta { name: name.to_owned(), ..Meta::default() },
            spec: StatefulSetSpec {
                volume_claim_templates: templates.iter().map(template).collect(),
                ..StatefulSetSpec::default()
            },
            ..StatefulSet::default()
        }
    }

    #[test]
    fn a_pod_belongs_to_the_longest_name() {
        for (pod, parsed) in [
            ("web-0", Some(("web", 0))),
            ("web-1-0", Some(("web-1", 0))),
            ("web-12", Some(("web", 12))),
            ("web-01", None),
            ("web-", None),
            ("web", None),
            ("web-99999999999", None),
            ("web-+1", None),
        ] {
            assert_eq!(parse_pod_name(pod), parsed, "{pod}");
        }
    }

    #[test]
    fn a_claim_is_read_by_exact_names_only() {
        let (web, web_1) = (set("web", &["data", "data-web"]), set("web-1", &["data"]));
        let of = |set, name| ClaimName::parse(set, name).map(|claim| (claim.template, claim.ordinal));
        assert_eq!(of(&web, "data-web-3"), Some(("data", 3)));
        assert_eq!(of(&web, "data-web-web-3"), Some(("data-web", 3)));
        assert_eq!(of(&web, "data-web-1-0"), None, "belongs to web-1");
        assert_eq!(of(&web_1, "data-web-1-0"), Some(("data", 0)));
        assert_eq!(of(&web, "data-my-web-0"), None);
        assert_eq!(of(&web, "data-web-01"), None);
    }
}
