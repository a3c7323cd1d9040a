//! What ends a failure to provision a volume, by what the provisioner says.

use serde_json::json;

use super::claims::{self, Used};
use super::drivers;
use super::prelude::*;
use super::rollouts::recreated_by;
use crate::messages::provisioner::Fault;

/// What to change, in words, and the commands that do it.
pub(super) fn way(snapshot: &Snapshot<'_>, used: &Used<'_>, said: &str) -> (String, Vec<Command>) {
    let claim = used.claim;
    let class = snapshot.class_of(claim).ok().flatten();
    let name = class.map_or(claim.class().unwrap_or_default(), |class| class.metadata.name.as_str());
    let show = || vec![claims::describe(snapshot, used)];
    let show_class = || match name {
        "" => show(),
        name => vec![kubectl("get storageclass").name(name).with("-o yaml")],
    };
    let Some(fault) = Fault::parse(said) else {
        let leases = class.and_then(|class| Some((&class.provisioner, drivers::leases(&class.provisioner)?)));
        let Some((provisioner, leases)) = leases else {
            return ("the provisioner tries again by itself once that is repaired".to_owned(), show());
        };
        let why = format!(
            "what it says names no known cause: the command shows the pod of {provisioner} that says it (HOLDER of the lease), and \
             its log has more: look there for the request that failed (CreateVolume) and the error of the storage behind it, in the \
             container csi-provisioner or in that of the driver; it tries again by itself once that is repaired"
        );
        return (why, vec![leases]);
    };
    match fault {
        Fault::NoSecret { name: secret, namespace } => (
            format!(
                "create Secret {secret} in namespace {namespace}, which the parameters of StorageClass {name} name, with the keys \
                 that the driver documents: the PVC is then bound without another change"
            ),
            show_class(),
        ),
        Fault::NoTopology(node) => {
            let mut all = vec![kubectl("cordon").name(node)];
            all.extend(claims::anew(snapshot, used));
            (
                format!(
                    "the storage driver does not run on {node}, the node that the scheduler chose: start the pod of its DaemonSet \
                     there, or let the scheduler choose another node: the commands cordon {node} and recreate the PVC, which is empty"
                ),
                all,
            )
        }
        Fault::NoSnapshot(snap) => (
            format!(
                "create VolumeSnapshot {snap} in namespace {} again, or remove dataSource from the PVC's template: with the \
                 snapshot there, the PVC is bound without another change",
                home(snapshot)
            ),
            vec![kubectl("get volumesnapshots").namespace(home(snapshot))],
        ),
        Fault::AccessMode => modes(snapshot, used, name)
            .unwrap_or_else(|| (format!("StorageClass {name} cannot provide these accessModes"), show())),
        Fault::Full => (
            format!(
                "the storage behind StorageClass {name} has no room for it{}: add or free storage there; the provisioner tries again \
                 by itself",
                size(claim)
            ),
            show_class(),
        ),
        Fault::Denied => (
            "the storage system refuses the credentials of the driver: correct its Secret or cloud identity; the provisioner tries \
             again by itself"
                .to_owned(),
            show_class(),
        ),
        Fault::Parameters => (
            format!(
                "correct the parameters of StorageClass {name}: they cannot be changed in place, so save its manifest, correct it, and \
                 run kubectl replace --force -f on it; PVCs that are bound are not affected"
            ),
            show_class(),
        ),
        Fault::Size => (
            format!(
                "StorageClass {name} cannot provide this size{}: recreate the StatefulSet with another one in its \
                 volumeClaimTemplates (kubectl delete --cascade=orphan, then apply), and delete this PVC, which is empty",
                size(claim)
            ),
            show(),
        ),
    }
}

/// ` (10Gi)`, where it is said.
fn size(claim: &PersistentVolumeClaim) -> String {
    match claim.requested() {
        "" => String::new(),
        size => format!(" ({size})"),
    }
}

/// Asks for a volume that one node at a time can use, which every driver has. Only where the PVC is made of a template of the
/// set, whose manifest can be changed.
fn modes(snapshot: &Snapshot<'_>, used: &Used<'_>, class: &str) -> Option<(String, Vec<Command>)> {
    let set = snapshot.set;
    let once = "ReadWriteOnce";
    if used.claim.spec.access_modes == [once] || set.metadata.controller().is_some() {
        return None;
    }
    let replica = snapshot.replica(used.ordinal).ok()??;
    let slot = replica.slots.iter().find(|slot| slot.name == used.name())?;
    let at = (set.spec.volume_claim_templates.iter())
        .position(|template| template.metadata.name == slot.template.metadata.name)?;
    let path = format!("/spec/volumeClaimTemplates/{at}/spec/accessModes");
    let mut all = vec![recreated_by(snapshot, &json!([{"op": "replace", "path": path, "value": [once]}]))];
    all.extend(claims::anew(snapshot, used));
    let modes = words::list(&used.claim.spec.access_modes, 4);
    let why = format!(
        "StorageClass {class} cannot provide {modes}: the commands recreate the StatefulSet with accessModes [{once}] in its \
         volumeClaimTemplates (its pods stay), and the PVC, which is empty; change the manifest too"
    );
    Some((why, all))
}
