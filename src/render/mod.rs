//! How it looks: one value, as text for people and as JSON for programs.

pub mod ask;
mod course;
mod encode;
mod explanation;
mod failure;
mod finding;
mod fit;
pub mod live;
mod markdown;
mod next;
pub mod out;
mod page;
mod pipeline;
mod plan;
pub(crate) mod progress;
mod prometheus;
pub(crate) mod spinner;
mod table;
mod template;
pub mod terminal;

use serde_json::Value;

pub use course::ForecastView;
pub use encode::{json, json_line, yaml};
pub use explanation::explanation;
pub use failure::error_text;
pub use finding::{finding, finding_json, skipped, skipped_json, unread_logs};
pub use markdown::{write_labelled_markdown, write_markdown};
pub use next::{baking, brief, outlook, sentence, short_outlook};
pub use page::{Glyph, Page, Style};
pub use pipeline::{Case, Report};
pub use plan::{plan, plan_json, step_json};
pub use progress::revision_word;
pub use table::{Cell, Column, Table};
pub use template::{Template, by_path, column_path};

use crate::error::{Error, Result};
use crate::reached;

/// What a command answers. Text and JSON are made from the same value, so that they hold the same facts.
pub trait View {
    /// Writes it for people.
    fn text(&self, page: &mut Page);
    /// As a value that looks like a Kubernetes object.
    fn json(&self) -> Value;
    /// The objects it is about, as `kubectl get -o name` writes them.
    fn names(&self) -> Vec<String>;
    /// That there is nothing to show, where that is so: said on standard error, as kubectl does.
    fn nothing(&self) -> Option<String> {
        None
    }
    /// The same for the pipeline of a forge; `None` for all but a diagnosis.
    fn report(&self) -> Option<Report<'_>> {
        None
    }
    /// Whether it is the end of a stream of JSON objects, one a line.
    fn is_streamed(&self) -> bool {
        false
    }
    /// Whether it says how something ended that was followed: names alone do not say that.
    fn is_ending(&self) -> bool {
        false
    }
}

/// `-o`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For people, with more columns.
    Wide,
    /// JSON, sorted by key.
    Json,
    /// YAML.
    Yaml,
    /// One object name a line.
    Name,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// JUnit XML, for test reports.
    Junit,
    /// Annotations of a GitHub workflow.
    Github,
    /// Metrics in the text format of Prometheus.
    Prometheus,
    /// What a template makes of the JSON. It lives as long as the process, which has one.
    #[value(skip)]
    Template(&'static Template),
}

impl Output {
    /// What every command writes.
    pub const COMMON: [Output; 5] = [Output::Text, Output::Wide, Output::Json, Output::Yaml, Output::Name];

    /// A format that is made of a template; `None` where the text does not begin as one does.
    ///
    /// # Errors
    /// What is wrong with the template, or why its file cannot be read.
    pub fn of_template(text: &str) -> std::result::Result<Option<Output>, String> {
        let (name, given) = text.split_once('=').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let rest = given.unwrap_or_default();
        let file = || {
            let bytes = std::fs::read(rest).map_err(|error| format!("could not read {rest}: {error}"))?;
            String::from_utf8(bytes).map_err(|_| format!("{rest} is not text in UTF-8"))
        };
        let template = match name {
            "jsonpath" | "jsonpath-file" | "custom-columns" | "custom-columns-file" if rest.is_empty() => {
                return Err(format!("it needs a template: {name}=..."));
            }
            "jsonpath" => Template::text(rest)?,
            "jsonpath-file" => Template::text(&file()?)?,
            "custom-columns" => Template::columns(rest)?,
            "custom-columns-file" => Template::columns_of_lines(&file()?)?,
            "go-template" | "go-template-file" | "template" | "templatefile" => {
                return Err("templates of Go are not supported; use jsonpath=TEMPLATE".to_owned());
            }
            _ => return Ok(None),
        };
        Ok(Some(Output::Template(Box::leak(Box::new(template)))))
    }

    /// Whether people read it, and not programs.
    pub fn is_text(self) -> bool {
        matches!(self, Output::Text | Output::Wide)
    }
}

/// A value with the cluster that it is about, where one was reached.
fn placed(mut value: Value) -> Value {
    // A recording is given to others.
    if value["kind"] != "Recording" && value.is_object() {
        for (member, name) in reached::members() {
            value[member] = name.into();
        }
    }
    value
}

/// What acting commands say on the way, as [`render`] would for people; plain where it goes to standard error.
///
/// # Errors
/// As [`render`].
pub fn render_beside(view: &dyn View, output: Output, look: Style) -> Result<String> {
    if output.is_text() {
        render(view, output, look)
    } else {
        render(view, Output::Text, Style { width: out::width_beside(), ..look.plain() })
    }
}

/// The whole answer in the wanted format.
///
/// # Errors
/// Never in practice: values of JSON always serialise.
pub fn render(view: &dyn View, output: Output, look: Style) -> Result<String> {
    Ok(match output {
        Output::Text | Output::Wide => {
            let mut page = Page::new(Style { wide: output == Output::Wide, ..look });
            view.text(&mut page);
            page.finish()
        }
        Output::Json if view.is_streamed() => json_line(&placed(view.json())) + "\n",
        Output::Json => json(&placed(view.json()))?,
        Output::Yaml if view.is_streamed() => format!("---\n{}", yaml(&placed(view.json()))?),
        Output::Yaml => yaml(&placed(view.json()))?,
        Output::Template(template) if view.is_streamed() => {
            template.render(&placed(view.json()), look) + "\n"
        }
        Output::Template(template) => template.render(&placed(view.json()), look),
        Output::Name => view.names().into_iter().map(|name| crate::text::clean(&name) + "\n").collect(),
        Output::Sarif | Output::Junit | Output::Github | Output::Prometheus => {
            let report = view.report().ok_or_else(|| Error::usage("only doctor writes this format"))?;
            match output {
                Output::Sarif => json(&report.sarif())?,
                Output::Junit => report.junit()?,
                Output::Prometheus => prometheus::metrics(&report),
                _ => report.github(),
            }
        }
    })
}

/// A refusal for programs, on one line as all that acting commands say; people are told beside the answer.
pub fn refusal(error: &Error, output: Output) -> Option<String> {
    let value = placed(error.refusal()?);
    match output {
        Output::Json => Some(json_line(&value) + "\n"),
        Output::Yaml => yaml(&value).ok().map(|text| format!("---\n{text}")),
        Output::Text
        | Output::Wide
        | Output::Name
        | Output::Sarif
        | Output::Junit
        | Output::Github
        | Output::Prometheus
        | Output::Template(_) => None,
    }
}
