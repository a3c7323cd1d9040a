//! What the commands say in every phase of a restart. A container that keeps failing shows different states in turn, and a
//! finding that is there in one of them only comes and goes before the reader's eyes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::support::{self, Namespace, Run};

/// How often a namespace is looked at.
const INTERVAL: Duration = Duration::from_millis(300);

/// How long all the phases of all the restarts may take.
const DEADLINE: Duration = Duration::from_secs(480);

/// A container to follow, and the phases it passes through: `running`, `terminated`, or the reason why it waits.
pub struct Followed<'a> {
    /// Its pod.
    pub pod: &'a str,
    /// Its name.
    pub container: &'a str,
    /// The phases that have to be seen.
    pub phases: &'a [&'a str],
}

/// What a container does, as `kubectl get pod -o json` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phase {
    /// `running`, `terminated`, the reason why it waits, or nothing before its first status.
    pub state: String,
    /// How often it was restarted.
    pub restarts: u64,
    /// Whether its pod has the condition Ready.
    pub ready: bool,
}

impl Phase {
    /// Reads it from a pod, which may be `null`.
    pub fn of(pod: &Value, container: &str) -> Self {
        let status = &pod["status"];
        let own = own_status(pod, container);
        if own.is_null() {
            return Self::default();
        }
        let state = if !own["state"]["running"].is_null() {
            "running"
        } else if !own["state"]["terminated"].is_null() {
            "terminated"
        } else {
            own["state"]["waiting"]["reason"].as_str().unwrap_or_default()
        };
        let conditions = status["conditions"].as_array().into_iter().flatten();
        Self {
            state: state.to_owned(),
            restarts: own["restartCount"].as_u64().unwrap_or(0),
            ready: conditions.into_iter().any(|own| own["type"] == "Ready" && own["status"] == "True"),
        }
    }
}

/// The status of a container of a pod, or `null`.
fn own_status<'v>(pod: &'v Value, container: &str) -> &'v Value {
    let status = &pod["status"];
    let all = ["initContainerStatuses", "containerStatuses"].iter().filter_map(|key| status[key].as_array());
    all.flatten().find(|own| own["name"] == container).unwrap_or(&Value::Null)
}

/// One look at a namespace.
pub struct Sample {
    /// How long after the first.
    pub at: Duration,
    /// `doctor -o json`.
    pub doctor: Value,
    /// `status -o json`.
    pub status: Value,
    /// The commands that read logs among those that doctor recommended, carried out as printed.
    pub logs: Vec<(String, Run)>,
    before: BTreeMap<String, Value>,
    after: BTreeMap<String, Value>,
    /// When the last event about a failed probe of each pod happened, of those there were when this sample began.
    killed: BTreeMap<String, Timestamp>,
}

impl Sample {
    /// What a container did when the commands of this sample began.
    pub fn began(&self, pod: &str, container: &str) -> Phase {
        phase_of(&self.before, pod, container)
    }

    /// Whether an event says why the container ended the last time: a kubelet writes it at its leisure.
    pub fn knows_why_it_ended(&self, pod: &str, container: &str) -> bool {
        let own = own_status(self.before.get(pod).unwrap_or(&Value::Null), container);
        let ends = ["state", "lastState"].map(|state| own[state]["terminated"]["finishedAt"].as_str());
        let ended = ends.into_iter().flatten().filter_map(|at| at.parse::<Timestamp>().ok()).max();
        ended.is_some_and(|ended| {
            self.killed
                .get(pod)
                .is_some_and(|said| ended.duration_since(*said) < SignedDuration::from_secs(4))
        })
    }

    /// What it did all through the sample; `None` if that changed meanwhile.
    pub fn phase(&self, pod: &str, container: &str) -> Option<Phase> {
        let after = phase_of(&self.after, pod, container);
        Some(self.began(pod, container)).filter(|before| *before == after)
    }

    /// The pod on which this set is stuck, as `status` says.
    pub fn stuck_on(&self, set: &str) -> Option<&str> {
        let all = self.status["items"].as_array()?;
        all.iter().find(|own| own["metadata"]["name"] == set)?["stuckOn"].as_str()
    }

    /// What doctor finds about an object of this name.
    pub fn findings(&self, name: &str) -> Vec<&Value> {
        let all = self.doctor["findings"].as_array().into_iter().flatten();
        all.filter(|finding| finding["object"]["name"] == name).collect()
    }
}

/// Looks at a namespace every 300 ms with kubectl, `doctor` and `status`, until each phase of each container was seen that
/// many times, each time with another phase in between. With three restarts that is every phase of every restart.
#[track_caller]
pub fn sample(ns: &Namespace, followed: &[Followed<'_>], rounds: usize) -> Vec<Sample> {
    let began = Instant::now();
    let mut samples: Vec<Sample> = Vec::new();
    let mut visits = Visits::new(followed, rounds);
    // How often a command for a log was carried out in a phase that did not end meanwhile.
    let mut read: BTreeMap<String, usize> = BTreeMap::new();
    let about =
        |line: &str| followed.iter().find(|own| line.starts_with(&format!("kubectl logs {} ", own.pod)));
    let key = |phase: &Phase, line: &str| format!("{}: {line}", phase.state);
    loop {
        let next = Instant::now() + INTERVAL;
        let sample = look(ns, began.elapsed(), |pods, line| {
            let Some(own) = about(line) else { return false };
            let key = key(&phase_of(pods, own.pod, own.container), line);
            read.get(&key).is_none_or(|count| *count < rounds)
        });
        for (line, _) in &sample.logs {
            // The same state of the next restart is not the same phase: such a sample says nothing about either.
            if let Some(phase) = about(line).and_then(|own| sample.phase(own.pod, own.container)) {
                *read.entry(key(&phase, line)).or_default() += 1;
            }
        }
        for (index, own) in followed.iter().enumerate() {
            if let Some(phase) = sample.phase(own.pod, own.container) {
                visits.count(index, &phase.state);
            }
        }
        samples.push(sample);
        let missing = visits.missing();
        if missing.is_empty() {
            return samples;
        }
        assert!(
            began.elapsed() < DEADLINE,
            "after {DEADLINE:?} these phases were not seen {rounds} times: {missing}\n{}",
            followed.iter().map(|own| course(&samples, own.pod, own.container)).collect::<String>()
        );
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// What the container of one of these pods does.
fn phase_of(pods: &BTreeMap<String, Value>, pod: &str, container: &str) -> Phase {
    Phase::of(pods.get(pod).unwrap_or(&Value::Null), container)
}

/// One sample. Commands take time, in which phases pass: those for logs are carried out only if they are wanted.
fn look(ns: &Namespace, at: Duration, wanted: impl Fn(&BTreeMap<String, Value>, &str) -> bool) -> Sample {
    let json = |run: &Run| {
        serde_json::from_str::<Value>(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"))
    };
    let pods = || {
        let all = ns.kubectl_json(&["get", "pods"])["items"].take();
        let named =
            |pod: &Value| (pod["metadata"]["name"].as_str().unwrap_or_default().to_owned(), pod.clone());
        all.as_array().into_iter().flatten().map(named).collect()
    };
    let before = pods();
    let events = ns.kubectl_json(&["get", "events"])["items"].take();
    let mut killed = BTreeMap::new();
    let is_kill = |event: &&Value| {
        let is_readiness = event["message"].as_str().is_some_and(|text| text.starts_with("Readiness"));
        event["reason"] == "Unhealthy" && !is_readiness
    };
    for event in events.as_array().into_iter().flatten().filter(is_kill) {
        let at = event["lastTimestamp"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        let pod = event["involvedObject"]["name"].as_str().unwrap_or_default().to_owned();
        killed.extend(at.filter(|at| killed.get(&pod).is_none_or(|known| known < at)).map(|at| (pod, at)));
    }
    let doctor = json(&ns.sts(&["doctor", "-o", "json"]));
    let tries =
        doctor["findings"].as_array().into_iter().flatten().filter_map(|finding| finding["try"].as_array());
    let reads = tries.flatten().filter_map(Value::as_str).filter(|line| wanted(&before, line));
    let logs = reads.map(|line| (line.to_owned(), ns.shell(line))).collect();
    let after = pods();
    let status = json(&ns.sts(&["status", "-o", "json"]));
    Sample { at, doctor, status, logs, before, after, killed }
}

/// Counts how often each phase was come to.
struct Visits<'a> {
    followed: &'a [Followed<'a>],
    rounds: usize,
    last: Vec<String>,
    counts: Vec<BTreeMap<String, usize>>,
}

impl<'a> Visits<'a> {
    fn new(followed: &'a [Followed<'a>], rounds: usize) -> Self {
        let (last, counts) = (vec![String::new(); followed.len()], vec![BTreeMap::new(); followed.len()]);
        Self { followed, rounds, last, counts }
    }

    fn count(&mut self, index: usize, state: &str) {
        if self.last[index] != state {
            state.clone_into(&mut self.last[index]);
            *self.counts[index].entry(state.to_owned()).or_default() += 1;
        }
    }

    /// What has not been seen often enough; empty at the end.
    fn missing(&self) -> String {
        let mut text = String::new();
        for (own, counts) in self.followed.iter().zip(&self.counts) {
            for phase in own.phases {
                let seen = counts.get(*phase).copied().unwrap_or(0);
                if seen < self.rounds {
                    let _ = write!(text, "{}/{}: {phase} ({seen}) ", own.pod, own.container);
                }
            }
        }
        text
    }
}

/// What was seen of a container and said about its pod, a line for each sample.
pub fn course(samples: &[Sample], pod: &str, container: &str) -> String {
    let mut text = String::new();
    for sample in samples {
        let began = sample.began(pod, container);
        let moved = if sample.phase(pod, container).is_none() { " …" } else { "" };
        let _ = write!(
            text,
            "{:6.1}s {pod} {} {}{}{moved}:",
            sample.at.as_secs_f32(),
            began.state,
            began.restarts,
            if began.ready { " Ready" } else { "" }
        );
        for finding in sample.findings(pod) {
            let _ = write!(text, " {} {} {}", finding["code"], finding["severity"], finding["because"]);
        }
        let set = pod.rsplit_once('-').map_or(pod, |(set, _)| set);
        let _ = write!(text, " (stuck on {})", sample.stuck_on(set).unwrap_or("nothing"));
        text.push('\n');
    }
    text
}

/// From the first sample on in which this is true of the container, each sample that shows what is to be known has this one
/// error about the pod, and each of these words is in its reasons. Else it gives what was seen.
pub fn stays(
    samples: &[Sample],
    pod: &str,
    container: &str,
    since: impl Fn(&Phase) -> bool,
    shows: impl Fn(&Sample) -> bool,
    code: &str,
    words: &[&str],
) -> Result<(), String> {
    let first = samples.iter().position(|sample| since(&sample.began(pod, container)));
    let first = first.ok_or_else(|| format!("its time never came\n{}", course(samples, pod, container)))?;
    let shown: Vec<&Sample> = samples[first..].iter().filter(|sample| shows(sample)).collect();
    if shown.len() < 3 {
        return Err(format!("only {} samples show it\n{}", shown.len(), course(samples, pod, container)));
    }
    for sample in shown {
        let errors: Vec<_> =
            sample.findings(pod).into_iter().filter(|finding| finding["severity"] == "error").collect();
        let because = errors.first().map(|finding| finding["because"].to_string()).unwrap_or_default();
        let right =
            errors.len() == 1 && errors[0]["code"] == code && words.iter().all(|word| because.contains(word));
        if !right {
            return Err(format!(
                "{pod} at {:.1}s: not the one error {code} with {words:?}\n{}",
                sample.at.as_secs_f32(),
                course(samples, pod, container)
            ));
        }
    }
    Ok(())
}

/// Every command for the log of this pod printed this, in every phase that did not change under it, and there was one in
/// more than one phase.
pub fn logs_print(samples: &[Sample], pod: &str, container: &str, text: &str) -> Result<(), String> {
    let mut phases: Vec<String> = Vec::new();
    for sample in samples {
        let Some(phase) = sample.phase(pod, container) else { continue };
        let about = format!("kubectl logs {pod} ");
        for (line, run) in sample.logs.iter().filter(|(line, _)| line.starts_with(&about)) {
            if run.code != 0 || run.stdout != text {
                return Err(format!("{phase:?}: {line}\n{run}"));
            }
            phases.push(phase.state.clone());
        }
    }
    phases.sort();
    phases.dedup();
    let enough = phases.len() > 1;
    enough.then_some(()).ok_or_else(|| {
        format!("a log was recommended in {phases:?} only\n{}", course(samples, pod, container))
    })
}

/// A set of one replica with its Service; its container is named `main`.
fn set(name: &str, annotations: &str, container: &str, pod: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{clusterIP: None, selector: {{app: \
         {name}}}}}}}\n---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: {name}}}\nspec:\n  serviceName: \
         {name}\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}, \
         annotations: {{fake.test/moment: 4s, fake.test/down: 4s, fake.test/log: 'FATAL: no', {annotations}}}}}\n    spec:\n      \
         terminationGracePeriodSeconds: 1\n      {pod}\n      containers: [{{name: main, image: 'web:1', {container}}}]\n"
    )
}

/// The phases of a container that runs for a while each time.
const RUNS: &[&str] = &["running", "terminated", "CrashLoopBackOff"];

/// One failing set: its manifest, its container, its phases, and the error it has in each of them once it has been
/// restarted three times.
struct Case<'a> {
    name: &'a str,
    mode: &'a str,
    container: &'a str,
    spec: [&'a str; 2],
    phases: &'a [&'a str],
    code: &'a str,
    words: &'a [&'a str],
    logs: bool,
}

#[test]
fn an_error_stays_in_every_phase_with_its_code_and_its_cause() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("phases");
    let crash = Case {
        name: "crash",
        mode: "crashloop, fake.test/up: 4s, fake.test/exit-code: '3'",
        container: "main",
        spec: ["", ""],
        phases: RUNS,
        code: "STS402",
        words: &["container main exited with code 3"],
        logs: true,
    };
    let probe = "readinessProbe: {tcpSocket: {port: 80}}";
    let cases = [
        Case { name: "at-once", mode: "crashloop, fake.test/exit-code: '3'", phases: &RUNS[1..], ..crash },
        Case { name: "probed", spec: [probe, ""], ..crash },
        Case {
            name: "init",
            mode: "init-fail, fake.test/up: 4s",
            container: "setup",
            spec: ["", "initContainers: [{name: setup, image: 'setup:1'}]"],
            code: "STS403",
            words: &["setup"],
            ..crash
        },
        Case {
            name: "oom",
            mode: "oom, fake.test/up: 4s",
            spec: ["resources: {limits: {memory: 64Mi}}", ""],
            code: "STS407",
            words: &["64Mi"],
            logs: false,
            ..crash
        },
        Case {
            name: "no-command",
            mode: "starterror",
            spec: ["command: [postgers]", ""],
            phases: &["RunContainerError", "CrashLoopBackOff"],
            words: &["executable file not found"],
            logs: false,
            ..crash
        },
        Case {
            name: "pull",
            mode: "imagepull",
            phases: &["ErrImagePull", "ImagePullBackOff"],
            code: "STS401",
            words: &["not found"],
            logs: false,
            ..crash
        },
        crash,
    ];
    let manifest: String = cases
        .iter()
        .map(|case| {
            let annotations = format!("fake.test/restarts: '3', fake.test/mode: {}", case.mode);
            set(case.name, &annotations, case.spec[0], case.spec[1])
        })
        .collect();
    ns.apply(&manifest);
    let pods: Vec<String> = cases.iter().map(|case| format!("{}-0", case.name)).collect();
    let followed: Vec<Followed<'_>> = cases
        .iter()
        .zip(&pods)
        .map(|(case, pod)| Followed { pod, container: case.container, phases: case.phases })
        .collect();
    let samples = sample(&ns, &followed, 3);
    let mut wrong = String::new();
    for (case, pod) in cases.iter().zip(&pods) {
        let due = |phase: &Phase| phase.restarts >= 3 || phase.state == "ImagePullBackOff";
        let stays = stays(&samples, pod, case.container, due, |_| true, case.code, case.words);
        let prints = match case.logs {
            true => logs_print(&samples, pod, case.container, "FATAL: no\n"),
            false => Ok(()),
        };
        for error in [stays, prints].into_iter().filter_map(Result::err) {
            let _ = writeln!(wrong, "{error}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
