//! Where the pods of a storage driver are: what they say is in their logs only.

use super::prelude::*;
use crate::paste::tool;

/// How long a name may be that is searched for.
const LONGEST: usize = 63;

/// A pattern for `grep` that finds a driver in names of leases too, where other characters than letters, digits and `-` are
/// replaced (csi-lib-utils `leaderelection`: `sanitizeName`; sig-storage-lib-external-provisioner: `/` only). `None` where a
/// name is none.
fn pattern(driver: &str) -> Option<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-./_".contains(c);
    let is_sound = !driver.is_empty() && driver.len() <= LONGEST && driver.chars().all(is_name);
    (is_sound && !driver.starts_with('-')).then(|| driver.replace(['/', '_'], "."))
}

/// The command that names the controller pods of a driver: its sidecars (csi-provisioner, csi-attacher, csi-resizer) hold leases
/// that have its name in theirs, and the pod that does the work is the holder.
pub(super) fn leases(driver: &str) -> Option<Command> {
    Some(kubectl("get leases --all-namespaces").piped_into(tool("grep -e").value(pattern(driver)?)))
}

/// The command that names the pod of a driver on a node: a kubelet reaches it by a socket in
/// `/var/lib/kubelet/plugins/DRIVER`, which is a hostPath of that pod.
pub(super) fn node_plugin(driver: &str, node: &str) -> Option<Command> {
    let pattern = pattern(driver)?;
    let list = (!node.is_empty()).then(|| {
        kubectl("get pods --all-namespaces").joined("--field-selector=spec.nodeName=", node).with("-o").own(
            "jsonpath={range .items[*]}{.metadata.namespace}{\" \"}{.metadata.name}{\" \"}\
                 {.spec.volumes[*].hostPath.path}{\"\\n\"}{end}",
        )
    })?;
    Some(list.piped_into(tool("grep -e").value(pattern)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_is_found_under_each_form_of_its_name() {
        assert_eq!(pattern("rancher.io/local-path").as_deref(), Some("rancher.io.local-path"));
        assert_eq!(pattern("ebs.csi.aws.com").as_deref(), Some("ebs.csi.aws.com"));
        for odd in ["", "-e", "a b", "a*", "a\u{1b}b", &"a".repeat(64)] {
            assert_eq!(pattern(odd), None, "{odd:?}");
        }
    }
}
