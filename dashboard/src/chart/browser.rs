//! The chart in the browser.

use js_sys::{Array, Float64Array, Object, Reflect};
use send_wrapper::SendWrapper;
use wasm_bindgen::prelude::*;
use web_sys::HtmlElement;

use super::{Sheet, Trace};
use crate::plot::Form;

#[wasm_bindgen(module = "/assets/chart.js")]
extern "C" {
    #[wasm_bindgen(js_name = Chart)]
    type Drawing;

    #[wasm_bindgen(constructor, js_class = "Chart")]
    fn new(host: &HtmlElement, zoom: &Closure<dyn FnMut(f64, f64)>) -> Drawing;

    #[wasm_bindgen(method)]
    fn draw(this: &Drawing, sheet: &JsValue);

    #[wasm_bindgen(method)]
    fn destroy(this: &Drawing);
}

/// A chart in an element of the page. Dropping it takes the drawing away.
///
/// A page has one thread, on which all of this stays.
pub struct Chart {
    drawing: SendWrapper<Drawing>,
    /// Called from JavaScript for as long as the drawing lives.
    _zoom: SendWrapper<Closure<dyn FnMut(f64, f64)>>,
}

impl Chart {
    /// An empty chart in `host`. `zoom` is called with the seconds that the reader has marked.
    pub fn new(host: &HtmlElement, zoom: impl FnMut(f64, f64) + 'static) -> Self {
        let zoom = Closure::new(zoom);
        Self {
            drawing: SendWrapper::new(Drawing::new(host, &zoom)),
            _zoom: SendWrapper::new(zoom),
        }
    }

    /// Draws `sheet` in place of what was drawn before, without an empty moment between.
    pub fn draw(&self, sheet: &Sheet) {
        let traces: Array = sheet.traces.iter().map(trace).collect();
        self.drawing.draw(&object(&[
            ("stepped", (sheet.form == Form::States).into()),
            ("unit", sheet.unit.as_str().into()),
            ("unitLabel", sheet.unit_label.as_str().into()),
            ("from", sheet.seconds.0.into()),
            ("to", sheet.seconds.1.into()),
            ("traces", traces.into()),
        ]));
    }
}

impl Drop for Chart {
    fn drop(&mut self) {
        self.drawing.destroy();
    }
}

fn trace(trace: &Trace) -> JsValue {
    let numbers = |numbers: &[f64]| JsValue::from(Float64Array::from(numbers));
    let points = &trace.points;
    let (low, high) = match &points.band {
        Some((low, high)) => (numbers(low), numbers(high)),
        None => (JsValue::NULL, JsValue::NULL),
    };
    object(&[
        ("label", trace.label.as_str().into()),
        (
            "place",
            u32::try_from(trace.place).unwrap_or_default().into(),
        ),
        ("seconds", numbers(&points.seconds)),
        ("line", numbers(&points.line)),
        ("low", low),
        ("high", high),
    ])
}

fn object(fields: &[(&str, JsValue)]) -> JsValue {
    let object = Object::new();
    for (name, value) in fields {
        // A fresh plain object takes every field.
        let _ = Reflect::set(&object, &JsValue::from_str(name), value);
    }
    object.into()
}
