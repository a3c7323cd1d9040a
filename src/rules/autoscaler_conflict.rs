//! An autoscaler and a manifest both set the number of replicas.

use serde_json::json;

use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS314",
    name: "autoscaler-conflict",
    severity: Severity::Warning,
    stuck_from: None,
    page: include_str!("../../docs/rules/autoscaler-conflict.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    let Some(autoscaler) = snapshot.autoscaler()?.filter(|_| !set.metadata.is_terminating()) else {
        return Ok(Vec::new());
    };
    let name = &set.metadata.name;
    let applied = set.metadata.annotations.get(APPLIED_REPLICAS).and_then(|count| count.parse::<i32>().ok());
    let appliers: Vec<&str> = set.metadata.replicas_appliers.iter().map(String::as_str).collect();
    // Where it may choose only what the manifest says, there is nothing to disagree about.
    let (least, most) = (autoscaler.spec.min_replicas.unwrap_or(1), autoscaler.spec.max_replicas);
    if least == most && applied.unwrap_or(set.replicas()) == most {
        return Ok(Vec::new());
    }
    let who = match autoscaler.metadata.controller() {
        Some(owner) => {
            format!("HorizontalPodAutoscaler {} of {} {}", autoscaler.metadata.name, owner.kind, owner.name)
        }
        None => format!("HorizontalPodAutoscaler {}", autoscaler.metadata.name),
    };
    let finding = RULE.about(
        Kind::StatefulSet,
        name,
        format!("the manifest of {name} and its autoscaler both set the number of replicas"),
    );
    let finding = finding.also(Kind::HorizontalPodAutoscaler, &autoscaler.metadata.name);
    let range = format!("{who} scales {name} between {least} and {most} replicas");
    if let Some(applied) = applied {
        let now = set.replicas();
        let next = match now - applied {
            1.. => format!(
                "the next apply of it deletes {}, and the autoscaler creates them again",
                words::count(now - applied, "pod")
            ),
            _ => "each apply of it takes back what the autoscaler set".to_owned(),
        };
        let at = home(snapshot);
        let forget = kubectl("apply view-last-applied statefulset")
            .name(name)
            .namespace(at)
            .with("-o json")
            .piped_into(
                kubectl("patch -f - --local --dry-run=client --type=merge -o json")
                    .patch(&json!({"spec": {"replicas": null}}))
                    .namespace(at),
            );
        let forget = forget.piped_into(kubectl("apply set-last-applied -f -").namespace(at));
        let finding = finding
            .because(format!(
                "{range}, but the manifest that was applied last has replicas: {applied}; {next}; remove spec.replicas from the \
                 manifest, and run the command first: it lets kubectl forget the field, which the next apply would otherwise set \
                 to 1"
            ))
            .remedy(forget);
        return Ok(vec![if now > applied { finding } else { finding.only(Severity::Note) }]);
    }
    if appliers.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![
        finding
            .because(format!(
                "{range}, but {} sets spec.replicas by server-side apply, and each apply takes back what the autoscaler set; \
                 remove spec.replicas from the manifest after the autoscaler has changed the number: before that, the removal \
                 would set it to 1",
                words::list(&appliers, 3)
            ))
            .remedy(
                kubectl("get statefulset")
                    .name(name)
                    .with("-o yaml --show-managed-fields")
                    .namespace(home(snapshot)),
            )
            .only(Severity::Note),
    ])
}
