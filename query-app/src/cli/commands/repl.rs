//! `repl`: the same commands at a prompt, or from a script on standard input.

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::io::{self, BufRead, IsTerminal as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, FromArgMatches as _};
use reedline::{
    ColumnarMenu, Completer, CompletionResult, Emacs, FileBackedHistory, KeyCode, KeyModifiers,
    MenuBuilder as _, Prompt, PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent,
    ReedlineMenu, Signal, Span, Suggestion, default_emacs_keybindings,
};

use crate::cli::{Asked, Cli, CommandError, Context, paths, usage};
use crate::failure::UsageError;

/// Lines that are kept.
const HISTORY_LINES: usize = 10_000;
const MENU: &str = "completion_menu";
const WORDS: &str = "Commands as on the command line, without `query-app`; Tab completes, Ctrl-C ends a \
                     command, Ctrl-D or `exit` the prompt.";

/// Arguments of `repl`: none of its own.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  query-app repl
  query-app repl < questions.txt

At the prompt: the commands as on the command line, without `query-app`; their flags hold for one line,
those of `repl` itself for all. Tab completes commands, flags and paths; Ctrl-C ends the command that
runs, Ctrl-D or `exit` the prompt. Lines are kept in $XDG_STATE_HOME/tidemark/history.
From a script each line is a command; # begins a comment; the exit code is that of the worst.")]
pub(crate) struct ReplArgs {}

pub(crate) async fn run(context: Context<'_>) -> Result<(), CommandError> {
    if io::stdin().is_terminal() {
        at_prompt(context).await
    } else {
        from_script(context).await
    }
}

async fn at_prompt(mut context: Context<'_>) -> Result<(), CommandError> {
    paths::ask(context.client);
    let mut editor = editor(&mut context);
    context.output.note(WORDS);
    loop {
        // The completion asks the store meanwhile.
        let read = tokio::task::block_in_place(|| editor.read_line(&Marker));
        match read.context("the terminal cannot be read")? {
            Signal::Success(line) => match words_of(&line) {
                Ok(words) if is_end(&words) => return Ok(()),
                words => {
                    // A line is kept at once, whatever becomes of the program; at worst for this run alone.
                    let _ = editor.sync_history();
                    if matches!(execute(words, &mut context).await, Ended::Closed) {
                        return Ok(());
                    }
                }
            },
            Signal::CtrlD => return Ok(()),
            _ => {}
        }
    }
}

/// Runs each line, whatever became of those before, until one is interrupted or nobody reads the results.
async fn from_script(mut context: Context<'_>) -> Result<(), CommandError> {
    let mut worst = 0;
    loop {
        let line = tokio::task::block_in_place(|| {
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line).map(|_| line)
        });
        let line = line.context("standard input cannot be read")?;
        let words = words_of(&line);
        if line.is_empty() || words.as_ref().is_ok_and(|words| is_end(words)) {
            break;
        }
        match execute(words, &mut context).await {
            Ended::With(code) => worst = worst.max(code),
            Ended::Closed => break,
            Ended::Interrupted => return Err(CommandError::Told { code: 1 }),
        }
    }
    match worst {
        0 => Ok(()),
        code => Err(CommandError::Told { code }),
    }
}

/// How a line ended. What went wrong was told.
enum Ended {
    /// With an exit code.
    With(u8),
    /// By Ctrl-C.
    Interrupted,
    /// The reader of the results has gone, and with it the sense of further lines.
    Closed,
}

/// Runs one line and tells what went wrong. Ctrl-C ends it.
async fn execute(words: Result<Vec<String>, CommandError>, context: &mut Context<'_>) -> Ended {
    let ended = match words {
        Ok(words) if words.is_empty() => Ok(()),
        Ok(words) => tokio::select! {
            ended = execute_words(words, context) => ended,
            _ = tokio::signal::ctrl_c() => {
                // The terminal has shown ^C where the cursor was.
                context.output.note("\ninterrupted");
                return Ended::Interrupted;
            }
        },
        Err(error) => Err(error),
    };
    match &ended {
        Err(CommandError::Closed) => return Ended::Closed,
        Ok(()) | Err(CommandError::Told { .. }) => {}
        Err(error) => context.output.error(error),
    }
    Ended::With(ended.map_or_else(|error| error.exit_code(), |()| 0))
}

async fn execute_words(words: Vec<String>, context: &mut Context<'_>) -> Result<(), CommandError> {
    let matches = Cli::command()
        .no_binary_name(true)
        .try_get_matches_from(words);
    let parsed = matches.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            return match usage::report(&error) {
                0 => Ok(()),
                code => Err(CommandError::Told { code }),
            };
        }
    };
    let asked = cli.command.checked()?;
    if matches!(asked, Asked::Repl | Asked::Serve(_)) {
        let reason = "not at the prompt: run it on its own";
        return Err(UsageError::new("COMMAND", reason).into());
    }
    let (terms, format) = cli.common.over(&matches, (context.terms, context.format))?;
    asked.check_format(format)?;
    let context = Context {
        client: context.client,
        terms,
        format,
        output: &mut *context.output,
    };
    // A line may hold any command, so the future is as large as all of them.
    Box::pin(asked.run(context)).await
}

fn is_end(words: &[String]) -> bool {
    matches!(words, [only] if only == "exit" || only == "quit")
}

/// The words of a line, quoted as in a shell.
fn words_of(line: &str) -> Result<Vec<String>, CommandError> {
    let words = shlex::split(line.trim());
    words.ok_or_else(|| UsageError::new("LINE", "a quote is not closed").into())
}

/// An editor with history and completion; without history, and saying so, where it cannot be kept.
fn editor(context: &mut Context<'_>) -> Reedline {
    let mut keys = default_emacs_keybindings();
    let complete = vec![
        ReedlineEvent::Menu(MENU.to_owned()),
        ReedlineEvent::MenuNext,
    ];
    keys.add_binding(
        KeyModifiers::NONE,
        KeyCode::Tab,
        ReedlineEvent::UntilFound(complete),
    );
    let menu = ColumnarMenu::default().with_name(MENU);
    let editor = Reedline::create()
        .with_completer(Box::new(CommandCompleter))
        .with_partial_completions(true)
        .with_quick_completions(true)
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        .with_edit_mode(Box::new(Emacs::new(keys)));
    let history = history_path()
        .context("neither XDG_STATE_HOME nor HOME is set")
        .and_then(|path| open_history(&path));
    match history {
        Ok(history) => editor.with_history(Box::new(history)),
        Err(error) => {
            context
                .output
                .note(&format!("note: lines are not kept: {error:#}"));
            editor
        }
    }
}

/// `$XDG_STATE_HOME/tidemark/history`, where a relative one counts as not set.
fn history_path() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let state = folder("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("tidemark/history"))
}

/// The history, which its owner alone may read: a line may hold what is nobody else's business.
fn open_history(path: &Path) -> anyhow::Result<FileBackedHistory> {
    let named = || format!("cannot keep {}", path.display());
    if let Some(folder) = path.parent() {
        let mut builder = std::fs::DirBuilder::new();
        let builder = builder.recursive(true).mode(0o700);
        builder.create(folder).with_context(named)?;
    }
    let mut options = OpenOptions::new();
    let options = options.append(true).create(true).mode(0o600);
    let file = options.open(path).with_context(named)?;
    let private = std::fs::Permissions::from_mode(0o600);
    file.set_permissions(private).with_context(named)?;
    FileBackedHistory::with_file(HISTORY_LINES, path.to_owned()).with_context(named)
}

/// Completes the word before the cursor: commands, flags, their values, and paths.
struct CommandCompleter;

impl Completer for CommandCompleter {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let (begin, word) = word_before(line, pos);
        let earlier = shlex::split(&line[..begin]).unwrap_or_default();
        let mut words = vec!["query-app".into()];
        words.extend(earlier.into_iter().map(Into::into));
        words.push(word.trim_start_matches(['\'', '"']).into());
        let at = words.len() - 1;
        let found = clap_complete::engine::complete(&mut Cli::command(), words, at, None);
        let suggestions = found
            .unwrap_or_default()
            .into_iter()
            .filter_map(|candidate| {
                let value = candidate.get_value().to_str()?.to_owned();
                Some(Suggestion {
                    append_whitespace: !value.ends_with('/'),
                    description: candidate.get_help().map(ToString::to_string),
                    span: Span::new(begin, pos),
                    value,
                    ..Suggestion::default()
                })
            });
        CompletionResult::fresh(suggestions.collect::<Vec<_>>())
    }
}

/// Where the word before `pos` begins, and the word.
fn word_before(line: &str, pos: usize) -> (usize, &str) {
    let before = &line[..pos];
    let begin = before.rfind(char::is_whitespace);
    let begin = begin.map_or(0, |at| {
        at + before[at..].chars().next().map_or(1, char::len_utf8)
    });
    (begin, &before[begin..])
}

/// `tidemark> `
struct Marker;

impl Prompt for Marker {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed("tidemark")
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("… ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("(search: {}) ", search.term))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_before_the_cursor_is_what_is_completed() {
        assert_eq!(word_before("last plant/l --desc", 12), (5, "plant/l"));
        assert_eq!(word_before("last ", 5), (5, ""));
        assert_eq!(word_before("la", 2), (0, "la"));
    }

    #[test]
    fn the_history_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/tidemark/history");
        open_history(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        open_history(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn commands_and_flags_are_completed() {
        let values = |line: &str| {
            let found = CommandCompleter.complete(line, line.len());
            let found = found.suggestions().iter().map(|s| s.value.clone());
            found.collect::<Vec<_>>()
        };
        assert_eq!(values("ra"), ["range"]);
        assert_eq!(values("range a --ever"), ["--every"]);
        assert_eq!(values("last a --format nd"), ["ndjson"]);
    }
}
