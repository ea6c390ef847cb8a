//! `docs/benchmarks.md`: each command replaces its own part, between two markers.

use std::path::Path;

use anyhow::{Context, Result};

/// Puts `text` between the markers of `part` in `page`.
///
/// # Errors
/// When the page cannot be read or written, or has no such markers.
pub(crate) fn replace(page: &Path, part: &str, text: &str) -> Result<()> {
    let before = std::fs::read_to_string(page);
    let before = before.with_context(|| format!("cannot read {}", page.display()))?;
    let after = replaced(&before, part, text);
    let after = after.with_context(|| format!("{} has no part {part}", page.display()))?;
    std::fs::write(page, after).with_context(|| format!("cannot write {}", page.display()))
}

fn replaced(page: &str, part: &str, text: &str) -> Option<String> {
    let (begin, end) = (
        format!("<!-- {part}: begin -->\n"),
        format!("<!-- {part}: end -->"),
    );
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{}\n{end}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_replaced_and_the_others_stay() {
        let page = "# A\n<!-- a: begin -->\nold\n<!-- a: end -->\n<!-- b: begin -->\nkept\n<!-- b: end -->\n";
        let once = replaced(page, "a", "new\n").expect("it is there");
        assert_eq!(once, page.replace("old", "new"));
        assert_eq!(replaced(&once, "a", "new\n"), Some(once.clone()));
        assert_eq!(replaced(page, "c", "new"), None);
    }
}
