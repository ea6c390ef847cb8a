//! What takes readings away: deleting them by hand, and how long they are kept.

use sensor_model::{Pattern, Timestamp};
use serde::{Deserialize, Serialize};

/// Whether something is to be done, or only what it would come to is to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    /// Say it; nothing is changed.
    Preview,
    /// Do it.
    Commit,
}

/// How long the readings of some series are kept. Of several rules for one series the shortest counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionRule {
    /// Which series.
    pub pattern: Pattern,
    /// For how long, in ns; not 0.
    pub keep: u64,
}

/// What is asked about retention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetentionRequest {
    /// Which rules are in force.
    Show,
    /// What would go now.
    Preview {
        /// By which rules; `None` for those in force.
        rules: Option<Vec<RetentionRule>>,
    },
    /// Puts these rules in the place of those in force.
    Set {
        /// The rules; none of them keeps everything.
        rules: Vec<RetentionRule>,
    },
}

/// What one rule lets go at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overdue {
    /// The rule.
    pub rule: RetentionRule,
    /// Readings before this time go.
    pub before: Timestamp,
    /// How many sealed segments go as a whole.
    pub segments: u64,
    /// Their bytes: so many are free soon, and more when what is left in others is written anew.
    pub bytes: u64,
    /// How many readings go, in those segments and elsewhere. Repeated timestamps that are not merged
    /// yet count each time.
    pub readings: u64,
}
