//! DNS, for real: the names of replicas, asked of a real CoreDNS through the port-forward of its pods.

#[path = "dns/server.rs"]
mod server;

use serde_json::Value;

use crate::support::{self, Namespace, PATIENCE};
use server::{Dns, asked, stand_in};

/// The rules about DNS itself.
const RULES: [&str; 5] =
    ["dns-answer-stale", "dns-name-unknown", "dns-name-not-published", "dns-pod-silent", "dns-forward-loop"];

fn set(name: &str, service: &str, replicas: u32, annotations: &str) -> String {
    format!(
        r"
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: {name}}}
spec:
  serviceName: {service}
  replicas: {replicas}
  podManagementPolicy: Parallel
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}, annotations: {{{annotations}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{{name: main, image: 'example.test/db:1', readinessProbe: {{tcpSocket: {{port: 80}}}}}}]
"
    )
}

fn service(name: &str, app: &str, more: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{{more}, selector: {{app: {app}}}, ports: [{{port: 80}}]}}\n"
    )
}

/// What doctor says of a StatefulSet with DNS asked.
fn doctor(ns: &Namespace, name: &str, more: &[&str]) -> Value {
    let run = ns.sts(&[&["doctor", name, "--probe-dns", "-o", "json", "--fail-on", "never"], more].concat());
    serde_json::from_str(&run.clone().ok()).unwrap_or_else(|error| panic!("{error}: {run}"))
}

fn of_rule<'v>(diagnosis: &'v Value, rule: &str) -> Option<&'v Value> {
    diagnosis["findings"].as_array().unwrap().iter().find(|finding| finding["rule"] == rule)
}

#[track_caller]
fn finding<'v>(diagnosis: &'v Value, rule: &str) -> &'v Value {
    of_rule(diagnosis, rule).unwrap_or_else(|| panic!("{rule} is not found: {diagnosis:#}"))
}

/// Nothing is said of DNS, and this number of answers is right.
#[track_caller]
fn silent(diagnosis: &Value, right: u64) {
    for rule in RULES {
        assert!(of_rule(diagnosis, rule).is_none(), "{diagnosis:#}");
    }
    assert_eq!(diagnosis["dns"]["right"], right, "{diagnosis:#}");
    assert_eq!(diagnosis["dns"]["notAsked"], Value::Array(Vec::new()), "{diagnosis:#}");
}

/// Waits until a rule finds something, and gives the diagnosis and the finding.
#[track_caller]
fn found(ns: &Namespace, set: &str, rule: &str) -> (Value, Value) {
    ns.wait(&format!("{rule} of {set}"), PATIENCE, || {
        let diagnosis = doctor(ns, set, &[]);
        match of_rule(&diagnosis, rule).cloned() {
            Some(finding) => Ok((diagnosis, finding)),
            None => Err(format!("{diagnosis:#}")),
        }
    })
}

/// Waits until this number of answers is right; then nothing is said of DNS.
#[track_caller]
fn all_right(ns: &Namespace, set: &str, right: u64) {
    let diagnosis = ns.wait(&format!("the names of {set}"), PATIENCE, || {
        let diagnosis = doctor(ns, set, &[]);
        if diagnosis["dns"]["right"] == right { Ok(diagnosis) } else { Err(format!("{diagnosis:#}")) }
    });
    silent(&diagnosis, right);
}

/// The verdicts on a name, one for each server.
fn verdicts(diagnosis: &Value, start: &str) -> Vec<String> {
    let names = diagnosis["dns"]["names"].as_array().unwrap();
    let own = names.iter().filter(|name| name["name"].as_str().unwrap().starts_with(start));
    own.map(|name| name["verdict"].as_str().unwrap().to_owned()).collect()
}

/// Carries out what a finding says, as it is printed.
#[track_caller]
fn follow(ns: &Namespace, finding: &Value) {
    let commands = finding["try"].as_array().unwrap();
    assert!(!commands.is_empty(), "{finding:#}");
    for command in commands {
        ns.shell(command.as_str().unwrap()).ok();
    }
}

#[test]
fn each_answer_of_a_real_server_is_told_apart() {
    let Some(cluster) = support::cluster() else { return };
    let cache = "    cache {\n       success 9984 3600\n       denial 9984 3600\n    }\n";
    let Some(mut dns) = Dns::start(cluster, "corp.test", 3600, cache) else { return };
    let ns = cluster.namespace("dns");
    ns.apply(&(set("db", "db", 2, "fake.test/mode-1: unready") + &service("db", "db", "clusterIP: None")));
    ns.wait_ready("db", 1);

    // Not ready: a note, and the way to publish it before.
    let diagnosis = ns.wait("db-0 to be known to DNS", PATIENCE, || {
        let diagnosis = doctor(&ns, "db", &[]);
        if verdicts(&diagnosis, "db-0.db.") == ["right", "right"] {
            Ok(diagnosis)
        } else {
            dns.restart();
            Err(diagnosis["dns"].to_string())
        }
    });
    assert_eq!(diagnosis["dns"]["domain"], "corp.test");
    assert_eq!(verdicts(&diagnosis, "db-1.db."), ["not-ready", "not-ready"]);
    let unready = finding(&diagnosis, "dns-name-not-published");
    assert_eq!(unready["severity"], "note");
    assert!(unready["because"].as_str().unwrap().contains("NXDOMAIN for db-1.db."), "{unready:#}");
    assert!(unready["because"].as_str().unwrap().contains("cached for"), "{unready:#}");

    // Ready now, but the answer of before is cached: that is said with its end, and the advice ends it.
    ns.kubectl(&["annotate", "pod", "db-1", "--overwrite", "fake.test/mode-1=ready"]).ok();
    ns.wait_ready("db", 2);
    if !ns.age("2m") {
        return; // of an etcd that is not ours
    }
    let (_, cached) = &found(&ns, "db", "dns-name-unknown");
    assert_eq!(cached["severity"], "warning", "{cached:#}");
    assert!(
        cached["because"].as_str().unwrap().contains("the negative answer is cached; the name"),
        "{cached:#}"
    );
    assert_eq!(cached["object"]["name"], "db-1");
    follow(&ns, cached);
    dns.restart();
    dns.wait_pods();
    all_right(&ns, "db", 6);
    // What is right is said on the screen of the StatefulSet too.
    let screen = ns.sts(&["status", "db", "--probe-dns"]).ok();
    assert!(screen.contains("3 of 3 answers right"), "{screen}");
    let list = ns.sts(&["status", "--probe-dns"]).ok();
    assert!(list.contains("DNS") && list.contains("6/6"), "{list}");

    // The pod has another address now, and DNS still gives out the one it had.
    let address = |pod: &str| {
        ns.kubectl_json(&["get", "pod", pod])["status"]["podIP"].as_str().unwrap_or_default().to_owned()
    };
    let before = address("db-0");
    ns.delete(&["pod", "db-0"]);
    ns.wait_ready("db", 2);
    assert_ne!(before, address("db-0"));
    ns.age("2m");
    let (diagnosis, stale) = &found(&ns, "db", "dns-answer-stale");
    assert_eq!(
        (stale["severity"].as_str(), stale["object"]["name"].as_str()),
        (Some("warning"), Some("db-0"))
    );
    assert!(stale["what"].as_str().unwrap().contains(&before), "{stale:#}");
    assert!(stale["because"].as_str().unwrap().contains("this is a cached answer"), "{stale:#}");
    // A recording tells the same.
    let recording = ns.sts(&["record", "--probe-dns", "-o", "json"]).ok();
    let run = ns.sts_in(&["doctor", "db", "--from", "-", "-o", "json", "--fail-on", "never"], &recording);
    let recorded: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"));
    assert_eq!(finding(&recorded, "dns-answer-stale")["what"], stale["what"]);
    assert_eq!(recorded["dns"]["right"], diagnosis["dns"]["right"]);
    assert!(!recording.contains("denial") && !recording.contains("errors"), "the Corefile is recorded");
    // Longer than anything is cached: then the server does not follow.
    ns.age("3h");
    let (_, stale) = &found(&ns, "db", "dns-answer-stale");
    assert_eq!(stale["severity"], "error");
    assert!(stale["because"].as_str().unwrap().contains("no longer follow the API server"), "{stale:#}");
    follow(&ns, stale);
    dns.restart();
    dns.wait_pods();
    all_right(&ns, "db", 6);

    the_service_is_at_fault(&ns, &mut dns);
    a_dead_pod_among_two(&ns, &dns);
    dns_pods_in_a_loop(&ns, &dns);
    what_is_forbidden_is_named(&ns);
    inside_a_pod(&ns, &dns);
    asked::the_kubelet_names_the_domain(&ns, &dns);
    asked::a_pod_has_getent_alone(&ns, &dns);
    the_corefile_leaves_names_out(&ns, &mut dns);
}

/// What the Service leaves out is said once, by the finding about the Service, with the answer of DNS.
fn the_service_is_at_fault(ns: &Namespace, dns: &mut Dns) {
    let sets = set("lost", "nowhere", 2, "") + &set("flat", "flat", 2, "") + &set("apart", "apart", 2, "");
    let services = service("flat", "flat", "type: ClusterIP") + &service("apart", "other", "clusterIP: None");
    let early =
        set("early", "early", 2, "fake.test/mode-1: unready") + &service("early", "early", "clusterIP: None");
    let all = [sets.replace("\napiVersion: apps/v1\n", "\n---\napiVersion: apps/v1\n"), services, early]
        .join("---\n");
    ns.apply(&all);
    for (name, ready) in [("lost", 2), ("flat", 2), ("apart", 2), ("early", 1)] {
        ns.wait_ready(name, ready);
    }
    ns.age("2m");
    let diagnosis = doctor(ns, "lost", &[]);
    let missing = finding(&diagnosis, "service-missing");
    let because = missing["because"].as_str().unwrap();
    assert!(because.contains("answers NXDOMAIN for lost-0.nowhere."), "{missing:#}");
    silent(&diagnosis, 0);
    let diagnosis = doctor(ns, "apart", &[]);
    let mismatch = finding(&diagnosis, "service-selector-mismatch");
    assert!(
        mismatch["because"].as_str().unwrap().contains("answers NXDOMAIN for apart-0.apart."),
        "{mismatch:#}"
    );
    silent(&diagnosis, 0);
    // CoreDNS knows pods behind any Service, which is not what Kubernetes promises.
    let diagnosis = doctor(ns, "flat", &[]);
    let flat = finding(&diagnosis, "service-not-headless");
    assert!(
        flat["because"].as_str().unwrap().contains("the DNS server of this cluster still answers"),
        "{flat:#}"
    );
    silent(&diagnosis, 6);
    // Published before it is ready, with the other way out: then nothing is said, although it is still not ready.
    let (diagnosis, unready) = found(ns, "early", "dns-name-not-published");
    assert_eq!(verdicts(&diagnosis, "early-1."), ["not-ready", "not-ready"]);
    ns.shell(unready["or"][0].as_str().unwrap()).ok();
    ns.wait("the EndpointSlice to be published", PATIENCE, || {
        let slices = ns
            .kubectl(&["get", "endpointslices", "-l", "kubernetes.io/service-name=early", "-o", "yaml"])
            .ok();
        if slices.contains("ready: false") { Err(slices) } else { Ok(()) }
    });
    dns.restart();
    all_right(ns, "early", 6);
    // With the Service that the finding creates, and without what was cached, the names resolve.
    let diagnosis = doctor(ns, "lost", &["--only", "service-missing"]);
    follow(ns, finding(&diagnosis, "service-missing"));
    dns.restart();
    ns.wait("the names to resolve", PATIENCE, || {
        let diagnosis = doctor(ns, "lost", &[]);
        let found = of_rule(&diagnosis, "service-missing");
        if found.is_none() && diagnosis["dns"]["right"] == 6 {
            Ok(())
        } else {
            dns.restart();
            Err(diagnosis["dns"].to_string())
        }
    });
}

/// Clients are sent to both, and one does not answer.
fn a_dead_pod_among_two(ns: &Namespace, dns: &Dns) {
    let pods = dns.wait_pods();
    dns.kubectl(&["annotate", "pod", &pods[0], "--overwrite", "fake.test/forward=53=1"]).ok();
    let (diagnosis, dead) = &found(ns, "db", "dns-pod-silent");
    assert_eq!(
        (dead["severity"].as_str(), dead["object"]["name"].as_str()),
        (Some("error"), Some(pods[0].as_str()))
    );
    assert_eq!(diagnosis["dns"]["right"], 3, "{diagnosis:#}");
    // What answers with nonsense, or not at all, is as dead.
    let long = [[0x81, 0x80].as_slice(), &[0xff; 8], &vec![0xc0; 65_000]].concat();
    for (answer, why) in [(Some(long), "the answer cannot be read"), (None, "no answer within 5s")] {
        let port = format!("fake.test/forward=53={}", stand_in(answer));
        dns.kubectl(&["annotate", "pod", &pods[0], "--overwrite", &port]).ok();
        let dead = ns.wait(why, PATIENCE, || {
            let diagnosis = doctor(ns, "db", &[]);
            let dead = of_rule(&diagnosis, "dns-pod-silent").cloned().unwrap_or_default();
            let is_it = dead["because"].as_str().is_some_and(|because| because.contains(why));
            if is_it { Ok(dead) } else { Err(format!("{diagnosis:#}")) }
        });
        assert_eq!(dead["object"]["name"], pods[0].as_str());
    }
    follow(ns, dead);
    dns.wait_pods();
    all_right(ns, "db", 6);
}

/// The log of a DNS pod that ends says that it sends questions to itself.
fn dns_pods_in_a_loop(ns: &Namespace, dns: &Dns) {
    let pods = dns.wait_pods();
    let own = dns.corefile("");
    dns.configure(&own.replace("    errors\n", "    errors\n    loop\n    forward . /etc/resolv.conf\n"));
    let log = "fake.test/log=[FATAL] plugin/loop: Loop (127.0.0.1:55953 -> :53) detected for zone \".\", see \
               https://coredns.io/plugins/loop#troubleshooting. Query: \"HINFO 4547991504243258144.3688648895315093531.\"";
    dns.kubectl(&["annotate", "pod", &pods[0], "--overwrite", "fake.test/mode=crashloop", log]).ok();
    let diagnosis = ns.wait("the loop to be found", PATIENCE, || {
        let diagnosis = doctor(ns, "db", &[]);
        if of_rule(&diagnosis, "dns-forward-loop").is_some() {
            Ok(diagnosis)
        } else {
            Err(diagnosis["dns"].to_string())
        }
    });
    assert!(of_rule(&diagnosis, "dns-pod-silent").is_none(), "{diagnosis:#}");
    let found = finding(&diagnosis, "dns-forward-loop");
    assert!(found["because"].as_str().unwrap().contains("forwards to /etc/resolv.conf"), "{found:#}");
    let [edit, restart] = found["try"].as_array().unwrap().as_slice() else { panic!("{found:#}") };
    // What is typed into the editor.
    let editor = "KUBE_EDITOR='sed -i s#/etc/resolv.conf#192.0.2.53#'";
    ns.shell(&format!("{editor} {}", edit.as_str().unwrap())).ok();
    let now = dns.kubectl(&["get", "configmap", "coredns", "-o", "yaml"]).ok();
    assert!(now.contains("forward . 192.0.2.53"), "{now}");
    ns.shell(restart.as_str().unwrap()).ok();
    dns.wait_pods();
    all_right(ns, "db", 6);
    dns.configure(&own);
}

/// The configuration of CoreDNS is the cause, and the command changes it.
fn the_corefile_leaves_names_out(ns: &Namespace, dns: &mut Dns) {
    for (option, said) in
        [("namespaces prod", "serves only the namespaces prod"), ("noendpoints", "has noendpoints")]
    {
        dns.use_options(&[option]);
        let diagnosis = ns.wait("the names to be left out", PATIENCE, || {
            let diagnosis = doctor(ns, "db", &[]);
            let found = of_rule(&diagnosis, "dns-name-unknown");
            if found.is_some() { Ok(diagnosis) } else { Err(diagnosis["dns"].to_string()) }
        });
        let unknown = finding(&diagnosis, "dns-name-unknown");
        assert_eq!(unknown["severity"], "error");
        assert!(unknown["because"].as_str().unwrap().contains(said), "{unknown:#}");
        follow(ns, unknown);
        dns.wait_pods();
        dns.use_config_map();
        ns.wait("the names to resolve", PATIENCE, || {
            let diagnosis = doctor(ns, "db", &[]);
            if diagnosis["dns"]["right"] == 6 { Ok(()) } else { Err(diagnosis["dns"].to_string()) }
        });
    }
}

/// Texts that a DNS pod, a log or a file can bring along cannot steer the terminal.
#[test]
fn what_dns_says_cannot_steer_the_terminal() {
    let evil = "\u{1b}]0;title\u{7}\u{1b}[31mx\u{202e}\r\u{0}";
    let name = "db-0.db.shop.svc.cluster.local";
    let probe = |answer: Value| {
        serde_json::json!({
            "domain": "cluster.local", "domainSource": evil,
            "corefile": {"zones": [evil], "forwards": [evil], "namespaces": [evil]},
            "servers": [
                {"namespace": "kube-system", "pod": "coredns-a", "ready": true, "answers": {name: answer}},
                {"namespace": evil, "pod": evil, "silent": evil, "log": [evil], "answers": {}},
                {"namespace": "shop", "pod": "db-0", "command": "getent", "search": [evil], "answers": {name: {"code": "NXDOMAIN"}}},
            ],
            "notAsked": [evil],
        })
    };
    let objects = serde_json::json!([
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "shop"},
            "spec": {"serviceName": "db", "replicas": 1, "selector": {"matchLabels": {"app": "db"}}}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db", "namespace": "shop"},
            "spec": {"clusterIP": "None", "selector": {"app": "db"}}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "db-0", "namespace": "shop", "labels": {"app": "db"}},
            "spec": {"hostname": "db-0", "subdomain": "db", "nodeName": "a"},
            "status": {"phase": "Running", "podIP": "10.0.0.1",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-20T10:00:00Z"}]}},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "db-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "db"}},
            "endpoints": [{"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "db-0"}}]},
    ]);
    let far = serde_json::json!({"code": "NOERROR", "addresses": ["10.9.9.9"], "ttl": u32::MAX});
    for (answer, rule) in [
        (serde_json::json!({"code": "NXDOMAIN", "ttl": u32::MAX}), "STS108"),
        (serde_json::json!({"code": "FAILED", "why": evil}), "STS110"),
        (far, "STS107"),
    ] {
        let file = serde_json::json!({
            "apiVersion": "kubectl-sts/v1", "kind": "Recording", "takenAt": "2026-11-20T12:00:00Z",
            "counts": {"StatefulSet": 4}, "dns": probe(answer), "objects": objects,
        });
        for command in [vec!["doctor", "--fail-on", "never"], vec!["status", "db", "-n", "shop"]] {
            let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
            program.args(&command).args(["--from", "-"]).env_clear();
            let run = support::Run::of(&mut program, &file.to_string());
            let text = run.clone().ok();
            assert!(text.contains(rule) && text.contains("STS110"), "{run}");
            let bad: Vec<char> =
                text.chars().filter(|c| kubectl_sts::text::is_hidden(*c) && *c != '\n').collect();
            assert!(bad.is_empty() && !text.contains("title"), "{bad:?} in {run}");
        }
    }
}

/// Nothing of it is an error: each line says what was not asked.
fn what_is_forbidden_is_named(ns: &Namespace) {
    let page = include_str!("../docs/permissions.md");
    let rules = |at: usize| {
        let yaml = page.split("```yaml\n").nth(at).unwrap().split("```").next().unwrap();
        yaml.split("rules:\n").nth(1).unwrap().to_owned()
    };
    let user = ns.user("reader", "- {apiGroups: [apps], resources: [statefulsets], verbs: [list]}");
    ns.grant_cluster("reader", &rules(1));
    let seen = |what: &str, is_it: &dyn Fn(&Value) -> bool| {
        ns.wait(what, PATIENCE, || {
            let run = ns.sts_as(&user, &["doctor", "db", "--probe-dns", "-o", "json", "--fail-on", "never"]);
            let diagnosis: Value = serde_json::from_str(&run.stdout).map_err(|_| run.to_string())?;
            if is_it(&diagnosis) { Ok(diagnosis) } else { Err(diagnosis["dns"].to_string()) }
        })
    };
    let forbidden = seen("port-forward to be refused", &|diagnosis| {
        let all = diagnosis["dns"]["notAsked"].as_array().unwrap();
        all.iter().any(|what| what.as_str().unwrap().contains("port-forward: forbidden to user"))
    });
    assert_eq!(forbidden["dns"]["right"], 0);
    for rule in RULES {
        assert!(of_rule(&forbidden, rule).is_none(), "{forbidden:#}");
    }
    let text = ns.sts_as(&user, &["doctor", "db", "--probe-dns", "--fail-on", "never"]).ok();
    assert!(
        text.contains("not checked:  DNS (the cluster domain is not known; ConfigMap coredns and"),
        "{text}"
    );
    // What the page on permissions adds is enough.
    ns.grant_cluster("reader", &format!("{}{}", rules(1), rules(3)));
    let allowed = seen("DNS to be asked", &|diagnosis| diagnosis["dns"]["right"] == 6);
    assert_eq!(allowed["dns"]["notAsked"], Value::Array(Vec::new()), "{allowed:#}");
    let inside =
        ns.sts_as(&user, &["doctor", "db", "--probe-dns", "--from-pod", "db-0", "--fail-on", "never"]).ok();
    assert!(inside.contains("not checked:  DNS inside db-0 (forbidden to user"), "{inside}");
    assert!(inside.contains("DNS: 6 of 6 answers right"), "{inside}");
    // Without the ConfigMap the DNS pods say themselves what the domain is.
    let without = rules(3).lines().filter(|line| !line.contains("configmaps")).collect::<Vec<_>>().join("\n");
    ns.grant_cluster("reader", &format!("{}{without}", rules(1)));
    let told = seen("the domain to be told by DNS", &|diagnosis| {
        diagnosis["dns"]["domainSource"] == "the DNS pods" && diagnosis["dns"]["right"] == 6
    });
    assert_eq!(told["dns"]["domain"], "corp.test");
    // Without the port-forward alone it is one line, and no error.
    let without =
        rules(3).lines().filter(|line| !line.contains("portforward")).collect::<Vec<_>>().join("\n");
    ns.grant_cluster("reader", &format!("{}{without}", rules(1)));
    let forbidden = seen("port-forward to be refused again", &|diagnosis| {
        let all = diagnosis["dns"]["notAsked"].as_array().unwrap();
        all.len() == 1 && all[0].as_str().unwrap().starts_with("DNS pods: port-forward (forbidden to user")
    });
    assert_eq!(
        (&forbidden["dns"]["domain"], &forbidden["dns"]["right"]),
        (&Value::from("corp.test"), &Value::from(0))
    );
}

/// With the search path of the pod, through the resolver that its image has.
fn inside_a_pod(ns: &Namespace, dns: &Dns) {
    let Some(relay) = dns.relay() else {
        support::controlplane::loud("SKIPPED: DNS inside a pod, as port 53 cannot be had");
        return;
    };
    let path = |search: &str| {
        let text = format!("nameserver {}\nsearch {search}\noptions ndots:5\n", relay.address);
        ns.kubectl_in(&["exec", "-i", "db-0", "--", "sh", "-c", "cat > /etc/resolv.conf"], &text)
    };
    let home = format!("{}.svc.corp.test", ns.name);
    let run = path(&format!("{home} svc.corp.test corp.test"));
    if run.code != 0 {
        assert!(run.stderr.contains("has no static busybox") || run.stderr.contains("not root"), "{run}");
        return;
    }
    let diagnosis = doctor(ns, "db", &["--from-pod", "db-0"]);
    silent(&diagnosis, 9);
    let inside = &diagnosis["dns"]["servers"][2];
    assert_eq!(
        (inside["pod"].as_str(), inside["command"].as_str(), inside["ndots"].as_u64()),
        (Some("db-0"), Some("nslookup"), Some(5))
    );
    assert_eq!(inside["search"][0], home.as_str());
    // Another search path, as with dnsPolicy Default: only inside nothing is found.
    path("example.test").ok();
    let diagnosis = doctor(ns, "db", &["--from-pod", "db-0"]);
    assert_eq!(diagnosis["dns"]["right"], 6, "{diagnosis:#}");
    let unknown = finding(&diagnosis, "dns-name-unknown");
    assert!(
        unknown["because"].as_str().unwrap().contains("the search path of db-0 is example.test"),
        "{unknown:#}"
    );
    // There it cannot be asked at all.
    let bare = ["annotate", "pod", "db-1", "fake.test/exec=", "fake.test/exec-code=127"];
    ns.kubectl(&bare).ok();
    ns.wait("db-1 to be bare", PATIENCE, || {
        let diagnosis = doctor(ns, "db", &["--from-pod", "db-1"]);
        let not_asked = diagnosis["dns"]["notAsked"][0].as_str().unwrap_or_default().to_owned();
        let is_it = not_asked == "DNS inside db-1 (its image has neither getent nor nslookup)";
        if is_it && diagnosis["dns"]["right"] == 6 { Ok(()) } else { Err(format!("{diagnosis:#}")) }
    });
    ns.kubectl(&["annotate", "pod", "db-1", "fake.test/exec-", "fake.test/exec-code-"]).ok();
    for (pod, why) in [("db-7", "no such pod"), ("../x", "no such pod")] {
        let diagnosis = doctor(ns, "db", &["--from-pod", pod]);
        assert!(diagnosis["dns"]["notAsked"][0].as_str().unwrap().contains(why), "{diagnosis:#}");
        assert_eq!(diagnosis["dns"]["right"], 6);
    }
}
