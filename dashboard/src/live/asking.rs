//! Asking, in the browser: when, what, and what becomes of the answers.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join, join_all};
use leptos::prelude::*;
use leptos::task::spawn_local;
use sensor_model::duration::parse_duration;
use sensor_model::{Kind, TimeRange, Timestamp};

use super::{Feed, Link};
use crate::answers::{Catalog, CatalogEntry, LastAnswer, LastReading, Problem, RangeAnswer};
use crate::api::{self, CATALOG_ADDRESS, CLUSTER_ADDRESS, last_address};
use crate::plan::{self, Rows};
use crate::plot::{Drawing, Drawn, Source};
use crate::view_state::{Setting, ViewState};
use crate::{clock, tree, zone};

/// How often a live page asks again.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// How far beyond now a live page asks: what is committed while the answer is on its way is in it, or
/// is followed after it, though its time is later than that of the question.
const AHEAD: Duration = Duration::from_secs(60);
/// Every how many refreshes the latest readings are asked for although a tail brings them.
const LATEST_REFRESHES: u32 = 10;
/// Every how many refreshes the nodes are asked how they are.
const CLUSTER_REFRESHES: u32 = 2;
/// Every how many refreshes the tree looks for new series.
const CATALOG_REFRESHES: u32 = 15;

/// What is being asked. Copies share it.
#[derive(Clone, Copy)]
pub(super) struct Asking {
    question: StoredValue<Option<Question>>,
    is_latest_asked: StoredValue<bool>,
    refreshes: StoredValue<u32>,
}

#[derive(Debug, Clone, PartialEq)]
struct Question {
    view: ViewState,
    width: u32,
}

impl Asking {
    pub(super) fn new() -> Self {
        Self {
            question: StoredValue::new(None),
            is_latest_asked: StoredValue::new(false),
            refreshes: StoredValue::new(0),
        }
    }

    fn is_about(self, question: &Question) -> bool {
        self.question
            .with_value(|asked| asked.as_ref() == Some(question))
    }
}

impl Feed {
    /// Begins to ask.
    pub fn start(self) {
        Effect::new(move |_| {
            self.view.track();
            self.width.track();
            self.ask();
            self.ask_latest();
        });
        Effect::new(move |_| {
            self.begin_following();
            let ticking = set_interval_with_handle(move || self.tick(), REFRESH_INTERVAL);
            if let Ok(ticking) = ticking {
                on_cleanup(move || ticking.clear());
            }
        });
    }

    fn tick(self) {
        self.now.set(clock::now());
        if document().hidden() {
            return;
        }
        self.draw_pending();
        let refreshes = self.asking.refreshes.get_value().wrapping_add(1);
        self.asking.refreshes.set_value(refreshes);
        if self.view.with_untracked(|view| self.must_ask(view))
            || self.trouble.get_untracked().is_some()
        {
            self.ask();
        }
        // An open tail has brought them.
        if self.link.get_untracked() != Link::Open || refreshes.is_multiple_of(LATEST_REFRESHES) {
            self.ask_latest();
        }
        if refreshes.is_multiple_of(CLUSTER_REFRESHES) {
            self.ask_cluster();
        }
        if refreshes.is_multiple_of(CATALOG_REFRESHES)
            || self.catalog_problem.get_untracked().is_some()
        {
            self.ask_catalog();
        }
    }

    fn ask(self) {
        let view = self.view.get_untracked();
        zone::set_zone(view.setting(Setting::Zone));
        let now = clock::now();
        let range = view.range(now, self.known_range(&view));
        let (false, Ok(range)) = (view.series.is_empty(), range) else {
            self.asking.question.set_value(None);
            self.trouble.set(None);
            if view.series.is_empty() {
                self.drawing.set(None);
            }
            self.follow(&view, "");
            return;
        };
        let question = Question {
            width: self.width.get_untracked(),
            view,
        };
        if self.asking.is_about(&question) {
            return;
        }
        self.asking.question.set_value(Some(question.clone()));
        let catalog = self.catalog.get_untracked();
        spawn_local(async move {
            let outcome = draw(&question, range, &catalog).await;
            if !self.asking.is_about(&question) {
                return;
            }
            self.asking.question.set_value(None);
            match outcome {
                Ok((mut drawing, position)) => {
                    self.trouble.set(None);
                    self.catch_up(&mut drawing);
                    self.drawing.set(Some(Arc::new(drawing)));
                    self.follow(&question.view, &position);
                }
                Err(problem) => self.trouble.set(Some(problem)),
            }
        });
    }

    fn ask_latest(self) {
        let series = self.view.with_untracked(|view| view.series.clone());
        if series.is_empty() || self.asking.is_latest_asked.get_value() {
            return;
        }
        self.asking.is_latest_asked.set_value(true);
        spawn_local(async move {
            let readings = latest(&series).await;
            self.asking.is_latest_asked.set_value(false);
            // Nothing at all is what a store that does not answer gives: what was known stays.
            if !readings.is_empty() {
                self.latest.set(readings);
            }
            let is_asked = self.view.with_untracked(|view| view.series == series);
            if !is_asked {
                self.ask_latest();
            }
        });
    }

    fn ask_cluster(self) {
        spawn_local(async move {
            let cluster = api::get(CLUSTER_ADDRESS).await;
            // A live page may not have asked for anything else in a while.
            if let Err(problem) = &cluster
                && problem.code == Problem::UNREACHABLE
            {
                self.trouble.set(Some(problem.clone()));
            }
            self.cluster.set(cluster);
        });
    }

    fn ask_catalog(self) {
        spawn_local(async move {
            match catalog().await {
                Ok(catalog) => {
                    self.catalog_problem.set(None);
                    if *self.catalog.read_untracked().as_ref() != catalog {
                        self.catalog.set(Arc::new(catalog));
                    }
                }
                Err(problem) => self.catalog_problem.set(Some(problem)),
            }
        });
    }
}

/// Asks for every series of the question at once. Gives the position, too, up to which all of the
/// answers are complete; empty if nothing was answered.
///
/// A series that is not there, or may not be read, is part of the drawing; when the store cannot
/// answer, there is no drawing.
async fn draw(
    question: &Question,
    range: TimeRange,
    catalog: &Catalog,
) -> Result<(Drawing, String), Problem> {
    let series = &question.view.series;
    let shift = shift(range, &question.view);
    let answers = series.iter().map(async |path| {
        let asked = ask_series(path, catalog.entry(path), range, question);
        let before = async {
            let earlier = TimeRange {
                from: range.from.saturating_sub(shift?),
                to: range.to.saturating_sub(shift?),
            };
            ask_series(path, catalog.entry(path), earlier, question)
                .await
                .ok()
        };
        join(asked, before).await
    });
    let mut drawing = Drawing {
        view: question.view.clone(),
        range,
        series: Vec::with_capacity(series.len()),
        source: None,
        at: Timestamp::default(),
        shift,
    };
    let mut position: Option<(u64, String)> = None;
    for (place, (path, (answer, before))) in series.iter().zip(join_all(answers).await).enumerate()
    {
        let mut drawn = Drawn {
            path: path.clone(),
            place,
            answer: Err(Problem::new(
                "NOT_FOUND",
                "there is no series of this name: choose another from the tree",
            )),
            every: None,
            before: before
                .and_then(|(_, mut answer)| answer.series.pop())
                .filter(|series| series.kind != Kind::Text)
                .map(Arc::new),
            truncated: false,
        };
        match answer {
            Ok((rows, mut answer)) => {
                drawing.source = Some(staler(drawing.source, &answer));
                // The token is of the answer's end: what was committed while it was made may be
                // missing in it. What the replica had applied when it began is not.
                if let Some((shard, _)) = answer.token.split_once('-')
                    && position
                        .as_ref()
                        .is_none_or(|least| answer.applied < least.0)
                {
                    position = Some((answer.applied, format!("{shard}-{}", answer.applied)));
                }
                drawn.truncated = answer.truncated;
                drawn.every = match rows {
                    Rows::Readings => None,
                    Rows::Buckets { every } => Some(every),
                };
                if let Some(series) = answer.series.pop() {
                    drawn.answer = Ok(Arc::new(series));
                }
            }
            Err(problem) if problem.is_about_the_question() => drawn.answer = Err(problem),
            Err(problem) => return Err(problem),
        }
        drawing.series.push(drawn);
    }
    drawing.at = clock::now();
    let position = position.map(|(_, text)| text).unwrap_or_default();
    Ok((drawing, position))
}

/// How much earlier the range is that the view is compared with, if it is.
fn shift(range: TimeRange, view: &ViewState) -> Option<Duration> {
    match view.setting(Setting::Versus) {
        "" => None,
        "prev" => {
            let span = range.to.as_nanos().saturating_sub(range.from.as_nanos());
            Some(Duration::from_nanos(u64::try_from(span).ok()?))
        }
        other => parse_duration(other).ok(),
    }
}

/// Of the replicas that answered, the one that was least fresh: what it had not seen may be missing.
fn staler(known: Option<Source>, answer: &RangeAnswer) -> Source {
    let age = |source: &Source| source.age_ms.unwrap_or(u64::MAX);
    let source = Source {
        replica: answer.replica,
        applied: answer.applied,
        age_ms: answer.age_ms,
    };
    match known {
        Some(known) if age(&known) > age(&source) => known,
        _ => source,
    }
}

async fn ask_series(
    path: &str,
    entry: Option<&CatalogEntry>,
    range: TimeRange,
    Question { view, width }: &Question,
) -> Result<(Rows, RangeAnswer), Problem> {
    if let Err(error) = sensor_model::SeriesPath::new(path) {
        return Err(Problem::new("BAD_REQUEST", error.to_string()));
    }
    let aggregates = plan::aggregates(entry.map(|entry| entry.kind), view);
    let mut rows = plan::rows(entry, range, *width, view);
    let asked = TimeRange {
        to: if view.live {
            range.to.saturating_add(AHEAD)
        } else {
            range.to
        },
        ..range
    };
    loop {
        let mut answer: RangeAnswer =
            api::get(&plan::address(path, asked, rows, aggregates)).await?;
        let is_text = answer.series.iter().all(|series| series.kind == Kind::Text);
        if rows == Rows::Readings && answer.truncated && !is_text {
            rows = plan::buckets(range, *width, view);
            continue;
        }
        if rows != Rows::Readings {
            let series = answer.series.iter_mut();
            series.for_each(|series| series.settle(aggregates));
        }
        return Ok((rows, answer));
    }
}

async fn catalog() -> Result<Catalog, Problem> {
    let mut catalog: Catalog = api::get(CATALOG_ADDRESS).await?;
    tree::sort(&mut catalog.series);
    Ok(catalog)
}

/// The latest reading of each of `selected`; series without one are left out.
async fn latest(selected: &[String]) -> Vec<LastReading> {
    let asked = selected.iter().map(async |path| {
        let answer: Result<LastAnswer, _> = api::get(&last_address(path)).await;
        answer.map(|answer| answer.readings).unwrap_or_default()
    });
    join_all(asked).await.concat()
}
