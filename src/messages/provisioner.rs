//! Provisioners and resizers of volumes, and the controllers that ask them.

/// Whether a complaint may be about nothing but a provisioner that takes its time, and is asked again.
pub fn is_slow(message: &str) -> bool {
    let signs = ["DeadlineExceeded", "deadline exceeded", "already exists", "Aborted"];
    signs.iter().any(|sign| message.contains(sign))
}

/// Whether the StorageClass is what is not there.
pub fn lacks_class(message: &str) -> bool {
    message.starts_with("storageclass.storage.k8s.io")
}

/// Why a volume cannot be provisioned, by the words of the external provisioner and of drivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault<'a> {
    /// A Secret that the StorageClass names is not there (`external-provisioner: getCredentials`).
    NoSecret {
        /// Its name.
        name: &'a str,
        /// Its namespace.
        namespace: &'a str,
    },
    /// The driver has not registered on the node that the scheduler chose (`external-provisioner: GenerateAccessibilityRequirements`).
    NoTopology(&'a str),
    /// The VolumeSnapshot that the PVC is made from is not there.
    NoSnapshot(&'a str),
    /// The driver does not do this access mode.
    AccessMode,
    /// The storage has no room left, or a quota of it is used up.
    Full,
    /// The driver may not do it, or is not known there.
    Denied,
    /// The driver does not understand the parameters of the StorageClass.
    Parameters,
    /// The size is not possible.
    Size,
}

impl<'a> Fault<'a> {
    /// Reads the words; `None` where they say nothing that is known here.
    pub fn parse(said: &'a str) -> Option<Fault<'a>> {
        let lower = said.to_ascii_lowercase();
        let says = |signs: &[&str]| signs.iter().any(|sign| lower.contains(sign));
        let between = |start: &str, end: &str| {
            let (text, _) = said.split_once(start)?.1.split_once(end)?;
            Some(text.trim_matches(['"', '\''])).filter(|text| !text.is_empty() && !text.contains(' '))
        };
        if let (Some(name), Some(namespace)) =
            (between("error getting secret ", " in namespace "), between(" in namespace ", ":"))
        {
            return Some(Fault::NoSecret { name, namespace });
        }
        if let Some(name) = between("volumesnapshots.snapshot.storage.k8s.io \"", "\" not found") {
            return Some(Fault::NoSnapshot(name));
        }
        if let Some((_, rest)) = said.split_once("no topology key found on CSINode ") {
            return rest
                .split([' ', ',', ';'])
                .next()
                .map(|node| Fault::NoTopology(node.trim_end_matches('.')));
        }
        if let Some(node) = between("error getting CSINode for selected node \"", "\"") {
            return Some(Fault::NoTopology(node));
        }
        let modes =
            ["readwritemany", "readwriteonce", "readonlymany", "multi_node", "access mode", "accessmode"];
        match () {
            () if says(&modes) && says(&["support", "invalid", "not allowed"]) => Some(Fault::AccessMode),
            () if says(&["volume capabilities not supported", "volume capability not supported"]) => {
                Some(Fault::AccessMode)
            }
            () if says(&[
                "resourceexhausted",
                "insufficient capacity",
                "not enough capacity",
                "not enough free",
                "no space left",
                "out of space",
                "quota exceeded",
                "quotaexceeded",
                "exceeded quota",
                "limitexceeded",
                "insufficient storage",
            ]) =>
            {
                Some(Fault::Full)
            }
            () if says(&[
                "permissiondenied",
                "unauthenticated",
                "unauthorizedoperation",
                "accessdenied",
                "access denied",
                "not authorized",
                "authorizationfailed",
                "invalid credentials",
                "status code: 401",
                "status code: 403",
            ]) =>
            {
                Some(Fault::Denied)
            }
            () if says(&[
                "outofrange",
                "exceeds the maximum",
                "larger than the maximum",
                "less than the minimum",
            ]) =>
            {
                Some(Fault::Size)
            }
            () if says(&["parameter"])
                && says(&["invalid", "unknown", "missing", "unsupported", "required"]) =>
            {
                Some(Fault::Parameters)
            }
            () => None,
        }
    }
}

/// Whether the status of a resize says that it has failed. Kubernetes before 1.31 said Failed.
pub fn has_failed(status: &str) -> bool {
    status.ends_with("Infeasible") || status.ends_with("Failed")
}

/// Whether a resize is refused because the volume is attached or in use, as by drivers that only do it offline.
///
/// The external resizer says "CSI driver … only supports offline expansion and volume is currently in-use"
/// (`external-resizer/pkg/controller: inUseError`); drivers say "Volume is attached to node … Only offline volume expansion is
/// supported" (vSphere), "volume is currently published on a node" (UpCloud), "Volume status must be … available to extend,
/// but current status is: in-use" (Cinder), "Cannot resize disk … while it is attached" (Azure).
pub fn is_attached(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let denied = ["not attached", "is not in use", "not published", "not in-use"];
    let signs = [
        "only supports offline",
        "offline volume expansion",
        "offline expansion",
        "is attached",
        "in-use",
        "in use",
        "being used",
        "currently published",
        "still attached",
        "while attached",
        "must be detached",
        "disk is attached",
        "attached to",
    ];
    !denied.iter().any(|sign| message.contains(sign)) && signs.iter().any(|sign| message.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::{Fault, is_attached};

    #[test]
    fn why_a_volume_is_not_provisioned_is_read() {
        for (said, fault) in [
            (
                "failed to provision volume with StorageClass \"ceph\": error getting secret csi-rbd in namespace ceph: secrets \
                 \"csi-rbd\" not found",
                Some(Fault::NoSecret { name: "csi-rbd", namespace: "ceph" }),
            ),
            (
                "failed to provision volume with StorageClass \"ebs\": error generating accessibility requirements: no topology key \
                 found on CSINode node-a",
                Some(Fault::NoTopology("node-a")),
            ),
            (
                "error getting handle for DataSource Type VolumeSnapshot by Name before: error getting snapshot before from api \
                 server: volumesnapshots.snapshot.storage.k8s.io \"before\" not found",
                Some(Fault::NoSnapshot("before")),
            ),
            (
                "failed to provision volume with StorageClass \"local-path\": NodePath only supports ReadWriteOnce and \
                 ReadWriteOncePod (1.22+) access modes",
                Some(Fault::AccessMode),
            ),
            (
                "rpc error: code = InvalidArgument desc = Volume capabilities not supported",
                Some(Fault::AccessMode),
            ),
            ("rpc error: code = ResourceExhausted desc = volume group vg-1 has no room", Some(Fault::Full)),
            ("UnauthorizedOperation: You are not authorized to perform this operation", Some(Fault::Denied)),
            ("rpc error: code = OutOfRange desc = requested size is too small", Some(Fault::Size)),
            (
                "rpc error: code = InvalidArgument desc = invalid parameter key fooType",
                Some(Fault::Parameters),
            ),
            ("rpc error: code = Internal desc = backend is not reachable", None),
        ] {
            assert_eq!(Fault::parse(said), fault, "{said}");
        }
    }

    #[test]
    fn a_volume_that_must_be_detached_is_told_from_other_refusals() {
        for (message, expected) in [
            (
                "rpc error: code = FailedPrecondition desc = failed to expand volume: \"713dd25b\" to size: 12288. Volume is \
                 attached to node \"42128e4f\". Only offline volume expansion is supported",
                true,
            ),
            (
                "CSI driver storage.csi.upcloud.com only supports offline expansion and volume is currently in-use",
                true,
            ),
            ("rpc error: code = FailedPrecondition desc = volume is currently published on a node", true),
            (
                "Invalid volume: Volume pvc-1 status must be ('available',) to extend, but current status is: in-use",
                true,
            ),
            ("rpc error: code = Internal desc = volume is not attached to a node", false),
            ("rpc error: code = OutOfRange desc = size 10Ti is more than 4Ti", false),
            ("rpc error: code = ResourceExhausted desc = quota exceeded", false),
            ("rpc error: code = FailedPrecondition desc = the volume has snapshots", false),
        ] {
            assert_eq!(is_attached(message), expected, "{message}");
        }
    }
}
