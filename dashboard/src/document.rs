//! The frame of those pages that the server renders alone: head, bar on top, and a script module of
//! ours that keeps a part of them fresh.

use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};
use leptos::prelude::*;
use leptos::reactive::owner::Owner;

use crate::assets::Bundle;
use crate::page::TopBar;
use crate::theme::Theme;
use crate::visitor::Visitor;

/// What a page is called, and for whom it is.
pub(crate) struct Frame {
    /// What it is called in the browser's tab.
    pub(crate) title: String,
    /// Its colours.
    pub(crate) theme: Theme,
    /// Who looks at it; `None` if they have not logged in.
    pub(crate) visitor: Option<Visitor>,
    /// Its address, so that the bar on top shows where one is.
    pub(crate) here: &'static str,
}

/// The colours that a request asks for.
pub(crate) fn theme(headers: &HeaderMap) -> Theme {
    let cookies = headers.get(header::COOKIE);
    let cookies = cookies.and_then(|value| value.to_str().ok());
    cookies.map(Theme::from_cookies).unwrap_or_default()
}

/// The whole document with `content` as its main part. It is never kept by a browser.
pub(crate) fn page<View: IntoView + 'static>(
    frame: Frame,
    content: impl FnOnce() -> View,
) -> Response {
    let owner = Owner::new();
    let html = owner.with(|| {
        let bundle = Bundle::default();
        let Frame {
            title,
            theme,
            visitor,
            here,
        } = frame;
        let content = content();
        view! {
            <!DOCTYPE html>
            <html lang="en" data-theme=theme.as_str()>
                <head>
                    <meta charset="utf-8" />
                    <meta name="viewport" content="width=device-width, initial-scale=1" />
                    <meta name="color-scheme" content="light dark" />
                    <title>{format!("{title} · Tidemark")}</title>
                    <link
                        rel="icon"
                        type="image/svg+xml"
                        href=bundle.address_or_plain("favicon.svg")
                    />
                    <link rel="stylesheet" href=bundle.address_or_plain("style.css") />
                    <link rel="stylesheet" href=bundle.address_or_plain("pages.css") />
                    <script type="module" src=bundle.address_or_plain("pages.js")></script>
                </head>
                <body>
                    <a class="skip" href="#content">"Skip to the content"</a>
                    <TopBar theme=theme visitor=visitor here=here>
                        ""
                    </TopBar>
                    {content}
                </body>
            </html>
        }
        .to_html()
    });
    no_store(Html(html))
}

/// A part of a page, as the script of the page asks for it.
pub(crate) fn fragment<View: IntoView + 'static>(content: impl FnOnce() -> View) -> Response {
    let owner = Owner::new();
    no_store(Html(owner.with(|| content().to_html())))
}

/// An answer that no browser keeps.
pub(crate) fn no_store(answer: impl IntoResponse) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], answer).into_response()
}
