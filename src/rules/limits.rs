//! What ends a refusal by a LimitRange: values within its limits, or other limits.

use std::collections::BTreeMap;

use serde_json::{Map as Json, Value, json};

use super::creations::{Way, patch_containers, retry};
use super::prelude::*;
use crate::messages::admission::{Bound, BoundKind};

/// The way for these limits.
pub(super) fn way(snapshot: &Snapshot<'_>, bounds: &[Bound<'_>]) -> Way {
    let each: Vec<String> = bounds.iter().map(|bound| said(snapshot, bound)).collect();
    let way = Way::because(words::list(&each, 3));
    let change = change(snapshot, bounds);
    let raise = bounds.first().and_then(|bound| other_limit(snapshot, bound));
    let at = home(snapshot);
    match (change, raise) {
        (Some(change), Some(raise)) => way.step(change).or(raise),
        (Some(change), None) => way.step(change),
        // PVCs and containers that a webhook added are not changed in the template.
        (None, Some(raise)) => way.step(raise).step(retry(snapshot)),
        (None, None) => way.step(kubectl("describe limitranges").namespace(at)),
    }
}

/// `LimitRange small allows a cpu limit of at most 1 per Container`.
fn said(snapshot: &Snapshot<'_>, bound: &Bound<'_>) -> String {
    let Bound { kind, resource, per, value } = bound;
    let range =
        owner(snapshot, bound).map_or("a LimitRange".to_owned(), |(name, _)| format!("LimitRange {name}"));
    match kind {
        BoundKind::Min => format!("{range} requires at least {value} {resource} per {per}"),
        BoundKind::Max => format!("{range} allows at most {value} {resource} per {per}"),
        BoundKind::Ratio => {
            format!("{range} allows a {resource} limit of at most {value} times the request per {per}")
        }
    }
}

/// The LimitRange with this limit, and the place of the item in it.
fn owner<'a>(snapshot: &Snapshot<'a>, bound: &Bound<'_>) -> Option<(&'a str, usize)> {
    snapshot.limit_ranges().unwrap_or_default().iter().find_map(|range| {
        let is_it = |item: &LimitRangeItem| {
            let map = match bound.kind {
                BoundKind::Min => &item.min,
                BoundKind::Max => &item.max,
                BoundKind::Ratio => &item.max_limit_request_ratio,
            };
            let value = map.get(bound.resource).and_then(|value| Quantity::parse(value));
            item.r#type == bound.per && value.is_some() && value == Quantity::parse(bound.value)
        };
        range.spec.limits.iter().position(is_it).map(|at| (range.metadata.name.as_str(), at))
    })
}

/// A template whose containers keep the limits. What is limited for a whole pod can be told only where it has one container.
fn change(snapshot: &Snapshot<'_>, bounds: &[Bound<'_>]) -> Option<Command> {
    let template = &snapshot.set.spec.template.spec;
    let all: Vec<&Container> = template.containers.iter().chain(&template.init_containers).collect();
    let mut each: BTreeMap<&str, Value> = BTreeMap::new();
    for bound in bounds {
        let (resource, limit) = (bound.resource, Quantity::parse(bound.value)?);
        if bound.per == "PersistentVolumeClaim" || (bound.per == "Pod" && all.len() != 1) {
            return None;
        }
        let mut changed = false;
        for container in &all {
            let of = |map: &Map| map.get(resource).and_then(|value| Quantity::parse(value));
            let (request, max) = (of(&container.resources.requests), of(&container.resources.limits));
            let fields: Vec<(&str, &str)> = match bound.kind {
                BoundKind::Min => {
                    let low = |amount: Option<Quantity>| amount.is_some_and(|amount| amount < limit);
                    let fields = [("requests", low(request) || request.is_none()), ("limits", low(max))];
                    fields
                        .into_iter()
                        .filter(|(_, low)| *low)
                        .map(|(field, _)| (field, bound.value))
                        .collect()
                }
                BoundKind::Max => {
                    let high = |amount: Option<Quantity>| amount.is_some_and(|amount| amount > limit);
                    let fields = [("requests", high(request)), ("limits", high(max) || max.is_none())];
                    fields
                        .into_iter()
                        .filter(|(_, high)| *high)
                        .map(|(field, _)| (field, bound.value))
                        .collect()
                }
                BoundKind::Ratio => match container.resources.limits.get(resource) {
                    Some(max) => vec![("requests", max.as_str())],
                    None => return None,
                },
            };
            // What a container does not state, the LimitRange may have stated within its limits.
            let stated = request.is_some() || max.is_some() || all.len() == 1;
            if fields.is_empty() || !stated {
                continue;
            }
            changed = true;
            let entry = each.entry(&container.name).or_insert_with(|| json!({"resources": {}}));
            for (field, value) in fields {
                entry["resources"][field][resource] = json!(value);
            }
        }
        if !changed {
            return None;
        }
    }
    patch_containers(snapshot, Json::new(), &each)
}

/// Another limit, where the LimitRange is known: what the template or PVC asks for.
fn other_limit(snapshot: &Snapshot<'_>, bound: &Bound<'_>) -> Option<Command> {
    let (name, at) = owner(snapshot, bound)?;
    let field = match bound.kind {
        BoundKind::Min => "min",
        BoundKind::Max => "max",
        BoundKind::Ratio => "maxLimitRequestRatio",
    };
    let asked = match bound.per {
        "PersistentVolumeClaim" => {
            let templates = snapshot.set.spec.volume_claim_templates.iter();
            let sizes = templates
                .map(PersistentVolumeClaim::requested)
                .filter(|size| Quantity::parse(size).is_some());
            let by_size = |size: &&str| Quantity::parse(size);
            if bound.kind == BoundKind::Max { sizes.max_by_key(by_size) } else { sizes.min_by_key(by_size) }
        }
        _ => return None,
    }?;
    // Where the key has a slash it would be a path of its own.
    let key = bound.resource.replace('~', "~0").replace('/', "~1");
    let patch =
        json!([{"op": "replace", "path": format!("/spec/limits/{at}/{field}/{key}"), "value": asked}]);
    let command = kubectl("patch limitrange").name(name).with("--type=json").patch(&patch);
    Some(command.namespace(home(snapshot)))
}
