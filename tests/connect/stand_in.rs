//! A stand-in for an API server that can be wrong: it keeps objects, and a test decides what it answers instead.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::support::Run;

pub const NAMESPACE: &str = "shop";

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// With the query.
    pub path: String,
    pub head: String,
}

impl Asked {
    pub fn is_write(&self) -> bool {
        self.method != "GET" && !self.path.contains("selfsubjectaccessreviews")
    }

    /// Whether it is a list of this kind.
    pub fn lists(&self, plural: &str) -> bool {
        self.method == "GET" && self.path.split('?').next().unwrap().ends_with(&format!("/{plural}"))
    }
}

/// One answer, byte for byte.
#[derive(Clone)]
pub struct Said(pub String);

impl Said {
    pub fn new(code: u16, headers: &str, body: &str) -> Said {
        let length = body.len();
        Said(format!(
            "HTTP/1.1 {code} X\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        ))
    }

    pub fn json(code: u16, body: &Value) -> Said {
        Said::new(code, "content-type: application/json\r\n", &body.to_string())
    }
}

pub fn status(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason,
        "message": reason, "code": code})
}

type Wrong = dyn Fn(&Asked, Said) -> Said + Send + Sync;

pub struct StandIn {
    pub address: String,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    objects: Arc<Mutex<BTreeMap<String, Value>>>,
}

/// kind, version, plural, whether it has a namespace.
pub const KINDS: [(&str, &str, &str, bool); 26] = [
    ("StatefulSet", "apps/v1", "statefulsets", true),
    ("ControllerRevision", "apps/v1", "controllerrevisions", true),
    ("Pod", "v1", "pods", true),
    ("PersistentVolumeClaim", "v1", "persistentvolumeclaims", true),
    ("PersistentVolume", "v1", "persistentvolumes", false),
    ("StorageClass", "storage.k8s.io/v1", "storageclasses", false),
    ("Service", "v1", "services", true),
    ("EndpointSlice", "discovery.k8s.io/v1", "endpointslices", true),
    ("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets", true),
    ("HorizontalPodAutoscaler", "autoscaling/v2", "horizontalpodautoscalers", true),
    ("ResourceQuota", "v1", "resourcequotas", true),
    ("LimitRange", "v1", "limitranges", true),
    (
        "ValidatingWebhookConfiguration",
        "admissionregistration.k8s.io/v1",
        "validatingwebhookconfigurations",
        false,
    ),
    (
        "MutatingWebhookConfiguration",
        "admissionregistration.k8s.io/v1",
        "mutatingwebhookconfigurations",
        false,
    ),
    ("CSINode", "storage.k8s.io/v1", "csinodes", false),
    ("CSIStorageCapacity", "storage.k8s.io/v1", "csistoragecapacities", false),
    ("Node", "v1", "nodes", false),
    ("Event", "v1", "events", true),
    ("Deployment", "apps/v1", "deployments", true),
    ("ReplicaSet", "apps/v1", "replicasets", true),
    ("DaemonSet", "apps/v1", "daemonsets", true),
    ("Job", "batch/v1", "jobs", true),
    ("CronJob", "batch/v1", "cronjobs", true),
    ("ReplicationController", "v1", "replicationcontrollers", true),
    ("VolumeAttachment", "storage.k8s.io/v1", "volumeattachments", false),
    ("VolumeSnapshot", "snapshot.storage.k8s.io/v1", "volumesnapshots", true),
];

pub fn path(plural: &str) -> String {
    let (_, version, plural, namespaced) = KINDS.into_iter().find(|kind| kind.2 == plural).unwrap();
    let group = if version == "v1" { "/api/v1".to_owned() } else { format!("/apis/{version}") };
    match namespaced {
        true => format!("{group}/namespaces/{NAMESPACE}/{plural}"),
        false => format!("{group}/{plural}"),
    }
}

impl StandIn {
    /// Starts one; `wrong` is given what would be answered.
    pub fn start(wrong: impl Fn(&Asked, Said) -> Said + Send + Sync + 'static) -> StandIn {
        StandIn::serve(false, wrong)
    }

    /// Starts one that speaks TLS, so that credentials are sent to it.
    pub fn start_tls(wrong: impl Fn(&Asked, Said) -> Said + Send + Sync + 'static) -> StandIn {
        StandIn::serve(true, wrong)
    }

    fn serve(secure: bool, wrong: impl Fn(&Asked, Said) -> Said + Send + Sync + 'static) -> StandIn {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scheme = if secure { "https" } else { "http" };
        let address = format!("{scheme}://{}", listener.local_addr().unwrap());
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/connect/tls");
        let certificate = CertificateDer::from_pem_file(folder.join("certificate.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
        let tls =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate], key)
                .unwrap();
        let (tls, wrong): (_, Arc<Wrong>) = (Arc::new(tls), Arc::new(wrong));
        let stand_in =
            StandIn { address, asked: Arc::default(), objects: Arc::new(Mutex::new(BTreeMap::new())) };
        let (asked, objects) = (Arc::clone(&stand_in.asked), Arc::clone(&stand_in.objects));
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (tls, wrong) = (Arc::clone(&tls), Arc::clone(&wrong));
                let (all, objects) = (Arc::clone(&asked), Arc::clone(&objects));
                thread::spawn(move || {
                    let answer = |stream: &mut dyn Read| {
                        let (asked, body) = request(&mut BufReader::new(stream))?;
                        all.lock().unwrap().push(asked.clone());
                        Some(wrong(&asked, answer(&objects, &asked, &body)))
                    };
                    if !secure {
                        let mut socket = socket;
                        let Some(said) = answer(&mut socket) else { return };
                        let _ = socket.write_all(said.0.as_bytes());
                        return;
                    }
                    let connection = rustls::ServerConnection::new(tls).unwrap();
                    let mut stream = rustls::StreamOwned::new(connection, socket);
                    let Some(said) = answer(&mut stream) else { return };
                    let _ = stream.write_all(said.0.as_bytes());
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                });
            }
        });
        stand_in
    }

    /// Keeps an object.
    pub fn put(&self, plural: &str, object: &Value) {
        let (kind, version, ..) = KINDS.into_iter().find(|kind| kind.2 == plural).unwrap();
        let mut object = object.clone();
        object["kind"] = kind.into();
        object["apiVersion"] = version.into();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        object["metadata"]["uid"] = format!("uid-{plural}-{name}").into();
        object["metadata"]["resourceVersion"] = "7".into();
        if path(plural).contains("/namespaces/") {
            object["metadata"]["namespace"] = NAMESPACE.into();
        }
        self.objects.lock().unwrap().insert(format!("{}/{name}", path(plural)), object);
    }

    /// A StatefulSet `db` of one replica, its pod and PVC, and `data-db-1`, which is left over since `created`.
    pub fn with_left_over(self, created: Timestamp) -> StandIn {
        let old = (created - SignedDuration::from_hours(48)).to_string();
        let labels = json!({"app": "db"});
        self.put("statefulsets", &json!({
            "metadata": {"name": "db", "creationTimestamp": old, "generation": 1},
            "spec": {"replicas": 1, "serviceName": "db", "selector": {"matchLabels": labels},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}}}}]},
            "status": {"observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "availableReplicas": 1,
                "currentReplicas": 1, "updatedReplicas": 1, "currentRevision": "db-1", "updateRevision": "db-1"}}));
        let owner = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db",
            "uid": "uid-statefulsets-db", "controller": true}]);
        self.put("pods", &json!({
            "metadata": {"name": "db-0", "creationTimestamp": old, "ownerReferences": owner,
                "labels": {"app": "db", "controller-revision-hash": "db-1"}},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": old}]}}));
        for (claim, since) in [("data-db-0", old.clone()), ("data-db-1", created.to_string())] {
            self.put(
                "persistentvolumeclaims",
                &json!({
                "metadata": {"name": claim, "creationTimestamp": since, "labels": labels,
                    "finalizers": ["kubernetes.io/pvc-protection"]},
                "spec": {"accessModes": ["ReadWriteOnce"], "volumeName": format!("pv-{claim}"),
                    "storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}},
                "status": {"phase": "Bound", "capacity": {"storage": "1Gi"},
                    "conditions": [{"type": "Unused", "status": "True", "lastTransitionTime": since}]}}),
            );
            self.put("persistentvolumes", &json!({
                "metadata": {"name": format!("pv-{claim}"), "creationTimestamp": since},
                "spec": {"capacity": {"storage": "1Gi"}, "persistentVolumeReclaimPolicy": "Delete",
                    "storageClassName": "fast", "claimRef": {"kind": "PersistentVolumeClaim", "namespace": NAMESPACE,
                    "name": claim, "uid": format!("uid-persistentvolumeclaims-{claim}")}},
                "status": {"phase": "Bound"}}));
        }
        self
    }

    /// Runs our own program against it.
    pub fn sts(&self, args: &[&str]) -> Run {
        let home = tempfile::TempDir::new().unwrap();
        Run::of(&mut self.command(home.path(), args), "")
    }

    pub fn command(&self, home: &Path, args: &[&str]) -> Command {
        let mut command = program(home);
        command.args(["--server", &self.address, "--insecure-skip-tls-verify", "-n", NAMESPACE]).args(args);
        command
    }

    /// Forgets what was asked, and gives it.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    pub fn has(&self, plural: &str, name: &str) -> bool {
        self.objects.lock().unwrap().contains_key(&format!("{}/{name}", path(plural)))
    }
}

/// Our own program with nothing in its environment but this home, which is its folder too.
pub fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
    command.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap()).current_dir(home);
    command
}

fn request(stream: &mut impl BufRead) -> Option<(Asked, Value)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = super::harness::header(&head, "content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    let mut words = head.split(' ');
    let asked =
        Asked { method: words.next()?.to_owned(), path: words.next()?.to_owned(), head: head.clone() };
    Some((asked, serde_json::from_slice(&body).unwrap_or_default()))
}

fn answer(objects: &Mutex<BTreeMap<String, Value>>, asked: &Asked, body: &Value) -> Said {
    let mut objects = objects.lock().unwrap();
    let path = asked.path.split('?').next().unwrap();
    let dry = asked.path.contains("dryRun=All") || body["dryRun"] == json!(["All"]);
    if path == "/version" {
        return Said::json(200, &json!({"gitVersion": "v1.37.1"}));
    }
    if path == "/apis" {
        let group = |name: &str| json!({"name": name, "versions": [{"version": "v1"}]});
        return Said::json(
            200,
            &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group("apps")]}),
        );
    }
    if path.ends_with("selfsubjectaccessreviews") {
        let mut review = body.clone();
        review["status"] = json!({"allowed": true});
        return Said::json(201, &review);
    }
    match asked.method.as_str() {
        "GET" if path.starts_with("/apis/snapshot.storage.k8s.io/") => {
            Said::new(404, "content-type: text/plain\r\n", "404 page not found\n")
        }
        "GET" => match (KINDS.iter().find(|kind| path.ends_with(&format!("/{}", kind.2))), objects.get(path))
        {
            (Some((kind, version, ..)), _) => {
                let inside = format!("{path}/");
                let items: Vec<&Value> = objects
                    .iter()
                    .filter(|(key, _)| key.starts_with(&inside))
                    .map(|(_, value)| value)
                    .collect();
                Said::json(
                    200,
                    &json!({"kind": format!("{kind}List"), "apiVersion": version,
                    "metadata": {"resourceVersion": "9"}, "items": items}),
                )
            }
            (None, Some(object)) => Said::json(200, object),
            (None, None) => Said::json(404, &status(404, "NotFound")),
        },
        "DELETE" => match objects.get(path).cloned() {
            None => Said::json(404, &status(404, "NotFound")),
            Some(object) => {
                if !dry {
                    objects.remove(path);
                    release(&mut objects);
                }
                Said::json(200, &object)
            }
        },
        "PATCH" => match objects.get(path).cloned() {
            None => Said::json(404, &status(404, "NotFound")),
            Some(mut object) => {
                merge(&mut object, body);
                if !dry {
                    objects.insert(path.to_owned(), object.clone());
                    release(&mut objects);
                }
                Said::json(200, &object)
            }
        },
        _ => Said::json(405, &status(405, "MethodNotAllowed")),
    }
}

/// What the PersistentVolume controller does: a volume whose PVC is gone is released, and goes if it is not to be kept.
fn release(objects: &mut BTreeMap<String, Value>) {
    let claims = format!("{}/", path("persistentvolumeclaims"));
    let volumes = format!("{}/", path("persistentvolumes"));
    let used: Vec<String> =
        objects.keys().filter_map(|key| key.strip_prefix(&claims)).map(str::to_owned).collect();
    objects.retain(|key, object| {
        let claim = object["spec"]["claimRef"]["name"].as_str().unwrap_or_default();
        if !key.starts_with(&volumes) || used.iter().any(|used| used == claim) {
            return true;
        }
        object["status"]["phase"] = "Released".into();
        object["spec"]["persistentVolumeReclaimPolicy"] != "Delete"
    });
}

/// RFC 7386.
fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        *object = patch.clone();
        return;
    };
    for (key, value) in members {
        match value {
            Value::Null => drop(object.as_object_mut().and_then(|object| object.remove(key))),
            value => merge(&mut object[key], value),
        }
    }
}

/// A `Date` header.
pub fn date(at: Timestamp) -> String {
    format!("date: {}\r\n", at.strftime("%a, %d %b %Y %H:%M:%S GMT"))
}

/// `said` with this header as well.
pub fn with_header(said: &Said, header: &str) -> Said {
    Said(said.0.replacen("\r\n", &format!("\r\n{header}"), 1))
}
