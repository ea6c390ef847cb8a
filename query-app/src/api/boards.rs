//! `GET /api/v1/boards`: which boards there are. `GET`, `PUT` and `DELETE /api/v1/boards/{name}`: one of them.
//!
//! A board is replaced or removed by who names the revision that they replace (`If-Match`), and made by
//! who says that there must be none (`If-None-Match: *`), as RFC 9110 has it.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use sensor_model::{BoardName, Token};
use serde_json::{Value, json};
use store_wire::message::{ErrorCode, Freshness};

use crate::api::ApiState;
use crate::api::access::{Access, Asking};
use crate::api::operation::{Answer, Body, Operation, faults};
use crate::api::parameters::{Parameters, freshness_headers, known};
use crate::api::problem::Problem;
use crate::board::Board;

pub(super) const LIST: Operation = Operation {
    method: "get",
    path: "/api/v1/boards",
    id: "boards",
    summary: "Which boards there are",
    access: Access::Read,
    parameters: &[&known::CONSISTENCY, &known::NODE, &known::TIMEOUT],
    body: None,
    answer: Answer::Fresh("BoardList"),
    faults: faults::READ_ONE,
};

pub(super) const SHOW: Operation = Operation {
    path: "/api/v1/boards/{name}",
    id: "board",
    summary: "A board; its revision is in the header `etag`",
    answer: Answer::Fresh("KeptBoard"),
    ..LIST
};

pub(super) const WRITE: Operation = Operation {
    method: "put",
    path: "/api/v1/boards/{name}",
    id: "writeBoard",
    summary: "Writes a board: a new one with `if-none-match: *`, else the revision that it replaces in `if-match`",
    access: Access::Write,
    parameters: &[],
    body: Some(Body {
        media: &["application/json"],
        schema: "Board",
    }),
    answer: Answer::Made("WrittenBoard"),
    faults: faults::WRITE_BOARD,
};

pub(super) const REMOVE: Operation = Operation {
    method: "delete",
    id: "removeBoard",
    summary: "Removes a board of the revision in `if-match`",
    body: None,
    answer: Answer::Json("Committed"),
    faults: faults::REMOVE_BOARD,
    ..WRITE
};

pub(super) async fn list(
    State(state): State<ApiState>,
    Asking(client): Asking,
    uri: Uri,
) -> Result<Response, Problem> {
    let terms = Parameters::parse(&uri, &LIST)?.terms(&state.terms)?;
    let answer = client.boards(&terms).await?;
    let boards = answer
        .boards
        .iter()
        .map(|board| json!({"name": board.name, "title": board.title, "revision": board.revision}));
    let document = json!({ "boards": boards.collect::<Vec<_>>() });
    Ok(fresh(document, &answer.freshness, answer.token))
}

pub(super) async fn show(
    State(state): State<ApiState>,
    Asking(client): Asking,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let terms = Parameters::parse(&uri, &SHOW)?.terms(&state.terms)?;
    let name = named(name)?;
    let answer = client.board(&name, &terms).await?;
    let document = json!({
        "name": name,
        "title": answer.board.title,
        "revision": answer.revision,
        "tiles": answer.board.tiles,
    });
    let mut response = fresh(document, &answer.freshness, answer.token);
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag(answer.revision));
    Ok(response)
}

pub(super) async fn write(
    State(state): State<ApiState>,
    Asking(client): Asking,
    Path(name): Path<String>,
    uri: Uri,
    request: Request,
) -> Result<Response, Problem> {
    Parameters::parse(&uri, &WRITE)?;
    let name = named(name)?;
    let expected = expected(request.headers())?;
    let body = super::body(&state, request, &["application/json"]).await?;
    let board = parse(&body)?;
    let token = client.write_board(&name, expected, &board, &state.terms);
    let token = token.await?;
    let document = json!({"name": name, "revision": token.index, "token": token.to_string()});
    let status = match expected {
        0 => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    let headers = [(header::ETAG, etag(token.index))];
    Ok((status, headers, committed(token), Json(document)).into_response())
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    Asking(client): Asking,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Parameters::parse(&uri, &REMOVE)?;
    let name = named(name)?;
    let expected = expected(&headers)?;
    if expected == 0 {
        let detail = "give if-match: \"REVISION\": what is not there cannot be removed";
        return Err(Problem::new(ErrorCode::BadRequest, detail));
    }
    let token = client.remove_board(&name, expected, &state.terms).await?;
    let document = json!({ "token": token.to_string() });
    Ok((committed(token), Json(document)).into_response())
}

/// A name in a path. One that no board can have is that of none.
fn named(name: String) -> Result<BoardName, Problem> {
    BoardName::new(name).map_err(|error| Problem::new(ErrorCode::BadRequest, error.to_string()))
}

fn parse(body: &[u8]) -> Result<Board, Problem> {
    let bad = |error: serde_json::Error| {
        let detail = format!("the body is not a board: {error}");
        Problem::new(ErrorCode::BadRequest, detail)
    };
    let document: Value = serde_json::from_slice(body).map_err(bad)?;
    // What is made for an object would take its fields as an array, too.
    let is_object = |value: &Value| value.is_object();
    let tiles = document.get("tiles").and_then(Value::as_array);
    if !is_object(&document) || !tiles.is_none_or(|tiles| tiles.iter().all(is_object)) {
        let detail = "the body is not a board: it and each of its tiles must be an object";
        return Err(Problem::new(ErrorCode::BadRequest, detail));
    }
    let board: Board = serde_json::from_value(document).map_err(bad)?;
    board.check()?;
    Ok(board)
}

/// The revision that a request expects; 0 where it expects none.
fn expected(headers: &HeaderMap) -> Result<u64, Problem> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (None, Some("*")) => Ok(0),
        (Some(tag), None) => revision(tag).ok_or_else(|| {
            // Of another form than ours it is surely not the one that the board has.
            let detail =
                format!("if-match: {tag} is not an etag of a board: give one, such as \"123\"");
            Problem::new(ErrorCode::Conflict, detail)
        }),
        (None, None) => Err(Problem::precondition_required()),
        _ => {
            let detail = "give either if-match: \"REVISION\" or if-none-match: *";
            Err(Problem::new(ErrorCode::BadRequest, detail))
        }
    }
}

fn revision(tag: &str) -> Option<u64> {
    let digits = tag.trim().strip_prefix('"')?.strip_suffix('"')?;
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .parse()
        .ok()
        .filter(|revision| is_plain && *revision > 0)
}

fn etag(revision: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{revision}\"")).expect("digits are legal in a header")
}

fn fresh(mut document: Value, freshness: &Freshness, token: Token) -> Response {
    document["replica"] = freshness.replica.into();
    document["applied"] = freshness.applied.index.into();
    document["age_ms"] = freshness.age_ms.into();
    document["token"] = token.to_string().into();
    (freshness_headers(freshness, token), Json(document)).into_response()
}

fn committed(token: Token) -> [(HeaderName, HeaderValue); 1] {
    let value = HeaderValue::from_str(&token.to_string());
    let value = value.expect("numbers and a dash are legal in a header");
    [(HeaderName::from_static("tidemark-token"), value)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(HeaderName, &'static str)]) -> Result<u64, &'static str> {
        let headers = pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        let headers: HeaderMap = headers.collect();
        expected(&headers).map_err(|problem| problem.code())
    }

    #[test]
    fn a_revision_is_expected_or_none_at_all() {
        let (tag, none) = (header::IF_MATCH, header::IF_NONE_MATCH);
        assert_eq!(asked(&[(tag.clone(), "\"7\"")]), Ok(7));
        assert_eq!(asked(&[(none.clone(), "*")]), Ok(0));
        assert_eq!(asked(&[]), Err("BAD_REQUEST"));
        for other in [
            "7",
            "*",
            "W/\"7\"",
            "\"0\"",
            "\"x\"",
            "\"+7\"",
            "\"1\", \"2\"",
        ] {
            assert_eq!(asked(&[(tag.clone(), other)]), Err("CONFLICT"), "{other}");
        }
        assert_eq!(asked(&[(none.clone(), "\"7\"")]), Err("BAD_REQUEST"));
        assert_eq!(asked(&[(tag, "\"7\""), (none, "*")]), Err("BAD_REQUEST"));
    }

    #[test]
    fn what_is_no_board_is_refused() {
        let code = |text: &str| parse(text.as_bytes()).err().map(|problem| problem.code());
        let tile = r#"{"match":"a/*","label":"A","unit":"Cel","low":1,"high":2.5,"trend":"6h"}"#;
        assert_eq!(code(&format!(r#"{{"title":"t","tiles":[{tile}]}}"#)), None);
        assert_eq!(code(r#"{"title":"t"}"#), None);
        for bad in [
            "[]",
            "x",
            r#"{"tiles":[]}"#,
            r#"{"title":"","tiles":[]}"#,
            r#"["t",[]]"#,
            r#"{"title":"t","tiles":[["a"]]}"#,
            r#"{"title":"t","tiles":[{}]}"#,
            r#"{"title":"t","tiles":[{"match":"a//b"}]}"#,
            r#"{"title":"t","tiles":[{"match":"a","low":"1"}]}"#,
            r#"{"title":"t","tiles":[{"match":"a","low":2,"high":1}]}"#,
            r#"{"title":"t","tiles":[{"match":"a","colour":"red"}]}"#,
            r#"{"title":"t","revision":7}"#,
        ] {
            assert_eq!(code(bad), Some("BAD_REQUEST"), "{bad}");
        }
    }
}
