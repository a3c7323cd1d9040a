//! All that follows or asks, on all kinds of sets and outputs, ended in all ways: it ends, with the right exit code, and the
//! terminal is as it was found.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::terminal::{Pipe, Terminal};
use crate::support::{self, Namespace, PATIENCE};

/// Where the output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A terminal of 80x24.
    Large,
    /// A terminal of 60x15.
    Small,
    /// A pipe.
    Pipe,
    /// A pipe whose reader goes away.
    ClosedPipe,
}

/// How it is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The key, or the signal where that would not reach it.
    CtrlC,
    Terminate,
    /// The signal; on the small terminal it is closed instead.
    HangUp,
}

impl End {
    fn code(self) -> u32 {
        match self {
            End::CtrlC => 130,
            End::Terminate => 143,
            End::HangUp => 129,
        }
    }
}

/// Until when it runs before it is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// It has shown how things stand.
    Follows,
    /// It asks; it may refuse by itself where there is nothing to ask.
    Asks,
    /// A pod goes because of what it did, and another one is waited for.
    Waits,
}

#[derive(Clone)]
struct Row {
    args: Vec<String>,
    until: Until,
    place: Place,
    end: End,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} | {:?} | {:?}", self.args.join(" "), self.place, self.end)
    }
}

const PLACES: [Place; 4] = [Place::Large, Place::Small, Place::Pipe, Place::ClosedPipe];
const ENDS: [End; 3] = [End::CtrlC, End::Terminate, End::HangUp];

/// What all rows of one command on one set ended with.
type Seen = Mutex<BTreeMap<String, usize>>;

impl Row {
    fn run(&self, ns: &Namespace, folder: &Path, number: usize, asked: &Seen) -> Result<(), String> {
        let size = if self.place == Place::Small { (15, 60) } else { (24, 80) };
        let piped = matches!(self.place, Place::Pipe | Place::ClosedPipe);
        let path = folder.join(number.to_string());
        let mut pipe = piped.then(|| Pipe::at(&path));
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let mut terminal = Terminal::start(&ns.sts_command(&args), size, piped.then_some(&path));
        let began = Instant::now();
        let reached = loop {
            let shown = pipe.as_ref().map_or(String::new(), Pipe::text);
            let said = terminal.text();
            if self.is_reached(&said, &shown) {
                break true;
            }
            if terminal.has_ended() {
                break false;
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("{self}: nothing to end; it wrote {said:?} {shown:?}"));
            }
            thread::sleep(Duration::from_millis(20));
        };
        if reached && (self.until != Until::Asks || asks(&terminal.text())) {
            *asked.lock().unwrap().entry(self.args[..2].join(" ")).or_default() += 1;
        } else if !reached && self.until != Until::Asks {
            let text = terminal.ended().text;
            return Err(format!("{self}: ended by itself: {text:?}"));
        }
        if self.place == Place::ClosedPipe
            && let Some(pipe) = &mut pipe
        {
            pipe.close();
        }
        match self.end {
            End::CtrlC if reached && self.place != Place::ClosedPipe => terminal.press("\x03"),
            End::CtrlC => terminal.signal(Signal::INT),
            End::Terminate => terminal.signal(Signal::TERM),
            End::HangUp if reached && self.place == Place::Small => terminal.close(),
            End::HangUp => terminal.signal(Signal::HUP),
        }
        let ended = terminal.ended();
        let shown = pipe.as_ref().map_or(String::new(), Pipe::all);
        let codes = match (reached, self.place) {
            (false, _) => vec![0, 1, 4],
            (true, Place::ClosedPipe) => vec![self.end.code(), 141],
            (true, _) => vec![self.end.code()],
        };
        if !codes.contains(&ended.code) {
            return Err(format!("{self}: exit code {}: {:?} {shown:?}", ended.code, ended.text));
        }
        if ended.after > Duration::from_secs(20) {
            return Err(format!("{self}: ended only after {:?}", ended.after));
        }
        // Nobody sees a terminal that is closed.
        let closed = reached && self.place == Place::Small && self.end == End::HangUp;
        if !closed {
            ended.left_as_found(&self.to_string());
        }
        for bad in ["panicked", "bug in kubectl-sts"] {
            if ended.text.contains(bad) {
                return Err(format!("{self}: {:?}", ended.text));
            }
        }
        // Of a closed pipe nobody reads the end.
        let end = if self.place == Place::ClosedPipe { "" } else { shown.as_str() };
        let all = format!("{}{end}", ended.text);
        if self.until == Until::Waits && !closed && !all.contains("done:") {
            return Err(format!("{self}: nobody is told what was done: {all:?}"));
        }
        let asked = self.until == Until::Asks && asks(&ended.text);
        if asked && !closed && !ended.text.contains("nothing was changed") {
            return Err(format!("{self}: nobody is told that nothing was done: {all:?}"));
        }
        Ok(())
    }

    /// Whether it has come to where it is to be ended; from what it said on the terminal, and showed in the pipe.
    fn is_reached(&self, said: &str, shown: &str) -> bool {
        let set = self.args.iter().find(|arg| !arg.starts_with('-') && **arg != self.args[0]);
        let name = set.map_or("", String::as_str);
        let on_terminal = matches!(self.place, Place::Large | Place::Small);
        let follows =
            if on_terminal { said.contains("\x1b[?2026l") } else { shown.contains(&format!("s  {name}: ")) };
        match self.until {
            Until::Follows => follows,
            // What was agreed to before is waited for without a question.
            Until::Asks => follows || asks(said),
            Until::Waits => (if on_terminal { said } else { shown }).contains(": deleted"),
        }
    }
}

fn asks(said: &str) -> bool {
    ["[y/N]", "Select PVCs to delete"].iter().any(|question| said.contains(question))
}

/// All ways to end a command.
fn rows(args: &[&str], until: Until) -> Vec<Row> {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let row = |place, end| Row { args: args.clone(), until, place, end };
    PLACES.into_iter().flat_map(|place| ENDS.map(|end| row(place, end))).collect()
}

/// A few at a time; all that went wrong.
fn run_all(ns: &Namespace, rows: &[Row], seen: &Seen, at_once: usize) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let Some(row) = rows.get(number) else { return };
                    let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        row.run(ns, folder.path(), number, seen)
                    }));
                    match run {
                        Ok(Ok(())) => {}
                        Ok(Err(why)) => wrong.lock().unwrap().push(why),
                        Err(panic) => {
                            let why = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                            wrong.lock().unwrap().push(format!("{row}: {why}"));
                        }
                    }
                }
            });
        }
    });
    wrong.into_inner().unwrap()
}

const SLOW: &str = "fake.test/ready-delay: 1h";
const BROKEN: &str = "fake.test/mode: imagepull";
const LINGER: &str = "fake.test/linger: 10m";

/// Its probe allows much time, or a slow pod would count as stuck.
fn set(name: &str, replicas: u32, annotations: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: {name}}}\nspec:\n  replicas: {replicas}\n  \
         serviceName: {name}\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: \
         {name}}}, annotations: {{{annotations}}}}}\n    spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: web, \
         image: \"web:1\", readinessProbe: {{tcpSocket: {{port: 80}}, failureThreshold: 1000}}}}]}}\n"
    )
}

/// A change of the template for `--patch`, from annotations.
fn change(annotations: &str) -> String {
    let pairs = annotations.split(", ").map(|pair| pair.split_once(": ").unwrap());
    let map: serde_json::Map<String, serde_json::Value> =
        pairs.map(|(key, value)| (key.to_owned(), value.into())).collect();
    serde_json::json!({"metadata": {"annotations": map}}).to_string()
}

/// Does the same for many, a few at a time.
fn at_once<T: Sync>(all: &[T], what: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(one) = all.get(next.fetch_add(1, Ordering::SeqCst)) {
                    what(one);
                }
            });
        }
    });
}

/// Waits for all pods of these names at once.
fn wait_pods(ns: &Namespace, what: &str, is_right: impl Fn(&str, &support::PodRow) -> bool, pods: &[String]) {
    ns.wait(what, PATIENCE, || {
        let all = ns.pods();
        let missing: Vec<&String> =
            pods.iter().filter(|pod| !all.get(*pod).is_some_and(|row| is_right(pod, row))).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} of {all:?}")) }
    });
}

/// What follows or asks, on sets that are healthy, moving and stuck.
fn watched(ns: &Namespace) -> Vec<Row> {
    let states = ["healthy", "moving", "stuck"];
    let mut rows_ = Vec::new();
    for state in states {
        rows_.extend(rows(&["watch", state, "--stable-for", "1h"], Until::Follows));
        rows_.extend(rows(&["status", state, "-w"], Until::Follows));
        for args in [
            &["canary", state, "--pods", "1", "--image", "web=web:7"][..],
            &["promote", state],
            &["abort", state],
            &["undo", state],
            &["recover", state],
        ] {
            rows_.extend(rows(args, Until::Asks));
        }
    }
    rows_.extend(rows(&["canary", "plain", "--pods", "1", "--image", "web=web:7"], Until::Asks));
    rows_.extend(rows(&["undo", "twice"], Until::Asks));
    rows_.extend(rows(&["recover", "trap"], Until::Asks));
    rows_.extend(rows(&["prune-pvcs", "claims"], Until::Asks));
    let claims = set("claims", 1, "").replace("spec:\n  replicas", "spec:\n  volumeClaimTemplates: [{metadata: {name: data}, \
        spec: {accessModes: [ReadWriteOnce], storageClassName: none, resources: {requests: {storage: 1Gi}}}}]\n  replicas");
    let mut yaml: String = states.iter().map(|state| set(state, 2, "")).collect();
    yaml.push_str(&(set("plain", 1, "") + &set("twice", 1, "") + &set("trap", 1, "") + &claims));
    for replica in 1..3 {
        yaml.push_str(&format!(
            "---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: data-claims-{replica}, labels: {{app: claims}}}}\n\
             spec: {{accessModes: [ReadWriteOnce], storageClassName: none, resources: {{requests: {{storage: 1Gi}}}}}}\n"
        ));
    }
    ns.apply(&yaml);
    let pods = ["healthy-0", "healthy-1", "moving-1", "stuck-1", "plain-0", "twice-0", "trap-0"];
    wait_pods(ns, "all to be ready", |_, row| row.ready == "1/1", &pods.map(str::to_owned));
    ns.apply(&set("twice", 1, "a: b"));
    ns.apply(&set("trap", 1, BROKEN));
    let canaries = [
        ("healthy", change("a: b"), "1h", 0),
        ("moving", change(SLOW), "4s", 124),
        ("stuck", change(BROKEN), "1h", 1),
    ];
    at_once(&canaries, |(name, change, timeout, code)| {
        let args = ["canary", name, "--partition", "1", "--patch", change, "--yes", "--stuck-after", "1s"];
        ns.sts(&[&args[..], &["--timeout", timeout]].concat()).code(*code);
    });
    wait_pods(ns, "the trap", |_, row| row.status == "ImagePullBackOff", &["trap-0".to_owned()]);
    ns.apply(&set("trap", 1, ""));
    rows_
}

/// What acts and then waits, each row on a set of its own: for a pod that takes long, or one that will never come.
fn acting(ns: &Namespace) -> Vec<Row> {
    let mut rows = Vec::new();
    let (mut first, mut second, mut third) = (String::new(), String::new(), String::new());
    let mut canaries: Vec<(String, String)> = Vec::new();
    let (mut pods, mut traps) = (Vec::new(), Vec::new());
    for (number, (place, end)) in
        PLACES.into_iter().flat_map(|place| ENDS.map(|end| (place, end))).enumerate()
    {
        // Each output and each signal meets both.
        let fate = if (number / 3 + number % 3) % 2 == 0 { SLOW } else { BROKEN };
        let mut row = |command: &str, name: &str, more: &[&str]| {
            let args = [&[command, name][..], more, &["--yes", "--stuck-after", "1h"]].concat();
            let args = args.iter().map(|arg| (*arg).to_owned()).collect();
            rows.push(Row { args, until: Until::Waits, place, end });
        };
        let name = |command: &str| format!("{command}-{number}");
        let canary = name("canary");
        first.push_str(&set(&canary, 1, ""));
        row("canary", &canary, &["--pods", "1", "--patch", &change(fate)]);
        let promote = name("promote");
        first.push_str(&set(&promote, 2, ""));
        let of_zero = fate.replace("mode:", "mode-0:").replace("delay:", "delay-0:");
        canaries.push((promote.clone(), change(&of_zero)));
        row("promote", &promote, &["--full"]);
        let abort = name("abort");
        first.push_str(&set(&abort, 2, ""));
        let lingers = if fate == BROKEN { format!("{BROKEN}, {LINGER}") } else { LINGER.to_owned() };
        canaries.push((abort.clone(), change(&lingers)));
        row("abort", &abort, &[]);
        let undo = name("undo");
        first.push_str(&set(&undo, 0, fate));
        second.push_str(&set(&undo, 1, ""));
        row("undo", &undo, &[]);
        let recover = name("recover");
        first.push_str(&set(&recover, 1, ""));
        second.push_str(&set(&recover, 1, &format!("{BROKEN}, {LINGER}")));
        third.push_str(&set(&recover, 1, ""));
        row("recover", &recover, &[]);
        pods.extend([&canary, &promote, &abort, &recover].map(|name| format!("{name}-0")));
        pods.extend([&promote, &abort].map(|name| format!("{name}-1")));
        traps.extend([format!("{recover}-0"), format!("{undo}-0")]);
    }
    ns.apply(&first);
    wait_pods(ns, "all to be ready", |_, row| row.ready == "1/1", &pods);
    ns.apply(&second);
    at_once(&canaries, |(name, change)| {
        let args = ["canary", name, "--partition", "1", "--patch", change, "--yes", "--stuck-after", "0s"];
        let run = ns.sts(&args);
        assert!([0, 1].contains(&run.code), "{run}");
    });
    let is_right = |pod: &str, row: &support::PodRow| {
        if pod.starts_with("recover") { row.status == "ImagePullBackOff" } else { row.ready == "1/1" }
    };
    wait_pods(ns, "the traps", is_right, &traps);
    ns.apply(&third);
    rows
}

#[test]
fn all_that_is_live_ends_in_every_way() {
    let Some(cluster) = support::cluster() else { return };
    let began = Instant::now();
    let (seen, acted) = (Seen::default(), Seen::default());
    let (wrong, sizes) = thread::scope(|scope| {
        let acts = scope.spawn(|| {
            let ns = cluster.namespace("matrix-acts");
            let rows = acting(&ns);
            let ready = began.elapsed();
            (run_all(&ns, &rows, &acted, 3), rows.len(), ready)
        });
        let ns = cluster.namespace("matrix");
        let rows = watched(&ns);
        let ready = began.elapsed();
        let before = ns.kubectl_json(&["get", "sts"]);
        let mut wrong = run_all(&ns, &rows, &seen, 3);
        // A question that was not answered has changed nothing.
        let after = ns.kubectl_json(&["get", "sts"]);
        for (before, after) in
            before["items"].as_array().unwrap().iter().zip(after["items"].as_array().unwrap())
        {
            assert_eq!(before["spec"], after["spec"]);
        }
        let (more, acts, acts_ready) = acts.join().unwrap();
        wrong.extend(more);
        (wrong, [(rows.len(), ready), (acts, acts_ready)])
    });
    support::controlplane::loud(&format!(
        "live matrix: {} rows that follow or ask (ready after {:.0?}), {} that act and wait (ready after {:.0?}); {:.0?} in all",
        sizes[0].0,
        sizes[0].1,
        sizes[1].0,
        sizes[1].1,
        began.elapsed()
    ));
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
    // Those that ask where they are to ask: or there was nothing to end.
    let seen = seen.into_inner().unwrap();
    for asks in [
        "canary plain",
        "promote healthy",
        "abort healthy",
        "abort moving",
        "abort stuck",
        "undo twice",
        "recover trap",
        "prune-pvcs claims",
    ] {
        assert_eq!(seen.get(asks), Some(&12), "{asks} asks: {seen:?}");
    }
}
