//! What the rules about deletions that do not end share: who sets a finalizer, and how it is removed.

use serde_json::{Value, json};

use super::prelude::*;

/// Keeps an object until its dependents are gone (metav1.FinalizerDeleteDependents).
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Keeps an object until its dependents name it no longer as their owner (metav1.FinalizerOrphanDependents).
pub(super) const ORPHAN: &str = "orphan";
/// Keeps a volume while it is bound.
pub(super) const BOUND: &str = "kubernetes.io/pv-protection";

/// The garbage collector of kube-controller-manager needs seconds.
pub(super) const COLLECTED: jiff::SignedDuration = jiff::SignedDuration::from_mins(2);

/// Finalizers that Kubernetes and its CSI sidecars set on the objects looked at here, and when they are removed.
const KNOWN: [(&str, &str); 5] = [
    (FOREGROUND, "the garbage collector removes it when all dependents are gone"),
    (ORPHAN, "the garbage collector removes it when all dependents have lost their owner reference"),
    (super::claims::PROTECTION, "kube-controller-manager removes it when no pod uses the PVC"),
    // external-snapshotter, pkg/utils/util.go:PVCFinalizer
    (
        "snapshot.storage.kubernetes.io/pvc-as-source-protection",
        "the snapshot controller removes it when no VolumeSnapshot of the PVC is being made",
    ),
    // external-provisioner, pkg/controller/clone_controller.go:pvcCloneFinalizer
    (
        "provisioner.storage.kubernetes.io/cloning-protection",
        "the CSI provisioner removes it when no copy of the PVC is being made",
    ),
];

/// Who removes a finalizer of this object, as far as it can be told, as a sentence about "it".
pub(super) fn owner(finalizer: &str, meta: &Meta) -> String {
    if let Some((_, when)) = KNOWN.iter().find(|(name, _)| *name == finalizer) {
        return (*when).to_owned();
    }
    let domain = finalizer.split('/').next().filter(|domain| domain.contains('.'));
    let of_domain = |owner: &&OwnerReference| {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        domain.is_some_and(|domain| related(domain, group))
    };
    if let Some(owner) = meta.owner_references.iter().find(of_domain) {
        return format!(
            "the controller of its owner, {} {}, probably sets and removes it",
            owner.kind, owner.name
        );
    }
    if let Some(manager) = meta.labels.get("app.kubernetes.io/managed-by") {
        return format!("{manager} probably sets and removes it (label app.kubernetes.io/managed-by)");
    }
    match domain {
        Some(domain) => format!("only the controller that set it removes it (its domain is {domain})"),
        None => "only the controller that set it removes it (its name does not say which)".to_owned(),
    }
}

/// The same for several of them, each sentence once.
pub(super) fn owners(finalizers: &[&str], meta: &Meta) -> String {
    let mut all: Vec<String> = Vec::new();
    for sentence in finalizers.iter().map(|finalizer| owner(finalizer, meta)) {
        if !all.contains(&sentence) {
            all.push(sentence);
        }
    }
    all.join("; ")
}

/// Finalizers that neither the garbage collector nor the protection of PVCs in use has set.
pub(super) fn foreign(all: &[String]) -> impl Iterator<Item = &str> {
    let known = [FOREGROUND, ORPHAN, super::claims::PROTECTION];
    all.iter().map(String::as_str).filter(move |name| !known.contains(name))
}

/// What keeps a PVC that was deleted, and which no pod of its set uses.
pub(super) struct Held {
    /// As a fragment about "it".
    pub because: String,
    /// Lets it go.
    pub remedy: Vec<Command>,
}

/// What keeps a PVC that was deleted so long ago; `None` while only its protection has not been removed yet.
pub(super) fn held(
    snapshot: &Snapshot<'_>,
    claim: &PersistentVolumeClaim,
    age: jiff::SignedDuration,
) -> Result<Option<Held>, Unseen> {
    let meta = &claim.metadata;
    let others: Vec<&str> = foreign(&meta.finalizers).collect();
    let mut remedy = Vec::new();
    if !others.is_empty() {
        if others.iter().any(|name| name.starts_with("snapshot.storage.kubernetes.io/")) {
            remedy.push(kubectl("get volumesnapshots").namespace(home(snapshot)));
        }
        let patch = removal(&meta.finalizers, |name| others.contains(&name));
        let command = kubectl("patch pvc").name(&meta.name).namespace(home(snapshot));
        remedy.push(command.with("--type=json").patch(&patch));
        let (noun, verb, them) = match others.len() {
            1 => ("finalizer", "has", "it"),
            _ => ("finalizers", "have", "them"),
        };
        let because = format!(
            "the {noun} {} {verb} blocked its deletion for {} ({}; removing {them} by hand interrupts the work of that controller)",
            words::list(&others, 3),
            words::age(age),
            owners(&others, meta)
        );
        return Ok(Some(Held { because, remedy }));
    }
    snapshot.pods()?;
    // A pod without a node does not hold a PVC.
    let mut users = snapshot.namespace.users(&meta.name).filter(|pod| !pod.spec.node_name.is_empty());
    let Some(user) =
        users.next().filter(|_| meta.finalizers.iter().any(|name| name == super::claims::PROTECTION))
    else {
        return Ok(None);
    };
    let name = &user.metadata.name;
    let (goes, command) = if user.metadata.is_terminating() {
        (", which is still terminating,", kubectl("describe pod"))
    } else {
        ("", kubectl("delete pod"))
    };
    let because = format!(
        "pod {name}{goes} uses it and has blocked its deletion for {} (finalizer {})",
        words::age(age),
        super::claims::PROTECTION
    );
    remedy.push(command.name(name).namespace(home(snapshot)));
    Ok(Some(Held { because, remedy }))
}

/// Whether two DNS domains are of one organization: one ends with the other, or the last two labels are the same.
fn related(one: &str, other: &str) -> bool {
    let last = |domain: &str| {
        let mut labels: Vec<String> = domain.rsplit('.').take(2).map(str::to_owned).collect();
        labels.reverse();
        labels
    };
    one.contains('.') && other.contains('.') && last(one) == last(other)
}

/// The JSON patch that removes these finalizers, and nothing if the list has changed since.
pub(super) fn removal(all: &[String], these: impl Fn(&str) -> bool) -> Value {
    let found: Vec<_> = all.iter().enumerate().filter(|(_, name)| these(name)).collect();
    // From the end, so that the places before stay what they are.
    let steps = found.into_iter().rev().flat_map(|(at, name)| {
        let path = format!("/metadata/finalizers/{at}");
        [json!({"op": "test", "path": path, "value": name}), json!({"op": "remove", "path": path})]
    });
    steps.collect()
}
