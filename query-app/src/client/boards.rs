//! Boards: listed and read from any replica, written by the leader against the revision that was read.

use bytes::Bytes;
use sensor_model::{BoardName, Token};
use store_wire::message::{BoardChange, BoardInfo, Freshness, Request, Response};
use tokio::time::Instant;

use super::answer::{FrameReader, out_of_place, token};
use super::leader::Errand;
use super::upkeep::token_of;
use super::{Client, millis};
use crate::board::Board;
use crate::failure::Failure;
use crate::question::Terms;

/// Boards, ordered by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardsAnswer {
    /// Which replica answered, and how fresh it was.
    pub freshness: Freshness,
    /// A read with this token sees all that the answer has.
    pub token: Token,
    /// What is known of each.
    pub boards: Vec<BoardInfo>,
}

/// One board.
#[derive(Debug, Clone, PartialEq)]
pub struct BoardAnswer {
    /// Which replica answered, and how fresh it was.
    pub freshness: Freshness,
    /// A read with this token sees no older one.
    pub token: Token,
    /// Where it was written last: what changes it must name this.
    pub revision: u64,
    /// The board.
    pub board: Board,
}

impl Client {
    /// Asks which boards there are.
    ///
    /// # Errors
    /// A [`Failure`] whose code says what can be done.
    pub async fn boards(&self, terms: &Terms) -> Result<BoardsAnswer, Failure> {
        let request = Request::Boards {
            consistency: terms.consistency,
            timeout_ms: millis(terms.timeout),
        };
        let deadline = Instant::now() + terms.timeout;
        let (freshness, mut reader) = self.open(&request, terms, deadline).await?;
        let frame = reader.next().await?;
        let Response::BoardList { boards } = frame.response else {
            return Err(out_of_place(&reader.address, &frame));
        };
        Ok(BoardsAnswer {
            freshness,
            token: ended(&mut reader, &freshness).await?,
            boards,
        })
    }

    /// Asks for the board `name`.
    ///
    /// # Errors
    /// A [`Failure`] whose code says what can be done: `NOT_FOUND` where there is none.
    pub async fn board(&self, name: &BoardName, terms: &Terms) -> Result<BoardAnswer, Failure> {
        let request = Request::Board {
            name: name.clone(),
            consistency: terms.consistency,
            timeout_ms: millis(terms.timeout),
        };
        let deadline = Instant::now() + terms.timeout;
        let (freshness, mut reader) = self.open(&request, terms, deadline).await?;
        let frame = reader.next().await?;
        let Response::Board { board: info } = &frame.response else {
            return Err(out_of_place(&reader.address, &frame));
        };
        let board = Board::from_content(info.title.clone(), &frame.body)
            .map_err(|reason| unreadable(name, &reason))?;
        Ok(BoardAnswer {
            freshness,
            token: ended(&mut reader, &freshness).await?,
            revision: info.revision,
            board,
        })
    }

    /// Writes the board `name` if its revision is `expected`, 0 for none, and waits until that is
    /// committed and applied. The token's index is the new revision.
    ///
    /// # Errors
    /// `CONFLICT` where the revision is another. [`ErrorCode::Unknown`] when it was sent and no answer
    /// came: repeating it does no harm, as it changes nothing that was changed since. Every other code
    /// but [`ErrorCode::Internal`] means that nothing was changed.
    ///
    /// [`ErrorCode::Unknown`]: store_wire::message::ErrorCode::Unknown
    /// [`ErrorCode::Internal`]: store_wire::message::ErrorCode::Internal
    pub async fn write_board(
        &self,
        name: &BoardName,
        expected: u64,
        board: &Board,
        terms: &Terms,
    ) -> Result<Token, Failure> {
        board.check()?;
        let change = BoardChange::Write {
            title: board.title.clone(),
        };
        let content = board.to_content()?;
        self.set_board(name, expected, &change, content, terms)
            .await
    }

    /// Removes the board `name` if its revision is `expected`.
    ///
    /// # Errors
    /// As [`Client::write_board`].
    pub async fn remove_board(
        &self,
        name: &BoardName,
        expected: u64,
        terms: &Terms,
    ) -> Result<Token, Failure> {
        let change = BoardChange::Remove;
        self.set_board(name, expected, &change, Bytes::new(), terms)
            .await
    }

    async fn set_board(
        &self,
        name: &BoardName,
        expected: u64,
        change: &BoardChange,
        body: Bytes,
        terms: &Terms,
    ) -> Result<Token, Failure> {
        let errand = Errand {
            request: &|timeout_ms| Request::SetBoard {
                name: name.clone(),
                expected,
                change: change.clone(),
                timeout_ms,
            },
            body,
            name: "change of the board",
        };
        let done = self.at_leader(&errand, Instant::now() + terms.timeout);
        token_of(&done.await?)
    }
}

/// The token of an answer, at its end.
async fn ended(reader: &mut FrameReader, freshness: &Freshness) -> Result<Token, Failure> {
    let frame = reader.next().await?;
    match frame.response {
        Response::End { seen, .. } => Ok(token(freshness, seen)),
        _ => Err(out_of_place(&reader.address, &frame)),
    }
}

fn unreadable(name: &BoardName, reason: &str) -> Failure {
    let message = format!("board {name} is not one that this version reads: {reason}");
    Failure::new(store_wire::message::ErrorCode::Internal, message)
}
