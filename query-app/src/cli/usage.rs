//! Wrong usage, said on one line.

use clap::error::ErrorKind;

use crate::failure::UsageError;

/// Prints what the parser has to say: help to stdout, an error as one line to stderr. Gives
/// the exit code.
pub(crate) fn report(error: &clap::Error) -> u8 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that has gone needs no help.
            let _ = error.print();
            0
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            eprintln!(
                "error: no command given: use range, last, series, tail, top, put, delete, export, import, retention, status, cluster, token, repl or serve (`query-app --help` explains them)"
            );
            2
        }
        _ => {
            eprintln!("{}", one_line(&error.render().to_string()));
            2
        }
    }
}

/// A parameter as the command line names it: `match` is `PATTERN`, the others are flags.
pub(crate) fn named_as_flag(error: &UsageError) -> String {
    match error.name.as_str() {
        "match" => format!("PATTERN: {}", error.reason),
        name if name.chars().all(|c| c.is_ascii_uppercase()) => format!("{name}: {}", error.reason),
        name => format!("--{name}: {}", error.reason),
    }
}

/// The parser's message and its tips, without the usage that `--help` shows better.
fn one_line(rendered: &str) -> String {
    rendered
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_several_lines_becomes_one_with_its_tip() {
        let rendered = "error: unexpected argument '--form' found\n\n  tip: a similar argument exists: '--from'\n\nUsage: query-app range\n\nFor more information, try '--help'.\n";
        assert_eq!(
            one_line(rendered),
            "error: unexpected argument '--form' found tip: a similar argument exists: '--from'"
        );
    }
}
