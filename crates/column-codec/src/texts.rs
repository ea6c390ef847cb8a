//! The value column of texts: a dictionary where texts repeat, else lengths and bytes.

use std::collections::HashMap;

use sensor_model::value::TEXT_BYTES_MAX;

use crate::cursor::{Cursor, put_len};
use crate::error::DecodeError;
use crate::ints::{self, Planner};

/// The lengths of all texts follow, then their bytes.
pub(crate) const PLAIN: u8 = 0;
/// The number of distinct texts follows, their lengths, their bytes, then each reading's index.
pub(crate) const DICTIONARY: u8 = 1;

/// Appends `texts`, of which there is at least one, none longer than [`TEXT_BYTES_MAX`].
pub(crate) fn write(texts: &[String], planner: &mut Planner, out: &mut Vec<u8>) {
    let dictionary = Dictionary::of(texts);
    let plain_bytes: usize = texts.iter().map(|text| text.len() + 1).sum();
    let distinct_bytes: usize = dictionary.texts.iter().map(|text| text.len() + 1).sum();
    let index_bits = usize::BITS - (dictionary.texts.len() - 1).leading_zeros();
    let index_bytes = texts.len() * index_bits as usize / 8;
    if distinct_bytes + index_bytes < plain_bytes {
        out.push(DICTIONARY);
        put_len(dictionary.texts.len(), out);
        write_plain(&dictionary.texts, planner, out);
        planner.write(&dictionary.indexes, out);
    } else {
        out.push(PLAIN);
        write_plain(texts, planner, out);
    }
}

fn write_plain(texts: &[impl AsRef<str>], planner: &mut Planner, out: &mut Vec<u8>) {
    let lengths: Vec<i64> = texts
        .iter()
        .map(|text| as_i64(text.as_ref().len()))
        .collect();
    planner.write(&lengths, out);
    for text in texts {
        out.extend_from_slice(text.as_ref().as_bytes());
    }
}

fn as_i64(len: usize) -> i64 {
    i64::try_from(len).expect("a length in memory fits 63 bits")
}

/// Distinct texts in the order of their first use, and each reading's place among them.
struct Dictionary<'a> {
    texts: Vec<&'a str>,
    indexes: Vec<i64>,
}

impl<'a> Dictionary<'a> {
    fn of(texts: &'a [String]) -> Self {
        let mut dictionary = Self {
            texts: Vec::new(),
            indexes: Vec::with_capacity(texts.len()),
        };
        let mut known = HashMap::new();
        for text in texts {
            let next = dictionary.texts.len();
            let index = *known.entry(text.as_str()).or_insert(next);
            if index == next {
                dictionary.texts.push(text);
            }
            dictionary.indexes.push(as_i64(index));
        }
        dictionary
    }
}

/// Calls `visit` with each of the texts, one for each of `integers`, which serves as buffer; so does
/// `lengths`, of the same length.
pub(crate) fn read<'a>(
    cursor: &mut Cursor<'a>,
    integers: &mut [i64],
    lengths: &mut [i64],
    visit: &mut dyn FnMut(&'a str),
) -> Result<(), DecodeError> {
    match cursor.byte()? {
        PLAIN => {
            let (text, ends) = read_plain(cursor, integers)?;
            let mut start = 0;
            for end in ends {
                visit(piece(text, start, *end)?);
                start = *end;
            }
            Ok(())
        }
        DICTIONARY => {
            let distinct = cursor.len()?;
            if distinct == 0 || distinct > lengths.len() {
                return Err(DecodeError::Malformed {
                    what: "a dictionary is empty or larger than its column",
                });
            }
            let (text, ends) = read_plain(cursor, &mut lengths[..distinct])?;
            check_pieces(text, ends)?;
            ints::read(cursor, integers)?;
            for index in integers {
                let index = usize::try_from(*index)
                    .ok()
                    .filter(|index| *index < distinct);
                let index = index.ok_or(DecodeError::Malformed {
                    what: "an index points outside the dictionary",
                })?;
                let start = if index == 0 { 0 } else { ends[index - 1] };
                visit(piece(text, start, ends[index])?);
            }
            Ok(())
        }
        _ => Err(DecodeError::Malformed {
            what: "an unknown encoding of texts",
        }),
    }
}

/// The concatenated texts, and where each ends; `lengths` is overwritten with the ends.
fn read_plain<'a, 'b>(
    cursor: &mut Cursor<'a>,
    lengths: &'b mut [i64],
) -> Result<(&'a str, &'b [i64]), DecodeError> {
    ints::read(cursor, lengths)?;
    let mut end = 0;
    for slot in &mut *lengths {
        let bytes = slot.cast_unsigned();
        if bytes > TEXT_BYTES_MAX as u64 {
            return Err(DecodeError::TextTooLong { bytes });
        }
        end += *slot;
        *slot = end;
    }
    let bytes = cursor.take(usize::try_from(end).map_err(|_| DecodeError::Truncated)?)?;
    let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8)?;
    Ok((text, lengths))
}

fn piece(text: &str, start: i64, end: i64) -> Result<&str, DecodeError> {
    let place = |at: i64| usize::try_from(at).unwrap_or(usize::MAX);
    text.get(place(start)..place(end))
        .ok_or(DecodeError::NotUtf8)
}

/// Refuses a text that ends inside a character, used or not.
fn check_pieces(text: &str, ends: &[i64]) -> Result<(), DecodeError> {
    let mut start = 0;
    for end in ends {
        piece(text, start, *end)?;
        start = *end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(bytes: &[u8], count: usize) -> Result<Vec<&str>, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        let mut texts = Vec::new();
        read(
            &mut cursor,
            &mut vec![0; count],
            &mut vec![0; count],
            &mut |text| texts.push(text),
        )?;
        cursor.finish("texts")?;
        Ok(texts)
    }

    fn round_trip(texts: &[String]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(texts, &mut Planner::default(), &mut bytes);
        assert_eq!(read_all(&bytes, texts.len()).unwrap(), texts);
        bytes
    }

    #[test]
    fn repeated_texts_go_into_a_dictionary() {
        let states: Vec<String> = (0..1_000)
            .map(|at| ["running", "stopped", "fault: überhitzt"][at % 3].to_owned())
            .collect();
        let bytes = round_trip(&states);
        assert_eq!(bytes[0], DICTIONARY);
        assert!(bytes.len() < 350, "{} bytes", bytes.len());
        let distinct: Vec<String> = (0..100).map(|at| format!("lot {at}")).collect();
        assert_eq!(round_trip(&distinct)[0], PLAIN);
    }

    #[test]
    fn text_of_1024_bytes_is_read_and_of_1025_is_not() {
        let text = |len: usize| {
            let mut bytes = vec![PLAIN];
            write_plain(&["x".repeat(len)], &mut Planner::default(), &mut bytes);
            bytes
        };
        assert!(read_all(&text(TEXT_BYTES_MAX), 1).is_ok());
        assert_eq!(
            read_all(&text(TEXT_BYTES_MAX + 1), 1),
            Err(DecodeError::TextTooLong { bytes: 1_025 })
        );
    }

    #[test]
    fn broken_utf8_is_refused_even_between_two_texts() {
        let split_inside_a_character = [PLAIN, 0, 2, 0xc3, 0xbc];
        assert_eq!(
            read_all(&split_inside_a_character, 2),
            Err(DecodeError::NotUtf8)
        );
        // Three texts, of which only the first is used.
        let unused = [DICTIONARY, 3, 0, 2, b'a', 0xc3, 0xbc, 0, 0];
        assert_eq!(read_all(&unused, 3), Err(DecodeError::NotUtf8));
        let in_a_dictionary = [DICTIONARY, 2, 0, 2, 0xc3, 0xbc, 0, 0];
        assert_eq!(read_all(&in_a_dictionary, 2), Err(DecodeError::NotUtf8));
        assert_eq!(read_all(&[PLAIN, 0, 2, 0xff], 1), Err(DecodeError::NotUtf8));
    }

    #[test]
    fn hostile_lengths_and_indexes_are_refused() {
        let negative_length = [PLAIN, 0, 1];
        assert!(read_all(&negative_length, 1).is_err());
        for (distinct, index) in [(0, 0), (2, 0), (1, 2), (1, 1)] {
            let bytes = [DICTIONARY, distinct, 0, 2, b'a', 0, index];
            assert!(read_all(&bytes, 1).is_err(), "{distinct} {index}");
        }
    }

    proptest! {
        #[test]
        fn any_texts_round_trip(texts in proptest::collection::vec(".{0,40}", 1..100), distinct in 1_usize..100) {
            let texts: Vec<String> = (0..texts.len()).map(|at| texts[at % distinct.min(texts.len())].clone()).collect();
            round_trip(&texts);
        }
    }
}
