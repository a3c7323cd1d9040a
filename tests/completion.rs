//! Completion: what kubectl is answered, and what a person sees who presses TAB in a real shell.

mod of_set;
mod shell;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{self, Namespace, PATIENCE, Run};
use shell::Shell;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kubectl-sts");

/// A home directory with the program under both names in `bin`, and nothing else.
struct Home(TempDir);

impl Home {
    fn new() -> Home {
        let home = Home(TempDir::new().unwrap());
        fs::create_dir(home.bin()).unwrap();
        symlink(PROGRAM, home.bin().join("kubectl-sts")).unwrap();
        symlink("kubectl-sts", home.bin().join("kubectl_complete-sts")).unwrap();
        home
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn bin(&self) -> PathBuf {
        self.path().join("bin")
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin().join(name));
        command.env_clear().env("HOME", self.path()).env("PATH", "/usr/bin:/bin").current_dir(self.path());
        command
    }

    /// What kubectl is answered, without the descriptions; it must be silent and, unless the machine is busy, quick.
    #[track_caller]
    fn complete(&self, words: &[&str]) -> Vec<String> {
        let mut slow = Vec::new();
        loop {
            let begun = Instant::now();
            let run = Run::of(self.command("kubectl_complete-sts").args(words), "").code(0);
            assert_eq!(run.stderr, "", "{run}");
            if begun.elapsed() < Duration::from_millis(1100) {
                return candidates(&run.stdout);
            }
            slow.push(begun.elapsed());
            assert!(slow.len() < 5, "took {slow:?}\n{run}");
        }
    }
}

fn candidates(stdout: &str) -> Vec<String> {
    stdout.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

const RECORDED: &str = "\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web, namespace: shop}
spec: {}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: queue, namespace: shop}
spec: {}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: mail, namespace: office}
spec: {}
";

#[test]
fn what_is_known_without_a_cluster_is_offered() {
    let home = Home::new();
    for (words, expected) in [
        (&["st"][..], &["status", ":4"][..]),
        (&["-n", "shop", "do"], &["doctor", ":4"]),
        (&["status", "--out"], &["--output", ":4"]),
        (&["status", "--output=json", "--out"], &[":4"]),
        (&["status", "--fr"], &["--from", "--from-pod", ":4"]),
        (&["status", "--from", "x", "--fr"], &["--from", "--from-pod", ":4"]),
        (&["status", "-A", "--all"], &[":4"]),
        (&["explain", "--all"], &[":4"]),
        (
            &["status", "-o", ""],
            &[
                "text",
                "wide",
                "json",
                "yaml",
                "name",
                "jsonpath=",
                "jsonpath-file=",
                "custom-columns=",
                "custom-columns-file=",
                ":4",
            ],
        ),
        (&["status", "-o", "js"], &["json", "jsonpath=", "jsonpath-file=", ":4"]),
        (&["status", "-o", "custom-columns-"], &["custom-columns-file=", ":6"]),
        // kubectl's scripts put back what stands before the sign
        (&["status", "--output=y"], &["yaml", ":4"]),
        (&["status", "-o=y"], &["yaml", ":4"]),
        (&["status", "-oy"], &["-oyaml", ":4"]),
        (&["status", "-Aoy"], &["-Aoyaml", ":4"]),
        (&["--color", "a"], &["auto", "always", ":4"]),
        (&["doctor", "--fail-on", ""], &["error", "warning", "note", "never", ":4"]),
        (&["doctor", "--only", "STS301"], &["STS301", ":4"]),
        (&["doctor", "--only", "rollback"], &["rollback-trap", ":4"]),
        (&["doctor", "--only=STS302,rollb"], &["STS302,rollback-trap", ":4"]),
        (&["doctor", "--only=STS301,rollb"], &[":4"]),
        (&["doctor", "--skip", "rollback-trap", "--skip", "STS301"], &[":4"]),
        (&["explain", "STS301"], &["STS301", ":4"]),
        (&["explain", "STS301", ""], &[":4"]),
        (&["status", "--from", ""], &[":0"]),
        (&["record", "--to="], &[":0"]),
        (&["status", "--kubeconfig", "x"], &[":0"]),
        (&["completion", "--install", "--dir", ""], &[":16"]),
        (&["completion", "z"], &["zsh", ":4"]),
        (&["status", "--", "--out"], &[":4"]),
        (&["status", "--request-timeout", ""], &[":4"]),
        (&["status", "--insecure-skip-tls-verify", "-o", "y"], &["yaml", ":4"]),
        (&["nonsense", ""], &[":4"]),
        (&["--no-such-flag", "st"], &["status", ":4"]),
        (&["status", "--no-such-flag="], &[":4"]),
        (&["status", "-"], &[]),
        (&[], &[]),
    ] {
        let offered = home.complete(words);
        if expected.is_empty() {
            assert!(offered.len() > 4, "{words:?} offers {offered:?}");
        } else {
            assert_eq!(offered, expected, "{words:?}");
        }
    }
    let flags = home.complete(&["status", "-"]);
    assert!(flags.contains(&"--namespace".to_owned()) && flags.contains(&"-n".to_owned()), "{flags:?}");
    assert!(!home.complete(&[""]).iter().any(|word| word.starts_with('-')));
    assert!(home.complete(&["explain", ""]).iter().all(|word| word.starts_with("STS") || word == ":4"));

    let run = Run::of(home.command("kubectl_complete-sts").arg("doc"), "");
    assert_eq!(run.stdout, "doctor\tDiagnose StatefulSets and suggest fixes\n:4\n");
    let run = Run::of(home.command("kubectl-sts").args(["__complete", "doc"]), "");
    assert_eq!(candidates(&run.ok()), ["doctor", ":4"]);
}

#[test]
fn names_come_from_the_files_and_the_kubeconfig_given() {
    let home = Home::new();
    let from = home.write("shop.yaml", RECORDED);
    let kubeconfig = "contexts: [{name: 'arn:aws:eks:one', context: {cluster: c1, user: u1}}, {name: two}]\n\
        clusters: [{name: c1}]\nusers: [{name: u1, user: {}}, {name: \"bad\\nname\", user: {}}]\n";
    let other = home.write("other", "contexts: [{name: three}]\n");
    home.write(".kube/config", kubeconfig);
    for (words, expected) in [
        (&["status", "--from", &from, ""][..], &["mail", "queue", "web", ":4"][..]),
        (&["status", "--from", &from, "-n", "shop", ""], &["queue", "web", ":4"]),
        (&["status", "--from", &from, "-nshop", "queue", ""], &["web", ":4"]),
        (&["status", "--from", &from, "sts/queue", "sts/w"], &["sts/web", ":4"]),
        (&["status", "--from", &from, "-n", ""], &["office", "shop", ":4"]),
        (&["status", "--from", "-", ""], &[":4"]),
        (&["status", "--from", "missing", ""], &[":4"]),
        (&["explain", "--from", &from, ""], &[]),
        (&["status", "--context", ""], &["arn:aws:eks:one", "two", ":4"]),
        (&["status", "--context=arn:"], &["arn:aws:eks:one", ":4"]),
        (&["status", "--kubeconfig", &other, "--context", ""], &["three", ":4"]),
        (&["status", "--kubeconfig=x", "--kubeconfig", &other, "--context", ""], &["three", ":4"]),
        (&["status", "--cluster", ""], &["c1", ":4"]),
        (&["status", "--user", ""], &["u1", ":4"]),
    ] {
        let offered = home.complete(words);
        assert!(
            offered == expected || expected.is_empty() && !offered.contains(&"web".into()),
            "{words:?}: {offered:?}"
        );
    }
}

#[test]
fn trouble_is_silent_and_short() {
    let home = Home::new();
    assert_eq!(home.complete(&["status", ""]), [":4"], "no kubeconfig");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    for scheme in ["http", "https"] {
        let server = format!("--server={scheme}://{address}");
        assert_eq!(home.complete(&["status", &server, ""]), [":4"], "a server that says nothing");
    }
    assert_eq!(home.complete(&["status", "--server=http://127.0.0.1:1", ""]), [":4"], "a closed port");
    assert_eq!(home.complete(&["status", "--server=::", ""]), [":4"], "no address");

    let noisy = home.write("noisy.sh", "echo trouble >&2\nsleep 20\n");
    let exec = "apiVersion: client.authentication.k8s.io/v1, interactiveMode: IfAvailable, command: sh";
    let plugin = format!(
        "current-context: one\ncontexts: [{{name: one, context: {{cluster: c1, user: u1}}}}]\n\
         clusters: [{{name: c1, cluster: {{server: 'https://127.0.0.1:1'}}}}]\n\
         users: [{{name: u1, user: {{exec: {{{exec}, args: ['{noisy}']}}}}}}]\n"
    );
    home.write(".kube/config", &plugin);
    assert_eq!(home.complete(&["status", ""]), [":4"], "a plugin that hangs");
    home.write(".kube/config", "}{ garbage");
    assert_eq!(home.complete(&["status", ""]), [":4"]);
    assert_eq!(home.complete(&["status", "--context", ""]), [":4"]);
    home.write("garbage.yaml", "a: [");
    assert_eq!(home.complete(&["status", "--from", "garbage.yaml", ""]), [":4"]);
    let pipe = home.path().join("pipe");
    Run::of(Command::new("mkfifo").arg(&pipe), "").ok();
    assert_eq!(
        home.complete(&["status", "--from", pipe.to_str().unwrap(), ""]),
        [":4"],
        "a pipe nobody writes to"
    );
    for words in
        [&["\u{1b}[31m", "--=", "-", "--", "-=x", ""][..], &["--", "--", "-"], &["-é", "-ñ=", "=,,="]]
    {
        assert_eq!(home.complete(words).last().map(String::as_str), Some(":4"), "{words:?}");
    }
}

#[test]
fn install_makes_the_name_and_spares_what_is_not_ours() {
    let home = Home::new();
    let (bin, helper) = (home.bin(), home.bin().join("kubectl_complete-sts"));
    let install = |more: &[&str]| {
        let mut command = home.command("kubectl-sts");
        command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
        Run::of(command.args(["completion", "--install"]).args(more), "")
    };
    assert!(install(&[]).ok().contains("already exists"));
    fs::remove_file(&helper).unwrap();
    let said = install(&[]).ok();
    assert!(said.contains("kubectl_complete-sts created") && !said.contains("not in PATH"), "{said}");
    // by the name alone, so that it follows when a package manager replaces what kubectl-sts leads to
    assert_eq!(fs::read_link(&helper).unwrap(), Path::new("kubectl-sts"));
    assert_eq!(home.complete(&["st"]), ["status", ":4"]);

    fs::remove_file(&helper).unwrap();
    symlink("/old/place/kubectl-sts", &helper).unwrap();
    assert!(install(&[]).ok().contains("created for"), "a link of an earlier version is replaced");
    fs::remove_file(&helper).unwrap();
    fs::write(&helper, "#!/bin/sh\n").unwrap();
    let refused = install(&[]).code(4);
    assert!(refused.stderr.contains("already exists and belongs to another program"), "{refused}");
    assert_eq!(fs::read_to_string(&helper).unwrap(), "#!/bin/sh\n");

    fs::create_dir(home.path().join("elsewhere")).unwrap();
    let said = install(&["--dir", "elsewhere"]).ok();
    assert!(said.contains("not in PATH"), "{said}");
    let link = fs::read_link(home.path().join("elsewhere/kubectl_complete-sts")).unwrap();
    assert_eq!(link, bin.join("kubectl-sts"));
    let failed = install(&["--dir", "missing"]).code(3);
    assert!(failed.stderr.contains("could not write"), "{failed}");
    assert!(install(&["--dir", "elsewhere", "-o", "json"]).ok().contains("\"made\": false"));

    for wrong in [&[][..], &["--dir", "x"], &["bash", "--dir", "x"], &["tcsh", "--install"], &["tcsh"]] {
        Run::of(home.command("kubectl-sts").arg("completion").args(wrong), "").code(2);
    }
    for (shell, file) in [("bash", "bash"), ("zsh", "zsh"), ("fish", "fish"), ("powershell", "ps1")] {
        let script = Run::of(home.command("kubectl-sts").args(["completion", shell]), "").ok();
        let path = format!("{}/completions/kubectl-sts.{file}", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(script, fs::read_to_string(path).unwrap());
    }
}

#[test]
fn install_puts_the_script_where_the_shell_looks_and_spares_what_is_not_ours() {
    let home = Home::new();
    let install = |shell: &str, more: &[&str]| {
        let mut command = home.command("kubectl-sts");
        command.env("PATH", format!("{}:/usr/bin:/bin", home.bin().display()));
        Run::of(command.args(["completion", shell, "--install"]).args(more), "")
    };
    for (shell, file, source, left) in [
        ("bash", ".local/share/bash-completion/completions/kubectl-sts", "bash", "source '"),
        ("zsh", ".zfunc/_kubectl-sts", "zsh", "fpath=('"),
        ("fish", ".config/fish/completions/kubectl-sts.fish", "fish", ""),
        ("powershell", ".config/powershell/kubectl-sts.ps1", "ps1", ". '"),
    ] {
        let file = home.path().join(file);
        let script = format!("{}/completions/kubectl-sts.{source}", env!("CARGO_MANIFEST_DIR"));
        let script = fs::read_to_string(script).unwrap();
        let said = install(shell, &[]).ok();
        assert!(said.contains(&format!("{} created\n", file.display())) && said.contains(left), "{said}");
        assert_eq!(fs::read_to_string(&file).unwrap(), script);
        assert!(
            install(shell, &[]).ok().contains(&format!("{} already exists", file.display())),
            "once more"
        );
        let old = script.lines().take(2).collect::<Vec<_>>().join("\n") + "\nold\n";
        fs::write(&file, old).unwrap();
        assert!(install(shell, &["-o", "json"]).ok().contains("\"scriptMade\": true"), "{shell}");
        assert_eq!(fs::read_to_string(&file).unwrap(), script, "that of another version is replaced");

        let helper = home.bin().join("kubectl_complete-sts");
        fs::remove_file(&helper).unwrap();
        fs::write(&file, "# mine\n").unwrap();
        let refused = install(shell, &[]).code(4);
        assert!(refused.stderr.contains("is not a script of kubectl-sts"), "{refused}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "# mine\n");
        fs::remove_file(&file).unwrap();
        symlink("/nowhere/else", &file).unwrap();
        install(shell, &[]).code(4);
        assert!(!helper.exists(), "nothing is written before the refusal");
        fs::remove_file(&file).unwrap();
        install(shell, &[]).ok();
        assert!(helper.exists());
    }
    let mut homeless = home.command("kubectl-sts");
    homeless.env_remove("HOME").args(["completion", "fish", "--install"]);
    assert!(Run::of(&mut homeless, "").code(2).stderr.contains("the home directory is not known"));
}

#[test]
fn bash_completes_the_program_called_by_its_own_name() {
    let home = Home::new();
    home.write("shop.yaml", RECORDED);
    home.write(".kube/config", "contexts: [{name: 'arn:aws:eks:one'}, {name: 'arn:aws:eks:two'}]\n");
    fs::create_dir(home.path().join("cluster")).unwrap();
    let mut bash = Shell::bash(&home, "/usr/bin:/bin", &[]);
    bash.run("source <(kubectl-sts completion bash)");
    for (typed, becomes) in [
        ("kubectl-sts stat\t", "kubectl-sts status "),
        ("kubectl-sts status -o ya\t", "kubectl-sts status -o yaml "),
        ("kubectl-sts status --output=ya\t", "kubectl-sts status --output=yaml "),
        ("kubectl-sts status -oya\t", "kubectl-sts status -oyaml "),
        ("kubectl-sts status --from sh\t", "kubectl-sts status --from shop.yaml "),
        ("kubectl-sts status --from=sh\t", "kubectl-sts status --from=shop.yaml "),
        ("kubectl-sts status --from ~/shop.yaml m\t", "kubectl-sts status --from ~/shop.yaml mail "),
        ("kubectl-sts status sh\t", "kubectl-sts status sh"),
        ("kubectl-sts status --context arn:aws:eks:t\t", "kubectl-sts status --context arn:aws:eks:two "),
        ("kubectl-sts status --context=arn:aws:eks:t\t", "kubectl-sts status --context=arn:aws:eks:two "),
        ("kubectl-sts doctor --only STS302,rollb\t", "kubectl-sts doctor --only STS302,rollback-trap "),
        ("kubectl-sts completion --install --dir cl\t", "kubectl-sts completion --install --dir cluster/"),
    ] {
        assert_eq!(bash.line(typed), becomes, "{typed:?}");
    }
    bash.press("kubectl-sts \t\t");
    bash.see("(Explain a rule: what it means, why it happens, how to check and how to fix it)");
}

/// Two empty sets in one namespace, another one elsewhere, and a user who may list those of the first, and nothing else.
fn sets(ns: &Namespace, other: &Namespace) -> PathBuf {
    for (ns, name) in [(ns, "postgres"), (ns, "queue"), (other, "mail")] {
        ns.apply(&format!(
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: {name}}}\nspec:\n  replicas: 0\n  \
             selector: {{matchLabels: {{app: a}}}}\n  template:\n    metadata: {{labels: {{app: a}}}}\n    \
             spec: {{containers: [{{name: main, image: 'example.test/a:1'}}]}}\n"
        ));
    }
    ns.user("lister", "- {apiGroups: [apps], resources: [statefulsets], verbs: [list]}")
}

#[test]
fn kubectl_is_answered_with_the_sets_of_the_namespace() {
    let Some(cluster) = support::cluster() else { return };
    let (ns, other) = (cluster.namespace("complete"), cluster.namespace("complete-other"));
    let user = sets(&ns, &other);
    let home = Home::new();
    let ask = |kubeconfig: &Path, words: &[&str]| {
        let mut command = Command::new(&cluster.plane.kubectl);
        cluster.plane.clean(&mut command).env("KUBECONFIG", kubeconfig);
        let path = format!("{}:/usr/bin:/bin", home.bin().display());
        let run = Run::of(command.env("PATH", path).args(["__complete", "sts"]).args(words), "");
        candidates(&run.ok())
    };
    // on a busy machine an answer can be late, and then it is empty
    let expect = |kubeconfig: &Path, words: &[&str], expected: &[&str]| {
        support::wait(&format!("{words:?} to become {expected:?}"), PATIENCE, || {
            let offered = ask(kubeconfig, words);
            if offered == expected { Ok(()) } else { Err(format!("{offered:?}")) }
        });
    };
    let (admin, elsewhere) = (cluster.plane.kubeconfig.as_path(), other.name.as_str());
    let both = ["postgres", "queue", ":4"];
    expect(&user, &["status", ""], &both);
    expect(&user, &["doctor", "postgres", ""], &["queue", ":4"]);
    expect(&user, &["status", "statefulset.apps/q"], &["statefulset.apps/queue", ":4"]);
    expect(admin, &["status", "-n", &ns.name, ""], &both);
    expect(admin, &["--namespace", elsewhere, "status", ""], &["mail", ":4"]);
    expect(admin, &["status", &format!("-n{elsewhere}"), "m"], &["mail", ":4"]);
    expect(admin, &["status", "-n", elsewhere], &[elsewhere, ":4"]);
    let flag = format!("--kubeconfig={}", admin.display());
    expect(Path::new("/nowhere"), &["status", &flag, "-n", elsewhere, ""], &["mail", ":4"]);
    expect(&user, &["st"], &["status", ":4"]);
    assert_eq!(ask(&user, &["status", "-n", elsewhere, ""]), [":4"], "forbidden is silent");
    let of_all = ask(admin, &["status", "-A", ""]);
    assert!(["postgres", "mail"].iter().all(|name| of_all.contains(&(*name).to_owned())), "{of_all:?}");
}

#[test]
fn tab_in_bash_lists_the_sets_through_kubectl() {
    let Some(cluster) = support::cluster() else { return };
    let (ns, other) = (cluster.namespace("tab"), cluster.namespace("tab-other"));
    let user = sets(&ns, &other);
    let home = Home::new();
    symlink(&cluster.plane.kubectl, home.bin().join("kubectl")).unwrap();
    let mut bash = Shell::bash(&home, "/usr/bin:/bin", &[("KUBECONFIG", &user)]);
    // kubectl's script takes two functions from the package bash-completion, which is not on every machine
    bash.run(
        "source /usr/share/bash-completion/bash_completion 2>/dev/null || { \
         _get_comp_words_by_ref() { words=(\"${COMP_WORDS[@]}\"); cword=$COMP_CWORD; cur=${words[cword]}; }; \
         __ltrim_colon_completions() { :; }; }",
    );
    bash.run("source <(kubectl completion bash)");
    bash.press("kubectl sts status \t\t");
    let screen = bash.see("queue");
    assert!(screen.contains("postgres") && !screen.contains("mail"), "{screen}");
    assert_eq!(bash.line("q\t"), "kubectl sts status queue ");
    assert_eq!(bash.line("kubectl sts stat\t"), "kubectl sts status ");
    assert_eq!(bash.line("kubectl sts status -o ya\t"), "kubectl sts status -o yaml ");
}
