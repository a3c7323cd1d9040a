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
    use super::is_attached;

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
