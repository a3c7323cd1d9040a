//! A pod's node does not answer, is not ready, or is gone.

use jiff::SignedDuration;

use super::pods::{all, grouped, leaving};
use super::prelude::*;
use crate::snapshot::{Lost, lost};

pub const RULE: Rule = Rule {
    code: "STS409",
    name: "node-lost",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/node-lost.md"),
    check,
};

/// Deletes the pods of a node and detaches their volumes (`pkg/controller/podgc`, KEP-2268).
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";
/// How long pods tolerate such a node by default, before they are evicted.
const TOLERATED: SignedDuration = SignedDuration::from_mins(5);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let nodes = snapshot.nodes()?;
    // A pod that an earlier set of this name has left holds the name up as well.
    let pods = all(snapshot)?.into_iter().chain(leaving(snapshot)?).collect();
    let groups =
        grouped(pods, |case| lost(snapshot, nodes, case.pod).map(|_| case.pod.spec.node_name.as_str()));
    let found = groups.iter().filter_map(|(node, group)| {
        let lost = lost(snapshot, nodes, group.first().pod)?;
        let (is, since) = match lost {
            Lost::Unready(ready) if ready.status == "Unknown" => {
                ("is unreachable", snapshot.since(ready.last_transition_time))
            }
            Lost::Unready(ready) => ("is not ready", snapshot.since(ready.last_transition_time)),
            Lost::Gone => ("does not exist", None),
        };
        let mut evidence = match (lost, since) {
            (Lost::Unready(ready), Some(since)) => {
                let why = if ready.reason.is_empty() { "not Ready" } else { ready.reason.as_str() };
                format!("{why} for {}", words::age(since))
            }
            (Lost::Unready(ready), None) => ready.reason.clone(),
            (Lost::Gone, _) => "the pod's node was removed from the cluster".to_owned(),
        };
        if group.iter().any(|case| case.pod.metadata.is_terminating()) {
            evidence +=
                "; a pod that is being deleted there cannot terminate, so no new pod can take its name and volume";
        }
        let says = [format!("is on {node}, which {is}"), format!("are on {node}, which {is}")];
        let pods = group.iter().map(|case| case.pod.metadata.name.as_str());
        let is_brief = since.is_some_and(|since| since < TOLERATED);
        let finding = match lost {
            // Kubernetes itself gives up neither the pods nor their volumes: their containers may still run.
            Lost::Unready(_) if !is_brief => group
                .finding(&RULE, &says)
                .because(format!(
                    "{evidence}; start the machine and its kubelet again, or, only if the machine is off and stays off, mark \
                     the node as out of service: its pods and volumes then go to other nodes"
                ))
                .remedy(kubectl("describe node").name(node))
                .instead(kubectl("taint node").name(node).with(OUT_OF_SERVICE)),
            Lost::Unready(_) => {
                group.finding(&RULE, &says).because(evidence).remedy(kubectl("describe node").name(node))
            }
            Lost::Gone => group
                .finding(&RULE, &says)
                .because(format!(
                    "{evidence}; Kubernetes deletes such pods within a minute, unless its controller-manager does not run; \
                     delete the pod by hand only if its machine is off"
                ))
                .remedy(kubectl("get nodes"))
                .instead(
                    kubectl("delete pod").names(pods).with("--force --grace-period=0").namespace(home(snapshot)),
                ),
        };
        let finding = if is_brief { finding.only(Severity::Warning) } else { finding };
        Some(group.iter().fold(finding, |finding, case| finding.absorbs(Kind::Pod, &case.pod.metadata.name)))
    });
    Ok(found.collect())
}
