//! The API server as the differential test uses it: raw requests, and one watch for each kind.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use futures::TryStreamExt;
use http::Request;
use kube::core::WatchEvent;
use kubectl_sts::cluster::connect::{ConnectArgs, Connection, connect};
use kubectl_sts::kinds::{Object, Pod, StatefulSet};
use kubectl_sts::snapshot::parse_pod_name;
use serde_json::{Value, json};
use tokio::sync::Notify;

/// A write of the controller.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Write {
    Create(i32, String),
    Delete(i32),
}

/// What the watches said of one set.
#[derive(Default)]
pub struct Track {
    pub set: Option<StatefulSet>,
    /// By name.
    pub pods: BTreeMap<String, Pod>,
    /// The controller's writes since the log was emptied.
    pub log: Vec<Write>,
    /// Uids of pods that the test makes or deletes itself.
    pub ours: BTreeSet<String>,
    pub changed: Rc<Notify>,
}

type Tracks = Rc<RefCell<BTreeMap<String, Rc<RefCell<Track>>>>>;

/// A way to the API server for one namespace.
#[derive(Clone)]
pub struct Api {
    connection: Connection,
    pub namespace: String,
    /// A node without a kubelet, kept alive by [`Api::keep_node`]: nobody but the test writes the status of its pods.
    pub node: String,
    tracks: Tracks,
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    connect: ConnectArgs,
}

impl Api {
    pub async fn new(kubeconfig: &str, namespace: &str) -> Api {
        let args = Line::try_parse_from(["sts", "--kubeconfig", kubeconfig]).unwrap().connect;
        let connection = connect(&args, Some(namespace), |_| {}).await.unwrap();
        let api = Api {
            connection,
            namespace: namespace.to_owned(),
            node: format!("{namespace}-nobody"),
            tracks: Tracks::default(),
        };
        api.make_node().await;
        api
    }

    /// One request; an error is the code and text.
    pub async fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value, (u16, String)> {
        let content = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request =
            Request::builder().method(method).uri(path).header("content-type", content).body(body).unwrap();
        match self.connection.client().request_text(request).await {
            Ok(text) => Ok(serde_json::from_str(&text).unwrap_or(Value::Null)),
            Err(kube::Error::Api(status)) => Err((status.code, status.message.clone())),
            Err(error) => Err((0, format!("{error:?}"))),
        }
    }

    pub fn pod_path(&self, name: &str) -> String {
        format!("/api/v1/namespaces/{}/pods/{name}", self.namespace)
    }

    pub fn set_path(&self, name: &str) -> String {
        format!("/apis/apps/v1/namespaces/{}/statefulsets/{name}", self.namespace)
    }

    /// What is heard of the set from now on.
    pub fn track(&self, set: &str) -> Rc<RefCell<Track>> {
        let track = Rc::<RefCell<Track>>::default();
        self.tracks.borrow_mut().insert(set.to_owned(), track.clone());
        track
    }

    pub fn forget(&self, set: &str) {
        self.tracks.borrow_mut().remove(set);
    }

    async fn make_node(&self) {
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": self.node},
            "spec": {"unschedulable": true, "taints": [{"key": "nobody.test/only", "effect": "NoSchedule"}]},
            "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Test"}]},
        });
        self.send("POST", "/api/v1/nodes", &node).await.expect("the node can be made");
        self.beat(true).await;
    }

    async fn beat(&self, first: bool) {
        let now = jiff::Timestamp::now();
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self.node},
            "spec": {"holderIdentity": self.node, "leaseDurationSeconds": 40, "renewTime": format!("{now:.6}")},
        });
        let path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
        let beat = match first {
            true => self.send("POST", path, &lease).await,
            false => self.send("PATCH", &format!("{path}/{}", self.node), &lease).await,
        };
        beat.expect("the lease can be renewed");
    }

    /// Renews the node's lease for ever: else its pods would be marked as not ready after 20 s.
    pub async fn keep_node(&self) {
        loop {
            tokio::time::sleep(Duration::from_secs(4)).await;
            self.beat(false).await;
        }
    }

    pub async fn remove_node(&self) {
        let _ = self.send("DELETE", &format!("/api/v1/nodes/{}", self.node), &Value::Null).await;
    }

    /// Follows all pods for ever.
    pub async fn follow_pods(&self) {
        let of = |pod: &Pod| Some(parse_pod_name(&pod.metadata.name)?.0.to_owned());
        self.follow::<Pod>(of, |track, event| match event {
            WatchEvent::Added(pod) => track.added(pod),
            WatchEvent::Modified(pod) => track.modified(pod),
            WatchEvent::Deleted(pod) => track.gone(&pod),
            _ => {}
        })
        .await;
    }

    /// Follows all sets for ever.
    pub async fn follow_sets(&self) {
        let of = |set: &StatefulSet| Some(set.metadata.name.clone());
        self.follow::<StatefulSet>(of, |track, event| match event {
            WatchEvent::Added(set) | WatchEvent::Modified(set) => track.set = Some(set),
            WatchEvent::Deleted(_) => track.set = None,
            _ => {}
        })
        .await;
    }

    async fn follow<T: Object + Clone + 'static>(
        &self,
        of: impl Fn(&T) -> Option<String>,
        take: impl Fn(&mut Track, WatchEvent<T>),
    ) {
        let path = T::KIND.path(Some(&self.namespace));
        let list = self.send("GET", &format!("{path}?limit=1"), &Value::Null).await.expect("a list");
        let mut version = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        loop {
            let uri = format!("{path}?watch=1&allowWatchBookmarks=true&resourceVersion={version}");
            let request = Request::get(uri).body(Vec::new()).unwrap();
            let Ok(events) = self.connection.client().request_events::<T>(request).await else { continue };
            let mut events = std::pin::pin!(events);
            while let Ok(Some(event)) = events.try_next().await {
                let object = match &event {
                    WatchEvent::Added(o) | WatchEvent::Modified(o) | WatchEvent::Deleted(o) => o,
                    WatchEvent::Bookmark(bookmark) => {
                        version.clone_from(&bookmark.metadata.resource_version);
                        continue;
                    }
                    WatchEvent::Error(error) => panic!("watch of {path}: {error:?}"),
                };
                version.clone_from(&object.meta().resource_version);
                let track = of(object).and_then(|name| self.tracks.borrow().get(&name).cloned());
                if let Some(track) = track {
                    take(&mut track.borrow_mut(), event);
                    track.borrow().changed.notify_waiters();
                }
            }
        }
    }
}

impl Track {
    fn ordinal(pod: &Pod) -> i32 {
        parse_pod_name(&pod.metadata.name).map_or(-1, |(_, ordinal)| ordinal)
    }

    fn added(&mut self, pod: Pod) {
        if pod.metadata.controller().is_some() {
            self.log.push(Write::Create(Self::ordinal(&pod), pod.revision().to_owned()));
        }
        self.pods.insert(pod.metadata.name.clone(), pod);
    }

    fn modified(&mut self, pod: Pod) {
        self.deletion(&pod, pod.metadata.is_terminating());
        self.pods.insert(pod.metadata.name.clone(), pod);
    }

    fn gone(&mut self, pod: &Pod) {
        self.deletion(pod, true);
        self.pods.remove(&pod.metadata.name);
    }

    /// Notes a deletion that is news and not ours.
    fn deletion(&mut self, pod: &Pod, deleted: bool) {
        let before = self.pods.get(&pod.metadata.name);
        let known = before.is_some_and(|before| before.metadata.is_terminating());
        if deleted && !known && !self.ours.contains(&pod.metadata.uid) {
            self.log.push(Write::Delete(Self::ordinal(pod)));
        }
    }
}
