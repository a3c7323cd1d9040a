//! The Service that gives the replicas their DNS names does not exist.

use super::prelude::*;
use super::services;

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
        format!("; the Service {service} in {} does not serve this namespace", other.metadata.namespace)
    });
    // A lone replica rarely needs a name of its own, and a set at 0 has nobody to name.
    let proven = services::is_proven(snapshot).unwrap_or(false);
    let severity = match set.replicas() {
        _ if proven => Severity::Note,
        0 => Severity::Note,
        1 => Severity::Warning,
        _ => Severity::Error,
    };
    Ok(vec![
        RULE.about(
            Kind::StatefulSet,
            name,
            format!("{name} names the Service {service}, which does not exist"),
        )
        .because(format!(
            "names such as {} do not resolve without it{}{elsewhere}",
            services::replica_name(set),
            if proven { "; all replicas have been ready for more than a day all the same" } else { "" }
        ))
        .remedy(services::create(snapshot))
        .only(severity),
    ])
}
