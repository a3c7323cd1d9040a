//! What the commands say in every phase of a restart. A container that keeps failing shows different states in turn, and a
//! finding that is there in one of them only comes and goes before the reader's eyes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Namespace, Run};

/// How often a namespace is looked at.
const INTERVAL: Duration = Duration::from_millis(300);

/// How long all the phases of all the restarts may take.
const DEADLINE: Duration = Duration::from_secs(240);

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
        let all =
            ["initContainerStatuses", "containerStatuses"].iter().filter_map(|key| status[key].as_array());
        let Some(own) = all.flatten().find(|own| own["name"] == container) else { return Self::default() };
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
}

impl Sample {
    /// What a container did when the commands of this sample began.
    pub fn began(&self, pod: &str, container: &str) -> Phase {
        Phase::of(self.before.get(pod).unwrap_or(&Value::Null), container)
    }

    /// What it did all through the sample; `None` if that changed meanwhile.
    pub fn phase(&self, pod: &str, container: &str) -> Option<Phase> {
        let after = Phase::of(self.after.get(pod).unwrap_or(&Value::Null), container);
        Some(self.began(pod, container)).filter(|before| *before == after)
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
    loop {
        let next = Instant::now() + INTERVAL;
        let sample = look(ns, began.elapsed());
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

fn look(ns: &Namespace, at: Duration) -> Sample {
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
    let doctor = json(&ns.sts(&["doctor", "-o", "json"]));
    let tries =
        doctor["findings"].as_array().into_iter().flatten().flat_map(|finding| finding["try"].as_array());
    let reads = tries.flatten().filter_map(Value::as_str).filter(|line| line.starts_with("kubectl logs "));
    let logs = reads.map(|line| (line.to_owned(), ns.shell(line))).collect();
    let after = pods();
    let status = json(&ns.sts(&["status", "-o", "json"]));
    Sample { at, doctor, status, logs, before, after }
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
        text.push('\n');
    }
    text
}

/// From the first sample on in which this is true of the container, each sample has this one error about the pod, and
/// each of these words is in its reasons.
#[track_caller]
pub fn stays(
    samples: &[Sample],
    pod: &str,
    container: &str,
    since: impl Fn(&Phase) -> bool,
    code: &str,
    words: &[&str],
) {
    let first = samples.iter().position(|sample| since(&sample.began(pod, container)));
    let first = first.unwrap_or_else(|| panic!("its time never came\n{}", course(samples, pod, container)));
    for sample in &samples[first..] {
        let errors: Vec<_> =
            sample.findings(pod).into_iter().filter(|finding| finding["severity"] == "error").collect();
        let because = errors.first().map(|finding| finding["because"].to_string()).unwrap_or_default();
        let right =
            errors.len() == 1 && errors[0]["code"] == code && words.iter().all(|word| because.contains(word));
        assert!(
            right,
            "{pod} at {:.1}s: not the one error {code} with {words:?}\n{}",
            sample.at.as_secs_f32(),
            course(samples, pod, container)
        );
    }
}

/// Every command for a log, in every phase that did not change under it, printed this.
#[track_caller]
pub fn logs_print(samples: &[Sample], pod: &str, container: &str, text: &str) {
    let mut phases: Vec<String> = Vec::new();
    for sample in samples {
        let Some(phase) = sample.phase(pod, container) else { continue };
        let about = format!("kubectl logs {pod} ");
        for (line, run) in sample.logs.iter().filter(|(line, _)| line.starts_with(&about)) {
            assert!(run.code == 0 && run.stdout == text, "{phase:?}: {line}\n{run}");
            phases.push(phase.state.clone());
        }
    }
    phases.sort();
    phases.dedup();
    assert!(
        phases.len() > 1,
        "a log was recommended in {phases:?} only\n{}",
        course(samples, pod, container)
    );
}
