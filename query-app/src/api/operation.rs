//! What is said of a route: requests are checked against it, and the OpenAPI document is made of it.

use std::borrow::Cow;

use crate::api::access::Access;

/// What is said of one method of one path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    /// In lower case.
    pub(crate) method: &'static str,
    /// As the document writes it: `{path}` stands for the rest of a path.
    pub(crate) path: &'static str,
    /// Its name in clients that are generated.
    pub(crate) id: &'static str,
    /// What it is for, in a line.
    pub(crate) summary: &'static str,
    /// Who may use it.
    pub(crate) access: Access,
    /// The query parameters it takes; no others.
    pub(crate) parameters: &'static [&'static Parameter],
    /// What it must be sent.
    pub(crate) body: Option<Body>,
    /// What it answers.
    pub(crate) answer: Answer,
    /// How it may fail, beside what its access brings with it.
    pub(crate) faults: &'static [&'static Fault],
}

/// A query parameter.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    /// What it means, in a sentence.
    pub(crate) about: &'static str,
    /// The JSON schema of one value.
    pub(crate) schema: &'static str,
    pub(crate) is_required: bool,
    /// Whether it may be given several times.
    pub(crate) may_repeat: bool,
}

/// The body of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Body {
    /// The media types that are taken.
    pub(crate) media: &'static [&'static str],
    /// The schema, by its name in `openapi/schemas.json`.
    pub(crate) schema: &'static str,
}

/// The body of an answer. Schemas are named as in `openapi/schemas.json`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// By `Accept`: a JSON document, CSV, or a JSON document a line, from a replica that says how fresh it is.
    Rows {
        json: &'static str,
        line: &'static str,
        /// Whether there is an Arrow IPC stream, too.
        has_arrow: bool,
    },
    /// A JSON document.
    Json(&'static str),
    /// A JSON document from a replica that says how fresh it is.
    Fresh(&'static str),
    /// A JSON document, as 201 where something was made and 200 where it was there.
    Made(&'static str),
    /// Messages for as long as both sides are there: a WebSocket, or Server-Sent Events.
    Live,
    /// Plain text.
    Text,
    /// A page for people.
    Page,
}

/// A way to fail.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    /// What it means, and what to do.
    pub(crate) about: &'static str,
}

impl Operation {
    /// The path as the router writes it: the rest of a path has slashes.
    pub(crate) fn route(&self) -> Cow<'static, str> {
        match self.path.strip_suffix("{path}") {
            Some(begin) => format!("{begin}{{*path}}").into(),
            None => self.path.into(),
        }
    }

    /// Every way it may fail.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &'static Fault> {
        let asks: &[&Fault] = match self.access {
            Access::Open => &[],
            _ => faults::ACCESS,
        };
        asks.iter().chain(self.faults).copied()
    }
}

/// The ways to fail, and which of them go together.
pub(crate) mod faults {
    use super::Fault;

    const fn fault(status: u16, code: &'static str, about: &'static str) -> Fault {
        Fault {
            status,
            code,
            about,
        }
    }

    const BAD_REQUEST: Fault = fault(
        400,
        "BAD_REQUEST",
        "a parameter or the body breaks a rule; the detail names it",
    );
    const UNAUTHENTICATED: Fault = fault(
        401,
        "UNAUTHENTICATED",
        "no token that lets in, where one is asked for; or the store does not know the service",
    );
    const FORBIDDEN: Fault = fault(
        403,
        "FORBIDDEN",
        "the token, or the service itself, may not do this with that series",
    );
    const NOT_FOUND: Fault = fault(
        404,
        "NOT_FOUND",
        "the series that was named does not exist; the detail names the nearest",
    );
    pub(in crate::api) const NO_METHOD: Fault = fault(
        405,
        "METHOD_NOT_ALLOWED",
        "the path does not take this method; the header `allow` says which",
    );
    const NOT_ACCEPTABLE: Fault = fault(406, "BAD_REQUEST", "there is no form that `accept` names");
    const SLOW_BODY: Fault = fault(
        408,
        "TIMEOUT",
        "the body did not arrive in time; nothing was done",
    );
    const KIND_MISMATCH: Fault = fault(
        409,
        "KIND_MISMATCH",
        "the series has another kind, which never changes",
    );
    const PRECONDITION: Fault = fault(
        412,
        "CONFLICT",
        "the board has another revision: somebody changed it meanwhile; read it again",
    );
    const PRECONDITION_REQUIRED: Fault = fault(
        428,
        "BAD_REQUEST",
        "it must be said which revision is replaced: `if-match`, or `if-none-match: *` for none",
    );
    const GONE: Fault = fault(
        410,
        "GONE",
        "no node has what follows the position any more: ask for the range, then for what comes",
    );
    const TOO_LARGE: Fault = fault(
        413,
        "TOO_LARGE",
        "the body, or what the answer would take, is beyond a bound: ask for less at a time",
    );
    const NO_MEDIA: Fault = fault(
        415,
        "BAD_REQUEST",
        "the body is of a media type or in an encoding that is not taken",
    );
    const INTERNAL: Fault = fault(500, "INTERNAL", "a fault of the store or the service");
    const OVERLOADED: Fault = fault(
        503,
        "OVERLOADED",
        "nothing was done: try again after `retry-after`, or elsewhere",
    );
    const NO_LEADER: Fault = fault(
        503,
        "NO_LEADER",
        "nothing was done: no node leads at the moment",
    );
    const STALE: Fault = fault(
        503,
        "STALE",
        "no replica is as fresh as was asked: ask for less, or again",
    );
    const DRAINING: Fault = fault(
        503,
        "DRAINING",
        "nothing was done: the nodes are shutting down",
    );
    const NOT_REACHED: Fault = fault(503, "TIMEOUT", "no replica answers");
    const TIMEOUT: Fault = fault(
        504,
        "TIMEOUT",
        "the time allowed ran out, and nothing was changed",
    );
    const UNKNOWN: Fault = fault(
        504,
        "UNKNOWN",
        "it was sent on and its outcome is not known: look before repeating it",
    );
    const NO_SPACE: Fault = fault(507, "NO_SPACE", "the disk is full; reads go on");

    /// Of whatever asks who asks.
    pub(super) const ACCESS: &[&Fault] = &[&UNAUTHENTICATED, &FORBIDDEN, &OVERLOADED];
    /// Of what takes no parameters and asks no replica.
    pub(in crate::api) const HEALTH: &[&Fault] = &[&NOT_FOUND];
    /// Of what asks whether a replica answers.
    pub(in crate::api) const NOT_READY: &[&Fault] =
        &[&NOT_REACHED, &OVERLOADED, &NO_LEADER, &STALE, &DRAINING];
    /// Of reads.
    pub(in crate::api) const READ: &[&Fault] = &[
        &BAD_REQUEST,
        &NOT_FOUND,
        &NOT_ACCEPTABLE,
        &TOO_LARGE,
        &INTERNAL,
        &NO_LEADER,
        &STALE,
        &DRAINING,
        &TIMEOUT,
    ];
    /// Of reads with one form of answer, and without bounds.
    pub(in crate::api) const READ_ONE: &[&Fault] = &[
        &BAD_REQUEST,
        &NOT_FOUND,
        &INTERNAL,
        &NO_LEADER,
        &STALE,
        &DRAINING,
        &TIMEOUT,
    ];
    /// Of live data.
    pub(in crate::api) const TAIL: &[&Fault] = &[
        &BAD_REQUEST,
        &NOT_FOUND,
        &GONE,
        &INTERNAL,
        &NO_LEADER,
        &STALE,
        &DRAINING,
        &TIMEOUT,
    ];
    /// Of what changes something by its parameters.
    pub(in crate::api) const DELETE: &[&Fault] = &[
        &BAD_REQUEST,
        &NOT_FOUND,
        &INTERNAL,
        &NO_LEADER,
        &DRAINING,
        &TIMEOUT,
        &UNKNOWN,
        &NO_SPACE,
    ];
    /// Of what changes something by its body.
    pub(in crate::api) const WRITE: &[&Fault] = &[
        &BAD_REQUEST,
        &NOT_FOUND,
        &SLOW_BODY,
        &KIND_MISMATCH,
        &TOO_LARGE,
        &NO_MEDIA,
        &INTERNAL,
        &NO_LEADER,
        &DRAINING,
        &TIMEOUT,
        &UNKNOWN,
        &NO_SPACE,
    ];
    /// Of what writes a board.
    pub(in crate::api) const WRITE_BOARD: &[&Fault] = &[
        &BAD_REQUEST,
        &NOT_FOUND,
        &SLOW_BODY,
        &PRECONDITION,
        &TOO_LARGE,
        &NO_MEDIA,
        &PRECONDITION_REQUIRED,
        &INTERNAL,
        &NO_LEADER,
        &DRAINING,
        &TIMEOUT,
        &UNKNOWN,
        &NO_SPACE,
    ];
    /// Of what removes one.
    pub(in crate::api) const REMOVE_BOARD: &[&Fault] = &[
        &BAD_REQUEST,
        &NOT_FOUND,
        &PRECONDITION,
        &PRECONDITION_REQUIRED,
        &INTERNAL,
        &NO_LEADER,
        &DRAINING,
        &TIMEOUT,
        &UNKNOWN,
        &NO_SPACE,
    ];
}
