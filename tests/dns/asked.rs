//! Other ways to ask: the kubelet for the domain, and a pod whose image has no more than the `getent` of glibc.

use std::process::Command;

use serde_json::json;

use super::super::{doctor, silent};
use super::Dns;
use crate::support::controlplane::loud;
use crate::support::proxy::Proxy;
use crate::support::{Namespace, PATIENCE};

/// The kubelet says in which domain its pods search, and that counts before what CoreDNS serves as well. The fake node has no
/// configuration, so the API server's answer is given for it.
pub fn the_kubelet_names_the_domain(ns: &Namespace, dns: &Dns) {
    let own = dns.corefile("");
    let two = own.replace("kubernetes corp.test ", "kubernetes other.test corp.test ");
    assert_ne!(own, two);
    dns.configure(&two);
    let proxy = Proxy::start(ns.cluster);
    let through = ["--server", proxy.server.as_str()];
    let diagnosis = ns.wait("the Corefile to be read", PATIENCE, || {
        let diagnosis = doctor(ns, "db", &through);
        if diagnosis["dns"]["domain"] == "other.test" {
            Ok(diagnosis)
        } else {
            Err(diagnosis["dns"].to_string())
        }
    });
    assert_eq!(
        (&diagnosis["dns"]["domainSource"], &diagnosis["dns"]["right"]),
        (&json!("the Corefile"), &json!(0))
    );
    let node = ns.kubectl_json(&["get", "pod", "db-0"])["spec"]["nodeName"].as_str().unwrap().to_owned();
    // As `kubectl get --raw /api/v1/nodes/NODE/proxy/configz` gives it.
    let configz =
        |domain: &str| json!({"kubeletconfig": {"clusterDNS": ["10.96.0.10"], "clusterDomain": domain}});
    let asked = format!("/api/v1/nodes/{node}/proxy/configz");
    for domain in ["corp.test", "corp.test."] {
        proxy.answer(&asked, &configz(domain));
        let diagnosis = doctor(ns, "db", &through);
        assert_eq!(diagnosis["dns"]["domain"], "corp.test", "{diagnosis:#}");
        assert_eq!(diagnosis["dns"]["domainSource"], format!("the kubelet of {node}"));
        silent(&diagnosis, 6);
    }
    // What says nothing of it is no answer.
    for nothing in [configz(""), json!({"kubeletconfig": {}}), json!([])] {
        proxy.answer(&asked, &nothing);
        let diagnosis = doctor(ns, "db", &through);
        assert_eq!(diagnosis["dns"]["domainSource"], "the Corefile", "{nothing}: {diagnosis:#}");
    }
    dns.configure(&own);
}

/// With the real resolver of glibc, its search path and its `ndots`, in a pod that has no `nslookup`.
pub fn a_pod_has_getent_alone(ns: &Namespace, dns: &Dns) {
    let skip = |why: &str| loud(&format!("SKIPPED: getent inside a pod, as {why}"));
    let Ok(output) = Command::new("ldd").arg("/usr/bin/getent").output() else {
        return skip("this machine has no ldd");
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let files: Vec<&str> = text.split_whitespace().filter_map(|word| word.strip_prefix('/')).collect();
    if !output.status.success() || files.is_empty() {
        return skip("this machine has no getent of glibc");
    }
    let Some(relay) = dns.relay() else { return skip("port 53 cannot be had") };
    let place = format!("-n {} db-1", ns.name);
    // A name with one dot is not asked for as it is where ndots is 5.
    let home = format!("{}.svc.corp.test", ns.name);
    let conf =
        format!("nameserver {}\\nsearch {home} svc.corp.test corp.test\\noptions ndots:5\\n", relay.address);
    let install = format!(
        "tar -xf - -C / && cp /usr/bin/getent /bin/getent && rm /bin/nslookup && printf \"{conf}\" > /etc/resolv.conf && printf \
         \"hosts: dns\\n\" > /etc/nsswitch.conf"
    );
    let run = ns.shell(&format!(
        "tar -C / -chf - usr/bin/getent {} | kubectl exec -i {place} -- sh -c '{install}'",
        files.join(" ")
    ));
    if run.code != 0 {
        assert!(run.stderr.contains("has no static busybox") || run.stderr.contains("not root"), "{run}");
        return skip("nothing can be run in a pod here");
    }
    let gone = ns.shell(&format!("kubectl exec {place} -- nslookup db-0.db"));
    assert_eq!(gone.code, 127, "{gone}");
    let diagnosis = doctor(ns, "db", &["--from-pod", "db-1"]);
    let inside = &diagnosis["dns"]["servers"][2];
    assert_eq!(
        (inside["pod"].as_str(), inside["command"].as_str(), inside["ndots"].as_u64()),
        (Some("db-1"), Some("getent"), Some(5)),
        "{diagnosis:#}"
    );
    silent(&diagnosis, 9);
    // With another search path it finds nothing, although DNS has the names.
    let elsewhere =
        format!("kubectl exec {place} -- sed -i \"s/^search .*/search example.test/\" /etc/resolv.conf");
    ns.shell(&elsewhere).ok();
    let diagnosis = doctor(ns, "db", &["--from-pod", "db-1"]);
    assert_eq!(diagnosis["dns"]["right"], 6, "{diagnosis:#}");
    let unknown = super::super::finding(&diagnosis, "dns-name-unknown");
    let because = unknown["because"].as_str().unwrap();
    assert!(
        because.contains("getent in db-1 answers") && because.contains("search path of db-1"),
        "{unknown:#}"
    );
}

/// Answers that are not right stand in the summary, also where no rule has anything to say of them.
#[test]
fn a_summary_does_not_hide_what_dns_answers() {
    let answer = |code: &str| serde_json::json!({"code": code});
    let file = serde_json::json!({
        "apiVersion": "kubectl-sts/v1", "kind": "Recording", "takenAt": "2026-11-20T12:00:00Z",
        "counts": {"StatefulSet": 1, "Service": 1},
        "dns": {"domain": "cluster.local", "servers": [{
            "namespace": "kube-system", "pod": "coredns-a", "ready": true,
            "answers": {
                "db.shop.svc.cluster.local": answer("NXDOMAIN"),
                "db-0.db.shop.svc.cluster.local": answer("NXDOMAIN"),
            },
        }]},
        // The pod is about to be created.
        "objects": [
            {"apiVersion": "apps/v1", "kind": "StatefulSet",
                "metadata": {"name": "db", "namespace": "shop", "creationTimestamp": "2026-11-20T11:59:58Z"},
                "spec": {"serviceName": "db", "replicas": 1, "selector": {"matchLabels": {"app": "db"}},
                    "template": {"metadata": {"labels": {"app": "db"}}}}},
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db", "namespace": "shop"},
                "spec": {"clusterIP": "None", "selector": {"app": "db"}}},
        ],
    });
    let doctor = |args: &[&str]| {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
        program.arg("doctor").args(args).args(["--from", "-"]).env_clear();
        crate::support::Run::of(&mut program, &file.to_string()).code(0)
    };
    let text = doctor(&[]).stdout;
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("no problems found, but 2 DNS answers are not right: 1 StatefulSet"), "{text}");
    let why = "DNS: 0 of 2 answers right (2 not published, as there is no pod or no Service for it), 1 DNS server asked";
    assert!(words.contains(why), "{text}");
    let json = doctor(&["-o", "json"]).stdout;
    crate::schema::holds(&json);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["findings"], &json["summary"]["wrongDnsAnswers"]),
        (&serde_json::json!([]), &serde_json::json!(2))
    );
}
