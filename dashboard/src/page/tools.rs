//! The choices above the charts that are not of time alone, and taking what is shown elsewhere.
//!
//! All of it changes the address or reads what is drawn, so scripts do it (`assets/tools.js`); here is
//! the element they fill.

use leptos::html::Div;
use leptos::prelude::*;

use crate::live::Feed;

/// Where the choices are; empty until the browser part is there.
#[component]
pub(crate) fn Tools(feed: Feed) -> impl IntoView {
    let host = NodeRef::<Div>::new();
    Effect::new(move |_| {
        feed.view.track();
        if let Some(host) = host.get() {
            fill(&host);
        }
    });
    view! { <div class="tools" role="group" aria-label="Charts" node_ref=host></div> }
}

#[cfg(target_arch = "wasm32")]
use browser::tools as fill;

#[cfg(target_arch = "wasm32")]
mod browser {
    use leptos::web_sys::HtmlElement;
    use wasm_bindgen::prelude::*;

    #[wasm_bindgen(module = "/assets/tools.js")]
    extern "C" {
        /// Fills the element, and shows what the address says.
        pub(super) fn tools(host: &HtmlElement);
    }
}

/// Effects do not run on the server.
#[cfg(not(target_arch = "wasm32"))]
fn fill(_host: &leptos::web_sys::HtmlElement) {}
