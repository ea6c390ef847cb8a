//! Boards: shown as far as they may be read, written by operators.
//!
//! A board is held against patterns as the path that stands for it ([`reserved::board`]). They are few
//! and in memory, so reading them takes no turn among the reads.

use bytes::Bytes;
use sensor_model::board::{BOARD_CONTENT_BYTES_MAX, BOARD_TITLE_BYTES_MAX, BOARDS_MAX};
use sensor_model::{BoardName, Consistency, Token, reserved};
use store_wire::frame::FrameSender;
use store_wire::identity::PeerIdentity;
use store_wire::message::{BoardChange, BoardInfo, ErrorCode, Response, WireError};
use tokio::time::Instant;
use tracing::info;

use super::{Unanswered, freshness, proposed};
use crate::command;
use crate::ingest::refusal::not_applied;
use crate::node::Context;
use crate::scan::read;
use crate::state::Outcome;
use crate::state::boards::{BoardRecord, BoardText};

/// Answers with every board that the peer may read, without contents.
pub(super) async fn list(
    sender: &mut FrameSender,
    peer: &PeerIdentity,
    context: &Context,
    consistency: Consistency,
    deadline: Instant,
) -> Result<(), Unanswered> {
    freshness::reach(&context.replica, consistency, deadline).await?;
    let (boards, seen) = {
        let state = read(&context.state);
        let visible = |board: &&BoardRecord| peer.may_read(&reserved::board(&board.name));
        let boards = state.boards().all().filter(visible).map(info_of).collect();
        (boards, state.trail().last())
    };
    answer(
        sender,
        context,
        seen,
        &Response::BoardList { boards },
        Bytes::new(),
    )
    .await
}

/// Answers with one board.
pub(super) async fn show(
    sender: &mut FrameSender,
    peer: &PeerIdentity,
    context: &Context,
    name: &BoardName,
    consistency: Consistency,
    deadline: Instant,
) -> Result<(), Unanswered> {
    let path = reserved::board(name);
    if !peer.may_read(&path) {
        return Err(forbidden(peer, name, "read").into());
    }
    freshness::reach(&context.replica, consistency, deadline).await?;
    let (board, seen) = {
        let state = read(&context.state);
        (state.boards().named(name).cloned(), state.trail().last())
    };
    let board = board.ok_or_else(|| absent(name))?;
    let content = board.content.clone();
    let board = info_of(&board);
    answer(sender, context, seen, &Response::Board { board }, content).await
}

/// Writes the board `name` with `content`, or removes it, if its revision is the expected one.
///
/// # Cancel safety
/// It may be changed when the future is dropped.
///
/// # Errors
/// All but [`ErrorCode::Unknown`] mean that nothing was changed; [`ErrorCode::Conflict`] that the
/// revision is another.
pub(super) async fn set(
    context: &Context,
    peer: &PeerIdentity,
    name: BoardName,
    expected: u64,
    change: BoardChange,
    content: Bytes,
    deadline: Instant,
) -> Result<Token, WireError> {
    if !context.replica.is_leader() {
        return Err(WireError::not_leader(context.replica.leader()));
    }
    if !peer.may_write_board(&reserved::board(&name)) {
        return Err(forbidden(peer, &name, "write"));
    }
    let text = match change {
        BoardChange::Remove if expected == 0 => return Err(absent(&name)),
        BoardChange::Remove => None,
        BoardChange::Write { title } => Some(checked(BoardText { title, content })?),
    };
    let is_removed = text.is_none();
    let payload = command::set_board(&name, expected, text.as_ref());
    let done = proposed(context, &peer.id(), payload, deadline).await?;
    match done.outcome {
        Outcome::BoardSet => {
            info!(by = %peer, board = %name, is_removed, token = %done.token, "board changed");
            Ok(done.token)
        }
        Outcome::BoardConflict { revision } => Err(conflict(&name, expected, revision)),
        Outcome::TooManyBoards => {
            let message =
                format!("there are {BOARDS_MAX} boards, which is the most: remove one first");
            Err(WireError::new(ErrorCode::TooLarge, message))
        }
        outcome => Err(not_applied(outcome)),
    }
}

async fn answer(
    sender: &mut FrameSender,
    context: &Context,
    seen: Option<u64>,
    boards: &Response,
    content: Bytes,
) -> Result<(), Unanswered> {
    let freshness = freshness::now(&context.replica);
    let end = Response::End {
        series: 0,
        rows: 0,
        truncated: false,
        seen: seen.map(|index| Token {
            index,
            ..freshness.applied
        }),
    };
    sender.send(&Response::Answer { freshness }, &[]).await?;
    sender.send(boards, &[content]).await?;
    Ok(sender.send(&end, &[]).await?)
}

fn info_of(board: &BoardRecord) -> BoardInfo {
    BoardInfo {
        name: board.name.clone(),
        title: board.title.clone(),
        revision: board.revision,
    }
}

fn checked(text: BoardText) -> Result<BoardText, WireError> {
    let refused = |message| Err(WireError::new(ErrorCode::TooLarge, message));
    let (title, content) = (text.title.len(), text.content.len());
    if title > BOARD_TITLE_BYTES_MAX {
        return refused(format!(
            "the title has {title} bytes: at most {BOARD_TITLE_BYTES_MAX}"
        ));
    }
    if content > BOARD_CONTENT_BYTES_MAX {
        return refused(format!(
            "the board has {content} bytes: at most {BOARD_CONTENT_BYTES_MAX}"
        ));
    }
    Ok(text)
}

fn absent(name: &BoardName) -> WireError {
    WireError::new(ErrorCode::NotFound, format!("board {name} does not exist"))
}

fn conflict(name: &BoardName, expected: u64, revision: u64) -> WireError {
    let message = match (expected, revision) {
        (0, _) => {
            format!("board {name} exists already, with revision {revision}: take another name")
        }
        (_, 0) => format!("board {name} was removed meanwhile: write it as a new one"),
        _ => format!(
            "board {name} was changed meanwhile: it has revision {revision}, not {expected}; read it again"
        ),
    };
    WireError::new(ErrorCode::Conflict, message)
}

fn forbidden(peer: &PeerIdentity, name: &BoardName, verb: &str) -> WireError {
    let path = reserved::board(name);
    let message = match &peer.scope {
        Some(_) => format!(
            "board {name} is not one to {verb} with this token: no pattern of it covers {path}"
        ),
        None => format!(
            "{} may not {verb} board {name}: use an operator's identity whose patterns cover {path}",
            peer.id()
        ),
    };
    WireError::new(ErrorCode::Forbidden, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_has_its_bounds() {
        let code = |title: usize, content: usize| {
            let text = BoardText {
                title: "x".repeat(title),
                content: vec![0; content].into(),
            };
            checked(text).err().map(|error| error.code)
        };
        let (title, content) = (BOARD_TITLE_BYTES_MAX, BOARD_CONTENT_BYTES_MAX);
        assert_eq!(code(title, content), None);
        assert_eq!(code(title + 1, 0), Some(ErrorCode::TooLarge));
        assert_eq!(code(0, content + 1), Some(ErrorCode::TooLarge));
    }
}
