//! Which cluster is meant: files, contexts, flags, the pod we run in.

use std::path::Path;

use kubectl_sts::cluster::connect::connect_in;
use kubectl_sts::error::Exit;

use super::harness::{Home, SERVER, args, kubeconfig};

#[tokio::test]
async fn namespaces_come_from_the_flag_the_context_or_default() {
    let yaml = kubeconfig(SERVER, "");
    for (context, flag, wanted) in [
        ("shop", Some("x"), "x"),
        ("shop", Some(""), "shop"),
        ("shop", None, "shop"),
        ("''", None, "default"),
    ] {
        let home = Home::new(&yaml.replace("namespace: shop", &format!("namespace: {context}")));
        let connection = connect_in(&home.env, &args(&[]), flag, |_| {}).await.unwrap();
        assert_eq!(connection.namespace, wanted);
        assert_eq!(connection.client().default_namespace(), wanted);
    }
}

#[tokio::test]
async fn kubeconfig_list_first_wins_and_missing_files_are_skipped() {
    let mut home = Home::new("");
    let first = home
        .write("a.yaml", "current-context: ''\nclusters: [{name: c1, cluster: {server: 'https://first'}}]\n");
    let second = home.write("b.yaml", &kubeconfig("server: 'https://second'", ""));
    let missing = home.path().join("missing");
    home.env.kubeconfig = Some(std::env::join_paths([Path::new(""), &missing, &first, &second]).unwrap());
    assert_eq!(home.connect(&[]).await.unwrap().server, "https://first");

    home.env.kubeconfig = Some(missing.clone().into());
    let error = home.refused(&[]).await;
    assert!(error.to_string().contains("no file at KUBECONFIG="), "{error}");
    let error = home.refused(&["--kubeconfig", missing.to_str().unwrap()]).await;
    assert!(error.to_string().contains("there is no such file"), "{error}");
    assert_eq!(error.exit(), Exit::Usage);

    let broken = home.write("broken.yaml", "users:\n- name: u\n  user: {token: s3cret\n");
    let error = home.refused(&["--kubeconfig", broken.to_str().unwrap()]).await;
    assert!(error.to_string().contains("not valid YAML") && !error.to_string().contains("s3cret"), "{error}");
    assert_eq!(error.exit(), Exit::Cluster);
}

#[tokio::test]
async fn unknown_names_are_refused_with_the_known_ones() {
    let home = Home::new(&kubeconfig(SERVER, ""));
    for (flag, kind, known) in
        [("--context=x", "context", "one"), ("--cluster=x", "cluster", "c1"), ("--user=x", "user", "u1")]
    {
        let error = home.refused(&[flag]).await;
        let text = error.to_string();
        assert!(text.starts_with(&format!("error: {kind} \"x\" does not exist")), "{text}");
        assert!(text.lines().nth(1).is_some_and(|hint| hint.ends_with(known)), "{text}");
        assert_eq!(error.exit(), Exit::Usage);
    }
    let yaml = kubeconfig(SERVER, "");
    for (from, to) in
        [("user: u1", "user: u2"), ("cluster: c1", "cluster: c2"), ("-context: one", "-context: two")]
    {
        let error = Home::new(&yaml.replace(from, to)).refused(&[]).await;
        assert_eq!(error.exit(), Exit::Cluster, "{error}");
        assert!(error.to_string().contains("does not exist"), "{error}");
    }
    // with credentials of its own the command line does not need the file's user
    Home::new(&yaml.replace("user: u1", "user: u2")).connect(&["--token=x"]).await.unwrap();
}

#[tokio::test]
async fn a_server_needs_no_context_and_takes_its_scheme_from_the_rest() {
    let home = Home::new("");
    for (line, wanted) in [
        (vec!["-s", "https://a:6443/"], "https://a:6443"),
        (vec!["-s", "a:8080"], "http://a:8080"),
        (vec!["-s", "a:6443", "--insecure-skip-tls-verify"], "https://a:6443"),
        (vec!["-s", "https://me:pw@a/k8s/clusters/c-1"], "https://a/k8s/clusters/c-1"),
    ] {
        let connection = home.connect(&line).await.unwrap();
        assert_eq!((connection.server.as_str(), connection.context), (wanted, None));
    }
    for bad in ["ftp://a", "https://", "http://a b"] {
        assert_eq!(home.refused(&["-s", bad]).await.exit(), Exit::Usage, "{bad}");
    }
    let error = home.refused(&[]).await;
    assert!(
        error.to_string().contains("no cluster is configured") && error.to_string().contains("--kubeconfig"),
        "{error}"
    );
    assert!(home.refused(&["--context=x"]).await.to_string().contains("context \"x\" does not exist"));
    let error = Home::new("kind: Config\n").refused(&[]).await;
    assert!(error.to_string().contains("no current-context"), "{error}");
}

#[tokio::test]
async fn flags_that_contradict_each_other_are_refused() {
    let home = Home::new(&kubeconfig(
        &format!("{SERVER}, certificate-authority-data: eA==, insecure-skip-tls-verify: true"),
        "",
    ));
    assert!(home.refused(&[]).await.to_string().contains("cannot be used together"));
    home.connect(&["--insecure-skip-tls-verify"]).await.unwrap();
    let home = Home::new(&kubeconfig(SERVER, ""));
    let key = home.write("key", "-----BEGIN PRIVATE KEY-----\n");
    let key = &*format!("--client-key={}", key.display());
    for (line, says) in [
        (vec!["--certificate-authority=/x", "--insecure-skip-tls-verify"], "cannot be used together"),
        (vec!["--certificate-authority=/nowhere/ca"], "cannot read the certificate authority /nowhere/ca"),
        (vec!["--as-group=g"], "need --as"),
        (vec!["--token=a", "--username=b", "--password=c"], "cannot be used together"),
        (vec!["--username=b"], "give both"),
        (vec!["--client-certificate=/nowhere/crt"], "cannot read the client certificate /nowhere/crt"),
        (vec!["--client-key=/dev/null"], "the client key is not PEM"),
        (vec![key], "the client key has no client certificate"),
    ] {
        let error = home.refused(&line).await.to_string();
        assert!(error.contains(says), "{line:?}: {error}");
    }
}

#[tokio::test]
async fn in_a_pod_the_service_account_is_used_when_no_file_names_a_server() {
    let mut home = Home::new("kind: Config\n");
    home.env.service_host = Some("fd00::1".into());
    home.env.service_port = Some("443".into());
    assert!(home.refused(&[]).await.to_string().contains("no current-context"));
    home.write("serviceaccount/token", "abc\n");
    home.write("serviceaccount/namespace", "prod\n");
    assert!(home.refused(&[]).await.to_string().contains("ca.crt"));
    let connection = home.connect(&["--insecure-skip-tls-verify"]).await.unwrap();
    assert_eq!(
        (connection.server.as_str(), connection.namespace.as_str()),
        ("https://[fd00::1]:443", "prod")
    );
    assert_eq!(home.connect(&["-s", "https://other"]).await.unwrap().server, "https://other");
}
