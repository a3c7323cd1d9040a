//! StatefulSets, their templates and their revisions.

use serde_json::{Value, json};

use super::data::{REPLICAS, Set, age, ago, meta};
use super::managed::own;
use super::random::Random;

const IMAGE: &str = "registry.example.com/platform/databases/server";

/// The pod template of a revision: each has another image.
pub fn template(set: &Set, revision: usize) -> Value {
    let name = &set.name;
    let tag = format!("16.{}.{revision}", set.index % 10);
    let mut mounts = vec![
        json!({"mountPath": "/etc/database/conf.d", "name": "config", "readOnly": true}),
        json!({"mountPath": "/tmp", "name": "tmp"}),
    ];
    for claim in set.templates() {
        mounts.push(json!({"mountPath": format!("/var/lib/database/{claim}"), "name": claim}));
    }
    let context = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": true, "runAsNonRoot": true, "runAsUser": 1001});
    let resources = |cpu: &str, memory: &str| json!({"limits": {"memory": memory}, "requests": {"cpu": cpu, "memory": memory}});
    let probe = |path: &str, failures: u32| {
        json!({"failureThreshold": failures, "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
            "initialDelaySeconds": 10, "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 5})
    };
    let end = json!({"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"});
    let mut init = json!({"command": ["sh", "-ec", "chown -R 1001:1001 /var/lib/database && chmod 0700 /var/lib/database/data"],
        "image": format!("{IMAGE}-init:{tag}"), "imagePullPolicy": "IfNotPresent", "name": "prepare-data",
        "resources": resources("10m", "32Mi"), "securityContext": context.clone(), "volumeMounts": mounts.clone()});
    let mut main = json!({
        "args": ["--config-file=/etc/database/conf.d/server.conf", "--data-directory=/var/lib/database/data"],
        "env": [
            {"name": "DATABASE_CLUSTER", "value": name},
            {"name": "DATABASE_MAX_CONNECTIONS", "value": "400"},
            {"name": "DATABASE_LOG_LEVEL", "value": "info"},
            {"name": "DATABASE_PASSWORD", "valueFrom": {"secretKeyRef": {"key": "password", "name": format!("{name}-auth")}}},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
        ],
        "image": format!("{IMAGE}:{tag}"), "imagePullPolicy": "IfNotPresent",
        "livenessProbe": probe("/healthz", 6), "name": "database",
        "ports": [
            {"containerPort": 5432, "name": "database", "protocol": "TCP"},
            {"containerPort": 8080, "name": "http", "protocol": "TCP"},
        ],
        "readinessProbe": probe("/readyz", 3), "resources": resources("500m", "2Gi"), "securityContext": context.clone(),
        "volumeMounts": mounts.clone(),
    });
    let mut metrics = json!({
        "args": ["--web.listen-address=:9187", "--collector.settings"],
        "env": [{"name": "DATA_SOURCE_URI", "value": "127.0.0.1:5432/postgres?sslmode=disable"}],
        "image": "registry.example.com/platform/databases/exporter:0.15.0", "imagePullPolicy": "IfNotPresent",
        "name": "metrics", "ports": [{"containerPort": 9187, "name": "metrics", "protocol": "TCP"}],
        "resources": resources("25m", "64Mi"), "securityContext": context,
        "volumeMounts": [{"mountPath": "/tmp", "name": "tmp"}],
    });
    for container in [&mut init, &mut main, &mut metrics] {
        let container = container.as_object_mut().expect("a container");
        container.extend(end.as_object().expect("fields").clone());
    }
    let selector = set.selector();
    json!({
        "metadata": {
            "annotations": {
                "checksum/config": Random::of("checksum", set.index).hex(64),
                "prometheus.io/port": "9187", "prometheus.io/scrape": "true",
            },
            "labels": set.labels(),
        },
        "spec": {
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"podAffinityTerm": {"labelSelector": {"matchLabels": selector}, "topologyKey": "kubernetes.io/hostname"}, "weight": 100}
            ]}},
            "containers": [main, metrics], "dnsPolicy": "ClusterFirst", "initContainers": [init], "restartPolicy": "Always",
            "schedulerName": "default-scheduler", "securityContext": {"fsGroup": 1001, "fsGroupChangePolicy": "OnRootMismatch"},
            "serviceAccount": name, "serviceAccountName": name, "terminationGracePeriodSeconds": 60,
            "volumes": [
                {"configMap": {"defaultMode": 420, "name": format!("{name}-config")}, "name": "config"},
                {"emptyDir": {}, "name": "tmp"},
            ],
        },
    })
}

/// Which revision of the newest a pod is on: the last pod of an update that hangs, or all of a healthy one.
pub fn revision_of(set: &Set, ordinal: usize) -> usize {
    let newest = set.revisions.len() - 1;
    if set.broken.is_some() && ordinal < REPLICAS - 1 { newest - 1 } else { newest }
}

pub fn set(set: &Set) -> Value {
    let mut random = Random::of("set", set.index);
    let age = age(&mut random);
    let mut metadata = meta("StatefulSet", &set.name, Some(&set.namespace), age, &mut random);
    metadata["uid"] = set.uid.clone().into();
    metadata["labels"] = set.labels();
    metadata["annotations"] =
        json!({"meta.helm.sh/release-name": set.name, "meta.helm.sh/release-namespace": set.namespace});
    let claims: Vec<Value> = set
        .templates()
        .iter()
        .map(|name| {
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Gi"}},
                    "storageClassName": "gp3", "volumeMode": "Filesystem"},
                "status": {"phase": "Pending"}})
        })
        .collect();
    let broken = set.broken.is_some();
    let ready = if broken { REPLICAS - 1 } else { REPLICAS };
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata,
        "spec": {
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "podManagementPolicy": "OrderedReady", "replicas": REPLICAS, "revisionHistoryLimit": 10,
            "selector": {"matchLabels": set.selector()}, "serviceName": super::network::name("Service", set, true),
            "template": template(set, set.revisions.len() - 1),
            "updateStrategy": {"rollingUpdate": {"partition": 0}, "type": "RollingUpdate"},
            "volumeClaimTemplates": claims,
        },
        "status": {
            "availableReplicas": ready, "collisionCount": 0, "currentReplicas": if broken { 2 } else { REPLICAS },
            "currentRevision": set.current_revision(), "observedGeneration": 3, "readyReplicas": ready, "replicas": REPLICAS,
            "updateRevision": set.update_revision(), "updatedReplicas": if broken { 1 } else { REPLICAS },
        },
    });
    own(
        &mut object,
        "helm",
        "Update",
        "",
        &ago(age),
        &[
            "metadata/annotations",
            "metadata/labels",
            "spec/persistentVolumeClaimRetentionPolicy",
            "spec/podManagementPolicy",
            "spec/replicas",
            "spec/revisionHistoryLimit",
            "spec/selector",
            "spec/serviceName",
            "spec/template",
            "spec/updateStrategy",
            "spec/volumeClaimTemplates",
        ],
    );
    own(
        &mut object,
        "kube-controller-manager",
        "Update",
        "status",
        &ago(age / 2),
        &[
            "status/availableReplicas",
            "status/collisionCount",
            "status/currentReplicas",
            "status/currentRevision",
            "status/observedGeneration",
            "status/readyReplicas",
            "status/replicas",
            "status/updateRevision",
            "status/updatedReplicas",
        ],
    );
    object
}

pub fn revision(set: &Set, number: usize) -> Value {
    let mut random = Random::of("revision", set.index * 4 + number);
    let age = age(&mut random);
    let name = &set.revisions[number];
    let mut metadata = meta("ControllerRevision", name, Some(&set.namespace), age, &mut random);
    let mut labels = set.labels();
    let hash = name.rsplit('-').next().unwrap_or_default();
    labels["controller.kubernetes.io/hash"] = hash.into();
    metadata["labels"] = labels;
    metadata["ownerReferences"] = json!([owner("apps/v1", "StatefulSet", &set.name, &set.uid)]);
    let mut template = template(set, number);
    template["$patch"] = "replace".into();
    let mut object = json!({
        "apiVersion": "apps/v1", "data": {"spec": {"template": template}}, "kind": "ControllerRevision",
        "metadata": metadata, "revision": number + 1,
    });
    let paths = ["data", "metadata/labels", "metadata/ownerReferences", "revision"];
    // What a revision holds is owned as a whole.
    let data = object["data"].take();
    own(&mut object, "kube-controller-manager", "Update", "", &ago(age), &paths);
    object["data"] = data;
    object
}

pub fn owner(api_version: &str, kind: &str, name: &str, uid: &str) -> Value {
    json!({"apiVersion": api_version, "blockOwnerDeletion": true, "controller": true, "kind": kind, "name": name, "uid": uid})
}
