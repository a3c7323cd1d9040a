//! docs/reference.md is generated from the command line's own definition. `BLESS=1` writes it.

use std::fmt::Write as _;

use clap::Args as _;
use kubectl_sts::cluster::connect::ConnectArgs;
use kubectl_sts::commands::definition;

fn flags(text: &mut String, command: &clap::Command, global: bool) {
    let mut rows = String::new();
    for arg in command.get_arguments().filter(|arg| arg.is_global_set() == global && !arg.is_hide_set()) {
        if ["help", "version"].contains(&arg.get_id().as_str()) {
            continue;
        }
        let value = || {
            let names = arg.get_value_names().unwrap_or_default();
            let name =
                names.first().map_or_else(|| arg.get_id().as_str().to_uppercase(), ToString::to_string);
            if matches!(arg.get_num_args(), Some(range) if range.max_values() > 1) {
                format!("{name}…")
            } else {
                name
            }
        };
        let takes = arg.get_action().takes_values();
        let mut names = Vec::new();
        names.extend(arg.get_short().map(|short| format!("-{short}")));
        names.extend(arg.get_long().map(|long| format!("--{long}")));
        let name = match (names.is_empty(), takes) {
            (true, _) => value(),
            (false, true) => format!("{} {}", names.join(", "), value()),
            (false, false) => names.join(", "),
        };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(rows, "| `{name}` | {} |", help.replace('|', "\\|").replace('\n', " "));
    }
    if !rows.is_empty() {
        let _ = write!(text, "\n| flag | |\n|---|---|\n{rows}");
    }
}

fn reference() -> String {
    let mut cli = definition();
    cli.build();
    let mut text =
        "# Reference\n\nWritten by `BLESS=1 cargo test reference` from the definition of the command line; \
                    a test compares.\n\nCommands: "
            .to_owned();
    let commands: Vec<&clap::Command> =
        cli.get_subcommands().filter(|command| !command.is_hide_set()).collect();
    let links: Vec<String> =
        commands.iter().map(|command| format!("[{0}](#kubectl-sts-{0})", command.get_name())).collect();
    let _ = writeln!(text, "{}.\n\n## Flags of every command", links.join(", "));
    flags(&mut text, &cli, true);
    let _ = writeln!(
        text,
        "| `-h, --help` | Print help |\n| `-V, --version` | Print the version, without a command |\n\n\
         ## Defaults\n\nIf a flag is not given, the variable that its description names sets its default. KUBECTL_STS_OUTPUT can be \
         text or wide; scripts that need another format use `-o`. A wrong value is an error (exit code 2) that names the \
         variable. No variable skips a confirmation or chooses what is changed. The file kuberc is not read: kubectl applies \
         it to its own commands only, and an entry in it could skip a confirmation.\n\n\
         ## Connection flags\n\nAll commands accept them, before or after the command, as kubectl does."
    );
    flags(&mut text, &ConnectArgs::augment_args(clap::Command::new("options")), true);
    for command in commands {
        let name = command.get_name();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage:").trim();
        let _ = write!(
            text,
            "\n## kubectl sts {name}\n\n{about}. See [its page](commands/{name}.md).\n\n    {usage}\n"
        );
        flags(&mut text, command, false);
    }
    text + "\n## Exit codes\n\nThe same for every command and every output format.\n\n| code | |\n|---|---|\n\
            | 0 | success |\n| 1 | a problem was found: stuck, or findings at or above `--fail-on` |\n\
            | 2 | wrong usage |\n| 3 | the cluster or a file could not be read or changed |\n\
            | 4 | refused, cancelled, or the cluster changed after the plan was shown |\n\
            | 124 | timed out |\n| 130 | interrupted (Ctrl-C, SIGINT) |\n\
            | 129 | the terminal was closed (SIGHUP) |\n| 143 | terminated (SIGTERM) |\n\
            | 141 | the reader of standard output is gone, as after `head -1` |\n\
            | 101 | a bug in this program; the terminal is restored |\n"
}

#[test]
fn the_reference_is_that_of_this_command_line() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference.md");
    let real = reference();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &real).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    let differs = page.lines().zip(real.lines()).find(|(a, b)| a != b);
    assert!(page == real, "docs/reference.md is stale (BLESS=1 writes it), first at {differs:?}");
}

#[test]
fn every_help_ends_with_the_exit_codes() {
    let mut cli = definition();
    cli.build();
    let own = cli.clone();
    for command in cli.get_subcommands_mut().map(|command| &*command).chain([&own]) {
        let help = command.clone().render_long_help().to_string();
        let help: Vec<&str> = help.split_whitespace().collect();
        let help = help.join(" ");
        for code in [
            "0 success",
            "1 a problem",
            "2 wrong usage",
            "3 the cluster",
            "4 refused",
            "124 timed out",
            "130 interrupted",
            "143 by SIGTERM",
            "129 by SIGHUP",
            "141 the reader",
            "101 a bug",
        ] {
            assert!(help.contains(code), "{} --help does not say: {code}", command.get_name());
        }
    }
}
