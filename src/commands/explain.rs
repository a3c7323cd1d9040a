//! `explain`: what a rule means, and what to do about it.

use serde_json::{Value, json};

use super::notes;
use crate::cli::{Answer, heading};
use crate::error::{Error, Exit, Result};
use crate::render::{Column, Page, Table, View, explanation};
use crate::rules::{RULES, Rule};

/// Explain a rule: what it means, why it happens, how to check and how to fix it
#[derive(clap::Args, Debug)]
#[command(after_help = notes!(
    "Examples:"
    "  # List all rules"
    "  kubectl sts explain"
    ""
    "  # Explain one rule"
    "  kubectl sts explain STS301"
    ""
    "  # Explain it with the details and the examples"
    "  kubectl sts explain STS301 --full"
    ""
    "Reads nothing from the cluster and changes nothing."
))]
pub struct Args {
    /// Code or name of a rule; without it, all rules are listed
    #[arg(value_name = "CODE")]
    code: Option<String>,
    /// Also show the details and the examples, which are the rule's tests
    #[arg(long, help_heading = heading::OUTPUT)]
    full: bool,
}

pub(super) fn run(args: &Args) -> Result<Answer> {
    let rules = match &args.code {
        None => RULES.to_vec(),
        Some(code) => vec![Rule::find(code).ok_or_else(|| unknown(code))?],
    };
    let pages = Pages { rules, one: args.code.is_some(), full: args.full };
    Ok(Answer { view: Box::new(pages), exit: Exit::Good })
}

/// A rule that does not exist.
pub(super) fn unknown(code: &str) -> Error {
    Error::usage(format!("there is no rule {code}")).hint("list them with: kubectl sts explain")
}

struct Pages {
    rules: Vec<&'static Rule>,
    one: bool,
    full: bool,
}

impl View for Pages {
    fn text(&self, page: &mut Page) {
        if self.one || self.full {
            for rule in &self.rules {
                page.gap();
                explanation(page, rule, self.full);
            }
            return;
        }
        let columns = ["CODE", "SEVERITY"].map(Column::new);
        let mut table =
            Table::new(&[columns.as_slice(), &[Column::optional("RULE"), Column::prose("TITLE")]].concat());
        for rule in &self.rules {
            let cells = [rule.code, rule.severity.word(), rule.name, rule.explanation().title];
            table.row(None, cells.map(str::to_owned).to_vec());
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        let rules = self.rules.iter().map(|rule| {
            let it = rule.explanation();
            let mut json = json!({
                "code": rule.code,
                "name": rule.name,
                "severity": rule.severity.word(),
                "title": it.title,
                "meaning": it.meaning,
                "cause": it.cause,
                "check": it.check,
                "fix": it.fix,
                "link": it.link,
                "url": rule.url(),
            });
            if self.full {
                json["page"] = rule.page.into();
            }
            json
        });
        let rules: Vec<_> = rules.collect();
        json!({"apiVersion": "kubectl-sts/v1", "kind": "RuleList", "items": rules})
    }

    fn names(&self) -> Vec<String> {
        self.rules.iter().map(|rule| rule.code.to_owned()).collect()
    }
}
