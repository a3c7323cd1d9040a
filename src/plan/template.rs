//! Two pod templates side by side, without what may be a secret.

use std::collections::BTreeSet;

use serde_json::Value;

use super::merge::merge_key;
use crate::secrets::{HIDDEN, is_hidden, redacted_at};

/// A value longer than this is cut.
const LONGEST: usize = 80;

/// What differs, a line each: `image of container web: web:1 → web:2`. What may be a secret (`crate::secrets`) is
/// compared, but not shown.
pub fn changes(old: &Value, new: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    walk(&mut Vec::new(), Some(old), Some(new), &mut lines);
    lines
}

fn walk(path: &mut Vec<String>, old: Option<&Value>, new: Option<&Value>, lines: &mut Vec<String>) {
    let is_there = |value: Option<&Value>| value.is_some_and(|value| !value.is_null());
    if old == new || (!is_there(old) && !is_there(new)) {
        return;
    }
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys.into_iter().filter(|key| !key.starts_with('$')) {
                path.push(key.clone());
                walk(path, old.get(key), new.get(key), lines);
                path.pop();
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            let list = path.last().map_or("", String::as_str);
            match by_name(list, before).zip(by_name(list, after)) {
                Some((before, after)) => walk_list(path, &before, &after, lines),
                None => lines.push(leaf(path, old, new)),
            }
        }
        _ => lines.push(leaf(path, old, new)),
    }
}

type Named<'a> = Vec<(String, &'a Value)>;

/// The items of a list that is merged, each with its name; `None` unless each has one of its own.
fn by_name<'a>(list: &str, items: &'a [Value]) -> Option<Named<'a>> {
    let key = merge_key(list)?;
    let named: Named<'a> =
        items.iter().map(|item| Some((plain(item.get(key)?), item))).collect::<Option<_>>()?;
    let names: BTreeSet<&String> = named.iter().map(|(name, _)| name).collect();
    (names.len() == named.len()).then_some(named)
}

fn item<'a>(items: &Named<'a>, name: &str) -> Option<&'a Value> {
    items.iter().find(|(known, _)| known == name).map(|(_, item)| *item)
}

/// The names of the items that the other list has, too.
fn common<'n>(of: &'n Named<'_>, with: &Named<'_>) -> Vec<&'n String> {
    of.iter().map(|(name, _)| name).filter(|name| item(with, name).is_some()).collect()
}

fn walk_list(path: &mut Vec<String>, old: &Named<'_>, new: &Named<'_>, lines: &mut Vec<String>) {
    let list = path.pop().unwrap_or_default();
    let added = new.iter().filter(|(name, _)| item(old, name).is_none());
    for (name, _) in old.iter().chain(added) {
        path.push(format!("{list}[{name}]"));
        walk(path, item(old, name), item(new, name), lines);
        path.pop();
    }
    path.push(list);
    if common(old, new) != common(new, old) {
        lines.push(format!("{}: in another order", path.join(".")));
    }
}

fn leaf(path: &[String], old: Option<&Value>, new: Option<&Value>) -> String {
    let name = match path {
        [.., container, last] if last == "image" && container.contains('[') => {
            let name = container.split_once('[').map_or("", |(_, name)| name.trim_end_matches(']'));
            format!("image of container {name}")
        }
        _ => path.join("."),
    };
    let shown = |value: &Value| plain(&redacted_at(path, value.clone()));
    let is_there = |value: &&Value| !value.is_null();
    match (old.filter(is_there), new.filter(is_there)) {
        (None, Some(_)) if is_hidden(path) => format!("{name}: added {HIDDEN}"),
        (Some(old), Some(new)) => match (shown(old), shown(new)) {
            (old, new) if old == new => format!("{name}: changed {HIDDEN}"),
            (old, new) => {
                let from = differ_at(&old, &new);
                format!("{name}: {} → {}", cut(&old, from), cut(&new, from))
            }
        },
        (None, Some(new)) => format!("{name}: none → {}", cut(&shown(new), 0)),
        _ => format!("{name}: removed"),
    }
}

/// From which character on two texts are shown: the beginning, unless what differs would be cut off.
fn differ_at(one: &str, other: &str) -> usize {
    let same = one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
    if same < LONGEST / 2 { 0 } else { same - LONGEST / 4 }
}

fn cut(text: &str, from: usize) -> String {
    let start = if from > 0 { "…" } else { "" };
    let end = if text.chars().nth(from.saturating_add(LONGEST)).is_some() { "…" } else { "" };
    let middle: String = text.chars().skip(from).take(LONGEST).collect();
    format!("{start}{middle}{end}")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Both without what may be a secret, for another program to compare: where two hidden values differ, the second says so.
pub fn to_compare(old: &Value, new: &Value) -> [Value; 2] {
    let (before, mut after) = (redacted_at(&[], old.clone()), redacted_at(&[], new.clone()));
    tell_apart("", [old, &before], new, &mut after);
    [before, after]
}

/// What differs, and does not any more once it is shown, is told apart.
fn tell_apart(field: &str, [old, before]: [&Value; 2], new: &Value, after: &mut Value) {
    match (new, after) {
        (Value::Object(new), Value::Object(after)) => {
            for (key, after) in after {
                tell_apart(key, [&old[key], &before[key]], &new[key], after);
            }
        }
        (Value::Array(new), Value::Array(after)) => {
            let key = merge_key(field);
            for (at, (new, after)) in new.iter().zip(after).enumerate() {
                let is_same = |old: &&Value| key.is_some_and(|key| old.get(key) == new.get(key));
                let earlier = old.as_array().and_then(|all| all.iter().position(|old| is_same(&old)));
                let at = if key.is_some() { earlier.unwrap_or(usize::MAX) } else { at };
                tell_apart("", [&old[at], &before[at]], new, after);
            }
        }
        (new, after) => {
            if old != new && before == after {
                *after = format!("{} (another value, not shown)", plain(after)).into();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_told_without_secrets() {
        let container =
            |image: &str, env: Value| json!({"name": "web", "image": image, "env": env, "args": ["-v"]});
        let template = |containers: Value, annotations: Value| json!({"metadata": {"annotations": annotations}, "spec": {"containers": containers}});
        let old = template(
            json!([container(
                "web:1",
                json!([{"name": "A", "value": "s3cret"}, {"name": "B", "value": "s3cret"}])
            )]),
            json!({"team": "shop", "vault/token": "s3cret"}),
        );
        let new = template(
            json!([
                container("web:2", json!([{"name": "A", "value": "s3cret2"}, {"name": "C", "value": "s3cret"}])),
                {"name": "side", "image": "side:1", "env": [{"name": "D", "value": "s3cret"}]},
            ]),
            json!({"team": "stock", "vault/token": "s3cret2"}),
        );
        let lines = changes(&old, &new);
        assert_eq!(
            lines,
            [
                "metadata.annotations.team: shop → stock",
                "metadata.annotations.vault/token: changed (value not shown)",
                "spec.containers[web].env[A].value: changed (value not shown)",
                "spec.containers[web].env[B]: removed",
                "spec.containers[web].env[C]: none → {\"name\":\"C\",\"value\":\"(value not shown)\"}",
                "image of container web: web:1 → web:2",
                "spec.containers[side]: none → {\"env\":[{\"name\":\"D\",\"value\":\"(value not shown)\"}],\"image\":\"side:1\",\"name\":\"side\"…",
            ]
        );
        let given = |word: &str| {
            let probe = json!({"httpGet": {"path": format!("/health?token={word}")}});
            let volume = json!({"name": "c", "csi": {"volumeAttributes": {"password": word}}});
            json!({"spec": {"volumes": [volume], "containers": [
                {"name": "web", "args": [word], "command": ["sh", word], "readinessProbe": probe, "image": format!("bob:{word}@r/web")}
            ]}})
        };
        let lines = changes(&given("s3cret"), &given("s3cret2"));
        assert!(lines.len() == 5 && !lines.concat().contains("s3cret"), "{lines:?}");
        assert_eq!(changes(&new, &new), Vec::<String>::new());
        let [one, other] = to_compare(&given("s3cret"), &given("s3cret2"));
        assert!(one != other && !format!("{one}{other}").contains("s3cret"), "{one}{other}");
        assert_eq!(other["spec"]["containers"][0]["args"][0], "(value not shown) (another value, not shown)");
        let [one, other] = to_compare(&old, &new);
        let variables = |template: &Value| template["spec"]["containers"][0]["env"].clone();
        assert_eq!(variables(&one)[0]["value"], HIDDEN);
        assert_eq!(variables(&other)[0]["value"], "(value not shown) (another value, not shown)");
        assert_eq!(variables(&other)[1]["value"], HIDDEN);
    }

    #[test]
    fn long_values_are_shown_where_they_differ() {
        let value = |end: &str| json!({"a": format!("{}{end}", "x".repeat(200))});
        let line = changes(&value("1"), &value("2")).concat();
        assert_eq!(line, format!("a: …{0}1 → …{0}2", "x".repeat(20)));
    }

    #[test]
    fn items_without_a_name_of_their_own_are_compared_as_a_whole() {
        let ports = |number: i32| {
            json!({"ports": [{"containerPort": 53, "protocol": "TCP"},
            {"containerPort": 53, "protocol": "UDP", "hostPort": number}]})
        };
        assert_eq!(changes(&ports(1), &ports(2)).len(), 1);
    }

    #[test]
    fn another_order_is_told_once() {
        let list = |names: &[&str]| {
            let items: Vec<Value> = names.iter().map(|name| json!({"name": name, "image": "i"})).collect();
            json!({"spec": {"containers": items}})
        };
        let changed = |old: &[&str], new: &[&str]| changes(&list(old), &list(new));
        assert_eq!(changed(&["a", "b"], &["b", "a"]), ["spec.containers: in another order"]);
        assert_eq!(changed(&["a", "b", "c"], &["a", "c"]), ["spec.containers[b]: removed"]);
        let added = changed(&["a", "b"], &["c", "a", "b"]);
        assert_eq!(added, [r#"spec.containers[c]: none → {"image":"i","name":"c"}"#]);
    }

    #[test]
    fn a_long_value_is_shown_from_where_it_differs() {
        let shown = |same: usize| {
            let text = |end: &str| json!({"a": format!("{}{end}{}", "x".repeat(same), "y".repeat(100))});
            changes(&text("1"), &text("2")).remove(0)
        };
        let half = LONGEST / 2;
        assert!(
            shown(half - 1).starts_with(&format!("a: {}1y", "x".repeat(half - 1))),
            "{}",
            shown(half - 1)
        );
        let before = LONGEST / 4;
        let wanted = format!("a: …{}1y", "x".repeat(before));
        assert!(shown(half).starts_with(&wanted), "{}", shown(half));
        assert!(shown(500).starts_with(&wanted), "{}", shown(500));
        assert!(shown(500).ends_with(&format!("{}…", "y".repeat(LONGEST - before - 1))), "{}", shown(500));
    }
}
