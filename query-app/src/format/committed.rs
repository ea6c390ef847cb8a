//! What was committed: its token, and how much it was.

use sensor_model::Token;

use crate::format::Format;
use crate::format::time_text::write_display;

/// The token of a commit; in JSON with `counts` beside it.
pub fn committed(token: Token, counts: &[(&str, u64)], format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    match format {
        Format::Table => write_display(format_args!("{token}\n"), &mut out),
        Format::Csv => write_display(format_args!("token\n{token}\n"), &mut out),
        Format::Json | Format::Ndjson | Format::Arrow => {
            write_display(format_args!("{{\"token\":\"{token}\""), &mut out);
            for (name, count) in counts {
                write_display(format_args!(",\"{name}\":{count}"), &mut out);
            }
            out.extend_from_slice(b"}\n");
        }
    }
    out
}
