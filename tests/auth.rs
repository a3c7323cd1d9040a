//! `auth`, the roles in `deploy/rbac`, and what commands need: with a role all of its commands run, and each rule that is taken away
//! is named.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use kubectl_sts::cluster::needs::{self, Role, Weight};
use kubectl_sts::plan::Permission;
use serde_json::Value;

use crate::support::{self, Namespace, PATIENCE};

/// Verb, group and resource, as a rule of a role has them.
type Rule = (&'static str, &'static str, String);

fn rule(permission: &Permission) -> Rule {
    let Permission { verb, group, resource, subresource, .. } = permission;
    let slash = if subresource.is_empty() { "" } else { "/" };
    (verb, group, format!("{resource}{slash}{subresource}"))
}

/// The rules that the commands of a role need, each once.
fn rules(role: Role) -> Vec<Rule> {
    let needs = needs::commands_of(role).flat_map(needs::of);
    let mut all: Vec<Rule> =
        needs.filter(|need| need.weight != Weight::Extra).map(|need| rule(&need.permission)).collect();
    all.sort();
    all.dedup();
    all
}

/// As YAML, a line for each group and verb.
fn yaml(rules: &[Rule]) -> String {
    let mut lines: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (verb, group, resource) in rules {
        lines.entry((group, verb)).or_default().push(resource);
    }
    let mut text = String::new();
    for ((group, verb), resources) in lines {
        let group = if group.is_empty() { "\"\"" } else { group };
        let resources = resources.join(", ");
        let _ = writeln!(text, "- {{apiGroups: [{group}], resources: [{resources}], verbs: [{verb}]}}");
    }
    text
}

fn file(role: Role) -> String {
    let name = role.name();
    let commands: Vec<&str> = needs::commands_of(role).collect();
    let about = format!("# For {}.\n", commands.join(", "));
    format!(
        "{about}# The binding is an example: put your own subject there. docs/permissions.md says how to do so in one namespace.\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: kubectl-sts-{name}\nrules:\n{}---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata:\n  name: kubectl-sts-{name}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: kubectl-sts-{name}}}\n\
         subjects:\n- {{apiGroup: rbac.authorization.k8s.io, kind: Group, name: kubectl-sts-{name}s}}\n",
        yaml(&rules(role))
    )
}

#[test]
fn the_roles_have_what_the_commands_need() {
    for role in Role::ALL {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("deploy/rbac/{}.yaml", role.name()));
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, file(role)).unwrap();
        }
        let is = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(is, file(role), "BLESS=1 corrects {}", path.display());
    }
}

/// The page says the same as the file.
#[test]
fn the_page_has_the_role_of_the_file() {
    let page = include_str!("../docs/permissions.md");
    let role = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let role: Value = serde_saphyr::from_str(role).unwrap();
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut said = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        for (group, verb) in texts(&rule["apiGroups"]).iter().zip(texts(&rule["verbs"])) {
            said.extend(texts(&rule["resources"]).into_iter().map(|it| (verb.clone(), group.clone(), it)));
        }
    }
    said.sort();
    let own = |(verb, group, resource): Rule| (verb.to_owned(), group.to_owned(), resource);
    assert_eq!(said, rules(Role::Reader).into_iter().map(own).collect::<Vec<_>>());
}

/// Without a permission that is not required a command must not be refused, and the roles must differ.
#[test]
fn looking_needs_no_writes() {
    let reads = rules(Role::Reader);
    assert!(reads.iter().all(|(verb, ..)| ["get", "list", "watch"].contains(verb)), "{reads:?}");
    for role in [Role::Operator, Role::Pruner] {
        assert!(reads.iter().all(|rule| rules(role).contains(rule)));
        assert!(rules(role).iter().any(|(verb, ..)| ["patch", "delete", "create"].contains(verb)));
    }
}

/// `yes`, `partly` or `no`, and the rules that are missing.
type Said = (String, Vec<(String, String, String)>);

/// What `auth` says to this user: for each command, whether it is allowed, and the rules that are missing.
fn asked(ns: &Namespace, user: &str) -> BTreeMap<String, Said> {
    let run = ns.sts(&["auth", "-A", "--as", user, "-o", "json"]);
    crate::schema::holds(&run.stdout);
    let value: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let commands = value["commands"].as_array().unwrap().iter().map(|command| {
        let missing = command["missing"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["purpose"] != "a dry run of a pod that is missing");
        let missing = missing.map(|it| {
            let subresource = text(&it["subresource"]);
            let slash = if subresource.is_empty() { "" } else { "/" };
            (text(&it["verb"]), text(&it["group"]), format!("{}{slash}{subresource}", text(&it["resource"])))
        });
        (text(&command["command"]), (text(&command["allowed"]), missing.collect()))
    });
    commands.collect()
}

#[test]
fn each_rule_that_is_taken_away_is_named() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("auth-without");
    let mut all: Vec<Rule> = Role::ALL.into_iter().flat_map(rules).collect();
    all.sort();
    all.dedup();
    let user = |index: usize| format!("{}-without-{index}", ns.name);
    let mut text = String::new();
    for index in 0..all.len() {
        let mut fewer = all.clone();
        fewer.remove(index);
        let subject = format!("apiGroup: rbac.authorization.k8s.io, kind: User, name: '{}'", user(index));
        text += &support::cluster_role(&user(index), &subject, &yaml(&fewer));
    }
    cluster.apply(&text);
    for (index, (verb, group, resource)) in all.iter().enumerate() {
        let wanted = ((*verb).to_owned(), (*group).to_owned(), resource.clone());
        let said = ns.wait(&format!("{wanted:?} to be named, and nothing else"), PATIENCE, || {
            let said = asked(&ns, &user(index));
            let missing: Vec<_> = said.values().flat_map(|(_, missing)| missing).collect();
            let is_right = !missing.is_empty() && missing.iter().all(|rule| **rule == wanted);
            if is_right { Ok(said) } else { Err(format!("{missing:?}")) }
        });
        // A required one stops its commands, another one does not.
        for (command, (allowed, _)) in &said {
            let need = needs::of(command).into_iter().filter(|need| need.weight != Weight::Extra);
            let weight =
                need.filter(|need| rule(&need.permission) == all[index]).map(|need| need.weight).min();
            let expected = match weight {
                Some(Weight::Required) => "no",
                Some(_) => "partly",
                None => "yes",
            };
            assert_eq!(allowed, expected, "{command} without {wanted:?}");
        }
        let run = ns.sts(&["auth", "-A", "--as", &user(index)]);
        assert!(
            run.stdout.contains(resource.as_str())
                || run.stdout.contains(resource.split('/').next().unwrap()),
            "{run}"
        );
    }
    let names: Vec<String> = (0..all.len()).map(user).collect();
    for kind in ["clusterrole", "clusterrolebinding"] {
        let mut args = vec!["delete", kind];
        args.extend(names.iter().map(String::as_str));
        cluster.kubectl(&args);
    }
}

#[test]
fn each_role_runs_its_commands() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.postgres("auth-roles");
    let mut matrix = BTreeMap::new();
    let user = |role: Role| format!("{}-{}", ns.name, role.name());
    let nobody = format!("{}-nobody", ns.name);
    for role in Role::ALL {
        // The file as it is applied, with our own user and names.
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("deploy/rbac/{}.yaml", role.name()));
        let text = fs::read_to_string(path).unwrap();
        let own = text
            .replace(
                &format!("kind: Group, name: kubectl-sts-{}s", role.name()),
                &format!("kind: User, name: {}", user(role)),
            )
            .replace(&format!("kubectl-sts-{}", role.name()), &user(role));
        cluster.apply(&own);
    }
    for role in Role::ALL {
        let said = ns.wait("the role to count", PATIENCE, || {
            let said = asked(&ns, &user(role));
            let is_whole = needs::commands_of(role).all(|command| said[command].0 == "yes");
            if is_whole { Ok(said) } else { Err(format!("{said:?}")) }
        });
        for (command, (allowed, _)) in said {
            matrix.entry(command).or_insert_with(Vec::new).push(allowed);
        }
    }
    println!("{:<14}{:<10}{:<10}pruner", "command", "reader", "operator");
    for (command, allowed) in &matrix {
        println!("{command:<14}{:<10}{:<10}{}", allowed[0], allowed[1], allowed[2]);
    }
    assert_eq!(matrix["recover"], ["no", "yes", "no"]);
    assert_eq!(matrix["prune-pvcs"], ["no", "no", "yes"]);
    assert!(asked(&ns, &nobody).values().all(|(allowed, _)| allowed == "no"));
    ns.sts(&["auth", "--as", &nobody, "status"]).code(1);
    ns.sts(&["auth", "--as", &user(Role::Reader), "status"]).code(0);
    ns.sts(&["auth", "--as", &user(Role::Reader), "status", "undo"]).code(1);

    println!("{}", ns.sts(&["auth", "-A", "--as", &user(Role::Reader)]).stdout);
    // auth is right: what it allows runs, with nothing left out, and what it does not allow is refused.
    let as_role = |role: Role, args: &[&str]| ns.sts(&[args, &["--as", &user(role)]].concat());
    for role in Role::ALL {
        let run = as_role(role, &["record", "-o", "json"]).code(0);
        let record: Value = serde_json::from_str(&run.stdout).unwrap();
        assert!(record["notSeen"].is_null(), "{run}");
        let run = as_role(role, &["doctor", "-o", "json"]);
        let diagnosis: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(diagnosis["notLookedAt"], Value::Array(Vec::new()), "{run}");
        for args in [
            &["status"][..],
            &["status", "postgres"],
            &["history", "postgres"],
            &["watch", "postgres", "--timeout", "1m"],
        ] {
            let run = as_role(role, args).code(0);
            assert!(!format!("{run}").contains("forbidden"), "{run}");
        }
    }
    let image = "postgres=registry.example.com/postgres:16.5";
    let canary = ["canary", "postgres", "--partition", "2", "--image", image, "--yes", "--timeout", "2m"];
    for role in [Role::Reader, Role::Pruner] {
        let run = as_role(role, &canary).code(4);
        assert!(run.stderr.contains("not allowed to patch statefulsets"), "{run}");
    }
    let operator = |args: &[&str]| as_role(Role::Operator, args).code(0);
    operator(&canary);
    operator(&["promote", "postgres", "--full", "--yes", "--timeout", "3m"]);
    operator(&[
        "canary",
        "postgres",
        "--partition",
        "2",
        "--image",
        "postgres=registry.example.com/postgres:16.6",
        "--yes",
        "--timeout",
        "2m",
    ]);
    operator(&["abort", "postgres", "--yes", "--timeout", "3m"]);
    operator(&["undo", "postgres", "--yes", "--timeout", "3m"]);
    ns.kubectl(&["set", "image", "statefulset/postgres", "postgres=registry.does.not.exist/postgres:1"]).ok();
    ns.wait_pod_status("postgres-2", "ImagePullBackOff");
    ns.kubectl(&["set", "image", "statefulset/postgres", image]).ok();
    let reader =
        as_role(Role::Reader, &["recover", "postgres", "--yes", "--timeout", "2m", "--stuck-after", "1s"])
            .code(4);
    assert!(reader.stderr.contains("not allowed to delete pods"), "{reader}");
    operator(&["recover", "postgres", "--yes", "--timeout", "3m", "--stuck-after", "1s"]);

    ns.kubectl(&["scale", "statefulset/postgres", "--replicas=2"]).ok();
    ns.wait_rolled_out("postgres", 2);
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    let backup = backup.to_str().unwrap();
    let run = as_role(Role::Operator, &["prune-pvcs", "postgres", "--retain", "--yes", "--backup", backup]);
    assert!(run.code != 0 && format!("{run}").contains("persistentvolumeclaims"), "{run}");
    as_role(Role::Pruner, &["prune-pvcs", "postgres", "--retain", "--yes", "--backup", backup]).code(0);
    as_role(Role::Pruner, &["restore-pvc", backup, "--yes"]).code(0);
    for role in Role::ALL {
        cluster.kubectl(&["delete", "clusterrole,clusterrolebinding", &user(role)]);
    }
}
