//! The Service that should give the replicas their DNS names stands for all of them at once.

use serde_json::json;

use super::prelude::*;
use super::rollouts::recreated;
use super::{misspelt, services};
use crate::paste::tool;

pub const RULE: Rule = Rule {
    code: "STS102",
    name: "service-not-headless",
    severity: Severity::Error,
    stuck_from: None,
    page: include_str!("../../docs/rules/service-not-headless.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    let Some(service) = snapshot.service()?.filter(|service| !service.is_headless()) else {
        return Ok(Vec::new());
    };
    let name = &service.metadata.name;
    let (what, but, remedy) = match (service.spec.r#type.as_str(), service.spec.cluster_ip.as_str()) {
        ("ExternalName", _) => (
            format!("Service {name} is an alias of {}", service.spec.external_name),
            "it is of type ExternalName".to_owned(),
            become_headless(snapshot, name),
        ),
        (open @ ("NodePort" | "LoadBalancer"), _) => {
            let (but, remedy) = opened(snapshot, service, open)?;
            (format!("Service {name} is not headless"), format!("it is of type {open}, and {but}"), remedy)
        }
        (_, ip) => (
            format!("Service {name} is not headless"),
            match ip {
                "" => "it does not have clusterIP: None".to_owned(),
                ip => format!(
                    "it has the cluster IP {ip}; clients that use this IP, or a port that differs from the port of the \
                     pods, need a second Service"
                ),
            },
            // Keeps its ports, labels and annotations; a cluster IP cannot be changed in place.
            services::patch(snapshot, name, &json!({"spec": {"clusterIP": "None", "clusterIPs": null}}))
                .with("--dry-run=client -o yaml")
                .piped_into(kubectl("replace --force -f -")),
        ),
    };
    let because = format!(
        "spec.serviceName of {} names it, but names such as {} need a headless Service; {but}{}",
        set.metadata.name,
        services::replica_name(set),
        services::in_spite_of_it(services::is_proven(snapshot).unwrap_or(false))
    );
    let finding = RULE.about(Kind::Service, name, what).because(because.clone());
    let ready = services::all_ready(snapshot).unwrap_or(false);
    // Whoever writes the endpoints of a Service keeps a leader's lock on them, or its address, and loses both with the
    // Service (Patroni).
    let by_hand = service.spec.selector.is_empty() && service.spec.r#type != "ExternalName";
    // One replica is found under the Service itself; only a second one needs a name of its own.
    let by_design = ready && (by_hand || set.metadata.controller().is_some());
    if set.replicas() < 2 || by_design {
        return Ok(vec![finding.only(Severity::Note)]);
    }
    // Clients that need the names are not seen, however long the replicas do without.
    let proven = services::is_proven(snapshot).unwrap_or(false);
    let finding = if proven { finding.only(Severity::Warning) } else { finding };
    // One that is headless is there already: what this one is for need not change.
    if let Some(corrected) = misspelt::corrected(snapshot, &finding, &because)? {
        return Ok(vec![corrected]);
    }
    if !by_hand {
        return Ok(vec![finding.remedy(remedy)]);
    }
    Ok(vec![match beside(snapshot, name)? {
        Some(commands) => commands.into_iter().fold(
            finding.because(format!(
                "{because}; it has no selector, so something else writes its endpoints: the commands leave it as it is, give the \
                 pods a headless Service of their own, and recreate the StatefulSet with that serviceName (its pods and PVCs stay)"
            )),
            Finding::remedy,
        ),
        None => finding.remedy(kubectl("describe service").name(name).namespace(home(snapshot))),
    }])
}

/// Gives the pods a Service of their own beside one that is for something else; `None` where the set cannot be created again
/// now (see [`misspelt::corrected`]).
fn beside(snapshot: &Snapshot<'_>, name: &str) -> Result<Option<Vec<Command>>, Unseen> {
    let set = snapshot.set;
    let own = format!("{name}-pods");
    let updates = set.status.current_revision != set.status.update_revision;
    let is_there = snapshot.services()?.iter().any(|it| it.metadata.name == own);
    if set.metadata.controller().is_some() || set.metadata.is_terminating() || updates || is_there {
        return Ok(None);
    }
    let create = kubectl("create service clusterip").name(&own).with("--clusterip=None");
    let create = create.namespace(home(snapshot)).and(services::select(snapshot, &own));
    let named = recreated(snapshot, &json!({"spec": {"serviceName": own}}));
    Ok(Some([create, named].into_iter().chain(misspelt::restart(snapshot)?).collect()))
}

/// An alias has neither an address nor clients of its own, and becomes a headless Service in place.
fn become_headless(snapshot: &Snapshot<'_>, name: &str) -> Command {
    let patch = json!({"spec": {
        "type": "ClusterIP", "clusterIP": "None", "externalName": null, "selector": services::labels(snapshot.set),
    }});
    services::patch(snapshot, name, &patch)
}

/// What stands before a Service that clients outside the cluster use can be made headless, and the first step. Its
/// address and ports on the nodes are lost with its type, so clients have to move to another Service before, which
/// cannot have the same ones.
fn opened(snapshot: &Snapshot<'_>, service: &Service, open: &str) -> Result<(String, Command), Unseen> {
    let name = &service.metadata.name;
    let second = snapshot.services()?.iter().find(|other| {
        other.metadata.name != *name
            && other.spec.r#type == open
            && other.spec.selector == service.spec.selector
            && !service.spec.selector.is_empty()
    });
    if let Some(second) = second {
        let second = &second.metadata.name;
        return Ok((
            format!(
                "clients outside the cluster can use {second}; once they do, make {name} headless, which deletes and creates it"
            ),
            headless_again(snapshot, name),
        ));
    }
    let copy = json!({
        "metadata": {"name": format!("{name}-outside"), "uid": null, "resourceVersion": null, "ownerReferences": null},
        "spec": {"clusterIP": null, "clusterIPs": null, "loadBalancerIP": null},
    });
    Ok((
        "clients outside the cluster need a second Service first".to_owned(),
        // All else is kept, above all the annotations that say what kind of load balancer it is.
        services::patch(snapshot, name, &copy)
            .with("--dry-run=client -o yaml")
            .piped_into(tool("sed").own("s/odePort: .*/odePort: 0/"))
            .piped_into(kubectl("create -f -")),
    ))
}

/// Makes a Service that is open to the outside a headless one: what only such Services have goes with its type.
fn headless_again(snapshot: &Snapshot<'_>, name: &str) -> Command {
    let patch = json!({"spec": {
        "type": "ClusterIP", "clusterIP": "None", "clusterIPs": null, "externalTrafficPolicy": null, "loadBalancerIP": null,
        "loadBalancerClass": null, "loadBalancerSourceRanges": null, "allocateLoadBalancerNodePorts": null,
        "healthCheckNodePort": null,
    }});
    services::patch(snapshot, name, &patch)
        .with("--dry-run=client -o yaml")
        .piped_into(tool("sed").own("s/odePort: .*/odePort: 0/"))
        .piped_into(kubectl("replace --force -f -"))
}
