//! The program over the wire: scripted store nodes in this process, the real client, the real
//! binary, and the HTTP routes.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails right there"
)]

#[path = "query_app/answers.rs"]
mod answers;
#[path = "query_app/boards.rs"]
mod boards;
#[path = "query_app/changes.rs"]
mod changes;
#[path = "query_app/commands.rs"]
mod commands;
#[path = "query_app/describe.rs"]
mod describe;
#[path = "query_app/elsewhere.rs"]
mod elsewhere;
#[path = "query_app/files.rs"]
mod files;
#[path = "query_app/foreign.rs"]
mod foreign;
#[path = "query_app/http.rs"]
mod http;
#[path = "query_app/nearest.rs"]
mod nearest;
#[path = "query_app/pages.rs"]
mod pages;
#[path = "query_app/problems.rs"]
mod problems;
#[path = "query_app/prompt.rs"]
mod prompt;
#[path = "query_app/removal.rs"]
mod removal;
#[path = "query_app/serve.rs"]
mod serve;
#[path = "query_app/store.rs"]
mod store;
#[path = "query_app/tail.rs"]
mod tail;
#[path = "query_app/terminal.rs"]
mod terminal;
#[path = "query_app/tokens.rs"]
mod tokens;
