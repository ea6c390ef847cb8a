//! The list of boards, and where one begins a new one.

use leptos::either::Either;
use leptos::prelude::*;

use super::kept::Entry;
use super::{HERE, standard, view};
use crate::answers::Problem;

/// The page. `problem` is what was wrong with the form, in which `typed` stood as the title.
pub(super) fn content(
    boards: Result<Vec<Entry>, Problem>,
    may_edit: bool,
    problem: Option<Problem>,
    typed: String,
) -> impl IntoView {
    let (boards, silence) = match boards {
        Ok(boards) => (boards, None),
        Err(problem) => (Vec::new(), Some(problem)),
    };
    let is_kept = boards.iter().any(|entry| entry.name == standard::NAME);
    let made = (!is_kept).then(|| {
        view! {
            <li>
                <a href=format!("{HERE}/{}", standard::NAME)>
                    <span class="name">"Default"</span>
                    <small>"made of the tree"</small>
                </a>
            </li>
        }
    });
    let rows: Vec<_> = boards.iter().map(row).collect();
    let hint = match (rows.is_empty(), silence.is_some(), may_edit) {
        (true, false, true) => {
            Some("Nobody has composed a board yet: begin with a copy of the default one.")
        }
        (true, false, false) => Some("Nobody has composed a board yet. An operator can."),
        _ => None,
    };
    let form = may_edit.then(|| new_board(&boards, is_kept, problem, typed));
    view! {
        <main id="content" class="wide boards" tabindex="-1">
            <h2>"Boards"</h2>
            {silence.as_ref().map(view::notice)}
            <ul class="offers">{made} {rows}</ul>
            {hint.map(|hint| view! { <p class="hint">{hint}</p> })}
            {form}
        </main>
    }
}

fn row(entry: &Entry) -> impl IntoView + use<> {
    let (name, title) = (entry.name.clone(), entry.title.clone());
    let place = format!("{HERE}/{name}");
    view! {
        <li>
            <a href=place>
                <span class="name">{title}</span>
                <small>{name}</small>
            </a>
        </li>
    }
}

fn new_board(
    boards: &[Entry],
    is_kept: bool,
    problem: Option<Problem>,
    typed: String,
) -> impl IntoView + use<> {
    let made = (!is_kept).then_some(("Default", standard::NAME));
    let choices: Vec<_> = made
        .map(|(title, name)| (title.to_owned(), name.to_owned()))
        .into_iter()
        .chain(
            boards
                .iter()
                .map(|entry| (entry.title.clone(), entry.name.clone())),
        )
        .map(|(title, name)| view! { <option value=name>{format!("a copy of {title}")}</option> })
        .collect();
    let is_wrong = problem.is_some();
    let problem = match problem {
        Some(problem) => Either::Left(view::notice(&problem)),
        None => Either::Right(()),
    };
    view! {
        <form method="post" action=HERE class="panel new-board">
            <h3>"New board"</h3>
            {problem}
            <label>
                "Title"
                <input
                    name="title"
                    value=typed
                    required
                    maxlength="120"
                    aria-invalid=is_wrong.then_some("true")
                />
            </label>
            <label>
                "Begin with"
                <select name="from">
                    <option value="">"nothing"</option>
                    {choices}
                </select>
            </label>
            <button type="submit" class="primary">"Create"</button>
        </form>
    }
}
