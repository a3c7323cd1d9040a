//! `explain`: a rule's page.

use serde_json::{Value, json};

use super::notes;
use crate::cli::Answer;
use crate::error::{Error, Exit, Result};
use crate::render::{Column, Page, Table, View};
use crate::rules::{RULES, Rule};

/// Explain a rule, or list all rules
#[derive(clap::Args, Debug)]
#[command(after_help = notes!(
    "Examples:"
    "  # List all rules"
    "  kubectl sts explain"
    ""
    "  # Explain one rule"
    "  kubectl sts explain STS301"
    ""
    "Reads nothing from the cluster and changes nothing."
))]
pub struct Args {
    /// Code or name of a rule; without it, all rules are listed
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<Answer> {
    let rules = match &args.code {
        None => RULES.to_vec(),
        Some(code) => vec![Rule::find(code).ok_or_else(|| unknown(code))?],
    };
    Ok(Answer { view: Box::new(Pages { rules, whole: args.code.is_some() }), exit: Exit::Good })
}

/// A rule that does not exist.
pub(super) fn unknown(code: &str) -> Error {
    Error::usage(format!("there is no rule {code}")).hint("list them with: kubectl sts explain")
}

struct Pages {
    rules: Vec<&'static Rule>,
    whole: bool,
}

impl View for Pages {
    fn text(&self, page: &mut Page) {
        if self.whole {
            for rule in &self.rules {
                rule.page.lines().for_each(|line| page.line(line));
            }
            return;
        }
        let mut table = Table::new(&[Column::new("CODE"), Column::new("RULE"), Column::optional("SEVERITY")]);
        for rule in &self.rules {
            table
                .row(None, vec![rule.code.to_owned(), rule.name.to_owned(), rule.severity.word().to_owned()]);
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        let rules: Vec<_> = self
            .rules
            .iter()
            .map(|rule| {
                json!({"code": rule.code, "name": rule.name, "severity": rule.severity.word(), "page": rule.page})
            })
            .collect();
        json!({"apiVersion": "kubectl-sts/v1", "kind": "RuleList", "items": rules})
    }

    fn names(&self) -> Vec<String> {
        self.rules.iter().map(|rule| rule.code.to_owned()).collect()
    }
}
