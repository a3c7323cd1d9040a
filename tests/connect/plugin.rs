//! Credential plugins: run once, told what they need, and named when they fail.

use std::collections::BTreeMap;
use std::fs;

use kubectl_sts::error::Exit;

use super::harness::{Home, SERVER, kubeconfig};

/// A home whose user runs `script` with sh; `fields` replace or add to those of `exec`.
fn with_plugin(script: &str, fields: &[(&str, &str)]) -> Home {
    let home = Home::new("");
    let args = format!("['{}', one two]", home.write("plugin.sh", script).display());
    let mut exec = BTreeMap::from([
        ("apiVersion", "client.authentication.k8s.io/v1"),
        ("command", "sh"),
        ("args", args.as_str()),
        ("env", "[{name: GIVEN, value: yes}]"),
        ("interactiveMode", "IfAvailable"),
    ]);
    exec.extend(fields.iter().copied());
    let exec: Vec<String> = exec.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    let user = format!("exec: {{{}}}", exec.join(", "));
    home.write(".kube/config", &kubeconfig(&format!("{SERVER}, tls-server-name: tls.example"), &user));
    home
}

const COUNTED: &str = r#"
dir=$(dirname "$0")
echo "$1 $GIVEN" >> $dir/count
echo "$KUBERNETES_EXEC_INFO" > $dir/info
echo 'apiVersion: client.authentication.k8s.io/v1
kind: ExecCredential
status:
  token: abc
  expirationTimestamp: "2020-01-01T00:00:00Z"'
"#;

#[tokio::test]
async fn an_exec_plugin_runs_once_and_again_to_reconnect() {
    let home = with_plugin(COUNTED, &[("provideClusterInfo", "true")]);
    let file = |name| fs::read_to_string(home.path().join(name)).unwrap();
    let connection = home.connect(&[]).await.unwrap();
    assert_eq!(file("count"), "one two yes\n");
    let info: serde_json::Value = serde_json::from_str(&file("info")).unwrap();
    assert_eq!(info["kind"], "ExecCredential");
    assert_eq!(info["spec"]["interactive"], false);
    assert_eq!(info["spec"]["cluster"]["server"], "https://api.example:6443");
    assert_eq!(info["spec"]["cluster"]["tls-server-name"], "tls.example");
    connection.reconnect().await.unwrap();
    assert_eq!(file("count"), "one two yes\n".repeat(2));
    // not needed when the flags say who we are, nor where no credentials are sent
    home.connect(&["--token=x"]).await.unwrap();
    home.connect(&["--server=http://127.0.0.1:1"]).await.unwrap();
    assert_eq!(file("count"), "one two yes\n".repeat(2));
}

#[tokio::test]
async fn a_plugin_that_fails_is_named_with_the_next_step() {
    let other = r#"echo '{"apiVersion":"client.authentication.k8s.io/v1beta1","status":{"token":"s3cret"}}'"#;
    let half = r#"echo '{"apiVersion":"client.authentication.k8s.io/v1","status":{"clientCertificateData":"s3cret"}}'"#;
    let empty = r#"echo '{"apiVersion":"client.authentication.k8s.io/v1"}'"#;
    let alpha = ("apiVersion", "client.authentication.k8s.io/v1alpha1");
    let absent = [("command", "no-such-program-here")];
    let hinted = [absent[0], ("installHint", r#""brew install it\nor ask""#)];
    for (script, fields, says) in [
        ("exit 3", &[][..], "from the plugin sh\n  because it ended with exit status: 3"),
        ("echo s3cret {", &[], "not an ExecCredential"),
        (other, &[], "another API version, not client.authentication.k8s.io/v1"),
        (half, &[], "no token and no certificate"),
        (empty, &[], "no status"),
        ("", &[("interactiveMode", "Always")], "not a terminal"),
        ("", &[alpha], "not known"),
        ("", &absent, "there is no such program\n  install it"),
        ("", &hinted, "there is no such program\n  brew install it\n  or ask"),
    ] {
        let error = with_plugin(script, fields).refused(&[]).await;
        let text = error.to_string();
        assert!(text.contains(says) && !text.contains("s3cret"), "{text}");
        assert_eq!(error.exit(), Exit::Cluster);
    }
}
