//! Batches there and back, damaged, and at their limits.

use bytes::Bytes;
use proptest::prelude::*;
use sensor_model::SeriesId;

use super::*;

fn batch_of(chunks: &[(u64, Vec<u8>)]) -> Bytes {
    let mut builder = BatchBuilder::new();
    for (number, chunk) in chunks {
        builder.add(*number, chunk, 1).unwrap();
    }
    let announced = builder.bytes();
    let batch = builder.finish();
    assert_eq!(batch.len(), announced);
    assert!(builder.is_empty());
    batch
}

fn chunks_of(view: &BatchView) -> Vec<(u64, Vec<u8>)> {
    view.chunks()
        .map(|(number, chunk)| (number, chunk.to_vec()))
        .collect()
}

/// A batch with this directory, whatever it says, and a right checksum.
fn handmade(directory: &[(u64, u64)], chunks: &[u8]) -> Bytes {
    let mut bytes = vec![VERSION];
    varint::put(&mut bytes, directory.len() as u64);
    for (number, length) in directory {
        varint::put(&mut bytes, *number);
        varint::put(&mut bytes, *length);
    }
    bytes.extend_from_slice(chunks);
    bytes.extend_from_slice(&crc32c::crc32c(chunks).to_le_bytes());
    bytes.into()
}

#[test]
fn the_bytes_are_as_documented() {
    let batch = batch_of(&[(1, b"ab".to_vec()), (300, b"c".to_vec())]);
    let checksum = crc32c::crc32c(b"abc").to_le_bytes();
    let expected = [&[1, 2, 1, 2, 0xac, 0x02, 1][..], b"abc", &checksum].concat();
    assert_eq!(batch, expected);
}

#[test]
fn the_longest_batch_is_taken_and_one_byte_more_refused() {
    // Version, count, number, a length of three bytes, checksum.
    const OVERHEAD: usize = 1 + 1 + 1 + 3 + CHECKSUM_BYTES;
    let mut builder = BatchBuilder::new();
    let fits = vec![7; BATCH_BYTES_MAX - OVERHEAD];
    let outcome = builder.add(1, &vec![7; fits.len() + 1], 1);
    assert!(matches!(outcome, Err(BatchError::TooManyBytes { .. })));
    assert!(builder.is_empty());
    builder.add(1, &fits, 1).unwrap();
    let batch = builder.finish();
    assert_eq!(batch.len(), BATCH_BYTES_MAX);
    assert!(BatchView::parse(batch).is_ok());
    let longer = handmade(&[(1, fits.len() as u64 + 1)], &vec![7; fits.len() + 1]);
    assert!(matches!(
        BatchView::parse(longer.clone()),
        Err(BatchError::TooManyBytes { bytes, .. }) if bytes == BATCH_BYTES_MAX + 1
    ));
    assert!(BatchView::parse_rewritten(longer).is_ok());
}

#[test]
fn the_most_readings_are_taken_and_one_more_refused() {
    let mut builder = BatchBuilder::new();
    builder.add(1, b"x", BATCH_READINGS_MAX).unwrap();
    let outcome = builder.add(2, b"x", 1);
    let readings = BATCH_READINGS_MAX + 1;
    assert_eq!(outcome, Err(BatchError::TooManyReadings { readings }));
    assert_eq!(
        (builder.readings(), builder.chunks()),
        (BATCH_READINGS_MAX, 1)
    );
    assert!(check_readings(BATCH_READINGS_MAX).is_ok());
    assert!(check_readings(readings).is_err());
}

#[test]
fn more_chunks_than_readings_are_refused() {
    let most = usize::try_from(BATCH_CHUNKS_MAX).unwrap();
    let with = |count| BatchView::parse(handmade(&vec![(1, 1); count], &vec![7; count]));
    assert!(with(most).is_ok());
    assert!(matches!(
        with(most + 1),
        Err(BatchError::TooManyChunks { .. })
    ));
}

#[test]
fn each_damage_has_its_own_error() {
    let good = batch_of(&[(1, b"abc".to_vec()), (2, b"de".to_vec())]);
    let damaged = |at: usize, byte: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = byte;
        BatchView::parse(bytes.into()).unwrap_err()
    };
    assert!(matches!(
        damaged(0, 2),
        BatchError::UnknownVersion { version: 2 }
    ));
    assert!(matches!(damaged(6, b'x'), BatchError::Damaged { .. }));
    assert!(matches!(damaged(3, 0), BatchError::EmptyChunk { chunk: 0 }));
    assert!(matches!(
        damaged(3, 2),
        BatchError::TrailingGarbage { bytes: 1 }
    ));
    assert!(matches!(damaged(3, 100), BatchError::Truncated { .. }));
    assert!(matches!(
        BatchView::parse(Bytes::new()),
        Err(BatchError::Truncated { .. })
    ));
    let padded = Bytes::from_static(&[VERSION, 0x80, 0x00, 0, 0, 0, 0]);
    assert!(matches!(
        BatchView::parse(padded),
        Err(BatchError::NotCanonical { .. })
    ));
    let huge = handmade(&[(1, u64::MAX), (1, 2)], b"a");
    assert!(matches!(
        BatchView::parse(huge),
        Err(BatchError::Truncated { .. })
    ));
}

#[test]
fn the_worst_batch_still_fits_when_rewritten() {
    // One-byte numbers, as many chunks and as many bytes as there may be: nothing grows more.
    let count = usize::try_from(BATCH_CHUNKS_MAX).unwrap();
    let mut builder = BatchBuilder::new();
    for _ in 0..count {
        builder.add(1, &[7; 13], 1).unwrap();
    }
    let left = BATCH_BYTES_MAX - builder.bytes();
    assert!(left < 13 * count, "the batch is far from full");
    let view = BatchView::parse(builder.finish()).unwrap();
    let largest_id = SeriesId((1 << 35) - 1);
    let rewritten = view.rewrite(|_| Some(largest_id)).unwrap();
    let grown = rewritten.len() - view.bytes().len();
    assert_eq!(grown, REWRITTEN_BYTES_MAX - BATCH_BYTES_MAX);
    assert!(BatchView::parse_rewritten(rewritten).is_ok());
}

proptest! {
    #[test]
    fn a_batch_reads_back_as_it_was_built(
        chunks in proptest::collection::vec((any::<u64>(), proptest::collection::vec(any::<u8>(), 1..50)), 0..30),
    ) {
        let view = BatchView::parse(batch_of(&chunks)).unwrap();
        prop_assert_eq!(view.count(), chunks.len() as u64);
        prop_assert_eq!(chunks_of(&view), chunks);
    }

    #[test]
    fn rewriting_puts_ids_for_numbers_and_leaves_out_what_has_none(
        chunks in proptest::collection::vec((0_u64..20, proptest::collection::vec(any::<u8>(), 1..50)), 0..30),
        refused in proptest::collection::btree_set(0_u64..20, 0..5),
    ) {
        let view = BatchView::parse(batch_of(&chunks)).unwrap();
        let id_of = |number: u64| (!refused.contains(&number)).then(|| SeriesId(number * 1000));
        let rewritten = BatchView::parse_rewritten(view.rewrite(id_of).unwrap()).unwrap();
        let expected: Vec<_> = chunks
            .into_iter()
            .filter_map(|(number, chunk)| Some((id_of(number)?.0, chunk)))
            .collect();
        prop_assert_eq!(chunks_of(&rewritten), expected);
    }

    #[test]
    fn every_flipped_bit_is_noticed_or_only_renames_a_series(
        chunks in proptest::collection::vec((0_u64..300, proptest::collection::vec(any::<u8>(), 1..20)), 1..6),
        at in any::<proptest::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let good = batch_of(&chunks);
        let mut bytes = good.to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // The checksum covers the chunks, not the directory: QUIC and the log protect that.
        if let Ok(view) = BatchView::parse(bytes.into()) {
            let found: Vec<u8> = view.chunks().flat_map(|(_, chunk)| chunk).collect();
            let sent: Vec<u8> = chunks.iter().flat_map(|(_, chunk)| chunk.clone()).collect();
            prop_assert_eq!(found, sent);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = bytes;
        if let Some(version) = bytes.first_mut() {
            *version = VERSION;
        }
        if let Ok(view) = BatchView::parse(bytes.into()) {
            let _ = chunks_of(&view);
        }
    }
}
