//! The value column of flags: runs where they are long, else one bit a flag.

use crate::cursor::{Cursor, put_len, varint_len};
use crate::error::DecodeError;

/// Runs of equal flags, the first of `false`: their lengths follow, up to the last flag.
pub(crate) const RUNS_FROM_FALSE: u8 = 0;
/// The same, the first of `true`.
pub(crate) const RUNS_FROM_TRUE: u8 = 1;
/// One bit a flag follows, lowest first; the bits behind the last flag are 0.
pub(crate) const BITMAP: u8 = 2;

/// Appends `flags`, of which there is at least one.
pub(crate) fn write(flags: &[bool], out: &mut Vec<u8>) {
    let bitmap_bytes = flags.len().div_ceil(8);
    let run_bytes: usize = runs(flags)
        .map(|run| varint_len(run.len() as u64) as usize)
        .sum();
    if run_bytes <= bitmap_bytes {
        let from_true = flags.first() == Some(&true);
        out.push(if from_true {
            RUNS_FROM_TRUE
        } else {
            RUNS_FROM_FALSE
        });
        for run in runs(flags) {
            put_len(run.len(), out);
        }
        return;
    }
    out.push(BITMAP);
    let packed = flags.chunks(8).map(|flags| {
        let bits = flags.iter().enumerate();
        bits.fold(0, |byte, (at, flag)| byte | (u8::from(*flag) << at))
    });
    out.extend(packed);
}

fn runs(flags: &[bool]) -> impl Iterator<Item = &[bool]> {
    flags.chunk_by(|a, b| a == b)
}

/// Fills `out`.
pub(crate) fn read(cursor: &mut Cursor<'_>, out: &mut [bool]) -> Result<(), DecodeError> {
    match cursor.byte()? {
        tag @ (RUNS_FROM_FALSE | RUNS_FROM_TRUE) => read_runs(cursor, tag == RUNS_FROM_TRUE, out),
        BITMAP => read_bitmap(cursor, out),
        _ => Err(DecodeError::Malformed {
            what: "an unknown encoding of flags",
        }),
    }
}

fn read_runs(cursor: &mut Cursor<'_>, first: bool, out: &mut [bool]) -> Result<(), DecodeError> {
    let mut flag = first;
    let mut rest = out;
    while !rest.is_empty() {
        let len = cursor.len()?;
        if len == 0 || len > rest.len() {
            return Err(DecodeError::Malformed {
                what: "a run of flags is empty or passes the end of the column",
            });
        }
        let (run, behind) = rest.split_at_mut(len);
        run.fill(flag);
        flag = !flag;
        rest = behind;
    }
    Ok(())
}

fn read_bitmap(cursor: &mut Cursor<'_>, out: &mut [bool]) -> Result<(), DecodeError> {
    let bytes = cursor.take(out.len().div_ceil(8))?;
    for (flags, byte) in out.chunks_mut(8).zip(bytes) {
        if flags.len() < 8 && byte >> flags.len() != 0 {
            return Err(DecodeError::Malformed {
                what: "bits are set behind the last flag",
            });
        }
        for (at, flag) in flags.iter_mut().enumerate() {
            *flag = byte >> at & 1 == 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(flags: &[bool]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(flags, &mut bytes);
        let mut cursor = Cursor::new(&bytes);
        let mut read_back = vec![false; flags.len()];
        read(&mut cursor, &mut read_back).unwrap();
        cursor.finish("flags").unwrap();
        assert_eq!(read_back, flags);
        bytes
    }

    #[test]
    fn each_encoding_is_taken_where_it_is_shortest() {
        assert_eq!(round_trip(&[false; 100]), [RUNS_FROM_FALSE, 100]);
        assert_eq!(round_trip(&[true; 100]), [RUNS_FROM_TRUE, 100]);
        let alternating: Vec<bool> = (0..100).map(|at| at % 2 == 1).collect();
        let bytes = round_trip(&alternating);
        assert_eq!((bytes[0], bytes.len()), (BITMAP, 14));
    }

    #[test]
    fn runs_and_bits_past_the_end_are_refused() {
        let mut out = [false; 4];
        for bad in [
            &[0, 5][..],
            &[0, 0, 4],
            &[0, 3, 2],
            &[2, 0x10],
            &[3, 0],
            &[0, 3],
        ] {
            assert!(read(&mut Cursor::new(bad), &mut out).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_flags_round_trip(runs in proptest::collection::vec((any::<bool>(), 1_usize..40), 1..50)) {
            let flags: Vec<bool> = runs.into_iter().flat_map(|(flag, len)| vec![flag; len]).collect();
            round_trip(&flags);
        }
    }
}
