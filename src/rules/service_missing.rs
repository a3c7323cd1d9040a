//! The Service that gives the replicas their DNS names does not exist.

use super::prelude::*;
use super::{misspelt, services};
use crate::snapshot::Coverage;

pub const RULE: Rule = Rule {
    code: "STS101",
    name: "service-missing",
    severity: Severity::Error,
    stuck_from: None,
    page: include_str!("../../docs/rules/service-missing.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    let (name, service) = (&set.metadata.name, &set.spec.service_name);
    if service.is_empty() || snapshot.service()?.is_some() {
        return Ok(Vec::new());
    }
    // A lone replica rarely needs a name of its own, and a set at 0 has no pod to name.
    let proven = services::is_proven(snapshot).unwrap_or(false);
    let severity = match set.replicas() {
        0 => Severity::Note,
        1 if proven => Severity::Note,
        1 => Severity::Warning,
        // Clients that need the names are not seen, however long the replicas do without.
        _ if proven => Severity::Warning,
        _ => Severity::Error,
    };
    if let Some(coverage) = snapshot.manifests() {
        return Ok(vec![of_manifests(snapshot, coverage, severity)?]);
    }
    let elsewhere = snapshot.service_elsewhere().map_or(String::new(), |other| {
        format!(
            "; Service {service} in namespace {} does not apply to this namespace",
            other.metadata.namespace
        )
    });
    let finding = RULE
        .about(
            Kind::StatefulSet,
            name,
            format!("spec.serviceName of {name} is {service}, but there is no such Service"),
        )
        .only(severity);
    let because = format!(
        "without it, names such as {} do not resolve{}{elsewhere}",
        services::replica_name(set),
        services::in_spite_of_it(proven)
    );
    Ok(vec![match misspelt::corrected(snapshot, &finding, &because)? {
        Some(corrected) => corrected,
        None => finding.because(because).remedy(services::create(snapshot)),
    }])
}

/// The same of manifests that are not applied yet. The Service may be in the cluster, or among manifests that were not
/// given; that it is missing is known no better than the manifests are complete.
fn of_manifests(snapshot: &Snapshot<'_>, coverage: Coverage, severity: Severity) -> Result<Finding, Unseen> {
    let set = snapshot.set;
    let (name, service) = (&set.metadata.name, &set.spec.service_name);
    let finding = RULE.about(
        Kind::StatefulSet,
        name,
        format!("spec.serviceName of {name} is {service}, but no such Service is among these manifests"),
    );
    let names = services::replica_name(set);
    let meant = misspelt::meant(snapshot)?;
    if let [nearest, ..] = meant.as_slice() {
        let nearest = &nearest.metadata.name;
        return Ok(finding
            .because(format!(
                "names such as {names} resolve only with it; Service {nearest} is headless and selects these pods: set \
                 spec.serviceName to {nearest} before the StatefulSet is created, because it cannot be changed later"
            ))
            .only(severity));
    }
    // Where Services are among them, this one is expected there too.
    let most = match (snapshot.services()?.is_empty(), coverage) {
        (true, _) => Severity::Note,
        (false, Coverage::OneFile) => Severity::Warning,
        (false, Coverage::Several) => Severity::Error,
    };
    Ok(finding
        .because(format!(
            "names such as {names} resolve only with it; unless another manifest or the cluster has it, add a headless \
             Service (clusterIP: None), as the command writes it"
        ))
        .remedy(written(snapshot))
        .only(severity.min(most)))
}

/// The command that writes the manifest of the Service; it needs no cluster.
fn written(snapshot: &Snapshot<'_>) -> Command {
    let set = snapshot.set;
    let create = kubectl("create service clusterip").name(&set.spec.service_name);
    let create = create.with("--clusterip=None --dry-run=client -o yaml").namespace(home(snapshot));
    let select = kubectl("set selector --local -f -").value(services::selector(set)).with("-o yaml");
    create.piped_into(select)
}
