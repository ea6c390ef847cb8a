//! `/boards`: what people compose of tiles, readable without script and kept fresh with it.
//!
//! A board is kept by the store, under a revision, and reached through the HTTP API like everything
//! else ([`kept`]). Nobody has to make the first one: `/boards/default` is made of the tree
//! ([`standard`]) unless a board of that name is kept. What a board shows is looked at once for all who
//! look ([`look`]) and drawn by [`view`]; it is edited with plain forms ([`editor`]), and a change over
//! a revision that is no longer there is shown beside what was typed, never lost.

mod draft;
mod editor;
mod kept;
mod list;
mod look;
mod sparkline;
mod standard;
mod trend;
mod view;

use std::sync::Arc;

use axum::extract::rejection::{ExtensionRejection, FormRejection};
use axum::extract::{DefaultBodyLimit, Form, FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use query_app::board::Board;
use sensor_model::BoardName;
use serde::Deserialize;
use store_wire::clock::Clock;

use crate::access;
use crate::answers::Problem;
use crate::api::ServerContext;
use crate::document::{self, Frame};
use crate::visitor::{Role, Visitor};
use draft::{Act, Draft};
use kept::Boards;
use look::Looks;

/// Where the pages are.
const HERE: &str = "/boards";
/// Longest form: 64 tiles, each field as long as it may be, escaped.
const BODY_BYTES_MAX: usize = 512 * 1024;
/// How many names are tried for a new board.
const NAMES_TRIED: usize = 20;
/// What a form says when it could not be read.
const NOT_A_FORM: &str = "what was sent is no form of this page: load it again";

#[derive(Clone)]
struct Pages {
    api: Router,
    clock: Arc<dyn Clock>,
    looks: Arc<Looks>,
}

/// Who asks, and how their page looks.
struct Asker {
    boards: Boards,
    visitor: Visitor,
    headers: HeaderMap,
}

/// Who asks and may edit; others are refused.
struct Editor(Asker);

#[derive(Deserialize)]
struct Wanted {
    /// Only the part that changes.
    fragment: Option<String>,
    /// What is shown must not be older than this token.
    since: Option<String>,
}

/// What the list's forms say.
#[derive(Deserialize)]
struct New {
    #[serde(default)]
    title: String,
    /// The board to begin with; empty for none.
    #[serde(default)]
    from: String,
}

#[derive(Deserialize)]
struct Removal {
    revision: u64,
}

/// The pages, for those who may see them.
pub(crate) fn router(api: Router, clock: Arc<dyn Clock>) -> Router {
    let seeing = ServerContext {
        api: api.clone(),
        // All who look share what is seen: no more than a reader may see.
        caller: access::caller(Role::Reader),
        clock: Arc::clone(&clock),
    };
    let pages = Pages {
        api,
        clock,
        looks: Arc::new(Looks::new(seeing)),
    };
    Router::new()
        .route(HERE, get(list_page).post(create))
        .route("/boards/{name}", get(show))
        .route("/boards/{name}/edit", get(edit).post(change))
        .route("/boards/{name}/remove", post(remove))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(pages)
}

impl FromRequestParts<Pages> for Asker {
    type Rejection = ExtensionRejection;

    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<Self, Self::Rejection> {
        let Extension(visitor) = Extension::from_request_parts(parts, pages).await?;
        let Extension(caller) = Extension::from_request_parts(parts, pages).await?;
        let context = ServerContext {
            api: pages.api.clone(),
            caller,
            clock: Arc::clone(&pages.clock),
        };
        Ok(Self {
            boards: Boards::new(context),
            visitor,
            headers: parts.headers.clone(),
        })
    }
}

impl FromRequestParts<Pages> for Editor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<Self, Response> {
        let asker = Asker::from_request_parts(parts, pages).await;
        let asker = asker.map_err(IntoResponse::into_response)?;
        if asker.may_edit() {
            return Ok(Self(asker));
        }
        let only = "Readers look at boards; an operator changes them.";
        Err(asker.sorry(&Problem::new("FORBIDDEN", only)))
    }
}

impl Asker {
    fn may_edit(&self) -> bool {
        self.visitor.role == Role::Operator
    }

    fn frame(&self, title: impl Into<String>) -> Frame {
        Frame {
            title: title.into(),
            theme: document::theme(&self.headers),
            visitor: Some(self.visitor.clone()),
            here: HERE,
        }
    }

    /// A page that says why there is nothing else.
    fn sorry(&self, problem: &Problem) -> Response {
        let (title, status) = match problem.code.as_str() {
            "NOT_FOUND" => ("There is no such board", StatusCode::NOT_FOUND),
            "FORBIDDEN" => ("Not for this role", StatusCode::FORBIDDEN),
            "BAD_REQUEST" => ("That makes no sense", StatusCode::BAD_REQUEST),
            _ => (
                "The board cannot be shown now",
                StatusCode::SERVICE_UNAVAILABLE,
            ),
        };
        let message = problem.message().to_owned();
        let mut response = document::page(self.frame(title), || view::sorry(title, message));
        *response.status_mut() = status;
        response
    }
}

async fn list_page(asker: Asker, Query(wanted): Query<Wanted>) -> Response {
    listed(&asker, wanted.since.as_deref(), None, "").await
}

async fn listed(
    asker: &Asker,
    since: Option<&str>,
    problem: Option<Problem>,
    typed: &str,
) -> Response {
    let boards = asker.boards.list(since).await;
    let status = match (&problem, &boards) {
        (Some(_), _) => StatusCode::BAD_REQUEST,
        (None, Err(_)) => StatusCode::SERVICE_UNAVAILABLE,
        (None, Ok(_)) => StatusCode::OK,
    };
    let (may_edit, typed) = (asker.may_edit(), typed.to_owned());
    let mut response = document::page(asker.frame("Boards"), || {
        list::content(boards, may_edit, problem, typed)
    });
    *response.status_mut() = status;
    response
}

async fn create(Editor(asker): Editor, new: Result<Form<New>, FormRejection>) -> Response {
    let Ok(Form(new)) = new else {
        let problem = Problem::new("BAD_REQUEST", NOT_A_FORM);
        return listed(&asker, None, Some(problem), "").await;
    };
    match made(&asker, &new).await {
        Ok((name, token)) => see(&format!("{HERE}/{name}/edit?since={token}")),
        Err(problem) => listed(&asker, None, Some(problem), &new.title).await,
    }
}

/// Makes a board under a name that is free; gives that, and the token of its commit.
async fn made(asker: &Asker, new: &New) -> Result<(String, String), Problem> {
    let tiles = match new.from.as_str() {
        "" => Vec::new(),
        from => asker.boards.read_or_standard(from, None).await?.board.tiles,
    };
    let board = Board {
        title: new.title.trim().to_owned(),
        tiles,
    };
    board
        .check()
        .map_err(|error| Problem::new("BAD_REQUEST", error.to_string()))?;
    let stem = slug(&board.title);
    for number in 1..=NAMES_TRIED {
        let name = match number {
            1 => stem.clone(),
            number => format!("{stem}-{number}"),
        };
        match asker.boards.write(&name, 0, &board).await {
            Ok(token) => return Ok((name, token)),
            Err(problem) if problem.code == kept::CONFLICT => {}
            Err(problem) => return Err(problem),
        }
    }
    let taken = format!("there are too many boards called {stem}: take another title");
    Err(Problem::new("BAD_REQUEST", taken))
}

async fn show(
    State(pages): State<Pages>,
    asker: Asker,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let picture = match pages.looks.look(&name, wanted.since.as_deref()).await {
        Ok(picture) => picture,
        Err(problem) => return asker.sorry(&problem),
    };
    let now = pages.clock.now();
    if wanted.fragment.is_some() {
        return document::fragment(|| view::parts(&picture, now));
    }
    let may_edit = asker.may_edit();
    let frame = asker.frame(picture.kept.board.title.clone());
    document::page(frame, || view::content(&name, &picture, now, may_edit))
}

async fn edit(
    Editor(asker): Editor,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let since = wanted.since.as_deref();
    match asker.boards.read_or_standard(&name, since).await {
        Ok(kept) => edited(&asker, &name, Draft::of(&kept), editor::Note::None).await,
        Err(problem) => asker.sorry(&problem),
    }
}

async fn edited(asker: &Asker, name: &str, draft: Draft, note: editor::Note) -> Response {
    let catalog = asker.boards.catalog().await.unwrap_or_default();
    let title = format!("Edit {}", draft.title);
    let (name, status) = (name.to_owned(), note.status());
    let mut response = document::page(asker.frame(title), || {
        editor::content(&name, draft, note, &catalog)
    });
    *response.status_mut() = status;
    response
}

async fn change(
    Editor(asker): Editor,
    Path(name): Path<String>,
    form: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Response {
    let form = form.ok().and_then(|Form(pairs)| Draft::parse(pairs));
    let Some((mut draft, act)) = form else {
        return asker.sorry(&Problem::new("BAD_REQUEST", NOT_A_FORM));
    };
    if act != Act::Save {
        draft.apply(act);
        return edited(&asker, &name, draft, editor::Note::None).await;
    }
    let board = match draft.checked() {
        Ok(board) => board,
        Err(note) => return edited(&asker, &name, draft, note).await,
    };
    match asker.boards.write(&name, draft.revision, &board).await {
        Ok(token) => see(&format!("{HERE}/{name}?since={token}")),
        Err(problem) if problem.code == kept::CONFLICT => {
            let theirs = match asker.boards.newest(&name).await {
                Ok(kept) => Some(kept),
                Err(gone) if gone.code == "NOT_FOUND" => None,
                Err(problem) => {
                    return edited(&asker, &name, draft, editor::Note::Refused(problem)).await;
                }
            };
            // Saving once more is then a decision: it replaces what is shown as theirs.
            draft.revision = theirs.as_ref().map_or(0, |kept| kept.revision);
            edited(&asker, &name, draft, editor::Note::Conflict(theirs)).await
        }
        Err(problem) => edited(&asker, &name, draft, editor::Note::Refused(problem)).await,
    }
}

async fn remove(
    Editor(asker): Editor,
    Path(name): Path<String>,
    removal: Result<Form<Removal>, FormRejection>,
) -> Response {
    let Ok(Form(Removal { revision })) = removal else {
        return asker.sorry(&Problem::new("BAD_REQUEST", NOT_A_FORM));
    };
    let problem = match asker.boards.remove(&name, revision).await {
        Ok(token) => return see(&format!("{HERE}?since={token}")),
        Err(problem) => problem,
    };
    match asker.boards.newest(&name).await {
        Ok(kept) => {
            let note = editor::Note::Refused(problem);
            edited(&asker, &name, Draft::of(&kept), note).await
        }
        Err(gone) => asker.sorry(&gone),
    }
}

/// Goes to `address`, by a GET.
fn see(address: &str) -> Response {
    let home = HeaderValue::from_static(HERE);
    let location = HeaderValue::from_str(address).unwrap_or(home);
    document::no_store((StatusCode::SEE_OTHER, [(header::LOCATION, location)])).into_response()
}

/// A name made of a title: its letters and digits, in lower case, with dashes between words.
fn slug(title: &str) -> String {
    let mut slug = String::new();
    for letter in title.chars().flat_map(char::to_lowercase) {
        match letter {
            'a'..='z' | '0'..='9' => slug.push(letter),
            'ä' | 'à' | 'á' | 'â' => slug.push('a'),
            'ö' | 'ó' | 'ô' => slug.push('o'),
            'ü' | 'ú' => slug.push('u'),
            'é' | 'è' | 'ê' => slug.push('e'),
            'ß' => slug.push_str("ss"),
            _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
    }
    // What is tried next has a number behind it.
    slug.truncate(sensor_model::board::BOARD_NAME_BYTES_MAX - 3);
    let slug = slug.trim_matches('-');
    match BoardName::new(slug) {
        // The address of what is made of the tree is not taken by accident.
        Ok(name) if name.as_str() != standard::NAME => name.to_string(),
        _ => "board".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_gives_a_name() {
        for (title, name) in [
            ("Hall 1", "hall-1"),
            ("  Öfen & Pressen! ", "ofen-pressen"),
            ("温度", "board"),
            ("Default", "board"),
            ("--", "board"),
        ] {
            assert_eq!(slug(title), name, "{title}");
        }
        let long = slug(&"x".repeat(200));
        assert!(BoardName::new(format!("{long}-{NAMES_TRIED}")).is_ok());
    }
}
