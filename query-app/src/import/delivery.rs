//! Imports one file: batch after batch, each until the leader has committed it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::{StreamExt, TryStreamExt, stream};
use segment_log::{Disk, DiskFile, OpenMode};
use sensor_model::{Kind, Pattern, SeriesPath, Token};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::gather::{Batches, PrepareError, Prepared};
use super::kinds::Survey;
use super::progress::{Identity, Progress, ProgressFile};
use super::source::{Source, SourceOptions};
use crate::cli::CommandError;
use crate::client::Client;
use crate::client::batch::Batch;
use crate::failure::Failure;
use crate::question::Terms;

/// Batches that are made while one is written.
const BATCHES_AHEAD: usize = 2;
/// Series that are looked up one by one; of more, all below their common path are asked for at once.
const LOOKUPS_MAX: usize = 64;
/// How many of them at a time.
const LOOKUPS_AT_ONCE: usize = 16;
/// The first and the longest wait before a batch is offered again.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// What a person is told meanwhile.
pub(crate) trait Watcher {
    /// How far the file has been read for its kinds, of how much.
    fn surveying(&mut self, done: u64, of: u64);
    /// How far the file is committed, of how much, and how many readings that were.
    fn writing(&mut self, done: u64, of: u64, readings: u64);
    /// Something to be said on a line.
    fn note(&mut self, text: &str);
}

/// One file to import.
pub(crate) struct Import<'a> {
    pub(crate) client: &'a Client,
    pub(crate) terms: Terms,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) path: &'a Path,
    pub(crate) options: SourceOptions,
    /// Where progress is kept, if not beside the file.
    pub(crate) progress: Option<&'a Path>,
    /// How long to wait for a store that takes nothing.
    pub(crate) patience: Duration,
}

/// What became of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Imported {
    /// Readings that are committed, and those of them that were before this run.
    pub(crate) readings: u64,
    pub(crate) readings_before: u64,
    /// Lines and values that could not be used, in all runs.
    pub(crate) unusable: u64,
    pub(crate) series: u64,
    pub(crate) elapsed: Duration,
    /// A read with this token sees all that this run wrote.
    pub(crate) token: Option<Token>,
}

impl Import<'_> {
    /// Imports the file, from where an earlier run came to. What was committed stays when the future is
    /// dropped, and is gone on from.
    pub(crate) async fn run(self, watcher: &mut dyn Watcher) -> Result<Imported, CommandError> {
        let started = Instant::now();
        let progress_file = ProgressFile::beside(self.path, self.progress);
        let earlier = progress_file.read(self.disk.as_ref())?;
        let (file, mut source) = self.open().await?;
        for reason in source.left_out() {
            let path = self.path.display();
            watcher.note(&format!("note: {path}: {reason}: it is left out"));
        }
        let first = source.position();
        let identity = self.identity(file.as_ref(), watcher).await?;
        let mut progress = match earlier {
            Some(earlier) if earlier.is_of(&identity) => {
                let (path, readings) = (self.path.display(), earlier.readings);
                watcher.note(&format!(
                    "note: going on with {path} behind {readings} readings that are committed"
                ));
                earlier
            }
            earlier => {
                if earlier.is_some() {
                    let path = progress_file.path().display();
                    watcher.note(&format!(
                        "note: {path} is the progress of another import (the file, the flags or the cluster have changed): beginning anew"
                    ));
                }
                Progress::begin(identity, first)
            }
        };
        let (before, resumed) = (progress.readings, progress.position);
        if self.options.kind.is_none() {
            source = survey(source, watcher).await?;
            self.settle_known(&mut source, watcher).await?;
        }
        source.seek(Some(resumed)).map_err(anyhow::Error::new)?;
        let series = source.series().entries().len() as u64;
        let length = source.length();
        watcher.writing(resumed.offset, length, progress.readings);
        let (sender, mut prepared) = mpsc::channel(BATCHES_AHEAD);
        let kind = self.options.kind;
        let reading =
            tokio::task::spawn_blocking(move || prepare(Batches::new(source, kind), &sender));
        let mut token = None;
        while let Some(next) = prepared.recv().await {
            self.tell_problems(&next, watcher);
            for batch in &next.batches {
                let committed = self.write(batch, watcher).await.map_err(|failure| {
                    let resume = format!(
                        "{failure} ({} readings of {} are committed: the same command goes on from there)",
                        progress.readings,
                        self.path.display()
                    );
                    Failure { message: resume, ..failure }
                })?;
                token = token.max(Some(committed));
            }
            progress.position = next.next;
            progress.readings += next.readings;
            progress.unusable += next.unusable;
            let kept = progress_file.write(self.disk.as_ref(), &progress);
            kept.with_context(|| {
                let path = progress_file.path().display();
                format!("cannot keep the progress in {path}: name another place with --progress")
            })?;
            watcher.writing(progress.position.offset, length, progress.readings);
        }
        let series = reading
            .await
            .map_err(anyhow::Error::new)?
            .map_err(anyhow::Error::new)?
            .max(series);
        progress_file.remove(self.disk.as_ref());
        if progress.readings == 0 && progress.position != first {
            let (path, unusable) = (self.path.display(), progress.unusable);
            return Err(CommandError::Other(anyhow::anyhow!(
                "there is no reading in {path}: {unusable} of its lines and values could not be used, the others are empty"
            )));
        }
        Ok(Imported {
            readings: progress.readings,
            readings_before: before,
            unusable: progress.unusable,
            series,
            elapsed: started.elapsed(),
            token,
        })
    }

    /// The file, and what it holds. Whatever has its name from now on, this is what is imported.
    async fn open(&self) -> Result<(Arc<dyn DiskFile>, Source), CommandError> {
        let file = self.disk.open(self.path, OpenMode::Read);
        let file = file.with_context(|| format!("cannot read {}", self.path.display()))?;
        let (opened, path) = (Arc::clone(&file), self.path.to_owned());
        let options = self.options.clone();
        let source = tokio::task::spawn_blocking(move || Source::of(opened, &path, &options));
        let source = source.await.map_err(anyhow::Error::new)?;
        Ok((file, source.map_err(anyhow::Error::new)?))
    }

    /// What this import is, to be told apart from others.
    async fn identity(
        &self,
        file: &dyn DiskFile,
        watcher: &mut dyn Watcher,
    ) -> Result<Identity, CommandError> {
        let reports = self
            .patiently(watcher, || self.client.cluster(&self.terms))
            .await?;
        let mut statuses = reports.iter().filter_map(|report| report.status());
        let cluster = statuses.find(|status| !status.cluster_id.is_empty());
        let cluster = cluster.map_or("", |status| &status.cluster_id);
        let identity = Identity::of(file, &self.options, cluster);
        Ok(identity.with_context(|| format!("cannot read {}", self.path.display()))?)
    }

    /// Gives the series that exist the kinds they have.
    async fn settle_known(
        &self,
        source: &mut Source,
        watcher: &mut dyn Watcher,
    ) -> Result<(), CommandError> {
        let entries = source.series_mut().entries_mut();
        if entries.len() > LOOKUPS_MAX {
            let pattern = common(entries.iter().map(|entry| &entry.description.path));
            let known = self
                .patiently(watcher, || self.client.series(&pattern, &self.terms))
                .await?;
            let known = known.series.iter().map(|info| &info.description);
            let kinds: HashMap<&SeriesPath, Kind> =
                known.map(|series| (&series.path, series.kind)).collect();
            for entry in entries {
                if let Some(kind) = kinds.get(&entry.description.path) {
                    entry.settle(*kind);
                }
            }
            return Ok(());
        }
        let paths: Vec<SeriesPath> = entries
            .iter()
            .map(|entry| entry.description.path.clone())
            .collect();
        let kinds = self
            .patiently(watcher, || async {
                let lookups =
                    stream::iter(&paths).map(|path| self.client.kind_of(path, &self.terms));
                let lookups = lookups.buffered(LOOKUPS_AT_ONCE);
                lookups.try_collect::<Vec<Option<Kind>>>().await
            })
            .await?;
        for (entry, kind) in entries.iter_mut().zip(kinds) {
            if let Some(kind) = kind {
                entry.settle(kind);
            }
        }
        Ok(())
    }

    async fn write(&self, batch: &Batch, watcher: &mut dyn Watcher) -> Result<Token, Failure> {
        // A batch that may have been committed is written again: it says the same.
        let written = self.patiently(watcher, || self.client.write_batch(batch, &self.terms));
        written.await
    }

    /// Does something until it succeeds, as long as waiting may help and patience lasts.
    async fn patiently<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        watcher: &mut dyn Watcher,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + self.patience;
        let mut wait = WAIT_MIN;
        let mut is_told = false;
        loop {
            let failure = match attempt().await {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let pause = failure.retry_after.map_or(wait, |told| told.max(wait));
            if !failure.code.is_retryable() || Instant::now() + pause > deadline {
                return Err(failure);
            }
            if !is_told && wait > WAIT_MIN {
                let patience = sensor_model::duration::format_duration(self.patience);
                watcher.note(&format!(
                    "note: waiting up to {patience} for the store: {failure}"
                ));
                is_told = true;
            }
            tokio::time::sleep(pause).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
    }

    fn tell_problems(&self, prepared: &Prepared, watcher: &mut dyn Watcher) {
        for problem in &prepared.problems {
            let column = problem.column.as_ref();
            let column = column.map_or_else(String::new, |name| format!(", column {name:?}"));
            let (path, line) = (self.path.display(), problem.line);
            watcher.note(&format!("{path}, line {line}{column}: {}", problem.reason));
        }
        let untold = prepared.unusable - prepared.problems.len() as u64;
        if untold > 0 {
            watcher.note(&format!(
                "… and {untold} more before line {}",
                prepared.next.line
            ));
        }
    }
}

/// Makes batches until there are no more or nobody takes them. Gives how many series there are.
fn prepare(mut batches: Batches, sender: &mpsc::Sender<Prepared>) -> Result<u64, PrepareError> {
    while let Some(prepared) = batches.next_batch()? {
        if sender.blocking_send(prepared).is_err() {
            break;
        }
    }
    Ok(batches.series())
}

/// Reads the whole file for what its series hold.
async fn survey(source: Source, watcher: &mut dyn Watcher) -> Result<Source, CommandError> {
    const STEPS_BETWEEN: u32 = 4_096;
    let length = source.length();
    let (sender, mut reached) = mpsc::channel(1);
    let work = move || {
        let mut source = source;
        let mut survey = Survey::default();
        let mut steps = 0_u32;
        while source.step(&mut survey)? {
            steps += 1;
            if steps.is_multiple_of(STEPS_BETWEEN) {
                // Where nobody looks, nothing is told.
                let _ = sender.try_send(source.position().offset);
                if sender.is_closed() {
                    break;
                }
            }
        }
        let is_wide = source.is_wide();
        survey.settle(source.series_mut().entries_mut(), is_wide);
        Ok::<_, super::source::SourceError>(source)
    };
    let surveyed = tokio::task::spawn_blocking(work);
    while let Some(done) = reached.recv().await {
        watcher.surveying(done, length);
    }
    let surveyed = surveyed.await.map_err(anyhow::Error::new)?;
    Ok(surveyed.map_err(anyhow::Error::new)?)
}

/// A pattern that matches all `paths`, and of others as few as a common beginning allows.
fn common<'a>(mut paths: impl Iterator<Item = &'a SeriesPath>) -> Pattern {
    let first = paths.next().map(SeriesPath::as_str).unwrap_or_default();
    let mut shared: Vec<&str> = first.split('/').collect();
    shared.pop();
    for path in paths {
        let same = shared.iter().zip(path.segments());
        let same = same.take_while(|(a, b)| *a == b).count();
        shared.truncate(same);
    }
    shared.push("**");
    Pattern::new(shared.join("/")).unwrap_or_else(|_| Pattern::everything())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_pattern_matches_all_and_stays_narrow() {
        let common_of = |paths: &[&str]| {
            let paths: Vec<SeriesPath> = paths
                .iter()
                .map(|path| SeriesPath::new(*path).unwrap())
                .collect();
            common(paths.iter()).as_str().to_owned()
        };
        assert_eq!(common_of(&["a/b/c", "a/b/d"]), "a/b/**");
        assert_eq!(common_of(&["a/b", "a/b/d"]), "a/**");
        assert_eq!(common_of(&["a", "b"]), "**");
        assert_eq!(common_of(&["a/b"]), "a/**");
    }
}
