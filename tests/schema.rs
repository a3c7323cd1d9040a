//! Each `-o json` answer is as its schema in docs/schema says.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::Run;

type Change = fn(&mut Value);

/// Checks a value against a schema, as far as ours and that of SARIF go: type, const, enum, properties, required,
/// additionalProperties, items, anyOf, oneOf, minimum, maximum, minItems, uniqueItems, format, and $ref within the file or the
/// folder. A keyword it does not know is a failure, so that none is thought to be checked.
pub fn check(root: &Value, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    let Value::Object(keywords) = schema else { panic!("{at}: a schema is an object") };
    for (keyword, argument) in keywords {
        match keyword.as_str() {
            "$schema" | "$id" | "title" | "description" | "default" | "definitions" => {}
            "$ref" => match argument.as_str().unwrap() {
                inside if inside.starts_with("#/") => {
                    let target = root.pointer(&inside[1..]).unwrap_or_else(|| panic!("{at}: no {inside}"));
                    check(root, target, value, at, wrong);
                }
                file => {
                    let other = read(file);
                    check(&other, &other, value, at, wrong);
                }
            },
            "const" if value != argument => wrong.push(format!("{at} is {value}, not {argument}")),
            "enum" if !argument.as_array().unwrap().contains(value) => {
                wrong.push(format!("{at} is {value}, not one of {argument}"));
            }
            "const" | "enum" => {}
            "type" => {
                let types = match argument {
                    Value::Array(types) => types.clone(),
                    one => vec![one.clone()],
                };
                if !types.iter().any(|name| is(name.as_str().unwrap(), value)) {
                    wrong.push(format!("{at} is {value}, not of type {argument}"));
                }
            }
            "required" => {
                for name in argument.as_array().unwrap().iter().map(|name| name.as_str().unwrap()) {
                    if value.is_object() && value.get(name).is_none() {
                        wrong.push(format!("{at}.{name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, schema) in argument.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        check(root, schema, value, &format!("{at}.{name}"), wrong);
                    }
                }
            }
            "additionalProperties" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    if keywords.get("properties").is_some_and(|known| known.get(name).is_some()) {
                        continue;
                    }
                    match argument {
                        Value::Bool(false) => wrong.push(format!("{at}.{name} is not in the schema")),
                        Value::Bool(true) => {}
                        schema => check(root, schema, value, &format!("{at}.{name}"), wrong),
                    }
                }
            }
            "items" => {
                for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, argument, value, &format!("{at}[{index}]"), wrong);
                }
            }
            "anyOf" | "oneOf" => {
                let fits = argument.as_array().unwrap().iter().filter(|schema| {
                    let mut wrong = Vec::new();
                    check(root, schema, value, at, &mut wrong);
                    wrong.is_empty()
                });
                let (fits, is_one) = (fits.count(), keyword == "oneOf");
                if fits == 0 || (is_one && fits > 1) {
                    wrong.push(format!("{at} fits {fits} of {keyword}"));
                }
            }
            "minimum" | "maximum" => {
                let (limit, number) = (argument.as_f64().unwrap(), value.as_f64());
                let is_min = keyword == "minimum";
                if number.is_some_and(|number| if is_min { number < limit } else { number > limit }) {
                    wrong.push(format!("{at} is {value}, and its {keyword} {limit}"));
                }
            }
            "minItems" => {
                let least = usize::try_from(argument.as_u64().unwrap()).unwrap();
                if value.as_array().is_some_and(|items| items.len() < least) {
                    wrong.push(format!("{at} has fewer than {least} items"));
                }
            }
            "uniqueItems" => {
                let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
                let is_twice = |(index, item): (usize, &Value)| items[..index].contains(item);
                if argument == true && items.iter().enumerate().any(is_twice) {
                    wrong.push(format!("{at} has an item twice"));
                }
            }
            "format" => {
                if value.as_str().is_some_and(|text| !has_format(text, argument.as_str().unwrap())) {
                    wrong.push(format!("{at} is {value}, which is no {argument}"));
                }
            }
            _ => panic!("{at}: the keyword {keyword} is not known here"),
        }
    }
}

/// Whether a text is a URI (RFC 3986) or a reference of that form.
fn has_format(text: &str, format: &str) -> bool {
    let is_written = |text: &str| {
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let is_escape =
                first == '%' && rest.len() > 2 && rest.as_bytes()[1..3].iter().all(u8::is_ascii_hexdigit);
            let is_plain = first.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=".contains(first);
            if !is_escape && !is_plain {
                return false;
            }
            rest = &rest[if is_escape { 3 } else { 1 }..];
        }
        true
    };
    match format {
        "uri" => is_written(text) && text.split_once(':').is_some_and(|(scheme, _)| !scheme.contains('/')),
        "uri-reference" => is_written(text),
        _ => panic!("the format {format} is not known here"),
    }
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        _ => panic!("{name} is no type"),
    }
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema")
}

fn read(name: &str) -> Value {
    let text =
        fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("docs/schema/{name}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("docs/schema/{name}: {error}"))
}

fn wrong(schema: &str, value: &Value) -> Vec<String> {
    let (schema, mut wrong) = (read(schema), Vec::new());
    check(&schema, &schema, value, "", &mut wrong);
    wrong
}

/// Fails if something that was printed with `-o json`, one value or one a line, is not as the schema of its kind says.
#[track_caller]
pub fn holds(stdout: &str) {
    for value in serde_json::Deserializer::from_str(stdout).into_iter::<Value>() {
        let value = value.unwrap_or_else(|error| panic!("{error}\n{stdout}"));
        let kind = value["kind"].as_str().unwrap_or_else(|| panic!("no kind: {value}"));
        let wrong = wrong(&format!("{kind}.json"), &value);
        assert!(wrong.is_empty(), "{value} against {kind}.json:\n{}", wrong.join("\n"));
    }
}

fn answer(args: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(args).args(["-o", "json"]).env_clear();
    let run = Run::of(&mut command, "");
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"))
}

#[test]
fn answers_are_as_their_schemas_say() {
    let recording = "docs/recordings/postgres-rollback-trap.yaml";
    let healthy = "docs/recordings/postgres.yaml";
    let canary = "docs/recordings/postgres-canary.yaml";
    // Files as kubectl writes them lack kinds, so that something is not looked at.
    let manifest = "tests/manifests/postgres.yaml";
    let table: &[(&str, &[&str])] = &[
        ("Diagnosis.json", &["doctor", "--from", recording]),
        ("Diagnosis.json", &["doctor", "--from", manifest]),
        ("Status.json", &["status", "postgres", "--from", recording]),
        ("Status.json", &["status", "postgres", "--from", manifest]),
        ("StatusList.json", &["status", "--from", recording]),
        ("Recording.json", &["record", "--from", recording]),
        ("Recording.json", &["record", "--from", manifest]),
        ("RuleList.json", &["explain"]),
        ("Version.json", &["version", "--client"]),
        ("Help.json", &["help", "watch"]),
        ("Help.json", &["options"]),
        ("RuleList.json", &["explain", "rollback-trap"]),
        ("ClaimList.json", &["prune-pvcs", "--from", "docs/recordings/left-over-claims.yaml"]),
        ("ClaimList.json", &["prune-pvcs", "--from", recording]),
        ("Completion.json", &["completion", "bash"]),
        ("History.json", &["history", "postgres", "--from", recording]),
        (
            "Plan.json",
            &["canary", "postgres", "--steps", "4,0", "--image", "postgres=postgres:17.1", "--from", healthy],
        ),
        ("Plan.json", &["promote", "postgres", "--from", canary]),
        ("Plan.json", &["abort", "postgres", "--from", canary]),
        (
            "Refusal.json",
            &["canary", "postgres", "--partition", "2", "--image", "postgres=postgres:18", "--from", canary],
        ),
    ];
    for (schema, args) in table {
        let value = answer(args);
        let wrong = wrong(schema, &value);
        assert!(wrong.is_empty(), "{} against {schema}:\n{}", args.join(" "), wrong.join("\n"));
        assert_eq!(value["kind"], schema.trim_end_matches(".json"), "{}", args.join(" "));
    }
}

#[test]
fn each_kind_of_answer_has_a_schema() {
    let mut kinds = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for rest in text.split("\"apiVersion\": \"kubectl-sts/v1\"").skip(1) {
                kinds.extend(
                    rest.split("\"kind\": \"")
                        .nth(1)
                        .and_then(|rest| rest.split('"').next())
                        .map(str::to_owned),
                );
            }
        }
    }
    assert!(kinds.len() > 5, "{kinds:?}");
    for kind in &kinds {
        assert_eq!(read(&format!("{kind}.json"))["properties"]["kind"]["const"], kind.as_str());
    }
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let schema = read(&name);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        assert_eq!(schema["$id"], format!("{}schema/{name}", env!("CARGO_PKG_HOMEPAGE")));
    }
}

#[test]
fn schemas_notice_what_is_wrong() {
    let right = answer(&["doctor", "--from", "docs/recordings/postgres-rollback-trap.yaml"]);

    let cases: [(&str, Change); 5] = [
        (".takenAt is missing", |value| drop(value.as_object_mut().unwrap().remove("takenAt"))),
        (".more is not in the schema", |value| value["more"] = 1.into()),
        (".kind is \"Status\", not \"Diagnosis\"", |value| value["kind"] = "Status".into()),
        (".findings[0].because is 1, not of type \"string\"", |value| {
            value["findings"][0]["because"] = 1.into();
        }),
        (".findings[0].severity is \"bad\", not one of", |value| {
            value["findings"][0]["severity"] = "bad".into();
        }),
    ];
    for (message, change) in cases {
        let mut value = right.clone();
        change(&mut value);
        let wrong = wrong("Diagnosis.json", &value);
        assert!(wrong.len() == 1 && wrong[0].starts_with(message), "{message}: {wrong:?}");
    }
}
