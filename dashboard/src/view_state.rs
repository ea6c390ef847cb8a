//! What the page shows, as the URL holds it: `?series=a/b/c&series=…&from=-15m&to=now&live=1`, and
//! the reader's [`Setting`]s, such as `&tz=local`.
//!
//! Whoever is given the address sees the same page. Nothing here asks a store.

use sensor_model::{TimeRange, Timestamp};

/// Most series that are shown at a time.
pub const SERIES_MAX: usize = 24;

/// How many colours there are for series; the next ones have them again, dashed.
pub const COLOURS: usize = 8;

/// The time range that starts with a selected series' first reading.
pub const FROM_ALL: &str = "all";

const FROM_DEFAULT: &str = "-15m";
const TO_DEFAULT: &str = "now";

/// What the page shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ViewState {
    /// Paths of the selected series, in the order they were chosen. At most [`SERIES_MAX`], none twice.
    pub series: Vec<String>,
    /// Where the range begins, as a person writes a time, or [`FROM_ALL`].
    pub from: String,
    /// Where the range ends.
    pub to: String,
    /// Whether the page follows what is committed.
    pub live: bool,
    /// The reader's choices, each as the address has it; empty where none was made.
    settings: [String; SETTINGS.len()],
}

/// A choice of the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// Which aggregate of each bucket is drawn; unless chosen, the mean within the band of all readings.
    Aggregate,
    /// Width of a bucket; unless chosen, as many as there are pixels for.
    Bucket,
    /// Which series share a chart: `unit` those of one unit, `each` none; unless chosen, two units.
    Layout,
    /// What the range is compared with: `prev` for the time just before it, or a duration.
    Versus,
    /// The time zone: `local` or a name; unless chosen, UTC.
    Zone,
}

/// The names of the [`Setting`]s in the address, in their order.
const SETTINGS: [&str; 5] = ["agg", "every", "charts", "vs", "tz"];

impl Default for ViewState {
    /// Nothing selected, the last quarter of an hour, live.
    fn default() -> Self {
        Self {
            series: Vec::new(),
            from: FROM_DEFAULT.to_owned(),
            to: TO_DEFAULT.to_owned(),
            live: true,
            settings: Default::default(),
        }
    }
}

impl ViewState {
    /// The state that a query string stands for, with or without its question mark.
    pub fn parse(query: &str) -> Self {
        let mut series = Vec::new();
        let (mut from, mut to, mut live) = (None, None, None);
        let mut settings: [String; SETTINGS.len()] = Default::default();
        for pair in query.trim_start_matches('?').split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = unescape(value);
            match name {
                "series" => series.push(value),
                "from" => from = Some(value),
                "to" => to = Some(value),
                "live" => live = Some(value),
                other => {
                    if let Some(place) = SETTINGS.iter().position(|setting| *setting == other) {
                        settings[place] = value;
                    }
                }
            }
        }
        Self {
            settings,
            ..Self::from_query(series, from, to, live)
        }
    }

    /// The state that the values of a query string stand for; what is missing has its default, what
    /// is too much is left out. Texts that are no times are kept, to be shown with what is wrong.
    fn from_query(
        series: impl IntoIterator<Item = String>,
        from: Option<String>,
        to: Option<String>,
        live: Option<String>,
    ) -> Self {
        let mut state = Self::default();
        for path in series {
            if !path.is_empty() && state.series.len() < SERIES_MAX && !state.series.contains(&path)
            {
                state.series.push(path);
            }
        }
        let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let live_default = match (given(from), given(to)) {
            (None, None) => true,
            (from, to) => {
                state.from = from.unwrap_or(state.from);
                state.to = to.unwrap_or(state.to);
                false
            }
        };
        state.live = live.map_or(live_default, |live| live == "1");
        state
    }

    /// The query string, without its question mark.
    pub fn to_query(&self) -> String {
        let mut query = String::new();
        for path in &self.series {
            query.push_str("series=");
            query.push_str(&escape(path));
            query.push('&');
        }
        query.push_str("from=");
        query.push_str(&escape(&self.from));
        query.push_str("&to=");
        query.push_str(&escape(&self.to));
        query.push_str(if self.live { "&live=1" } else { "&live=0" });
        for (name, value) in self.chosen() {
            query.push_str(&format!("&{name}={}", escape(value)));
        }
        query
    }

    /// The reader's choice; empty when none was made.
    pub fn setting(&self, setting: Setting) -> &str {
        &self.settings[setting as usize]
    }

    /// The choices that were made, with their names in the address.
    pub fn chosen(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let chosen = SETTINGS.into_iter().zip(self.settings.iter());
        chosen
            .map(|(name, value)| (name, value.as_str()))
            .filter(|(_, value)| !value.is_empty())
    }

    /// The document's title: the last segments of what is shown.
    pub fn title(&self) -> String {
        let names: Vec<&str> = self
            .series
            .iter()
            .filter_map(|path| path.rsplit('/').next())
            .collect();
        if names.is_empty() {
            "Tidemark".to_owned()
        } else {
            format!("{} · Tidemark", names.join(", "))
        }
    }

    /// The page's address with this state.
    pub fn to_href(&self) -> String {
        format!("/?{}", self.to_query())
    }

    /// This state with `path` selected if it was not, and not selected if it was.
    #[must_use]
    pub fn toggled(&self, path: &str) -> Self {
        let mut state = self.clone();
        match state.series.iter().position(|selected| selected == path) {
            Some(position) => {
                state.series.remove(position);
            }
            None if state.series.len() < SERIES_MAX => state.series.push(path.to_owned()),
            None => {}
        }
        state
    }

    /// This state with these series selected too, as many as there is room for.
    #[must_use]
    pub fn with_series<'a>(&self, paths: impl Iterator<Item = &'a str>) -> Self {
        let mut state = self.clone();
        for path in paths {
            if state.series.len() < SERIES_MAX && !state.series.iter().any(|other| other == path) {
                state.series.push(path.to_owned());
            }
        }
        state
    }

    /// This state over another range.
    #[must_use]
    pub fn with_range(&self, from: &str, to: &str, live: bool) -> Self {
        Self {
            from: from.to_owned(),
            to: to.to_owned(),
            live,
            ..self.clone()
        }
    }

    /// Whether the end of the range moves with the clock.
    pub fn follows_now(&self) -> bool {
        self.to.trim() == TO_DEFAULT
    }

    /// The range in absolute times. `known` is the time from the first to the last reading of the
    /// selected series, where that is known.
    ///
    /// # Errors
    /// What is wrong with the texts, for a person.
    pub fn range(&self, now: Timestamp, known: Option<TimeRange>) -> Result<TimeRange, String> {
        if self.from.trim() == FROM_ALL {
            return Ok(known.unwrap_or(TimeRange {
                from: now.saturating_sub(std::time::Duration::from_secs(900)),
                to: now,
            }));
        }
        let from = Timestamp::parse(&self.from, now).map_err(|error| error.to_string())?;
        let to = Timestamp::parse(&self.to, now).map_err(|error| error.to_string())?;
        TimeRange::new(from, to).map_err(|error| error.to_string())
    }
}

/// Writes `text` as a value of a query string. Paths and relative times stay readable.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/:*,".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// Reads a value of a query string. What is no escape stays as it is.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high * 16 + low);
                rest = &after[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_nanos(1_763_632_800_000_000_000);

    fn state(
        series: &[&str],
        from: Option<&str>,
        to: Option<&str>,
        live: Option<&str>,
    ) -> ViewState {
        ViewState::from_query(
            series.iter().map(|path| (*path).to_owned()),
            from.map(str::to_owned),
            to.map(str::to_owned),
            live.map(str::to_owned),
        )
    }

    #[test]
    fn an_empty_address_is_the_last_quarter_of_an_hour_live() {
        assert_eq!(state(&[], None, None, None), ViewState::default());
    }

    #[test]
    fn a_given_range_is_live_only_when_it_says_so() {
        assert!(!state(&[], Some("-1h"), None, None).live);
        assert!(state(&[], Some("-1h"), None, Some("1")).live);
        assert!(!state(&[], None, None, Some("0")).live);
    }

    #[test]
    fn the_query_string_keeps_paths_and_relative_times_readable() {
        let state = state(
            &["plant/line-1/press_2.a"],
            Some("-15m"),
            Some("now"),
            Some("1"),
        );
        assert_eq!(
            state.to_query(),
            "series=plant/line-1/press_2.a&from=-15m&to=now&live=1"
        );
    }

    #[test]
    fn a_query_string_reads_back_to_the_same_state() {
        let state = state(
            &["plant/line-1", "a b/c&d=é%", "+"],
            Some("now-1h"),
            Some("now+5m"),
            Some("1"),
        );
        assert_eq!(ViewState::parse(&state.to_query()), state);
        assert_eq!(ViewState::parse(""), ViewState::default());
        assert_eq!(
            ViewState::parse("?series=a+b&series=%zz%4").series,
            ["a b", "%zz%4"]
        );
    }

    #[test]
    fn what_a_url_reserves_is_escaped() {
        assert_eq!(escape("now+5m & é"), "now%2B5m%20%26%20%C3%A9");
    }

    #[test]
    fn a_series_is_selected_once_and_only_so_many() {
        let many: Vec<String> = (0..60).map(|number| format!("a/{}", number % 30)).collect();
        let state = ViewState::from_query(many, None, None, None);
        assert_eq!(state.series.len(), SERIES_MAX);
        assert_eq!(state.toggled("b").series.len(), SERIES_MAX);
        assert_eq!(state.toggled("a/0").series.len(), SERIES_MAX - 1);
    }

    #[test]
    fn settings_are_in_the_address_only_when_they_were_made() {
        let state = ViewState::parse("?series=a&tz=Europe/Berlin&agg=p95&nonsense=1");
        assert_eq!(state.setting(Setting::Zone), "Europe/Berlin");
        assert_eq!(state.setting(Setting::Aggregate), "p95");
        assert_eq!(state.setting(Setting::Versus), "");
        assert_eq!(
            state.with_range("-1h", "now", false).to_query(),
            "series=a&from=-1h&to=now&live=0&agg=p95&tz=Europe/Berlin"
        );
    }

    #[test]
    fn series_are_added_once_and_up_to_the_bound() {
        let many: Vec<String> = (0..SERIES_MAX + 1)
            .map(|number| number.to_string())
            .collect();
        let state = ViewState::default().toggled("0");
        let state = state.with_series(many.iter().map(String::as_str));
        assert_eq!(state.series, many[..SERIES_MAX]);
    }

    #[test]
    fn a_reversed_range_and_a_wrong_time_say_what_is_wrong() {
        let reversed = state(&[], Some("now"), Some("-1h"), None).range(NOW, None);
        assert!(reversed.unwrap_err().contains("reversed"));
        let wrong = state(&[], Some("yesterday"), None, None).range(NOW, None);
        assert!(wrong.unwrap_err().contains("\"yesterday\" is not a time"));
    }

    #[test]
    fn all_is_the_time_of_the_selected_series() {
        let known = TimeRange {
            from: Timestamp::from_nanos(5),
            to: Timestamp::from_nanos(9),
        };
        let all = state(&[], Some(FROM_ALL), None, None);
        assert_eq!(all.range(NOW, Some(known)), Ok(known));
    }
}
