//! Completion of what depends on one StatefulSet: in a table, and by TAB in real shells through kubectl.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::shell::{Shell, is_here};
use super::{Home, candidates};
use crate::support::{self, Cluster, Namespace, PATIENCE, Run};

const RECORDED: &str = "\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web, namespace: shop}
spec:
  replicas: 4
  ordinals: {start: 10}
  updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 3}}
  template:
    spec:
      initContainers: [{name: setup, image: 'example.test/setup:1'}]
      containers: [{name: main, image: \"example.test/a:1\\e[31m \\t:4\"}, {name: proxy}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: zero, namespace: shop}
spec: {replicas: 0}
";

#[test]
fn values_are_those_of_the_one_set() {
    let home = Home::new();
    let from = home.write("shop.yaml", RECORDED);
    let containers = "main=\tnow example.test/a:1 :4\nproxy=\nsetup=\tnow example.test/setup:1\n:38\n";
    for (words, expected) in [
        (
            &["canary", "web", "--partition", ""][..],
            "3\tupdates web-13\n2\tupdates web-12 and web-13\n1\tupdates web-11 to web-13\n0\tupdates all 4 pods\n:36\n",
        ),
        (&["canary", "zero", "--partition", ""], ":36\n"),
        (
            &["promote", "web", "--partition", ""],
            "2\tupdates web-12\n1\tupdates web-11 and web-12\n0\tupdates web-10 to web-12\n:36\n",
        ),
        (&["canary", "sts/web", "--partition", "2"], "2\tupdates web-12 and web-13\n:36\n"),
        (&["canary", "sts", "web", "--partition=3"], "3\tupdates web-13\n:36\n"),
        (&["canary", "web", "--steps", "2,"], "2,1\tupdates web-11\n2,0\tupdates web-10 and web-11\n:36\n"),
        (&["canary", "web", "--steps=3,1,"], "3,1,0\tupdates web-10\n:36\n"),
        (
            &["canary", "web", "--pods", ""],
            "1\tupdates web-13\n2\tupdates web-12 and web-13\n3\tupdates web-11 to web-13\n4\tupdates all 4 pods\n\
             10%\tupdates web-13\n25%\tupdates web-13\n50%\tupdates web-12 and web-13\n100%\tupdates all 4 pods\n:36\n",
        ),
        (&["canary", "web", "--image", ""], containers),
        (&["canary", "web", "--image=p"], "proxy=\n:36\n"),
        (&["canary", "web", "--image", "p"], "proxy=\n:38\n"),
        (&["canary", "web", "--image", "main=a", "--image", "m"], ":36\n"),
        (&["canary", "web", "--image", "main="], ":36\n"),
        (&["canary", "--image", ""], ":36\n"),
        (&["canary", "nothing", "--image", ""], ":36\n"),
        (&["canary", "pod/web", "--image", ""], ":36\n"),
        (&["canary", "statefulset", "w"], "web\n:4\n"),
        (&["status", "statefulsets.apps", "web", ""], "zero\n:4\n"),
        (&["prune-pvcs", "--include-zero=z"], "zero\n:4\n"),
        // a recording holds no templates, so these take none
        (&["undo", "web", "--to-revision", ""], ":36\n"),
        (&["history", "web", "--diff", ""], ":36\n"),
    ] {
        let (first, rest) = words.split_first().unwrap();
        let mut command = home.command("kubectl_complete-sts");
        let run = Run::of(command.arg(first).args(["--from", &from]).args(rest), "");
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), (expected, ""), "{words:?}");
    }
}

/// `postgres` with two revisions and a partition, `zero` without replicas, and a user who may list what is completed here.
fn rolled_out(ns: &Namespace) -> PathBuf {
    ns.apply(
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: postgres, annotations: {kubernetes.io/change-cause: install}}\n\
         spec:\n  replicas: 3\n  podManagementPolicy: Parallel\n  selector: {matchLabels: {app: a}}\n  \
         updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 2}}\n  template:\n    \
         metadata: {labels: {app: a}}\n    spec:\n      containers:\n      - {name: main, image: 'example.test/a:1'}\n      \
         - {name: proxy, image: 'example.test/proxy:1'}\n---\n\
         apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: zero}\nspec:\n  replicas: 0\n  \
         selector: {matchLabels: {app: b}}\n  template:\n    metadata: {labels: {app: b}}\n    \
         spec: {containers: [{name: main, image: 'example.test/b:1'}]}\n",
    );
    ns.wait_ready("postgres", 3);
    let cause = "bump to 2\u{1b}[31m\n:0\tand more; psql://admin:hunter2@db";
    ns.patch(
        "sts/postgres",
        &json!({
            "metadata": {"annotations": {"kubernetes.io/change-cause": cause}},
            "spec": {"template": {"spec": {"containers": [
                {"name": "main", "image": "example.test/a:2"}, {"name": "proxy", "image": "example.test/proxy:1"},
            ]}}},
        }),
    );
    let revisions = || ns.kubectl_json(&["get", "controllerrevisions"])["items"].as_array().unwrap().len();
    ns.wait("three revisions", PATIENCE, || {
        if revisions() == 3 { Ok(()) } else { Err(revisions().to_string()) }
    });
    ns.user(
        "completer",
        "- {apiGroups: [apps], resources: [statefulsets, controllerrevisions], verbs: [list]}\n\
         - {apiGroups: [''], resources: [pods], verbs: [list]}",
    )
}

fn links(home: &Home, cluster: &Cluster) {
    symlink(&cluster.plane.kubectl, home.bin().join("kubectl")).unwrap();
}

#[test]
fn kubectl_is_answered_with_what_the_cluster_has() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("complete-set");
    let user = rolled_out(&ns);
    let home = Home::new();
    let ask = |words: &[&str]| {
        let mut command = Command::new(&cluster.plane.kubectl);
        cluster
            .plane
            .clean(&mut command)
            .env("KUBECONFIG", &user)
            .env("KUBECTL_STS_COMPLETION_TIMEOUT", "10s");
        let path = format!("{}:/usr/bin:/bin", home.bin().display());
        Run::of(command.env("PATH", path).args(["__complete", "sts"]).args(words), "").ok()
    };
    let revisions = ask(&["undo", "postgres", "--to-revision", ""]);
    let lines: Vec<&str> = revisions.lines().collect();
    assert_eq!(candidates(&revisions), ["2", "1", ":36"], "{revisions}");
    assert!(
        lines[0].starts_with("2\tupdate, ") && lines[0].contains(" old, bump to 2 :0 and more"),
        "{revisions}"
    );
    assert!(lines[1].starts_with("1\tcurrent, ") && lines[1].ends_with("s old, install"), "{revisions}");
    assert!(!revisions.contains("hunter2") && !revisions.contains('\u{1b}'), "{revisions}");
    let by_name = candidates(&ask(&["undo", "postgres", "--to-revision", "post"]));
    assert!(by_name.len() == 3 && by_name[0].starts_with("postgres-"), "{by_name:?}");
    for (words, expected) in [
        (&["history", "postgres", "--diff", ""][..], &["2..", "1..", ":38"][..]),
        (&["history", "postgres", "--diff=1.."], &["1..2", ":36"]),
        (&["undo", "zero", "--to-revision", ""], &["1", ":36"]),
        (&["canary", "postgres", "--image", ""], &["main=", "proxy=", ":38"]),
        (&["canary", "postgres", "--partition", ""], &["2", "1", "0", ":36"]),
        (&["promote", "postgres", "--partition", ""], &["1", "0", ":36"]),
        (&["status", "--probe-dns", "--from-pod", ""], &["postgres-0", "postgres-1", "postgres-2", ":4"]),
        (&["prune-pvcs", "--include-zero="], &["zero", ":4"]),
        // forbidden, and no kind of this cluster
        (&["prune-pvcs", "--snapshot", ""], &[":4"]),
    ] {
        assert_eq!(candidates(&ask(words)), expected, "{words:?}");
    }
    assert!(ask(&["status", "p"]).starts_with("postgres\t"), "{}", ask(&["status", "p"]));
    assert!(ask(&["status", "p"]).contains("/3 ready\n"));
}

#[test]
fn tab_in_real_shells_shows_revisions_with_their_descriptions() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("tab-set");
    let user = rolled_out(&ns);
    let patience = Path::new("10s");
    let env = [("KUBECONFIG", user.as_path()), ("KUBECTL_STS_COMPLETION_TIMEOUT", patience)];
    for name in ["bash", "zsh"] {
        if !is_here(name) {
            continue;
        }
        let home = Home::new();
        links(&home, cluster);
        let mut shell = if name == "zsh" {
            Shell::zsh(&home, "/usr/bin:/bin", &env)
        } else {
            Shell::bash(&home, "/usr/bin:/bin", &env)
        };
        shell.run(
            "[ -z \"$BASH_VERSION\" ] || source /usr/share/bash-completion/bash_completion 2>/dev/null || { \
             _get_comp_words_by_ref() { words=(\"${COMP_WORDS[@]}\"); cword=$COMP_CWORD; cur=${words[cword]}; }; \
             __ltrim_colon_completions() { :; }; }",
        );
        shell.run(&format!("source <(kubectl completion {name}); source <(kubectl-sts completion {name})"));
        // The first one lists in zsh, and the second one in bash.
        let tab = if name == "zsh" { "\t" } else { "\t\t" };
        for program in ["kubectl sts", "kubectl-sts"] {
            shell.press(&format!("{program} undo postgres --to-revision {tab}"));
            let screen = shell.see("install");
            let (newest, oldest) =
                (screen.find("bump to 2").unwrap_or(usize::MAX), screen.find("install").unwrap());
            assert!(newest < oldest, "{name}: the newest is first:\n{screen}");
            let line = shell.line("1\t");
            assert_eq!(line.trim_end(), format!("{program} undo postgres --to-revision 1"), "{name}");
            shell.press(&format!("{program} canary postgres --partition {tab}"));
            shell.see("updates postgres-1 and postgres-2");
            let line = shell.line("0\t");
            assert_eq!(line.trim_end(), format!("{program} canary postgres --partition 0"), "{name}");
            let line = shell.line(&format!("{program} canary postgres --image pr\t"));
            assert_eq!(line, format!("{program} canary postgres --image proxy="), "{name}");
            shell.press(&format!("{program} canary {tab}"));
            shell.see("/3 ready");
            shell.line("x");
        }
    }
    if is_here("fish") {
        let fish = |words: &str| {
            let home = Home::new();
            links(&home, cluster);
            let program = words.split(' ').next().unwrap();
            let mut command = home.command("fish");
            let script = format!("{program} completion fish | source; complete -C '{words}'");
            command.envs(env).env("PATH", format!("{}:/usr/bin:/bin", home.bin().display()));
            Run::of(command_of("fish", command).args(["--no-config", "-c", &script]), "").ok()
        };
        for program in ["kubectl sts", "kubectl-sts"] {
            let offered = fish(&format!("{program} undo postgres --to-revision "));
            assert!(offered.starts_with("2\tupdate, ") && offered.ends_with(" old, install\n"), "{offered}");
            let offered = fish(&format!("{program} canary postgres --image=pr"));
            assert_eq!(offered, "--image=proxy=\tnow example.test/proxy:1\n");
        }
    }
    if is_here("pwsh") {
        let pwsh = |words: &str| {
            let home = Home::new();
            links(&home, cluster);
            let program = words.split(' ').next().unwrap();
            let script = format!(
                "{program} completion powershell | Out-String | Invoke-Expression; \
                 (TabExpansion2 '{words}' {}).CompletionMatches | ForEach-Object {{ $_.CompletionText + \"`t\" + $_.ToolTip }}",
                words.len()
            );
            let mut command = home.command("pwsh");
            command.envs(env).env("PATH", format!("{}:/usr/bin:/bin", home.bin().display()));
            Run::of(command_of("pwsh", command).args(["-NoProfile", "-Command", &script]), "").ok()
        };
        for program in ["kubectl sts", "kubectl-sts"] {
            let offered = pwsh(&format!("{program} undo postgres --to-revision "));
            assert!(offered.contains("2\tupdate, ") && offered.contains(" old, install"), "{offered}");
        }
    }
}

/// The same environment for a program of the machine.
fn command_of(name: &str, home: Command) -> Command {
    let mut command = Command::new(name);
    command.env_clear().current_dir(home.get_current_dir().unwrap());
    command.envs(home.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

#[test]
fn tab_shows_nothing_and_returns_when_the_cluster_does_not_answer() {
    let home = Home::new();
    // Asks on the terminal itself, as `ssh` and `sudo` do.
    let asking = home.write(
        "ask.sh",
        "echo 'Password: ' >/dev/tty\nread answer </dev/tty && echo asked >\"$HOME/asked\"\n",
    );
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let exec = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: IfAvailable, command: sh, args: ['{asking}']}}"
    );
    let port = silent.local_addr().unwrap().port();
    for (user, server) in [
        ("token: t".to_owned(), format!("https://127.0.0.1:{port}")),
        ("token: t".to_owned(), "https://127.0.0.1:1".to_owned()),
        (exec, "https://127.0.0.1:1".to_owned()),
    ] {
        home.write(
            ".kube/config",
            &format!(
                "current-context: one\ncontexts: [{{name: one, context: {{cluster: c1, user: u1}}}}]\n\
                 clusters: [{{name: c1, cluster: {{server: '{server}'}}}}]\nusers: [{{name: u1, user: {{{user}}}}}]\n"
            ),
        );
        let mut bash = Shell::bash(&home, "/usr/bin:/bin", &[]);
        bash.run("source <(kubectl-sts completion bash)");
        let begun = Instant::now();
        let line = bash.line("kubectl-sts undo postgres --to-revision \t\t");
        assert_eq!(line, "kubectl-sts undo postgres --to-revision ", "{server}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{server}: {:?}", begun.elapsed());
        let screen = bash.see("ready> ");
        assert!(
            !screen.contains("Password") && !screen.to_lowercase().contains("error"),
            "{server}:\n{screen}"
        );
    }
    thread::sleep(Duration::from_millis(100));
    assert!(!home.path().join("asked").exists());
    fs::remove_file(asking).unwrap();
}
