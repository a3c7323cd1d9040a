//! A pod that is not ready has no DNS name yet.

use super::dns::{Verdict, called, checked};
use super::prelude::*;
use super::services::patch;

pub const RULE: Rule = Rule {
    code: "STS109",
    name: "dns-name-not-published",
    severity: Severity::Note,
    stuck_from: None,
    page: include_str!("../../docs/rules/dns-name-not-published.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    if snapshot.dns().is_none() {
        return Ok(Vec::new());
    }
    snapshot.replicas()?;
    let Some(service) = snapshot.service()? else { return Ok(Vec::new()) };
    let all = checked(snapshot);
    let negative = all.iter().filter(|it| it.verdict == Verdict::NotReady && it.answer.code.is_negative());
    let mut names: Vec<&str> = negative.clone().filter_map(|it| it.replica).collect();
    names.dedup();
    let mut unique: Vec<&str> = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    let Some(first) = negative.clone().find(|it| it.replica.is_some()) else { return Ok(Vec::new()) };
    let (verb, it) =
        if unique.len() == 1 { ("has no DNS name", "it is") } else { ("have no DNS names", "they are") };
    let what = format!("{} {verb} until {it} ready", words::list(&unique, 4));
    let name = &service.metadata.name;
    let kept = first.answer.ttl.map_or(String::new(), |ttl| {
        format!("; this answer may be cached for {} more", super::dns::time(ttl))
    });
    let publish = serde_json::json!({"spec": {"publishNotReadyAddresses": true}});
    let finding = RULE.about(Kind::Pod, unique[0], what).because(format!(
        "Service {name} publishes only pods that are ready, and {} answers {} for {}{kept}",
        called(first.server),
        first.answer.code.word(),
        first.name
    ));
    let finding = unique[1..].iter().fold(finding, |finding, name| finding.also(Kind::Pod, *name));
    Ok(vec![
        finding
            .remedy(
                kubectl("wait pod")
                    .name(unique[0])
                    .with("--for=condition=Ready --timeout=5m")
                    .namespace(home(snapshot)),
            )
            .instead(patch(snapshot, name, &publish)),
    ])
}
