//! kubectl's loading rules: which files, which context, and the flags written over it.

use std::env::split_paths;
use std::io::ErrorKind;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};

use kube::config::{AuthInfo, Cluster, Context, Kubeconfig, KubeconfigError};
use serde::{Serialize, de::DeserializeOwned};

use super::environment::Environment;
use super::files;
use super::flags::ConnectArgs;
use crate::error::{Error, Result};
use crate::text::one_line;

/// What the files, the environment and the flags together say: whom to talk to, and as whom.
#[derive(Debug, Default)]
pub(super) struct Target {
    /// The context's name; none in a pod, or when the flags say everything.
    pub context: Option<String>,
    pub namespace: Option<String>,
    pub cluster: Cluster,
    pub user: AuthInfo,
    /// A pod's own CA bundle, which is replaced while we run.
    pub rotating_ca: Option<PathBuf>,
}

/// Finds the target: files first, then the flags over them; inside a pod the service account when no file names a server.
pub(super) fn target(args: &ConnectArgs, env: &Environment) -> Result<Target> {
    let files = load(args.kubeconfig.as_deref(), env)?;
    let mut target = match files.as_ref().map(|config| select(config, args)).transpose()?.flatten() {
        Some(target) => target,
        None => outside_files(args, env, files.is_some())?,
    };
    target.cluster = without_empty(&target.cluster);
    let exec = target.user.exec.take();
    target.user = without_empty(&target.user);
    target.user.exec = exec;
    target.namespace = target.namespace.filter(|namespace| !namespace.is_empty());
    override_cluster(&mut target, args);
    override_user(&mut target.user, args)?;
    Ok(target)
}

/// What can be chosen from in the kubeconfig.
#[derive(Clone, Debug, Default)]
pub struct KubeconfigNames {
    /// For `--context`.
    pub contexts: Vec<String>,
    /// For `--cluster`.
    pub clusters: Vec<String>,
    /// For `--user`.
    pub users: Vec<String>,
}

/// The names in the kubeconfig that the flags and the environment point to.
///
/// # Errors
/// When a file cannot be read.
pub fn kubeconfig_names(args: &ConnectArgs, env: &Environment) -> Result<KubeconfigNames> {
    let config = load(args.kubeconfig.as_deref(), env)?.unwrap_or_default();
    Ok(KubeconfigNames {
        contexts: config.contexts.into_iter().map(|context| context.name).collect(),
        clusters: config.clusters.into_iter().map(|cluster| cluster.name).collect(),
        users: config.auth_infos.into_iter().map(|user| user.name).collect(),
    })
}

/// The merged files, first value wins; `None` when there is none to read.
fn load(explicit: Option<&Path>, env: &Environment) -> Result<Option<Kubeconfig>> {
    if let Some(path) = explicit.filter(|path| !path.as_os_str().is_empty()) {
        return read(path).map(Some);
    }
    let paths: Vec<PathBuf> = match &env.kubeconfig {
        Some(list) => split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect(),
        None => env.home.iter().map(|home| home.join(".kube").join("config")).collect(),
    };
    let mut merged: Option<Kubeconfig> = None;
    for path in paths.iter().filter(|path| path.exists()) {
        let next = read(path)?;
        merged = Some(match merged {
            None => next,
            Some(first) => first.merge(next).map_err(|e| unreadable(path, &e))?,
        });
    }
    Ok(merged)
}

fn read(path: &Path) -> Result<Kubeconfig> {
    let what = || format!("cannot read the kubeconfig {}", path.display());
    let bytes = files::read(path, files::KUBECONFIG).map_err(|e| match e.kind() {
        ErrorKind::NotFound => Error::usage(what()).because("there is no such file"),
        _ => Error::cluster(what()).because(e),
    })?;
    let text = text(bytes).ok_or_else(|| Error::cluster(what()).because("it is not text in UTF-8"))?;
    let mut config = Kubeconfig::from_yaml(&text).map_err(|e| unreadable(path, &e))?;
    if let Some(folder) = path.parent() {
        resolve(&mut config, folder);
    }
    // an empty value must not win over the next file's
    config.current_context = config.current_context.filter(|name| !name.is_empty());
    Ok(config)
}

/// The text of a file in UTF-8, or in UTF-16 as PowerShell writes it.
fn text(bytes: Vec<u8>) -> Option<String> {
    let wide = |of: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.get(2..)?.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| of(*pair)).collect();
        String::from_utf16(&units).ok().filter(|_| rest.is_empty())
    };
    match bytes.get(..2) {
        Some([0xff, 0xfe]) => wide(u16::from_le_bytes),
        Some([0xfe, 0xff]) => wide(u16::from_be_bytes),
        _ => String::from_utf8(bytes).ok().map(|text| text.trim_start_matches('\u{feff}').to_owned()),
    }
}

/// Paths in a file are relative to it (client-go `ResolveLocalPaths`); so are commands with a slash in them.
fn resolve(config: &mut Kubeconfig, folder: &Path) {
    let absolute = |path: &mut Option<String>| {
        if let Some(relative) =
            path.as_deref().filter(|path| !path.is_empty() && Path::new(path).is_relative())
        {
            *path = folder.join(relative).to_str().map(str::to_owned);
        }
    };
    for cluster in config.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        absolute(&mut cluster.certificate_authority);
    }
    for user in config.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        absolute(&mut user.client_certificate);
        absolute(&mut user.client_key);
        absolute(&mut user.token_file);
        if let Some(exec) = &mut user.exec
            && exec.command.as_deref().is_some_and(|command| command.contains(MAIN_SEPARATOR))
        {
            absolute(&mut exec.command);
        }
    }
}

fn unreadable(path: &Path, error: &KubeconfigError) -> Error {
    let what = format!("cannot read the kubeconfig {}", path.display());
    // Errors quote the lines around the fault, or the value, and those may hold a token.
    Error::cluster(what).because(match error {
        KubeconfigError::Parse(e) => match e.location() {
            Some(place) => format!("it is not valid YAML for a kubeconfig, line {}", place.line()),
            None => "it is not valid YAML for a kubeconfig".to_owned(),
        },
        KubeconfigError::KindMismatch => "it is of another kind than the files before it".to_owned(),
        KubeconfigError::ApiVersionMismatch => {
            "it is of another API version than the files before it".to_owned()
        }
        _ => "it is not a valid kubeconfig".to_owned(),
    })
}

/// The context, cluster and user the flags or `current-context` name. `None`: nothing names a server.
fn select(config: &Kubeconfig, args: &ConnectArgs) -> Result<Option<Target>> {
    let flag = |value: &Option<String>| value.clone().filter(|name| !name.is_empty());
    let (context_flag, cluster_flag, user_flag) =
        (flag(&args.context), flag(&args.cluster), flag(&args.user));
    let name = context_flag.clone().or_else(|| config.current_context.clone());
    let context = match &name {
        None => Context::default(),
        Some(name) => {
            let known = config.contexts.iter().find(|c| &c.name == name);
            known.and_then(|c| c.context.clone()).ok_or_else(|| {
                missing(
                    "context",
                    name,
                    context_flag.is_some(),
                    config.contexts.iter().map(|c| c.name.as_str()),
                )
            })?
        }
    };
    if name.is_none() && cluster_flag.is_none() && flag(&args.server).is_none() {
        return Ok(None);
    }

    let cluster_name = cluster_flag.clone().unwrap_or_else(|| context.cluster.clone());
    let known = config.clusters.iter().find(|c| c.name == cluster_name).and_then(|c| c.cluster.clone());
    let cluster = match known {
        Some(cluster) => cluster,
        None if cluster_flag.is_none() && flag(&args.server).is_some() => Cluster::default(),
        None => {
            let names = config.clusters.iter().map(|c| c.name.as_str());
            return Err(missing("cluster", &cluster_name, cluster_flag.is_some(), names));
        }
    };

    let user_name = user_flag.clone().or(context.user).filter(|name| !name.is_empty());
    let known = user_name.as_ref().and_then(|name| config.auth_infos.iter().find(|u| &u.name == name));
    let user = match (known, user_name) {
        (Some(user), _) => user.auth_info.clone().unwrap_or_default(),
        // going on as nobody would end in a refusal that does not name the cause
        (None, Some(name)) if user_flag.is_some() || !args.has_credentials() => {
            let names = config.auth_infos.iter().map(|u| u.name.as_str());
            return Err(missing("user", &name, user_flag.is_some(), names));
        }
        (None, _) => AuthInfo::default(),
    };
    Ok(Some(Target { context: name, namespace: context.namespace, cluster, user, rotating_ca: None }))
}

/// A name that is in none of the files: of a flag it is a usage error, otherwise the files' own fault.
fn missing<'a>(kind: &str, name: &str, by_flag: bool, known: impl Iterator<Item = &'a str>) -> Error {
    let what = format!("{kind} {:?} does not exist in the kubeconfig", one_line(name, 200));
    let error = if by_flag { Error::usage(what) } else { Error::cluster(what) };
    let names: Vec<String> = known.take(20).map(|name| one_line(name, 100)).collect();
    match (names.is_empty(), kind) {
        (true, _) => error.hint(format!("the kubeconfig has no {kind}s at all; see kubectl config view")),
        (false, "context") => error.hint(format!("choose one with --context: {}", names.join(", "))),
        (false, _) => error.hint(format!("known {kind}s: {}", names.join(", "))),
    }
}

/// Without a context: the server of `--server`, or the pod we run in.
fn outside_files(args: &ConnectArgs, env: &Environment, files: bool) -> Result<Target> {
    let none = |name: &Option<String>| name.as_deref().is_none_or(str::is_empty);
    for (kind, name) in [("context", &args.context), ("cluster", &args.cluster), ("user", &args.user)] {
        if !none(name) && !files {
            return Err(missing(kind, name.as_deref().unwrap_or_default(), true, std::iter::empty()));
        }
    }
    if !none(&args.server) {
        return Ok(Target::default());
    }
    if let (Some(host), Some(port)) = (&env.service_host, &env.service_port) {
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let token = env.service_account.join("token");
        if token.exists() {
            let ca = env.service_account.join("ca.crt");
            return Ok(Target {
                namespace: files::read(env.service_account.join("namespace"), 1024)
                    .ok()
                    .and_then(|namespace| Some(String::from_utf8(namespace).ok()?.trim().to_owned())),
                cluster: Cluster {
                    server: Some(format!("https://{host}:{port}")),
                    certificate_authority: Some(ca.display().to_string()),
                    ..Cluster::default()
                },
                user: AuthInfo { token_file: Some(token.display().to_string()), ..AuthInfo::default() },
                rotating_ca: Some(ca),
                ..Target::default()
            });
        }
    }
    Err(if files {
        Error::usage("no cluster is chosen: the kubeconfig has no current-context").hint(
            "choose one: kubectl config get-contexts, then kubectl config use-context NAME or --context NAME",
        )
    } else {
        let places = match &env.kubeconfig {
            Some(list) => format!("KUBECONFIG={}", list.to_string_lossy()),
            None => "~/.kube/config".to_owned(),
        };
        Error::usage("no cluster is configured")
            .because(format!("there is no file at {places}, and this is not a pod"))
            .hint("give --kubeconfig FILE, set KUBECONFIG, or give --server URL")
    })
}

/// client-go's rules: a CA or insecure on the command line replaces both in the file, and a server there clears the
/// file's tls-server-name, which belonged to the other server.
fn override_cluster(target: &mut Target, args: &ConnectArgs) {
    let cluster = &mut target.cluster;
    let server = args.server.clone().filter(|server| !server.is_empty());
    let name = args.tls_server_name.clone().filter(|name| !name.is_empty());
    if name.is_some() || server.is_some() {
        cluster.tls_server_name = name;
    }
    if server.is_some() {
        cluster.server = server;
    }
    let ca = args.certificate_authority.as_ref().filter(|path| !path.as_os_str().is_empty());
    if args.insecure_skip_tls_verify || ca.is_some() {
        cluster.insecure_skip_tls_verify = Some(args.insecure_skip_tls_verify);
        cluster.certificate_authority = ca.map(|path| path.display().to_string());
        cluster.certificate_authority_data = None;
        target.rotating_ca = None;
    }
    if args.disable_compression {
        cluster.disable_compression = Some(true);
    }
}

fn override_user(user: &mut AuthInfo, args: &ConnectArgs) -> Result<()> {
    if args.has_credentials() {
        // the file's credentials would be sent along, and a certificate there would win over a token
        *user = AuthInfo {
            impersonate: user.impersonate.take(),
            impersonate_uid: user.impersonate_uid.take(),
            impersonate_groups: user.impersonate_groups.take(),
            impersonate_user_extra: user.impersonate_user_extra.take(),
            ..AuthInfo::default()
        };
    }
    let token = args.token.as_ref().filter(|token| !token.reveal().is_empty());
    let name = args.username.as_ref().filter(|name| !name.is_empty());
    let password = args.password.as_ref().filter(|password| !password.reveal().is_empty());
    match (token, name, password) {
        (Some(_), Some(_), _) => return Err(Error::usage("--token and --username cannot be used together")),
        (_, Some(_), None) | (_, None, Some(_)) => {
            return Err(Error::usage("--username and --password go together: give both"));
        }
        (token, name, password) => {
            user.token = token.map(|token| token.reveal().to_owned().into()).or(user.token.take());
            user.username = name.cloned().or(user.username.take());
            user.password =
                password.map(|password| password.reveal().to_owned().into()).or(user.password.take());
        }
    }
    if let Some(path) = args.client_certificate.as_ref().filter(|path| !path.as_os_str().is_empty()) {
        user.client_certificate = Some(path.display().to_string());
    }
    if let Some(path) = args.client_key.as_ref().filter(|path| !path.as_os_str().is_empty()) {
        user.client_key = Some(path.display().to_string());
        user.client_key_data = None;
    }

    if let Some(name) = args.as_user.clone().filter(|name| !name.is_empty()) {
        user.impersonate = Some(name);
    }
    if let Some(uid) = args.as_uid.clone().filter(|uid| !uid.is_empty()) {
        user.impersonate_uid = Some(uid);
    }
    if !args.as_group.is_empty() {
        user.impersonate_groups = Some(args.as_group.clone());
    }
    if !args.as_user_extra.is_empty() {
        let extra = user.impersonate_user_extra.insert(std::collections::HashMap::new());
        for (key, value) in &args.as_user_extra {
            extra.entry(key.clone()).or_default().push(value.clone());
        }
    }
    let more = user.impersonate_uid.is_some()
        || user.impersonate_groups.as_ref().is_some_and(|groups| !groups.is_empty())
        || user.impersonate_user_extra.as_ref().is_some_and(|extra| !extra.is_empty());
    if more && user.impersonate.is_none() {
        return Err(Error::usage("--as-group, --as-uid and --as-user-extra need --as")
            .hint("name the user to impersonate as well: --as USER"));
    }
    Ok(())
}

/// A copy without the fields that are empty texts: kubeconfigs are written with `token: ""`, kube takes that for a token.
fn without_empty<T: Serialize + DeserializeOwned + Clone>(value: &T) -> T {
    let kept = serde_json::to_value(value).and_then(|mut json| {
        if let Some(fields) = json.as_object_mut() {
            fields.retain(|_, field| field.as_str() != Some(""));
        }
        serde_json::from_value(json)
    });
    kept.unwrap_or_else(|_| value.clone())
}
