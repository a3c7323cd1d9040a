//! Why a volume cannot be attached to a node or mounted there: the attach controller, the kubelet, its volume plugins, and
//! `mount` and `fsck` of the node, whose words they pass on.

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault<'a> {
    /// The kubelet of the node does not know the CSI driver (`volume/csi/csi_client.go:newCsiDriverClient`), or the node has
    /// not registered it (`csi_attacher.go:Attach`, `nodeinfomanager`).
    NoDriver(&'a str),
    /// Nothing attaches volumes of this driver (`csi_attacher.go:waitForVolumeAttachmentWithLister`).
    NoAttacher(&'a str),
    /// The disk behind the volume is gone, as the driver says.
    NoDisk,
    /// The program that mounts file systems of this kind is not installed on the node (`util-linux`, `libmount`).
    NoHelper,
    /// What is at the path of the node is not what the type of a hostPath says
    /// (`volume/hostpath/host_path.go:checkTypeInternal`).
    NotOfType {
        /// The path.
        path: &'a str,
        /// What it should be: `directory`, `file`, `socket file`, `character device`, `block device`.
        wanted: &'a str,
    },
    /// The path of a local volume does not exist (`volume/local/local.go:SetUpAt`, `NewMounter`).
    NoPath(&'a str),
    /// A Secret of the driver is not there (`volume/csi/csi_util.go:getCredentialsFromSecret`).
    NoSecret {
        /// Its name.
        name: &'a str,
        /// Its namespace, where it is said.
        namespace: Option<&'a str>,
    },
    /// The server of a network file system does not let the node mount it.
    Denied,
    /// The server does not have the directory.
    NoExport,
    /// The server does not answer.
    Unreachable,
    /// Its name does not resolve on the node.
    NoName,
    /// The file system is damaged; the device, where it is said (`mount-utils/mount_linux.go:checkAndRepairFilesystem`).
    Damaged(Option<&'a str>),
    /// The volume has another file system than is asked for (`mount-utils/mount_linux.go:formatAndMount`).
    OtherFilesystem {
        /// What is asked for.
        asked: &'a str,
        /// What it has.
        has: &'a str,
    },
}

impl<'a> Fault<'a> {
    /// Reads the words; `None` where they say nothing that is known here.
    pub fn parse(said: &'a str) -> Option<Fault<'a>> {
        let says = |sign: &str| said.contains(sign);
        let between = |start: &str, end: &str| {
            let (text, _) = said.split_once(start)?.1.split_once(end)?;
            Some(text).filter(|text| !text.is_empty() && text.len() < 512)
        };
        if let Some(driver) = between("driver name ", " not found in the list of registered CSI drivers") {
            return Some(Fault::NoDriver(driver));
        }
        if let Some((_, rest)) = said.split_once(" does not contain driver ")
            && says("CSINode")
        {
            return rest
                .split([' ', ',', ';'])
                .next()
                .map(|driver| Fault::NoDriver(driver.trim_end_matches('.')));
        }
        if let Some(driver) = between("timed out waiting for external-attacher of ", " CSI driver") {
            return Some(Fault::NoAttacher(driver));
        }
        if let Some(rest) = said.split_once("hostPath type check failed: ").map(|(_, rest)| rest)
            && let Some((path, wanted)) = rest.split_once(" is not a ")
        {
            return Some(Fault::NotOfType { path, wanted: wanted.trim_end_matches('.').trim() });
        }
        if let Some(path) = between("path \"", "\" does not exist") {
            return Some(Fault::NoPath(path));
        }
        if let Some(name) = between("secrets \"", "\" not found") {
            return Some(Fault::NoSecret { name, namespace: between("in the namespace ", " with error") });
        }
        if let Some(asked) = between("failed to mount the volume as \"", "\", it already contains ") {
            let has = between(", it already contains ", ". ").unwrap_or("another");
            return Some(Fault::OtherFilesystem { asked, has });
        }
        if says("fsck found errors on device") {
            return Some(Fault::Damaged(between("found errors on device ", " but")));
        }
        match () {
            () if says("helper program") && !says("bad superblock") => Some(Fault::NoHelper),
            () if says("mount.nfs: command not found") || says("mount.cifs: command not found") => {
                Some(Fault::NoHelper)
            }
            () if says("Structure needs cleaning")
                || says("structure needs cleaning")
                || says("bad superblock")
                || says("can't read superblock") =>
            {
                Some(Fault::Damaged(None))
            }
            () if says("access denied by server") => Some(Fault::Denied),
            () if says("reason given by server: No such file") => Some(Fault::NoExport),
            () if says("Failed to resolve server") || says("Name or service not known") => {
                Some(Fault::NoName)
            }
            () if says("mount.nfs") && (says("timed out") || says("refused") || says("No route to host")) => {
                Some(Fault::Unreachable)
            }
            () if is_gone(said) => Some(Fault::NoDisk),
            () => None,
        }
    }
}

/// Whether a driver says that it does not find the volume, where it was to be attached or staged. A node that it does not find
/// is another matter.
fn is_gone(said: &str) -> bool {
    let lower = said.to_ascii_lowercase();
    let of_node = ["node not found", "instance not found", "node id", "could not find node", "instance \""];
    let signs = [
        "code = notfound",
        "invalidvolume.notfound",
        "volume not found",
        "volume does not exist",
        "disk not found",
        "image not found",
    ];
    !of_node.iter().any(|sign| lower.contains(sign)) && signs.iter().any(|sign| lower.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::Fault;

    #[test]
    fn what_is_wrong_with_a_volume_is_read() {
        for (said, fault) in [
            (
                "MountVolume.MountDevice failed for volume \"pvc-1\" : kubernetes.io/csi: attacher.MountDevice failed to create \
                 newCsiDriverClient: driver name ebs.csi.aws.com not found in the list of registered CSI drivers",
                Some(Fault::NoDriver("ebs.csi.aws.com")),
            ),
            (
                "AttachVolume.Attach failed for volume \"pvc-1\" : CSINode node-a does not contain driver ebs.csi.aws.com",
                Some(Fault::NoDriver("ebs.csi.aws.com")),
            ),
            (
                "AttachVolume.Attach failed for volume \"pvc-1\" : timed out waiting for external-attacher of ebs.csi.aws.com \
                 CSI driver to attach volume vol-1",
                Some(Fault::NoAttacher("ebs.csi.aws.com")),
            ),
            (
                "MountVolume.SetUp failed for volume \"data\" : hostPath type check failed: /srv/data is not a directory",
                Some(Fault::NotOfType { path: "/srv/data", wanted: "directory" }),
            ),
            (
                "MountVolume.NewMounter initialization failed for volume \"local-1\" : path \"/mnt/disks/1\" does not exist",
                Some(Fault::NoPath("/mnt/disks/1")),
            ),
            (
                "MountVolume.MountDevice failed for volume \"pvc-1\" : fetching NodeStageSecretRef ceph/csi-rbd failed: \
                 kubernetes.io/csi: failed to find the secret csi-rbd in the namespace ceph with error: secrets \"csi-rbd\" not found",
                Some(Fault::NoSecret { name: "csi-rbd", namespace: Some("ceph") }),
            ),
            (
                "mount: /var/lib/kubelet/pods/1/volumes/kubernetes.io~nfs/data: bad option; for several filesystems (e.g. nfs, \
                 cifs) you might need a /sbin/mount.<type> helper program.",
                Some(Fault::NoHelper),
            ),
            (
                "mount: wrong fs type, bad option, bad superblock on /dev/sdb, missing codepage or helper program, or other error.",
                Some(Fault::Damaged(None)),
            ),
            ("mount.nfs: access denied by server while mounting 10.0.0.5:/srv/db", Some(Fault::Denied)),
            (
                "mount.nfs: mounting 10.0.0.5:/srv/db failed, reason given by server: No such file or directory",
                Some(Fault::NoExport),
            ),
            ("mount.nfs: Failed to resolve server nas: Name or service not known", Some(Fault::NoName)),
            ("mount.nfs: Connection timed out", Some(Fault::Unreachable)),
            (
                "'fsck' found errors on device /dev/rbd0 but could not correct them: fsck found errors on device /dev/rbd0 but",
                Some(Fault::Damaged(Some("/dev/rbd0"))),
            ),
            (
                "failed to mount the volume as \"ext4\", it already contains xfs. Mount error: mount failed: exit status 32",
                Some(Fault::OtherFilesystem { asked: "ext4", has: "xfs" }),
            ),
            (
                "AttachVolume.Attach failed for volume \"pvc-1\" : rpc error: code = NotFound desc = volume vol-1 not found",
                Some(Fault::NoDisk),
            ),
            ("rpc error: code = NotFound desc = instance not found: i-1", None),
            ("MountVolume.SetUp failed for volume \"pvc-1\" : mount failed: exit status 32", None),
        ] {
            assert_eq!(Fault::parse(said), fault, "{said}");
        }
    }
}
