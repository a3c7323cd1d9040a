//! Files that are not what they should be: named and refused, without a panic and without growing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Value, json};

use super::mutate::{World, worlds};
use super::run::{file, sts};

const SET: &str = "kind: StatefulSet\napiVersion: apps/v1\nmetadata: {name: db, namespace: shop}\n";

#[test]
fn what_no_server_would_have_taken_is_named() {
    // As much stack as the main thread of the program has.
    let check = std::thread::Builder::new().stack_size(8 << 20).spawn(check_what_is_named).unwrap();
    check.join().unwrap();
}

fn check_what_is_named() {
    let set = |rest: &str| format!("{SET}{rest}\n");
    let object = |kind: &str, rest: &str| format!("{SET}---\nkind: {kind}\napiVersion: v1\n{rest}\n");
    for (given, said) in [
        (
            set("spec: 7"),
            "StatefulSet db is not as Kubernetes writes it\n  because spec is a number, where an object belongs",
        ),
        (set("spec: []"), "spec is a list, where an object belongs"),
        (set("spec: {replicas: 3.5}"), "spec.replicas is a number, where one in range belongs"),
        (set("spec: {replicas: 1e99}"), "spec.replicas is a number, where one in range belongs"),
        (set("spec: {replicas: '3'}"), "spec.replicas is a text, where a whole number belongs"),
        (set("spec: {replicas: -5}"), "spec.replicas is -5, and cannot be negative"),
        (set("spec: {ordinals: {start: -1}}"), "spec.ordinals.start is -1, and cannot be negative"),
        (set("spec: {serviceName: 5}"), "spec.serviceName is a number, where a text belongs"),
        (
            set("spec: {volumeClaimTemplates: [[]]}"),
            "spec.volumeClaimTemplates[0] is a list, where an object belongs",
        ),
        (
            set("status: {conditions: [{lastTransitionTime: soon}]}"),
            "status.conditions[0].lastTransitionTime is a text, where a time such as",
        ),
        (
            set("spec: {serviceName: 'x;touch PWNED'}"),
            "spec.serviceName is \"x;touch PWNED\", which is not a name Kubernetes allows",
        ),
        (set("status: {updateRevision: '$(x)'}"), "status.updateRevision is \"$(x)\", which is not a name"),
        (
            set("spec: {selector: {matchLabels: {'a b': c}}}"),
            "spec.selector.matchLabels is \"a b\", which is not a name",
        ),
        (
            "kind: StatefulSet\napiVersion: apps/v1\nmetadata: {name: --flag}\n".to_owned(),
            "metadata.name is \"--flag\", which is not a name",
        ),
        (
            "kind: StatefulSet\napiVersion: apps/v1\nmetadata: {name: \"d\\u202Eb\"}\n".to_owned(),
            "metadata.name is \"d\\u{202e}b\", which is not a name",
        ),
        (
            "kind: StatefulSet\napiVersion: apps/v1\nmetadata: {name: Db}\n".to_owned(),
            "metadata.name is \"Db\", which is not a name",
        ),
        (
            "kind: StatefulSet\napiVersion: apps/v1\nmetadata: {name: db, namespace: a.b}\n".to_owned(),
            "metadata.namespace is \"a.b\", which is not a name",
        ),
        ("kind: StatefulSet\napiVersion: apps/v1\nmetadata: []\n".to_owned(), "metadata is not an object"),
        (
            "kind: StatefulSet\napiVersion: apps/v1\n".to_owned(),
            "a StatefulSet is not as Kubernetes writes it\n  because it has no metadata.name",
        ),
        (
            object("Pod", "metadata: {name: db-0}\nspec: {nodeName: 'n;x'}"),
            "spec.nodeName is \"n;x\", which is not a name",
        ),
        (object("Service", "metadata: {name: a.b}"), "metadata.name is \"a.b\", which is not a name"),
        (
            object("Pod", "metadata: {name: db-0}\nspec: {volumes: {}}"),
            "spec.volumes is an object, where a list belongs",
        ),
        (
            object("ControllerRevision", "metadata: {name: db-1}\nrevision: x").replace(
                "kind: ControllerRevision\napiVersion: v1",
                "kind: ControllerRevision\napiVersion: apps/v1",
            ),
            "revision is a text, where a whole number belongs",
        ),
        (
            object("PersistentVolume", "metadata: {name: '../x'}"),
            "metadata.name is \"../x\", which is not a name",
        ),
        (
            "kind: PodList\napiVersion: v1\nitems: [[]]\n".to_owned(),
            "an item of the PodList is not an object",
        ),
        (
            format!("{}---\n{}", set("spec: {replicas: 1}"), set("spec: {replicas: 2}")),
            "it is there twice, and differs",
        ),
        ("a: 1\na: 2\n".to_owned(), "a key stands there twice"),
        ("[".repeat(100_000), "is neither YAML nor JSON"),
        ("{\"a\":".repeat(100_000), "is neither YAML nor JSON"),
        (format!("a: {}", "[".repeat(5_000) + &"]".repeat(5_000)), "is neither YAML nor JSON"),
        ("- ".repeat(5_000), "it is too deep"),
    ] {
        let (_folder, path) = file(&given);
        let ran = sts(&["doctor"], &path);
        let shown = &given[..given.len().min(200)];
        assert_eq!(ran.code, 3, "{shown}: {}", ran.all());
        assert!(ran.err.contains(said), "{shown}\n  should say {said}\n  and says {}", ran.err);
        assert!(!ran.err.contains("error: error"), "{}", ran.err);
    }
}

#[test]
fn aliases_do_not_blow_up() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb += &format!("a{level}: &a{level} [{before}]\n");
    }
    let (_folder, path) = file(&bomb);
    assert_eq!(sts(&["doctor"], &path).code, 3);
}

#[test]
fn files_of_other_systems_are_read() {
    let crlf = SET.replace('\n', "\r\n");
    let wide = |unit: fn(u16) -> [u8; 2]| {
        let units = std::iter::once('\u{feff}').chain(SET.chars()).collect::<String>();
        units.encode_utf16().flat_map(unit).collect::<Vec<u8>>()
    };
    let (folder, path) = file("");
    for (name, bytes) in [
        ("CRLF", crlf.into_bytes()),
        ("BOM", format!("\u{feff}{SET}").into_bytes()),
        ("UTF-16LE", wide(u16::to_le_bytes)),
        ("UTF-16BE", wide(u16::to_be_bytes)),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let ran = sts(&["status", "-o", "name"], &path);
        assert_eq!((ran.code, ran.out.as_str()), (0, "statefulset.apps/db\n"), "{name}: {}", ran.all());
    }
    std::fs::write(&path, [0xff, 0xfe, 0x00, 0xd8]).unwrap();
    assert!(sts(&["status"], &path).err.contains("it is not text in UTF-16"));
    std::fs::write(&path, [b'a', 0xff]).unwrap();
    assert!(sts(&["status"], &path).err.contains("it is not text in UTF-8"));
    drop(folder);
}

#[test]
fn a_number_from_outside_sizes_nothing() {
    for (replicas, start) in [(2_147_483_647, 0), (2_147_483_647, 2_147_483_647), (1_000_000, 5)] {
        let pods = "---\nkind: Pod\napiVersion: v1\nmetadata: {name: db-900000, namespace: shop}\nstatus: {phase: Running}\n";
        for policy in ["OrderedReady", "Parallel"] {
            let given = format!(
                "{SET}spec: {{replicas: {replicas}, ordinals: {{start: {start}}}, podManagementPolicy: {policy}, serviceName: db, \
                 minReadySeconds: 2147483647, template: {{spec: {{terminationGracePeriodSeconds: 9223372036854775807}}}}, \
                 volumeClaimTemplates: [{{metadata: {{name: data}}}}], updateStrategy: {{rollingUpdate: {{partition: 2147483647}}}}}}\n\
                 {pods}---\n{}spec: {{replicas: {replicas}, volumeClaimTemplates: [{{metadata: {{name: data-db}}}}]}}\n",
                SET.replace("name: db,", "name: db-x,").replace("db-x", "x")
            );
            let (_folder, path) = file(&given);
            for command in [vec!["status"], vec!["status", "db"], vec!["doctor"], vec!["record"]] {
                let ran = sts(&command, &path);
                assert!(ran.code < 2, "{}", ran.all());
                assert!(ran.out.len() < 400_000, "{command:?} writes {} bytes", ran.out.len());
            }
            let text = sts(&["status", "db"], &path).out;
            if start < 10 {
                assert!(text.contains("more replicas without a pod or a PVC"), "{}", &text[..2000]);
                assert!(
                    text.contains("db-900000") && text.contains(&format!("{replicas} replicas")),
                    "what exists is shown"
                );
            }
        }
    }
}

/// A place in a value.
#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

fn places(value: &Value, path: &mut Vec<Step>, all: &mut Vec<Vec<Step>>) {
    all.push(path.clone());
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                path.push(Step::Key(key.clone()));
                places(member, path, all);
                path.pop();
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                places(item, path, all);
                path.pop();
            }
        }
        _ => {}
    }
}

fn at<'v>(value: &'v mut Value, path: &[Step]) -> &'v mut Value {
    path.iter().fold(value, |value, step| match step {
        Step::Key(key) => &mut value[key.as_str()],
        Step::Index(index) => &mut value[*index],
    })
}

fn wrong() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-5),
        json!(0),
        json!(2_147_483_647),
        json!(9_223_372_036_854_775_807_i64),
        json!(1e99),
        json!(""),
        json!("x"),
        json!("0001-01-01T00:00:00Z"),
        json!("9999-12-30T22:00:00Z"),
        json!("100%"),
        json!("-1e2147483647"),
        json!("a\u{202e}b\nc\u{0}d"),
        json!("x".repeat(5000)),
        json!([]),
        json!({}),
        json!([[], {}, 1, "x"]),
        json!({"name": []}),
    ]
}

#[test]
fn no_file_makes_it_panic() {
    let rounds: usize =
        std::env::var("STS_HOSTILE_FILES").ok().and_then(|text| text.parse().ok()).unwrap_or(600);
    let worlds: Vec<World> = worlds().into_iter().filter(|world| world.objects.len() < 20).collect();
    let wrong = wrong();
    // The same walk each time, which a longer one begins with.
    let mut state = 20_261_128_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let (mut read, mut refused) = (0, 0);
    let (_folder, path) = file("");
    for round in 0..rounds {
        let world = &worlds[next(worlds.len())];
        let mut objects = Value::Array(world.objects.clone());
        for _ in 0..=next(3) {
            let mut all = Vec::new();
            places(&objects, &mut Vec::new(), &mut all);
            let place = &all[next(all.len())];
            // Names and kinds keep the object an object; they have their own tests.
            if matches!(place.last(), None | Some(Step::Index(_))) && place.len() < 2 {
                continue;
            }
            *at(&mut objects, place) = wrong[next(wrong.len())].clone();
        }
        let name = objects.as_array().into_iter().flatten().find(|object| object["kind"] == "StatefulSet");
        let name = name.and_then(|set| set["metadata"]["name"].as_str()).unwrap_or("db").to_owned();
        let name = if name.starts_with('-') || name.is_empty() { "db".to_owned() } else { name };
        let text = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        std::fs::write(&path, &text).unwrap();
        let commands =
            [vec!["doctor"], vec!["status"], vec!["status", &name], vec!["history", &name], vec!["record"]];
        for command in [&commands[0], &commands[1 + round % 4]] {
            let output = ["text", "json", "yaml", "wide"][next(4)];
            let words = [command.clone(), vec!["-o", output]].concat();
            let ran = catch_unwind(AssertUnwindSafe(|| sts(&words, &path)));
            let ran = ran.unwrap_or_else(|_| panic!("{words:?} on {text}"));
            match ran.code {
                0 | 1 => read += 1,
                3 => refused += 1,
                code => panic!("{words:?} ends with {code}: {}\n{text}", ran.all()),
            }
            assert!(ran.out.len() < 2_000_000, "{words:?} writes {} bytes on {text}", ran.out.len());
        }
    }
    assert!(read > rounds / 10 && refused > rounds / 10, "{read} read, {refused} refused");
}
