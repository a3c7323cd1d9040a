//! Defaults of flags from variables of the environment.

use std::process::Command;

use crate::support::Run;

fn sts(args: &[&str], variable: (&str, &str)) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
    command.env_clear().current_dir(env!("CARGO_MANIFEST_DIR")).env(variable.0, variable.1);
    Run::of(command.args(args), "")
}

#[test]
fn a_variable_holds_the_default() {
    let list = ["status", "--from", "docs/recordings/postgres.yaml"];
    let header = |variable| sts(&list, variable).ok().lines().next().unwrap().to_owned();
    assert!(header(("KUBECTL_STS_OUTPUT", "wide")).contains("IMAGE"));
    assert!(!header(("KUBECTL_STS_OUTPUT", "text")).contains("IMAGE"));
    assert!(sts(&list, ("KUBECTL_STS_COLOR", "always")).ok().contains('\u{1b}'));
    let plain = sts(&[&["--color", "never"], &list[..]].concat(), ("KUBECTL_STS_COLOR", "always")).ok();
    assert!(!plain.contains('\u{1b}'), "the flag goes before it:\n{plain}");
}

#[test]
fn a_wrong_value_is_an_error_that_names_the_variable() {
    let list = ["status", "--from", "docs/recordings/postgres.yaml"];
    for (variable, value) in
        [("KUBECTL_STS_OUTPUT", "json"), ("KUBECTL_STS_COLOR", "red"), ("KUBECTL_STS_LOGS", "many")]
    {
        let run = sts(&list, (variable, value)).code(2);
        assert!(run.stderr.starts_with(&format!("error: invalid value '{value}' in {variable}: ")), "{run}");
        assert_eq!(run.stdout, "");
    }
}

/// A variable that nobody sees on the command line must not agree to a change.
#[test]
fn no_variable_confirms() {
    let mut definition = kubectl_sts::commands::definition();
    definition.build();
    let risky =
        ["yes", "dry_run", "allow_unhealthy", "accept_race", "evict", "retain", "include_zero", "force"];
    for command in definition.get_subcommands() {
        for arg in command.get_arguments().filter(|arg| risky.contains(&arg.get_id().as_str())) {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.contains("KUBECTL_STS_"), "{}: {help}", command.get_name());
        }
    }
}
