//! Credentials that expire, plugins that do not end, and values that cannot be sent: through the real program.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::harness::header;
use super::stand_in::{Said, StandIn, date, program, status, with_header};
use crate::support::Run;

/// Tokens may be used for so many requests.
const USES: usize = 7;

/// A server whose tokens are used up: `token-N` is taken for the Nth span of requests only. What it refused once is taken
/// with any newer token, as a slow request may come when others have used that one up too.
fn forgetful() -> StandIn {
    let state = Arc::new(Mutex::new((0, 0)));
    let refused = Mutex::new(HashMap::new());
    StandIn::start_tls(move |asked, right| {
        let token: Option<usize> = header(&asked.head, "authorization")
            .and_then(|token| token.strip_prefix("Bearer token-")?.parse().ok());
        let line = asked.head.lines().next().unwrap().to_owned();
        let mut state = state.lock().unwrap();
        let (current, used) = &mut *state;
        let known = match token {
            Some(token) if token > *current => {
                (*current, *used) = (token, 1);
                true
            }
            Some(token) if token == *current && *used < USES => {
                *used += 1;
                true
            }
            _ => refused.lock().unwrap().remove(&line).is_some_and(|with: Option<usize>| token > with),
        };
        if !known {
            refused.lock().unwrap().insert(line, token);
        }
        // What is refused was not carried out; the stand-in has done it already, so only reads and deletions of what is
        // there are told apart by what comes after.
        with_header(
            &if known { right } else { Said::json(401, &status(401, "Unauthorized")) },
            &date(Timestamp::now()),
        )
    })
    .with_left_over(Timestamp::now() - SignedDuration::from_hours(2))
}

fn kubeconfig(home: &Path, server: &str, user: &str) {
    fs::create_dir_all(home.join(".kube")).unwrap();
    let cluster = format!("server: '{server}', insecure-skip-tls-verify: true");
    fs::write(home.join(".kube/config"), super::harness::kubeconfig(&cluster, user)).unwrap();
}

fn plugin(home: &Path, server: &str, script: &str) {
    let file = home.join("plugin.sh");
    fs::write(&file, script).unwrap();
    let exec = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, command: sh, args: ['{}'], interactiveMode: IfAvailable}}",
        file.display()
    );
    kubeconfig(home, server, &exec);
}

const COUNTING: &str = r#"
dir=$(dirname "$0")
echo x >> "$dir/count"
n=$(wc -l < "$dir/count" | tr -d ' ')
echo "{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"token-$n\"}}"
"#;

#[test]
fn a_token_that_expires_is_renewed_once_for_all_requests_writes_too() {
    let (home, server) = (TempDir::new().unwrap(), forgetful());
    plugin(home.path(), &server.address, COUNTING);
    let run = Run::of(program(home.path()).args(["prune-pvcs", "--yes", "--backup", "backup"]), "");
    assert!(!server.has("persistentvolumeclaims", "data-db-1") && !run.stderr.contains("logged in"), "{run}");
    let runs = fs::read_to_string(home.path().join("count")).unwrap().lines().count();
    let requests = server.take().len();
    assert!(runs > 2 && runs <= requests / USES + 2, "{runs} runs for {requests} requests\n{run}");
}

#[test]
fn a_token_file_that_was_replaced_is_read_again_and_one_that_was_not_ends_in_an_error() {
    let home = TempDir::new().unwrap();
    let token = home.path().join("token");
    fs::write(&token, "old\n").unwrap();
    let replaced = token.clone();
    let server = StandIn::start_tls(move |asked, right| match header(&asked.head, "authorization") {
        Some("Bearer new") => right,
        _ => {
            // Put in its place as a whole, as kubelet does.
            let fresh = tempfile::NamedTempFile::new_in(replaced.parent().unwrap()).unwrap();
            fs::write(fresh.path(), "new").unwrap();
            fresh.persist(&replaced).unwrap();
            Said::json(401, &status(401, "Unauthorized"))
        }
    })
    .with_left_over(Timestamp::now());
    kubeconfig(home.path(), &server.address, "tokenFile: ../token");
    Run::of(program(home.path()).arg("status"), "").code(0);
    let server = StandIn::start_tls(|_, _| Said::json(401, &status(401, "Unauthorized")));
    kubeconfig(home.path(), &server.address, "tokenFile: ../token");
    let run = Run::of(program(home.path()).arg("status"), "").code(3);
    assert!(run.stderr.contains("you must be logged in"), "{run}");
}

#[test]
fn a_plugin_that_does_not_end_is_stopped() {
    let home = TempDir::new().unwrap();
    plugin(home.path(), "https://127.0.0.1:1", "echo $$ > \"$(dirname \"$0\")/pid\"; sleep 300");
    let ended = || {
        let pid = fs::read_to_string(home.path().join("pid")).unwrap();
        let alive = || Path::new(&format!("/proc/{}", pid.trim())).exists();
        for _ in 0..200 {
            if !alive() {
                return;
            }
            thread::sleep(Duration::from_millis(25));
        }
        panic!("the plugin is still there");
    };
    let run = Run::of(program(home.path()).args(["status", "--request-timeout=1s"]), "").code(3);
    assert!(run.stderr.contains("did not end within 1s"), "{run}");
    ended();
    fs::remove_file(home.path().join("pid")).unwrap();
    let mut command = program(home.path());
    let mut child = command.arg("status").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !fs::read_to_string(home.path().join("pid")).is_ok_and(|pid| pid.ends_with('\n')) {
        thread::sleep(Duration::from_millis(25));
    }
    let started = Instant::now();
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(60));
    ended();
}

#[test]
fn a_plugins_output_has_an_end_and_what_it_leaves_behind_is_not_waited_for() {
    let home = TempDir::new().unwrap();
    plugin(home.path(), "https://127.0.0.1:1", "yes");
    let run = Run::of(program(home.path()).arg("status"), "").code(3);
    assert!(run.stderr.contains("longer than 1 MiB"), "{run}");
    let server = StandIn::start_tls(|_, right| right).with_left_over(Timestamp::now());
    plugin(home.path(), &server.address, &format!("sleep 77 2>/dev/null & {COUNTING}"));
    let started = Instant::now();
    Run::of(program(home.path()).arg("status"), "").code(0);
    assert!(started.elapsed() < Duration::from_secs(70));
}

/// A secret wherever one can stand.
const CANARY: &str = "Canary5ecret";

#[test]
fn hostile_values_are_refused_by_name_and_never_repeated() {
    let ok = "server: 'https://127.0.0.1:1'";
    let cases: Vec<(String, String)> = [
        (ok, "token: \"Canary5ecret\\nX: y\""),
        (ok, "token: \"Canary5ecret\\0\""),
        (ok, "token: {Canary5ecret: 1}"),
        (ok, "token: [Canary5ecret]"),
        (ok, "tokenFile: /dev/zero"),
        (ok, "tokenFile: /dev/null"),
        (ok, "tokenFile: /"),
        (ok, "tokenFile: ../fifo"),
        (ok, "username: a, password: {b: Canary5ecret}"),
        (ok, "client-certificate-data: Canary5ecret, client-key-data: Canary5ecret"),
        (ok, "client-certificate-data: Q2FuYXJ5NWVjcmV0, client-key-data: Q2FuYXJ5NWVjcmV0"),
        (ok, "client-certificate: /dev/zero, client-key: /dev/zero"),
        (ok, "as: \"a\\nb\""),
        (ok, "as: a, as-groups: [\"a\\rb\"]"),
        (ok, "as: a, as-user-extra: {k: [\"a\\nb\"]}"),
        (ok, "as: {a: Canary5ecret}"),
        (ok, "exec: Canary5ecret"),
        (ok, "exec: {apiVersion: Canary5ecret, command: sh}"),
        (ok, "exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, 'echo Canary5ecret'], interactiveMode: Never}"),
        (ok, "exec: {apiVersion: client.authentication.k8s.io/v1, command: \"a\\0b\", interactiveMode: Never}"),
        (ok, "exec: {apiVersion: client.authentication.k8s.io/v1, command: false, env: [{name: 'A=B', value: Canary5ecret}], interactiveMode: Never}"),
        (ok, "auth-provider: {name: Canary5ecret, config: {a: Canary5ecret}}"),
        (ok, "auth-provider: {name: gcp, config: {cmd-path: /bin/sleep, cmd-args: '300', access-token: Canary5ecret}}"),
        (ok, "auth-provider: {name: oidc, config: {id-token: Canary5ecret, refresh-token: Canary5ecret}}"),
        ("server: 'https://me:Canary5ecret@127.0.0.1:1/?t=Canary5ecret#Canary5ecret'", ""),
        ("server: 'https://me:Canary5ecret@'", ""),
        ("server: 'https://me:Canary5ecret'", ""),
        ("server: 'ftp://me:Canary5ecret@host'", ""),
        ("server: 'https://Canary5ecret host'", ""),
        ("server: {a: Canary5ecret}", ""),
        ("server: ''", ""),
        ("server: 'https://127.0.0.1:1', proxy-url: 'http://me:Canary5ecret@127.0.0.1:1'", ""),
        ("server: 'https://127.0.0.1:1', proxy-url: 'ftp://me:Canary5ecret@127.0.0.1:1'", ""),
        ("server: 'https://127.0.0.1:1', proxy-url: 'http://me:Canary5ecret@ x'", ""),
        ("server: 'https://127.0.0.1:1', certificate-authority-data: Canary5ecret%", ""),
        ("server: 'https://127.0.0.1:1', certificate-authority-data: Q2FuYXJ5NWVjcmV0", ""),
        ("server: 'https://127.0.0.1:1', certificate-authority: /dev/zero", ""),
        ("server: 'https://127.0.0.1:1', tls-server-name: 'Canary5ecret x'", ""),
        ("server: 'https://127.0.0.1:1', insecure-skip-tls-verify: Canary5ecret", ""),
    ]
    .into_iter()
    .map(|(cluster, user)| (super::harness::kubeconfig(cluster, user), String::new()))
    .chain(["", "[]", "Canary5ecret", "users: Canary5ecret", "users: [Canary5ecret]", "a: b: Canary5ecret", "\0", "{{{", "---\n---\n"]
        .map(|text| (text.to_owned(), String::new())))
    .chain(["--token=Canary5ecret\nX: y", "--as=a\nb", "--server=https://me:Canary5ecret@", "--username=me",
        "--password=Canary5ecret", "--namespace=../../Canary5ecret", "--request-timeout=18446744073709551s",
        "--kubeconfig=/dev/zero", "--kubeconfig=fifo", "--certificate-authority=/dev/zero"]
        .map(|flag| (super::harness::kubeconfig(ok, ""), flag.to_owned())))
    .collect();
    // Many of them wait for a server that is not there.
    let wrong: Vec<String> = thread::scope(|scope| {
        let parts: Vec<_> = cases.chunks(1).map(|cases| scope.spawn(|| repeated_or_taken(cases))).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}: {}", wrong.len(), wrong.join("\n"));
}

/// What the program did wrong with these pairs of kubeconfig and flag.
fn repeated_or_taken(cases: &[(String, String)]) -> Vec<String> {
    let home = TempDir::new().unwrap();
    let fifo = home.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut wrong = Vec::new();
    for (config, flag) in cases {
        fs::create_dir_all(home.path().join(".kube")).unwrap();
        fs::write(home.path().join(".kube/config"), config).unwrap();
        let mut command = program(home.path());
        command.arg("status").args(Some(flag).filter(|flag| !flag.is_empty()));
        let run = Run::of(&mut command, "");
        let said = format!("{}{}", run.stdout, run.stderr);
        if said.contains(CANARY) || said.contains("panicked") || ![2, 3].contains(&run.code) {
            wrong.push(format!("{config}\n{flag}\n{run}"));
        }
    }
    wrong
}
