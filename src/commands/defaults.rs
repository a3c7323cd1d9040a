//! Defaults of flags from variables of the environment. None of them agrees to a change, and none chooses what is changed.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command as Definition};

use super::line::OUTPUT;

/// Flags by their id, with the variable that holds their default.
pub(super) const VARIABLES: [(&str, &str); 4] = [
    (OUTPUT, "KUBECTL_STS_OUTPUT"),
    ("color", "KUBECTL_STS_COLOR"),
    ("logs", "KUBECTL_STS_LOGS"),
    ("stuck_after", "KUBECTL_STS_STUCK_AFTER"),
];

/// What the variable can say of the format. Scripts that read the output of a command name theirs.
const FORMATS: [&str; 2] = ["text", "wide"];

/// The variable with the default of a flag that takes a value. `record --logs` takes none.
pub(super) fn variable(arg: &Arg) -> Option<&'static str> {
    let known = VARIABLES.iter().find(|(id, _)| arg.get_id() == id)?;
    arg.get_action().takes_values().then_some(known.1)
}

/// The definition with the defaults that variables have for what was not given; `None` where there are none.
///
/// # Errors
/// When a variable holds something that its flag does not take.
pub(super) fn with_defaults(
    definition: &mut Definition,
    matches: &ArgMatches,
    variable_of: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<Definition>, clap::Error> {
    let Some((name, given)) = matches.subcommand() else { return Ok(None) };
    let mut changed = None;
    for (id, variable) in VARIABLES {
        let Some(value) = variable_of(variable).filter(|value| !value.is_empty()) else { continue };
        let of = |definition: &Definition| {
            let own = definition.get_arguments().find(|arg| arg.get_id() == id);
            own.filter(|arg| self::variable(arg).is_some()).cloned()
        };
        let of_command = definition.find_subcommand(name).and_then(of);
        let Some(arg) = of_command.or_else(|| of(definition)) else { continue };
        if given.value_source(id) == Some(ValueSource::CommandLine) {
            continue;
        }
        if let Some(why) = refused(&arg, &value) {
            let text = format!("invalid value '{}' in {variable}: {why}", value.to_string_lossy());
            return Err(definition.error(ErrorKind::ValueValidation, text));
        }
        let set = |arg: Arg| match arg.get_id() == id && self::variable(&arg).is_some() {
            true => arg.default_value(value.clone()),
            false => arg,
        };
        let base = changed.take().unwrap_or_else(|| definition.clone());
        changed = Some(base.mut_args(&set).mut_subcommand(name, |command| command.mut_args(&set)));
    }
    Ok(changed)
}

/// Why the flag does not take the value.
fn refused(arg: &Arg, value: &OsString) -> Option<String> {
    if arg.get_id() == OUTPUT && !FORMATS.iter().any(|format| value == format) {
        return Some(format!("it can be {}", FORMATS.join(" or ")));
    }
    // Alone, as the flag itself would be read.
    let mut flag = OsString::from(format!("--{}=", arg.get_long()?));
    flag.push(value);
    let alone = Definition::new("flag").no_binary_name(true).arg(arg.clone());
    let error = alone.try_get_matches_from([flag]).err()?;
    let possible: Vec<String> =
        arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if !possible.is_empty() {
        return Some(format!("it can be {}", possible.join(", ")));
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    Some(first.rsplit_once(">': ").map_or(first, |(_, why)| why).to_owned())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::definition;
    use super::with_defaults;

    fn read(line: &str, set: (&str, &str)) -> Result<clap::ArgMatches, String> {
        let mut definition = definition();
        let words = || line.split(' ').map(OsString::from);
        let matches = definition.try_get_matches_from_mut(words()).map_err(|e| e.to_string())?;
        let variable = |name: &str| (name == set.0).then(|| OsString::from(set.1));
        match with_defaults(&mut definition, &matches, variable).map_err(|e| e.to_string())? {
            Some(mut changed) => changed.try_get_matches_from_mut(words()).map_err(|e| e.to_string()),
            None => Ok(matches),
        }
    }

    fn value(line: &str, set: (&str, &str), flag: &str) -> Result<String, String> {
        let matches = read(line, set)?;
        let (_, given) = matches.subcommand().unwrap();
        let mut raw = given.get_raw(flag).unwrap();
        Ok(raw.next_back().unwrap().to_string_lossy().into_owned())
    }

    #[test]
    fn a_variable_is_the_default_and_a_flag_goes_before_it() {
        for (line, set, flag, expected) in [
            ("sts status", ("KUBECTL_STS_OUTPUT", "wide"), "output", "wide"),
            ("sts status -o json", ("KUBECTL_STS_OUTPUT", "wide"), "output", "json"),
            ("sts -o json status", ("KUBECTL_STS_OUTPUT", "wide"), "output", "json"),
            ("sts doctor", ("KUBECTL_STS_OUTPUT", "wide"), "output", "wide"),
            ("sts status", ("KUBECTL_STS_OUTPUT", ""), "output", "text"),
            ("sts doctor", ("KUBECTL_STS_COLOR", "never"), "color", "never"),
            ("sts --color always doctor", ("KUBECTL_STS_COLOR", "never"), "color", "always"),
            ("sts watch web", ("KUBECTL_STS_STUCK_AFTER", "5m"), "stuck_after", "5m"),
            ("sts undo web", ("KUBECTL_STS_STUCK_AFTER", "5m"), "stuck_after", "5m"),
            ("sts watch web", ("KUBECTL_STS_LOGS", "20"), "logs", "20"),
            // no conflict with the default
            ("sts watch web --no-logs", ("KUBECTL_STS_LOGS", "20"), "logs", "20"),
        ] {
            assert_eq!(value(line, set, flag).as_deref(), Ok(expected), "{line} {set:?}");
        }
        // what a command does not have is not looked at
        assert!(read("sts explain", ("KUBECTL_STS_LOGS", "many")).is_ok());
        assert!(read("sts record", ("KUBECTL_STS_LOGS", "many")).is_ok());
        assert!(read("sts watch web --logs 5", ("KUBECTL_STS_LOGS", "many")).is_ok());
    }

    #[test]
    fn a_wrong_value_names_the_variable() {
        for (line, set, expected) in [
            (
                "sts status",
                ("KUBECTL_STS_OUTPUT", "json"),
                "'json' in KUBECTL_STS_OUTPUT: it can be text or wide",
            ),
            (
                "sts help",
                ("KUBECTL_STS_COLOR", "red"),
                "'red' in KUBECTL_STS_COLOR: it can be auto, always, never",
            ),
            ("sts watch web", ("KUBECTL_STS_LOGS", "many"), "'many' in KUBECTL_STS_LOGS: invalid digit"),
            (
                "sts watch web",
                ("KUBECTL_STS_LOGS", "999"),
                "'999' in KUBECTL_STS_LOGS: 999 is not in 0..=200",
            ),
            ("sts watch web", ("KUBECTL_STS_STUCK_AFTER", "soon"), "'soon' in KUBECTL_STS_STUCK_AFTER: "),
        ] {
            let error = read(line, set).unwrap_err();
            assert!(error.starts_with(&format!("error: invalid value {expected}")), "{error}");
        }
    }
}
