//! `POST /api/v1/readings`: writes a JSON array of `{path, timestamp, value, unit?, kind?}`.
//! `DELETE /api/v1/readings?match=&from=&to=`: deletes what the series that match have in the range.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use sensor_model::{Kind, SeriesPath, Timestamp, Token, Unit};
use serde::Deserialize;
use serde_json::value::RawValue;
use store_wire::message::ErrorCode;

use crate::api::ApiState;
use crate::api::access::{Access, Asking};
use crate::api::operation::{Answer, Body, Operation, faults};
use crate::api::parameters::{Parameters, known};
use crate::api::problem::Problem;
use crate::client::batch::{Literal, LooseReading};
use crate::failure::Failure;
use crate::format::Format;
use crate::format::committed::committed;
use crate::question::upkeep::DeleteQuestion;

pub(super) const WRITE: Operation = Operation {
    method: "post",
    path: "/api/v1/readings",
    id: "write",
    summary: "Writes readings: all of them or none",
    access: Access::Write,
    parameters: &[],
    body: Some(Body {
        media: &["application/json"],
        schema: "NewReadings",
    }),
    answer: Answer::Json("Written"),
    faults: faults::WRITE,
};

pub(super) const DELETE: Operation = Operation {
    method: "delete",
    path: "/api/v1/readings",
    id: "delete",
    summary: "Deletes what the series that match have in a range of time",
    access: Access::Delete,
    parameters: &[
        &known::MATCH,
        &known::FROM,
        &known::TO_REQUIRED,
        &known::TIMEOUT,
    ],
    body: None,
    answer: Answer::Json("Committed"),
    faults: faults::DELETE,
};

/// One reading as posted. Numbers are kept as text, so that none is rounded on the way.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Posted<'a> {
    path: SeriesPath,
    #[serde(borrow)]
    timestamp: &'a RawValue,
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(default)]
    unit: Unit,
    kind: Option<Kind>,
}

pub(super) async fn write(
    State(state): State<ApiState>,
    Asking(client): Asking,
    uri: Uri,
    request: Request,
) -> Result<Response, Problem> {
    Parameters::parse(&uri, &WRITE)?;
    let body = super::body(&state, request, &["application/json"]).await?;
    let readings = parse(&body, client.now())?;
    let written = client.write(readings, &state.terms).await?;
    Ok(answer(written.token, &[("written", written.readings)]))
}

pub(super) async fn delete(
    State(state): State<ApiState>,
    Asking(client): Asking,
    uri: Uri,
) -> Result<Response, Problem> {
    let parameters = Parameters::parse(&uri, &DELETE)?;
    let terms = parameters.terms(&state.terms)?;
    let DeleteQuestion { pattern, range } = DeleteQuestion::parse(
        parameters.text("match"),
        parameters.text("from"),
        parameters.text("to"),
        client.now(),
    )?;
    let token = client.delete(&pattern, range, &terms).await?;
    Ok(answer(token, &[]))
}

/// What was committed, its token in a header too.
fn answer(token: Token, counts: &[(&str, u64)]) -> Response {
    let body = committed(token, counts, Format::Json);
    let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    if let Ok(value) = HeaderValue::from_str(&token.to_string()) {
        let name = HeaderName::from_static("tidemark-token");
        response.headers_mut().insert(name, value);
    }
    response
}

fn parse(body: &[u8], now: Timestamp) -> Result<Vec<LooseReading>, Failure> {
    let bad = |message: String| Failure::new(ErrorCode::BadRequest, message);
    let posted: Vec<Posted<'_>> = serde_json::from_slice(body)
        .map_err(|error| bad(format!("the body is not an array of readings: {error}")))?;
    if posted.is_empty() {
        return Err(bad("the array of readings is empty".to_owned()));
    }
    posted
        .into_iter()
        .map(|reading| {
            let named = |reason: String| {
                let path = reading.path.as_str();
                bad(format!("series {path}: {reason}"))
            };
            Ok(LooseReading {
                timestamp: timestamp(reading.timestamp, now).map_err(named)?,
                literal: literal(reading.value).map_err(named)?,
                path: reading.path.clone(),
                unit: reading.unit,
                kind: reading.kind,
            })
        })
        .collect()
}

fn timestamp(raw: &RawValue, now: Timestamp) -> Result<Timestamp, String> {
    let refused = || {
        format!(
            "timestamp {} is neither a text nor a whole number",
            raw.get()
        )
    };
    let text: String = if raw.get().starts_with('"') {
        serde_json::from_str(raw.get()).map_err(|_| refused())?
    } else {
        let number: i64 = raw.get().parse().map_err(|_| refused())?;
        number.to_string()
    };
    Timestamp::parse(&text, now).map_err(|error| error.to_string())
}

fn literal(raw: &RawValue) -> Result<Literal, String> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str(text)
            .map(Literal::Text)
            .map_err(|error| error.to_string()),
        Some(b't') => Ok(Literal::Flag(true)),
        Some(b'f') => Ok(Literal::Flag(false)),
        Some(b'-' | b'0'..=b'9') => Ok(Literal::Number(text.to_owned())),
        _ => Err(format!(
            "value {} is neither a number, nor true or false, nor a text",
            text.chars().take(40).collect::<String>()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: &str) -> Result<Vec<LooseReading>, Failure> {
        parse(body.as_bytes(), Timestamp::from_nanos(0))
    }

    #[test]
    fn numbers_keep_their_exact_text() {
        let body = r#"[{"path":"a","timestamp":1763632800000000001,"value":9007199254740993}]"#;
        let readings = parsed(body).unwrap();
        assert_eq!(
            readings[0].literal,
            Literal::Number("9007199254740993".to_owned())
        );
        assert_eq!(readings[0].timestamp.as_nanos(), 1_763_632_800_000_000_001);
    }

    #[test]
    fn each_fault_is_named() {
        for (body, names) in [
            ("{}", "array of readings"),
            ("[]", "empty"),
            (r#"[{"path":"a//b","timestamp":0,"value":1}]"#, "a//b"),
            (r#"[{"path":"a","timestamp":0,"value":null}]"#, "series a"),
            (r#"[{"path":"a","timestamp":"noon","value":1}]"#, "noon"),
            (r#"[{"path":"a","timestamp":1.5,"value":1}]"#, "1.5"),
            (
                r#"[{"path":"a","timestamp":0,"value":1,"colour":2}]"#,
                "colour",
            ),
            (r#"[{"path":"a","value":1}]"#, "timestamp"),
            (r#"[{"path":"a","timestamp":0,"value":1}] x"#, "trailing"),
        ] {
            let failure = parsed(body).unwrap_err();
            assert_eq!(failure.code, ErrorCode::BadRequest);
            assert!(failure.message.contains(names), "{body} gave {failure}");
        }
    }
}
