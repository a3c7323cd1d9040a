//! `--probe-dns`: whether names of replicas resolve, as DNS itself answers.

use std::pin::pin;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::cli::{Observation, PATIENCE, heading};
use crate::cluster::dns;
use crate::error::{Error, Result};
use crate::kinds::StatefulSet;
use crate::render::Page;
use crate::render::spinner::Spinner;
use crate::rules::{Verdict, dns_checked};
use crate::snapshot::{DnsProbe, Snapshot};

/// Whether DNS is asked, and from where.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct ProbeArgs {
    /// Ask each DNS pod of the cluster for the names of the replicas, through a port-forward
    #[arg(long, conflicts_with = "from", help_heading = heading::DNS)]
    probe_dns: bool,
    /// Ask inside this pod too, with its search path, through exec
    #[arg(long, value_name = "POD", requires = "probe_dns", help_heading = heading::DNS)]
    from_pod: Option<String>,
}

impl ProbeArgs {
    /// Asks DNS about these StatefulSets, if that is wanted.
    ///
    /// # Errors
    /// When there is no cluster to ask.
    pub(super) async fn ask(
        &self,
        sight: &mut Observation,
        is_chosen: impl Fn(&StatefulSet) -> bool,
    ) -> Result<()> {
        if !self.probe_dns {
            return Ok(());
        }
        let Some(connection) = &sight.connection else {
            return Err(Error::usage("DNS can only be asked in a cluster"));
        };
        let probe = {
            let mut asking =
                pin!(dns::probe(connection, &sight.observed, is_chosen, self.from_pod.as_deref()));
            if let Ok(probe) = timeout(PATIENCE, &mut asking).await {
                probe
            } else {
                let _sign = Spinner::start("asking DNS");
                asking.await
            }
        };
        sight.observed.dns = Some(probe);
        Ok(())
    }
}

/// What was not asked, and why.
pub(super) fn not_asked(page: &mut Page, probe: Option<&DnsProbe>) {
    for what in probe.iter().flat_map(|probe| &probe.not_asked) {
        page.field("not checked:", 14, what);
    }
}

/// The answers about these StatefulSets, for programs.
pub(super) fn json<'s>(probe: &DnsProbe, snapshots: impl IntoIterator<Item = &'s Snapshot<'s>>) -> Value {
    let mut names = Vec::new();
    for snapshot in snapshots {
        let home = |namespace: &str, pod: &str| json!({"namespace": namespace, "pod": pod});
        names.extend(dns_checked(snapshot).iter().map(|it| {
            json!({
                "name": it.name,
                "set": snapshot.set.metadata.name,
                "namespace": snapshot.set.metadata.namespace,
                "replica": it.replica,
                "server": home(&it.server.namespace, &it.server.pod),
                "command": Some(&it.server.command).filter(|command| !command.is_empty()),
                "answer": it.answer.code.word(),
                "addresses": it.answer.addresses,
                "cachedSeconds": it.answer.ttl,
                "verdict": it.verdict.word(),
                "why": Some(&it.answer.why).filter(|why| !why.is_empty()),
            })
        }));
    }
    let right = names.iter().filter(|name| name["verdict"] == Verdict::Right.word()).count();
    json!({
        "domain": probe.domain,
        "domainSource": probe.domain_source,
        "servers": probe.servers.iter().map(|server| json!({
            "namespace": server.namespace,
            "pod": server.pod,
            "command": Some(&server.command).filter(|command| !command.is_empty()),
            "search": server.search,
            "ndots": server.ndots,
            "ready": server.ready,
            "silent": server.silent,
        })).collect::<Vec<_>>(),
        "right": right,
        "names": names,
        "notAsked": probe.not_asked,
    })
}
