//! What the help says, at 80 and at 100 columns: each is kept in tests/help, and `BLESS=1` writes it.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use kubectl_sts::commands::{Cli, definition, read, tip};

use crate::support::{self, Run};

const WIDTHS: [usize; 2] = [80, 100];

/// The names of all commands, and `""` for `kubectl sts --help`.
fn names() -> Vec<String> {
    let own = std::iter::once(String::new());
    own.chain(definition().get_subcommands().map(|command| command.get_name().to_owned())).collect()
}

/// The help of a command at a width.
fn help(name: &str, width: usize) -> String {
    let mut root = definition().max_term_width(width).term_width(width);
    root.build();
    let command = if name.is_empty() { &mut root } else { root.find_subcommand_mut(name).unwrap() };
    command.render_help().to_string()
}

/// The words of a line that a shell would see, up to a redirection, a pipe or `)`.
pub fn shell(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            '>' | '|' | ')' if !quoted => break,
            letter => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The commands below `Examples:`, each with the line above it.
fn examples(help: &str) -> Vec<(String, String)> {
    let (_, rest) = help.split_once("Examples:\n").unwrap_or_default();
    let lines: Vec<&str> =
        rest.lines().take_while(|line| line.is_empty() || line.starts_with("  ")).collect();
    let is_command = |line: &str| !line.is_empty() && !line.starts_with("  #");
    let at = (0..lines.len()).filter(|at| is_command(lines[*at]));
    at.map(|at| (lines[at].trim().to_owned(), lines[at.saturating_sub(1)].to_owned())).collect()
}

fn parse(words: &[&str]) -> Result<Cli, clap::Error> {
    read(["kubectl-sts"].iter().chain(words).map(OsString::from))
}

#[test]
fn every_help_is_as_it_is_kept() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help");
    let mut wrong = Vec::new();
    let mut kept: Vec<String> = Vec::new();
    for name in names() {
        for width in WIDTHS {
            let file =
                format!("{}{width}.txt", if name.is_empty() { String::new() } else { format!("{name}-") });
            let text = help(&name, width);
            if std::env::var_os("BLESS").is_some() {
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join(&file), &text).unwrap();
            }
            let page = fs::read_to_string(folder.join(&file)).unwrap_or_default();
            if page != text {
                let first = page.lines().zip(text.lines()).find(|(a, b)| a != b);
                wrong.push(format!("tests/help/{file} differs (BLESS=1 writes it), first at {first:?}"));
            }
            kept.push(file);
        }
    }
    for file in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap())
    {
        if !kept.contains(&file) {
            wrong.push(format!("tests/help/{file} is of no command"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_line_is_wider_than_the_terminal_and_no_word_is_cut() {
    for name in names() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let whole = words(&help(&name, 1000));
        for width in [60, 80, 100] {
            let text = help(&name, width);
            for line in text.lines() {
                // The usage and the examples are pasted whole.
                let is_whole = line.starts_with("  kubectl sts ");
                let wide = line.chars().count();
                assert!(wide <= width || is_whole && width < 80, "{name}, {wide} of {width} columns: {line}");
                assert_eq!(line, line.trim_end(), "{name}");
            }
            assert_eq!(words(&text), whole, "{name} at {width} columns has other words");
        }
    }
}

#[test]
fn every_example_can_be_pasted() {
    let mut found = 0;
    for name in names() {
        let text = help(&name, 80);
        let examples = examples(&text);
        assert!(!examples.is_empty(), "{name} has no example");
        for (line, above) in examples {
            let after_comment = above.starts_with("  # ") || above.starts_with("  kubectl sts ");
            assert!(after_comment, "{name}: no comment above {line}");
            let at = ["kubectl sts ", "kubectl-sts "].iter().find_map(|ours| line.find(ours)).unwrap_or_else(
                || {
                    panic!("{name}: not ours: {line}");
                },
            );
            let words = shell(&line[at..]);
            let skip = if words[0] == "kubectl" { 2 } else { 1 };
            let words: Vec<&str> = words.iter().skip(skip).map(String::as_str).collect();
            if let Err(error) = parse(&words) {
                panic!("{name}: {line}\n{error}");
            }
            assert!(
                name.is_empty() || line.contains(&name) || name == "options" || name == "record",
                "{name}: {line}"
            );
            found += 1;
        }
    }
    assert!(found > 25, "only {found} examples");
    assert!(parse(&["canary", "postgres", "--image", "a=b"]).is_err(), "parsing notices what is wrong");
}

#[test]
fn flags_stand_under_headings_and_the_connection_flags_in_one_place() {
    let connection = ["--kubeconfig", "--context", "--request-timeout", "--as-group", "--tls-server-name"];
    for name in names() {
        let text = help(&name, 80);
        assert!(!text.contains("\nOptions:"), "{name} has flags without a heading");
        for flag in connection {
            assert!(!text.contains(&format!("      {flag} ")), "{name} --help lists {flag}");
        }
        let is_offline = ["explain", "completion", "options", "help"].contains(&name.as_str());
        let line = "Use \"kubectl sts options\" for the connection flags.";
        assert_eq!(text.ends_with(line) || text.ends_with(&format!("{line}\n")), !is_offline, "{name}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
    let listed = Run::of(command.arg("options"), "").ok();
    for flag in connection {
        assert!(listed.contains(flag), "{listed}");
    }
    // As with kubectl, they are accepted everywhere, before and after the command.
    for command in
        [&["status"][..], &["explain"], &["version"], &["options"], &["help"], &["completion", "bash"]]
    {
        let flag = ["--context", "other"];
        let both = [[&flag[..], command].concat(), [command, &flag[..]].concat()];
        for words in both {
            let cli = parse(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
            assert_eq!(cli.global.connect.context.as_deref(), Some("other"), "{words:?}");
        }
    }
    for name in ["explain", "version", "options", "help", "completion"] {
        let mut words = vec![name, "--from", "x.yaml"];
        if name == "completion" {
            words.push("bash");
        }
        let error = parse(&words).unwrap_err().to_string();
        assert!(error.starts_with(&format!("error: --from has no meaning for {name}")), "{error}");
    }
}

#[test]
fn help_and_the_flag_say_the_same() {
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
        Run::of(command.args(words).env_clear(), "").ok()
    };
    for name in names().iter().filter(|name| !name.is_empty()) {
        let long = run(&[name, "--help"]);
        assert_eq!(long.trim_end(), run(&["help", name]).trim_end(), "{name}");
        assert_eq!(long, run(&[name, "-h"]), "{name}");
    }
    assert_eq!(run(&["--help"]).trim_end(), run(&["help"]).trim_end());
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
    let unknown = Run::of(command.args(["help", "statsu"]), "").code(2);
    assert!(unknown.stderr.contains("did you mean status?"), "{unknown}");
}

#[test]
fn dry_run_without_a_value_is_client() {
    let dry = |words: &[&str]| format!("{:?}", parse(words).unwrap().command);
    let words = |flag: &'static str| dry(&["recover", flag, "postgres"]);
    assert!(words("--dry-run").contains("dry_run: Client"), "{}", words("--dry-run"));
    assert!(words("--dry-run").contains("name: \"postgres\""), "the name is no value of the flag");
    assert!(words("--dry-run=client").contains("dry_run: Client"));
    assert!(words("--dry-run=server").contains("dry_run: Server"));
    assert!(words("--dry-run=none").contains("dry_run: None"));
    assert!(dry(&["recover", "postgres"]).contains("dry_run: None"));
}

/// All flags that take a time read the same texts, and refuse the others with the same words.
#[test]
fn one_grammar_of_durations() {
    let flags: &[(&[&str], &str, bool)] = &[
        (&["watch", "a"], "--timeout", true),
        (&["watch", "a"], "--stable-for", true),
        (&["watch", "a"], "--stuck-after", true),
        (&["undo", "a"], "--timeout", true),
        (&["undo", "a"], "--stuck-after", true),
        (&["promote", "a"], "--bake", true),
        (&["restore-pvc", "a"], "--timeout", true),
        (&["status"], "--request-timeout", true),
        (&["prune-pvcs"], "--older-than", false),
        (&["prune-pvcs"], "--unused-for", false),
    ];
    let mut words_of_refusal = Vec::new();
    for (command, flag, takes_seconds) in flags {
        let given = |text: &str| parse(&[command, &[&format!("{flag}={text}")[..]][..]].concat());
        for text in ["90s", "1h30m", "30d", "1d12h", "500ms", "1.5h", "2w"] {
            assert!(given(text).is_ok(), "{flag} {text}");
        }
        assert_eq!(given("30").is_ok(), *takes_seconds, "{flag} 30");
        for text in ["", "x", "-1s", "1y", "1 s", "99999999999999999999s", "99999999999999999999w"] {
            let error = given(text).unwrap_err().to_string();
            let (_, why) = error.split_once(">': ").unwrap_or_else(|| panic!("{flag} {text}: {error}"));
            words_of_refusal.push(why.to_owned());
        }
    }
    words_of_refusal.dedup();
    assert_eq!(words_of_refusal.len(), 1, "{words_of_refusal:?}");
}

#[test]
fn words_that_are_no_command_get_a_fitting_tip_or_none() {
    for (word, wanted) in [
        ("restart", Some("kubectl rollout restart statefulset NAME")),
        ("pause", Some("kubectl sts canary NAME --partition N")),
        ("resume", Some("kubectl sts promote NAME")),
        ("list", Some("kubectl sts status")),
        ("get", Some("kubectl sts status")),
        ("ls", Some("kubectl sts status")),
        ("describe", Some("kubectl sts status NAME")),
        ("rollback", Some("kubectl sts undo NAME")),
        ("logs", Some("kubectl logs POD")),
        ("scale", Some("kubectl scale statefulset NAME --replicas N")),
        ("delete", Some("kubectl delete statefulset NAME")),
        ("patch", Some("kubectl sts canary NAME")),
        ("prune", Some("kubectl sts prune-pvcs")),
        ("restore", Some("kubectl sts restore-pvc FILE")),
        ("restrat", Some("kubectl rollout restart statefulset NAME")),
        ("statsu", Some("did you mean status?")),
        ("Status", Some("did you mean status?")),
        ("udno", Some("did you mean undo?")),
        ("doctr", Some("did you mean doctor?")),
        ("prune-pvc", Some("did you mean prune-pvcs?")),
        ("histroy", Some("did you mean history?")),
        ("kubernetes", None),
        ("x", None),
        ("", None),
        ("taint", None),
        ("drain", None),
        ("cordon", None),
        ("config", None),
        ("proxy", None),
        ("plugin", None),
        ("certificate", None),
        ("expose", None),
        ("kustomize", None),
        ("api-resources", None),
        ("cluster-info", None),
        ("\u{1b}[31m", None),
    ] {
        let tip = tip(word);
        match wanted {
            Some(wanted) => assert!(tip.as_ref().is_some_and(|tip| tip.contains(wanted)), "{word}: {tip:?}"),
            None => assert_eq!(tip, None, "{word}"),
        }
    }
}

/// A tip is about the word that was typed: it was listed for it on purpose, or differs in few letters from one that is.
#[test]
fn no_tip_is_about_another_thing() {
    let commands: Vec<String> = names().into_iter().filter(|name| !name.is_empty()).collect();
    let verbs = [
        "annotate",
        "api-resources",
        "api-versions",
        "apply",
        "attach",
        "autoscale",
        "certificate",
        "cluster-info",
        "config",
        "cordon",
        "cp",
        "create",
        "debug",
        "delete",
        "describe",
        "diff",
        "drain",
        "edit",
        "events",
        "exec",
        "expose",
        "get",
        "kustomize",
        "label",
        "logs",
        "patch",
        "plugin",
        "port-forward",
        "proxy",
        "replace",
        "rollout",
        "run",
        "scale",
        "set",
        "taint",
        "top",
        "uncordon",
        "wait",
        "restart",
        "pause",
        "resume",
        "rollback",
        "list",
        "ls",
        "install",
        "upgrade",
        "uninstall",
        "lint",
        "template",
        "stop",
        "start",
        "force",
        "retry",
        "dashboard",
        "terminate",
        "notify",
        "certify",
        "fence",
        "hibernation",
        "psql",
        "switch",
    ];
    for verb in verbs {
        // What is near by its letters only is named by its name, and none of these is a command that is misspelt.
        let tip = tip(verb).unwrap_or_default();
        assert!(!tip.starts_with("did you mean"), "{verb}: {tip}");
        assert!(!(verb == "restart" && tip.contains("restore")), "{tip}");
    }
    for command in &commands {
        for at in 0..command.len() {
            let mut word = command.clone();
            word.remove(at);
            // `unto` is as near to `undo` as to `into`; short names have no letter to spare.
            if word.len() >= 4 && !commands.contains(&word) {
                let tip = tip(&word).unwrap_or_default();
                assert!(tip.contains(command.as_str()), "{word} of {command}: {tip}");
            }
        }
    }
}

#[test]
fn every_tip_is_a_command_that_exists() {
    let mut checked = 0;
    for word in [
        "pause", "resume", "list", "describe", "rollback", "diff", "follow", "check", "fix", "cancel", "set",
        "prune", "restore", "dump", "rules",
    ] {
        let tip = tip(word).unwrap();
        let (_, line) = tip.split_once("kubectl sts ").unwrap_or_else(|| panic!("{word}: {tip}"));
        let line = line
            .replace(" N", " 1")
            .replace("1AME", "NAME")
            .replace("A..B", "1..2")
            .replace("CONTAINER=IMAGE", "a=b");
        let words: Vec<&str> = line.split(' ').collect();
        assert!(parse(&words).is_ok(), "{word}: {line}");
        checked += 1;
    }
    assert_eq!(checked, 15);
}

#[test]
fn the_version_is_shown_even_if_the_server_does_not_answer() {
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
        Run::of(command.arg("version").args(words).env_clear(), "")
    };
    let own = format!("Client Version: v{}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["--client"]).ok(), own);
    let alone = run(&["--server", "http://127.0.0.1:1"]).code(3);
    assert_eq!(alone.stdout, own, "{alone}");
    assert!(
        alone.stderr.starts_with("error: the connection to the server http://127.0.0.1:1 was refused"),
        "{alone}"
    );
    let json = run(&["--server", "http://127.0.0.1:1", "-o", "json"]).code(3);
    crate::schema::holds(&json.stdout);
    let value: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert!(value["serverVersion"].is_null(), "{value}");
}

#[test]
fn the_version_of_the_server_is_what_kubectl_says() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("version");
    let said = ns.sts(&["version"]).ok();
    let kubectl = ns.kubectl(&["version"]).ok();
    let server =
        |text: &str| text.lines().find(|line| line.starts_with("Server Version: ")).map(str::to_owned);
    assert!(server(&said).is_some() && server(&said) == server(&kubectl), "{said}\n{kubectl}");
    let lister = ns.user("lister", "- {apiGroups: [apps], resources: [statefulsets], verbs: [list]}");
    assert_eq!(ns.sts_as(&lister, &["version"]).ok(), said, "no permission of its own is needed");
    let json = ns.sts(&["version", "-o", "json"]).ok();
    crate::schema::holds(&json);
    assert!(json.contains("\"serverVersion\": {"), "{json}");
}
