//! The application's two beginnings: the document that the server renders, and the browser's taking
//! it over.

use leptos::prelude::*;

use crate::initial::Initial;
use crate::page::Page;
use crate::view_state::ViewState;

/// Where in the document the server leaves what it rendered with.
const INITIAL_ID: &str = "initial";

/// The whole document.
#[cfg(not(target_arch = "wasm32"))]
pub fn document(view: ViewState, initial: Initial) -> impl IntoView {
    use crate::assets::Bundle;

    let bundle = Bundle::default();
    let script = bundle.address("start.js");
    let chart = bundle.address("uPlot.iife.min.js");
    let module = bundle.address("dashboard.js");
    let wasm = bundle.address("dashboard_bg.wasm");
    let chart_style = bundle.address("uPlot.min.css");
    let data = as_script_data(&initial);
    let (title, theme) = (view.title(), initial.theme);
    view! {
        <!DOCTYPE html>
        <html lang="en" data-theme=theme.as_str()>
            <head>
                <meta charset="utf-8" />
                <meta name="viewport" content="width=device-width, initial-scale=1" />
                <meta name="color-scheme" content="light dark" />
                <meta
                    name="description"
                    content="Sensor readings of a Tidemark cluster, live and over any time."
                />
                <title>{title}</title>
                <link rel="icon" type="image/svg+xml" href=bundle.address_or_plain("favicon.svg") />
                <link rel="stylesheet" href=bundle.address_or_plain("style.css") />
                {chart_style.map(|href| view! { <link rel="stylesheet" href=href /> })}
                {wasm
                    .map(|href| {
                        view! {
                            <link
                                rel="preload"
                                href=href
                                r#as="fetch"
                                r#type="application/wasm"
                                crossorigin="anonymous"
                            />
                        }
                    })}
                {module.map(|href| view! { <link rel="modulepreload" href=href /> })}
                {chart.map(|src| view! { <script defer src=src></script> })}
                {script.map(|src| view! { <script type="module" src=src></script> })}
                <script type="application/json" id=INITIAL_ID inner_html=data></script>
            </head>
            <body>
                <Page view=view initial=initial />
            </body>
        </html>
    }
}

/// JSON that cannot end the script element it stands in.
#[cfg(not(target_arch = "wasm32"))]
fn as_script_data(initial: &Initial) -> String {
    let json = serde_json::to_string(initial).expect("texts, numbers and lists are always JSON");
    json.replace('<', "\\u003c")
}

/// Takes over the page that the server has rendered.
#[cfg(target_arch = "wasm32")]
pub fn hydrate() {
    let data = document()
        .get_element_by_id(INITIAL_ID)
        .and_then(|element| element.text_content());
    let initial: Option<Initial> = data.and_then(|data| serde_json::from_str(&data).ok());
    // A page that came without it would not match: it stays as it was rendered.
    if let Some(initial) = initial {
        let view: ViewState = crate::address::current();
        leptos::mount::hydrate_body(move || view! { <Page view=view initial=initial /> });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_the_script_it_stands_in() {
        let mut initial = Initial::nothing();
        initial.catalog = Err(crate::answers::Problem::new(
            "X",
            "</script><script>alert(1)",
        ));
        let data = as_script_data(&initial);
        assert!(!data.contains('<'), "{data}");
        assert_eq!(serde_json::from_str::<Initial>(&data).unwrap(), initial);
    }
}
