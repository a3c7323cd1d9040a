//! A StatefulSet in a namespace of its own, before a command and after it. Everything is asked of the API server itself,
//! not through the proxy under test.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::proxy::Upstream;
use crate::support::{self, Namespace, PATIENCE};

/// How many replicas every set here has.
const REPLICAS: u64 = 3;

/// What the set is like before the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// One revision, all pods available.
    Healthy,
    /// A second revision, all pods available on it.
    Updated,
    /// A canary on web-2, paused.
    Canary,
    /// A canary on web-2, whose image cannot be pulled.
    StuckCanary,
    /// A rollout that is stuck on web-2, whose image cannot be pulled.
    Stuck,
    /// The same, and the template was put back.
    Trapped,
}

/// How it has to be after the command.
pub struct After {
    /// The pods that were deleted, in this order, and no others.
    pub restarted: &'static [&'static str],
    /// `spec.updateStrategy.rollingUpdate.partition`.
    pub partition: u64,
    /// Whether a canary is in progress.
    pub canary: bool,
    /// The image of the template.
    pub image: &'static str,
    /// How often the spec was written.
    pub writes: i64,
}

/// A set in a namespace of its own.
pub struct Scene {
    pub ns: Namespace,
    upstream: Arc<Upstream>,
    deaths: Arc<Mutex<Vec<String>>>,
    generation: i64,
}

impl Scene {
    /// Makes the set and brings it there; from then on every restart is seen.
    pub fn prepare(hint: &str, upstream: &Arc<Upstream>, class: &str, before: Before) -> Scene {
        let cluster = support::cluster().expect("the caller has it");
        let ns = cluster.namespace(hint);
        let upstream = Arc::clone(upstream);
        let mut scene = Scene { ns, upstream, deaths: Arc::default(), generation: 0 };
        let pods = scene.path("api/v1", "services");
        scene.upstream.json(
            "POST",
            &pods,
            &json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web"}, "spec": {"clusterIP": "None", "selector": {"app": "web"}}}),
        );
        scene.upstream.json("POST", &scene.path("apis/apps/v1", "statefulsets"), &set(class));
        scene.settled();
        // Dates have whole seconds, and which revision came first must be plain.
        std::thread::sleep(std::time::Duration::from_secs(1));
        let args = ["canary", "web", "--partition", "2", "--yes", "--image"];
        match before {
            Before::Healthy => {}
            Before::Updated => {
                scene.image("web:2");
                scene.settled();
            }
            Before::Canary => {
                scene.ns.sts(&[&args[..], &["web=web:2"]].concat()).code(0);
                scene.seen();
            }
            Before::StuckCanary => {
                let run = [&args[..], &["web=web:does-not-exist", "--stuck-after", "0s"]].concat();
                scene.ns.sts(&run).code(1);
                scene.seen();
            }
            Before::Stuck | Before::Trapped => {
                scene.image("web:does-not-exist");
                scene.until("web-2 to be stuck", Scene::stuck);
                if before == Before::Trapped {
                    scene.image("web:1");
                    scene.seen();
                }
            }
        }
        scene.generation = number(&scene.set()["metadata"]["generation"]);
        scene.witness();
        scene
    }

    fn path(&self, group: &str, resource: &str) -> String {
        format!("/{group}/namespaces/{}/{resource}", self.ns.name)
    }

    /// The set as it is now.
    pub fn set(&self) -> Value {
        self.upstream.json("GET", &(self.path("apis/apps/v1", "statefulsets") + "/web"), &Value::Null)
    }

    /// The pods as they are now, lowest ordinal first.
    pub fn pods(&self) -> Vec<Value> {
        let mut list = self.upstream.json("GET", &self.path("api/v1", "pods"), &Value::Null);
        let mut pods: Vec<Value> = std::mem::take(list["items"].as_array_mut().unwrap());
        pods.sort_by_key(|pod| pod["metadata"]["name"].to_string());
        pods
    }

    fn image(&self, image: &str) {
        let patch =
            json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image}]);
        let path = self.path("apis/apps/v1", "statefulsets") + "/web";
        let answer = self.upstream.send("PATCH", &path, "application/json-patch+json", &patch.to_string());
        let (status, body) = answer.unwrap();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    }

    #[track_caller]
    fn until(&self, what: &str, is: impl Fn(&Scene) -> bool) {
        self.ns.wait(what, PATIENCE, || {
            if is(self) { Ok(()) } else { Err(format!("{} {:?}", self.set()["status"], self.phases())) }
        });
    }

    fn phases(&self) -> Vec<String> {
        let text = |pod: &Value| format!("{}: {}", pod["metadata"]["name"], pod["status"]["phase"]);
        self.pods().iter().map(text).collect()
    }

    /// Waits until all pods are on the newest revision and available.
    pub fn settled(&self) {
        self.until("the set to be settled", |scene| {
            let set = scene.set();
            let status = &set["status"];
            status["observedGeneration"] == set["metadata"]["generation"]
                && status["updateRevision"] == status["currentRevision"]
                && ["updatedReplicas", "availableReplicas"]
                    .iter()
                    .all(|field| status[field].as_u64() == Some(REPLICAS))
        });
    }

    /// Waits until the controller has seen the newest spec.
    fn seen(&self) {
        self.until("the controller to see the spec", |scene| {
            let set = scene.set();
            set["status"]["observedGeneration"] == set["metadata"]["generation"]
        });
    }

    fn stuck(&self) -> bool {
        let pods = self.pods();
        let Some(pod) = pods.get(2) else { return false };
        let reason = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
        reason == "ImagePullBackOff" && pod["metadata"]["deletionTimestamp"].is_null()
    }

    /// Notes every pod that goes, from now on, until the watch ends with the namespace's pods or the proxy.
    fn witness(&self) {
        let list = self.upstream.json("GET", &self.path("api/v1", "pods"), &Value::Null);
        let version = list["metadata"]["resourceVersion"].as_str().unwrap();
        let path = format!("{}?watch=true&resourceVersion={version}", self.path("api/v1", "pods"));
        let (upstream, deaths) = (Arc::clone(&self.upstream), Arc::downgrade(&self.deaths));
        std::thread::spawn(move || {
            let _ = upstream.watch(&path, |event| {
                let Some(deaths) = deaths.upgrade() else { return false };
                if event["type"] == "DELETED" {
                    let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
                    deaths.lock().unwrap().push(name.to_owned());
                }
                true
            });
        });
    }

    /// What is not as it has to be; empty if all is.
    pub fn compare(&self, after: &After) -> Vec<String> {
        let set = self.set();
        let mut wrong = Vec::new();
        let mut equal = |what: &str, is: Value, meant: Value| {
            if is != meant {
                wrong.push(format!("{what}: {is} instead of {meant}"));
            }
        };
        let partition = set["spec"]["updateStrategy"]["rollingUpdate"]["partition"].as_u64().unwrap_or(0);
        equal("partition", partition.into(), after.partition.into());
        let has_mark = set["metadata"]["annotations"].get("kubectl-sts/canary").is_some();
        equal("canary", has_mark.into(), after.canary.into());
        equal("image", set["spec"]["template"]["spec"]["containers"][0]["image"].clone(), after.image.into());
        let generation = number(&set["metadata"]["generation"]);
        equal("writes of the spec", (generation - self.generation).into(), after.writes.into());
        let update = &set["status"]["updateRevision"];
        for (index, pod) in (0..).zip(self.pods()) {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let ready = pod["status"]["conditions"].as_array().into_iter().flatten();
            let ready = ready.filter(|one| one["type"] == "Ready").any(|one| one["status"] == "True");
            equal(&format!("{name} is ready"), ready.into(), true.into());
            let has = pod["metadata"]["labels"]["controller-revision-hash"] == *update;
            equal(&format!("{name} is on the revision"), has.into(), (index >= after.partition).into());
        }
        // An event of the watch may be behind what was just read; one that is too many would come after the end too.
        let deaths = || self.deaths.lock().unwrap().clone();
        let all = after.restarted.len();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(2);
        while deaths().len() < all && std::time::Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        equal("restarts", deaths().into(), after.restarted.into());
        wrong
    }
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap()
}

fn set(class: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"},
        "spec": {
            "replicas": REPLICAS, "serviceName": "web", "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "web", "image": "web:1",
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
                },
            },
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": class,
                "resources": {"requests": {"storage": "1Gi"}}}}],
        },
    })
}
