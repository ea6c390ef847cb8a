//! Boards as the store keeps them, by the HTTP API, for whoever asks.

use query_app::board::{Board, Tile};
use serde::Deserialize;
use serde_json::json;

use super::standard;
use crate::answers::{Catalog, Problem};
use crate::api::{self, CATALOG_ADDRESS, ServerContext};
use crate::view_state::escape;

/// The code of a change over a revision that is no longer there.
pub(super) const CONFLICT: &str = "CONFLICT";

/// Asks for boards on behalf of somebody.
#[derive(Clone)]
pub(super) struct Boards {
    context: ServerContext,
}

/// A board with its revision: 0 for one that is made of the tree.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    pub(super) board: Board,
    pub(super) revision: u64,
    /// A read with this sees no older one.
    pub(super) token: String,
}

/// What a list says of a board.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) title: String,
}

#[derive(Deserialize)]
struct List {
    boards: Vec<Entry>,
}

#[derive(Deserialize)]
struct Document {
    title: String,
    tiles: Vec<Tile>,
    revision: u64,
    token: String,
}

#[derive(Deserialize)]
struct Committed {
    token: String,
}

impl Boards {
    pub(super) const fn new(context: ServerContext) -> Self {
        Self { context }
    }

    /// Every board that is kept, by title, as of `since` or later.
    pub(super) async fn list(&self, since: Option<&str>) -> Result<Vec<Entry>, Problem> {
        let address = fresh("/api/v1/boards", since);
        let List { mut boards } = api::get(&self.context, &address).await?;
        boards.sort_by_cached_key(|entry| (entry.title.to_lowercase(), entry.name.clone()));
        Ok(boards)
    }

    /// The board `name` as it is kept, as of `since` or later.
    pub(super) async fn read(&self, name: &str, since: Option<&str>) -> Result<Kept, Problem> {
        self.at(&fresh(&place(name), since)).await
    }

    /// The board `name` as it is kept after everything that was ever acknowledged.
    pub(super) async fn newest(&self, name: &str) -> Result<Kept, Problem> {
        self.at(&format!("{}?consistency=linearizable", place(name)))
            .await
    }

    /// The same, or what is made of the tree where that is asked for and none is kept.
    pub(super) async fn read_or_standard(
        &self,
        name: &str,
        since: Option<&str>,
    ) -> Result<Kept, Problem> {
        match self.read(name, since).await {
            Err(problem) if standard::stands_in(name, &problem) => {
                let catalog = self.catalog().await?;
                Ok(standard::board(&catalog))
            }
            read => read,
        }
    }

    /// Writes the board `name` over `revision`, 0 for none; gives the commit's token.
    pub(super) async fn write(
        &self,
        name: &str,
        revision: u64,
        board: &Board,
    ) -> Result<String, Problem> {
        let (place, body) = (place(name), json!(board));
        let asked = api::send(&self.context, "PUT", &place, condition(revision), body);
        asked.await.map(|Committed { token }| token)
    }

    /// Removes the board `name` of `revision`; gives the commit's token.
    pub(super) async fn remove(&self, name: &str, revision: u64) -> Result<String, Problem> {
        let (place, nothing) = (place(name), json!(null));
        let asked = api::send(
            &self.context,
            "DELETE",
            &place,
            condition(revision),
            nothing,
        );
        asked.await.map(|Committed { token }| token)
    }

    /// Every series.
    pub(super) async fn catalog(&self) -> Result<Catalog, Problem> {
        api::get(&self.context, CATALOG_ADDRESS).await
    }

    async fn at(&self, address: &str) -> Result<Kept, Problem> {
        let Document {
            title,
            tiles,
            revision,
            token,
        } = api::get(&self.context, address).await?;
        // What the replica has beside it need not be waited for again.
        let shard = token.split('-').next().unwrap_or_default();
        Ok(Kept {
            board: Board { title, tiles },
            revision,
            token: format!("{shard}-{revision}"),
        })
    }
}

fn place(name: &str) -> String {
    format!("/api/v1/boards/{}", escape(name).replace('/', "%2F"))
}

fn fresh(address: &str, since: Option<&str>) -> String {
    match since {
        Some(token) => {
            let token = escape(token);
            format!("{address}?consistency=at-least%3D{token}&timeout=2s")
        }
        None => address.to_owned(),
    }
}

/// The header that says what a change replaces.
fn condition(revision: u64) -> (&'static str, String) {
    match revision {
        0 => ("if-none-match", "*".to_owned()),
        revision => ("if-match", format!("\"{revision}\"")),
    }
}
