//! The query parameters there are. An empty value counts as none, so every schema allows it.

use crate::api::operation::Parameter;

pub(in crate::api) const MATCH: Parameter = Parameter {
    name: "match",
    about: "A path, or a pattern with `*` and `**`",
    schema: r#"{"type":"string","examples":["plant/**"]}"#,
    is_required: true,
    may_repeat: false,
};

pub(in crate::api) const MATCHES: Parameter = Parameter {
    name: "match",
    about: "Paths, or patterns with `*` and `**`; a series that several match comes once",
    schema: r#"{"type":"string","examples":["plant/**"]}"#,
    is_required: true,
    may_repeat: true,
};

pub(in crate::api) const MATCH_ANY: Parameter = Parameter {
    name: "match",
    about: "A path, or a pattern with `*` and `**`; every series if it is left out",
    schema: r#"{"type":"string","examples":["plant/**"]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const FROM: Parameter = Parameter {
    name: "from",
    about: "Where the range begins: RFC 3339, a date, epoch s, ms or ns, `-15m`, `now-1h`",
    schema: r#"{"type":"string","examples":["-15m","now-1h","2026-11-20T10:00:00Z"]}"#,
    is_required: true,
    may_repeat: false,
};

pub(in crate::api) const TO: Parameter = Parameter {
    name: "to",
    about: "Where the range ends, itself not included; now if it is left out",
    schema: r#"{"type":"string","examples":["-15m","now-1h","2026-11-20T10:00:00Z"]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const TO_REQUIRED: Parameter = Parameter {
    name: "to",
    about: "Where the range ends, itself not included",
    schema: r#"{"type":"string","examples":["-15m","now-1h","2026-11-20T10:00:00Z"]}"#,
    is_required: true,
    may_repeat: false,
};

pub(in crate::api) const EVERY: Parameter = Parameter {
    name: "every",
    about: "Buckets so wide: `10s`, `5m`, `1h`, or of the calendar: `1d`, `1w`, `1mo`, `1y`; `all` for one over the whole range, which it is if something else asks for buckets",
    schema: r#"{"type":"string","examples":["1m","1d"]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const TZ: Parameter = Parameter {
    name: "tz",
    about: "Whose days, weeks, months and years these are, and whose time is meant where none is named",
    schema: r#"{"type":"string","examples":["Europe/Berlin"]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const AGG: Parameter = Parameter {
    name: "agg",
    about: "Aggregates of a bucket, separated by commas: `mean`, `min`, `max`, `sum`, `count`, `first`, `last`, `stddev`, `p99`, `rate`, `increase`, `delta`, `twa`",
    schema: r#"{"type":"string","examples":["mean,max"]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const FILL: Parameter = Parameter {
    name: "fill",
    about: "What stands for an empty bucket: `none`, `null`, `previous` or `linear`",
    schema: r#"{"type":"string","examples":["none","null","previous","linear"]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const FILL_MAX: Parameter = Parameter {
    name: "fill-max",
    about: "The longest gap that `previous` and `linear` fill",
    schema: r#"{"type":"string","examples":["2h"]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const BY: Parameter = Parameter {
    name: "by",
    about: "Groups of series in place of series: numbers of segments, `attr:NAME`, separated by commas; `all` for one group",
    schema: r#"{"type":"string","examples":["2","attr:line"]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const WHERE: Parameter = Parameter {
    name: "where",
    about: "Which values count",
    schema: r#"{"type":"string","examples":["value>80"]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const LIMIT: Parameter = Parameter {
    name: "limit",
    about: "At most so many rows a series or a group, from 1",
    schema: r#"{"type":"string","pattern":"^[0-9]*$","examples":["100"]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const TOP: Parameter = Parameter {
    name: "top",
    about: "Only so many of all rows, those with the greatest first aggregate, the greatest first",
    schema: r#"{"type":"string","pattern":"^[0-9]*$","examples":["100"]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const BOTTOM: Parameter = Parameter {
    name: "bottom",
    about: "Only so many of all rows, those with the least first aggregate, the least first",
    schema: r#"{"type":"string","pattern":"^[0-9]*$","examples":["100"]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const ORDER: Parameter = Parameter {
    name: "order",
    about: "`asc` or `desc`",
    schema: r#"{"type":"string","enum":["asc","desc",""]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const PAGE: Parameter = Parameter {
    name: "page",
    about: "At most so many rows in all, 1 to 100,000; `tidemark-next` says where the next page begins",
    schema: r#"{"type":"string","pattern":"^[0-9]*$","examples":["1000"]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const CURSOR: Parameter = Parameter {
    name: "cursor",
    about: "Where to go on, as the page before said; with the same question",
    schema: r#"{"type":"string"}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const MAX_ROWS: Parameter = Parameter {
    name: "max-rows",
    about: "The answer may have no more rows than this",
    schema: r#"{"type":"string","pattern":"^[0-9]*$"}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const MAX_BYTES: Parameter = Parameter {
    name: "max-bytes",
    about: "No more bytes of readings may be decoded for the answer",
    schema: r#"{"type":"string","examples":["256MiB"]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const FORMAT: Parameter = Parameter {
    name: "format",
    about: "The form of the answer, whatever `accept` says",
    schema: r#"{"type":"string","enum":["json","csv","ndjson",""]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const FORMAT_OR_ARROW: Parameter = Parameter {
    schema: r#"{"type":"string","enum":["json","csv","ndjson","arrow",""]}"#,
    ..FORMAT
};

pub(in crate::api) const FORMAT_OR_FILE: Parameter = Parameter {
    schema: r#"{"type":"string","enum":["json","csv","ndjson","arrow","parquet",""]}"#,
    ..FORMAT
};

pub(in crate::api) const TIME: Parameter = Parameter {
    name: "time",
    about: "How times are written",
    schema: r#"{"type":"string","enum":["rfc3339","ns","ms",""]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const CONSISTENCY: Parameter = Parameter {
    name: "consistency",
    about: "How fresh the answer must be: `any`, `max-staleness=D`, `at-least=TOKEN` or `linearizable`",
    schema: r#"{"type":"string","examples":["any","max-staleness=5s","linearizable"]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const NODE: Parameter = Parameter {
    name: "node",
    about: "The only replica that may answer",
    schema: r#"{"type":"string","pattern":"^[0-9]*$"}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const TIMEOUT: Parameter = Parameter {
    name: "timeout",
    about: "How long the answer may take to begin, and then each part of it; the service has a bound of its own",
    schema: r#"{"type":"string","examples":["5s"]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const AFTER: Parameter = Parameter {
    name: "after",
    about: "The position to go on from, as an earlier answer to the same question gave it",
    schema: r#"{"type":"string","examples":["0-1234","0-1234+10"]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const SINCE: Parameter = Parameter {
    name: "since",
    about: "Readings from this time on first, then what is committed",
    schema: r#"{"type":"string","examples":["-15m"]}"#,
    is_required: false,
    may_repeat: false,
};

pub(in crate::api) const POSITIONS: Parameter = Parameter {
    name: "positions",
    about: "Whether a WebSocket is told positions up to which nothing matched, too",
    schema: r#"{"type":"string","enum":["true","false",""]}"#,
    is_required: false,
    may_repeat: false,
};
