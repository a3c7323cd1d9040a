//! `-o jsonpath=` and `-o custom-columns=`, as kubectl has them (`k8s.io/client-go/util/jsonpath`, `kubectl/pkg/cmd/get`): a
//! template is read once, and each of its paths is asked as JSONPath of RFC 9535.

use std::cmp::Ordering;

use jsonpath_rust::JsonPath;
use serde_json::Value;

use super::Style;
use super::encode::json_line;
use super::fit::width;
use crate::text::clean;

/// What a template makes of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Template {
    /// Text with paths in it.
    Text(Vec<Part>),
    /// A table: titles, and the path of each column.
    Columns(Vec<(String, String)>),
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it stands there.
    Literal(String),
    /// What is found at a path, with spaces between.
    Path(String),
    /// These parts for each value at a path, which is the root of theirs.
    Range(String, Vec<Part>),
}

/// What is between the columns of a table.
const GAP: usize = 3;

impl Template {
    /// Reads `{.items[*].metadata.name}`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn text(template: &str) -> Result<Template, String> {
        if !template.contains('{') {
            return Err("a template has its paths in braces, as in {.items[*].metadata.name}".to_owned());
        }
        // The template itself, and each range that is open.
        let mut open: Vec<(String, Vec<Part>)> = vec![(String::new(), Vec::new())];
        let mut rest = template;
        while !rest.is_empty() {
            let (literal, more) = rest.split_once('{').unwrap_or((rest, ""));
            let is_last = literal.len() == rest.len();
            let mut part = (!literal.is_empty()).then(|| Part::Literal(literal.to_owned()));
            rest = more;
            if !is_last {
                add(&mut open, part.take());
                let (inner, more) = inner(rest)?;
                rest = more;
                part = match inner.trim() {
                    "end" => {
                        let (path, parts) = open.pop().unwrap_or_default();
                        if open.is_empty() {
                            return Err("{end} ends no {range}".to_owned());
                        }
                        Some(Part::Range(path, parts))
                    }
                    text if text.starts_with(['"', '\'']) => Some(Part::Literal(unquoted(text)?)),
                    text => match text.strip_prefix("range ") {
                        Some(text) => {
                            open.push((path(text)?, Vec::new()));
                            None
                        }
                        None => Some(Part::Path(path(text)?)),
                    },
                };
            }
            add(&mut open, part);
        }
        match open.pop() {
            Some((_, parts)) if open.is_empty() => Ok(Template::Text(parts)),
            _ => Err("a {range} has no {end}".to_owned()),
        }
    }

    /// Reads `NAME:.metadata.name,READY:.replicas`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn columns(spec: &str) -> Result<Template, String> {
        let mut columns = Vec::new();
        for column in apart(spec) {
            let (title, text) = column
                .split_once(':')
                .filter(|(title, text)| !title.is_empty() && !text.is_empty())
                .ok_or_else(|| format!("{column:?} is not TITLE:PATH, as in NAME:.metadata.name"))?;
            columns.push((title.to_owned(), column_path(text)?));
        }
        Ok(Template::Columns(columns))
    }

    /// Reads the two lines of a file: the titles, and below them the paths.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn columns_of_lines(text: &str) -> Result<Template, String> {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let (Some(titles), Some(paths), None) = (lines.next(), lines.next(), lines.next()) else {
            return Err("the file has to have two lines: the titles, and below them the paths".to_owned());
        };
        let titles: Vec<&str> = titles.split_whitespace().collect();
        let paths: Vec<&str> = paths.split_whitespace().collect();
        if titles.len() != paths.len() {
            return Err(format!("the file has {} titles and {} paths", titles.len(), paths.len()));
        }
        let columns = titles.into_iter().zip(paths);
        let columns: Result<_, String> =
            columns.map(|(title, text)| Ok((title.to_owned(), column_path(text)?))).collect();
        columns.map(Template::Columns)
    }

    /// What it makes of an answer.
    pub fn render(&self, answer: &Value, look: Style) -> String {
        match self {
            Template::Text(parts) => {
                let mut out = String::new();
                write(parts, answer, &mut out);
                out
            }
            Template::Columns(columns) => table(columns, rows(answer), look),
        }
    }
}

fn add(open: &mut [(String, Vec<Part>)], part: Option<Part>) {
    if let Some((_, parts)) = open.last_mut() {
        parts.extend(part);
    }
}

/// What stands before the brace that ends it, and what follows.
fn inner(text: &str) -> Result<(&str, &str), String> {
    let end = closing(text, None, '}').ok_or_else(|| format!("{{{text} has no }} at its end"))?;
    Ok((&text[..end], &text[end + 1..]))
}

/// Where what was opened before the text is closed, apart from what is opened and closed in between. What is in quotes does neither.
fn closing(text: &str, open: Option<char>, close: char) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            _ if c == '\\' => {
                chars.next();
            }
            Some(begun) if begun == c => quote = None,
            Some(_) => {}
            None if c == close && depth == 0 => return Some(at),
            None if c == close => depth -= 1,
            None if Some(c) == open => depth += 1,
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None => {}
        }
    }
    None
}

/// The text of a literal in quotes.
fn unquoted(text: &str) -> Result<String, String> {
    let wrong = || format!("{text} is not a text in quotes");
    let quote = text.chars().next().ok_or_else(wrong)?;
    let body = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote)).ok_or_else(wrong)?;
    let mut out = String::new();
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next().ok_or_else(wrong)? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                c => c,
            },
            c => c,
        });
    }
    Ok(out)
}

/// A path of kubectl as one of RFC 9535, which has no backslashes, and no `-` or `/` in names without quotes.
fn path(text: &str) -> Result<String, String> {
    let text = text.trim();
    let mut out = String::from("$");
    let mut rest = text.strip_prefix(['$', '@']).unwrap_or(text);
    let mut is_first = true;
    while let Some(c) = rest.chars().next() {
        if let Some(inside) = rest.strip_prefix('[') {
            let end =
                closing(inside, Some('['), ']').ok_or_else(|| format!("{text} has a [ without its ]"))?;
            out.push_str(&format!("[{}]", &inside[..end]));
            rest = &inside[end + 1..];
        } else if c == '.' || is_first {
            let after = rest.strip_prefix('.').unwrap_or(rest);
            let (deep, after) = after.strip_prefix('.').map_or((false, after), |after| (true, after));
            let (name, more) = name(after);
            match name.as_str() {
                "" if deep && more.starts_with('[') => out.push_str(".."),
                "" if !deep && (more.starts_with('[') || (more.is_empty() && is_first)) => {}
                "" => return Err(format!("{text} has a dot without a name after it")),
                "*" => out.push_str(if deep { "..*" } else { "[*]" }),
                name => {
                    let name = name.replace('\\', "\\\\").replace('\'', "\\'");
                    out.push_str(&format!("{}['{name}']", if deep { ".." } else { "" }));
                }
            }
            rest = more;
        } else {
            return Err(format!("{text} continues with {c:?}, where a dot or [ belongs"));
        }
        is_first = false;
    }
    match Value::Null.query(&out) {
        Ok(_) => Ok(out),
        Err(_) => Err(format!("{text} is not a JSONPath")),
    }
}

/// A path of a column or a key, with or without its braces and its first dot.
///
/// # Errors
/// What is wrong with it.
pub fn column_path(text: &str) -> Result<String, String> {
    path(text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text))
}

/// The name at the beginning, without its backslashes, and what follows it.
fn name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' | ']' => return (name, &text[at..]),
            c => name.push(c),
        }
    }
    (name, "")
}

/// The columns of a specification: commas in brackets are none between columns.
fn apart(spec: &str) -> Vec<&str> {
    let (mut all, mut start, mut at) = (Vec::new(), 0, 0);
    while let Some(next) = spec[at..].find(['[', ',']).map(|next| at + next) {
        at = next + 1;
        if spec[next..].starts_with(',') {
            all.push(&spec[start..next]);
            start = at;
        } else {
            at += closing(&spec[at..], Some('['), ']').map_or(0, |end| end + 1);
        }
    }
    all.push(&spec[start..]);
    all
}

/// The order of two answers by what is found first at a path: numbers by their value, texts by their letters; where nothing is
/// found first.
pub fn by_path(path: &str, a: &Value, b: &Value) -> Ordering {
    let (a, b) = (found(a, path).into_iter().next(), found(b, path).into_iter().next());
    let number = |value: Option<&Value>| value.and_then(Value::as_f64);
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => a.map(text).cmp(&b.map(text)),
    }
}

fn found<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
    value.query(path).unwrap_or_default()
}

fn write(parts: &[Part], root: &Value, out: &mut String) {
    for part in parts {
        match part {
            Part::Literal(text) => out.push_str(text),
            Part::Path(path) => {
                let texts: Vec<String> = found(root, path).into_iter().map(text).collect();
                out.push_str(&texts.join(" "));
            }
            Part::Range(path, parts) => {
                for item in found(root, path) {
                    write(parts, item, out);
                }
            }
        }
    }
}

/// A value as a text, without anything that a terminal would obey.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => clean(text),
        Value::Null => String::new(),
        value => json_line(value),
    }
}

/// What gets a row: what the answer has a list of, or the answer itself.
fn rows(answer: &Value) -> Vec<&Value> {
    let list = match answer["kind"].as_str().unwrap_or_default() {
        "StatusList" | "History" | "RuleList" => "items",
        "Diagnosis" => "findings",
        "ClaimList" => "prunable",
        "Permissions" => "commands",
        _ => return vec![answer],
    };
    answer[list].as_array().into_iter().flatten().collect()
}

fn table(columns: &[(String, String)], rows: Vec<&Value>, look: Style) -> String {
    let titles: Vec<String> = columns.iter().map(|(title, _)| clean(title)).collect();
    let cells = |row: &Value| -> Vec<String> {
        let cell = |path: &String| {
            let texts: Vec<String> = found(row, path).into_iter().map(text).collect();
            let text = texts.join(",");
            if text.is_empty() { "<none>".to_owned() } else { text }
        };
        columns.iter().map(|(_, path)| cell(path)).collect()
    };
    let titles = (!look.no_headers).then_some(titles);
    let lines: Vec<Vec<String>> = titles.into_iter().chain(rows.into_iter().map(cells)).collect();
    let wide = |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|cell| width(cell)).max();
    let widths: Vec<usize> = (0..columns.len()).map(|at| wide(at).unwrap_or_default() + GAP).collect();
    let mut out = String::new();
    for line in &lines {
        let start = out.len();
        for (cell, wide) in line.iter().zip(&widths) {
            out.push_str(cell);
            out.push_str(&" ".repeat(wide.saturating_sub(width(cell))));
        }
        out.truncate(start + out[start..].trim_end().len());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer() -> Value {
        json!({
            "kind": "StatusList",
            "items": [
                {"metadata": {"name": "db", "namespace": "shop", "labels": {"app.kubernetes.io/name": "pg"}}, "replicas": 3,
                 "pods": [{"name": "db-0", "ready": true}, {"name": "db-1", "ready": false}]},
                {"metadata": {"name": "mq\u{1b}[31m", "namespace": "shop"}, "replicas": 1, "stuckOn": null, "pods": []},
            ],
        })
    }

    fn of(template: &str) -> String {
        Template::text(template)
            .map_or_else(|why| format!("error: {why}"), |it| it.render(&answer(), Style::PLAIN))
    }

    #[test]
    fn templates_of_kubectl_give_what_they_give_there() {
        for (template, text) in [
            ("{.items[*].metadata.name}", "db mq"),
            ("{.items[0].replicas}", "3"),
            ("{$.items[-1].replicas}", "1"),
            ("{.items[*]['replicas']}", "3 1"),
            ("{range .items[*]}{.metadata.name}{\"\\t\"}{.replicas}{'\\n'}{end}", "db\t3\nmq\t1\n"),
            ("{range .items[*]}{range .pods[*]}{@.name}={.ready};{end}{end}", "db-0=true;db-1=false;"),
            ("{.items[?(@.replicas>1)].metadata.name}", "db"),
            ("{.items[?(@.metadata.name==\"db\")].pods[*].name}", "db-0 db-1"),
            ("{.items[0].metadata.labels.app\\.kubernetes\\.io/name}", "pg"),
            ("{..name}", "db mq db-0 db-1"),
            ("{.items[0].pods[0]}", "{\"name\":\"db-0\",\"ready\":true}"),
            ("{.nothing.at.all}|{.items[1].stuckOn}|", "||"),
            ("name: {.items[0].metadata.name}{\"}\"}", "name: db}"),
        ] {
            let mut words: Vec<String> = of(template).split(' ').map(str::to_owned).collect();
            let mut wanted: Vec<String> = text.split(' ').map(str::to_owned).collect();
            // RFC 9535 leaves the order of descendants open.
            if template == "{..name}" {
                words.sort();
                wanted.sort();
            }
            assert_eq!(words, wanted, "{template}");
        }
    }

    #[test]
    fn what_is_no_template_is_named() {
        for (template, why) in [
            (".items", "a template has its paths in braces"),
            ("{.items", "has no } at its end"),
            ("{range .items[*]}{.name}", "a {range} has no {end}"),
            ("{.name}{end}", "{end} ends no {range}"),
            ("{.items[0}", "has a [ without its ]"),
            ("{.items..}", "has a dot without a name"),
            ("{.items[?(@.a=)]}", "is not a JSONPath"),
            ("{.items[0]name}", "where a dot or [ belongs"),
        ] {
            let said = of(template);
            assert!(said.starts_with("error: ") && said.contains(why), "{template}: {said}");
        }
        for spec in ["", "NAME", ":.metadata.name", "NAME:", "NAME:.a,", "NAME:.a[", "NAME:.a,B"] {
            assert!(Template::columns(spec).is_err(), "{spec}");
        }
        for lines in ["", "NAME", "NAME READY\n.a\n", "A\n.a\n.b\n"] {
            assert!(Template::columns_of_lines(lines).is_err(), "{lines}");
        }
    }

    #[test]
    fn answers_are_sorted_by_what_a_path_finds() {
        let sorted = |path: &str| {
            let mut all = [json!({"n": 10, "s": "b"}), json!({"n": 9, "s": "a"}), json!({"s": "c"})];
            all.sort_by(|a, b| by_path(&column_path(path).unwrap_or_default(), a, b));
            all.map(|one| one["s"].as_str().unwrap_or_default().to_owned()).concat()
        };
        assert_eq!(
            (sorted(".n"), sorted("{.s}"), sorted("nothing")),
            ("cab".into(), "abc".into(), "bac".into())
        );
    }

    #[test]
    fn columns_have_a_row_for_each_item() {
        let spec = "NAME:.metadata.name,PODS:{.pods[*].name},FIRST:pods[?(@.ready==true,)].name";
        assert!(Template::columns(spec).is_err());
        let spec = "NAME:.metadata.name,PODS:{.pods[*].name},READY:pods[?(@.ready==true)].name";
        let table = "NAME   PODS        READY\ndb     db-0,db-1   db-0\nmq     <none>      <none>\n";
        let lines = "NAME PODS READY\n.metadata.name .pods[*].name pods[?(@.ready==true)].name\n";
        for template in [Template::columns(spec), Template::columns_of_lines(lines)] {
            assert_eq!(
                template.map(|template| template.render(&answer(), Style::PLAIN)),
                Ok(table.to_owned())
            );
        }
        // A bracket in quotes is none.
        let quoted = Template::columns("A:.items[?(@.metadata.name==\")\")].x,B:.kind");
        assert_eq!(
            quoted.map(|template| template.render(&json!({"kind": "Status"}), Style::PLAIN)),
            Ok("A        B\n<none>   Status\n".to_owned())
        );
        let one = Template::columns("KIND:.kind").map(|template| {
            template.render(&json!({"kind": "Status"}), Style { no_headers: true, ..Style::PLAIN })
        });
        assert_eq!(one, Ok("Status\n".to_owned()));
    }
}
