//! The time, as the server has it.
//!
//! A browser's clock may be wrong by hours, and "the last 15 minutes" would then be empty. Every
//! answer names the server's time, to the second; where the two differ by more than that is worth,
//! the browser follows the server.

use std::cell::Cell;

use sensor_model::Timestamp;

use crate::format::from_millis;

/// Smaller differences are rounding and the way of the answer.
const SKEW_MS_MIN: f64 = 2_000.0;

thread_local! {
    static SKEW_MS: Cell<f64> = const { Cell::new(0.0) };
}

/// What the time is on the server.
pub fn now() -> Timestamp {
    from_millis(js_sys::Date::now() + SKEW_MS.get())
}

/// Takes note of an answer's `Date` header.
pub fn note_server_date(date: &str) {
    let server = js_sys::Date::parse(date);
    if server.is_finite() {
        // The header is cut to whole seconds: half a second is lost on average.
        let skew = server + 500.0 - js_sys::Date::now();
        SKEW_MS.set(if skew.abs() > SKEW_MS_MIN { skew } else { 0.0 });
    }
}
