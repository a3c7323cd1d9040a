//! What each command must be allowed to do, from the tables by which the requests themselves are made: the kinds that are
//! read, those that are watched, what may hold a PVC, and the permissions of the steps of plans. `deploy/rbac` is written
//! from this, and tests run the commands with exactly these permissions.

use super::claims::WORKLOADS;
use super::inventory::CLAIMS;
use super::live::WATCHED;
use crate::kinds::Kind;
use crate::plan::{Permission, SNAPSHOT_GROUP};

/// What a command does without a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It cannot run.
    Required,
    /// It runs, does less, and says so.
    Optional,
    /// It is needed only with a flag or in a rare state, and no role of `deploy/rbac` has it.
    Extra,
}

/// Something that a command needs to be allowed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// What.
    pub permission: Permission,
    /// How much.
    pub weight: Weight,
    /// For what, as a fragment; empty where the verb says it.
    pub purpose: &'static str,
}

/// Who is expected to run a command, as the roles in `deploy/rbac` are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Looks.
    Reader,
    /// Changes StatefulSets and deletes pods.
    Operator,
    /// Deletes PVCs and brings them back.
    Pruner,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 3] = [Role::Reader, Role::Operator, Role::Pruner];

    /// The name of the file in `deploy/rbac`.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Reader => "reader",
            Role::Operator => "operator",
            Role::Pruner => "pruner",
        }
    }
}

/// Commands that ask the API server, with the role that may run them.
pub const COMMANDS: [(&str, Role); 12] = [
    ("status", Role::Reader),
    ("doctor", Role::Reader),
    ("watch", Role::Reader),
    ("history", Role::Reader),
    ("record", Role::Reader),
    ("recover", Role::Operator),
    ("undo", Role::Operator),
    ("canary", Role::Operator),
    ("promote", Role::Operator),
    ("abort", Role::Operator),
    ("prune-pvcs", Role::Pruner),
    ("restore-pvc", Role::Pruner),
];

/// All commands of a role; each role may also look.
pub fn commands_of(role: Role) -> impl Iterator<Item = &'static str> {
    let own = move |of: Role| of == role || of == Role::Reader;
    COMMANDS.into_iter().filter(move |(_, of)| own(*of)).map(|(name, _)| name)
}

/// What this command needs; nothing, if it asks no API server.
pub fn of(command: &str) -> Vec<Need> {
    let mut needs = match command {
        "status" | "doctor" | "record" | "history" => looking(command == "history"),
        "watch" => following(false),
        "recover" | "undo" | "canary" | "promote" | "abort" => following(true),
        "prune-pvcs" => pruning(),
        // It reads manifests of PVCs from files, and no list at all.
        "restore-pvc" => vec![
            required(Permission::read_volume()),
            required(Permission::patch_volume()),
            required(Permission::READ_PVC),
            required(Permission::write_pvc("create")),
        ],
        _ => Vec::new(),
    };
    match command {
        "doctor" => needs.push(Need {
            permission: Permission::of_set("create", "", "pods"),
            weight: Weight::Extra,
            purpose: "a dry run of a pod that is missing",
        }),
        "recover" => {
            needs.push(required(Permission::DELETE_POD));
            needs.push(optional(Permission::EVICT_POD, "--evict"));
        }
        "undo" | "abort" => {
            needs.push(required(Permission::PATCH_SET));
            needs.push(optional(Permission::DELETE_POD, "pods that are stuck"));
        }
        "canary" | "promote" => needs.push(required(Permission::PATCH_SET)),
        _ => {}
    }
    needs
}

const fn required(permission: Permission) -> Need {
    Need { permission, weight: Weight::Required, purpose: "" }
}

const fn optional(permission: Permission, purpose: &'static str) -> Need {
    Need { permission, weight: Weight::Optional, purpose }
}

fn group(api_version: &'static str) -> &'static str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// To list or watch a kind, where its path asks for it.
fn of_kind(verb: &'static str, kind: Kind) -> Permission {
    let permission = Permission::of_set(verb, group(kind.api_version()), kind.plural());
    let namespace = kind.is_of_cluster().then(String::new);
    Permission { namespace, ..permission }
}

/// To list what may hold a PVC besides pods.
fn around(weight: Weight) -> Vec<Need> {
    let of_set = |permission, weight| Need { permission, weight, purpose: "what else uses a PVC" };
    let workloads = WORKLOADS.iter().map(|(_, version, plural)| {
        let group = version.strip_prefix("apis/").map_or("", group);
        of_set(Permission::of_set("list", group, plural), weight)
    });
    let snapshots = Permission::of_set("list", SNAPSHOT_GROUP, "volumesnapshots");
    let attachments = of_kind("list", Kind::VolumeAttachment);
    let others = [snapshots, attachments].map(|permission| of_set(permission, Weight::Optional));
    workloads.chain(others).collect()
}

/// What `status`, `doctor`, `history` and `record` read.
fn looking(needs_revisions: bool) -> Vec<Need> {
    let mut needs: Vec<Need> = Kind::ALL
        .into_iter()
        .map(|kind| match kind {
            Kind::StatefulSet => required(of_kind("list", kind)),
            Kind::ControllerRevision if needs_revisions => required(of_kind("list", kind)),
            kind => optional(of_kind("list", kind), ""),
        })
        .collect();
    let known: Vec<Permission> = needs.iter().map(|need| need.permission.clone()).collect();
    needs.extend(around(Weight::Optional).into_iter().filter(|need| !known.contains(&need.permission)));
    let namespaces = Permission::of_set("get", "", "namespaces");
    needs.push(optional(namespaces, "whether a namespace without StatefulSets exists"));
    let logs = Permission { subresource: "log", ..Permission::of_set("get", "", "pods") };
    needs.push(optional(logs, "the logs of failing containers"));
    needs
}

/// The same, and what is watched. A plan is not made without the pods and the revisions.
fn following(acts: bool) -> Vec<Need> {
    let mut needs = looking(acts);
    let pods = of_kind("list", Kind::Pod);
    for need in &mut needs {
        if acts && need.permission == pods {
            need.weight = Weight::Required;
        }
    }
    needs.extend(WATCHED.into_iter().map(|kind| optional(of_kind("watch", kind), "changes as they happen")));
    needs
}

/// What is read to say that a PVC is orphaned, and what is written. Without a kind that may use it, none is deleted.
fn pruning() -> Vec<Need> {
    let mut needs: Vec<Need> = CLAIMS
        .into_iter()
        .map(|kind| match kind {
            Kind::HorizontalPodAutoscaler => optional(of_kind("list", kind), ""),
            kind => required(of_kind("list", kind)),
        })
        .chain(around(Weight::Required))
        .collect();
    needs.extend(Permission::READ_BEFORE_DELETION.map(required));
    needs.push(required(Permission::write_pvc("delete")));
    needs.push(required(Permission::read_volume()));
    needs.push(optional(Permission::patch_volume(), "to keep PVs until the end"));
    needs.push(optional(Permission::CREATE_SNAPSHOT, "--snapshot"));
    needs.push(optional(Permission::READ_SNAPSHOT, "--snapshot"));
    needs
}
