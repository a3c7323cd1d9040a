//! The connection against a small HTTP server in this process: what is sent, what comes back, what is refused.

mod clocks;
mod config;
mod harness;
mod plugin;
mod renewal;
mod stand_in;
mod wrong;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Parser;
use kubectl_sts::cluster::connect::{RequestError, connect_in};
use kubectl_sts::error::Exit;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use harness::{Answer, Home, Line, answer, args, header, kubeconfig, only, serve};

#[test]
fn flags_are_kubectls_hidden_from_the_short_help_and_never_show_secrets() {
    use clap::CommandFactory;
    let mut command = Line::command();
    for name in [
        "kubeconfig",
        "context",
        "cluster",
        "user",
        "server",
        "token",
        "as",
        "as-group",
        "as-uid",
        "as-user-extra",
        "certificate-authority",
        "client-certificate",
        "client-key",
        "tls-server-name",
        "insecure-skip-tls-verify",
        "disable-compression",
        "username",
        "password",
        "request-timeout",
    ] {
        let arg = command
            .get_arguments()
            .find(|arg| arg.get_long() == Some(name))
            .unwrap_or_else(|| panic!("{name}"));
        assert!(arg.is_global_set(), "{name}");
    }
    assert!(!command.render_help().to_string().contains("--kubeconfig"));
    assert!(command.render_long_help().to_string().contains("Connection:"));

    let given =
        args(&["--token", "s3cret", "--username=me", "--password=hunter2", "--insecure-skip-tls-verify"]);
    let shown = format!("{given:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("hunter2"), "{shown}");
    assert!(
        given.insecure_skip_tls_verify
            && !args(&["--insecure-skip-tls-verify=false"]).insecure_skip_tls_verify
    );
    assert_eq!(args(&["--request-timeout", "1m30s"]).request_timeout, Some(Duration::from_secs(90)));
    assert!(Line::try_parse_from(["sts", "--request-timeout", "soon"]).is_err());
}

#[tokio::test]
async fn sends_a_user_agent_accept_and_impersonation_but_no_credentials_over_plain_http() {
    let (address, heads) = serve(|_, _| answer(200, "", "hello")).await;
    let home = Home::new(&kubeconfig(
        &format!("server: 'http://{address}'"),
        "token: s3cret, username: a, password: b",
    ));
    let connection = home
        .connect(&["--as=jane", "--as-group=g1", "--as-group=g2", "--as-uid=7", "--as-user-extra=team=ops"])
        .await
        .unwrap();
    assert_eq!(connection.get_bytes("/api?x=1", "application/json;as=Table").await.unwrap(), b"hello");
    let head = only(&heads);
    assert!(head.starts_with("GET /api?x=1 HTTP/1.1\r\n"), "{head}");
    let agent = header(&head, "user-agent").unwrap();
    assert!(
        agent.starts_with(concat!("kubectl-sts/", env!("CARGO_PKG_VERSION"), " (")) && agent.contains('/'),
        "{agent}"
    );
    assert_eq!(header(&head, "accept"), Some("application/json;as=Table"));
    assert_eq!(header(&head, "authorization"), None);
    assert_eq!(header(&head, "impersonate-user"), Some("jane"));
    assert_eq!(header(&head, "impersonate-uid"), Some("7"));
    assert_eq!(header(&head, "impersonate-extra-team"), Some("ops"));
    assert_eq!(head.to_lowercase().matches("impersonate-group: ").count(), 2);
    assert_eq!((connection.namespace.as_str(), connection.context.as_deref()), ("shop", Some("one")));
    assert_eq!(connection.server, format!("http://{address}"));
}

#[tokio::test]
async fn says_so_when_credentials_of_the_command_line_are_not_sent() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (tell, home) = (told.clone(), Home::new(""));
    let given = args(&["--server=http://127.0.0.1:1", "--token=s3cret"]);
    connect_in(&home.env, &given, None, move |text| tell.lock().unwrap().push(text.to_owned()))
        .await
        .unwrap();
    assert_eq!(*told.lock().unwrap(), ["credentials are not sent to http://127.0.0.1:1: it is not https"]);
}

#[tokio::test]
async fn each_warning_is_told_once_and_cleaned() {
    let (address, _) = serve(|_, _| {
        answer(200, "warning: 299 - \"old \\\"x\\\" \u{202e}api\"\r\nwarning: 299 - \"two\"\r\n", "{}")
    })
    .await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let (tell, home) = (told.clone(), Home::new(""));
    let given = args(&["--server", &address]);
    let connection =
        connect_in(&home.env, &given, None, move |text| tell.lock().unwrap().push(text.to_owned()))
            .await
            .unwrap();
    for _ in 0..2 {
        connection.get_bytes("/", "application/json").await.unwrap();
    }
    assert_eq!(*told.lock().unwrap(), ["old \"x\" api", "two"]);
}

#[tokio::test]
async fn a_silent_server_ends_in_an_error_before_and_within_the_body() {
    for silent in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome"] {
        let (address, _) = serve(move |_, _| Answer(silent.to_owned(), true)).await;
        let connection = Home::new("").connect(&["-s", &address, "--request-timeout=200ms"]).await.unwrap();
        let started = Instant::now();
        let error = connection.get_bytes("/", "*/*").await.unwrap_err();
        assert!(matches!(error, RequestError::Silent(_)), "{error:?}");
        assert!(started.elapsed() < Duration::from_secs(5));
        let text = connection.explain(&error, "list pods").to_string();
        assert!(text.contains(&format!("http://{address} did not answer within 200ms")), "{text}");
        let client = connection.client();
        let call = client.apiserver_version();
        assert!(matches!(connection.within(call).await, Err(RequestError::Silent(_))));
    }
}

#[tokio::test]
async fn an_answer_is_read_piece_by_piece_without_a_limit() {
    let (address, _) = serve(|_, _| answer(200, "", "slow")).await;
    let connection = Home::new("").connect(&["-s", &address, "--request-timeout=0"]).await.unwrap();
    let mut reply = connection.get("/", "*/*").await.unwrap();
    assert_eq!(&*reply.chunk().await.unwrap().unwrap(), b"slow");
    assert!(reply.chunk().await.unwrap().is_none());
}

#[tokio::test]
async fn refusals_are_decoded_and_explained() {
    let status = |reason: &str, message: &str| {
        format!(r#"{{"kind":"Status","reason":"{reason}","message":"{message}"}}"#)
    };
    let forbidden = r"pods is forbidden: User \u001b[31mjane\u001b[0m cannot list";
    for (code, body, variant, says) in [
        (
            403,
            status("Forbidden", forbidden),
            "Forbidden",
            "cannot list pods\n  because pods is forbidden: User jane cannot list\n",
        ),
        (404, status("NotFound", "pods x not found"), "NotFound", "because pods x not found"),
        (
            401,
            status("Unauthorized", "Unauthorized"),
            "Unauthorized",
            "error: you must be logged in to the server (Unauthorized)",
        ),
        (410, status("Expired", "too old"), "Gone", "too old"),
        (409, status("Conflict", "changed"), "Api", "changed"),
        (500, "boom".to_owned(), "Api", "because boom"),
        (502, "<html>".to_owned(), "Api", "the server answered 502 Bad Gateway"),
        (400, "Client sent an HTTP request to an HTTPS server.".to_owned(), "Api", "https://"),
    ] {
        let (address, heads) = serve(move |_, _| answer(code, "", &body)).await;
        let connection = Home::new("").connect(&["-s", &address]).await.unwrap();
        let error = connection.get_bytes("/x", "*/*").await.unwrap_err();
        assert!(format!("{error:?}").starts_with(variant), "{error:?}");
        let shown = connection.explain(&error, "list pods");
        assert!(shown.to_string().contains(says), "{shown}");
        assert_eq!(shown.exit(), Exit::Cluster);
        only(&heads);
    }
}

#[tokio::test]
async fn only_a_busy_server_that_says_when_is_asked_again() {
    let busy = |retry: &'static str| {
        move |number, _: &str| match number {
            0..2 => answer(429, retry, "{}"),
            _ => answer(200, "", "done"),
        }
    };
    let (address, heads) = serve(busy("retry-after: 0\r\n")).await;
    let connection = Home::new("").connect(&["-s", &address]).await.unwrap();
    assert_eq!(connection.get_bytes("/", "*/*").await.unwrap(), b"done");
    assert_eq!(heads.lock().unwrap().len(), 3);
    for (code, headers) in [(429, ""), (429, "retry-after: 3600\r\n"), (503, "retry-after: 0\r\n")] {
        let (address, heads) = serve(move |_, _| answer(code, headers, "{}")).await;
        let connection = Home::new("").connect(&["-s", &address]).await.unwrap();
        assert!(matches!(connection.get_bytes("/", "*/*").await, Err(RequestError::Api { .. })));
        connection.client().apiserver_version().await.unwrap_err();
        assert_eq!(heads.lock().unwrap().len(), 2, "kube must not retry on its own");
    }
    let (address, heads) = serve(|_, _| answer(429, "retry-after: 0\r\n", "{}")).await;
    let connection = Home::new("").connect(&["-s", &address]).await.unwrap();
    assert!(matches!(connection.get_bytes("/", "*/*").await, Err(RequestError::Api { code: 429, .. })));
    assert_eq!(heads.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn many_reads_at_once_all_arrive() {
    let (address, heads) = serve(|_, head| answer(200, "", head.split(' ').nth(1).unwrap_or_default())).await;
    let connection = Home::new("").connect(&["-s", &address]).await.unwrap();
    let reads: Vec<_> = (0..200)
        .map(|n| {
            let connection = connection.clone();
            tokio::spawn(async move { connection.get_bytes(&format!("/{n}"), "*/*").await.unwrap() })
        })
        .collect();
    for (n, read) in reads.into_iter().enumerate() {
        assert_eq!(read.await.unwrap(), format!("/{n}").into_bytes());
    }
    assert_eq!(heads.lock().unwrap().len(), 200);
}

#[tokio::test]
async fn no_proxy_is_compared_with_the_servers_host() {
    let (proxy, asked) = serve(|_, _| answer(502, "", "")).await;
    let mut home = Home::new("");
    home.env.https_proxy = Some(format!("http://{proxy}"));
    // a name nobody resolves: only a proxy could be asked for it
    let line = ["-s", "https://api.invalid:6443", "--request-timeout=20s"];
    let connection = home.connect(&line).await.unwrap();
    let error = connection.get_bytes("/", "*/*").await.unwrap_err();
    let text = connection.explain(&error, "list pods").to_string();
    assert!(text.contains("the proxy for the server https://api.invalid:6443 failed"), "{text}");
    assert!(only(&asked).starts_with("CONNECT api.invalid:6443"));

    home.env.no_proxy = Some("other,.invalid:6443".into());
    let connection = home.connect(&line).await.unwrap();
    let error = connection.get_bytes("/", "*/*").await.unwrap_err();
    let text = connection.explain(&error, "list pods").to_string();
    assert!(text.contains("cannot be resolved"), "{text}");
    only(&asked);

    home.write(
        ".kube/config",
        &kubeconfig(&format!("server: 'https://api.invalid:6443', proxy-url: 'http://{proxy}'"), ""),
    );
    let connection = home.connect(&[]).await.unwrap();
    connection.get_bytes("/", "*/*").await.unwrap_err();
    assert_eq!(asked.lock().unwrap().len(), 2, "the kubeconfig's proxy ignores NO_PROXY");
}

#[tokio::test]
async fn connection_trouble_is_told_in_kubectls_words() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (plain, _) = serve(|_, _| answer(400, "", "")).await;
    let (broken, _) =
        serve(|_, _| Answer("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome".into(), false)).await;
    // TLS's first bytes hold no blank line, so this server answers nothing; it is the one that is read as not TLS
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let not_tls = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let mut table = String::new();
    for (server, says) in [
        (
            format!("https://{free}"),
            "was refused\n  check host and port, or choose another cluster with --context",
        ),
        (format!("http://{free}"), "was refused"),
        (format!("https://{not_tls}"), "does not speak TLS"),
        (format!("http://{broken}"), "was lost"),
        (format!("http://{plain}"), "400 Bad Request"),
    ] {
        let connection = Home::new("").connect(&["-s", &server, "--insecure-skip-tls-verify"]).await.unwrap();
        let error = connection.get_bytes("/", "*/*").await.unwrap_err();
        let text = connection.explain(&error, "list pods").to_string();
        if !text.contains(says) {
            writeln!(table, "{server}: wanted {says:?}, got {text}\n{error:?}").unwrap();
        }
    }
    assert!(table.is_empty(), "{table}");
}
