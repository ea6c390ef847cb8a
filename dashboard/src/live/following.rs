//! Following what is committed, in the browser, while the page is live.
//!
//! An answer names the position up to which it is complete; from there on a tail (`assets/tail.js`)
//! gives each reading once, in the order of commits, and is resumed where it was after every
//! interruption. While it is away for longer than a moment the page asks once a second instead, and
//! each answer moves the position on, so nothing is missed and nothing comes twice.

use std::sync::Arc;
use std::time::Duration;

use leptos::prelude::*;
use send_wrapper::SendWrapper;
use wasm_bindgen::prelude::*;

use super::merge::{Merged, merge, note_latest, slide};
use super::{Feed, Link};
use crate::answers::Tailed;
use crate::clock;
use crate::plot::Drawing;
use crate::view_state::{Setting, ViewState, escape};

/// From how long after it was lost, in ms, the page asks in place of the tail.
const LOST_MS: f64 = 2_000.0;
/// How often, in ms, everything is asked for again although the tail gives what is new: deletes are not
/// in it.
const WHOLE_MS: f64 = 60_000.0;
/// The same where the range before is shown too, which no tail gives.
const VERSUS_MS: f64 = 5_000.0;
/// A bucket is asked for again when this part of it is new.
const BUCKET_SHARE: f64 = 1.0 / 60.0;
/// For how long, in ms, what came is kept: an answer may come from a replica that is a bit behind.
const KEPT_MS: f64 = 10_000.0;
/// How often, in ms, what came is drawn: often enough to be seen within a second of the commit.
const DRAW_MS: f64 = 450.0;

#[wasm_bindgen(module = "/assets/tail.js")]
extern "C" {
    type Tail;

    #[wasm_bindgen(constructor)]
    fn new(message: &Closure<dyn FnMut(String)>, state: &Closure<dyn FnMut(bool)>) -> Tail;

    #[wasm_bindgen(method)]
    fn follow(this: &Tail, query: &str, after: &str);

    #[wasm_bindgen(method)]
    fn passed(this: &Tail, after: &str);

    #[wasm_bindgen(method)]
    fn stop(this: &Tail);
}

/// What is followed. Copies share it.
#[derive(Clone, Copy)]
pub(super) struct Following {
    tail: StoredValue<Option<SendWrapper<Tail>>>,
    /// The selection that is followed; empty while nothing is.
    series: StoredValue<Vec<String>>,
    /// What came and is not drawn yet.
    pending: StoredValue<Vec<Tailed>>,
    /// What came lately, and when.
    recent: StoredValue<Vec<(f64, Vec<Tailed>)>>,
    drawn_ms: StoredValue<f64>,
    is_drawing: StoredValue<bool>,
    asked_ms: StoredValue<f64>,
    lost_ms: StoredValue<f64>,
    is_stale: StoredValue<bool>,
}

impl Following {
    pub(super) fn new() -> Self {
        Self {
            tail: StoredValue::new(None),
            series: StoredValue::new(Vec::new()),
            pending: StoredValue::new(Vec::new()),
            recent: StoredValue::new(Vec::new()),
            drawn_ms: StoredValue::new(0.0),
            is_drawing: StoredValue::new(false),
            asked_ms: StoredValue::new(0.0),
            lost_ms: StoredValue::new(0.0),
            is_stale: StoredValue::new(false),
        }
    }
}

impl Feed {
    /// Makes the tail, once; it lives as long as the page.
    pub(super) fn begin_following(self) {
        let message = Closure::new(move |text: String| self.take(&text));
        let state = Closure::new(move |is_open| self.linked(is_open));
        let tail = Tail::new(&message, &state);
        message.forget();
        state.forget();
        self.following.tail.set_value(Some(SendWrapper::new(tail)));
    }

    /// Adds what came lately to an answer, which may know less.
    pub(super) fn catch_up(self, drawing: &mut Drawing) {
        let following = self.following;
        if drawing.view.live
            && following
                .series
                .with_value(|series| *series == drawing.view.series)
        {
            following.recent.with_value(|recent| {
                for (_, tailed) in recent {
                    merge(drawing, tailed);
                }
            });
        }
    }

    /// Goes on from an answer that is complete up to `position`; stands still if the view does.
    pub(super) fn follow(self, view: &ViewState, position: &str) {
        let following = self.following;
        following.asked_ms.set_value(js_sys::Date::now());
        following.is_stale.set_value(false);
        following.tail.with_value(|tail| {
            let Some(tail) = tail else { return };
            if !view.live || position.is_empty() {
                following.series.set_value(Vec::new());
                self.link.set(Link::None);
                tail.stop();
            } else if following.series.with_value(|series| *series == view.series) {
                tail.passed(position);
            } else {
                following.series.set_value(view.series.clone());
                following.pending.set_value(Vec::new());
                following.recent.set_value(Vec::new());
                let query: Vec<String> = view
                    .series
                    .iter()
                    .map(|path| format!("match={}", escape(path)))
                    .collect();
                tail.follow(&query.join("&"), position);
            }
        });
    }

    /// Whether the view is live and everything has to be asked for again.
    pub(super) fn must_ask(self, view: &ViewState) -> bool {
        if !view.live {
            return false;
        }
        let following = self.following;
        let now = js_sys::Date::now();
        let since = |millis: StoredValue<f64>| now - millis.get_value();
        match self.link.get_untracked() {
            Link::None => true,
            Link::Lost => since(following.lost_ms) > LOST_MS,
            Link::Open => {
                let whole = match view.setting(Setting::Versus) {
                    "" => WHOLE_MS,
                    _ => VERSUS_MS,
                };
                let since = since(following.asked_ms);
                since > whole || (following.is_stale.get_value() && since > self.bucket_ms())
            }
        }
    }

    /// How often buckets are worth asking for again.
    fn bucket_ms(self) -> f64 {
        self.drawing.with_untracked(|drawing| {
            let series = drawing.iter().flat_map(|drawing| &drawing.series);
            let every = series.filter_map(|drawn| drawn.every).min();
            every.map_or(0.0, |every| every.as_secs_f64() * 1_000.0 * BUCKET_SHARE)
        })
    }

    fn linked(self, is_open: bool) {
        let link = if is_open { Link::Open } else { Link::Lost };
        if self.link.get_untracked() != link {
            self.following.lost_ms.set_value(js_sys::Date::now());
            self.link.set(link);
        }
    }

    /// Takes a message of the tail; draws it at once, if nothing was drawn just now.
    fn take(self, text: &str) {
        let Ok(tailed) = serde_json::from_str::<Vec<Tailed>>(text) else {
            return;
        };
        if tailed.iter().any(|reading| reading.path.is_some()) {
            self.following
                .pending
                .update_value(|pending| pending.extend(tailed));
            self.draw_soon();
        }
    }

    /// Draws what came: at once, or when what was drawn last has been seen for a moment.
    fn draw_soon(self) {
        let following = self.following;
        if following.is_drawing.get_value() {
            return;
        }
        following.is_drawing.set_value(true);
        let since = js_sys::Date::now() - following.drawn_ms.get_value();
        let wait = Duration::from_secs_f64((DRAW_MS - since).clamp(0.0, DRAW_MS) / 1_000.0);
        set_timeout(
            move || {
                following.is_drawing.set_value(false);
                self.draw_pending();
            },
            wait,
        );
    }

    /// Draws what came, and moves a live view on, if somebody looks.
    pub(super) fn draw_pending(self) {
        let following = self.following;
        let ms = js_sys::Date::now();
        if document().hidden() {
            return;
        }
        let view = self.view.get_untracked();
        let is_followed = view.live && following.series.with_value(|series| *series == view.series);
        if !is_followed || self.link.get_untracked() == Link::None {
            return;
        }
        following.drawn_ms.set_value(ms);
        let now = clock::now();
        self.now.set(now);
        let tailed = following
            .pending
            .try_update_value(std::mem::take)
            .unwrap_or_default();
        if !tailed.is_empty() {
            self.latest.update(|latest| note_latest(latest, &tailed));
        }
        following.recent.update_value(|recent| {
            recent.retain(|(at, _)| ms - at < KEPT_MS);
            recent.push((ms, tailed.clone()));
        });
        let range = view.range(now, self.known_range(&view));
        let (Ok(range), Some(drawing)) = (range, self.drawing.get_untracked()) else {
            return;
        };
        // A drawing of another view is about to be replaced, and what is not seen need not be drawn.
        let pixel =
            (range.to.as_nanos() - range.from.as_nanos()) / i64::from(self.width.get_untracked());
        let moved = range.to.as_nanos() - drawing.range.to.as_nanos();
        if drawing.view != view || (tailed.is_empty() && moved < pixel / 2) {
            return;
        }
        let mut drawing: Drawing = (*drawing).clone();
        if merge(&mut drawing, &tailed) == Merged::Stale {
            following.is_stale.set_value(true);
        }
        slide(&mut drawing, range, now);
        self.drawing.set(Some(Arc::new(drawing)));
    }
}
