//! The OpenAPI document, made of the operations that are routed, and a page to try them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use serde_json::{Map, Value, json};

use crate::api::access::{Access, Door};
use crate::api::operation::{Answer, Fault, Operation, Parameter, faults};
use crate::api::parameters::ARROW_STREAM;
use crate::api::{ApiState, routes};

pub(super) const DOCUMENT: Operation = Operation {
    method: "get",
    path: "/api/v1/openapi.json",
    id: "openapi",
    summary: "This document",
    access: Access::Open,
    parameters: &[],
    body: None,
    answer: Answer::Json("OpenApi"),
    faults: &[],
};

pub(super) const PAGE: Operation = Operation {
    path: "/api/v1/docs",
    id: "docs",
    summary: "A page to read this document and to try it",
    answer: Answer::Page,
    ..DOCUMENT
};

/// What the page may load: itself and this API.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                           connect-src 'self'; base-uri 'none'; form-action 'none'";

pub(super) async fn document(State(state): State<ApiState>) -> Json<Value> {
    let operations: Vec<&Operation> = routes().iter().map(|(operation, _)| *operation).collect();
    Json(made_of(&operations, matches!(state.door, Door::Tokens(_))))
}

pub(super) async fn page() -> impl IntoResponse {
    let policy = [(header::CONTENT_SECURITY_POLICY, PAGE_POLICY)];
    (policy, Html(include_str!("openapi/docs.html")))
}

/// The document of a service that does or does not ask for tokens.
fn made_of(operations: &[&Operation], asks_for_tokens: bool) -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut codes: BTreeMap<(u16, &str), &str> = BTreeMap::new();
    for operation in operations {
        codes.extend(
            operation
                .faults()
                .map(|fault| ((fault.status, fault.code), fault.about)),
        );
        let path = paths.entry(operation.path).or_default();
        let said = said_of(operation, asks_for_tokens);
        path.insert(operation.method.to_owned(), said);
    }
    let no_method = &faults::NO_METHOD;
    codes.insert((no_method.status, no_method.code), no_method.about);
    let codes: Vec<Value> = codes
        .iter()
        .map(|((status, code), about)| json!({"status": status, "code": code, "about": about}))
        .collect();
    let schemas: Value =
        serde_json::from_str(include_str!("openapi/schemas.json")).expect("a test reads this file");
    let mut components = json!({ "schemas": schemas });
    if asks_for_tokens {
        components["securitySchemes"] = json!({"token": {"type": "http", "scheme": "bearer"}});
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidemark",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Sensor readings: asked for, written, deleted. Every error is a problem \
                            document (RFC 9457) with a stable `code`; `x-problem-codes` lists them.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": components,
        "x-problem-codes": codes,
    })
}

fn said_of(operation: &Operation, asks_for_tokens: bool) -> Value {
    let mut parameters: Vec<Value> = operation.parameters.iter().map(|p| parameter(p)).collect();
    if operation.path.ends_with("{path}") {
        parameters.push(json!({
            "name": "path", "in": "path", "required": true,
            "description": "The path of the series; its slashes may be written as they are, or as %2F",
            "schema": {"$ref": "#/components/schemas/Path"},
        }));
    }
    if operation.path.ends_with("{name}") {
        parameters.push(json!({
            "name": "name", "in": "path", "required": true,
            "description": "The name of the board",
            "schema": {"$ref": "#/components/schemas/BoardName"},
        }));
        let condition = |name: &str, about: &str, schema: Value| json!({"name": name, "in": "header", "required": false, "description": about, "schema": schema});
        if operation.method != "get" {
            let tag = json!({"type": "string", "examples": ["\"123\""]});
            parameters.push(condition(
                "if-match",
                "The `etag` of the board that is replaced or removed",
                tag,
            ));
        }
        if operation.method == "put" {
            let none = json!({"type": "string", "enum": ["*"]});
            parameters.push(condition(
                "if-none-match",
                "That there must be no such board",
                none,
            ));
        }
    }
    let mut said = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "responses": responses(operation),
    });
    if !parameters.is_empty() {
        said["parameters"] = parameters.into();
    }
    if let Some(body) = &operation.body {
        let schema = reference(body.schema);
        let content: Map<String, Value> = body
            .media
            .iter()
            .map(|media| ((*media).to_owned(), json!({"schema": schema})))
            .collect();
        said["requestBody"] = json!({"required": true, "content": content});
    }
    if asks_for_tokens && operation.access != Access::Open {
        let verb = operation.access.as_str();
        said["security"] = json!([{"token": []}]);
        said["description"] = format!("For tokens with a scope to {verb}.").into();
    }
    said
}

fn parameter(parameter: &Parameter) -> Value {
    let schema: Value = serde_json::from_str(parameter.schema).expect("a test reads every schema");
    let mut said = json!({
        "name": parameter.name,
        "in": "query",
        "description": parameter.about,
        "required": parameter.is_required,
        "schema": schema,
    });
    if parameter.may_repeat {
        said["schema"] = json!({"type": "array", "items": schema, "minItems": 1});
        said["style"] = "form".into();
        said["explode"] = true.into();
    }
    said
}

fn responses(operation: &Operation) -> Map<String, Value> {
    let mut responses = Map::new();
    let json = |schema: &str| json!({"application/json": {"schema": reference(schema)}});
    let text = |media: &str| json!({media: {"schema": {"type": "string"}}});
    let (content, headers) = match operation.answer {
        Answer::Rows {
            json: whole,
            line,
            has_arrow,
        } => {
            let mut content = json(whole);
            content["text/csv"] = json!({"schema": {"type": "string"}});
            let of_lines = format!("A document a line, each: {line}");
            content["application/x-ndjson"] =
                json!({"schema": {"type": "string", "description": of_lines}});
            if has_arrow {
                let about = "See docs/columns.md";
                content[ARROW_STREAM] =
                    json!({"schema": {"type": "string", "format": "binary", "description": about}});
            }
            (content, freshness())
        }
        Answer::Fresh(schema) => (json(schema), freshness()),
        Answer::Json(schema) | Answer::Made(schema) => {
            let headers = match operation.method {
                "get" => json!({}),
                _ => json!({"tidemark-token": token_header()}),
            };
            (json(schema), headers)
        }
        Answer::Live => (text("text/event-stream"), json!({})),
        Answer::Text => (text("text/plain"), json!({})),
        Answer::Page => (text("text/html"), json!({})),
    };
    let mut insert = |status: &str, about: &str| {
        let said = json!({"description": about, "headers": headers, "content": content});
        responses.insert(status.to_owned(), said);
    };
    insert("200", "As asked");
    if let Answer::Made(_) = operation.answer {
        insert("201", "It is new");
    }
    if let Answer::Live = operation.answer {
        let about = "A WebSocket: each message is a JSON array of readings";
        responses.insert("101".to_owned(), json!({"description": about}));
    }
    let mut by_status: BTreeMap<u16, Vec<&Fault>> = BTreeMap::new();
    for fault in operation.faults() {
        by_status.entry(fault.status).or_default().push(fault);
    }
    for (status, faults) in by_status {
        let lines = faults
            .iter()
            .map(|fault| format!("`{}`: {}", fault.code, fault.about));
        let lines: Vec<String> = lines.collect();
        let mut said = json!({
            "description": lines.join("; "),
            "content": {"application/problem+json": {"schema": reference("Problem")}},
        });
        match status {
            401 => {
                said["headers"] = json!({"www-authenticate": {"schema": {"type": "string"}}});
            }
            503 => said["headers"] = json!({"retry-after": {"schema": {"type": "integer"}}}),
            _ => {}
        }
        responses.insert(status.to_string(), said);
    }
    responses
}

fn freshness() -> Value {
    let number = |about: &str, required: bool| json!({"description": about, "required": required, "schema": {"type": "integer", "minimum": 0}});
    json!({
        "tidemark-replica": number("The node that answered", true),
        "tidemark-applied": number("The last position that it had applied", true),
        "tidemark-age-ms": number("How long ago it knew that this was all; left out if it never did", false),
        "tidemark-token": token_header(),
    })
}

fn token_header() -> Value {
    json!({
        "description": "A read with `consistency=at-least=TOKEN` sees all of this",
        "required": true,
        "schema": {"type": "string"},
    })
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        let operations: Vec<&Operation> =
            routes().iter().map(|(operation, _)| *operation).collect();
        made_of(&operations, true)
    }

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(name)) = map.get("$ref") {
                    found.push(name.clone());
                }
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_schema_that_is_named_is_there_and_every_one_is_named() {
        let document = document();
        let mut named = Vec::new();
        references(&document, &mut named);
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for name in &named {
            let name = name.strip_prefix("#/components/schemas/").unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
        for name in schemas.keys() {
            let reference = format!("#/components/schemas/{name}");
            let is_line = ["LastReading", "Series", "RangeRow"].contains(&name.as_str());
            assert!(named.contains(&reference) || is_line, "{name} is not used");
        }
    }

    #[test]
    fn the_codes_of_the_document_are_those_of_problems() {
        let document = document();
        let codes = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
        let mut known: Vec<&str> = codes
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c.as_str().unwrap())
            .collect();
        known.sort_unstable();
        let listed = document["x-problem-codes"].as_array().unwrap();
        let mut listed: Vec<&str> = listed.iter().map(|c| c["code"].as_str().unwrap()).collect();
        listed.sort_unstable();
        listed.dedup();
        assert_eq!(known, listed);
    }
}
