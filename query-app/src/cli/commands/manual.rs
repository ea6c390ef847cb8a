//! `completions` and `man`: what a shell and `man` need to know of the commands. No store is asked.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, ValueEnum, ValueHint};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use segment_log::{Disk, OpenMode, OsDisk};

use crate::cli::output::Output;
use crate::cli::{Cli, CommandError};

/// The name of this program.
const NAME: &str = "query-app";

/// The script registers its function, which zsh calls from the second completion on.
const ZSH_FIRST: &str = r#"
# Loaded from $fpath by the first completion, which is answered as well.
if [[ "$funcstack[1]" == "_query-app" ]]; then
    _clap_dynamic_completer_query_app "$@"
fi
"#;

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  query-app completions bash > ~/.local/share/bash-completion/completions/query-app
  query-app completions zsh > ~/.zfunc/_query-app
  query-app completions fish > ~/.config/fish/completions/query-app.fish

Completes commands, flags and, where --target and --identity are set (or TIDEMARK_TARGET and
TIDEMARK_IDENTITY), the paths of series. Print it again after an update.")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  query-app man --out ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Folder to write the pages to, one a command
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: PathBuf,
}

impl CompletionsArgs {
    pub(crate) fn run(&self, output: &mut Output) -> Result<(), CommandError> {
        let shell: &dyn EnvCompleter = match self.shell {
            Shell::Bash => &Bash,
            Shell::Zsh => &Zsh,
            Shell::Fish => &Fish,
        };
        let mut script = Vec::new();
        shell
            .write_registration("COMPLETE", NAME, NAME, NAME, &mut script)
            .context("cannot make the script")?;
        if matches!(self.shell, Shell::Zsh) {
            script.extend_from_slice(ZSH_FIRST.as_bytes());
        }
        output.write(&script)
    }
}

impl ManArgs {
    pub(crate) fn run(&self, output: &mut Output) -> Result<(), CommandError> {
        let pages = write_pages(&OsDisk, Cli::command(), &self.out);
        let pages = pages.with_context(|| format!("cannot write to {}", self.out.display()))?;
        output.write(format!("{pages} pages in {}\n", self.out.display()).as_bytes())
    }
}

/// Writes a page for `command` and one for each of its subcommands. Gives how many.
fn write_pages(disk: &dyn Disk, command: clap::Command, folder: &Path) -> std::io::Result<usize> {
    disk.create_dir_all(folder)?;
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut waiting = vec![(NAME.to_owned(), command)];
    let mut pages = 0;
    while let Some((name, command)) = waiting.pop() {
        let inner = command
            .get_subcommands()
            .filter(|inner| !inner.is_hide_set());
        waiting.extend(inner.map(|inner| (format!("{name}-{}", inner.get_name()), inner.clone())));
        let mut page = Vec::new();
        clap_mangen::Man::new(command.display_name(&name))
            .title(&name)
            .render(&mut page)?;
        let file = disk.open(&folder.join(format!("{name}.1")), OpenMode::Create)?;
        file.write_all_at(&page, 0)?;
        pages += 1;
    }
    Ok(pages)
}
