//! The page's address, which is its state: controls and links change it, and the page follows.
//!
//! Every link of the page to another of its views is an ordinary link, so it works without script,
//! can be copied and opened in another tab; a plain click changes the view in place.

use leptos::prelude::*;

use crate::view_state::ViewState;

/// The address that the page shows. Copies share it.
#[derive(Clone, Copy)]
pub struct Address {
    view: RwSignal<ViewState>,
}

impl Address {
    /// The address with this view.
    pub fn new(view: ViewState) -> Self {
        Self {
            view: RwSignal::new(view),
        }
    }

    /// What the address says.
    pub fn view(self) -> ReadSignal<ViewState> {
        self.view.read_only()
    }

    /// Goes to `view`, with the one before a step back in the browser's history.
    pub fn go(self, view: &ViewState) {
        if *view != *self.view.read_untracked() {
            browser::push(&view.to_href());
            self.view.set(view.clone());
        }
    }

    /// Follows links to other views, and the browser's back and forth. Nothing on the server.
    pub fn follow(self) {
        Effect::new(move |_| {
            let clicks = window_event_listener(leptos::ev::click, move |event| {
                if let Some(view) = browser::clicked(&event) {
                    event.prevent_default();
                    self.go(&view);
                }
            });
            let steps = window_event_listener(leptos::ev::popstate, move |_| {
                self.view.set(browser::current());
            });
            on_cleanup(move || {
                clicks.remove();
                steps.remove();
            });
        });
    }
}

/// What the address bar of the browser says.
#[cfg(target_arch = "wasm32")]
pub use browser::current;

#[cfg(target_arch = "wasm32")]
mod browser {
    use leptos::web_sys::{Element, MouseEvent};
    use wasm_bindgen::prelude::*;

    use crate::view_state::ViewState;

    /// Scripts change the address by the same module, and then say `popstate`.
    #[wasm_bindgen(module = "/assets/address.js")]
    extern "C" {
        #[wasm_bindgen(js_name = current)]
        fn query() -> String;

        pub(super) fn push(href: &str);
    }

    /// What the address bar says.
    pub fn current() -> ViewState {
        ViewState::parse(&query())
    }

    /// The view that a plain click on one of the page's own links asks for.
    pub(super) fn clicked(event: &MouseEvent) -> Option<ViewState> {
        let is_plain = event.button() == 0
            && !event.default_prevented()
            && !event.meta_key()
            && !event.ctrl_key()
            && !event.shift_key()
            && !event.alt_key();
        if !is_plain {
            return None;
        }
        let target: Element = event.target()?.dyn_into().ok()?;
        let link = target.closest("a[href]").ok()??;
        let href = link.get_attribute("href")?;
        match href.strip_prefix('/')? {
            "" => Some(ViewState::default()),
            rest => rest.strip_prefix('?').map(ViewState::parse),
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod browser {
    use leptos::web_sys::MouseEvent;

    use crate::view_state::ViewState;

    pub(super) fn current() -> ViewState {
        ViewState::default()
    }

    pub(super) fn push(_href: &str) {}

    pub(super) fn clicked(_event: &MouseEvent) -> Option<ViewState> {
        None
    }
}
