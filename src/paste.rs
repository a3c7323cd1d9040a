//! Commands to paste: built from words, and written out for a POSIX shell in this one place.
//!
//! Words of our own are literals. Words from the outside, such as names and messages, are quoted where the shell would
//! read anything into them. A word that a program could take for a flag, or that does not look like what it is, makes the
//! whole command unprintable: the reason is said instead.

use std::fmt;
use std::sync::OnceLock;

use serde_json::Value;

use crate::text::{in_quotes, is_hidden};

/// No word from the outside is longer: a path has at most this many bytes.
const LONGEST: usize = 4096;

/// How the cluster was reached, as flags of kubectl; set once, before anything is shown.
static CONNECTION: OnceLock<Command> = OnceLock::new();

/// Makes every command that is shown from now on reach the cluster in this way: flags of kubectl with their values, such
/// as `--context` and `staging`; a switch has an empty value. Only the first call of a process counts.
pub fn reach_by(flags: impl IntoIterator<Item = (&'static str, String)>) {
    let _ = CONNECTION.set(connection(flags));
}

/// A program that has these flags, and no name.
fn connection(flags: impl IntoIterator<Item = (&'static str, String)>) -> Command {
    flags.into_iter().fold(tool(""), |mut all, (flag, value)| {
        if value.is_empty() {
            return all.own(flag);
        }
        if value.starts_with('-') {
            all.vouch(&value);
            all.push([Word::Text(format!("{flag}={value}"))]);
            return all;
        }
        all.own(flag).value(value)
    })
}

/// The programs that commands of this tool begin with.
const PROGRAMS: [&str; 3] = ["kubectl", "echo", "printf"];

/// A hint taken apart: its prose, with the colon, and the command at its end; see [`Command::after`]. `None` where it ends
/// without one.
pub fn split_command(hint: &str) -> Option<(&str, &str)> {
    let is_command = |text: &str| {
        let first = text.split(' ').next().unwrap_or_default();
        PROGRAMS.contains(&first) && text.len() > first.len()
    };
    if is_command(hint) {
        return Some(("", hint));
    }
    let ends = hint.match_indices(": ").map(|(at, _)| (&hint[..=at], &hint[at + 2..]));
    ends.into_iter().find(|(_, rest)| is_command(rest))
}

/// A line to paste: one program, or several that follow or feed each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    programs: Vec<Program>,
    obstacle: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Program {
    /// What stands between it and the program before it.
    joint: &'static str,
    words: Vec<Word>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    /// A literal of this tool.
    Own(&'static str),
    /// Anything else, whole.
    Text(String),
    /// The value of `-n`.
    Namespace(String),
    /// Where `docker login` keeps what it was given. The shell knows the home directory.
    Login,
}

/// The file of [`Word::Login`].
const LOGIN: &str = "~/.docker/config.json";

impl Program {
    /// Whether it asks the cluster: not those that only read documentation, files or the kubeconfig.
    fn connects(&self) -> bool {
        let words: Vec<&str> = self.words.iter().map(Word::as_str).collect();
        match words.as_slice() {
            ["kubectl", "config" | "explain", ..] | ["kubectl", "sts", "explain" | "completion", ..] => false,
            ["kubectl", "sts", ..] => !words.contains(&"--from"),
            ["kubectl", ..] => true,
            _ => false,
        }
    }
}

impl Word {
    fn as_str(&self) -> &str {
        match self {
            Word::Own(text) => text,
            Word::Text(text) | Word::Namespace(text) => text,
            Word::Login => LOGIN,
        }
    }

    /// As it is written for a shell.
    fn quoted(&self) -> String {
        match self {
            Word::Login => LOGIN.to_owned(),
            word => quote(word.as_str()),
        }
    }
}

/// Begins a command of kubectl; `words` are separated by spaces, and need no quotes.
#[must_use]
pub fn kubectl(words: &'static str) -> Command {
    tool("kubectl").with(words)
}

/// Begins a command of this plugin.
#[must_use]
pub fn sts(words: &'static str) -> Command {
    kubectl("sts").with(words)
}

/// Begins a command of another program.
#[must_use]
pub fn tool(words: &'static str) -> Command {
    let first = Program { joint: "", words: Vec::new() };
    Command { programs: vec![first], obstacle: None }.with(words)
}

/// Begins with a program that writes this text and nothing else.
#[must_use]
pub fn echo(text: &str) -> Command {
    // Some shells' echo reads backslashes.
    if text.contains('\\') || text.starts_with('-') {
        return tool("printf").own("%s\\n").value(text);
    }
    tool("echo").value(text)
}

impl Command {
    /// Adds words of our own, separated by spaces.
    #[must_use]
    pub fn with(mut self, words: &'static str) -> Command {
        self.push(words.split_ascii_whitespace().map(Word::Own));
        self
    }

    /// Adds one word of our own, spaces and all.
    #[must_use]
    pub fn own(mut self, word: &'static str) -> Command {
        self.push([Word::Own(word)]);
        self
    }

    /// Adds the name of an object as an argument.
    #[must_use]
    pub fn name(mut self, name: &str) -> Command {
        // kubectl reads more than a name into these.
        if name.contains(['/', '=', ',']) {
            self.refuse(name, "is not a name");
        }
        self.value(name)
    }

    /// Adds the names of objects.
    #[must_use]
    pub fn names<T: AsRef<str>>(self, names: impl IntoIterator<Item = T>) -> Command {
        names.into_iter().fold(self, |command, name| command.name(name.as_ref()))
    }

    /// Adds one word: the value of the flag before it, or an argument that is not a name.
    #[must_use]
    pub fn value(mut self, text: impl Into<String>) -> Command {
        let text = text.into();
        if text.starts_with('-') {
            self.refuse(&text, "would be taken for a flag");
        }
        self.vouch(&text);
        self.push([Word::Text(text)]);
        self
    }

    /// Adds one word that begins with a literal of our own and ends with a value: `--limits=memory=`, `1Gi`.
    #[must_use]
    pub fn joined(mut self, start: &'static str, value: impl fmt::Display) -> Command {
        let value = value.to_string();
        self.vouch(&value);
        self.push([Word::Text(format!("{start}{value}"))]);
        self
    }

    /// Adds the path of a file after its flag.
    #[must_use]
    pub fn path(self, path: &str) -> Command {
        match path {
            "-" => self.own("-"),
            path if path.starts_with('-') => self.value(format!("./{path}")),
            path => self.value(path),
        }
    }

    /// Adds the file in which `docker login` keeps the logins of the user who pastes it.
    #[must_use]
    pub fn login(mut self) -> Command {
        self.push([Word::Login]);
        self
    }

    /// Adds `-p` and a patch.
    #[must_use]
    pub fn patch(self, patch: &Value) -> Command {
        self.own("-p").value(patch.to_string())
    }

    /// Adds `-n` and the namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Command {
        if namespace.starts_with('-') {
            self.refuse(namespace, "would be taken for a flag");
        }
        self.vouch(namespace);
        self.push([Word::Own("-n"), Word::Namespace(namespace.to_owned())]);
        self
    }

    /// Gives what it writes to the next one.
    #[must_use]
    pub fn piped_into(self, next: Command) -> Command {
        self.join("|", next)
    }

    /// Goes on with the next one if it succeeds.
    #[must_use]
    pub fn and(self, next: Command) -> Command {
        self.join("&&", next)
    }

    /// A hint that ends with the command: `list them with: kubectl get namespaces`.
    #[must_use]
    pub fn after(&self, prose: &str) -> String {
        format!("{prose}: {self}")
    }

    /// Why it cannot be printed, as a fragment.
    pub fn obstacle(&self) -> Option<&str> {
        self.obstacle_with(CONNECTION.get())
    }

    fn obstacle_with<'a>(&'a self, connection: Option<&'a Command>) -> Option<&'a str> {
        let connection = connection.filter(|_| self.programs.iter().any(Program::connects));
        let of_connection = connection.and_then(|connection| connection.obstacle.as_deref());
        self.obstacle.as_deref().or(of_connection)
    }

    /// The line for a POSIX shell; `None` where there is an obstacle. Every command that is shown comes through here.
    pub fn line(&self) -> Option<String> {
        self.line_with(CONNECTION.get())
    }

    /// The line for a file that is kept, or why there is none: without the flags by which the cluster was reached this time,
    /// such as the address of a proxy.
    pub fn line_to_keep(&self) -> String {
        let none = || format!("(no command is shown: {})", self.obstacle_with(None).unwrap_or_default());
        self.line_with(None).unwrap_or_else(none)
    }

    fn line_with(&self, connection: Option<&Command>) -> Option<String> {
        if self.obstacle_with(connection).is_some() {
            return None;
        }
        let mut line = String::new();
        for (program, words) in self.programs.iter().zip(self.words_with(connection)) {
            let words: Vec<_> = words.into_iter().map(Word::quoted).collect();
            if !program.joint.is_empty() {
                line.push_str(&format!(" {} ", program.joint));
            }
            line.push_str(&words.join(" "));
        }
        Some(line)
    }

    /// The words each program is to get, its own name first.
    pub fn words(&self) -> Vec<Vec<&str>> {
        let all = self.words_with(CONNECTION.get()).into_iter();
        all.map(|words| words.into_iter().map(Word::as_str).collect()).collect()
    }

    fn words_with<'a>(&'a self, connection: Option<&'a Command>) -> Vec<Vec<&'a Word>> {
        let flags = connection.into_iter().flat_map(|command| &command.programs).flat_map(|it| &it.words);
        let flags: Vec<&Word> = flags.collect();
        let whole = |program: &'a Program| {
            let mut words: Vec<&Word> = program.words.iter().collect();
            if program.connects() {
                // What follows `--` is for the container.
                let end = words.iter().position(|word| word.as_str() == "--").unwrap_or(words.len());
                words.splice(end..end, flags.iter().copied());
            }
            words
        };
        self.programs.iter().map(whole).collect()
    }

    fn join(mut self, joint: &'static str, next: Command) -> Command {
        let mut programs = next.programs.into_iter();
        self.programs.extend(programs.next().map(|first| Program { joint, ..first }));
        self.programs.extend(programs);
        self.obstacle = self.obstacle.or(next.obstacle);
        self
    }

    fn push(&mut self, words: impl IntoIterator<Item = Word>) {
        if let Some(last) = self.programs.last_mut() {
            last.words.extend(words);
        }
    }

    /// Sees to it that what is pasted is what is seen.
    fn vouch(&mut self, text: &str) {
        if text.is_empty() {
            self.refuse(text, "is empty");
        } else if text.chars().any(|c| is_hidden(c) || c.is_whitespace() && c != ' ') {
            self.refuse(text, "has characters that are not seen");
        } else if text.len() > LONGEST {
            self.refuse(text, "is too long");
        }
    }

    fn refuse(&mut self, text: &str, why: &str) {
        self.obstacle.get_or_insert_with(|| format!("{} {why}", in_quotes(text)));
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line() {
            Some(line) => f.write_str(&line),
            None => write!(f, "(no command is shown: {})", self.obstacle().unwrap_or_default()),
        }
    }
}

/// A word that the shell hands on as it is; in quotes only where it has to be, and then after the `=` of a flag or label.
fn quote(word: &str) -> String {
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:,@%+=".contains(&b));
    if !word.is_empty() && plain(word) {
        return word.to_owned();
    }
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    match word.split_once('=') {
        Some((key, value)) if !key.is_empty() && plain(key) => format!("{key}={}", quoted(value)),
        _ => quoted(word),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ordinary_commands_have_no_quotes() {
        for (command, line) in [
            (kubectl("describe pod").name("db-0").namespace("shop"), "kubectl describe pod db-0 -n shop"),
            (sts("undo").name("db").with("--to-revision").value("3"), "kubectl sts undo db --to-revision 3"),
            (
                kubectl("set resources").joined("--limits=memory=", "1Gi"),
                "kubectl set resources --limits=memory=1Gi",
            ),
            (
                kubectl("patch pv").name("pv-1").patch(&json!({"spec": {"claimRef": null}})),
                r#"kubectl patch pv pv-1 -p '{"spec":{"claimRef":null}}'"#,
            ),
            (
                kubectl("get nodes -o").own("custom-columns=NAME:.metadata.name,KEYS:.spec.taints[*].key"),
                "kubectl get nodes -o custom-columns='NAME:.metadata.name,KEYS:.spec.taints[*].key'",
            ),
            (echo("{\"a\":1}").piped_into(kubectl("apply -f -")), r#"echo '{"a":1}' | kubectl apply -f -"#),
            (sts("doctor --from").path("-x y"), "kubectl sts doctor --from './-x y'"),
            (
                kubectl("x --from-file").login().value("~/y"),
                "kubectl x --from-file ~/.docker/config.json '~/y'",
            ),
        ] {
            assert_eq!(command.line().as_deref(), Some(line));
        }
    }

    #[test]
    fn commands_reach_the_cluster_that_was_asked() {
        let by = connection([("--context", "a b".to_owned()), ("--as", "-me".to_owned())]);
        for (command, line) in [
            (kubectl("get pods").namespace("x"), "kubectl get pods -n x --context 'a b' --as=-me"),
            (kubectl("exec").name("a").with("-- ls"), "kubectl exec a --context 'a b' --as=-me -- ls"),
            (sts("explain STS301"), "kubectl sts explain STS301"),
            (sts("doctor --from").path("x.yaml"), "kubectl sts doctor --from x.yaml"),
            (
                echo("a").piped_into(kubectl("apply -f -")),
                "echo a | kubectl apply -f - --context 'a b' --as=-me",
            ),
            (kubectl("config get-contexts"), "kubectl config get-contexts"),
        ] {
            assert_eq!(command.line_with(Some(&by)).as_deref(), Some(line));
        }
        let hidden = connection([("--context", "a\u{202e}b".to_owned())]);
        assert_eq!(kubectl("get pods").line_with(Some(&hidden)), None);
        assert!(sts("explain STS301").line_with(Some(&hidden)).is_some());
    }

    #[test]
    fn what_a_shell_would_obey_is_quoted() {
        for (word, quoted) in [
            ("x;touch PWNED", "'x;touch PWNED'"),
            ("$(touch PWNED)", "'$(touch PWNED)'"),
            ("it's", r"'it'\''s'"),
            ("~", "'~'"),
            ("a*", "'a*'"),
            ("#", "'#'"),
            ("!x", "'!x'"),
            ("a\\", "'a\\'"),
            ("app=x y", "app='x y'"),
            ("Größe", "'Größe'"),
        ] {
            assert_eq!(quote(word), quoted);
        }
    }

    #[test]
    fn what_is_not_what_it_looks_like_is_not_printed() {
        for (command, why) in [
            (kubectl("get pod").name("-rf"), "\"-rf\" would be taken for a flag"),
            (kubectl("get pod").namespace("--all"), "\"--all\" would be taken for a flag"),
            (kubectl("get pod").name("a\u{202e}b"), "\"a\\u{202e}b\" has characters that are not seen"),
            (kubectl("get pod").name("a\nb"), "\"a\\nb\" has characters that are not seen"),
            (kubectl("get pod").name("svc/web"), "\"svc/web\" is not a name"),
            (kubectl("get pod").name(""), "\"\" is empty"),
            (kubectl("get").and(kubectl("get pod").name("-a")), "\"-a\" would be taken for a flag"),
        ] {
            assert_eq!((command.line(), command.obstacle()), (None, Some(why)));
            assert_eq!(command.after("look"), format!("look: (no command is shown: {why})"));
        }
        let long = "x".repeat(5000);
        assert!(kubectl("get pod").name(&long).line().is_none());
    }
}
