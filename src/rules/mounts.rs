//! What ends a failure to attach or mount a volume: by what the driver, the kubelet or the node says.

use serde_json::json;

use super::claims;
use super::creations::patch_template;
use super::drivers;
use super::placement::admits;
use super::pods::Group;
use super::prelude::*;
use crate::messages::attach;
use crate::messages::mount::Fault;

/// How it ends.
#[derive(Default)]
pub(super) struct Way {
    /// What the words mean, and what to change.
    pub why: String,
    /// Commands that end it, in order.
    pub steps: Vec<Command>,
    /// Other commands, each of which ends it alone.
    pub instead: Vec<Command>,
    /// Whether the commands only show something: the cause is not in the API.
    pub only_shows: bool,
}

impl Way {
    fn because(why: impl Into<String>) -> Way {
        Way { why: why.into(), ..Way::default() }
    }

    fn step(mut self, command: Command) -> Way {
        self.steps.push(command);
        self
    }

    fn or(mut self, command: impl IntoIterator<Item = Command>) -> Way {
        self.instead.extend(command);
        self
    }

    fn shown_by(self, command: Command) -> Way {
        Way { only_shows: true, ..self.step(command) }
    }
}

/// The way for pods of which a volume cannot be mounted, as this message says.
pub(super) fn way(snapshot: &Snapshot<'_>, group: &Group<'_>, message: &str) -> Way {
    let case = Mount { snapshot, group, message, node: &group.first().pod.spec.node_name };
    let node = case.node;
    let Some(fault) = Fault::parse(message) else {
        if let Some(way) = case.of_driver() {
            return way;
        }
        return Way::because(format!(
            "the kubelet tries again at least every 2 minutes; what it says does not name the cause: check the log of the kubelet \
             and of the storage driver's pod on {node}"
        ))
        .shown_by(pods_on(node).unwrap_or_else(|| group.describe(snapshot)));
    };
    match fault {
        Fault::NoDriver(driver) => case.no_driver(driver),
        Fault::NoAttacher(driver) => Way::because(format!(
            "nothing attaches the volumes of {driver}: start the controller pods of the driver (with the container \
             csi-attacher); if it is a driver that attaches nothing (attachRequired: false), its CSIDriver object is missing, \
             which its installation creates"
        ))
        .shown_by(kubectl("get csidriver").name(driver).with("--ignore-not-found -o yaml")),
        Fault::NoDisk => case.no_disk(),
        Fault::NoHelper => {
            let packages = "apt-get install -y nfs-common cifs-utils || dnf install -y nfs-utils cifs-utils || \
                            zypper install -y nfs-client cifs-utils";
            Way::because(format!(
                "the program that mounts this file system is not installed on {node}: install nfs-common (Debian, Ubuntu) or \
                 nfs-utils (RHEL), for SMB cifs-utils, on every node"
            ))
            .step(on_node(node).with("chroot /host sh -c").own(packages))
        }
        Fault::NotOfType { path, wanted } => case.not_of_type(path, wanted),
        Fault::NoPath(path) => Way::because(format!(
            "the PV is the directory {path} of {node}, which does not exist there: mount the disk at that path, or create the \
             directory if it is meant to be empty"
        ))
        .step(made_on_node(node, path)),
        Fault::NoSecret { name, namespace } => {
            let at = namespace.unwrap_or(home(snapshot));
            Way::because(format!(
                "the storage driver needs Secret {name} in namespace {at}, which does not exist: create it with the keys that the \
                 driver documents, or correct its name in the parameters of the StorageClass and recreate the PVC"
            ))
            .shown_by(kubectl("get secrets").namespace(at))
        }
        Fault::Denied => Way::because(format!(
            "the server does not export the directory to {node}: add the address of the node to the export"
        ))
        .shown_by(kubectl("get node").name(node).with("-o").own("jsonpath={.status.addresses}")),
        Fault::NoExport => case.of_volume(
            "the directory does not exist on the server: create it there; the source of a PV cannot be changed, so if the path is \
             wrong, the PV must be recreated",
        ),
        Fault::NoName => case.of_volume(&format!(
            "{node} cannot resolve the name of the server: nodes do not use the DNS of the cluster, so use the IP address or a \
             name that the node resolves; the source of a PV cannot be changed, so the PV must be recreated"
        )),
        Fault::Unreachable => case.of_volume(&format!(
            "the server does not answer {node}: start it, or open its port (NFS: 2049) for the node"
        )),
        Fault::Damaged(device) => case.damaged(device),
        Fault::OtherFilesystem { asked, has } => case.of_volume(&format!(
            "the disk has the file system {has}, and the PV asks for {asked}: set fsType {has} in the StorageClass for new PVs; \
             this PV must be recreated with fsType {has}, which keeps its data if its reclaim policy is Retain"
        )),
    }
}

struct Mount<'s, 'a> {
    snapshot: &'s Snapshot<'a>,
    group: &'s Group<'a>,
    message: &'s str,
    node: &'a str,
}

impl<'a> Mount<'_, 'a> {
    /// The PV that the message is about, by its name.
    fn volume(&self) -> Option<&'a PersistentVolume> {
        let name = attach::volume(self.message)?;
        self.snapshot.volumes().ok()?.iter().find(|volume| volume.metadata.name == name)
    }

    /// Words of a driver that say nothing that is known: its own log says more.
    fn of_driver(&self) -> Option<Way> {
        let driver = self.volume()?.spec.csi.as_ref()?.driver.as_str();
        let node = self.node;
        let again = "the kubelet tries again at least every 2 minutes, so the command that failed is near the end of the log";
        if attach::is_attachment(self.message) {
            let why = format!(
                "what the driver {driver} says names no known cause: the command shows its pods that attach volumes (HOLDER of the \
                 lease of external-attacher); look in the log of that pod, in the containers csi-attacher and that of the driver, for \
                 ControllerPublishVolume and the error of the storage behind it"
            );
            return Some(Way::because(why).shown_by(drivers::leases(driver)?));
        }
        let why = format!(
            "what the driver {driver} says names no known cause: the command shows its pod on {node}; look in the log of its container \
             that is not a sidecar for NodeStageVolume and NodePublishVolume, and the error before their end; {again}"
        );
        Some(Way::because(why).shown_by(drivers::node_plugin(driver, node)?))
    }

    /// A way that has only words, and the PV they are about.
    fn of_volume(&self, why: &str) -> Way {
        let show = match self.volume() {
            Some(volume) => kubectl("get pv").name(&volume.metadata.name).with("-o yaml"),
            None => kubectl("get statefulset")
                .name(&self.snapshot.set.metadata.name)
                .with("-o")
                .own("jsonpath={.spec.template.spec.volumes}")
                .namespace(home(self.snapshot)),
        };
        Way::because(why).shown_by(show)
    }

    /// The node has no driver: others may have it.
    fn no_driver(&self, driver: &str) -> Way {
        let (snapshot, node) = (self.snapshot, self.node);
        let required = self.volume().and_then(|volume| volume.spec.node_affinity.as_ref()?.required.as_ref());
        let nodes = snapshot.nodes().unwrap_or_default();
        let registered: Vec<&str> = (snapshot.csi_nodes().unwrap_or_default().iter())
            .filter(|it| it.spec.drivers.iter().any(|known| known.name == driver))
            .map(|it| it.metadata.name.as_str())
            .collect();
        let usable: Vec<&str> = (nodes.iter())
            .filter(|it| it.is_ready() && !it.spec.unschedulable && it.metadata.name != node)
            .filter(|it| registered.contains(&it.metadata.name.as_str()))
            .filter(|it| required.is_none_or(|required| admits(required, it)))
            .map(|it| it.metadata.name.as_str())
            .collect();
        if registered.contains(&node) {
            // It has come since.
            return Way::because(format!(
                "the driver {driver} runs on {node} by now (CSINode), and the kubelet tries again within 2 minutes"
            ))
            .shown_by(kubectl("get csinode").name(node).with("-o yaml"));
        }
        if registered.is_empty() {
            return Way::because(format!(
                "no node has the driver {driver} (CSINode): install it, or start the pods of its DaemonSet, which must run on every \
                 node"
            ))
            .shown_by(kubectl("get daemonsets --all-namespaces"));
        }
        let runs = words::list(&registered, 3);
        let pods = self.group.iter().map(|case| case.pod.metadata.name.as_str());
        let start = format!(
            "the driver {driver} runs on {runs}, but not on {node} (CSINode): start the pod of its DaemonSet there; it may have to \
             tolerate the taints of {node}"
        );
        if usable.is_empty() {
            return Way::because(start)
                .shown_by(pods_on(node).unwrap_or_else(|| self.group.describe(snapshot)));
        }
        Way::because(format!("{start}; meanwhile the commands move the pod to a node with the driver"))
            .step(kubectl("cordon").name(node))
            .step(kubectl("delete pod").names(pods).namespace(home(snapshot)))
    }

    /// The driver does not find the disk.
    fn no_disk(&self) -> Way {
        let snapshot = self.snapshot;
        let claims = self.volume().and_then(|volume| {
            let used = claims::used(snapshot, |claim| volume.is_of(claim)).ok()?;
            used.into_iter().next()
        });
        let lost = "the storage driver says that the disk of the PV does not exist: if a snapshot or backup has the data, restore \
                    it first";
        match claims {
            Some(used)
                if snapshot.class_of(used.claim).ok().flatten().is_some_and(StorageClass::provisions) =>
            {
                let anew = claims::anew(snapshot, &used);
                anew.into_iter().fold(
                    Way::because(format!("{lost}; the commands let the replica start with an empty volume")),
                    Way::step,
                )
            }
            _ => self.of_volume(lost),
        }
    }

    /// A hostPath with nothing at its path, or something else.
    fn not_of_type(&self, path: &str, wanted: &str) -> Way {
        let node = self.node;
        let volume = attach::volume(self.message).unwrap_or_default();
        let own = self.snapshot.set.spec.template.spec.volumes.iter().any(|it| it.name == volume);
        if wanted != "directory" {
            return Way::because(format!(
                "hostPath {path} of volume {volume} must be a {wanted} on {node}: create it there, or run the pod on a node that \
                 has it (nodeSelector)"
            ))
            .shown_by(self.group.describe(self.snapshot));
        }
        let make = made_on_node(node, path);
        let kind =
            json!({"volumes": [{"name": volume, "hostPath": {"path": path, "type": "DirectoryOrCreate"}}]});
        let change = own
            .then(|| patch_template(self.snapshot, &kind))
            .and_then(|patch| self.group.reached_by(self.snapshot, patch));
        let why = format!(
            "hostPath {path} of volume {volume} must be a directory on {node} (type Directory), and is not"
        );
        match change {
            Some(change) => {
                Way::because(format!("{why}; with type DirectoryOrCreate the kubelet creates it"))
                    .step(change)
                    .or([make])
            }
            None => Way::because(format!("{why}: create it there")).step(make),
        }
    }

    /// A damaged file system.
    fn damaged(&self, device: Option<&str>) -> Way {
        let node = self.node;
        match device.filter(|device| device.starts_with("/dev/")) {
            Some(device) => Way::because(format!(
                "the file system on {device} of {node} is damaged and needs a repair, which can lose files: take a snapshot of the \
                 disk first, then repair it while nothing has it mounted"
            ))
            .step(on_node(node).with("chroot /host fsck -y").value(device)),
            None => self.of_volume(&format!(
                "the file system of the volume is damaged, or is another one than the PV says (fsType): take a snapshot of the disk, \
                 then repair it on {node} with fsck or xfs_repair while nothing has it mounted"
            )),
        }
    }
}

/// Runs a program on a node, whose file system is at /host (`kubectl debug`).
fn on_node(node: &str) -> Command {
    kubectl("debug").joined("node/", node).with("-q --image=busybox:1.37 --profile=sysadmin --")
}

/// Makes a directory on a node.
fn made_on_node(node: &str, path: &str) -> Command {
    on_node(node).with("mkdir -p").joined("/host", path)
}

/// The pods of a node, in all namespaces: the driver's is among them.
fn pods_on(node: &str) -> Option<Command> {
    (!node.is_empty())
        .then(|| kubectl("get pods --all-namespaces -o wide --field-selector").joined("spec.nodeName=", node))
}
