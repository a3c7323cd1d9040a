//! Characters that are not seen: escaped in JSON, YAML and recordings, left out of text.

use kubectl_sts::text::is_hidden;

use super::run::{file, looks, sts};

const HIDDEN: [char; 16] = [
    '\u{7f}',
    '\u{80}',
    '\u{85}',
    '\u{9b}',
    '\u{9f}',
    '\u{ad}',
    '\u{61c}',
    '\u{200b}',
    '\u{200f}',
    '\u{2028}',
    '\u{202e}',
    '\u{2066}',
    '\u{feff}',
    '\u{fe0f}',
    '\u{fff9}',
    '\u{e0041}',
];

#[test]
fn no_view_writes_what_is_not_seen() {
    for hidden in HIDDEN {
        let h = format!("\\U{:08X}", u32::from(hidden));
        let given = format!(
            r#"
kind: StatefulSet
apiVersion: apps/v1
metadata: {{name: db, namespace: shop, uid: u1, annotations: {{kubernetes.io/change-cause: "a{h}b"}}}}
spec: {{replicas: 1, serviceName: db, selector: {{matchLabels: {{app: db}}}}}}
status: {{currentRevision: db-1, updateRevision: db-1}}
---
kind: ControllerRevision
apiVersion: apps/v1
metadata:
  name: db-1
  namespace: shop
  annotations: {{kubernetes.io/change-cause: "set{h}image"}}
  ownerReferences: [{{apiVersion: apps/v1, kind: StatefulSet, name: db, uid: u1, controller: true}}]
revision: 1
---
kind: Pod
apiVersion: v1
metadata:
  name: db-0
  namespace: shop
  creationTimestamp: 2026-01-01T00:00:00Z
  finalizers: ["a{h}b/c"]
  ownerReferences: [{{apiVersion: apps/v1, kind: StatefulSet, name: db, uid: u1, controller: true}}]
  labels: {{app: db, controller-revision-hash: db-1}}
spec:
  schedulerName: "my{h}scheduler"
  nodeSelector: {{"disk{h}": "ssd{h}"}}
  containers: [{{name: "d{h}b", image: "im{h}age"}}]
status:
  phase: "Pend{h}ing"
  reason: "Re{h}ason"
  conditions:
  - {{type: PodScheduled, status: "False", reason: Unschedulable, message: "no{h} node", lastTransitionTime: 2026-01-01T00:00:00Z}}
---
kind: Event
apiVersion: v1
metadata: {{name: e1, namespace: shop}}
involvedObject: {{kind: Pod, name: db-0, namespace: shop}}
type: Warning
reason: "Fa{h}iled"
message: "some{h}thing"
lastTimestamp: 2026-01-01T01:00:00Z
"#
        );
        let (_folder, path) = file(&given);
        for look in looks("db") {
            let ran = sts(&look, &path);
            assert!(ran.code < 2, "{look:?}: {}", ran.all());
            let raw = ran.all().chars().find(|c| is_hidden(*c) && !matches!(c, '\n' | '\t'));
            assert_eq!(raw, None, "{hidden:?} in {look:?}: {:?}", ran.all());
        }
        let recording = sts(&["record"], &path).out;
        let (_folder, path) = file(&recording);
        assert_eq!(sts(&["record"], &path).out, recording, "{hidden:?} comes back as it was");
    }
}
