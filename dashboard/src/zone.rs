//! The time zone that times are written and typed in: UTC, the browser's, or a named one.
//!
//! Browsers know the zones of the world, so the work is theirs (`assets/time.js`). What the server
//! renders has no times but those of the address.

#[cfg(target_arch = "wasm32")]
pub use browser::{date_time, set_zone, shown, typed, zone_name};

#[cfg(target_arch = "wasm32")]
mod browser {
    use wasm_bindgen::prelude::*;

    #[wasm_bindgen(module = "/assets/time.js")]
    extern "C" {
        /// Sets the zone: empty for UTC, `local`, or a name. What is no zone is UTC.
        #[wasm_bindgen(js_name = setZone)]
        pub fn set_zone(name: &str);

        /// The zone's name.
        #[wasm_bindgen(js_name = zoneName)]
        pub fn zone_name() -> String;

        /// Date and time of ms since 1970-01-01 UTC, with milliseconds only where there are any.
        #[wasm_bindgen(js_name = dateTime)]
        pub fn date_time(millis: f64) -> String;

        /// A time of the address as it is typed in zone `name`.
        pub fn shown(text: &str, name: &str) -> String;

        /// What was typed in zone `name` as a time of the address.
        pub fn typed(text: &str, name: &str) -> String;
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub use server::{date_time, shown, typed, zone_name};

#[cfg(not(target_arch = "wasm32"))]
mod server {
    use crate::format;

    /// The zone's name.
    pub fn zone_name() -> String {
        "UTC".to_owned()
    }

    /// Date and time of ms since 1970-01-01 UTC, with milliseconds only where there are any.
    pub fn date_time(millis: f64) -> String {
        let full = format::from_millis(millis).to_string();
        let (Some(date), Some(time), Some(millis)) =
            (full.get(..10), full.get(11..19), full.get(20..23))
        else {
            return full;
        };
        match millis {
            "000" => format!("{date} {time}"),
            millis => format!("{date} {time}.{millis}"),
        }
    }

    /// A time of the address as it is typed.
    pub fn shown(text: &str, _name: &str) -> String {
        text.to_owned()
    }

    /// What was typed as a time of the address.
    pub fn typed(text: &str, _name: &str) -> String {
        text.to_owned()
    }
}
