//! Admission policies that forbid writes in one namespace.

use super::{Cluster, Namespace, PATIENCE, Run};

/// Forbids an operation until it is dropped.
pub struct Freeze {
    cluster: &'static Cluster,
    name: String,
}

/// What it says.
pub const FREEZE: &str = "no deletions during the change freeze";

/// Whose the controllers of kube-controller-manager are: statefulset-controller, generic-garbage-collector and the others.
const CONTROLLERS: &str = "system:serviceaccount:kube-system:";

impl Freeze {
    /// Of the deletion of pods.
    pub fn of(ns: &Namespace) -> Freeze {
        Freeze::with(ns, "DELETE", "false", |ns| ns.kubectl(&["delete", "pods", "--all", "--dry-run=server"]))
    }

    /// Of this operation on pods, unless the expression holds; `probe` is refused once it is enforced.
    pub fn with(ns: &Namespace, operation: &str, unless: &str, probe: impl Fn(&Namespace) -> Run) -> Freeze {
        Freeze::on(ns, "pods", operation, unless, probe)
    }

    /// Of this operation for the controllers alone. `probe` is sent by an administrator: it is refused at first, which
    /// tells that the policy is enforced, and allowed once this returns.
    pub fn as_controller(
        ns: &Namespace,
        resource: &str,
        operation: &str,
        probe: impl Fn(&Namespace) -> Run,
    ) -> Freeze {
        let freeze = Freeze::on(ns, resource, operation, "false", &probe);
        let expression = format!("!request.userInfo.username.startsWith('{CONTROLLERS}')");
        let patch =
            serde_json::json!({"spec": {"validations": [{"expression": expression, "message": FREEZE}]}});
        let patch = patch.to_string();
        ns.kubectl(&["patch", "validatingadmissionpolicy", &freeze.name, "--type=merge", "-p", &patch]).ok();
        ns.wait("the policy to be for the controllers only", PATIENCE, || {
            let run = probe(ns);
            if run.code == 0 { Ok(()) } else { Err(run.to_string()) }
        });
        freeze
    }

    fn on(
        ns: &Namespace,
        resource: &str,
        operation: &str,
        unless: &str,
        probe: impl Fn(&Namespace) -> Run,
    ) -> Freeze {
        let name = ns.name.clone();
        ns.apply(&format!(
            "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {{name: {name}}}\n\
             spec:\n  failurePolicy: Fail\n  matchConstraints:\n    namespaceSelector: {{matchLabels: \
             {{kubernetes.io/metadata.name: {name}}}}}\n    resourceRules: [{{apiGroups: [''], apiVersions: [v1], \
             operations: [{operation}], resources: [{resource}]}}]\n  validations: [{{expression: \"{unless}\", message: \
             {FREEZE}}}]\n---\n\
             apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {{name: \
             {name}}}\nspec: {{policyName: {name}, validationActions: [Deny]}}\n"
        ));
        ns.wait("the policy to be enforced", PATIENCE, || {
            let run = probe(ns);
            if run.stderr.contains(FREEZE) { Ok(()) } else { Err(run.to_string()) }
        });
        Freeze { cluster: ns.cluster, name }
    }
}

impl Drop for Freeze {
    fn drop(&mut self) {
        self.cluster.kubectl(&[
            "delete",
            "validatingadmissionpolicybinding,validatingadmissionpolicy",
            &self.name,
        ]);
    }
}
