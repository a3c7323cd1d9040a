//! Parses, runs, shows, exits.

use std::io::{IsTerminal, Write};
use std::pin::pin;
use std::process::ExitCode;

use clap::Parser;
use kubectl_sts::cli::{Color, Streams};
use kubectl_sts::commands::{self, Cli};
use kubectl_sts::error::Exit;
use kubectl_sts::reconcile::interrupt;
use kubectl_sts::render::{Look, refusal, render};

fn main() -> ExitCode {
    if let Some(words) = commands::asked(std::env::args_os()) {
        return complete(words);
    }
    let cli = Cli::parse();
    let look = look(cli.global.color);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(&format!("error: could not start: {error}"));
            return Exit::Cluster.into();
        }
    };
    let streams = Streams { look, warn: |warning| tell(&format!("Warning: {warning}")) };
    let answer = runtime.block_on(async {
        let mut run = pin!(cli.run(&streams));
        loop {
            tokio::select! {
                answer = &mut run => return Some(answer),
                _ = tokio::signal::ctrl_c() => if !interrupt() { return None },
            }
        }
    });
    let Some(answer) = answer else { return Exit::Interrupted.into() };
    let shown =
        answer.and_then(|answer| Ok((render(answer.view.as_ref(), cli.global.output, look)?, answer.exit)));
    match shown {
        Ok((text, exit)) => {
            // A reader that went away, as `head` does, is no error.
            let _ = std::io::stdout().write_all(text.as_bytes());
            exit.into()
        }
        Err(error) => {
            if let Some(text) = refusal(&error, cli.global.output) {
                let _ = std::io::stdout().write_all(text.as_bytes());
            }
            tell(&error.to_string());
            error.exit().into()
        }
    }
}

/// Answers the shell in the middle of typing: nothing but the answer is shown, and nothing is ever an error.
fn complete(words: Vec<String>) -> ExitCode {
    std::panic::set_hook(Box::new(|_| std::process::exit(0)));
    let _ = std::io::stdout().write_all(commands::answer(words).as_bytes());
    ExitCode::SUCCESS
}

/// Says something beside the answer.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn look(color: Color) -> Look {
    let terminal = std::io::stdout().is_terminal();
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
    Look { width, color, ascii, wide: false }
}
