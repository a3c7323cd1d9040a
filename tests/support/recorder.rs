//! What a kubelet writes about pods in trouble, as text that can be compared: `realnode::fixtures` records it on a real one, and
//! `fake_node::recorded` holds the fake node against that.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Cluster, Namespace};

/// For how long a pod is looked at.
pub const WINDOW: Duration = Duration::from_secs(60);

/// What begins later than this is compared only if both have it: the records end at some moment.
pub const HORIZON: u64 = 35;

/// A process that ends at once, and without an error, when it is told to, as PostgreSQL and nginx do.
const POLITE: &str = "trap 'exit 0' TERM; while :; do sleep 1; done";

/// A pod in trouble, for a real node, and what a fake node has to be told to show the same.
pub struct State {
    /// Name of the pod and of the file.
    pub name: &'static str,
    container: Value,
    pod: Value,
    /// `KEY=VALUE` of annotations.
    fake: &'static [&'static str],
    /// After how long it is deleted.
    pub deleted: Option<Duration>,
}

impl State {
    /// The pod.
    pub fn manifest(&self) -> Value {
        let mut container = json!({
            "name": "main", "image": "localhost/busybox:1", "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", POLITE]
        });
        merge(&mut container, &self.container);
        let mut pod = json!({"terminationGracePeriodSeconds": 3, "containers": [container]});
        merge(&mut pod, &self.pod);
        let pair =
            |text: &&str| text.split_once('=').map(|(key, value)| (format!("fake.test/{key}"), json!(value)));
        let all = ["delay=1s"].iter().chain(self.fake);
        let annotations: serde_json::Map<String, Value> = all.filter_map(pair).collect();
        let metadata = json!({"name": self.name, "annotations": annotations});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod})
    }
}

fn merge(object: &mut Value, more: &Value) {
    for (key, value) in more.as_object().unwrap() {
        object[key] = value.clone();
    }
}

/// All states but that of a lost node.
pub fn states() -> Vec<State> {
    let of = |name, container, fake| State { name, container, pod: json!({}), fake, deleted: None };
    let sh = |script: &str| json!({"command": ["sh", "-c", script]});
    let probe = |kind: &str, script: &str| {
        let exec = json!({"command": ["sh", "-c", script]});
        json!({ kind: {"exec": exec, "periodSeconds": 1, "failureThreshold": 2} })
    };
    let image = |image: &str, policy: &str| json!({"image": image, "imagePullPolicy": policy});
    let volume = |source: Value| {
        let mut volume = json!({"name": "v"});
        merge(&mut volume, &source);
        json!({ "volumes": [volume] })
    };
    let mounts = json!([{"name": "v", "mountPath": "/v"}]);
    let init = |restart: &str, script: &str| {
        let mut init =
            json!({"name": "first", "image": "localhost/busybox:1", "command": ["sh", "-c", script]});
        if !restart.is_empty() {
            init["restartPolicy"] = json!(restart);
        }
        json!({ "initContainers": [init] })
    };
    let secret =
        json!({"env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "nosuch", "key": "p"}}}]});
    let oom = json!({"command": ["sh", "-c", "sleep 3; tail /dev/zero"], "resources": {"limits": {"memory": "48Mi"}}});
    let full = json!({"command": ["sh", "-c", "dd if=/dev/zero of=/v/x bs=1M count=20; sleep 1000"], "volumeMounts": mounts});
    let hook =
        |kind: &str, script: &str| json!({"lifecycle": {kind: {"exec": {"command": ["sh", "-c", script]}}}});
    let mut all = vec![
        of("healthy", json!({}), &[]),
        of(
            "liveness",
            probe("livenessProbe", "echo not alive; exit 1"),
            &["mode=liveness", "up=2s", "message=not alive"],
        ),
        of(
            "startup",
            probe("startupProbe", "echo not up; exit 1"),
            &["mode=startup", "up=2s", "message=not up"],
        ),
        of(
            "readiness",
            probe("readinessProbe", "echo no peers; exit 1"),
            &["mode=unready", "message=no peers"],
        ),
        of(
            "crash-later",
            sh("sleep 4; exit 3"),
            &["mode=crashloop", "up=4s", "moment=back-off", "exit-code=3"],
        ),
        of("crash-at-once", sh("exit 1"), &["mode=crashloop", "up=1s", "moment=back-off"]),
        of("oom", oom, &["mode=oom", "up=3s", "moment=back-off"]),
        of("start-error", json!({"command": ["nosuch-program"]}), &["mode=starterror", "moment=back-off"]),
        of("no-secret", secret, &[]),
        of(
            "not-found",
            image("localhost:5000/busybox:nope", "IfNotPresent"),
            &["mode=imagepull", "moment=13s", "down=13s"],
        ),
        of("never-pull", image("localhost/busybox:nope", "Never"), &[]),
        of("bad-name", image("localhost/Busybox:1", "IfNotPresent"), &[]),
        of(
            "post-start",
            hook("postStart", "echo no hook; exit 1"),
            &["mode=poststart", "moment=1s", "message=no hook"],
        ),
    ];
    let long = json!({"terminationGracePeriodSeconds": 30});
    let no_secret = volume(json!({"secret": {"secretName": "nosuch"}}));
    let small = volume(json!({"emptyDir": {"sizeLimit": "1Mi"}}));
    for (name, container, pod, fake, deleted) in [
        ("mount-failed", json!({ "volumeMounts": mounts }), no_secret, &[][..], None),
        (
            "init",
            json!({}),
            init("", "sleep 1; exit 5"),
            &["mode=init-fail", "up=1s", "moment=back-off", "exit-code=5"],
            None,
        ),
        (
            "sidecar",
            json!({}),
            init("Always", "sleep 1; exit 4"),
            &["container=first", "mode=crashloop", "up=1s", "moment=back-off", "exit-code=4"],
            None,
        ),
        ("pre-stop", hook("preStop", "sleep 15"), long, &["linger=16s"], Some(Duration::from_secs(8))),
        (
            "evicted",
            full,
            small,
            &[
                "then=failed",
                "then-after=27s",
                "message=Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ",
            ],
            None,
        ),
    ] {
        all.push(State { name, container, pod, fake, deleted });
    }
    all
}

/// When the node of [`lost`] is lost.
pub const LOST: Duration = Duration::from_secs(8);

/// A pod on a node that is lost after a while.
pub fn lost(node: &str) -> State {
    let pod = json!({
        "nodeSelector": {"kubernetes.io/hostname": node}, "tolerations": [{"key": "lost", "operator": "Exists"}]
    });
    State { name: "lost-node", container: json!({}), pod, fake: &[], deleted: None }
}

/// The conditions and taints of a node, as the last step of a record.
pub fn conditions(cluster: &Cluster, node: &str) -> Step {
    let node = cluster.kubectl(&["get", "node", node, "-o", "json"]).ok();
    let node: Value = serde_json::from_str(&node).unwrap();
    let one = |own: &Value| {
        format!(
            "{}={}({}) {}",
            text(&own["type"]),
            text(&own["status"]),
            text(&own["reason"]),
            own["message"]
        )
    };
    let mut all: Vec<String> = node["status"]["conditions"].as_array().unwrap().iter().map(one).collect();
    all.sort();
    let is_own = |taint: &&Value| text(&taint["key"]).starts_with("node.kubernetes.io/");
    let taints = node["spec"]["taints"].as_array().into_iter().flatten().filter(is_own);
    let taints: Vec<String> =
        taints.map(|taint| format!("{}:{}", text(&taint["key"]), text(&taint["effect"]))).collect();
    Step {
        at: WINDOW.as_secs(),
        text: format!("the node: {}; taints: {}", all.join(", "), taints.join(", ")),
    }
}

/// What was shown from a moment on, until the next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Seconds since the kubelet took the pod.
    pub at: u64,
    /// The pod, then its containers.
    pub text: String,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Seconds since the kubelet took the pod.
    pub at: u64,
    /// How often it happened.
    pub count: u64,
    /// Greater than that of the events before.
    order: u64,
    /// Type, reason, component, field path and message.
    pub text: String,
}

/// What was written about a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// In order, each different from the one before.
    pub steps: Vec<Step>,
    /// In the order of their first time.
    pub events: Vec<Event>,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Replaces what differs from run to run.
fn normal(text: &str, names: &[(String, &str)]) -> String {
    let mut all = text.to_owned();
    for (name, word) in names.iter().filter(|(name, _)| !name.is_empty()) {
        all = all.replace(name.as_str(), word);
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.';
    let mut words = String::new();
    let mut rest = all.as_str();
    while let Some(start) = rest.find(is_part) {
        let (before, from) = rest.split_at(start);
        let (word, after) = from.split_at(from.find(|c| !is_part(c)).unwrap_or(from.len()));
        let is_id = word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit());
        let is_ip = word.split('.').count() == 4 && word.split('.').all(|part| part.parse::<u8>().is_ok());
        words += before;
        words += if is_id {
            "ID"
        } else if is_ip {
            "IP"
        } else {
            word
        };
        rest = after;
    }
    words + rest
}

/// The names in a pod that are its own.
fn names(pod: &Value) -> Vec<(String, &'static str)> {
    let own = [
        (&pod["metadata"]["uid"], "UID"),
        (&pod["metadata"]["namespace"], "NAMESPACE"),
        (&pod["spec"]["nodeName"], "NODE"),
    ];
    own.map(|(name, word)| (text(name).to_owned(), word)).to_vec()
}

fn state(state: &Value) -> String {
    let quoted = |message: &Value| if message.is_null() { String::new() } else { format!(" {message}") };
    if let Some(waiting) = state.get("waiting") {
        return format!("waiting {}{}", text(&waiting["reason"]), quoted(&waiting["message"]));
    }
    if let Some(ended) = state.get("terminated") {
        return format!(
            "terminated {} {}{}",
            text(&ended["reason"]),
            ended["exitCode"],
            quoted(&ended["message"])
        );
    }
    if state.get("running").is_some() { "running".to_owned() } else { "nothing".to_owned() }
}

/// A pod's status as one line.
pub fn shown(pod: &Value) -> String {
    let status = &pod["status"];
    let mut all = text(&status["phase"]).to_owned();
    for key in ["reason", "message"] {
        if !status[key].is_null() {
            let _ = write!(all, " {}", text(&status[key]));
        }
    }
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        all.push_str(" Terminating");
    }
    for kind in ["Initialized", "ContainersReady", "Ready", "DisruptionTarget"] {
        let conditions = status["conditions"].as_array().into_iter().flatten();
        if let Some(own) = conditions.into_iter().find(|own| own["type"] == kind) {
            let _ = write!(all, " {kind}={}", text(&own["status"]));
            if !own["reason"].is_null() {
                let _ = write!(all, "({})", text(&own["reason"]));
            }
        }
    }
    for own in ["initContainerStatuses", "containerStatuses"]
        .iter()
        .filter_map(|key| status[key].as_array())
        .flatten()
    {
        let _ = write!(all, " | {}: {}", text(&own["name"]), state(&own["state"]));
        for word in ["started", "ready"] {
            if own[word] == true {
                let _ = write!(all, " {word}");
            }
        }
        if own["restartCount"] != 0 {
            let _ = write!(all, " restarts={}", own["restartCount"]);
        }
        if own["lastState"].as_object().is_some_and(|last| !last.is_empty()) {
            let mut last = own["lastState"].clone();
            if !own["state"]["waiting"].is_null()
                && last["terminated"]["message"] == own["state"]["waiting"]["message"]
            {
                last["terminated"]["message"] = Value::Null; // said once is enough
            }
            let _ = write!(all, " last={}", state(&last));
        }
    }
    normal(&all, &names(pod))
}

/// All that a watch gives, by name, with the time of each.
type Seen = Arc<Mutex<BTreeMap<String, Vec<(Instant, Value)>>>>;

/// All that a watch of the pods and events of a namespace gives.
pub struct Watch {
    pods: Seen,
    events: Seen,
}

/// Watches a kind in a namespace for some time.
fn watch(ns: &Namespace, kind: &str, time: Duration) -> Seen {
    let mut command = ns.cluster.plane.kubectl();
    // It has to end by itself: killed through nsenter, it would live on in the box.
    let timeout = format!("--request-timeout={}s", time.as_secs());
    command.args(["-n", &ns.name, "get", kind, "--watch", "-o", "json", &timeout]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let seen = Seen::default();
    let (sink, out) = (Arc::clone(&seen), BufReader::new(child.stdout.take().unwrap()));
    thread::spawn(move || {
        for own in serde_json::Deserializer::from_reader(out).into_iter::<Value>().map_while(Result::ok) {
            let name = text(&own["metadata"]["name"]).to_owned();
            sink.lock().unwrap().entry(name).or_default().push((Instant::now(), own));
        }
        child.wait()
    });
    seen
}

impl Watch {
    /// Watches a namespace for some time.
    pub fn of(ns: &Namespace, time: Duration) -> Self {
        let (pods, events) = (watch(ns, "pods", time), watch(ns, "events", time));
        thread::sleep(Duration::from_secs(1));
        Self { pods, events }
    }

    /// What was written about a pod in [`WINDOW`].
    pub fn record(&self, name: &str) -> Record {
        let seen = self.pods.lock().unwrap().get(name).cloned().unwrap_or_default();
        let taken: Vec<_> =
            seen.into_iter().filter(|(_, pod)| !pod["status"]["startTime"].is_null()).collect();
        let Some((zero, first)) = taken.first().cloned() else { return Record::default() };
        let mut steps: Vec<Step> = Vec::new();
        for (at, pod) in taken.iter().filter(|(at, _)| *at < zero + WINDOW) {
            let (at, text) = (round(*at - zero), shown(pod));
            if steps.last().is_none_or(|last| last.text != text) {
                steps.push(Step { at, text });
            }
        }
        let events = self.events.lock().unwrap();
        let mut events: Vec<Event> = events
            .values()
            .filter(|seen| seen[0].1["involvedObject"]["name"] == name && seen[0].0 < zero + WINDOW)
            .map(|seen| {
                let last = seen.iter().rfind(|(at, _)| *at < zero + WINDOW).unwrap();
                event(&last.1, round(seen[0].0.saturating_duration_since(zero)), &names(&first))
            })
            .collect();
        events.sort_by_key(|event| event.order);
        Record { steps, events }
    }
}

fn round(time: Duration) -> u64 {
    (time + Duration::from_millis(500)).as_secs()
}

/// An event as it was last, first seen at this time.
fn event(event: &Value, at: u64, names: &[(String, &str)]) -> Event {
    // The last part of its name is the time of the first in nanoseconds, and so finer than the fields.
    let name = text(&event["metadata"]["name"]).rsplit_once('.').map_or("", |(_, last)| last);
    let order = u64::from_str_radix(name, 16).unwrap_or(0);
    let by = [&event["reportingComponent"], &event["source"]["component"]].map(text);
    let by = if by[0].is_empty() { by[1] } else { by[0] };
    let head =
        [text(&event["type"]), text(&event["reason"]), by, text(&event["involvedObject"]["fieldPath"])];
    let head: Vec<&str> = head.into_iter().filter(|part| !part.is_empty()).collect();
    let message = normal(text(&event["message"]).trim_end(), names);
    let count = event["count"].as_u64().unwrap_or(1);
    Event { at, count, order, text: format!("{}: {message}", head.join(" ")) }
}

impl Record {
    /// The file of the record of the real node.
    pub fn file(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/realnode/fixtures/{name}.json"))
    }

    /// What the real node wrote, as far as its kubelet is not free to write it in one way or another: the first is what the
    /// fake node does.
    pub fn variants(name: &str) -> Vec<Self> {
        let other = format!("{name}.other");
        let is_there = Self::file(&other).is_file();
        [Self::fixture(name)].into_iter().chain(is_there.then(|| Self::fixture(&other))).collect()
    }

    /// What the real node wrote.
    pub fn fixture(name: &str) -> Self {
        let file = Self::file(name);
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let all: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let list = |key: &str| {
            all[key]
                .as_array()
                .unwrap()
                .iter()
                .map(|line| line.as_array().unwrap().clone())
                .collect::<Vec<_>>()
        };
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        let steps = list("steps")
            .iter()
            .map(|line| Step { at: line[0].as_u64().unwrap(), text: word(&line[1]) })
            .collect();
        let event = |line: &Vec<Value>| Event {
            at: line[0].as_u64().unwrap(),
            count: line[1].as_u64().unwrap(),
            order: 0,
            text: word(&line[2]),
        };
        Self { steps, events: list("events").iter().map(event).collect() }
    }

    /// The text of the file: JSON, with a line for each step.
    pub fn to_json(&self) -> String {
        let steps: Vec<String> =
            self.steps.iter().map(|step| format!("  {}", json!([step.at, step.text]))).collect();
        let event = |event: &Event| format!("  {}", json!([event.at, event.count, event.text]));
        let events: Vec<String> = self.events.iter().map(event).collect();
        format!("{{\"steps\": [\n{}\n], \"events\": [\n{}\n]}}\n", steps.join(",\n"), events.join(",\n"))
    }

    /// Without the steps that lasted less than this many seconds.
    #[must_use]
    pub fn lasting(&self, seconds: u64) -> Self {
        let ends = self.steps.iter().skip(1).map(|step| step.at).chain([u64::MAX]);
        let kept = self.steps.iter().zip(ends).filter(|(step, end)| end - step.at >= seconds);
        Self { steps: kept.map(|(step, _)| step.clone()).collect(), events: self.events.clone() }
    }
}

/// A row of a comparison: what one of the two wrote, or both.
#[derive(Clone, Debug)]
pub struct Row {
    /// Whether it is an event.
    pub is_event: bool,
    /// When the real node wrote it, and how often.
    pub real: Option<(u64, u64)>,
    /// When the other did.
    pub other: Option<(u64, u64)>,
    /// What.
    pub text: String,
    /// Whether the other record ended before it could come.
    is_cut: bool,
}

impl Row {
    /// What is different; nothing if both wrote it, at about the same time, about as often.
    pub fn difference(&self) -> Option<String> {
        let kind = if self.is_event { "event" } else { "status" };
        match (self.real, self.other) {
            (Some((real, times)), Some((other, other_times))) => {
                if real.abs_diff(other) > 5 + real * 3 / 10 {
                    return Some(format!("{kind} after {other} s, not {real} s: {}", self.text));
                }
                let (few, many) = (times.min(other_times), times.max(other_times));
                (many > 2 * few + 1)
                    .then(|| format!("{kind} {other_times} times, not {times}: {}", self.text))
            }
            (Some(_), None) if self.is_cut => None,
            (Some((at, _)), None) => Some(format!("only real, {at} s: {kind} {}", self.text)),
            (None, Some((at, _))) => Some(format!("not real, {at} s: {kind} {}", self.text)),
            (None, None) => None,
        }
    }
}

/// Lays two records side by side.
pub fn compare(real: &Record, other: &Record) -> Vec<Row> {
    let steps =
        |record: &Record| record.steps.iter().map(|step| (step.at, 1, step.text.clone())).collect::<Vec<_>>();
    let events = |record: &Record| {
        record.events.iter().map(|event| (event.at, event.count, event.text.clone())).collect::<Vec<_>>()
    };
    let mut rows = aligned(&steps(real), &steps(other), false);
    rows.extend(aligned(&events(real), &events(other), true));
    rows
}

/// The longest common subsequence, and in between what only one of them has.
fn aligned(real: &[(u64, u64, String)], other: &[(u64, u64, String)], is_event: bool) -> Vec<Row> {
    let mut longest = vec![vec![0_usize; other.len() + 1]; real.len() + 1];
    for left in (0..real.len()).rev() {
        for right in (0..other.len()).rev() {
            longest[left][right] = if real[left].2 == other[right].2 {
                longest[left + 1][right + 1] + 1
            } else {
                longest[left + 1][right].max(longest[left][right + 1])
            };
        }
    }
    let (mut left, mut right, mut rows) = (0, 0, Vec::new());
    while left < real.len() || right < other.len() {
        let [one, two] =
            [real.get(left), other.get(right)].map(|own| own.map(|(at, count, _)| (*at, *count)));
        let is_both = left < real.len() && right < other.len() && real[left].2 == other[right].2;
        let is_left = !is_both
            && left < real.len()
            && (right == other.len() || longest[left + 1][right] >= longest[left][right + 1]);
        let (real_at, other_at, text) = if is_both {
            (one, two, &real[left].2)
        } else if is_left {
            (one, None, &real[left].2)
        } else {
            (None, two, &other[right].2)
        };
        rows.push(Row { is_event, real: real_at, other: other_at, text: text.clone(), is_cut: false });
        left += usize::from(is_both || is_left);
        right += usize::from(is_both || !is_left);
    }
    // At the end of a record, the next would have come.
    let is_cut = |row: &Row| match (row.real, row.other) {
        (Some((at, _)), None) | (None, Some((at, _))) => at > HORIZON,
        _ => false,
    };
    let tail = rows.iter().rposition(|row| !is_cut(row)).map_or(0, |last| last + 1);
    rows[tail..].iter_mut().for_each(|row| row.is_cut = true);
    rows.retain(|row| !row.is_cut || row.real.is_some());
    rows
}
