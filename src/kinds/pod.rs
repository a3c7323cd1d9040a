//! v1 Pod, its template, and what can be read off a pod without knowing its set.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::{Condition, Map, Meta, Peers, Probe, Said, condition, partial};

partial! {
    /// v1 Pod.
    struct Pod {
        metadata: Meta => 1,
        spec: PodSpec => 2,
        status: PodStatus => 3,
    }

    /// v1 PodTemplateSpec.
    struct PodTemplate {
        metadata: Meta => 1,
        spec: PodSpec => 2,
    }

    /// v1 PodSpec.
    struct PodSpec {
        node_name: String => 10,
        hostname: String => 16,
        subdomain: String => 17,
        host_network: bool => 11,
        scheduler_name: String => 19,
        node_selector: Map => 7,
        termination_grace_period_seconds: Option<i64> => 4,
        scheduling_gates: Vec<Named> => 38,
        readiness_gates: Vec<ReadinessGate> => 28,
        init_containers: Vec<Container> => 20,
        containers: Vec<Container> => 2,
        volumes: Vec<PodVolume> => 1,
        tolerations: Vec<Toleration> => 22,
        affinity: Affinity => 18,
        topology_spread_constraints: Vec<SpreadConstraint> => 33,
        resources: Resources => 40,
        security_context: PodSecurity => 14,
        resource_claims: Vec<PodResourceClaim> => 39,
        image_pull_secrets: Vec<Named> => 15,
        service_account_name: String => 8,
    }

    /// v1 PodResourceClaim.
    struct PodResourceClaim {
        name: String => 1,
        resource_claim_name: String => 3,
        resource_claim_template_name: String => 4,
    }

    /// v1 Affinity; of preferences, which keep no pod from a node, only how many there are.
    struct Affinity {
        node_affinity: NodeAffinity => 1,
        pod_affinity: PodAffinity => 2,
        pod_anti_affinity: PodAntiAffinity => 3,
    }

    /// v1 PodAffinity.
    struct PodAffinity {
        required_during_scheduling_ignored_during_execution: Vec<AffinityTerm> => 1,
        preferred_during_scheduling_ignored_during_execution: Vec<Empty> => 2,
    }

    /// v1 NodeAffinity.
    struct NodeAffinity {
        required_during_scheduling_ignored_during_execution: Option<super::NodeSelector> => 1,
    }

    /// v1 PodAntiAffinity.
    struct PodAntiAffinity {
        required_during_scheduling_ignored_during_execution: Vec<AffinityTerm> => 1,
        preferred_during_scheduling_ignored_during_execution: Vec<Empty> => 2,
    }

    /// v1 PodAffinityTerm, within the pod's own namespace.
    struct AffinityTerm {
        label_selector: Option<super::LabelSelector> => 1,
        topology_key: String => 3,
    }

    /// v1 TopologySpreadConstraint.
    struct SpreadConstraint {
        topology_key: String => 2,
        when_unsatisfiable: String => 3,
    }

    /// v1 PodSecurityContext.
    struct PodSecurity {
        fs_group_change_policy: String => 9,
    }

    /// Anything of which only the name matters.
    struct Named {
        name: String => 1,
    }

    /// v1 PodReadinessGate.
    struct ReadinessGate {
        condition_type: String => 1,
    }

    /// v1 Container, without the values of environment variables. Of the commands of init containers only the replicas are
    /// kept that they wait for.
    struct Container {
        name: String => 1,
        image: Said => 2,
        command: Peers => 3,
        args: Peers => 4,
        restart_policy: String => 24,
        ports: Vec<ContainerPort> => 6,
        volume_mounts: Vec<Named> => 9,
        env: Vec<EnvVar> => 7,
        env_from: Vec<EnvFrom> => 19,
        resources: Resources => 8,
        startup_probe: Option<Box<Probe>> => 22,
        readiness_probe: Option<Box<Probe>> => 11,
        liveness_probe: Option<Box<Probe>> => 10,
    }

    /// v1 ContainerPort.
    struct ContainerPort {
        name: String => 1,
        container_port: i32 => 3,
        host_port: i32 => 2,
        protocol: String => 4,
    }

    /// v1 EnvVar, without its value.
    struct EnvVar {
        name: String => 1,
        value_from: Option<EnvSource> => 3,
    }

    /// v1 EnvVarSource.
    struct EnvSource {
        config_map_key_ref: Option<KeyRef> => 3,
        secret_key_ref: Option<KeyRef> => 4,
    }

    /// v1 EnvFromSource.
    struct EnvFrom {
        config_map_ref: Option<SourceRef> => 2,
        secret_ref: Option<SourceRef> => 3,
    }

    /// A reference to a ConfigMap or Secret, or to a key of it.
    struct KeyRef {
        name: String => 1 / 1,
        key: String => 2,
        optional: bool => 3,
    }

    /// v1 ConfigMapEnvSource and SecretEnvSource.
    struct SourceRef {
        name: String => 1 / 1,
        optional: bool => 2,
    }

    /// v1 ResourceRequirements; quantities as written.
    struct Resources {
        requests: Map => 2 via quantities,
        limits: Map => 1 via quantities,
    }

    /// A stanza of which only the presence matters.
    struct Empty {}

    /// v1 Volume.
    struct PodVolume {
        name: String => 1,
        persistent_volume_claim: Option<ClaimSource> => 2 / 10,
        ephemeral: Option<Empty> => 2 / 29,
        config_map: Option<ConfigMapSource> => 2 / 19,
        secret: Option<SecretSource> => 2 / 6,
    }

    /// v1 PersistentVolumeClaimVolumeSource.
    struct ClaimSource {
        claim_name: String => 1,
    }

    /// v1 ConfigMapVolumeSource, without items.
    struct ConfigMapSource {
        name: String => 1 / 1,
        optional: bool => 4,
    }

    /// v1 SecretVolumeSource, without items.
    struct SecretSource {
        secret_name: String => 1,
        optional: bool => 4,
    }

    /// v1 Toleration.
    struct Toleration {
        key: String => 1,
        operator: String => 2,
        value: String => 3,
        effect: String => 4,
    }

    /// v1 PodStatus.
    struct PodStatus {
        phase: String => 1,
        reason: String => 4,
        message: Said => 3,
        nominated_node_name: String => 11,
        #[serde(rename = "podIP")]
        pod_ip: String => 6,
        #[serde(rename = "podIPs")]
        pod_ips: Vec<PodIp> => 12,
        start_time: Option<Timestamp> => 7,
        conditions: Vec<Condition> => 2,
        init_container_statuses: Vec<ContainerStatus> => 10,
        container_statuses: Vec<ContainerStatus> => 8,
        resource_claim_statuses: Vec<ResourceClaimStatus> => 15,
    }

    /// v1 PodResourceClaimStatus: the ResourceClaim that was made from a template.
    struct ResourceClaimStatus {
        name: String => 1,
        resource_claim_name: String => 2,
    }

    /// v1 PodIP.
    struct PodIp {
        ip: String => 1,
    }

    /// v1 ContainerStatus.
    struct ContainerStatus {
        name: String => 1,
        image: Said => 6,
        ready: bool => 4,
        started: Option<bool> => 9,
        restart_count: i32 => 5,
        state: ContainerState => 2,
        last_state: ContainerState => 3,
    }

    /// v1 ContainerState.
    struct ContainerState {
        waiting: Option<Waiting> => 1,
        running: Option<Running> => 2,
        terminated: Option<Box<Terminated>> => 3,
    }

    /// v1 ContainerStateWaiting.
    struct Waiting {
        reason: String => 1,
        message: Said => 2,
    }

    /// v1 ContainerStateRunning.
    struct Running {
        started_at: Option<Timestamp> => 1,
    }

    /// v1 ContainerStateTerminated.
    struct Terminated {
        exit_code: i32 => 1,
        signal: i32 => 2,
        reason: String => 3,
        /// Text of the application, as its log is, or the end of that: in a recording it stands with the logs.
        #[serde(skip_serializing)]
        message: Said => 4,
        started_at: Option<Timestamp> => 5,
        finished_at: Option<Timestamp> => 6,
    }
}

impl PodSpec {
    /// Of commands keeps only what waits in an init container for pods whose names begin like this.
    pub(super) fn keep_peers(&mut self, stem: Option<&str>) {
        for container in &mut self.containers {
            (container.command, container.args) = (Peers::default(), Peers::default());
        }
        for container in &mut self.init_containers {
            if let Some(stem) = stem {
                container.command.keep(stem);
                container.args.keep(stem);
            }
            let is_waiting = container.peers().next().is_some();
            if stem.is_none() || !is_waiting {
                (container.command, container.args) = (Peers::default(), Peers::default());
            }
        }
    }
}

impl Container {
    /// The pods that its command waits for by name: which, their ordinals, and what follows that in the name.
    pub fn peers(&self) -> impl Iterator<Item = (&str, i32, &str)> {
        let both = [&self.command, &self.args];
        let waits = both.iter().any(|words| words.waits());
        both.into_iter().flat_map(Peers::hosts).filter(move |_| waits)
    }
}

/// The label that says which revision a pod was made from.
pub const REVISION_LABEL: &str = "controller-revision-hash";

impl Pod {
    /// The revision this pod was made from (`stateful_set_utils.go:getPodRevision`).
    pub fn revision(&self) -> &str {
        self.metadata.labels.get(REVISION_LABEL).map_or("", String::as_str)
    }

    /// Its addresses, of all families.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let status = &self.status;
        let all = status.pod_ips.iter().map(|it| &it.ip).chain(std::iter::once(&status.pod_ip));
        let mut addresses: Vec<IpAddr> = all.filter_map(|ip| ip.parse().ok()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// Running and Ready, as the controller means it (`stateful_set_utils.go:isRunningAndReady`).
    pub fn is_ready(&self) -> bool {
        self.status.phase == "Running" && self.condition("Ready").is_some_and(|ready| ready.status == "True")
    }

    /// Since when it has been Ready; `None` when it is not.
    pub fn ready_since(&self) -> Option<Timestamp> {
        self.is_ready().then(|| self.condition("Ready")?.last_transition_time).flatten()
    }

    /// Running, and Ready for at least `min_ready` seconds at `now` (`podutil.IsPodAvailable`).
    pub fn is_available(&self, min_ready: i32, now: Timestamp) -> bool {
        self.is_ready()
            && (min_ready == 0
                || self.ready_since().is_some_and(|since| {
                    since
                        .saturating_add(SignedDuration::from_secs(min_ready.into()))
                        .is_ok_and(|at| at <= now)
                }))
    }

    /// Phase Failed or Succeeded: the controller replaces such a pod by itself.
    pub fn is_finished(&self) -> bool {
        matches!(self.status.phase.as_str(), "Failed" | "Succeeded")
    }

    /// The condition of the given type.
    pub fn condition(&self, name: &str) -> Option<&Condition> {
        condition(&self.status.conditions, name)
    }

    /// Containers that serve, with the sidecars among the init containers, and their statuses.
    pub fn container_statuses(&self) -> impl Iterator<Item = &ContainerStatus> {
        let sidecars =
            self.status.init_container_statuses.iter().filter(|status| self.is_sidecar(&status.name));
        self.status.container_statuses.iter().chain(sidecars)
    }

    /// Whether the named init container is a sidecar (restartPolicy Always).
    pub fn is_sidecar(&self, name: &str) -> bool {
        self.spec.init_containers.iter().any(|init| init.name == name && init.restart_policy == "Always")
    }

    /// How many containers are ready, and of how many (kubectl's READY column, which counts sidecars).
    pub fn ready_containers(&self) -> (usize, usize) {
        let sidecars =
            self.spec.init_containers.iter().filter(|init| init.restart_policy == "Always").count();
        let total = self.spec.containers.len() + sidecars;
        (self.container_statuses().filter(|status| status.ready).count(), total)
    }

    /// Restarts of all containers together.
    pub fn restarts(&self) -> i32 {
        self.container_statuses().fold(0, |sum, status| sum.saturating_add(status.restart_count))
    }

    /// The claims it mounts, by name, generic ephemeral ones included (`<pod>-<volume>`).
    pub fn claim_names(&self) -> impl Iterator<Item = String> + '_ {
        self.spec.volumes.iter().filter_map(|volume| {
            match (&volume.persistent_volume_claim, &volume.ephemeral) {
                (Some(claim), _) => Some(claim.claim_name.clone()),
                (None, Some(_)) => Some(format!("{}-{}", self.metadata.name, volume.name)),
                (None, None) => None,
            }
        })
    }
}

impl ContainerStatus {
    /// How it ended last, if it ever did.
    pub fn last_end(&self) -> Option<&Terminated> {
        self.state.terminated.as_deref().or(self.last_state.terminated.as_deref())
    }
}

/// The reason of a container that was killed for its memory.
pub const OUT_OF_MEMORY: &str = "OOMKilled";

impl Terminated {
    /// Whether it was killed because it had no memory left.
    pub fn is_out_of_memory(&self) -> bool {
        self.reason == OUT_OF_MEMORY
    }

    /// Whether it ended as what is told to stop may end: with 143, with 137 if it does not listen, and with 0 if it is
    /// polite.
    pub fn was_stopped(&self) -> bool {
        matches!(self.exit_code, 0 | 137 | 143)
    }

    /// How long it ran; `None` where that is not known, or it never ran.
    pub fn ran(&self) -> Option<SignedDuration> {
        let known = self.started_at.zip(self.finished_at).filter(|_| !self.never_ran());
        known.map(|(start, end)| end.duration_since(start))
    }

    /// Whether the runtime could not start it at all, so that it has no log.
    pub fn never_ran(&self) -> bool {
        matches!(self.reason.as_str(), "StartError" | "ContainerCannotRun")
    }
}
