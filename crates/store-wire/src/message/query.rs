//! The query conversation: one request a stream, answered by frames until `End` or `Failed`.

use sensor_model::{
    BoardName, Bucket, Consistency, DescriptionChange, Kind, Pattern, Reading, SeriesDescription,
    SeriesPath, TimeRange, Timestamp, Token,
};
use serde::{Deserialize, Serialize};

use super::{
    BoardChange, BoardInfo, ClusterChange, Intent, Member, NodeStatus, Overdue, RangeQuestion,
    RetentionRequest, RetentionRule, WireError,
};
use crate::identity::Permissions;

/// What is asked of one replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Readings of a range, or buckets of them.
    Range {
        /// What is asked.
        question: Box<RangeQuestion>,
        /// What the answer may take.
        #[serde(default)]
        bounds: Bounds,
        /// How fresh the answer must be.
        consistency: Consistency,
        /// How long the replica may take, in ms.
        timeout_ms: u64,
    },
    /// The latest reading of each series.
    Last {
        /// Which series.
        pattern: Pattern,
        /// How fresh the answer must be.
        consistency: Consistency,
        /// How long the replica may take, in ms.
        timeout_ms: u64,
    },
    /// Which series there are.
    Series {
        /// Which series.
        pattern: Pattern,
        /// How fresh the answer must be.
        consistency: Consistency,
        /// How long the replica may take, in ms.
        timeout_ms: u64,
    },
    /// Writes readings; only the leader takes it. The frame's body holds a batch whose series
    /// numbers index `series`. Not deduplicated: after `Unknown`, look before repeating.
    Write {
        /// The series the batch's numbers stand for.
        series: Vec<SeriesDescription>,
        /// How long to wait for the commit, in ms.
        timeout_ms: u64,
    },
    /// Every batch from a position on, as it is applied, without end.
    Tail {
        /// Which series: 1 to [`PATTERNS_MAX`](super::PATTERNS_MAX) patterns.
        patterns: Vec<Pattern>,
        /// Everything up to this position is known already; `None` for what is applied from now on.
        #[serde(default)]
        after: Option<Token>,
    },
    /// How this node is.
    Status,
    /// Changes who belongs to the cluster; for operators, and only the leader takes it.
    Change {
        /// What.
        change: ClusterChange,
        /// How long it may take, in ms.
        timeout_ms: u64,
    },
    /// Deletes readings, or counts those that it would delete; only the leader takes it. Every series
    /// that matches must be one that the identity may write.
    Delete {
        /// Of which series.
        pattern: Pattern,
        /// In which time, half-open.
        range: TimeRange,
        /// Whether to do it.
        intent: Intent,
        /// How long it may take, in ms.
        timeout_ms: u64,
    },
    /// Shows or changes how long readings are kept; for operators, and only the leader takes it.
    Retention {
        /// What is asked.
        request: RetentionRequest,
        /// How long it may take, in ms.
        timeout_ms: u64,
    },
    /// Changes unit and attributes of a series; only the leader takes it. The series must be one that
    /// the identity may write.
    Describe {
        /// The series.
        path: SeriesPath,
        /// Its kind, if it is to be opened where it does not exist.
        kind: Option<Kind>,
        /// What changes.
        change: DescriptionChange,
        /// How long it may take, in ms.
        timeout_ms: u64,
    },
    /// Which boards there are.
    Boards {
        /// How fresh the answer must be.
        consistency: Consistency,
        /// How long the replica may take, in ms.
        timeout_ms: u64,
    },
    /// One board.
    Board {
        /// Which.
        name: BoardName,
        /// How fresh the answer must be.
        consistency: Consistency,
        /// How long the replica may take, in ms.
        timeout_ms: u64,
    },
    /// Writes or removes a board; only the leader takes it. The frame's body holds the content of one
    /// that is written.
    SetBoard {
        /// Which.
        name: BoardName,
        /// The revision it must have for that; 0 if it must not exist.
        expected: u64,
        /// What becomes of it.
        change: BoardChange,
        /// How long it may take, in ms.
        timeout_ms: u64,
    },
    /// A question about readings or series, or a change of them, for somebody who may do no more than
    /// `scope`: done as far as both the identity and the scope allow.
    Within {
        /// What they may do with which series.
        scope: Permissions,
        /// What they ask.
        request: Box<Request>,
    },
}

/// What an answer may take; a node has bounds of its own, and the narrower ones count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bounds {
    /// Most rows, or buckets, in all.
    #[serde(default)]
    pub rows: Option<u64>,
    /// Most bytes of readings that are decoded for it.
    #[serde(default)]
    pub bytes: Option<u64>,
}

/// One frame of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Response {
    /// The first frame of every answer to a read.
    Answer {
        /// Which replica answers and how fresh it is.
        freshness: Freshness,
    },
    /// Opens a series of a range; its `Rows` or `Buckets` follow.
    SeriesHead {
        /// The series.
        series: SeriesDescription,
        /// The series is as it was when this position had been applied and no later one.
        #[serde(default)]
        seen: Option<Token>,
    },
    /// Opens a group of series; its `Buckets` follow.
    GroupHead {
        /// What they share: a text for each key asked for, `None` where they have none.
        key: Vec<Option<String>>,
        /// How many series are in it.
        series: u64,
    },
    /// Raw readings of the open series. The body holds the columns (see `columns`).
    Rows {
        /// How many.
        count: u32,
    },
    /// Buckets of the open series or group, in the order asked for.
    Buckets {
        /// The buckets; those without readings are left out.
        buckets: Vec<Bucket>,
    },
    /// Answers `Tail` first: what follows was committed after this position.
    Tailing {
        /// Which replica speaks and how fresh it is.
        freshness: Freshness,
        /// Where it begins.
        after: Token,
    },
    /// What numbers of the batches that follow stand for. Each is declared once a stream.
    Declared {
        /// Numbers and series.
        series: Vec<(u64, SeriesDescription)>,
    },
    /// What was committed at a position of the series asked for. The body holds a batch (see `batch`)
    /// of their chunks, in the order in which they were committed.
    Tailed {
        /// The position: everything up to it was sent.
        position: Token,
    },
    /// Nothing more up to a position matches. Comes from time to time.
    Passed {
        /// Which replica speaks and how fresh it is.
        freshness: Freshness,
        /// The position: everything up to it was sent.
        position: Token,
    },
    /// Latest readings, ordered by path.
    LastReadings {
        /// Each series with its latest reading.
        readings: Vec<(SeriesDescription, Reading)>,
    },
    /// Series, ordered by path.
    SeriesList {
        /// The series.
        series: Vec<SeriesInfo>,
    },
    /// Boards, ordered by name.
    BoardList {
        /// The boards.
        boards: Vec<BoardInfo>,
    },
    /// A board. The body holds its content.
    Board {
        /// What is known of it.
        board: BoardInfo,
    },
    /// Answers `Write` and `SetBoard`, and `Delete` and `Retention` where they change something:
    /// committed and applied.
    Written {
        /// A read with this token sees the write. Its index is the revision of a board that was written.
        token: Token,
    },
    /// Answers `Status`.
    Status(Box<NodeStatus>),
    /// Answers `Change`: it is made, and committed where it is a matter of the log.
    Changed {
        /// Every member of the cluster afterwards, ordered by id.
        members: Vec<Member>,
        /// Who leads afterwards, as far as the node knows.
        leader: Option<u64>,
    },
    /// Answers `Describe`: committed and applied.
    Described {
        /// What the series is now.
        series: SeriesDescription,
        /// Whether it was opened by this.
        is_new: bool,
        /// A read with this token sees the change.
        token: Token,
    },
    /// Answers a `Delete` that is only a preview: what it would delete.
    Doomed {
        /// How many series have readings in the range.
        series: u64,
        /// How many readings.
        readings: u64,
    },
    /// Answers `Retention`: the rules in force.
    Retention {
        /// In the order in which they were set.
        rules: Vec<RetentionRule>,
    },
    /// Answers `Retention`: what would go now.
    Overdue {
        /// By each rule, in their order.
        rules: Vec<Overdue>,
    },
    /// The answer is whole.
    End {
        /// How many series, or groups, were in it.
        series: u64,
        /// How many rows or buckets.
        rows: u64,
        /// Whether `limit` cut rows off.
        truncated: bool,
        /// The last position of which anything can be in the answer: a read with this token sees all
        /// that this answer has. The replica goes on applying while it answers, so it may be later
        /// than `applied` of [`Freshness`], up to which everything is in the answer.
        #[serde(default)]
        seen: Option<Token>,
    },
    /// The request failed; what was sent before is to be thrown away.
    Failed {
        /// Why.
        error: WireError,
    },
}

/// Which replica answered, and how fresh it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    /// The replica's node id.
    pub replica: u64,
    /// The last position it had applied.
    pub applied: Token,
    /// Time in ms since the replica last knew that it had applied all that a leader had committed;
    /// `None` if it never did since it started.
    pub age_ms: Option<u64>,
}

/// A series with what is known of its readings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesInfo {
    /// What it is.
    pub description: SeriesDescription,
    /// How many readings were applied, repeated timestamps counted each time.
    pub count: u64,
    /// Its earliest timestamp.
    pub first: Option<Timestamp>,
    /// Its latest reading.
    pub last: Option<Reading>,
}
