//! The Service was created after the pods, under a misspelt name, beside the one that is meant.

use super::misspelt;
use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS105",
    name: "service-name-misspelt",
    severity: Severity::Note,
    stuck_from: None,
    page: include_str!("../../docs/rules/service-name-misspelt.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    let Some(service) = snapshot.service()?.filter(|service| service.is_headless()) else {
        return Ok(Vec::new());
    };
    let name = &service.metadata.name;
    let meant = misspelt::meant(snapshot)?.into_iter().find(|other| {
        misspelt::is_near(name, &other.metadata.name)
            && other.metadata.creation_timestamp < service.metadata.creation_timestamp
    });
    let first =
        snapshot.replicas()?.iter().filter_map(|replica| replica.pod?.metadata.creation_timestamp).min();
    // What was there before the pods was named on purpose.
    let Some(meant) =
        meant.filter(|_| first.is_some_and(|first| Some(first) < service.metadata.creation_timestamp))
    else {
        return Ok(Vec::new());
    };
    let other = &meant.metadata.name;
    let pod = set.pod_name(set.start());
    let finding = RULE.about(
        Kind::StatefulSet,
        &set.metadata.name,
        format!("{pod}.{other} does not resolve, only {pod}.{name} does"),
    );
    let because = format!("serviceName is {name}, and that Service was created after the pods");
    let found = misspelt::corrected(snapshot, &finding, &because)?;
    Ok(found.into_iter().collect())
}
