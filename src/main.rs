//! Parses, runs, shows, exits.

use std::io::Write;
use std::pin::pin;
use std::process::ExitCode;

use kubectl_sts::cli::{Answer, Color, Ui};
use kubectl_sts::cluster::connect;
use kubectl_sts::commands;
use kubectl_sts::error::{Error, Exit, Result};
use kubectl_sts::reconcile::interrupt::unattended;
use kubectl_sts::render::{Output, Style, error_text, out, refusal, render, terminal};
use kubectl_sts::{paste, signals, stop};

/// The allocator of musl, which the packages would have, is slow with several threads, and that of glibc keeps more than it needs.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(words) = commands::asked(std::env::args_os()) {
        return complete(words);
    }
    terminal::on_panic();
    let cli = match commands::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return explain(&error).into(),
    };
    signals::listen();
    paste::reach_by(cli.global.connect.to_repeat());
    if cli.global.connect.trace {
        connect::trace(tell);
    }
    let look = Style { no_headers: cli.global.no_headers, ..look(cli.global.color) };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(&format!("error: could not start: {error}"));
            return Exit::Cluster.into();
        }
    };
    let streams = Ui {
        look,
        warn: |warning| tell(&format!("Warning: {warning}")),
        fail: |error| tell(&error_text(error)),
    };
    let ended = runtime.block_on(async {
        let mut run = pin!(cli.run(&streams));
        tokio::select! {
            biased;
            answer = &mut run => Ok(answer),
            cause = unattended() => Err(cause),
        }
    });
    stop::answered();
    // What still runs, as a plugin that hangs, is not waited for.
    runtime.shutdown_background();
    match ended {
        Ok(answer) => finish(answer, cli.global.output, look).into(),
        Err(cause) => signals::leave(&cause).into(),
    }
}

/// Shows the answer, or why there is none.
fn finish(answer: Result<Answer>, output: Output, look: Style) -> Exit {
    let interrupted = |exit: Exit| if exit == Exit::Interrupted { stop::exit() } else { exit };
    let (answer, text) = match answer.and_then(|answer| {
        let text = render(answer.view.as_ref(), output, look)?;
        Ok((answer, text))
    }) {
        Ok(shown) => shown,
        Err(error) => return fail(&error, interrupted(error.exit()), output),
    };
    let Err(unwritten) = out::write(&text) else {
        if output == Output::Name
            && answer.view.is_ending()
            && let Ok(account) = render(answer.view.as_ref(), Output::Text, Style::PLAIN)
        {
            tell(account.trim_end());
        }
        // Programs read an empty list, or nothing.
        if let Some(nothing) = answer.view.nothing().filter(|_| {
            !matches!(
                output,
                Output::Json
                    | Output::Yaml
                    | Output::Sarif
                    | Output::Junit
                    | Output::Prometheus
                    | Output::Template(_)
            )
        }) {
            tell(&kubectl_sts::text::clean(&nothing));
        }
        return interrupted(answer.exit);
    };
    if stop::has_acted() {
        // What was done must be known to somebody.
        if let Ok(account) = render(answer.view.as_ref(), Output::Text, Style::PLAIN) {
            tell(account.trim_end());
        }
    }
    if stop::has_acted() || unwritten.exit() != Exit::ReaderGone {
        tell(&error_text(&unwritten));
    }
    unwritten.exit()
}

/// Says why there is no answer.
fn fail(error: &Error, exit: Exit, output: Output) -> Exit {
    let unwritten = refusal(error, output).and_then(|text| out::write(&text).err());
    tell(&error_text(error));
    match unwritten {
        Some(unwritten) if unwritten.exit() != exit => {
            tell(&error_text(&unwritten));
            unwritten.exit()
        }
        _ => exit,
    }
}

/// Shows help or the version, or what is wrong with the command line.
fn explain(error: &clap::Error) -> Exit {
    if let Some(error) = commands::unknown_word(error) {
        tell(&error_text(&error));
        return error.exit();
    }
    let printed = error.print().and_then(|()| std::io::stdout().flush());
    if error.use_stderr() {
        return Exit::Usage;
    }
    match printed {
        Ok(()) => Exit::Good,
        Err(failed) => {
            out::failed_to_write(&failed);
            let exit = stop::exit();
            if exit == Exit::Cluster {
                tell(&format!("error: could not write to standard output\n  because {failed}"));
            }
            exit
        }
    }
}

/// Answers the shell in the middle of typing: nothing but the answer is shown, and nothing is ever an error.
fn complete(words: Vec<String>) -> ExitCode {
    std::panic::set_hook(Box::new(|_| std::process::exit(0)));
    // A credential plugin that opens the terminal by itself, past standard input, would ask for a password there.
    #[cfg(unix)]
    let _ = rustix::process::setsid();
    let _ = std::io::stdout().write_all(commands::answer(words).as_bytes());
    ExitCode::SUCCESS
}

/// Says something beside the answer.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn look(color: Color) -> Style {
    let terminal = out::is_terminal();
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let color = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => !set("NO_COLOR") && !dumb && (terminal || set("CLICOLOR_FORCE")),
    };
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    let ascii =
        dumb || locale.is_some_and(|locale| !locale.to_ascii_lowercase().replace('-', "").contains("utf8"));
    let width = terminal.then(|| usize::from(console::Term::stdout().size().1));
    Style { width, color, ascii, ..Style::PLAIN }
}
