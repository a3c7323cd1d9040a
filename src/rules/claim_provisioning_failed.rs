//! The class exists, and yet its provisioner fails, or does not answer.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::claims::{self, Case, Source, Used};
use super::prelude::*;
use super::provision;
use crate::messages::provisioner;
use crate::paste::tool;
use crate::text;

pub const RULE: Rule = Rule {
    code: "STS204",
    name: "claim-provisioning-failed",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/claim-provisioning-failed.md"),
    check,
};

/// Slow storage takes minutes, and says that it timed out while it works on.
const SLOW: SignedDuration = SignedDuration::from_secs(5 * 60);
/// It is a matter of seconds mostly; restoring a snapshot takes minutes.
const USUAL: SignedDuration = SignedDuration::from_mins(2);
/// Provisioners try again at least that often (the CSI one waits for 5 minutes at most), so that an older complaint is
/// not the last word.
const STALE: SignedDuration = SignedDuration::from_secs(15 * 60);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let (mut cases, mut slow, mut unasked) = (Vec::new(), Vec::new(), Vec::new());
    // Messages name the single volume; the claims of one class fail together all the same.
    let mut said: BTreeMap<String, (String, bool)> = BTreeMap::new();
    for used in claims::pending(snapshot)? {
        let claim = used.claim;
        let class = match claims::source(snapshot, claim) {
            Ok(Source::Class(class)) => Some(class),
            Ok(_) => continue,
            // Classes and volumes are the cluster's, and often not for everybody to see; the complaint is.
            Err(_) if complaint(snapshot, claim)?.is_some() => None,
            Err(unseen) => return Err(unseen),
        };
        let waits = class.is_some_and(StorageClass::waits_for_consumer);
        // claim-node-not-chosen and claim-waiting-for-consumer tell why no node is chosen.
        if waits && !claims::is_node_chosen(claim) {
            continue;
        }
        let Some(trouble) = trouble(snapshot, &used, class)? else { continue };
        // Whoever may not see classes is told of the trouble all the same.
        if let Ok(Some((because, remedy))) = claims::outdated(snapshot, &used) {
            cases.push(Case { used, because, remedy });
            continue;
        }
        if let Trouble::Silent(class, waited) = trouble
            && !claims::is_provisioner_asked(claim)
        {
            let because = format!(
                "for {} kube-controller-manager has not asked {} (class {}) for a PV: the PVC has no annotation \
                 volume.kubernetes.io/storage-provisioner; check in its lease whether kube-controller-manager runs",
                words::age(waited),
                class.provisioner,
                class.metadata.name
            );
            let remedy = vec![kubectl("get lease kube-controller-manager -n kube-system -o yaml")];
            unasked.push(Case { used, because, remedy });
            continue;
        }
        if let Trouble::Silent(class, waited) = trouble
            && waited <= SLOW
        {
            let age = words::age(waited);
            let because = format!(
                "{} (class {}) has been provisioning for {age}",
                class.provisioner, class.metadata.name
            );
            let remedy = vec![claims::describe(snapshot, &used)];
            slow.push(Case { used, because, remedy });
            continue;
        }
        let of = claim.class().unwrap_or_default().to_owned();
        let (because, is_said) = said.entry(of).or_insert_with(|| match trouble {
            Trouble::Said(message) => (message, true),
            Trouble::Silent(class, waited) => (
                format!(
                    "{} (class {}) has provisioned no PV for {} and reported no error: start its controller pods (the container \
                     csi-provisioner, or the provisioner itself); the PVC is then bound without another change",
                    class.provisioner,
                    class.metadata.name,
                    words::age(waited)
                ),
                false,
            ),
        });
        let (because, remedy) = if *is_said {
            let (why, remedy) = provision::way(snapshot, &used, because);
            (format!("the provisioner says: {}; {why}", because.trim_end_matches('.')), remedy)
        } else {
            let find = kubectl("get pods --all-namespaces").piped_into(tool("grep -i -e csi -e provisioner"));
            (because.clone(), vec![find])
        };
        cases.push(Case { used, because, remedy });
    }
    let mut findings = claims::findings(&RULE, cases, |_, names, several| {
        let verb = if several { "get" } else { "gets" };
        format!("{names} {verb} no PV from the provisioner")
    });
    let slow = claims::findings(&RULE, slow, |_, names, several| {
        let verb = if several { "have" } else { "has" };
        format!("{names} {verb} no PV from the provisioner yet")
    });
    let unasked = claims::findings(&RULE, unasked, |_, names, several| {
        let verb = if several { "get" } else { "gets" };
        format!("{names} {verb} no PV, because the provisioner has not been asked for one")
    });
    findings.extend(slow.into_iter().chain(unasked).map(|finding| finding.only(Severity::Warning)));
    Ok(findings)
}

/// How a provisioner fails.
enum Trouble<'a> {
    /// It complains.
    Said(String),
    /// It has not been heard of for so long.
    Silent(&'a StorageClass, SignedDuration),
}

fn trouble<'a>(
    snapshot: &Snapshot<'_>,
    used: &Used<'_>,
    class: Option<&'a StorageClass>,
) -> Result<Option<Trouble<'a>>, Unseen> {
    let born = [used.claim.metadata.creation_timestamp]
        .into_iter()
        .chain(used.pods.iter().map(|pod| pod.metadata.creation_timestamp))
        .flatten()
        .max();
    let waited = snapshot.since(born).unwrap_or_default();
    let complaint = complaint(snapshot, used.claim)?;
    if let Some(event) = complaint {
        let message = text::one_line(&event.message, 300);
        if !provisioner::is_slow(&message) || waited > SLOW {
            return Ok(Some(Trouble::Said(message)));
        }
    }
    Ok(class.filter(|_| waited > USUAL).map(|class| Trouble::Silent(class, waited)))
}

/// The last complaint about the claim, unless things have changed since.
fn complaint<'a>(
    snapshot: &Snapshot<'a>,
    claim: &PersistentVolumeClaim,
) -> Result<Option<&'a Event>, Unseen> {
    let is_current = |event: &&Event| {
        event.reason == "ProvisioningFailed"
            && snapshot.since(event.last_seen()).is_none_or(|age| age < STALE)
            // The class has come since, or this would be the finding of another rule.
            && !(provisioner::lacks_class(&event.message) && snapshot.classes().is_ok())
    };
    Ok(snapshot.events_about(claim)?.into_iter().rev().find(is_current))
}
