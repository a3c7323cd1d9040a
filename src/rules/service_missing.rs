//! The Service that gives the replicas their DNS names does not exist.

use super::prelude::*;
use super::{misspelt, services};

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
    let elsewhere = snapshot.service_elsewhere().map_or(String::new(), |other| {
        format!(
            "; Service {service} in namespace {} does not apply to this namespace",
            other.metadata.namespace
        )
    });
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
