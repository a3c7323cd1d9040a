//! What the commands ask the API server for, counted on the way to the real one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::{self, Namespace, Run};

/// `kubectl proxy`, which speaks plain HTTP, and a relay in front of it that notes the request lines.
struct Counter {
    proxy: Child,
    address: String,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Counter {
    fn start(ns: &Namespace) -> Counter {
        let mut command = ns.cluster.plane.kubectl();
        let mut proxy = command.args(["proxy", "--port=0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(proxy.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let upstream = line.trim().rsplit(' ').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&lines);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(&upstream).unwrap();
                let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
                let noted = Arc::clone(&noted);
                thread::spawn(move || note(client, server, &noted));
            }
        });
        Counter { proxy, address, lines }
    }

    /// The requests of one command, sorted.
    fn of(&self, ns: &Namespace, args: &[&str]) -> (Run, Vec<String>) {
        self.lines.lock().unwrap().clear();
        let run = ns.sts(&[&["--server", &self.address], args].concat());
        let mut lines = std::mem::take(&mut *self.lines.lock().unwrap());
        lines.sort();
        (run, lines)
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

/// Passes requests on; none has a body, so that each line that ends in a version begins one.
fn note(mut client: TcpStream, mut server: TcpStream, lines: &Mutex<Vec<String>>) {
    let mut pending = Vec::new();
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = client.read(&mut bytes) {
        pending.extend_from_slice(&bytes[..length]);
        while let Some(end) = pending.windows(2).position(|pair| pair == b"\r\n") {
            let line = String::from_utf8_lossy(&pending[..end]).into_owned();
            pending.drain(..end + 2);
            if let Some(line) = line.strip_suffix(" HTTP/1.1") {
                lines.lock().unwrap().push(line.to_owned());
            }
        }
        if server.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Write);
}

#[test]
fn one_list_a_kind_however_many_sets_there_are() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.postgres("requests");
    let counter = Counter::start(&ns);
    let core = |kind: &str| format!("GET /api/v1/namespaces/{}/{kind}", ns.name);
    let apis = |group: &str, kind: &str| format!("GET /apis/{group}/namespaces/{}/{kind}", ns.name);
    let mut healthy = vec![
        core("events?fieldSelector=type!%3DNormal"),
        core("persistentvolumeclaims"),
        core("pods"),
        core("services"),
        apis("apps/v1", "controllerrevisions"),
        apis("apps/v1", "statefulsets"),
        apis("autoscaling/v2", "horizontalpodautoscalers"),
        apis("discovery.k8s.io/v1", "endpointslices"),
        apis("policy/v1", "poddisruptionbudgets"),
        "GET /api/v1/persistentvolumes".to_owned(),
        "GET /apis/storage.k8s.io/v1/storageclasses".to_owned(),
        "GET /version".to_owned(),
    ];
    healthy.sort();
    for args in [&["status"][..], &["status", "postgres"], &["doctor"]] {
        let (run, requests) = counter.of(&ns, args);
        assert_eq!(run.code, 0, "{run}");
        assert_eq!(requests, healthy, "of {args:?}");
    }

    // What is shown of them, and nothing of what proves who asks.
    let (run, requests) = counter.of(&ns, &["status", "--trace"]);
    let shown = |line: &str| {
        let (request, end) = line.split_once(": 200 in ").unwrap_or_else(|| panic!("{line}: {run}"));
        assert!(end.strip_suffix(" ms").is_some_and(|time| time.parse::<u64>().is_ok()), "{line}");
        request.to_owned()
    };
    let mut lines: Vec<String> = run.stderr.lines().map(shown).collect();
    lines.sort();
    assert_eq!((run.code, lines), (0, requests), "{run}");
    let run = ns.sts(&["status", "--trace", "--token", "s3cret-token"]).code(3);
    assert!(run.stderr.contains(": 401 in ") && !run.stderr.contains("s3cret"), "{run}");

    // Another set, and faults that make further kinds worth reading: a pod that is not ready, one that is missing, a
    // claim that is left over.
    ns.apply(&include_str!("manifests/postgres.yaml").replace("postgres", "other"));
    ns.wait_ready("other", 3);
    ns.kubectl(&["scale", "statefulset/postgres", "--replicas=2"]).ok();
    ns.kubectl(&["set", "image", "statefulset/other", "other=registry.does.not.exist/other:1"]).ok();
    ns.wait_pod_status("other-2", "ImagePullBackOff");
    ns.kubectl(&["delete", "pod", "other-1"]).ok();
    ns.wait("the second round", support::PATIENCE, || {
        let (_, requests) = counter.of(&ns, &["doctor"]);
        let further: Vec<String> =
            requests.iter().filter(|request| !healthy.contains(request)).cloned().collect();
        assert_eq!(requests.len(), healthy.len() + further.len(), "nothing is asked for twice");
        assert!(further.iter().all(|request| request.starts_with("GET ")), "{further:?}");
        let nodes = further.contains(&"GET /api/v1/nodes".to_owned());
        // Eight lists of what else may name or hold the claim that is left over, and the groups of a server without
        // VolumeSnapshots.
        let around = further.iter().any(|request| request.ends_with("/cronjobs"));
        if nodes && around && further.len() <= 2 + 9 { Ok(()) } else { Err(format!("{further:?}")) }
    });
    let (_, requests) = counter.of(&ns, &["record"]);
    assert_eq!(requests.len(), 21 + 9, "{requests:?}");
}

/// Verb, group, resource and whether it is in a namespace, of a request line; `None` for what every user may read.
fn access(request: &str) -> Option<(&'static str, String, String)> {
    // Every user may ask what is allowed. The body of such a question stands before the next request line.
    let request = request.rsplit_once('}').map_or(request, |(_, line)| line);
    if request == "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews" {
        return None;
    }
    let target = request.strip_prefix("GET ").unwrap_or_else(|| panic!("{request}"));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (group, rest) = match path.strip_prefix("/api/v1/") {
        Some(rest) => ("", rest),
        None => {
            let (group, rest) = path.strip_prefix("/apis/")?.split_once('/')?;
            (group, rest.split_once('/')?.1)
        }
    };
    let parts: Vec<&str> = rest.split('/').collect();
    let parts = if parts.len() > 2 && parts[0] == "namespaces" { &parts[2..] } else { &parts[..] };
    let resource = parts.get(2).map_or(parts[0].to_owned(), |sub| format!("{}/{sub}", parts[0]));
    let verb = match parts.len() {
        1 if query.contains("watch=") => "watch",
        1 => "list",
        _ => "get",
    };
    Some((verb, group.to_owned(), resource))
}

/// What `auth` and the roles know of a command is what it asks for.
#[test]
fn each_request_is_among_the_needs_of_its_command() {
    use kubectl_sts::cluster::needs;
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.postgres("needs");
    ns.kubectl(&["scale", "statefulset/postgres", "--replicas=2"]).ok();
    ns.wait_rolled_out("postgres", 2);
    let counter = Counter::start(&ns);
    let image = "postgres=registry.example.com/postgres:17";
    let canary = ["canary", "postgres", "--partition", "1", "--image", image, "--dry-run=client"];
    let commands: [&[&str]; 10] = [
        &["status"],
        &["status", "postgres"],
        &["doctor"],
        &["record", "--logs"],
        &["history", "postgres"],
        &canary,
        &["undo", "postgres", "--dry-run=client"],
        &["recover", "postgres", "--dry-run=client"],
        &["prune-pvcs", "--dry-run=client"],
        &["watch", "postgres", "--stuck-after", "2s", "--timeout", "20s"],
    ];
    for args in commands {
        let of = |need: needs::Need| {
            let it = need.permission;
            let slash = if it.subresource.is_empty() { "" } else { "/" };
            (it.verb, it.group.to_owned(), format!("{}{slash}{}", it.resource, it.subresource))
        };
        if args[0] == "watch" {
            // A rollout that is complete is not followed.
            let broken = "postgres=registry.does.not.exist/postgres:1";
            ns.kubectl(&["set", "image", "statefulset/postgres", broken]).ok();
        }
        let needed: Vec<_> = needs::of(args[0]).into_iter().map(of).collect();
        let (run, requests) = counter.of(&ns, args);
        let asked: Vec<_> = requests.iter().filter_map(|request| access(request)).collect();
        assert!(asked.len() > 3, "{args:?} asks for little: {requests:?} {run}");
        for access in &asked {
            assert!(needed.contains(access), "{args:?} asks for {access:?}, which needs.rs does not have");
        }
        // The other way round where a command reads all that it ever reads.
        if ["record", "watch", "prune-pvcs"].contains(&args[0]) {
            let verb = if args[0] == "watch" { "watch" } else { "list" };
            for need in needed.iter().filter(|need| need.0 == verb) {
                assert!(asked.contains(need), "{args:?} never asks for {need:?}");
            }
        }
    }
}

/// One request for each finding that wants a log, and none where none is shown.
#[test]
fn a_log_is_asked_for_once_a_finding_and_only_where_it_is_shown() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("log-requests");
    ns.apply(
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: web}\nspec:\n  serviceName: web\n  replicas: 3\n  \
         podManagementPolicy: Parallel\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: \
         web}, annotations: {fake.test/mode: crashloop, fake.test/restarts: '6'}}\n    spec: {containers: [{name: main, image: \
         'a:1'}]}\n",
    );
    for pod in ["web-0", "web-1", "web-2"] {
        ns.wait_pod_status(pod, "CrashLoopBackOff");
    }
    let counter = Counter::start(&ns);
    let asked = |args: &[&str]| {
        let (_, requests) = counter.of(&ns, args);
        assert!(requests.iter().all(|request| request.starts_with("GET ")), "{requests:?}");
        requests.into_iter().filter(|request| request.contains("/log?")).collect::<Vec<_>>()
    };
    let once = [format!(
        "GET /api/v1/namespaces/{}/pods/web-0/log?container=main&tailLines=60&limitBytes=262144&previous=true",
        ns.name
    )];
    for args in [&["doctor"][..], &["doctor", "-o", "json"], &["status", "web"], &["record", "--logs"]] {
        assert_eq!(asked(args), once, "{args:?}");
    }
    assert!(asked(&["doctor", "--logs", "150"])[0].contains("tailLines=150"));
    for args in [
        &["doctor", "--no-logs"][..],
        &["doctor", "--logs", "0"],
        &["doctor", "-o", "name"],
        &["doctor", "-o", "sarif"],
        &["doctor", "--only", "STS101"],
        &["status"],
        &["status", "-o", "json"],
        &["record"],
        &["history", "web"],
    ] {
        assert_eq!(asked(args), Vec::<String>::new(), "{args:?}");
    }
}

/// They are no warnings, so they are asked for by name, and only where a probe may have killed a container.
#[test]
fn kills_are_asked_for_once_a_container_with_a_probe_was_restarted() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("kills");
    let set = |name: &str, mode: &str, probe: &str| {
        format!(
            "---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: {name}}}\nspec:\n  serviceName: {name}\n  \
             selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}, annotations: \
             {{fake.test/mode: {mode}, fake.test/up: 2s, fake.test/moment: 1s, fake.test/down: 1s}}}}\n    spec: \
             {{containers: [{{name: main, image: 'a:1', {probe}}}]}}\n"
        )
    };
    let probe = "livenessProbe: {tcpSocket: {port: 80}, periodSeconds: 1, failureThreshold: 1}";
    ns.apply(&(set("plain", "crashloop", "") + &set("well", "ready", probe)));
    ns.wait_pod("plain-0", "two restarts", |pod| {
        pod["status"]["containerStatuses"][0]["restartCount"].as_u64() >= Some(2)
    });
    let counter = Counter::start(&ns);
    let killing =
        format!("GET /api/v1/namespaces/{}/events?fieldSelector=reason%3DKilling,type%3DNormal", ns.name);
    let asked = |command: &str| {
        let (_, requests) = counter.of(&ns, &[command]);
        requests.iter().filter(|request| **request == killing).count()
    };
    for command in ["doctor", "status", "record"] {
        assert_eq!(asked(command), 0, "{command}");
    }
    ns.apply(&set("killed", "liveness", probe));
    ns.wait_pod("killed-0", "a restart", |pod| {
        pod["status"]["containerStatuses"][0]["restartCount"].as_u64() >= Some(1)
    });
    for command in ["doctor", "status", "record"] {
        assert_eq!(asked(command), 1, "{command}");
    }
}
