//! The attach/detach controller of kube-controller-manager, and what the kubelet says of a volume by its name.

/// Whether a volume that one node at a time can have is still attached to another.
pub fn is_multi_attach(message: &str) -> bool {
    message.contains("Multi-Attach error")
}

/// Whether the controller could not attach a volume, in contrast to the kubelet that could not mount one
/// (`operationexecutor/operation_generator.go:GenerateAttachVolumeFunc`).
pub fn is_attachment(message: &str) -> bool {
    message.contains("AttachVolume")
}

/// The name of the volume a message is about.
pub fn volume(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("volume \"")?;
    rest.split_once('"').map(|(name, _)| name)
}

/// What went wrong, without which step for which volume.
pub fn failure(message: &str) -> &str {
    message.split_once("\" : ").map_or(message, |(_, inner)| inner)
}

/// The pods the attach controller names (`attachdetach/reconciler.go:reportMultiAttachError`); it names none of other
/// namespaces, and none where it does not know.
pub fn holders(message: &str) -> Vec<&str> {
    let Some((_, rest)) = message.split_once("used by pod(s) ") else { return Vec::new() };
    let names = rest.split_once(" and ").map_or(rest, |(names, _)| names);
    names.split(',').map(|name| name.trim().trim_end_matches('.')).filter(|name| !name.is_empty()).collect()
}
