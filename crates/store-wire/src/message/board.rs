//! Boards: documents that people compose, of which a store knows name, title and revision.

use sensor_model::BoardName;
use serde::{Deserialize, Serialize};

/// What is known of a board beside its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardInfo {
    /// Its name.
    pub name: BoardName,
    /// What people call it.
    pub title: String,
    /// Where in the log it was written last. No board, of this or another name, ever has it again.
    pub revision: u64,
}

/// What becomes of a board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BoardChange {
    /// It has the content in the frame's body.
    Write {
        /// What people call it.
        title: String,
    },
    /// It is gone.
    Remove,
}
