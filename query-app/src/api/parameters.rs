//! What the routes have in common: query parameters ([`known`]), the form of the answer, freshness
//! headers.

pub(super) mod known;

use axum::extract::Query;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use sensor_model::{ByteSize, Token};
use store_wire::message::Freshness;

use crate::api::operation::Operation;
use crate::api::problem::Problem;
use crate::failure::UsageError;
use crate::format::Format;
use crate::format::time_text::TimeStyle;
use crate::question::{Terms, parse_count, parse_span};

/// The content type of an Arrow IPC stream, as it is registered.
pub(super) const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";
/// The content type of a Parquet file, as it is registered.
pub(super) const PARQUET: &str = "application/vnd.apache.parquet";

/// The query parameters of a request. None is unknown, none but those that may be is given twice, and
/// an empty one counts as not given.
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads the parameters of `uri`, which must be those of `operation`.
    pub(crate) fn parse(uri: &Uri, operation: &Operation) -> Result<Self, UsageError> {
        let known = operation.parameters;
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| UsageError::new("query", error.body_text()))?;
        for (position, (name, _)) in pairs.iter().enumerate() {
            let Some(known) = known.iter().find(|known| known.name == name) else {
                let names: Vec<&str> = known.iter().map(|known| known.name).collect();
                let reason = match names.is_empty() {
                    true => "unknown parameter: this takes none".to_owned(),
                    false => format!("unknown parameter: use {}", names.join(", ")),
                };
                return Err(UsageError::new(shortened(name), reason));
            };
            let mut earlier = pairs.iter().take(position);
            if !known.may_repeat && earlier.any(|(earlier, _)| earlier == name) {
                return Err(UsageError::new(name.as_str(), "given twice: give it once"));
            }
        }
        Ok(Self(pairs))
    }

    /// The value of `name`, if there is one.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The values of `name`, in their order.
    pub(crate) fn texts(&self, name: &str) -> Vec<&str> {
        let found = self.0.iter().filter(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
            .collect()
    }

    /// The terms asked for, with `default` for what is not said. A request cannot allow itself more
    /// time, rows or bytes than the service does.
    pub(crate) fn terms(&self, default: &Terms) -> Result<Terms, UsageError> {
        let mut terms = *default;
        if let Some(text) = self.text("consistency") {
            terms.consistency = text
                .parse()
                .map_err(|error| UsageError::new("consistency", error))?;
        }
        if let Some(text) = self.text("node") {
            let node = text
                .parse()
                .map_err(|_| UsageError::new("node", format!("{text:?} is not a node's id")))?;
            terms.node = Some(node);
        }
        if let Some(text) = self.text("timeout") {
            terms.timeout = parse_span("timeout", text)?.min(default.timeout);
        }
        if let Some(text) = self.text("max-rows") {
            let rows = parse_count("max-rows", text)?;
            terms.bounds.rows = Some(rows.min(default.bounds.rows.unwrap_or(rows)));
        }
        if let Some(text) = self.text("max-bytes") {
            let bytes: ByteSize = text
                .parse()
                .map_err(|error| UsageError::new("max-bytes", error))?;
            let ByteSize(bytes) = bytes;
            terms.bounds.bytes = Some(bytes.min(default.bounds.bytes.unwrap_or(bytes)));
        }
        Ok(terms)
    }

    /// How times are written.
    pub(crate) fn time_style(&self) -> Result<TimeStyle, UsageError> {
        self.text("time").unwrap_or("rfc3339").parse()
    }

    /// The form of the answer: `format` if given, else what `Accept` prefers, else JSON.
    pub(crate) fn format(&self, headers: &HeaderMap) -> Result<Format, Problem> {
        self.format_among(headers, &[Format::Json, Format::Csv, Format::Ndjson])
    }

    /// The same of an answer that has an Arrow form too.
    pub(crate) fn format_or_arrow(&self, headers: &HeaderMap) -> Result<Format, Problem> {
        let forms = [Format::Json, Format::Csv, Format::Ndjson, Format::Arrow];
        self.format_among(headers, &forms)
    }

    fn format_among(&self, headers: &HeaderMap, forms: &[Format]) -> Result<Format, Problem> {
        let Some(text) = self.text("format") else {
            return accepted(headers, forms);
        };
        let named = forms.iter().find(|form| name(**form) == text);
        named.copied().ok_or_else(|| {
            let names: Vec<&str> = forms.iter().map(|form| name(*form)).collect();
            let reason = format!("{text:?} is not a form: use {}", names.join(", "));
            UsageError::new("format", reason).into()
        })
    }
}

const fn name(form: Format) -> &'static str {
    match form {
        Format::Csv => "csv",
        Format::Ndjson => "ndjson",
        Format::Json => "json",
        Format::Table => "table",
        Format::Arrow => "arrow",
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(40).collect()
}

fn accepted(headers: &HeaderMap, forms: &[Format]) -> Result<Format, Problem> {
    let accept = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect::<Vec<_>>()
        .join(",");
    if accept.trim().is_empty() {
        return Ok(Format::Json);
    }
    let mut best: Option<(f32, Format)> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts
            .find_map(|part| part.strip_prefix("q="))
            .map_or(1.0, |quality| quality.parse().unwrap_or(0.0));
        let format = match media.as_str() {
            "application/json" | "application/*" | "*/*" => Format::Json,
            "text/csv" | "text/*" => Format::Csv,
            "application/x-ndjson" | "application/jsonl" => Format::Ndjson,
            ARROW_STREAM if forms.contains(&Format::Arrow) => Format::Arrow,
            _ => continue,
        };
        if quality > 0.0 && best.is_none_or(|(known, _)| quality > known) {
            best = Some((quality, format));
        }
    }
    match best {
        Some((_, format)) => Ok(format),
        None => Err(Problem::not_acceptable(&accept)),
    }
}

/// The content type of a form.
pub(crate) const fn content_type(format: Format) -> &'static str {
    match format {
        Format::Csv => "text/csv; charset=utf-8; header=present",
        Format::Ndjson => "application/x-ndjson",
        Format::Json => "application/json",
        Format::Table => "text/plain; charset=utf-8",
        Format::Arrow => ARROW_STREAM,
    }
}

/// Who answered, and how fresh: `tidemark-replica`, `-applied`, `-age-ms` (left out when unknown)
/// and `-token`.
pub(crate) fn freshness_headers(freshness: &Freshness, token: Token) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut add = |name: &'static str, text: String| {
        let value = HeaderValue::from_str(&text).expect("numbers and a dash are legal in a header");
        headers.insert(HeaderName::from_static(name), value);
    };
    add("tidemark-replica", freshness.replica.to_string());
    add("tidemark-applied", freshness.applied.index.to_string());
    if let Some(age_ms) = freshness.age_ms {
        add("tidemark-age-ms", age_ms.to_string());
    }
    add("tidemark-token", token.to_string());
    // An answer is as old as it says: what stands between must not keep it.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format_for(accept: &str) -> Option<Format> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
        accepted(&headers, &[Format::Json, Format::Csv, Format::Arrow]).ok()
    }

    #[test]
    fn accept_chooses_the_form_by_quality() {
        assert_eq!(format_for("text/csv"), Some(Format::Csv));
        assert_eq!(
            format_for("text/html,application/xhtml+xml,*/*;q=0.8"),
            Some(Format::Json)
        );
        assert_eq!(
            format_for("application/json;q=0.5, text/csv;q=0.9"),
            Some(Format::Csv)
        );
        assert_eq!(format_for("image/png"), None);
        assert_eq!(format_for("text/csv;q=0"), None);
        assert_eq!(accepted(&HeaderMap::new(), &[]).ok(), Some(Format::Json));
        assert_eq!(
            format_for("application/vnd.apache.arrow.stream"),
            Some(Format::Arrow)
        );
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(ARROW_STREAM));
        assert_eq!(accepted(&headers, &[Format::Json]).ok(), None);
    }

    #[test]
    fn unknown_and_repeated_parameters_are_refused_by_name() {
        use crate::api::{last::LAST, range::RANGE};
        let parse = |uri: &str, of| Parameters::parse(&uri.parse().unwrap(), of);
        assert_eq!(parse("/r?mtach=a", &LAST).err().unwrap().name, "mtach");
        assert_eq!(parse("/r?from=-1h", &LAST).err().unwrap().name, "from");
        let twice = "/r?match=a&match=b";
        assert_eq!(parse(twice, &LAST).err().unwrap().name, "match");
        assert_eq!(parse(twice, &RANGE).unwrap().texts("match"), ["a", "b"]);
        let parameters = parse("/r?match=a%2F**&from=", &RANGE).unwrap();
        assert_eq!(parameters.text("match"), Some("a/**"));
        assert_eq!(parameters.text("from"), None);
    }
}
