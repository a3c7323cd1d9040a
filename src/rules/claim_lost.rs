//! The volume of a claim is gone.

use super::claims::{self, Case};
use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS207",
    name: "claim-lost",
    severity: Severity::Error,
    page: include_str!("../../docs/rules/claim-lost.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let mut cases = Vec::new();
    for used in
        claims::used(snapshot, |claim| claim.status.phase == "Lost" && !claim.metadata.is_terminating())?
    {
        let volume = &used.claim.spec.volume_name;
        let fate = match snapshot.volume_of(used.claim) {
            Err(_) => format!("its volume {volume} is gone or has another claim"),
            Ok(None) => format!("its volume {volume} does not exist any more"),
            Ok(Some(other)) => match &other.spec.claim_ref {
                Some(holder) => {
                    format!("its volume {volume} is bound to {} in {}", holder.name, holder.namespace)
                }
                None => format!("its volume {volume} is not bound to it any more"),
            },
        };
        let running = used.pods.iter().find(|pod| pod.is_ready()).map(|pod| pod.metadata.name.as_str());
        let (hope, remedy) = match running {
            // What it has mounted may be the last of the data.
            Some(pod) => (format!("{pod} still runs, and cannot start again"), Vec::new()),
            None => ("its replica can only start again empty".to_owned(), anew(snapshot, &used)),
        };
        cases.push(Case { because: format!("{fate}; {hope}"), used, remedy });
    }
    Ok(claims::findings(&RULE, cases, |_, names, several| {
        format!("{names} {} lost", if several { "are" } else { "is" })
    }))
}

/// The controller makes claim and pod again. The pod goes second, as the claim cannot be gone before it.
fn anew(snapshot: &Snapshot<'_>, used: &claims::Used<'_>) -> Vec<String> {
    let in_namespace = in_namespace(snapshot);
    let claim = format!("kubectl delete pvc {} --wait=false {in_namespace}", used.name());
    let pods: Vec<&str> = used.pods.iter().map(|pod| pod.metadata.name.as_str()).collect();
    match pods.as_slice() {
        [] => vec![claim],
        pods => vec![claim, format!("kubectl delete pod {} {in_namespace}", pods.join(" "))],
    }
}
