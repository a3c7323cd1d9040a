//! Every command that a rule prints, with hostile text in every place that a tenant or a file can write to, run in a
//! sandbox: nothing but the intended programs run, and each gets the intended words.

use std::collections::{BTreeMap, BTreeSet};

use kubectl_sts::paste::Command;
use kubectl_sts::rules::{Filter, diagnose};

use super::mutate::{World, worlds};
use super::sandbox::Sandbox;

/// What somebody may write into a name, a label or a message.
pub fn corpus() -> Vec<String> {
    let mut all: Vec<String> = [
        "x;touch PWNED",
        "$(touch PWNED)",
        "`touch PWNED`",
        "x'; touch PWNED; '",
        "x\"; touch PWNED; \"",
        "x\ntouch PWNED",
        "x\u{2028}touch PWNED",
        "--flag",
        "-rf",
        "a b",
        "*",
        "~",
        "!x",
        "#x",
        "x&touch PWNED",
        "x|touch PWNED",
        "x\\",
        "x\0y",
        "x\u{202e}DENWP hcuot",
        "x>PWNED",
        "x<bystander",
        "{a,b}",
        "a=b",
        "svc/x",
        "x\r\ntouch PWNED",
        "\u{9b}31m",
    ]
    .map(str::to_owned)
    .into();
    all.push("x".repeat(5000));
    all
}

fn commands(world: &World) -> Vec<Command> {
    let Some(observed) = world.observed() else { return Vec::new() };
    let diagnosis = diagnose(&observed, |_| true, &Filter::default());
    diagnosis.findings.into_iter().flat_map(|(_, finding)| finding.remedy).collect()
}

/// Which of these lines run something else than they show.
fn wrongly_run(lines: &[(&String, &Command)]) -> Vec<String> {
    let sandbox = Sandbox::new();
    let mut wrong = Vec::new();
    for (line, command) in lines {
        let mut wanted: Vec<Vec<&str>> = command.words();
        wanted.retain(|words| !["echo", "printf"].contains(&words[0]));
        wanted.sort_unstable();
        match sandbox.run(line) {
            Ok(ran) if ran == wanted => {}
            Ok(ran) => wrong.push(format!("{line}\n  ran {ran:?}")),
            Err(error) => wrong.push(format!("{line}\n  {error}")),
        }
        // Of the corpus these begin with a dash.
        let taken =
            command.words().concat().iter().any(|word| word.starts_with("--flag") || word.starts_with("-rf"));
        if taken {
            wrong.push(format!("{line}\n  takes a name for a flag"));
        }
    }
    wrong
}

#[test]
fn what_is_pasted_does_what_it_looks_like_and_nothing_else() {
    let corpus = corpus();
    let (mut lines, mut refused) = (BTreeMap::new(), 0);
    let mut turn = 0;
    for world in worlds() {
        let honest = commands(&world);
        if honest.is_empty() {
            continue;
        }
        let texts = world.texts();
        let usual: BTreeSet<Option<String>> = honest.iter().map(Command::line).collect();
        // Whether it reached a command: then there is another line than usual, or none.
        let mut look = |other: &BTreeMap<&str, &str>| {
            let mut reached = false;
            for command in commands(&world.with(other)) {
                let line = command.line();
                reached |= !usual.contains(&line);
                match line {
                    Some(line) => drop(lines.insert(line, command)),
                    None => refused += 1,
                }
            }
            reached
        };
        // Where there is much, the same words come again and again.
        for text in texts.iter().filter(|_| world.objects.len() < 20) {
            // The first is always among them; the others take turns.
            turn += 1;
            let other = &corpus[1 + turn % (corpus.len() - 1)];
            let longer = look(&BTreeMap::from([(text.as_str(), format!("{text}{other}").as_str())]));
            if look(&BTreeMap::from([(text.as_str(), corpus[0].as_str())])) || longer {
                look(&BTreeMap::from([(text.as_str(), other.as_str())]));
            }
        }
        // All of what is no word of Kubernetes at once.
        let names = texts.iter().filter(|text| !text.starts_with(|c: char| c.is_ascii_uppercase()));
        for hostile in &corpus {
            look(&names.clone().map(|text| (text.as_str(), hostile.as_str())).collect());
        }
        for command in honest {
            let line = command.line();
            lines.insert(line.unwrap_or_else(|| panic!("{}: {command}", world.name)), command);
        }
    }
    // To start programs is mostly waiting.
    let all: Vec<(&String, &Command)> = lines.iter().collect();
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let parts: Vec<_> =
            all.chunks(all.len() / 4 + 1).map(|part| scope.spawn(|| wrongly_run(part))).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    println!("{} lines run, {refused} refused", lines.len());
    assert!(wrong.is_empty(), "{} of {} lines:\n{}", wrong.len(), lines.len(), wrong.join("\n"));
    assert!(lines.len() > 700 && refused > 700, "the tampering no longer reaches the commands");
}
