//! docs/reference/flags.md, written from the command line's own definition. `LANDFALL_BLESS=1` writes it anew.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use crate::args::Args;

const HEAD: &str = "\
# Flags

Written from `landfall --help` by a test of the binary; do not edit. `LANDFALL_BLESS=1 cargo test -p landfall` writes it
anew. A flag on the command line goes before its environment name, and `LANDFALL_…` before MetalLB's name.
";

#[test]
fn the_reference_of_flags_is_that_of_the_binary() {
    super::is_up_to_date("flags.md", &text());
}

fn text() -> String {
    let mut text = HEAD.to_owned();
    let mut command = Args::command();
    command.build();
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        write_command(&mut text, "landfall", command);
    }
    text
}

/// A command and those below it.
fn write_command(text: &mut String, above: &str, command: &Command) {
    let name = format!("{above} {}", command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = write!(text, "\n## {name}\n\n{about}.\n");
    let shown = |arg: &&Arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version");
    let arguments: Vec<&Arg> = command.get_arguments().filter(shown).collect();
    if !arguments.is_empty() {
        write_arguments(text, &arguments);
    }
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        write_command(text, &name, command);
    }
}

fn write_arguments(text: &mut String, arguments: &[&Arg]) {
    text.push_str("\n| Flag | Environment | Default | Meaning |\n| --- | --- | --- | --- |\n");
    for argument in arguments {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            names(argument),
            argument.get_env().map(|name| format!("`{}`", name.display())).unwrap_or_default(),
            code(argument.get_default_values().iter().map(|value| value.to_string_lossy().into_owned())),
            meaning(argument),
        );
    }
}

fn names(argument: &Arg) -> String {
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    let values = argument.get_value_names().unwrap_or_default();
    let value = match argument.get_action().takes_values().then_some(values) {
        Some([value, ..]) if names.is_empty() => format!("{value}"),
        Some([value, ..]) => format!(" {value}"),
        Some([]) | None => String::new(),
    };
    format!("`{}{value}`", names.join(", "))
}

/// The help, with the values that are allowed where they are a closed set.
fn meaning(argument: &Arg) -> String {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
    let allowed = argument.get_possible_values();
    if !argument.get_action().takes_values() || allowed.is_empty() {
        return help;
    }
    let allowed =
        allowed.iter().filter(|value| !value.is_hide_set()).map(|value| value.get_name().to_owned());
    format!("{help}: {}", code(allowed))
}

fn code(values: impl Iterator<Item = String>) -> String {
    let values: Vec<String> =
        values.filter(|value| !value.is_empty()).map(|value| format!("`{value}`")).collect();
    values.join(", ")
}
