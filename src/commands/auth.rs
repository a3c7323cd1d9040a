//! `auth`: which commands the user may run.

use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};

use super::notes;
use crate::cli::{Answer, Global, Ui, heading};
use crate::cluster::claims::allowed;
use crate::cluster::connect::connect;
use crate::cluster::needs::{self, COMMANDS, Need, Weight};
use crate::error::{Exit, Result};
use crate::plan::Permission;
use crate::render::{Cell, Column, Glyph, Page, Table, View};
use crate::words;

/// Show which commands you may run, and which permissions are missing
#[derive(clap::Args, Debug)]
#[command(after_help = notes!(
    "Examples:"
    "  # Show which commands you may run in a namespace"
    "  kubectl sts auth -n shop"
    ""
    "  # Check in a pipeline that recover and undo are allowed"
    "  kubectl sts auth recover undo -n shop"
    ""
    "  # Show what a ServiceAccount may do"
    "  kubectl sts auth -n shop --as system:serviceaccount:shop:deployer"
    ""
    "Asks the API server with SelfSubjectAccessReviews, which every user may do by default. Changes nothing. If a \
     command that is named may not run, the exit code is 1."
))]
pub struct Args {
    /// Commands to check; without names, all
    #[arg(value_name = "COMMAND", value_parser = PossibleValuesParser::new(names()))]
    commands: Vec<String>,
    /// Use all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace", help_heading = heading::WHICH)]
    all_namespaces: bool,
}

fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.into_iter().map(|(name, _)| name)
}

pub(super) async fn run(global: &Global, args: &Args, streams: &Ui) -> Result<Answer> {
    let connection = connect(&global.connect, global.namespace.as_deref(), streams.warn).await?;
    let namespace = if args.all_namespaces { "" } else { connection.namespace.as_str() };
    let is_wanted = |name: &&str| args.commands.is_empty() || args.commands.iter().any(|it| it == name);
    let commands: Vec<(&'static str, Vec<Need>)> = names()
        .filter(is_wanted)
        .map(|name| {
            let placed = |need: Need| Need { permission: need.permission.placed(namespace), ..need };
            (name, needs::of(name).into_iter().map(placed).collect())
        })
        .collect();
    let mut asked: Vec<Permission> =
        commands.iter().flat_map(|(_, needs)| needs).map(|need| need.permission.clone()).collect();
    asked.sort();
    asked.dedup();
    let answers = allowed(&connection, &asked).await?;
    let is_denied = |need: &Need| {
        let index = asked.binary_search(&need.permission).ok();
        index.and_then(|index| answers.get(index)) == Some(&false)
    };
    let commands: Vec<Checked> = commands
        .into_iter()
        .map(|(name, needs)| Checked { name, missing: needs.into_iter().filter(is_denied).collect() })
        .collect();
    let is_bad = !args.commands.is_empty() && commands.iter().any(|checked| checked.allowed() == NO);
    let namespace = (!args.all_namespaces).then(|| connection.namespace.clone());
    let view = Permissions { namespace, commands };
    Ok(Answer { view: Box::new(view), exit: if is_bad { Exit::Bad } else { Exit::Good } })
}

const YES: &str = "yes";
const PARTLY: &str = "partly";
const NO: &str = "no";

struct Permissions {
    /// `None`: all.
    namespace: Option<String>,
    commands: Vec<Checked>,
}

struct Checked {
    name: &'static str,
    missing: Vec<Need>,
}

impl Checked {
    fn allowed(&self) -> &'static str {
        match self.missing.iter().map(|need| need.weight).min() {
            Some(Weight::Required) => NO,
            Some(Weight::Optional) => PARTLY,
            Some(Weight::Extra) | None => YES,
        }
    }

    /// `list nodes, pods; delete pods`: what decides first, by verb.
    fn missing_text(&self) -> String {
        let weight = match self.allowed() {
            NO => Weight::Required,
            _ => Weight::Optional,
        };
        let decisive: Vec<&Need> = self.missing.iter().filter(|need| need.weight == weight).collect();
        let mut verbs: Vec<&str> = decisive.iter().map(|need| need.permission.verb).collect();
        let mut known = Vec::new();
        verbs.retain(|verb| {
            !known.contains(verb) && {
                known.push(*verb);
                true
            }
        });
        let parts = verbs.into_iter().map(|verb| {
            let own = decisive.iter().filter(|need| need.permission.verb == verb);
            let resources: Vec<String> = own.map(|need| need.permission.resource_text()).collect();
            format!("{verb} {}", resources.join(", "))
        });
        parts.collect::<Vec<_>>().join("; ")
    }
}

impl View for Permissions {
    fn text(&self, page: &mut Page) {
        let columns = [Column::new("COMMAND"), Column::new("ALLOWED"), Column::prose("MISSING")];
        let mut table = Table::new(&columns);
        for command in &self.commands {
            let glyph = match command.allowed() {
                NO => Glyph::Bad,
                PARTLY => Glyph::Warning,
                _ => Glyph::Good,
            };
            let cells: Vec<Cell> =
                vec![command.name.to_owned(), command.allowed().to_owned(), command.missing_text()];
            table.row(Some(glyph), cells);
        }
        page.table(&table);
        let refused = self.commands.iter().filter(|command| command.allowed() == NO).count();
        let place = match &self.namespace {
            Some(namespace) => format!("in namespace {namespace}"),
            None => "in all namespaces".to_owned(),
        };
        page.gap();
        let all = words::count(self.commands.len(), "command");
        page.prose(&format!("{place}: {all} checked, {refused} not allowed"), 2);
        if self.commands.iter().any(|command| command.allowed() == PARTLY) {
            page.prose("partly: the command runs, does less, and says what it could not read or do", 2);
        }
    }

    fn json(&self) -> Value {
        let missing = |need: &Need| {
            let Permission { verb, group, resource, subresource, namespace } = &need.permission;
            json!({
                "verb": verb,
                "group": group,
                "resource": resource,
                "subresource": subresource,
                "namespace": namespace.as_deref().filter(|namespace| !namespace.is_empty()),
                "required": need.weight == Weight::Required,
                "purpose": need.purpose,
            })
        };
        let commands = self.commands.iter().map(|command| {
            json!({
                "command": command.name,
                "allowed": command.allowed(),
                "missing": command.missing.iter().map(missing).collect::<Vec<_>>(),
            })
        });
        json!({
            "apiVersion": "kubectl-sts/v1",
            "kind": "Permissions",
            "namespace": self.namespace,
            "commands": commands.collect::<Vec<_>>(),
        })
    }

    fn names(&self) -> Vec<String> {
        let allowed = self.commands.iter().filter(|command| command.allowed() != NO);
        allowed.map(|command| command.name.to_owned()).collect()
    }
}
