//! The set was deleted, and a finalizer keeps it: its controller does nothing for it in the meantime.

use serde_json::json;

use super::finalizers::{COLLECTED, FOREGROUND, ORPHAN, foreign, owner, owners, removal};
use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS310",
    name: "set-deletion-held",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/set-deletion-held.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let meta = &snapshot.set.metadata;
    let Some(age) = snapshot.since(meta.deletion_timestamp).filter(|age| *age > COLLECTED) else {
        return Ok(Vec::new());
    };
    let idle = idle(snapshot)?;
    let others: Vec<&str> = foreign(&meta.finalizers).collect();
    let deleted = format!("{} was deleted {} ago", meta.name, words::age(age));
    let found = if !others.is_empty() {
        Some(by_controller(snapshot, &deleted, &idle, &others))
    } else if meta.finalizers.iter().any(|name| name == ORPHAN) {
        Some(by_collector(snapshot, &deleted, &idle))
    } else if meta.finalizers.iter().any(|name| name == FOREGROUND) {
        by_dependents(snapshot, &deleted, &idle)
    } else {
        None
    };
    Ok(found.into_iter().collect())
}

/// The kinds of which the StatefulSet controller makes objects that name the set as their owner.
const OWNED: [Kind; 3] = [Kind::Pod, Kind::PersistentVolumeClaim, Kind::ControllerRevision];

/// What the deletion means for the pods.
fn idle(snapshot: &Snapshot<'_>) -> Result<String, Unseen> {
    let missing = snapshot.replicas()?.iter().filter(|replica| replica.pod.is_none());
    let missing: Vec<&str> = missing.map(|replica| replica.name.as_str()).collect();
    let none = "until it is gone, no pod is created, replaced or updated";
    Ok(match missing.as_slice() {
        [] => none.to_owned(),
        [one] => format!("{none}: {one} is missing"),
        several => format!("{none}: {} are missing", words::list(several, 4)),
    })
}

/// An operator or a delivery tool has not let it go.
fn by_controller(snapshot: &Snapshot<'_>, deleted: &str, idle: &str, finalizers: &[&str]) -> Finding {
    let meta = &snapshot.set.metadata;
    let (noun, verb) = if finalizers.len() == 1 { ("finalizer", "blocks") } else { ("finalizers", "block") };
    let what = format!("{deleted}, but the {noun} {} still {verb} the deletion", words::list(finalizers, 4));
    let because = format!(
        "{}; {idle}; the deletion cannot be undone; to keep pods and PVCs, save the manifest, run the commands below, \
         and apply the manifest again: the new StatefulSet adopts them",
        owners(finalizers, meta)
    );
    let about = RULE.about(Kind::StatefulSet, &meta.name, what).because(because);
    // What names the set as its owner is collected with it. On a set that is being deleted already, this deletion only
    // decides what happens to the dependents (registry/store.go:deletionFinalizersForGarbageCollection), and removes the
    // garbage collector's finalizers from their places.
    let orphan = kubectl("delete statefulset")
        .name(&meta.name)
        .with("--cascade=orphan --wait=false")
        .namespace(home(snapshot));
    let kept: Vec<String> = foreign(&meta.finalizers).map(str::to_owned).collect();
    let free = kubectl("patch statefulset")
        .name(&meta.name)
        .namespace(home(snapshot))
        .with("--type=json")
        .patch(&removal(&kept, |_| true));
    about.remedy(orphan).remedy(free)
}

/// The pods are to stay, and the garbage collector has not let go of them.
fn by_collector(snapshot: &Snapshot<'_>, deleted: &str, idle: &str) -> Finding {
    let name = &snapshot.set.metadata.name;
    let dependents = dependents(snapshot);
    let owned: Vec<String> = dependents.iter().map(Dependent::words).collect();
    let left = match owned.as_slice() {
        [] => "no visible object has it as its owner".to_owned(),
        [one] => format!("{one} still has it as its owner"),
        several => format!("{} still have it as their owner", words::list(several, 4)),
    };
    let finding = RULE
        .about(Kind::StatefulSet, name, format!("{deleted} (--cascade=orphan), but the garbage collector has not finished"))
        .because(format!(
            "{left}; {idle}; either kube-controller-manager does not run (its lease shows when it was last active), or an \
             admission policy or webhook refuses its changes; if you cannot repair that, run the commands below in this \
             order: if the finalizer is removed before the owner references, the pods are deleted"
        ))
        .remedy(kubectl("get leases -n kube-system"));
    // An object that was not seen would be deleted with its owner.
    if snapshot.unseen().iter().any(|unseen| OWNED.contains(&unseen.kind)) {
        return finding;
    }
    let all = dependents.iter().map(|it| it.disown(snapshot));
    all.chain([let_go(snapshot)]).fold(finding, Finding::remedy)
}

/// Removes the finalizer of the garbage collector from the StatefulSet.
fn let_go(snapshot: &Snapshot<'_>) -> Command {
    let meta = &snapshot.set.metadata;
    kubectl("patch statefulset")
        .name(&meta.name)
        .namespace(home(snapshot))
        .with("--type=json")
        .patch(&removal(&meta.finalizers, |name| name == ORPHAN))
}

/// All that belongs to it is to go first, and does not.
fn by_dependents(snapshot: &Snapshot<'_>, deleted: &str, idle: &str) -> Option<Finding> {
    let name = &snapshot.set.metadata.name;
    // The controller creates the revision again for as long as there is the StatefulSet
    // (`stateful_set_control.go:getStatefulSetRevisions`): only one that cannot go holds it.
    let is_made_again = |it: &Dependent<'_>| it.kind == Kind::ControllerRevision && !it.meta.is_terminating();
    let all: Vec<Dependent<'_>> =
        dependents(snapshot).into_iter().filter(|it| it.blocks && !is_made_again(it)).collect();
    if all.is_empty() {
        return by_unknown(snapshot, deleted, idle);
    }
    let holding: Vec<Dependent<'_>> = all.into_iter().filter(|it| !it.is_stopping(snapshot)).collect();
    let names: Vec<&str> = holding.iter().map(|it| it.meta.name.as_str()).collect();
    if names.is_empty() {
        return None;
    }
    let what = format!(
        "{deleted} (--cascade=foreground), but it still waits for the deletion of {}",
        words::list(&names, 4)
    );
    let whys: Vec<String> = holding.iter().map(|it| it.why(snapshot)).collect();
    let because = format!(
        "{}; {idle}; its pods are deleted with it, which cannot be undone; when it is gone, apply its manifest again",
        words::list(&whys, 4)
    );
    let mut finding = RULE.about(Kind::StatefulSet, name, what).because(because);
    for it in &holding {
        finding = finding.also(it.kind, &it.meta.name);
        if foreign(&it.meta.finalizers).next().is_some() {
            let is_foreign = |name: &str| foreign(&it.meta.finalizers).any(|foreign| foreign == name);
            let patch = removal(&it.meta.finalizers, is_foreign);
            let command = kubectl("patch").with(it.word()).name(&it.meta.name).namespace(home(snapshot));
            finding = finding.remedy(command.with("--type=json").patch(&patch));
        } else if !it.meta.is_terminating() {
            let delete = kubectl("delete").with(it.word()).name(&it.meta.name).with("--wait=false");
            finding = finding.remedy(delete.namespace(home(snapshot)));
        } else if let Some(pod) = it.pod.filter(|pod| !pod.spec.node_name.is_empty()) {
            finding = finding.remedy(kubectl("describe node").name(&pod.spec.node_name));
            let force = kubectl("delete pod").name(&pod.metadata.name).with("--force --grace-period=0");
            finding = finding.instead(force.namespace(home(snapshot)));
        } else if let Some(user) =
            snapshot.namespace.users(&it.meta.name).find(|user| !user.metadata.is_terminating())
        {
            finding =
                finding.remedy(kubectl("delete pod").name(&user.metadata.name).namespace(home(snapshot)));
        }
    }
    Some(finding)
}

/// Nothing that is read here holds it, and it has had the time to go: an object of another kind does, or the garbage collector
/// does not run. What holds it is let go, and not deleted: nobody knows what it is.
fn by_unknown(snapshot: &Snapshot<'_>, deleted: &str, idle: &str) -> Option<Finding> {
    let meta = &snapshot.set.metadata;
    // The garbage collector may just be at it, once the last pod has ended.
    let grace = snapshot.set.spec.template.spec.termination_grace_period_seconds.unwrap_or(30);
    let long = crate::time::later(meta.deletion_timestamp?, jiff::SignedDuration::from_secs(grace.max(0)));
    let waits = snapshot.since(Some(long)).is_some_and(|over| over > super::pods::DEADLINE);
    if !waits || snapshot.unseen().iter().any(|unseen| OWNED.contains(&unseen.kind)) {
        return None;
    }
    let orphan = kubectl("delete statefulset")
        .name(&meta.name)
        .with("--cascade=orphan --wait=false")
        .namespace(home(snapshot));
    Some(
        RULE.about(
            Kind::StatefulSet,
            &meta.name,
            format!("{deleted} (--cascade=foreground), but an object of another kind blocks the deletion"),
        )
        .because(format!(
            "no pod, PVC or ControllerRevision has it as its owner any longer, so an object of another kind has it in \
             ownerReferences with blockOwnerDeletion: true, or kube-controller-manager does not run; {idle}; the command \
             releases that object from the StatefulSet, and keeps it"
        ))
        .remedy(orphan),
    )
}

/// An object that names the set as its owner.
struct Dependent<'a> {
    kind: Kind,
    meta: &'a Meta,
    /// The place of the set among its owners.
    at: usize,
    /// Whether a foreground deletion waits for it.
    blocks: bool,
    pod: Option<&'a Pod>,
}

/// The objects that name the set as their owner, pods first, as far as they were seen.
fn dependents<'a>(snapshot: &Snapshot<'a>) -> Vec<Dependent<'a>> {
    let set = &snapshot.set.metadata;
    let of = |meta: &'a Meta, kind: Kind, pod: Option<&'a Pod>| {
        let is_it = |owner: &&OwnerReference| {
            if owner.uid.is_empty() || set.uid.is_empty() {
                owner.kind == Kind::StatefulSet.name() && owner.name == set.name
            } else {
                owner.uid == set.uid
            }
        };
        let at = meta.owner_references.iter().position(|owner| is_it(&owner))?;
        let owner = meta.owner_references.get(at)?;
        Some(Dependent { kind, meta, at, blocks: owner.block_owner_deletion, pod })
    };
    let around = snapshot.namespace;
    let pods = around.pods.iter().filter_map(|pod| of(&pod.metadata, Kind::Pod, Some(pod)));
    let claims =
        around.claims.iter().filter_map(|claim| of(&claim.metadata, Kind::PersistentVolumeClaim, None));
    let revisions = around.revisions.iter().filter_map(|it| of(&it.metadata, Kind::ControllerRevision, None));
    pods.chain(claims).chain(revisions).collect()
}

/// Whether the pod is in the time it has to stop, with a minute for the kubelet: the deletionTimestamp is its end.
fn is_stopping(snapshot: &Snapshot<'_>, pod: &Pod) -> bool {
    snapshot.since(pod.metadata.deletion_timestamp).is_some_and(|over| over < COLLECTED)
}

impl Dependent<'_> {
    /// Makes it belong to the set no longer, as long as the set still is its owner at this place.
    fn disown(&self, snapshot: &Snapshot<'_>) -> Command {
        let path = format!("/metadata/ownerReferences/{}", self.at);
        let patch = json!([
            {"op": "test", "path": format!("{path}/uid"), "value": snapshot.set.metadata.uid},
            {"op": "remove", "path": path},
        ]);
        kubectl("patch")
            .with(self.word())
            .name(&self.meta.name)
            .namespace(home(snapshot))
            .with("--type=json")
            .patch(&patch)
    }

    /// The kind for a command.
    fn word(&self) -> &'static str {
        match self.kind {
            Kind::Pod => "pod",
            Kind::PersistentVolumeClaim => "pvc",
            _ => "controllerrevision",
        }
    }

    fn words(&self) -> String {
        match self.kind {
            Kind::Pod => format!("pod {}", self.meta.name),
            Kind::PersistentVolumeClaim => format!("PVC {}", self.meta.name),
            _ => format!("ControllerRevision {}", self.meta.name),
        }
    }

    /// Whether it goes as it should, or goes with a pod that does.
    fn is_stopping(&self, snapshot: &Snapshot<'_>) -> bool {
        match self.pod {
            Some(pod) => is_stopping(snapshot, pod),
            None => snapshot.namespace.users(&self.meta.name).any(|pod| is_stopping(snapshot, pod)),
        }
    }

    /// Why it is still there.
    fn why(&self, snapshot: &Snapshot<'_>) -> String {
        let it = self.words();
        let finalizers: Vec<&str> = foreign(&self.meta.finalizers).collect();
        if !self.meta.is_terminating() {
            return format!("{it} has not been deleted yet");
        }
        match finalizers.as_slice() {
            [] => {}
            [one] => return format!("{it} is blocked by the finalizer {one}: {}", owner(one, self.meta)),
            several => return format!("{it} is blocked by the finalizers {}", words::list(several, 4)),
        }
        if let Some(pod) = self.pod {
            return match pod.spec.node_name.as_str() {
                "" => format!("{it} is still there"),
                node => {
                    format!(
                        "{it} is still there: the kubelet of {node} has not reported that it terminated: restart that kubelet, or \
                         delete the pod by force, only after you have checked on the node that no container of it runs"
                    )
                }
            };
        }
        match snapshot.namespace.users(&self.meta.name).next() {
            Some(pod) => format!("{it} is used by pod {}", pod.metadata.name),
            None => format!("{it} is still there"),
        }
    }
}
