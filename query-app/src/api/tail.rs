//! `GET /api/v1/tail`: live data, over a WebSocket or as Server-Sent Events.
//!
//! A message is a JSON array of readings, each with the position after it; a subscriber that comes back
//! with the last one, as `after` or `Last-Event-ID`, misses and repeats nothing. Nothing is queued for a
//! subscriber but a few messages: one that takes nothing for [`SLOW_MAX`] is dropped, and told why.

mod events;
mod socket;

use std::pin::pin;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{HeaderMap, HeaderName, Uri, header};
use axum::response::Response;
use store_wire::message::ErrorCode;
use tokio::time::{Instant, sleep_until};

use crate::api::ApiState;
use crate::api::access::{Access, Asking, Permit};
use crate::api::operation::{Answer, Operation, faults};
use crate::api::parameters::{Parameters, known};
use crate::api::problem::Problem;
use crate::client::Client;
use crate::client::tail::{Event, Position, Start, Tail, TailQuestion};
use crate::failure::{Failure, UsageError};
use crate::format::live::LiveJson;
use crate::format::time_text::TimeStyle;
use crate::question::{parse_pattern, parse_time};

/// How long a subscriber may take nothing.
const SLOW_MAX: Duration = Duration::from_secs(30);
/// Bytes of a message from which on it is sent: below what common libraries take.
const MESSAGE_BYTES: usize = 128 << 10;
/// How often a connection on which nothing happens shows that it lives.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// Longest message of a subscriber, in bytes: nothing it says matters, but that it leaves.
const SAID_BYTES_MAX: usize = 4 << 10;
/// How often it is looked whether a subscriber may still be told.
const PERMIT_LOOK: Duration = Duration::from_secs(1);

pub(super) const TAIL: Operation = Operation {
    method: "get",
    path: "/api/v1/tail",
    id: "tail",
    summary: "What is committed, as it is: over a WebSocket, or as Server-Sent Events",
    access: Access::Read,
    parameters: &[
        &known::MATCHES,
        &known::AFTER,
        &known::SINCE,
        &known::POSITIONS,
        &known::TIME,
        &known::CONSISTENCY,
        &known::NODE,
        &known::TIMEOUT,
    ],
    body: None,
    answer: Answer::Live,
    faults: faults::TAIL,
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) async fn tail(
    State(state): State<ApiState>,
    Asking(client): Asking,
    permit: Permit,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let parameters = Parameters::parse(&uri, &TAIL)?;
    let question = question(&parameters, &headers, &client)?;
    let terms = parameters.terms(&state.terms)?;
    let style = parameters.time_style()?;
    let positions = match parameters.text("positions") {
        None | Some("false") => Positions::WithReadings,
        Some("true") => Positions::Always,
        Some(other) => {
            let reason = format!("{other:?} is neither true nor false");
            return Err(UsageError::new("positions", reason).into());
        }
    };
    let way = match upgrade {
        Ok(upgrade) => Way::Socket(upgrade),
        Err(_) if takes_events(&headers) => Way::Events,
        Err(rejection) => {
            let detail = format!(
                "live data come over a WebSocket, or as accept: text/event-stream ({})",
                rejection.body_text()
            );
            return Err(Problem::new(ErrorCode::BadRequest, detail));
        }
    };
    let tail = client.tail(&question, &terms).await?;
    Ok(match way {
        Way::Socket(upgrade) => {
            let messages = Messages::new(tail, permit, style, positions);
            let upgrade = upgrade.max_message_size(SAID_BYTES_MAX);
            let upgrade = upgrade.max_frame_size(SAID_BYTES_MAX);
            upgrade.on_upgrade(move |socket| socket::drive(socket, messages))
        }
        // The position of an event is its id, with or without readings.
        Way::Events => events::answer(Messages::new(tail, permit, style, Positions::Always)),
    })
}

enum Way {
    Socket(WebSocketUpgrade),
    Events,
}

/// Which positions are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Positions {
    /// Those after readings.
    WithReadings,
    /// Also those up to which nothing matched.
    Always,
}

fn question(
    parameters: &Parameters,
    headers: &HeaderMap,
    client: &Client,
) -> Result<TailQuestion, UsageError> {
    let mut patterns = Vec::new();
    for pattern in parameters.texts("match") {
        patterns.push(parse_pattern(Some(pattern))?);
    }
    if patterns.is_empty() {
        parse_pattern(None)?;
    }
    let last = headers.get(LAST_EVENT_ID);
    let last = last.and_then(|last| last.to_str().ok());
    let last = last.filter(|last| !last.is_empty());
    // A browser that connects again does so with the address of the first time.
    let after = last.or(parameters.text("after"));
    let start = match (after, parameters.text("since")) {
        (Some(after), _) => {
            let parsed: Result<Position, _> = after.parse();
            Start::After(parsed.map_err(|error| UsageError::new("after", error))?)
        }
        (None, Some(since)) => Start::Since(parse_time("since", since, client.now())?),
        (None, None) => Start::Now,
    };
    Ok(TailQuestion { patterns, start })
}

fn takes_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    accepted
        .filter_map(|accepted| accepted.to_str().ok())
        .any(|accepted| accepted.contains("text/event-stream"))
}

/// What a subscriber is to be told.
#[derive(Debug, PartialEq)]
enum Message {
    /// Readings as a JSON array, and the position after them.
    Readings(String, Option<Position>),
    /// Nothing more up to this position.
    Passed(Position),
}

/// Makes messages of what a tail gives, for as long as the subscriber may be told.
struct Messages {
    feed: Feed,
    permit: Permit,
    /// When the permit is looked at again.
    look: Instant,
}

/// Makes messages of what a tail gives.
struct Feed {
    tail: Tail,
    json: LiveJson,
    positions: Positions,
    /// Readings whose message is not full, and how many of the first of them were written.
    event: Option<(Event, usize)>,
    reached: Option<Position>,
}

impl Messages {
    fn new(tail: Tail, permit: Permit, style: TimeStyle, positions: Positions) -> Self {
        let feed = Feed {
            reached: tail.position(),
            tail,
            json: LiveJson::new(style),
            positions,
            event: None,
        };
        let look = Instant::now() + PERMIT_LOOK;
        Self { feed, permit, look }
    }

    /// Everything up to here was told.
    const fn reached(&self) -> Option<Position> {
        self.feed.reached
    }

    /// The next message.
    ///
    /// # Cancel safety
    /// Safe.
    async fn next(&mut self) -> Result<Message, Failure> {
        let Self { feed, permit, look } = self;
        let mut message = pin!(feed.next());
        loop {
            tokio::select! {
                biased;
                () = sleep_until(*look) => {
                    permit.check().await?;
                    *look = Instant::now() + PERMIT_LOOK;
                }
                message = &mut message => return message,
            }
        }
    }
}

impl Feed {
    /// The next message of what was committed.
    ///
    /// # Cancel safety
    /// Safe.
    async fn next(&mut self) -> Result<Message, Failure> {
        loop {
            if self.event.is_none() {
                self.event = Some((self.tail.next().await?, 0));
            }
            if let Some(message) = self.gathered() {
                return Ok(message);
            }
        }
    }

    /// A message of what has happened; `None` if there is nothing to tell.
    fn gathered(&mut self) -> Option<Message> {
        let mut out = Vec::new();
        while let Some((event, from)) = self.event.take() {
            match event {
                Event::Readings(tailed) => {
                    for at in from..tailed.columns.len() {
                        if out.len() >= MESSAGE_BYTES {
                            self.event = Some((Event::Readings(tailed), at));
                            return Some(self.readings(out));
                        }
                        out.push(if out.is_empty() { b'[' } else { b',' });
                        self.json.element(&tailed, at, &mut out);
                        self.reached = tailed.position(at);
                    }
                }
                Event::Passed(position) if out.is_empty() => {
                    self.reached = Some(position);
                    if self.positions == Positions::Always {
                        return Some(Message::Passed(position));
                    }
                }
                Event::Passed(position) => self.reached = Some(position),
                Event::Interrupted(_) => {}
            }
            self.event = self.tail.ready().map(|event| (event, 0));
        }
        (!out.is_empty()).then(|| self.readings(out))
    }

    fn readings(&self, mut out: Vec<u8>) -> Message {
        out.push(b']');
        let text = String::from_utf8(out).expect("JSON is made of texts");
        Message::Readings(text, self.reached)
    }
}

/// Why a subscriber is dropped that takes nothing after it was sent everything up to `sent`.
fn slow(sent: Option<Position>) -> Failure {
    let go_on = match sent {
        Some(position) => format!("go on with after={position}"),
        None => "begin again".to_owned(),
    };
    Failure::new(ErrorCode::Timeout, format!("too slow: {go_on}"))
}
