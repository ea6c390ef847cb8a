//! Small text files with a checksum: their last line is a comment with the CRC32C of all before it.

/// What the last line begins with.
const MARK: &str = "# crc32c ";
/// Bytes of the last line: the mark, eight digits and the end of the line.
const LINE_BYTES: usize = MARK.len() + 9;

/// The text with its checksum. It must end with the end of a line.
pub(super) fn with_checksum(text: &str) -> String {
    format!("{text}{MARK}{:08x}\n", crc32c::crc32c(text.as_bytes()))
}

/// The text of a file, and whether it has a checksum.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(bytes: &[u8]) -> Result<(&str, Checksum), String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let at = text.len().saturating_sub(LINE_BYTES);
    let Some((before, line)) = text.split_at_checked(at) else {
        return Ok((text, Checksum::Missing));
    };
    if !line.starts_with(MARK) {
        return Ok((text, Checksum::Missing));
    }
    if with_checksum(before) == text {
        Ok((before, Checksum::Holds))
    } else {
        Err("its checksum does not hold".to_owned())
    }
}

/// What the last line of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    /// Nothing: the file is of the first format, or damaged.
    Missing,
    /// That the file is what was written.
    Holds,
}

impl Checksum {
    /// Refuses a file of `format` that must have a checksum and has none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(self, format: u32) -> Result<(), String> {
        if format > 1 && self == Self::Missing {
            return Err("its checksum is missing".to_owned());
        }
        Ok(())
    }
}
