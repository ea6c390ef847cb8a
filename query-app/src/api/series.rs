//! `GET /api/v1/series`: which series there are.
//! `POST /api/v1/series`: opens a series. `PATCH /api/v1/series/{path}`: changes unit and attributes.

use std::collections::BTreeMap;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use sensor_model::{DescriptionChange, Kind, SeriesPath, Unit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use store_wire::message::ErrorCode;

use crate::api::ApiState;
use crate::api::access::{Access, Asking};
use crate::api::operation::{Answer, Body, Operation, faults};
use crate::api::parameters::{Parameters, content_type, freshness_headers, known};
use crate::api::problem::Problem;
use crate::client::describe::Described;
use crate::format::{Format, lists};
use crate::question::parse_pattern;

pub(super) const LIST: Operation = Operation {
    method: "get",
    path: "/api/v1/series",
    id: "series",
    summary: "Which series there are, and what is known of them",
    access: Access::Read,
    parameters: &[
        &known::MATCH_ANY,
        &known::FORMAT,
        &known::TIME,
        &known::CONSISTENCY,
        &known::NODE,
        &known::TIMEOUT,
    ],
    body: None,
    answer: Answer::Rows {
        json: "SeriesList",
        line: "Series",
        has_arrow: false,
    },
    faults: faults::READ,
};

pub(super) const CREATE: Operation = Operation {
    method: "post",
    path: "/api/v1/series",
    id: "createSeries",
    summary: "Opens a series; one that exists gets the unit and attributes that are named",
    access: Access::Write,
    parameters: &[],
    body: Some(Body {
        media: &["application/json"],
        schema: "NewSeries",
    }),
    answer: Answer::Made("Described"),
    faults: faults::WRITE,
};

pub(super) const CHANGE: Operation = Operation {
    method: "patch",
    path: "/api/v1/series/{path}",
    id: "changeSeries",
    summary: "Changes unit and attributes of a series: a merge patch (RFC 7396), where null takes away",
    parameters: &[],
    body: Some(Body {
        media: MERGE_PATCH,
        schema: "SeriesChange",
    }),
    answer: Answer::Json("Described"),
    ..CREATE
};

const MERGE_PATCH: &[&str] = &["application/merge-patch+json", "application/json"];

pub(super) async fn list(
    State(state): State<ApiState>,
    Asking(client): Asking,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let parameters = Parameters::parse(&uri, &LIST)?;
    let pattern = parse_pattern(Some(parameters.text("match").unwrap_or("**")))?;
    let terms = parameters.terms(&state.terms)?;
    let style = parameters.time_style()?;
    let format = parameters.format(&headers)?;
    let answer = client.series(&pattern, &terms).await?;
    let body = lists::series(&answer, format, style);
    let content = [(header::CONTENT_TYPE, content_type(format))];
    Ok((
        content,
        freshness_headers(&answer.freshness, answer.token),
        body,
    )
        .into_response())
}

/// A series as posted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSeries {
    path: SeriesPath,
    kind: Kind,
    unit: Option<Unit>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

/// A merge patch of a series.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(default, deserialize_with = "unit_or_none")]
    unit: Option<Unit>,
    #[serde(default)]
    attributes: BTreeMap<String, Option<String>>,
}

/// A unit; the empty one for `null`.
fn unit_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Unit>, D::Error> {
    Option::<Unit>::deserialize(deserializer).map(|unit| Some(unit.unwrap_or_default()))
}

/// Reads a JSON object. What is made for one would take its fields as an array, too.
fn object<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    let fields = serde_json::from_slice(body)?;
    serde_json::from_value(serde_json::Value::Object(fields))
}

pub(super) async fn create(
    State(state): State<ApiState>,
    Asking(client): Asking,
    uri: Uri,
    request: Request,
) -> Result<Response, Problem> {
    Parameters::parse(&uri, &CREATE)?;
    let body = super::body(&state, request, &["application/json"]).await?;
    let series: NewSeries = object(&body).map_err(|error| bad(&error))?;
    let attributes = series.attributes.into_iter();
    let change = DescriptionChange {
        unit: series.unit,
        attributes: attributes.map(|(key, value)| (key, Some(value))).collect(),
    };
    let (path, kind) = (&series.path, Some(series.kind));
    let described = client.describe(path, kind, &change, &state.terms).await?;
    let status = match described.is_new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok((status, answer(&described)).into_response())
}

pub(super) async fn change(
    State(state): State<ApiState>,
    Asking(client): Asking,
    Path(path): Path<String>,
    uri: Uri,
    request: Request,
) -> Result<Response, Problem> {
    Parameters::parse(&uri, &CHANGE)?;
    let path = SeriesPath::new(path)
        .map_err(|error| Problem::new(ErrorCode::BadRequest, error.to_string()))?;
    let body = super::body(&state, request, MERGE_PATCH).await?;
    let Change { unit, attributes } = object(&body).map_err(|error| bad(&error))?;
    let change = DescriptionChange { unit, attributes };
    let described = client.describe(&path, None, &change, &state.terms).await?;
    Ok(answer(&described).into_response())
}

fn bad(error: &serde_json::Error) -> Problem {
    let detail = format!("the body does not say what a series is: {error}");
    Problem::new(ErrorCode::BadRequest, detail)
}

fn answer(described: &Described) -> impl IntoResponse + use<> {
    let mut headers = HeaderMap::new();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    if let Ok(token) = HeaderValue::from_str(&described.token.to_string()) {
        headers.insert(HeaderName::from_static("tidemark-token"), token);
    }
    (headers, lists::described(described, Format::Json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_leaves_what_it_does_not_name_and_takes_away_what_is_null() {
        let change = |text: &str| object::<Change>(text.as_bytes()).unwrap();
        assert_eq!(change("{}").unit, None);
        assert_eq!(change(r#"{"unit":null}"#).unit, Some(Unit::default()));
        let unit = change(r#"{"unit":"Cel"}"#).unit.unwrap();
        assert_eq!(unit.as_str(), "Cel");
        let attributes = change(r#"{"attributes":{"a":null,"b":"1"}}"#).attributes;
        assert_eq!(attributes["a"], None);
        assert_eq!(attributes["b"].as_deref(), Some("1"));
        for bad in [
            "[]",
            r#"{"kind":"f64"}"#,
            r#"{"unit":1}"#,
            r#"{"attributes":{"a":1}}"#,
        ] {
            assert!(object::<Change>(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
