//! A claim leaves the class to the cluster, and the cluster has no default one.

use std::cmp::Reverse;

use super::claims::{self, Case, Source, Used};
use super::prelude::*;
use crate::snapshot::ServerVersion;

pub const RULE: Rule = Rule {
    code: "STS202",
    name: "claim-no-default-class",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/claim-no-default-class.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let mut cases = Vec::new();
    for used in claims::pending(snapshot)? {
        let Source::NoDefault = claims::source(snapshot, used.claim)? else { continue };
        if claims::is_served(snapshot, used.claim)? {
            continue;
        }
        let candidate = candidate(snapshot)?;
        let remedy = match candidate {
            Some(class) => kubectl("annotate storageclass")
                .name(&class.metadata.name)
                .with("storageclass.kubernetes.io/is-default-class=true --overwrite"),
            None => claims::look_for_class(snapshot)?,
        };
        let (because, remedy) = match claims::outdated(snapshot, &used)? {
            Some(outdated) => outdated,
            None => {
                let because = format!("{}; no available PV without a class matches", classes(snapshot)?);
                marked(snapshot, &used, &because, candidate, remedy)
            }
        };
        cases.push(Case { used, because, remedy });
    }
    Ok(claims::findings(&RULE, cases, |_, names, several| {
        let verb = if several { "name" } else { "names" };
        format!("{names} {verb} no StorageClass, and the cluster has no default one")
    }))
}

fn classes(snapshot: &Snapshot<'_>) -> Result<String, Unseen> {
    let not_default = match snapshot.classes()?.len() {
        0 => "",
        1 => ", which is not marked as default",
        _ => ", none of which is marked as default",
    };
    Ok(claims::classes(snapshot)? + not_default)
}

/// The class to mark where no other is: the one that most PVs are of. Which one is to be the default is for the owner of the
/// cluster to say, and the finding says so.
fn candidate<'a>(snapshot: &Snapshot<'a>) -> Result<Option<&'a StorageClass>, Unseen> {
    let volumes = snapshot.volumes()?;
    let uses = |class: &StorageClass| {
        volumes.iter().filter(|volume| volume.spec.storage_class_name == class.metadata.name).count()
    };
    let classes = snapshot.classes()?.iter().filter(|class| class.provisions());
    Ok(classes.max_by_key(|class| (uses(class), Reverse(&class.metadata.name))))
}

/// What a mark does for a PVC that waits. Since Kubernetes 1.26 the volume controller gives it the class that becomes the
/// default (`persistentvolume/pv_controller.go:assignDefaultStorageClass`); before, only a new PVC gets it.
fn marked(
    snapshot: &Snapshot<'_>,
    used: &Used<'_>,
    because: &str,
    class: Option<&StorageClass>,
    mark: Command,
) -> (String, Vec<Command>) {
    let Some(class) = class else {
        let needs = "install a driver that provisions volumes, create a StorageClass for it, and mark that as default";
        return (format!("{because}; {needs}"), vec![mark]);
    };
    let name = &class.metadata.name;
    let several =
        snapshot.classes().is_ok_and(|all| all.iter().filter(|class| class.provisions()).count() > 1);
    let or = if several {
        format!("mark one as default ({name}, or another of them)")
    } else {
        format!("mark {name} as default")
    };
    let is_old = snapshot.server.and_then(ServerVersion::numbers).is_some_and(|(_, minor, _)| minor < 26);
    if is_old {
        let mut all = vec![mark];
        all.extend(claims::anew(snapshot, used));
        return (
            format!(
                "{because}; {or}, and recreate the PVC, which is empty: this server gives the default only to new PVCs"
            ),
            all,
        );
    }
    (
        format!("{because}; {or}: PVCs that wait then get that class and are bound without another change"),
        vec![mark],
    )
}
