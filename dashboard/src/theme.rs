//! Light or dark: the system's choice, or the reader's, kept in a cookie so that the server renders
//! the right one at once.

use serde::{Deserialize, Serialize};

/// The name of the cookie.
pub const COOKIE: &str = "tidemark-theme";

/// Which colours the page has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Theme {
    /// Those the system asks for.
    #[default]
    Auto,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// Every theme, in the order of the switch.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    /// The theme's name, in the cookie and in the page's `data-theme`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The theme that a `Cookie` header asks for.
    pub fn from_cookies(header: &str) -> Self {
        let value = header
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| *name == COOKIE)
            .map(|(_, value)| value);
        Self::ALL
            .into_iter()
            .find(|theme| Some(theme.as_str()) == value)
            .unwrap_or_default()
    }
}

/// Shows the page in `theme` and remembers it for a year.
#[cfg(target_arch = "wasm32")]
pub fn choose(theme: Theme) {
    use leptos::prelude::document;

    let name = theme.as_str();
    if let Some(root) = document().document_element() {
        // Setting an attribute of an element fails only for names that are none.
        let _ = root.set_attribute("data-theme", name);
    }
    if let Some(document) = html_document() {
        let cookie = format!("{COOKIE}={name}; Path=/; Max-Age=31536000; SameSite=Lax");
        // A browser without cookies forgets the choice; the page shows it all the same.
        let _ = document.set_cookie(&cookie);
    }
}

/// Nobody chooses while a page is rendered.
#[cfg(not(target_arch = "wasm32"))]
pub fn choose(_theme: Theme) {}

#[cfg(target_arch = "wasm32")]
fn html_document() -> Option<web_sys::HtmlDocument> {
    use wasm_bindgen::JsCast;

    leptos::prelude::document().dyn_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others_and_a_wrong_one_is_ignored() {
        assert_eq!(Theme::from_cookies("a=b; tidemark-theme=dark"), Theme::Dark);
        assert_eq!(Theme::from_cookies("tidemark-theme=purple"), Theme::Auto);
        assert_eq!(Theme::from_cookies(""), Theme::Auto);
    }
}
