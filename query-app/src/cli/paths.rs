//! Series paths as a shell or the prompt completes them.
//!
//! A path is completed folder by folder: as far as the next `/` where several follow. Nothing is offered
//! behind a wildcard, and nothing when no store answers soon: a prompt must not hang.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use sensor_model::{Consistency, Pattern, SeriesPath};
use tokio::time::Instant;

use crate::client::Client;
use crate::client::targets::Targets;
use crate::question::Terms;

/// How long a store may take to say which series there are.
const PATIENCE: Duration = Duration::from_millis(800);
/// How long the prompt takes what it was told for true.
const FRESH: Duration = Duration::from_secs(5);
/// Most candidates that are offered.
const CANDIDATES_MAX: usize = 200;

/// The client of the prompt, and what it was told last. A shell's own process has none.
static SESSION: Mutex<Option<Session>> = Mutex::new(None);

struct Session {
    client: Client,
    /// The folder that was asked for, when, and the paths in it.
    told: Option<(Pattern, Instant, Vec<SeriesPath>)>,
}

/// The prompt asks `client` from now on.
pub(crate) fn ask(client: &Client) {
    *session() = Some(Session {
        client: client.clone(),
        told: None,
    });
}

/// Completes an argument that is a path or a pattern.
pub(crate) fn completer() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let Some(begun) = current.to_str() else {
            return Vec::new();
        };
        let candidates = candidates(begun, &known(begun).unwrap_or_default());
        candidates
            .into_iter()
            .map(CompletionCandidate::new)
            .collect()
    })
}

fn session() -> std::sync::MutexGuard<'static, Option<Session>> {
    // It is replaced as a whole.
    SESSION.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The paths in the folder that `begun` is in; `None` where they cannot be known.
fn known(begun: &str) -> Option<Vec<SeriesPath>> {
    let folder = begun.rfind('/').map_or("", |end| &begun[..=end]);
    let pattern = Pattern::new(format!("{folder}**")).ok()?;
    if begun.contains('*') {
        return None;
    }
    let told = session()
        .as_ref()
        .map(|session| (session.client.clone(), session.told.clone()));
    match told {
        Some((_, Some((of, at, paths)))) if of == pattern && at.elapsed() < FRESH => Some(paths),
        Some((client, _)) => {
            let handle = tokio::runtime::Handle::try_current().ok()?;
            let paths = handle.block_on(series(&client, &pattern))?;
            if let Some(session) = session().as_mut() {
                session.told = Some((pattern, Instant::now(), paths.clone()));
            }
            Some(paths)
        }
        None => {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().ok()?;
            runtime.block_on(async {
                let arguments: Vec<String> = std::env::args().collect();
                let targets = flag(&arguments, "target", "TIDEMARK_TARGET");
                let targets = targets.unwrap_or_else(|| "127.0.0.1:7400".to_owned());
                let identity = flag(&arguments, "identity", "TIDEMARK_IDENTITY")?;
                let targets = Targets::parse(&targets).ok()?;
                let client = Client::over_quic(identity.as_ref(), targets).ok()?;
                series(&client, &pattern).await
            })
        }
    }
}

async fn series(client: &Client, pattern: &Pattern) -> Option<Vec<SeriesPath>> {
    let terms = Terms {
        consistency: Consistency::Any,
        timeout: PATIENCE,
        ..Terms::default()
    };
    let answer = tokio::time::timeout(PATIENCE, client.series(pattern, &terms));
    let answer = answer.await.ok()?.ok()?;
    let series = answer.series.into_iter();
    Some(series.map(|info| info.description.path).collect())
}

/// The value of a flag among the words of a line, or that of its variable.
fn flag(words: &[String], name: &str, variable: &str) -> Option<String> {
    let (long, with_value) = (format!("--{name}"), format!("--{name}="));
    let follows = words
        .windows(2)
        .find(|pair| pair[0] == long)
        .map(|pair| pair[1].clone());
    let joined = || words.iter().find_map(|word| word.strip_prefix(&with_value));
    follows
        .or_else(|| joined().map(str::to_owned))
        .or_else(|| std::env::var(variable).ok())
}

/// What may follow `begun`: the paths that begin so, each up to the next `/`.
fn candidates(begun: &str, paths: &[SeriesPath]) -> Vec<String> {
    let mut from = begun.len();
    loop {
        let matching = paths.iter().map(SeriesPath::as_str);
        let matching = matching.filter(|path| path.starts_with(begun));
        let cut = |path: &str| match path[from..].find('/') {
            Some(end) => path[..=from + end].to_owned(),
            None => path.to_owned(),
        };
        let found: BTreeSet<String> = matching
            .filter(|path| path.len() >= from)
            .map(cut)
            .collect();
        match found.first() {
            // Where there is one way only, it is gone further.
            Some(only) if found.len() == 1 && only.ends_with('/') => from = only.len(),
            _ => return found.into_iter().take(CANDIDATES_MAX).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_completed_folder_by_folder() {
        let paths: Vec<SeriesPath> = [
            "plant/line-1/a",
            "plant/line-1/b",
            "plant/line-2/a",
            "host/cpu",
        ]
        .into_iter()
        .map(|path| SeriesPath::new(path).unwrap())
        .collect();
        assert_eq!(candidates("", &paths), ["host/", "plant/"]);
        assert_eq!(candidates("h", &paths), ["host/cpu"]);
        assert_eq!(candidates("p", &paths), ["plant/line-1/", "plant/line-2/"]);
        assert_eq!(
            candidates("plant/line-1/", &paths),
            ["plant/line-1/a", "plant/line-1/b"]
        );
        assert_eq!(candidates("q", &paths), Vec::<String>::new());
    }

    #[test]
    fn a_flag_is_found_in_either_form() {
        let words: Vec<String> = ["--target", "a", "--identity=b"].map(str::to_owned).into();
        assert_eq!(
            flag(&words, "target", "TIDEMARK_NONE").as_deref(),
            Some("a")
        );
        assert_eq!(
            flag(&words, "identity", "TIDEMARK_NONE").as_deref(),
            Some("b")
        );
        assert_eq!(flag(&words, "other", "TIDEMARK_NONE"), None);
    }
}
