//! The chart in the browser.

use js_sys::{Array, Float64Array, Object, Reflect};
use send_wrapper::SendWrapper;
use wasm_bindgen::prelude::*;
use web_sys::HtmlElement;

use super::{Sheet, Trace};
use crate::format;
use crate::plot::Form;

#[wasm_bindgen(module = "/assets/chart.js")]
extern "C" {
    #[wasm_bindgen(js_name = Chart)]
    type Drawing;

    #[wasm_bindgen(constructor, js_class = "Chart")]
    fn new(host: &HtmlElement) -> Drawing;

    #[wasm_bindgen(method)]
    fn draw(this: &Drawing, sheet: &JsValue);

    #[wasm_bindgen(method)]
    fn destroy(this: &Drawing);
}

/// A chart in an element of the page. Dropping it takes the drawing away.
///
/// A page has one thread, on which all of this stays.
pub struct Chart(SendWrapper<Drawing>);

impl Chart {
    /// An empty chart in `host`.
    pub fn new(host: &HtmlElement) -> Self {
        Self(SendWrapper::new(Drawing::new(host)))
    }

    /// Draws `sheet` in place of what was drawn before, without an empty moment between.
    pub fn draw(&self, sheet: &Sheet) {
        let traces: Array = sheet.traces.iter().map(trace).collect();
        let units: Array = sheet.units.iter().map(|unit| self::unit(unit)).collect();
        self.0.draw(&object(&[
            ("stepped", (sheet.form == Form::States).into()),
            ("units", units.into()),
            ("from", sheet.seconds.0.into()),
            ("to", sheet.seconds.1.into()),
            ("traces", traces.into()),
        ]));
    }
}

impl Drop for Chart {
    fn drop(&mut self) {
        self.0.destroy();
    }
}

fn unit(unit: &str) -> JsValue {
    object(&[
        ("unit", unit.into()),
        ("label", format::unit_label(unit).into()),
    ])
}

fn trace(trace: &Trace) -> JsValue {
    let numbers = |numbers: &[f64]| JsValue::from(Float64Array::from(numbers));
    let whole = |number: usize| JsValue::from(u32::try_from(number).unwrap_or_default());
    let points = &trace.points;
    let (low, high) = match &points.band {
        Some((low, high)) => (numbers(low), numbers(high)),
        None => (JsValue::NULL, JsValue::NULL),
    };
    object(&[
        ("label", trace.label.as_str().into()),
        ("place", whole(trace.place)),
        ("axis", whole(trace.axis)),
        ("before", trace.is_before.into()),
        ("seconds", numbers(&points.seconds)),
        ("line", numbers(&points.line)),
        ("low", low),
        ("high", high),
        ("missing", numbers(&points.missing)),
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
