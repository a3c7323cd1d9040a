//! An answer that is not what was asked for is an error, and never "there are none".

use std::sync::Mutex;
use std::thread;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::stand_in::{Asked, KINDS, NAMESPACE, Said, StandIn, date, status, with_header};

/// What decides whether a PVC is needed.
const DECIDING: [&str; 12] = [
    "statefulsets",
    "pods",
    "persistentvolumeclaims",
    "persistentvolumes",
    "horizontalpodautoscalers",
    "deployments",
    "replicasets",
    "daemonsets",
    "jobs",
    "cronjobs",
    "replicationcontrollers",
    "volumeattachments",
];

/// Wrong answers to a list of this kind, by name.
fn wrong(plural: &str) -> Vec<(&'static str, Said)> {
    let (kind, version, _, namespaced) = KINDS.into_iter().find(|kind| kind.2 == plural).unwrap();
    let list = |items: Value| {
        json!({"kind": format!("{kind}List"), "apiVersion": version,
        "metadata": {"resourceVersion": "9"}, "items": items})
    };
    let namespace = if namespaced { NAMESPACE } else { "" };
    let item = |name: &str, namespace: &str, uid: &str| json!({"metadata": {"name": name, "namespace": namespace, "uid": uid}});
    let with = |change: &dyn Fn(&mut Value)| {
        let mut list = list(json!([]));
        change(&mut list);
        Said::json(200, &list)
    };
    let text = list(json!([])).to_string();
    let mut other = item("a", namespace, "u");
    other["kind"] = "ConfigMap".into();
    other["apiVersion"] = "v1".into();
    let elsewhere = if namespaced { "other" } else { NAMESPACE };
    let json_header = "content-type: application/json\r\n";
    vec![
        ("an empty object", Said::json(200, &json!({}))),
        ("an array", Said::json(200, &json!([]))),
        ("null", Said::json(200, &Value::Null)),
        ("nothing", Said::new(200, json_header, "")),
        ("a page", Said::new(200, "content-type: text/html\r\n", "<html>log in</html>")),
        (
            "a Status of success",
            Said::json(200, &json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})),
        ),
        ("a Status of failure", Said::json(200, &status(403, "Forbidden"))),
        ("another kind's list", with(&|list| list["kind"] = "ConfigMapList".into())),
        ("a list of anything", with(&|list| list["kind"] = "List".into())),
        ("another version", with(&|list| list["apiVersion"] = "v1alpha1".into())),
        ("no kind", with(&|list| drop(list.as_object_mut().unwrap().remove("kind")))),
        ("no apiVersion", with(&|list| drop(list.as_object_mut().unwrap().remove("apiVersion")))),
        ("no items", with(&|list| drop(list.as_object_mut().unwrap().remove("items")))),
        ("items null", with(&|list| list["items"] = Value::Null)),
        ("items an object", with(&|list| list["items"] = json!({}))),
        (
            "one object",
            Said::json(200, &json!({"kind": kind, "apiVersion": version, "metadata": {"name": "a"}})),
        ),
        ("an item of another kind", Said::json(200, &list(json!([other])))),
        ("an item without a name", Said::json(200, &list(json!([item("", namespace, "u")])))),
        ("an item without a uid", Said::json(200, &list(json!([item("a", namespace, "")])))),
        ("an item from elsewhere", Said::json(200, &list(json!([item("a", elsewhere, "u")])))),
        ("an item with a path for a name", Said::json(200, &list(json!([item("../a", namespace, "u")])))),
        ("an item that is none", Said::json(200, &list(json!([[]])))),
        (
            "an item twice",
            Said::json(200, &list(json!([item("a", namespace, "u"), item("a", namespace, "v")]))),
        ),
        ("items twice", Said::new(200, json_header, &text.replacen('{', "{\"items\":[],", 1))),
        ("pages without an end", with(&|list| list["metadata"]["continue"] = "more".into())),
        ("cut off", Said(Said::new(200, json_header, &text).0.trim_end_matches('}').to_owned())),
        ("more behind it", Said::new(200, json_header, &format!("{text}{{}}"))),
        ("another form", Said::new(200, "content-type: application/vnd.kubernetes.protobuf\r\n", &text)),
        ("not found", Said::json(404, &status(404, "NotFound"))),
        ("no such page", Said::new(404, "content-type: text/plain\r\n", "404 page not found\n")),
        ("a redirect", Said::new(302, "location: http://127.0.0.1:1/\r\n", "")),
    ]
}

fn stand_in(plural: &'static str, said: Said) -> StandIn {
    StandIn::start(move |asked: &Asked, right| {
        let answer = if asked.lists(plural) { said.clone() } else { right };
        with_header(&answer, &date(Timestamp::now()))
    })
    .with_left_over(Timestamp::now() - SignedDuration::from_hours(2))
}

/// Runs `each` for all, a few at a time, and gives what was wrong.
fn all<T: Send>(cases: Vec<T>, each: impl Fn(T) -> Option<String> + Sync) -> Vec<String> {
    let (cases, wrong) = (Mutex::new(cases), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = { cases.lock().unwrap().pop() } {
                    wrong.lock().unwrap().extend(each(case));
                }
            });
        }
    });
    wrong.into_inner().unwrap()
}

#[test]
fn nothing_is_deleted_on_the_word_of_a_wrong_answer() {
    // The control: with right answers the PVC goes.
    let right = StandIn::start(|_, said| with_header(&said, &date(Timestamp::now())))
        .with_left_over(Timestamp::now() - SignedDuration::from_hours(2));
    let run = right.sts(&["prune-pvcs", "--yes", "--backup", "backup"]);
    assert!(!right.has("persistentvolumeclaims", "data-db-1"), "{run}");
    let cases: Vec<_> = DECIDING
        .into_iter()
        .chain(["volumesnapshots"])
        .enumerate()
        // All answers for the kinds that decide most; of the others each answer comes up for several.
        .flat_map(|(number, plural)| {
            let all = ["statefulsets", "pods"].contains(&plural);
            let some = move |(at, _): &(usize, _)| all || (at + number) % 4 == 0;
            wrong(plural)
                .into_iter()
                .enumerate()
                .filter(some)
                .map(move |(_, (name, said))| (plural, name, said))
        })
        // The stand-in's discovery says that it has no VolumeSnapshots, so these are right.
        .filter(|(plural, name, _)| {
            *plural != "volumesnapshots" || !["not found", "no such page"].contains(name)
        })
        .collect();
    let wrong = all(cases, |(plural, name, said)| {
        let stand_in = stand_in(plural, said);
        let run = stand_in.sts(&["prune-pvcs", "--yes", "--backup", "backup"]);
        let writes: Vec<_> = stand_in.take().into_iter().filter(Asked::is_write).collect();
        let kind = KINDS.iter().find(|kind| kind.2 == plural).unwrap().0;
        let all = format!("{}{}", run.stdout, run.stderr).to_lowercase();
        let named = all.contains(plural) || all.contains(&kind.to_lowercase());
        let fine = writes.is_empty() && named && [3, 4].contains(&run.code);
        (!fine).then(|| format!("{plural}: {name}: {writes:?}\n{run}"))
    });
    assert!(wrong.is_empty(), "{}: {}", wrong.len(), wrong.join("\n"));
}

#[test]
fn doctor_and_status_name_what_they_could_not_read() {
    let looked_at = ["statefulsets", "pods", "persistentvolumeclaims", "services", "events"];
    let cases: Vec<_> = looked_at
        .into_iter()
        .enumerate()
        .flat_map(|(number, plural)| {
            let some = move |(at, _): &(usize, _)| number == 0 || (at + number) % 4 == 0;
            wrong(plural)
                .into_iter()
                .enumerate()
                .filter(some)
                .map(move |(_, (name, said))| (plural, name, said))
        })
        .flat_map(|(plural, name, said)| {
            [("doctor", plural, name, said.clone()), ("status", plural, name, said)]
        })
        .filter(|(command, plural, ..)| *command == "doctor" || *plural == "statefulsets")
        .collect();
    let wrong = all(cases, |(command, plural, name, said)| {
        let run = stand_in(plural, said).sts(&[command]);
        let all = format!("{}{}", run.stdout, run.stderr);
        let fine = match plural {
            "statefulsets" => run.code == 3 && all.contains("StatefulSets"),
            plural => all.contains(plural) && !all.contains("panicked"),
        };
        (!fine).then(|| format!("{command} {plural}: {name}\n{run}"))
    });
    assert!(wrong.is_empty(), "{}: {}", wrong.len(), wrong.join("\n"));
}

#[test]
fn all_pages_of_a_list_are_read_and_a_list_that_expires_is_read_again() {
    for expires in [false, true] {
        let tries = Mutex::new(0);
        let stand_in = StandIn::start(move |asked: &Asked, right| {
            let mut page = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}, "items": []});
            let said = match asked.lists("pods") {
                false => right,
                true if !asked.path.contains("continue=") => {
                    page["metadata"]["continue"] = "a b&c".into();
                    Said::json(200, &page)
                }
                true if { *tries.lock().unwrap() += 1; expires && *tries.lock().unwrap() == 1 } => {
                    Said::json(410, &status(410, "Expired"))
                }
                true => {
                    assert!(asked.path.contains("continue=a%20b%26c"), "{}", asked.path);
                    // Only the second page tells of the pod that mounts the PVC.
                    page["items"] = json!([{"metadata": {"name": "other", "namespace": NAMESPACE, "uid": "u"},
                        "spec": {"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data-db-1"}}]},
                        "status": {"phase": "Running"}}]);
                    Said::json(200, &page)
                }
            };
            with_header(&said, &date(Timestamp::now()))
        })
        .with_left_over(Timestamp::now() - SignedDuration::from_hours(2));
        let run = stand_in.sts(&["prune-pvcs", "--yes", "--show-kept", "--backup", "backup"]);
        let asked = stand_in.take();
        assert!(stand_in.has("persistentvolumeclaims", "data-db-1"), "{run}");
        assert!(!asked.iter().any(Asked::is_write) && run.code == 0, "{run}");
        assert_eq!(
            asked.iter().filter(|asked| asked.lists("pods")).count(),
            if expires { 4 } else { 2 },
            "{run}"
        );
    }
}

#[test]
fn a_wrong_object_or_a_404_of_somebody_else_is_no_answer_either() {
    let object = |change: &dyn Fn(&mut Value)| {
        let mut object = json!({"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata":
            {"name": "data-db-1", "namespace": NAMESPACE, "uid": "uid-persistentvolumeclaims-data-db-1", "resourceVersion": "7"}});
        change(&mut object);
        Said::json(200, &object)
    };
    for (name, said) in [
        ("no such page", Said::new(404, "content-type: text/plain\r\n", "404 page not found\n")),
        ("a page", Said::new(404, "content-type: text/html\r\n", "<html>not here")),
        ("a Status of another reason", Said::json(404, &status(404, "Weird"))),
        ("another name", object(&|object| object["metadata"]["name"] = "data-db-0".into())),
        ("another namespace", object(&|object| object["metadata"]["namespace"] = "other".into())),
        ("another kind", object(&|object| object["kind"] = "Pod".into())),
        ("no uid", object(&|object| object["metadata"]["uid"] = "".into())),
        ("an empty object", Said::json(200, &json!({}))),
        ("a Status", Said::json(200, &json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))),
    ] {
        let stand_in = StandIn::start(move |asked: &Asked, right| {
            let one = asked.method == "GET" && asked.path.ends_with("/persistentvolumeclaims/data-db-1");
            with_header(if one { &said } else { &right }, &date(Timestamp::now()))
        })
        .with_left_over(Timestamp::now() - SignedDuration::from_hours(2));
        let run = stand_in.sts(&["prune-pvcs", "--yes", "--backup", "backup"]);
        assert_ne!(run.code, 0, "{name}\n{run}");
        assert!(run.stdout.contains("data-db-1") || run.stderr.contains("data-db-1"), "{name}\n{run}");
    }
}
