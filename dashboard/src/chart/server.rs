//! No chart: the server draws none.

use leptos::web_sys::HtmlElement;

use super::Sheet;

/// A chart that is never drawn.
pub struct Chart;

impl Chart {
    /// Nothing is made of it.
    pub fn new(_host: &HtmlElement) -> Self {
        Self
    }

    /// Nothing is drawn.
    pub fn draw(&self, _sheet: &Sheet) {}
}
