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
