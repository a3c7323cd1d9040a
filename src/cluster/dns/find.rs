//! Where the DNS of a cluster is, and under which domain it knows Services.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use tokio::join;

use super::message::Question;
use super::streams::Unanswered;
use super::{Items, corefile as file, object, streams};
use crate::cluster::connect::Connection;
use crate::cluster::place::encode;
use crate::kinds::{Endpoint, Meta, Pod, Service};
use crate::snapshot::{Corefile, NotRead};

/// Of how many addresses the name is asked for.
const ADDRESSES: usize = 4;

/// Where the DNS pods of a cluster are: namespace, Service, label of the pods. The second are those of OpenShift.
const PLACES: [(&str, &str, &str); 2] = [
    ("kube-system", "kube-dns", "k8s-app%3Dkube-dns"),
    ("openshift-dns", "dns-default", "dns.operator.openshift.io%2Fdaemonset-dns%3Ddefault"),
];

/// An `EndpointSlice` with its ports.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Slice {
    endpoints: Vec<Endpoint>,
    ports: Vec<Port>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Port {
    name: Option<String>,
    port: Option<u16>,
    protocol: Option<String>,
}

/// v1 `ConfigMap`.
#[derive(Deserialize)]
struct ConfigMap {
    #[serde(default)]
    data: BTreeMap<String, String>,
}

/// What the configuration of a kubelet says of DNS (`KubeletConfiguration`).
#[derive(Deserialize)]
struct Configz {
    kubeletconfig: KubeletDns,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KubeletDns {
    #[serde(default)]
    cluster_domain: String,
}

/// The DNS pods, and what leads to them.
pub(super) struct Servers {
    pub(super) namespace: &'static str,
    pub(super) pods: Vec<Pod>,
    /// The address of the Service.
    address: Option<IpAddr>,
    pub(super) port: u16,
}

/// Finds the DNS pods.
pub(super) async fn servers(connection: &Connection) -> Result<Servers, NotRead> {
    let mut reason = NotRead::Other("there are none".to_owned());
    for (namespace, service, label) in PLACES {
        let core = format!("/api/v1/namespaces/{namespace}");
        let pods = format!("{core}/pods?labelSelector={label}&limit=500");
        let service_path = format!("{core}/services/{service}");
        let slices = format!(
            "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D{service}&limit=100"
        );
        let (pods, service, slices) = join!(
            object::<Items<Pod>>(connection, &pods),
            object::<Service>(connection, &service_path),
            object::<Items<Slice>>(connection, &slices)
        );
        let slices = slices.map(|list| list.items).unwrap_or_default();
        let mut pods = match pods {
            Ok(list) => list.items,
            Err(why) => {
                // Their names are in the slices, too.
                let targets = slices.iter().flat_map(|slice| &slice.endpoints);
                let named: Vec<Pod> = targets.filter_map(pod_of).collect();
                if named.is_empty() && namespace == PLACES[0].0 {
                    reason = why;
                }
                named
            }
        };
        pods.retain(|pod| {
            !pod.metadata.name.is_empty() && !pod.metadata.is_terminating() && !pod.is_finished()
        });
        pods.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        if !pods.is_empty() {
            let address = service.ok().and_then(|service| service.spec.cluster_ip.parse().ok());
            return Ok(Servers { namespace, pods, address, port: port(&slices) });
        }
    }
    Err(reason)
}

/// A pod of which only is known that clients are sent to it.
fn pod_of(endpoint: &Endpoint) -> Option<Pod> {
    let target = endpoint.target_ref.as_ref().filter(|target| target.kind == "Pod")?;
    let mut pod = Pod { metadata: Meta { name: target.name.clone(), ..Meta::default() }, ..Pod::default() };
    if endpoint.conditions.ready != Some(false) {
        "Running".clone_into(&mut pod.status.phase);
        let ready = crate::kinds::Condition {
            r#type: "Ready".to_owned(),
            status: "True".to_owned(),
            ..Default::default()
        };
        pod.status.conditions.push(ready);
    }
    Some(pod)
}

/// The port of the pods for DNS over TCP.
fn port(slices: &[Slice]) -> u16 {
    let tcp = || {
        let all = slices.iter().flat_map(|slice| &slice.ports);
        all.filter(|port| port.protocol.as_deref().is_none_or(|it| it == "TCP"))
    };
    let named = tcp().find(|port| port.name.as_deref().is_some_and(|name| name.contains("dns")));
    named.and_then(|port| port.port).unwrap_or(53)
}

impl Servers {
    /// None at all.
    pub(super) fn none() -> Servers {
        Servers { namespace: PLACES[0].0, pods: Vec::new(), address: None, port: 53 }
    }
}

/// What CoreDNS is configured to.
pub(super) async fn corefile(connection: &Connection) -> Result<Corefile, NotRead> {
    let mut reason = None;
    for name in ["coredns", "rke2-coredns-rke2-coredns"] {
        let path = format!("/api/v1/namespaces/kube-system/configmaps/{name}");
        match object::<ConfigMap>(connection, &path).await {
            Ok(map) => {
                let found = map.data.get("Corefile").and_then(|text| file::read(text));
                return found.ok_or_else(|| NotRead::Other("it serves no cluster domain".to_owned()));
            }
            Err(why) => drop(reason.get_or_insert(why)),
        }
    }
    Err(reason.unwrap_or_else(|| NotRead::Other("there is none".to_owned())))
}

/// The domain that the kubelet of a node writes into the search path of its pods.
pub(super) async fn kubelet(connection: &Connection, node: Option<&str>) -> Option<(String, String)> {
    let node = node?;
    let configz: Configz =
        object(connection, &format!("/api/v1/nodes/{}/proxy/configz", encode(node))).await.ok()?;
    let domain = configz.kubeletconfig.cluster_domain.trim_end_matches('.').to_owned();
    (!domain.is_empty()).then(|| (domain, format!("the kubelet of {node}")))
}

/// The domain: what pods search in, or what DNS serves.
pub(super) fn domain(
    kubelet: Option<&(String, String)>,
    corefile: &Result<Corefile, NotRead>,
) -> Option<(String, String)> {
    let of_corefile = || {
        let zone = corefile.as_ref().ok()?.zones.first()?;
        Some((zone.clone(), "the Corefile".to_owned()))
    };
    kubelet.cloned().or_else(of_corefile)
}

/// The domain in the name that DNS gives to the address of its own Service, or to that of one of these replicas.
///
/// # Errors
/// When no DNS pod can be asked.
pub(super) async fn from_dns(
    connection: &Connection,
    servers: &Servers,
    replicas: &[IpAddr],
) -> Result<String, NotRead> {
    let addresses = servers.address.iter().chain(replicas).take(ADDRESSES);
    let questions: Vec<Question> =
        addresses.zip(1..).map(|(address, id)| Question::reverse(id, *address)).collect();
    let mut reason = NotRead::Other("DNS does not say it".to_owned());
    for pod in servers.pods.iter().filter(|pod| pod.is_ready()).take(2) {
        let place = (servers.namespace, pod.metadata.name.as_str(), servers.port);
        let answers = match streams::ask(connection, place, &questions).await {
            Ok(answers) => answers,
            Err(Unanswered::NotReached(why)) => {
                reason = why;
                continue;
            }
            Err(Unanswered::Silent(_)) => continue,
        };
        let names =
            questions.iter().zip(&answers).filter_map(|(it, answer)| it.pointed(answer.as_ref().ok()?));
        let mut domains = names.filter_map(|name| {
            let (_, domain) = name.split_once(".svc.")?;
            Some(domain.trim_end_matches('.').to_owned()).filter(|domain| !domain.is_empty())
        });
        if let Some(domain) = domains.next() {
            return Ok(domain);
        }
    }
    Err(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(text: &str) -> Slice {
        serde_json::from_str(text).expect("a slice")
    }

    #[test]
    fn the_port_is_that_of_the_pods() {
        assert_eq!(port(&[]), 53);
        let own = slice(
            r#"{"ports":[{"name":"dns","port":1053,"protocol":"UDP"},{"name":"dns-tcp","port":5353,"protocol":"TCP"},{"name":"metrics","port":9153,"protocol":"TCP"}]}"#,
        );
        assert_eq!(port(&[own]), 5353);
        assert_eq!(port(&[slice(r#"{"ports":[{"name":"metrics","port":9153}]}"#)]), 53);
    }

    #[test]
    fn the_domain_of_the_pods_counts_before_that_of_the_server() {
        let corefile = || Ok(Corefile { zones: vec!["two.test".to_owned()], ..Corefile::default() });
        let kubelet = Some(("one.test".to_owned(), "the kubelet of a".to_owned()));
        assert_eq!(domain(kubelet.as_ref(), &corefile()).map(|it| it.0).as_deref(), Some("one.test"));
        assert_eq!(domain(None, &corefile()).map(|it| it.0).as_deref(), Some("two.test"));
        assert_eq!(domain(None, &Err(NotRead::Forbidden(None))), None);
        assert_eq!(domain(None, &Ok(Corefile::default())), None);
    }
}
