//! What the DNS of the cluster answers about replicas: each DNS pod is asked through a port-forward. Nothing is created.

mod corefile;
mod find;
mod inside;
mod message;
mod streams;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::time::Duration;

use futures::future::join_all;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::join;
use tokio::time::{Instant, timeout};

use self::find::{Servers, corefile, domain, from_dns, kubelet, servers};
use self::message::{Question, both};
use self::streams::Unanswered;
use super::connect::{Connection, RequestError};
use super::inventory::why;
use super::logs;
use super::place::encode;
use crate::kinds::{Pod, StatefulSet};
use crate::snapshot::{DnsAnswer, DnsProbe, DnsServer, LogOf, NotRead, Observed, dns_names, pod_state};
use crate::text::one_line;
use crate::words;

/// Most DNS pods that are asked.
const SERVERS: usize = 20;
/// Most names that are asked of each.
const NAMES: usize = 1000;
/// Most names that are asked for inside a pod, where each costs a request of its own.
const NAMES_INSIDE: usize = 20;
/// Names that are asked for through one connection: two questions each, and `CoreDNS` takes 128 (miekg/dns, `maxTCPQueries`).
const AT_ONCE: usize = 48;
/// How long one DNS pod may be asked.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long anything else may be read.
const READ: Duration = Duration::from_secs(10);
/// Most pods that are read again, as an answer does not fit them.
const AGAIN: usize = 50;
/// Last lines of the log of a DNS pod that is silent.
const LINES: usize = 20;

/// A list, of which only the items count.
#[derive(Deserialize)]
struct Items<T> {
    items: Vec<T>,
}

/// Reads one object, or the reason why there is none.
async fn object<T: DeserializeOwned>(connection: &Connection, path: &str) -> Result<T, NotRead> {
    let read = async {
        let bytes = connection.get_bytes(path, "application/json").await?;
        serde_json::from_slice(&bytes).map_err(|error| RequestError::garbled(&error))
    };
    match timeout(READ, read).await {
        Ok(read) => read.map_err(|error| match error {
            RequestError::NotFound { .. } => NotRead::Other("there is none".to_owned()),
            error => why(error),
        }),
        Err(_) => Err(NotRead::Other(format!("no answer within {}s", READ.as_secs()))),
    }
}

/// Asks the DNS of the cluster about these StatefulSets; with `inside`, also inside this pod.
pub async fn probe(
    connection: &Connection,
    observed: &Observed,
    is_chosen: impl Fn(&StatefulSet) -> bool,
    inside: Option<&str>,
) -> DnsProbe {
    let sets: Vec<&StatefulSet> = observed.sets.iter().filter(|set| is_chosen(set)).collect();
    let mut probe = DnsProbe::default();
    // The kubelet there knows the domain.
    let node = replicas(observed, &sets).map(|pod| pod.spec.node_name.clone()).find(|node| !node.is_empty());
    let (servers, corefile, kubelet) = join!(
        Box::pin(servers(connection)),
        Box::pin(corefile(connection)),
        Box::pin(kubelet(connection, node.as_deref()))
    );
    let servers = servers.unwrap_or_else(|why| {
        probe.not_asked.push(format!("DNS pods ({why})"));
        Servers::none()
    });
    let inside = inside.map(|name| (name, container(observed, &sets, name)));
    let mut unknown = Vec::new();
    let addresses: Vec<_> = replicas(observed, &sets).flat_map(Pod::addresses).collect();
    let (domain, source) = match domain(kubelet.as_ref(), &corefile) {
        Some(found) => found,
        None => match from_dns(connection, &servers, &addresses).await {
            Ok(domain) => (domain, "the DNS pods".to_owned()),
            Err(why) => {
                match &corefile {
                    Err(same) if *same == why => {
                        unknown.push(format!("ConfigMap coredns and port-forward: {why}"));
                    }
                    Err(other) => unknown
                        .extend([format!("ConfigMap coredns: {other}"), format!("port-forward: {why}")]),
                    Ok(_) => unknown.push(format!("port-forward: {why}")),
                }
                from_inside(connection, inside.as_ref()).await.unwrap_or_default()
            }
        },
    };
    (probe.domain, probe.domain_source) = (domain, source);
    probe.corefile = corefile.ok();
    if probe.domain.is_empty() {
        let why = words::list(&unknown, unknown.len());
        probe.not_asked.push(format!("DNS (the cluster domain is not known; {why})"));
        return probe.cleaned();
    }
    let names = names(&sets, &mut probe);
    let all =
        servers.pods.iter().take(SERVERS).map(|pod| Box::pin(server(connection, &servers, pod, &names)));
    for (asked, pod) in join_all(all).await.into_iter().zip(&servers.pods) {
        let not_asked = match asked {
            Ok(server) => {
                let left = names.len().saturating_sub(server.answers.len());
                let why = format!("{} of {} (no answer in time)", words::count(left, "DNS name"), server.pod);
                let is_whole = left == 0 || server.silent.is_some();
                probe.servers.push(server);
                if is_whole {
                    continue;
                }
                why
            }
            Err(why) if why.is_forbidden() => format!("DNS pods: port-forward ({why})"),
            Err(why) => format!("DNS pod {} ({why})", pod.metadata.name),
        };
        if !probe.not_asked.contains(&not_asked) {
            probe.not_asked.push(not_asked);
        }
    }
    if servers.pods.len() > SERVERS {
        probe.not_asked.push(format!(
            "{} (at most {SERVERS} are asked)",
            words::count(servers.pods.len() - SERVERS, "DNS pod")
        ));
    }
    if let Some((pod, place)) = &inside {
        let asked = match place {
            Ok((namespace, container)) => {
                within(connection, &sets, &mut probe, (namespace, pod, container)).await
            }
            Err(why) => Err(NotRead::Other(why.clone())),
        };
        match asked {
            Ok(server) => probe.servers.push(server),
            Err(why) => probe.not_asked.push(format!("DNS inside {pod} ({why})")),
        }
    }
    forget_changed(connection, observed, &sets, &mut probe).await;
    probe.cleaned()
}

/// The pods of these StatefulSets that are ready.
fn replicas<'a>(observed: &'a Observed, sets: &[&StatefulSet]) -> impl Iterator<Item = &'a Pod> {
    let pods = observed.pods.as_deref().unwrap_or_default().iter();
    pods.filter(|pod| {
        let owner = pod.metadata.controller();
        let is_its = |set: &&StatefulSet| {
            set.metadata.namespace == pod.metadata.namespace
                && owner.is_some_and(|owner| owner.name == set.metadata.name)
        };
        pod.is_ready() && sets.iter().any(is_its)
    })
}

/// All names that are asked for.
fn names(sets: &[&StatefulSet], probe: &mut DnsProbe) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut known = HashSet::new();
    for set in sets {
        let home = probe.home(&set.metadata.namespace);
        let all = dns_names(set, NAMES).into_iter().map(|name| format!("{name}.{home}"));
        names.extend(all.filter(|name| known.insert(name.clone())));
        let replicas = usize::try_from(set.replicas()).unwrap_or(0);
        if replicas > NAMES {
            let more = words::count(replicas - NAMES, "more DNS name");
            probe.not_asked.push(format!("{more} of {} (at most {NAMES} are asked)", set.metadata.name));
        }
    }
    if names.len() > NAMES {
        let more = words::count(names.len() - NAMES, "more DNS name");
        probe.not_asked.push(format!("{more} (at most {NAMES} are asked)"));
        names.truncate(NAMES);
    }
    names
}

/// A pod in which is asked, with its namespace and a container, or why that is not possible.
type Inside<'a> = (&'a str, Result<(String, String), String>);

/// The domain in the search path of a pod.
async fn from_inside(connection: &Connection, inside: Option<&Inside<'_>>) -> Option<(String, String)> {
    let (pod, Ok((namespace, container))) = inside? else { return None };
    let server = inside::ask(connection, (namespace, pod, container), &[]).await.ok()?;
    let domain = inside::cluster_domain(&server.search, namespace)?;
    Some((domain.to_owned(), format!("the search path of {pod}")))
}

/// Asks one DNS pod.
///
/// # Errors
/// When there is no way to it.
async fn server(
    connection: &Connection,
    servers: &Servers,
    pod: &Pod,
    names: &[String],
) -> Result<DnsServer, NotRead> {
    let name = pod.metadata.name.as_str();
    let mut server = DnsServer {
        namespace: servers.namespace.to_owned(),
        pod: name.to_owned(),
        ready: pod.is_ready(),
        ..DnsServer::default()
    };
    // One that is only being started is none yet.
    if pod.status.phase == "Pending" && pod.restarts() == 0 {
        return Err(NotRead::Other(format!("it is not running: {}", pod_state(pod))));
    }
    if pod.status.phase != "Running" || !pod.status.container_statuses.is_empty() && !is_running(pod) {
        server.silent = Some(format!("it is not running: {}", pod_state(pod)));
        server.log = last_lines(connection, servers.namespace, pod).await;
        return Ok(server);
    }
    let began = Instant::now();
    let place = (servers.namespace, name, servers.port);
    for some in names.chunks(AT_ONCE) {
        let left = || PATIENCE.saturating_sub(began.elapsed());
        let mut asked = timeout(left(), questions(connection, place, some)).await;
        if matches!(asked, Ok(Err(Unanswered::Silent(_)))) {
            // One lost connection says nothing.
            asked = timeout(left(), questions(connection, place, some)).await;
        }
        match asked {
            Ok(Ok(answers)) => server.answers.extend(answers),
            Ok(Err(Unanswered::NotReached(why))) if server.answers.is_empty() => return Err(why),
            Ok(Err(Unanswered::Silent(why))) if server.answers.is_empty() => {
                server.silent = Some(why);
                server.log = last_lines(connection, servers.namespace, pod).await;
                break;
            }
            // What it did not answer is not known.
            Ok(Err(_)) | Err(_) => break,
        }
    }
    Ok(server)
}

/// Asks for both families of addresses.
async fn questions(
    connection: &Connection,
    place: (&str, &str, u16),
    names: &[String],
) -> Result<Vec<(String, DnsAnswer)>, Unanswered> {
    let mut asked: Vec<(&String, Question, Question)> = Vec::new();
    for (name, id) in names.iter().zip((1..).step_by(2)) {
        let (v4, v6) = (Question::new(id, name, false), Question::new(id.saturating_add(1), name, true));
        asked.extend(v4.zip(v6).map(|(v4, v6)| (name, v4, v6)));
    }
    let all: Vec<Question> = asked.iter().flat_map(|(_, v4, v6)| [v4.clone(), v6.clone()]).collect();
    let answers = streams::ask(connection, place, &all).await?;
    let pairs = asked.iter().zip(answers.chunks(2));
    Ok(pairs
        .filter_map(|((name, q4, q6), pair)| {
            let [v4, v6] = pair else { return None };
            let answer = both(streams::answer(q4, v4.as_ref()), streams::answer(q6, v6.as_ref()));
            Some(((*name).clone(), answer))
        })
        .collect())
}

fn is_running(pod: &Pod) -> bool {
    pod.status.container_statuses.iter().any(|status| status.state.running.is_some())
}

/// The last lines of what a DNS pod wrote, which say why it does not run; nothing where they cannot be read.
async fn last_lines(connection: &Connection, namespace: &str, pod: &Pod) -> Vec<crate::kinds::Said> {
    let statuses = &pod.status.container_statuses;
    let Some(status) = statuses.iter().find(|status| status.state.running.is_none()).or(statuses.first())
    else {
        return Vec::new();
    };
    let of = LogOf::last(namespace, &pod.metadata.name, &status.name, Some(status));
    let read = logs::read(connection, &[of], LINES).await;
    let mut lines = read.into_iter().find_map(|log| log.lines.ok()).unwrap_or_default();
    lines.split_off(lines.len().saturating_sub(LINES))
}

/// The namespace and the container of a pod in which is asked, or why that is not possible.
fn container(observed: &Observed, sets: &[&StatefulSet], name: &str) -> Result<(String, String), String> {
    let name = one_line(name, 253);
    let pods = observed.pods.as_deref().map_err(ToString::to_string)?;
    let here = |pod: &&Pod| {
        pod.metadata.name == name && sets.iter().any(|set| set.metadata.namespace == pod.metadata.namespace)
    };
    let pod = pods.iter().find(here).ok_or("there is no such pod in the namespace of a StatefulSet")?;
    let statuses = &pod.status.container_statuses;
    let running = statuses.iter().filter(|status| status.state.running.is_some());
    let named = |name: &str| pod.spec.containers.iter().position(|container| container.name == name);
    let first = running.filter_map(|status| named(&status.name)).min();
    match first.and_then(|at| pod.spec.containers.get(at)) {
        Some(container) => Ok((pod.metadata.namespace.clone(), container.name.clone())),
        None => Err(format!("it is not running: {}", pod_state(pod))),
    }
}

/// Asks inside a pod for the names of the StatefulSets of its namespace, as an application writes them.
async fn within(
    connection: &Connection,
    sets: &[&StatefulSet],
    probe: &mut DnsProbe,
    place: (&str, &str, &str),
) -> Result<DnsServer, NotRead> {
    let home = probe.home(place.0);
    let mut names: Vec<(String, String)> = Vec::new();
    for set in sets.iter().filter(|set| set.metadata.namespace == place.0) {
        for name in dns_names(set, NAMES_INSIDE) {
            let full = format!("{name}.{home}");
            if !names.iter().any(|(short, _)| *short == name) {
                names.push((name, full));
            }
        }
    }
    if names.len() > NAMES_INSIDE {
        let more = words::count(names.len() - NAMES_INSIDE, "more DNS name");
        probe.not_asked.push(format!("{more} inside {} (at most {NAMES_INSIDE} are asked)", place.1));
        names.truncate(NAMES_INSIDE);
    }
    Box::pin(inside::ask(connection, place, &names)).await
}

/// Reads those pods again that an answer does not fit, and forgets what was answered about ones that have changed: the
/// cluster is read before DNS is asked.
async fn forget_changed(
    connection: &Connection,
    observed: &Observed,
    sets: &[&StatefulSet],
    probe: &mut DnsProbe,
) {
    let pods = observed.pods.as_deref().unwrap_or_default().iter();
    let pods: HashMap<(&str, &str), &Pod> =
        pods.map(|pod| ((pod.metadata.namespace.as_str(), pod.metadata.name.as_str()), pod)).collect();
    let mut changed = Vec::new();
    for set in sets {
        let home = probe.home(&set.metadata.namespace);
        for short in dns_names(set, NAMES).into_iter().skip(1) {
            let full = format!("{short}.{home}");
            let name = short.split('.').next().unwrap_or_default();
            let pod = pods.get(&(set.metadata.namespace.as_str(), name)).copied();
            let addresses = pod.map(Pod::addresses).unwrap_or_default();
            let fits = |answer: &DnsAnswer| {
                !answer.addresses.is_empty() && answer.addresses.iter().all(|it| addresses.contains(it))
            };
            let answers = probe.servers.iter().filter_map(|server| server.answers.get(&full));
            if answers.clone().count() > 0 && !answers.clone().all(fits) && changed.len() < AGAIN {
                changed.push((full, set.metadata.namespace.clone(), name.to_owned(), pod));
            }
        }
    }
    // To list is allowed already.
    let again = changed.iter().map(|(_, namespace, name, _)| {
        let path = format!(
            "/api/v1/namespaces/{}/pods?fieldSelector=metadata.name%3D{}",
            encode(namespace),
            encode(name)
        );
        async move { object::<Items<Pod>>(connection, &path).await.map(|list| list.items.into_iter().next()) }
    });
    let again = all_of(again).await;
    for ((full, _, name, before), now) in changed.iter().zip(again) {
        let state = |pod: &Pod| {
            (pod.metadata.uid.clone(), pod.addresses(), pod.is_ready(), pod.metadata.is_terminating())
        };
        let why = match now {
            Ok(now) if before.map(state) == now.as_ref().map(state) => continue,
            Ok(_) => "the pod changed meanwhile".to_owned(),
            Err(why) => why.to_string(),
        };
        for server in &mut probe.servers {
            server.answers.remove(full);
        }
        probe.not_asked.push(format!("DNS name of {name} ({why})"));
    }
}

/// Waits for all of them.
async fn all_of<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    join_all(all).await
}
