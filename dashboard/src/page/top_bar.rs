//! The bar on top of every page: name, where one can go, light or dark, who is logged in.

use leptos::prelude::*;

use crate::theme::{self, Theme};
use crate::visitor::Visitor;

/// The pages, by address and name.
const PAGES: [(&str, &str); 3] = [
    ("/", "Explore"),
    ("/boards", "Boards"),
    ("/cluster", "Cluster"),
];

/// The bar on top of a page; `here` is the page's own address. Before somebody has logged in there is
/// nowhere to go.
#[component]
pub(crate) fn TopBar(
    theme: Theme,
    visitor: Option<Visitor>,
    here: &'static str,
    children: Children,
) -> impl IntoView {
    let pages = visitor.is_some().then(|| {
        let links = PAGES.map(|(address, name)| {
            view! { <a href=address aria-current=(address == here).then_some("page")>{name}</a> }
        });
        view! { <nav class="pages" aria-label="Pages">{links.collect_view()}</nav> }
    });
    let name = visitor.and_then(|visitor| Some((visitor.name?, visitor.role)));
    let leave = name.map(|(name, role)| {
        view! {
            <form class="leave" method="post" action="/logout">
                <span title=role.as_str()>{name}</span>
                <button type="submit" class="button">"Log out"</button>
            </form>
        }
    });
    view! {
        <header class="top">
            <h1 class="brand">
                <a href="/">
                    <svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true">
                        <path d="M2 8c3.3-4 6.7-4 10 0s6.7 4 10 0" />
                        <path d="M2 16c3.3-4 6.7-4 10 0s6.7 4 10 0" />
                    </svg>
                    "Tidemark"
                </a>
            </h1>
            {pages}
            {children()}
            <ThemeSwitch theme=theme />
            {leave}
        </header>
    }
}

/// Light, dark, or as the system has it.
#[component]
fn ThemeSwitch(theme: Theme) -> impl IntoView {
    let choices = Theme::ALL.map(|choice| {
        let name = choice.as_str();
        view! {
            <label title=format!("Colours: {name}")>
                <input
                    type="radio"
                    name="theme"
                    value=name
                    checked=choice == theme
                    on:change=move |_| theme::choose(choice)
                />
                <span>{name}</span>
            </label>
        }
    });
    view! {
        <fieldset class="segments theme">
            <legend class="unseen">"Colours"</legend>
            {choices.collect_view()}
        </fieldset>
    }
}
