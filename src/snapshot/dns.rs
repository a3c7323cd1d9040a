//! What DNS was asked about replicas, and what it answered.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::kinds::{Said, StatefulSet};
use crate::text::one_line;

/// What the DNS of the cluster answers about StatefulSets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DnsProbe {
    /// The domain under which Services have names, such as `cluster.local`; empty where it could not be found.
    pub domain: String,
    /// Where that is written, as a fragment.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain_source: String,
    /// What the configuration of CoreDNS says of that domain, where it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corefile: Option<Corefile>,
    /// Whom it was asked of.
    pub servers: Vec<DnsServer>,
    /// What was not asked, and why: each a fragment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_asked: Vec<String>,
}

/// What a Corefile says of the cluster's domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Corefile {
    /// The domains it serves from the API server, the first is the one it calls its own.
    pub zones: Vec<String>,
    /// The only namespaces it serves; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Whether it serves no pods behind headless Services.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_endpoints: bool,
    /// For how many seconds its answers may be kept.
    pub ttl: u32,
    /// How long it keeps them itself, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<DnsCache>,
    /// Where it sends other questions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forwards: Vec<String>,
}

/// The most seconds for which answers are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DnsCache {
    /// Those with an address.
    pub positive: u32,
    /// Those without.
    pub negative: u32,
    /// For how long an answer that is over is still given, while there is no newer one.
    pub stale: u32,
}

/// Who was asked: a DNS pod, or what answers inside a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DnsServer {
    /// The namespace of the pod.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The command inside the pod that was asked; empty for a DNS pod.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub command: String,
    /// The search path inside the pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// How many dots make a name that is asked as it is first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ndots: Option<u32>,
    /// Whether clients are sent to it.
    pub ready: bool,
    /// Why it gave no answer at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent: Option<String>,
    /// The last lines of its log, where it is silent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<Said>,
    /// What it answers, by the whole name.
    pub answers: BTreeMap<String, DnsAnswer>,
}

impl DnsServer {
    /// Whether it was asked inside a pod, with the search path of that pod.
    pub fn is_inside(&self) -> bool {
        !self.command.is_empty()
    }
}

/// An answer about the addresses of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DnsAnswer {
    /// What it is.
    pub code: DnsCode,
    /// The addresses, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// For how many more seconds the answer may be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u32>,
    /// Why it failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// Which kind of answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DnsCode {
    /// There are addresses.
    #[serde(rename = "NOERROR")]
    Found,
    /// There is no such name.
    #[serde(rename = "NXDOMAIN")]
    NoName,
    /// The name has no addresses.
    #[serde(rename = "NODATA")]
    NoAddress,
    /// There is no answer.
    #[default]
    #[serde(rename = "FAILED")]
    Failed,
}

impl DnsCode {
    /// As it is called in DNS.
    pub fn word(self) -> &'static str {
        match self {
            DnsCode::Found => "NOERROR",
            DnsCode::NoName => "NXDOMAIN",
            DnsCode::NoAddress => "NODATA",
            DnsCode::Failed => "FAILED",
        }
    }

    /// Whether it says that there is nothing.
    pub fn is_negative(self) -> bool {
        matches!(self, DnsCode::NoName | DnsCode::NoAddress)
    }
}

/// Longest text of a probe that is kept.
const LONGEST: usize = 300;

impl DnsProbe {
    /// With all texts on one line, and without what a terminal would obey: others than the API server wrote them.
    #[must_use]
    pub fn cleaned(mut self) -> DnsProbe {
        let all = |texts: &mut Vec<String>| texts.iter_mut().for_each(|text| *text = one_line(text, LONGEST));
        all(&mut self.not_asked);
        self.domain = one_line(&self.domain, LONGEST);
        self.domain_source = one_line(&self.domain_source, LONGEST);
        if let Some(corefile) = &mut self.corefile {
            all(&mut corefile.zones);
            all(&mut corefile.namespaces);
            all(&mut corefile.forwards);
        }
        for server in &mut self.servers {
            all(&mut server.search);
            for text in [&mut server.namespace, &mut server.pod, &mut server.command] {
                *text = one_line(text, LONGEST);
            }
            server.silent = server.silent.take().map(|why| one_line(&why, LONGEST));
            server.log = server.log.iter().map(|line| Said::from(one_line(line, LONGEST))).collect();
            for answer in server.answers.values_mut() {
                answer.why = one_line(&answer.why, LONGEST);
            }
        }
        self
    }

    /// The domain with the namespace of a StatefulSet: `shop.svc.cluster.local`.
    pub fn home(&self, namespace: &str) -> String {
        format!("{namespace}.svc.{}", self.domain)
    }
}

/// The names of a StatefulSet that are asked for, without the part that its namespace has in common: the Service, then this
/// number of replicas.
pub fn dns_names(set: &StatefulSet, most: usize) -> Vec<String> {
    let service = &set.spec.service_name;
    if service.is_empty() {
        return Vec::new();
    }
    let ordinals = (0..set.replicas()).take(most).map_while(|index| set.start().checked_add(index));
    let replicas = ordinals.map(|ordinal| format!("{}.{service}", set.pod_name(ordinal)));
    std::iter::once(service.clone()).chain(replicas).collect()
}
