//! `doctor` and `status` on the real control plane: each fault names its object, and healthy but odd stays silent.

use serde_json::{Value, json};

use crate::support::findings::pasted;
use crate::support::{self, Binding, Namespace};

const POSTGRES: &str = include_str!("manifests/postgres.yaml");

/// The PostgreSQL example with a class of its own, all three pods ready.
fn postgres(ns: &Namespace, class: &str) {
    ns.apply(&POSTGRES.replace("storageClassName: ssd", &format!("storageClassName: {class}")));
    ns.wait_ready("postgres", 3);
}

/// What doctor finds: `CODE severity Kind/name`, sorted.
pub fn found(ns: &Namespace, args: &[&str]) -> Vec<String> {
    let run = ns.sts(&[&["doctor", "-o", "json"], args].concat());
    let report: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"));
    let mut found: Vec<String> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            format!(
                "{} {} {}/{}",
                finding["code"].as_str().unwrap(),
                finding["severity"].as_str().unwrap(),
                finding["object"]["kind"].as_str().unwrap(),
                finding["object"]["name"].as_str().unwrap()
            )
        })
        .collect();
    found.sort();
    let errors = found.iter().any(|finding| finding.contains(" error "));
    assert_eq!(run.code, i32::from(errors), "{run}");
    found
}

/// Waits until doctor finds exactly this; faults take the controllers and the kubelet a moment.
pub fn finds(ns: &Namespace, expected: &[&str]) {
    ns.wait(&format!("doctor to find {expected:?}"), support::PATIENCE, || {
        let found = found(ns, &[]);
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    });
    support::verdict::agree(ns);
}

#[test]
fn postgres_is_healthy_and_every_row_is_right() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("healthy");
    let class = cluster.storage_class("ssd", Binding::Immediate, false);
    postgres(&ns, &class);
    finds(&ns, &[]);
    let text = ns.sts(&["doctor"]).code(0).stdout;
    assert_eq!(text, "no problems found: 1 StatefulSet, 3 pods and 3 PVCs checked\n");

    let status: Value = serde_json::from_str(&ns.sts(&["status", "postgres", "-o", "json"]).ok()).unwrap();
    let set = ns.kubectl_json(&["get", "sts", "postgres"]);
    assert_eq!(status["updateRevision"], set["status"]["updateRevision"]);
    assert_eq!(status["availableReplicas"], 3);
    assert_eq!(status["next"], "–");
    assert_eq!((&status["rolloutState"], &status["waitsFor"]), (&json!("complete"), &Value::Null));
    let service = status["service"].as_str().unwrap();
    assert!(service.starts_with("postgres, headless, DNS: 3 of 3 pods as postgres-N.postgres."), "{service}");
    let rows = status["pods"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    for (row, ordinal) in rows.iter().zip([2, 1, 0]) {
        let name = format!("postgres-{ordinal}");
        let pod = ns.kubectl_json(&["get", "pod", &name]);
        let claim = ns.kubectl_json(&["get", "pvc", &format!("data-{name}")]);
        assert_eq!(row["name"], json!(name));
        assert_eq!(row["ready"], "1/1");
        assert_eq!((&row["readyContainers"], &row["containers"]), (&json!(1), &json!(1)));
        assert!(row["ageSeconds"].is_u64(), "{row}");
        assert_eq!(row["state"], "Running");
        assert_eq!(row["node"], pod["spec"]["nodeName"]);
        assert_eq!(row["ip"], pod["status"]["podIP"]);
        assert_eq!(row["revision"], pod["metadata"]["labels"]["controller-revision-hash"]);
        assert_eq!(row["claims"][0]["name"], claim["metadata"]["name"]);
        assert_eq!(row["claims"][0]["volume"], claim["spec"]["volumeName"]);
        assert_eq!(row["claims"][0]["size"], "10Gi");
        assert_eq!(row["claims"][0]["storageClass"], json!(class));
        assert_eq!(row["claims"][0]["phase"], "Bound");
    }
}

#[test]
fn a_deleted_service_is_found() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("no-service");
    postgres(&ns, &cluster.storage_class("ssd", Binding::Immediate, false));
    ns.delete(&["service", "postgres"]);
    finds(&ns, &["STS101 error StatefulSet/postgres"]);
    run_remedy(&ns, "STS101");
    finds(&ns, &[]);
}

#[test]
fn a_service_that_is_not_headless_is_found() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("cluster-ip");
    postgres(&ns, &cluster.storage_class("ssd", Binding::Immediate, false));
    ns.delete(&["service", "postgres"]);
    ns.kubectl(&["create", "service", "clusterip", "postgres", "--tcp=5432"]).ok();
    ns.kubectl(&["set", "selector", "service", "postgres", "app=postgres"]).ok();
    finds(&ns, &["STS102 error Service/postgres"]);
    run_remedy(&ns, "STS102");
    finds(&ns, &[]);
}

/// The spec of a Service.
fn spec(ns: &Namespace, service: &str) -> Value {
    ns.kubectl_json(&["get", "service", service])["spec"].clone()
}

#[test]
fn a_service_made_headless_keeps_its_ports() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("ports");
    postgres(&ns, &cluster.storage_class("ssd", Binding::Immediate, false));
    ns.delete(&["service", "postgres"]);
    ns.apply(
        "{apiVersion: v1, kind: Service, metadata: {name: postgres, labels: {team: db}}, spec: {selector: {app: \
         postgres}, ports: [{name: sql, port: 80, targetPort: 5432}, {name: metrics, port: 9187, targetPort: prom}]}}",
    );
    let before = spec(&ns, "postgres")["ports"].clone();
    finds(&ns, &["STS102 error Service/postgres"]);
    run_remedy(&ns, "STS102");
    finds(&ns, &[]);
    assert_eq!(spec(&ns, "postgres")["ports"], before);
    let labels = ns.kubectl_json(&["get", "service", "postgres"])["metadata"]["labels"].clone();
    assert_eq!(labels, json!({"team": "db"}));
}

#[test]
fn a_load_balancer_is_left_alone_and_gets_a_second_one_beside_it() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("balancer");
    postgres(&ns, &cluster.storage_class("ssd", Binding::Immediate, false));
    for (kind, local) in [("LoadBalancer", "Local"), ("NodePort", "Cluster")] {
        ns.kubectl(&["delete", "service", "postgres", "postgres-outside", "--ignore-not-found"]).ok();
        ns.apply(&format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: postgres, annotations: {{example.com/internal: \
             \"true\"}}}}, spec: {{type: {kind}, externalTrafficPolicy: {local}, selector: {{app: postgres}}, ports: \
             [{{name: sql, port: 80, targetPort: 5432}}, {{name: metrics, port: 9187, targetPort: prom}}]}}}}"
        ));
        let before = ns.kubectl_json(&["get", "service", "postgres"]);
        finds(&ns, &["STS102 error Service/postgres"]);
        run_remedy(&ns, "STS102");
        let after = ns.kubectl_json(&["get", "service", "postgres"]);
        assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"], "the first one was not touched");
        assert_eq!(before["spec"], after["spec"]);
        let second = ns.kubectl_json(&["get", "service", "postgres-outside"]);
        assert_eq!(second["metadata"]["annotations"]["example.com/internal"], "true");
        assert_eq!(second["spec"]["type"], kind);
        let ports = |service: &Value| -> Vec<Value> {
            let ports = service["spec"]["ports"].as_array().unwrap().iter();
            ports.map(|port| json!([port["name"], port["port"], port["targetPort"]])).collect()
        };
        assert_eq!(ports(&second), ports(&before));
        let text = ns.sts(&["doctor", "-o", "json"]).stdout;
        assert!(text.contains("clients outside the cluster can use postgres-outside"), "{text}");

        // Once the clients have moved; by hand in between, or not.
        if kind == "NodePort" {
            ns.patch("service/postgres", &json!({"spec": {"type": "ClusterIP"}}));
        }
        run_remedy(&ns, "STS102");
        let headless = spec(&ns, "postgres");
        assert_eq!((&headless["clusterIP"], &headless["type"]), (&json!("None"), &json!("ClusterIP")));
        finds(&ns, &[]);
    }
}

#[test]
fn an_alias_becomes_a_headless_service() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("alias");
    postgres(&ns, &cluster.storage_class("ssd", Binding::Immediate, false));
    ns.delete(&["service", "postgres"]);
    ns.kubectl(&["create", "service", "externalname", "postgres", "--external-name=db.example.com"]).ok();
    finds(&ns, &["STS102 error Service/postgres"]);
    run_remedy(&ns, "STS102");
    finds(&ns, &[]);
}

#[test]
fn a_service_without_a_selector_is_found() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("no-selector");
    postgres(&ns, &cluster.storage_class("ssd", Binding::Immediate, false));
    ns.delete(&["service", "postgres"]);
    ns.apply(
        "{apiVersion: v1, kind: Service, metadata: {name: postgres}, spec: {clusterIP: None, ports: [{port: 5432}]}}",
    );
    assert_eq!(spec(&ns, "postgres")["ipFamilyPolicy"], "RequireDualStack", "what makes it hard");
    if !ns.age("5m") {
        return;
    }
    finds(&ns, &["STS103 error Service/postgres"]);
    run_remedy(&ns, "STS103");
    finds(&ns, &[]);
}

#[test]
fn a_higher_memory_limit_reaches_the_pod_that_needs_it() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("memory");
    let set = |name: &str, spec: &str| {
        format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{clusterIP: None, selector: \
             {{app: {name}}}}}}}\n---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: {name}}}\nspec:\n  \
             replicas: 1\n  serviceName: {name}\n  selector: {{matchLabels: {{app: {name}}}}}\n  {spec}\n  template:\n    \
             metadata: {{labels: {{app: {name}}}, annotations: {{fake.test/mode: oom}}}}\n    spec:\n      \
             terminationGracePeriodSeconds: 1\n      containers: [{{name: main, image: \"web:1\", resources: {{limits: \
             {{memory: 512Mi}}}}}}]\n"
        )
    };
    let sets = [
        ("ordered", "podManagementPolicy: OrderedReady"),
        ("parallel", "podManagementPolicy: Parallel"),
        ("manual", "updateStrategy: {type: OnDelete}"),
    ];
    for (name, spec) in sets {
        ns.apply(&set(name, spec));
        finds(&ns, &[&format!("STS407 error Pod/{name}-0")]);
        run_remedy(&ns, "STS407");
        ns.wait_pod(&format!("{name}-0"), "it has twice the memory", |pod| {
            pod["spec"]["containers"][0]["resources"]["limits"]["memory"] == "1Gi"
        });
        ns.delete(&["statefulset", name]);
    }
}

#[test]
fn a_service_that_selects_other_pods_is_found() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("selector");
    postgres(&ns, &cluster.storage_class("ssd", Binding::Immediate, false));
    ns.patch("service/postgres", &json!({"spec": {"selector": {"app": "postgresql"}}}));
    finds(&ns, &["STS103 error Service/postgres"]);
    run_remedy(&ns, "STS103");
    finds(&ns, &[]);
}

#[test]
fn a_class_that_does_not_exist_is_found() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("class");
    ns.apply(&POSTGRES.replace("storageClassName: ssd", "storageClassName: no-such-class"));
    ns.wait_pod("postgres-0", "it is unschedulable", |pod| {
        pod["status"]["conditions"][0]["reason"] == "Unschedulable"
    });
    let found = ns.wait("doctor to find the class", support::PATIENCE, || {
        let found = found(&ns, &[]);
        if found.iter().any(|f| f == "STS201 error PersistentVolumeClaim/data-postgres-0") {
            Ok(found)
        } else {
            Err(format!("{found:?}"))
        }
    });
    let errors: Vec<_> = found.iter().filter(|finding| finding.contains(" error ")).collect();
    assert_eq!(errors.len(), 1, "{found:?}");
}

#[test]
fn a_missing_default_class_is_found() {
    let Some(cluster) = support::cluster() else { return };
    let _lock = cluster.no_default_class();
    let ns = cluster.namespace("no-default");
    cluster.storage_class("no-default", Binding::Immediate, false);
    ns.apply(&POSTGRES.replace("      storageClassName: ssd\n", ""));
    ns.wait_pod("postgres-0", "it is unschedulable", |pod| {
        pod["status"]["conditions"][0]["reason"] == "Unschedulable"
    });
    let found = ns.wait("doctor to find the missing default class", support::PATIENCE, || {
        let found = found(&ns, &[]);
        if found.iter().any(|f| f == "STS202 error PersistentVolumeClaim/data-postgres-0") {
            Ok(found)
        } else {
            Err(format!("{found:?}"))
        }
    });
    let errors: Vec<_> = found.iter().filter(|finding| finding.contains(" error ")).collect();
    assert_eq!(errors.len(), 1, "{found:?}");
    // What is shown marks a class as default, and the PVC that waits gets that class. A class of another test may go before
    // that, and then another one is shown.
    let class = ns.wait("the PVC to get the default class", support::PATIENCE, || {
        run_remedy_if_found(&ns, "STS202", false);
        let claim = ns.kubectl_json(&["get", "pvc", "data-postgres-0"]);
        claim["spec"]["storageClassName"].as_str().map(str::to_owned).ok_or_else(|| claim.to_string())
    });
    cluster
        .kubectl(&["annotate", "storageclass", &class, "storageclass.kubernetes.io/is-default-class-"])
        .ok();
    let found = self::found(&ns, &[]);
    assert!(!found.iter().any(|finding| finding.starts_with("STS202")), "{found:?}");
}

#[test]
fn a_reverted_bad_image_is_the_trap_on_exactly_the_stuck_pod() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("trap");
    postgres(&ns, &cluster.storage_class("ssd", Binding::Immediate, false));
    ns.kubectl(&["set", "image", "sts/postgres", "postgres=postgres:does-not-exist"]).ok();
    ns.wait_pod_status("postgres-2", "ImagePullBackOff");
    finds(&ns, &["STS401 error Pod/postgres-2"]);
    let report: Value = serde_json::from_str(&ns.sts(&["doctor", "-o", "json"]).stdout).unwrap();
    let blocks = serde_json::json!({"action": "update", "pods": ["postgres-0", "postgres-1"]});
    assert_eq!(report["findings"][0]["blocks"], blocks, "{report}");
    ns.kubectl(&["set", "image", "sts/postgres", "postgres=postgres:16.4"]).ok();
    finds(&ns, &["STS301 error Pod/postgres-2"]);
    let uids = |pod: &str| ns.kubectl_json(&["get", "pod", pod])["metadata"]["uid"].clone();
    let before = [uids("postgres-0"), uids("postgres-1")];

    run_remedy(&ns, "STS301");
    ns.wait_rolled_out("postgres", 3);
    finds(&ns, &[]);
    assert_eq!(before, [uids("postgres-0"), uids("postgres-1")], "only the stuck pod was replaced");
}

#[test]
fn claims_left_by_a_scale_down_are_found() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("orphans");
    postgres(&ns, &cluster.storage_class("ssd", Binding::Immediate, false));
    ns.kubectl(&["scale", "sts/postgres", "--replicas=5"]).ok();
    ns.wait_ready("postgres", 5);
    finds(&ns, &[]);
    ns.kubectl(&["scale", "sts/postgres", "--replicas=2"]).ok();
    finds(&ns, &["STS210 warning StatefulSet/postgres"]);
    let text = ns.sts(&["doctor"]).stdout;
    for claim in ["data-postgres-2", "data-postgres-3", "data-postgres-4"] {
        assert!(text.contains(claim), "{text}");
    }
    assert!(text.contains("30Gi"), "{text}");
    // An autoscaler that may scale up again needs them.
    ns.apply(
        "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: postgres}, spec: {maxReplicas: 5, \
         scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: postgres}, metrics: [{type: Resource, \
         resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}}",
    );
    // The manifest that was applied has replicas of its own.
    finds(&ns, &["STS314 note StatefulSet/postgres"]);
}

/// The codes that `doctor -A` finds in this namespace.
fn finds_among_all(ns: &Namespace) -> Vec<String> {
    let run = ns.sts(&["doctor", "-A", "-o", "json"]);
    let report: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
    let findings = report["findings"].as_array().unwrap().iter();
    let own = findings.filter(|finding| finding["namespace"] == ns.name.as_str());
    own.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn pods_of_deployments_count_in_all_namespaces_too() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("survey");
    postgres(&ns, &cluster.storage_class("ssd", Binding::Immediate, false));
    ns.kubectl(&["scale", "sts/postgres", "--replicas=2"]).ok();
    let found = |what: &str, codes: &[&str]| {
        ns.wait(what, support::PATIENCE, || {
            let found = finds_among_all(&ns);
            if found == codes { Ok(()) } else { Err(format!("{found:?}")) }
        });
    };
    found("the PVC that is left over", &["STS210"]);
    // A backup reads the data of the replica that is gone.
    ns.apply(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: backup}\nspec:\n  selector: {matchLabels: {app: \
         backup}}\n  template:\n    metadata: {labels: {app: backup}}\n    spec:\n      terminationGracePeriodSeconds: \
         1\n      containers: [{name: backup, image: 'example.test/backup:1'}]\n      volumes: [{name: data, \
         persistentVolumeClaim: {claimName: data-postgres-2}}]\n",
    );
    found("that it is in use", &[]);
    // It is being deleted, and the pod of the Deployment is what holds it.
    ns.delete(&["pvc/data-postgres-2", "--wait=false"]);
    let said = ns.sts(&["doctor", "-A"]).stdout;
    assert!(!said.contains("data-postgres-2") || said.contains("backup-"), "{said}");

    // A template that was copied from a pod of a Deployment, with all its labels.
    ns.apply(
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: copied}\nspec:\n  serviceName: copied\n  replicas: \
         2\n  selector: {matchLabels: {app: copied}}\n  template:\n    metadata: {labels: {app: copied, \
         pod-template-hash: 6d4cf56db6}}\n    spec:\n      terminationGracePeriodSeconds: 1\n      containers: [{name: \
         copied, image: 'example.test/copied:1', readinessProbe: {tcpSocket: {port: 80}}}]\n---\napiVersion: v1\nkind: \
         Service\nmetadata: {name: copied}\nspec: {clusterIP: None, selector: {app: copied}, ports: [{port: 80}]}\n",
    );
    ns.wait_ready("copied", 2);
    found("both pods with the label", &[]);
    let all: Value = serde_json::from_str(&ns.sts(&["status", "-A", "-o", "json"]).ok()).unwrap();
    let sets = all["items"].as_array().unwrap().iter();
    let copied = sets
        .clone()
        .find(|set| set["metadata"]["namespace"] == ns.name.as_str() && set["metadata"]["name"] == "copied");
    assert_eq!(copied.expect("it is listed")["availableReplicas"], 2, "{copied:#?}");
}

/// Runs what the finding says to try, as a user would: in a shell, with kubectl.
pub fn run_remedy(ns: &Namespace, code: &str) {
    assert!(run_remedy_if_found(ns, code, true), "{code} is not found");
}

/// The same, unless the finding is gone by now. What the first command is about has to be there if it `must`.
fn run_remedy_if_found(ns: &Namespace, code: &str, must: bool) -> bool {
    let report: Value = serde_json::from_str(&ns.sts(&["doctor", "-o", "json"]).stdout).unwrap();
    let mut findings = report["findings"].as_array().unwrap().iter();
    let Some(finding) = findings.find(|finding| finding["code"] == code) else { return false };
    for (number, command) in finding["try"].as_array().unwrap().iter().enumerate() {
        let run = pasted(ns, command.as_str().unwrap());
        // What a later one is to take away may have gone by the one before it.
        if must && number == 0 || !run.stderr.contains("(NotFound)") {
            run.ok();
        }
    }
    true
}

#[test]
fn healthy_but_odd_is_silent() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("odd");
    let late = cluster.storage_class("late", Binding::WaitForFirstConsumer, false);
    let set = |name: &str, spec: &str, pod: &str| {
        format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{clusterIP: None, selector: \
             {{app: {name}}}, ports: [{{port: 80}}]}}}}\n---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: \
             {{name: {name}}}\nspec:\n  serviceName: {name}\n  selector: {{matchLabels: {{app: {name}}}}}\n  {spec}\n  \
             template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec:\n      terminationGracePeriodSeconds: 1\n      \
             {pod}\n"
        )
    };
    let web = "containers: [{name: web, image: \"web:1\"}]";
    let claim = |class: &str| {
        format!(
            "volumeClaimTemplates: [{{metadata: {{name: data}}, spec: {{accessModes: [ReadWriteOnce], \
             storageClassName: {class}, resources: {{requests: {{storage: 1Gi}}}}}}}}]"
        )
    };
    let partition = |partition| {
        format!("updateStrategy: {{type: RollingUpdate, rollingUpdate: {{partition: {partition}}}}}")
    };
    ns.apply(&set("canary", &format!("replicas: 5\n  {}", partition(3)), web));
    ns.apply(&set("zero", &format!("replicas: 2\n  {}", claim(&late)), web));
    ns.apply(&set("ondelete", "replicas: 3\n  updateStrategy: {type: OnDelete}", web));
    ns.apply(&set("offset", &format!("replicas: 3\n  ordinals: {{start: 5}}\n  {}", partition(1)), web));
    for (name, replicas) in [("canary", 5), ("zero", 2), ("ondelete", 3), ("offset", 3)] {
        ns.wait_ready(name, replicas);
    }
    for name in ["canary", "ondelete", "offset"] {
        ns.kubectl(&["set", "image", &format!("sts/{name}"), "web=web:2"]).ok();
    }
    ns.kubectl(&["scale", "sts/zero", "--replicas=0"]).ok();
    // A claim that waits for a pod which waits for its turn: no pod is scheduled for it yet.
    ns.apply(&format!(
        "{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: data-slow-1, labels: {{app: slow}}}}, spec: \
         {{accessModes: [ReadWriteOnce], storageClassName: {late}, resources: {{requests: {{storage: 1Gi}}}}}}}}"
    ));
    let slow = "containers: [{name: web, image: \"web:1\", startupProbe: {tcpSocket: {port: 80}, periodSeconds: 10, failureThreshold: 90}, readinessProbe: {tcpSocket: {port: 80}}}]";
    ns.apply(&set("slow", &format!("replicas: 2\n  {}", claim(&late)), slow).replace(
        "metadata: {labels: {app: slow}}",
        "metadata: {labels: {app: slow}, annotations: {fake.test/ready-delay: 1h}}",
    ));
    ns.wait_pod_status("slow-0", "Running");
    ns.wait("the canaries to be made and the set at zero to be empty", support::PATIENCE, || {
        let pods = ns.pods();
        let ready = |name: &str| pods.get(name).is_some_and(|pod| pod.ready == "1/1");
        let new = ns.kubectl_json(&["get", "pods"]);
        let image = |name: &str| {
            let pod = new["items"].as_array().unwrap().iter().find(|pod| pod["metadata"]["name"] == name);
            pod.map(|pod| pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned())
        };
        let moved = ["canary-4", "canary-3", "offset-7", "offset-6"]
            .iter()
            .all(|name| ready(name) && image(name).as_deref() == Some("web:2"));
        let kept = ["canary-2", "canary-1", "canary-0", "offset-5"]
            .iter()
            .all(|name| image(name).as_deref() == Some("web:1"));
        if moved && kept && !pods.keys().any(|name| name.starts_with("zero-")) {
            Ok(())
        } else {
            Err(format!("{pods:?}"))
        }
    });
    // Twelve minutes of a start that may take fifteen.
    ns.age("12m");
    ns.wait("the aged pods to be seen", support::PATIENCE, || {
        let status = ns.sts(&["status", "slow", "-o", "json"]).stdout;
        if status.contains("\"age\": \"12m\"") { Ok(()) } else { Err(status) }
    });
    let loud: Vec<String> =
        found(&ns, &[]).into_iter().filter(|finding| !finding.contains(" note ")).collect();
    let run = ns.sts(&["doctor"]);
    assert_eq!(loud, Vec::<String>::new(), "{run}");
    // The Service of the set at zero has an EndpointSlice with `endpoints: null`.
    assert!(!run.stdout.contains("not checked"), "{run}");

    // And each is shown for what it is.
    let line = |name: &str| {
        let text = ns.sts(&["status"]).ok();
        text.lines().find(|line| line.contains(&format!(" {name} "))).unwrap_or_default().to_owned()
    };
    assert!(line("canary").contains("canary 2/5"), "{}", line("canary"));
    assert!(line("offset").contains("canary 2/3"), "{}", line("offset"));
    assert!(line("ondelete").contains("OnDelete: 3 pods to delete"), "{}", line("ondelete"));
    assert!(line("zero").contains("0/0"), "{}", line("zero"));
    assert!(line("slow").contains("waiting for slow-0 (starting)"), "{}", line("slow"));
    let screen = ns.sts(&["status", "offset"]).ok();
    assert!(screen.contains("paused at partition 1 (offset-6)"), "{screen}");
    let rows: Vec<&str> = screen.lines().collect();
    let ruler = rows.iter().position(|row| row.contains("── partition 1 ")).unwrap();
    assert!(rows[ruler - 1].contains("offset-6") && rows[ruler + 1].contains("offset-5"), "{screen}");
}

#[test]
fn who_may_not_see_everything_gets_a_partial_answer_that_says_so() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("rbac");
    postgres(&ns, &cluster.storage_class("ssd", Binding::Immediate, false));
    let alice = ns.user(
        "alice",
        "- {apiGroups: [apps], resources: [statefulsets], verbs: [get, list]}\n- {apiGroups: [''], resources: [pods], verbs: [get, list]}",
    );
    let run = ns.sts_as(&alice, &["doctor"]).code(3);
    assert!(run.stdout.contains("1 StatefulSet and 3 pods checked"), "{run}");
    for kind in ["services (forbidden to user", "persistentvolumeclaims (forbidden to user"] {
        assert!(run.stdout.contains(kind), "{run}");
    }
    assert!(run.stdout.contains(" rules need ") && run.stdout.contains("see -o wide"), "{run}");
    let run = ns.sts_as(&alice, &["doctor", "-o", "wide"]).code(3);
    assert!(run.stdout.contains("service-missing") && run.stdout.contains("orphaned-claims"), "{run}");
    let screen = ns.sts_as(&alice, &["status", "postgres"]).code(3).stdout;
    assert!(screen.contains("postgres-2") && screen.contains("not checked:"), "{screen}");
    let nobody = ns.user("nobody", "- {apiGroups: [''], resources: [pods], verbs: [get]}");
    let run = ns.sts_as(&nobody, &["doctor"]).code(3);
    assert_eq!(run.stdout, "");
    assert!(run.stderr.contains("cannot list resource \"statefulsets\""), "{run}");
}

#[test]
fn wrong_names_are_named_with_the_next_step() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("names");
    ns.apply("{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: postgres}, spec: {replicas: 0, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: c}]}}}}");
    let run = ns.sts(&["status", "postgers"]).code(3);
    assert_eq!(run.stdout, "");
    let expected = format!(
        "error: no StatefulSet \"postgers\" in namespace {0}\n  there is postgres; list them with: kubectl sts status -n {0}\n",
        ns.name
    );
    assert_eq!(run.stderr, expected);
    let run = ns.sts(&["doctor", "-n", "no-such-namespace"]).code(3);
    assert!(run.stderr.contains("there is no namespace no-such-namespace"), "{run}");
    let run = ns.sts(&["status", "deploy/postgres"]).code(2);
    assert!(run.stderr.contains("expected a StatefulSet, got deploy"), "{run}");
    let run = ns.sts(&["doctor", "--only", "STS999"]).code(2);
    assert!(run.stderr.contains("there is no rule STS999"), "{run}");
    ns.sts(&["status", "--no-such-flag"]).code(2);
}
