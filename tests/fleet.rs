//! A fleet of StatefulSets, generated and served: the same findings on every way, few requests, and the right result or a
//! clear error when an answer is not what it should be.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use k8s_pb::api;
use prost::Message;
use serde_json::{Value, json};

use crate::support::Run;
use crate::support::fleet::data::{Broken, Set};
use crate::support::fleet::kinds::{KINDS, Kind};
use crate::support::fleet::store::{Form, Query};
use crate::support::fleet::{DataSet, Fault, Options, Request, Scale, Server, protobuf};
use crate::support::terminal::Terminal;

/// Pods of the cluster: 60 StatefulSets, of which three are broken, each in another way.
const PODS: usize = 600;
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

fn data() -> &'static Arc<DataSet> {
    static DATA: OnceLock<Arc<DataSet>> = OnceLock::new();
    DATA.get_or_init(|| DataSet::generate(Scale::of_pods(PODS)))
}

fn sts(words: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
    command.args(words).env_clear().env("KUBECONFIG", "/dev/null").env("LANG", "C.UTF-8");
    Run::of(&mut command, "")
}

/// `doctor -A` on a server of this kind, and what it asked for.
fn doctor(options: Options) -> (Run, Vec<Request>) {
    let server = Server::start(data(), options);
    let run = sts(&["doctor", "-A", "--no-logs", "-o", "json", "--server", &server.address]);
    (run, server.requests())
}

fn faulty(choose: impl Fn(&Request, usize) -> Fault + Send + Sync + 'static) -> Options {
    Options { faults: Some(Arc::new(choose)), ..Options::default() }
}

/// What was found, without how it was read (commands to paste name the server), and when.
#[track_caller]
fn findings(run: &Run) -> Vec<Value> {
    assert!(run.code == 1, "findings are exit code 1\n{run}");
    let report: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
    let findings = report["findings"].as_array().unwrap_or_else(|| panic!("no findings\n{run}"));
    assert!(!findings.is_empty(), "{run}");
    let mut findings = findings.clone();
    findings.iter_mut().for_each(forget_the_server);
    findings
}

fn forget_the_server(value: &mut Value) {
    match value {
        Value::String(text) => {
            let mut words = Vec::new();
            let mut all = text.split(' ');
            while let Some(word) = all.next() {
                match word {
                    "--server" | "--kubeconfig" | "--context" => drop(all.next()),
                    _ if is_duration(word) => {}
                    _ => words.push(word),
                }
            }
            *text = words.join(" ");
        }
        Value::Array(values) => values.iter_mut().for_each(forget_the_server),
        Value::Object(fields) => fields.values_mut().for_each(forget_the_server),
        _ => {}
    }
}

/// Whether it is as in `2m58s`: a slow answer makes things a second older.
fn is_duration(word: &str) -> bool {
    let word = word.trim_end_matches([',', ';']);
    word.starts_with(|c: char| c.is_ascii_digit())
        && word.ends_with(['s', 'm', 'h', 'd'])
        && word.chars().all(|c| c.is_ascii_digit() || "smhd".contains(c))
}

/// What every way of reading must find.
fn expected() -> &'static [Value] {
    static EXPECTED: OnceLock<Vec<Value>> = OnceLock::new();
    EXPECTED.get_or_init(|| findings(&doctor(Options { protobuf: false, ..Options::default() }).0))
}

#[test]
fn every_fault_of_the_data_set_is_found_and_no_other() {
    let scale = data().scale;
    let sets: Vec<Set> = (0..scale.sets).map(|index| Set::of(index, scale)).collect();
    let about = |set: &Set, rule: &str| {
        expected().iter().any(|finding| {
            finding["rule"] == rule && finding["namespace"] == set.namespace && finding["set"] == set.name
        })
    };
    for set in &sets {
        let rule = match set.broken {
            Some(Broken::Unschedulable) => "unschedulable",
            Some(Broken::CrashLoop) => "crash-loop",
            Some(Broken::ImagePull) => "image-pull",
            None => continue,
        };
        assert!(about(set, rule), "{rule} of {} was not found in {:#?}", set.name, expected());
    }
    for set in sets.iter().filter(|set| set.index % 2 == 1) {
        assert!(about(set, "orphaned-claims"), "{}", set.name);
    }
    for finding in expected().iter().filter(|finding| finding["severity"] != "note") {
        let set = sets.iter().find(|set| finding["set"] == set.name && finding["namespace"] == set.namespace);
        let set = set.unwrap_or_else(|| panic!("of no StatefulSet: {finding:#}"));
        assert!(set.broken.is_some() || finding["rule"] == "orphaned-claims", "{finding:#}");
    }
}

#[test]
fn json_protobuf_tls_gzip_pages_and_a_recording_say_the_same() {
    let plain = Options::default;
    let (run, requests) = doctor(plain());
    assert_eq!(findings(&run), expected(), "a server that has protobuf");
    let asked = requests.iter().filter(|request| request.accept.contains(PROTOBUF)).count();
    assert!(asked > 10, "{requests:#?}");
    let (run, requests) = doctor(Options { page: Some(50), ..plain() });
    assert_eq!(findings(&run), expected(), "pages");
    assert!(requests.iter().any(|request| !request.get("continue").is_empty()), "{requests:#?}");

    let folder = tempfile::tempdir().unwrap();
    let authority = crate::support::fleet::http::authority();
    let config = folder.path().join("config");
    let server = Server::start(data(), Options { tls: true, ..plain() });
    let text = json!({"apiVersion": "v1", "kind": "Config", "current-context": "fleet",
        "clusters": [{"name": "fleet", "cluster": {"server": server.address, "certificate-authority": authority,
            "disable-compression": false}}],
        "users": [{"name": "fleet", "user": {}}],
        "contexts": [{"name": "fleet", "context": {"cluster": "fleet", "user": "fleet"}}]});
    std::fs::write(&config, text.to_string()).unwrap();
    let run = sts(&["doctor", "-A", "--no-logs", "-o", "json", "--kubeconfig", config.to_str().unwrap()]);
    assert_eq!(findings(&run), expected(), "TLS and gzip");
    let requests = server.requests();
    assert!(requests.iter().any(|request| request.is_compressed), "{requests:#?}");

    let server = Server::start(data(), plain());
    let file = folder.path().join("fleet.yaml");
    let file = file.to_str().unwrap();
    sts(&["record", "-A", "--server", &server.address, "--to", file]).ok();
    let run = sts(&["doctor", "-A", "--no-logs", "-o", "json", "--from", file]);
    assert_eq!(findings(&run), expected(), "a recording");
    // Of protobuf some parts of other workloads' pods are not even decoded, which are dropped of JSON afterwards.
    let recorded = |protobuf: bool| {
        let server = Server::start(data(), Options { protobuf, ..Options::default() });
        let run = sts(&["record", "-A", "-o", "json", "--server", &server.address]);
        serde_json::from_str::<Value>(&run.ok()).unwrap()["objects"].as_array().unwrap().clone()
    };
    let (protobuf, text) = (recorded(true), recorded(false));
    let is_of_replica_set = |object: &Value| object["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet";
    assert!(protobuf.iter().any(is_of_replica_set));
    assert_eq!(protobuf.len(), text.len());
    for (one, other) in protobuf.iter().zip(&text) {
        assert_eq!(one, other);
    }
}

#[test]
fn who_waits_sees_what_was_read_until_now() {
    let slow = Options { latency: Duration::from_millis(600), ..Options::default() };
    let server = Server::start(data(), slow);
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
    command.args(["doctor", "-A", "--no-logs", "--server", &server.address]);
    command.env_clear().env("KUBECONFIG", "/dev/null");
    let terminal = Terminal::start(&command, (15, 60), None).ended();
    let told = terminal.text.split("reading: ").skip(1);
    let told: Vec<&str> = told.filter_map(|rest| Some(rest.split_once(" (")?.0)).collect();
    let last = told.last().unwrap_or_else(|| panic!("nothing is told: {:?}", terminal.text));
    let [lists, objects, bytes] = last.split(", ").collect::<Vec<_>>()[..] else { panic!("{last:?}") };
    assert!(lists.contains(" of ") && lists.ends_with(" lists"), "{last:?}");
    assert!(objects.ends_with(" objects") && !objects.starts_with('0'), "{last:?}");
    assert!(bytes.ends_with(" MB"), "{last:?}");
    assert!(!terminal.text.ends_with(last) && terminal.text.contains("STS"), "{:?}", terminal.text);
    // Nobody waits at a pipe.
    command.env("LANG", "C.UTF-8");
    let piped = Run::of(&mut command, "");
    assert!(!piped.stderr.contains("reading") && !piped.stdout.contains("reading"), "{piped}");
}

#[test]
fn a_larger_fleet_needs_no_more_requests() {
    let count = |data: &Arc<DataSet>| {
        let server = Server::start(data, Options::default());
        let run = sts(&["doctor", "-A", "--server", &server.address]);
        assert_eq!(run.code, 1, "{run}");
        let requests = server.requests();
        assert!(requests.iter().all(|request| request.status == 200), "{requests:#?}");
        assert!(!requests.iter().any(Request::is_object), "single objects were read: {requests:#?}");
        let mut lists: Vec<String> =
            requests.iter().filter(|request| request.is_list()).map(|request| request.path.clone()).collect();
        lists.sort();
        lists
    };
    let small = count(&DataSet::generate(Scale::of_pods(350)));
    let large = count(data());
    // The small one has a pod that cannot be scheduled and one that crashes; the large one also an image that cannot be pulled.
    assert_eq!(small, large);
    assert!(large.len() <= 24, "{} lists: {large:#?}", large.len());
}

#[test]
fn a_busy_server_is_asked_again() {
    let busy = |request: &Request, before: usize| {
        if request.path.ends_with("/pods") && before == 0 { Fault::Busy(1) } else { Fault::None }
    };
    let (run, requests) = doctor(faulty(busy));
    assert_eq!(findings(&run), expected());
    // The pods of ReplicaSets are another list, read afterwards.
    let answers: Vec<u16> = requests
        .iter()
        .filter(|request| request.path.ends_with("/pods") && request.get("labelSelector").starts_with('!'))
        .map(|request| request.status)
        .collect();
    assert_eq!(answers, [429, 200]);
}

#[test]
fn a_list_that_is_cut_off_is_never_taken_for_a_whole_one() {
    for kind in ["Pod", "PersistentVolumeClaim", "StatefulSet"] {
        let suffix = format!("/{}s", kind.to_lowercase());
        let cut = move |request: &Request, _| match request.path.ends_with(&suffix) {
            true => Fault::Cut,
            false => Fault::None,
        };
        let (run, _) = doctor(faulty(cut));
        unread(&run, kind);
    }
}

/// Asserts that the output says that this kind was not read, and that no finding depends on it.
#[track_caller]
fn unread(run: &Run, kind: &str) {
    if kind == "StatefulSet" {
        assert!(run.code > 1 && run.stdout.is_empty() && run.stderr.contains("StatefulSets"), "{run}");
        return;
    }
    let report: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
    let unread: Vec<&Value> =
        report["notLookedAt"].as_array().unwrap().iter().map(|it| &it["kind"]).collect();
    assert_eq!(unread, [kind], "{run}");
    assert!(report["notLookedAt"][0]["why"].as_str().is_some_and(|why| !why.is_empty()), "{run}");
    let of_pods = ["unschedulable", "crash-loop", "image-pull"];
    let findings = report["findings"].as_array().unwrap();
    let wrong = findings.iter().find(|finding| match kind {
        "Pod" => of_pods.iter().any(|rule| finding["rule"] == *rule),
        _ => finding["rule"] == "orphaned-claims",
    });
    assert!(wrong.is_none(), "{wrong:#?}");
}

#[test]
fn pages_that_expire_are_read_again_from_the_start() {
    let once = |request: &Request, before: usize| {
        let is_rest = !request.get("continue").is_empty();
        if request.path.ends_with("/pods") && is_rest && before < 3 { Fault::Gone } else { Fault::None }
    };
    let (run, requests) = doctor(Options { page: Some(50), ..faulty(once) });
    assert_eq!(findings(&run), expected());
    let pods = |request: &&Request| request.path.ends_with("/pods");
    assert!(requests.iter().filter(pods).any(|request| request.status == 410), "{requests:#?}");

    let always = |request: &Request, _| {
        let is_rest = !request.get("continue").is_empty();
        if request.path.ends_with("/pods") && is_rest { Fault::Gone } else { Fault::None }
    };
    let (run, requests) = doctor(Options { page: Some(50), ..faulty(always) });
    unread(&run, "Pod");
    let tries = requests.iter().filter(pods).count();
    assert!(tries < 20, "it was tried {tries} times");
}

#[test]
fn a_proxy_that_knows_only_json_does_not_matter() {
    let (run, requests) = doctor(faulty(|_, _| Fault::Strip));
    assert_eq!(findings(&run), expected());
    assert!(requests.iter().all(|request| request.content_type == "application/json"), "{requests:#?}");
    // One that refuses what it does not know: JSON is asked for then, or the refusal is shown.
    let (run, requests) = doctor(faulty(|_, _| Fault::Unacceptable));
    if requests.iter().any(|request| request.status == 406) && run.code > 1 {
        assert!(run.stdout.is_empty() && run.stderr.contains("media types"), "{run}");
    } else {
        assert_eq!(findings(&run), expected());
    }
}

#[test]
fn a_wrong_content_type_is_the_right_result_or_a_clear_error() {
    let (run, _) = doctor(faulty(|request, _| {
        if request.path.ends_with("/statefulsets") { Fault::Mislabelled } else { Fault::None }
    }));
    if run.code > 1 {
        assert!(run.stdout.is_empty(), "{run}");
        assert!(run.stderr.contains("StatefulSets"), "{run}");
    } else {
        assert_eq!(findings(&run), expected());
    }
}

/// The same bytes come out of k8s-pb again, which drops what it does not know: each number and type is right.
fn again<M: Message + Default>(bytes: &[u8]) -> Vec<u8> {
    M::decode(bytes).unwrap().encode_to_vec()
}

fn through_k8s_pb(kind: &Kind, bytes: &[u8]) -> Vec<u8> {
    match kind.kind {
        "Pod" => again::<api::core::v1::Pod>(bytes),
        "PersistentVolumeClaim" => again::<api::core::v1::PersistentVolumeClaim>(bytes),
        "PersistentVolume" => again::<api::core::v1::PersistentVolume>(bytes),
        "Service" => again::<api::core::v1::Service>(bytes),
        "Event" => again::<api::core::v1::Event>(bytes),
        "Node" => again::<api::core::v1::Node>(bytes),
        "Namespace" => again::<api::core::v1::Namespace>(bytes),
        "StatefulSet" => again::<api::apps::v1::StatefulSet>(bytes),
        "ControllerRevision" => again::<api::apps::v1::ControllerRevision>(bytes),
        "EndpointSlice" => again::<api::discovery::v1::EndpointSlice>(bytes),
        "StorageClass" => again::<api::storage::v1::StorageClass>(bytes),
        other => panic!("there are objects of {other}"),
    }
}

#[test]
fn protobuf_is_what_k8s_pb_reads_and_writes() {
    let data = DataSet::generate(Scale::of_pods(300));
    for kind in KINDS.iter().filter(|kind| !kind.message.is_empty()) {
        let query = |form| Query {
            plural: kind.plural,
            namespace: String::new(),
            labels: String::new(),
            fields: String::new(),
            form,
        };
        let items = data.store.view(&query(Form::Json)).unwrap();
        let text = std::fs::read(&items.path).unwrap();
        for index in 0..items.len() {
            let (from, to) = items.range(index, index + 1);
            let mut object: Value = serde_json::from_slice(
                &text[usize::try_from(from).unwrap() + 1..usize::try_from(to).unwrap()],
            )
            .unwrap();
            // prost leaves out empty values of maps, and Go writes them.
            for field in ["labels", "annotations"] {
                let map = object["metadata"].get_mut(field).and_then(Value::as_object_mut);
                map.into_iter()
                    .flatten()
                    .filter(|(_, value)| value.as_str() == Some(""))
                    .for_each(|(_, value)| *value = "-".into());
            }
            let bytes = protobuf::encode(kind.message, &object);
            assert!(through_k8s_pb(kind, &bytes) == bytes, "{} {object:#}", kind.kind);
        }
    }

    // A whole answer: the magic, a runtime.Unknown, and in it the list.
    let server = Server::start(&data, Options::default());
    let answer =
        get(&server, "/api/v1/pods?labelSelector=statefulset.kubernetes.io%2Fpod-name&limit=7", PROTOBUF);
    let unknown = answer.strip_prefix(protobuf::MAGIC).expect("the magic bytes");
    let unknown = k8s_pb::apimachinery::pkg::runtime::Unknown::decode(unknown).unwrap();
    let type_meta = unknown.type_meta.as_ref().unwrap();
    assert_eq!((type_meta.api_version(), type_meta.kind()), ("v1", "PodList"));
    let list = api::core::v1::PodList::decode(unknown.raw()).unwrap();
    assert_eq!(list.items.len(), 7);
    let meta = list.metadata.unwrap();
    assert!(!meta.r#continue().is_empty() && meta.remaining_item_count.is_none());
    for pod in &list.items {
        let meta = pod.metadata.as_ref().unwrap();
        assert_eq!(
            meta.labels.get("statefulset.kubernetes.io/pod-name").map(String::as_str),
            Some(meta.name())
        );
    }
}

/// The body of an answer, which is not too long.
fn get(server: &Server, target: &str, accept: &str) -> Vec<u8> {
    use std::io::{Read as _, Write as _};
    let host = server.address.trim_start_matches("http://");
    let mut socket = std::net::TcpStream::connect(host).unwrap();
    write!(socket, "GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n").unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    answer.split_off(end + 4)
}

#[test]
fn the_server_answers_in_pages_tables_and_metadata() {
    let server = Server::start(data(), Options::default());
    let json = |target: &str, accept: &str| -> Value {
        serde_json::from_slice(&get(&server, target, accept))
            .unwrap_or_else(|error| panic!("{target}: {error}"))
    };
    let plain = "application/json";
    let count = |list: &Value| list["items"].as_array().unwrap().len();
    let unhealthy = |list: &Value| {
        let waits = |pod: &&Value| pod["status"]["conditions"].to_string().contains("\"False\"");
        list["items"].as_array().unwrap().iter().filter(waits).count()
    };
    let pods = json("/api/v1/pods?limit=10&resourceVersion=0", plain);
    assert_eq!((count(&pods), unhealthy(&pods)), (PODS, data().unhealthy()), "without a limit");
    let of_sets = json("/api/v1/pods?labelSelector=statefulset.kubernetes.io/pod-name", plain);
    assert_eq!(count(&of_sets), PODS * 3 / 10);
    let headless = json("/api/v1/services?fieldSelector=spec.clusterIP%3DNone", plain);
    assert_eq!(count(&headless), PODS / 10);
    let slices = "/apis/discovery.k8s.io/v1/endpointslices?labelSelector=service.kubernetes.io%2Fheadless";
    assert_eq!(count(&json(slices, plain)), PODS / 10);
    let warnings = json("/api/v1/events?fieldSelector=type!%3DNormal", plain);
    assert!(
        count(&warnings) > 0
            && warnings["items"].as_array().unwrap().iter().all(|it| it["type"] == "Warning")
    );

    // Pages are the same objects in the same order.
    let mut names = Vec::new();
    let mut token = String::new();
    loop {
        let page = json(&format!("/api/v1/persistentvolumes?limit=70&continue={token}"), plain);
        names.extend(page["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].clone()));
        let Some(next) = page["metadata"]["continue"].as_str() else { break };
        next.clone_into(&mut token);
    }
    let all = json("/api/v1/persistentvolumes", plain);
    let all: Vec<Value> =
        all["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].clone()).collect();
    assert_eq!(names, all);

    let table = "application/json;as=Table;g=meta.k8s.io;v=v1,application/json";
    let volumes = json("/api/v1/persistentvolumes?includeObject=None", table);
    assert_eq!(volumes["kind"], "Table");
    let column =
        volumes["columnDefinitions"].as_array().unwrap().iter().position(|it| it["name"] == "Claim").unwrap();
    let row = &volumes["rows"][0];
    assert!(row["object"].is_null() && row["cells"][column].as_str().unwrap().contains('/'), "{row}");
    let meta = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let revisions = json("/apis/apps/v1/controllerrevisions", meta);
    assert_eq!(revisions["kind"], "PartialObjectMetadataList");
    assert!(
        revisions["items"][0]["metadata"]["labels"].is_object() && revisions["items"][0]["data"].is_null()
    );
}

#[test]
fn the_data_set_is_as_the_page_says() {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md")).unwrap();
    let scale = Scale::of_pods(10_000);
    assert_eq!(scale.pods(), 10_000);
    let number = |number: usize| match number {
        1000.. => format!("{},{:03}", number / 1000, number % 1000),
        _ => number.to_string(),
    };
    let rows = [
        ("StatefulSet", scale.sets),
        ("Pod", scale.pods()),
        ("Node", scale.nodes),
        ("Event", scale.sets * 3),
    ];
    for (kind, count) in rows {
        let row = format!("| {kind} | {} |", number(count));
        assert!(page.contains(&row), "the page has no {row}");
    }
}
