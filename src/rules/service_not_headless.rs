//! The Service that should give the replicas their DNS names stands for all of them at once.

use super::prelude::*;
use super::services;

pub const RULE: Rule = Rule {
    code: "STS102",
    name: "service-not-headless",
    severity: Severity::Error,
    page: include_str!("../../docs/rules/service-not-headless.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    let Some(service) = snapshot.service()?.filter(|service| !service.is_headless()) else {
        return Ok(Vec::new());
    };
    let (name, in_namespace) = (&service.metadata.name, in_namespace(snapshot));
    let (what, but, remedy) = match (service.spec.r#type.as_str(), service.spec.cluster_ip.as_str()) {
        ("ExternalName", _) => (
            format!("Service {name} is an alias of {}", service.spec.external_name),
            "it is of type ExternalName".to_owned(),
            recreate(snapshot, &in_namespace),
        ),
        (open @ ("NodePort" | "LoadBalancer"), _) => (
            format!("Service {name} is not headless"),
            format!("it is of type {open}, and clients outside the cluster need a second Service"),
            recreate(snapshot, &in_namespace),
        ),
        (_, ip) => (
            format!("Service {name} is not headless"),
            match ip {
                "" => "it lacks clusterIP: None".to_owned(),
                ip => format!("it has the cluster IP {ip}, and clients that use that need a second Service"),
            },
            // Keeps its ports, labels and annotations; a cluster IP cannot be changed in place.
            format!(
                "kubectl patch service {name} {in_namespace} --type=merge -p \
                 '{{\"spec\":{{\"clusterIP\":\"None\",\"clusterIPs\":null}}}}' --dry-run=client -o yaml | kubectl \
                 replace --force -f -"
            ),
        ),
    };
    let because = format!(
        "{} names it, and names such as {} need a headless one; {but}",
        set.metadata.name,
        services::replica_name(set)
    );
    let finding = RULE.about(Kind::Service, name, what).because(because);
    // One replica is found under the Service itself; only a second one needs a name of its own.
    Ok(vec![if set.replicas() > 1 { finding.remedy(remedy) } else { finding.only(Severity::Note) }])
}

fn recreate(snapshot: &Snapshot<'_>, in_namespace: &str) -> String {
    let service = &snapshot.set.spec.service_name;
    format!("kubectl delete service {service} {in_namespace} && {}", services::create(snapshot))
}
