//! Header and footer in every bit, limits at n and n + 1, and hostile indexes.

use proptest::prelude::*;
use sensor_model::SeriesId;

use super::directory::{self, Place, SeriesInSegment};
use super::*;

const HEAD: SegmentHead = SegmentHead {
    shard: 3,
    created: 0x0102_0304_0506_0708,
    window: Window {
        start: -1_000,
        width: 1_000,
    },
};

fn outline() -> Outline {
    Outline {
        entries_offset: 60,
        directory_offset: 70,
        footer_offset: 70 + 2 * directory::RECORD_BYTES_MIN,
        directory_crc: 7,
        totals: Totals {
            series: 2,
            chunks: 3,
            readings: 4,
            first: -5,
            last: 6,
        },
    }
}

fn footer() -> Footer {
    Footer {
        outline: outline(),
        hash: SegmentHash([0xcd; 32]),
    }
}

#[test]
fn the_bytes_of_header_and_footer_are_pinned() {
    let header = HEAD.encode();
    let expected = [
        &b"TIDESEAL\x01\0\0\0"[..],
        &header[12..16],
        &[8, 7, 6, 5, 4, 3, 2, 1],
        &[0x18, 0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xe8, 3, 0, 0, 0, 0, 0, 0],
        &[3, 0, 0, 0],
    ];
    assert_eq!(&header[..], expected.concat());
    assert_eq!(SegmentHead::decode(&header), Ok(HEAD));

    let bytes = footer().encode(&header);
    assert_eq!(bytes[0..8], [60, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[16], 2);
    assert_eq!(bytes[40], 0xfb);
    assert_eq!(bytes[56..60], [7, 0, 0, 0]);
    assert_eq!(bytes[60..92], [0xcd; 32]);
    assert_eq!(bytes[96..], *b"TIDE-END");
    assert_eq!(
        Footer::decode(&bytes, &header, footer().written().bytes),
        Ok(footer())
    );
}

#[test]
fn every_flipped_bit_of_header_or_footer_is_refused() {
    let header = HEAD.encode();
    let bytes = footer().encode(&header);
    let file_bytes = footer().written().bytes;
    for bit in 0..HEADER_BYTES * 8 {
        let mut flipped = header;
        flipped[bit / 8] ^= 1 << (bit % 8);
        let refused = SegmentHead::decode(&flipped).unwrap_err();
        assert!(
            matches!(refused, FormatError::Malformed { .. }),
            "bit {bit}"
        );
        assert!(
            Footer::decode(&bytes, &flipped, file_bytes).is_err(),
            "bit {bit}"
        );
    }
    for bit in 0..FOOTER_BYTES * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            Footer::decode(&flipped, &header, file_bytes).is_err(),
            "bit {bit}"
        );
    }
}

#[test]
fn a_newer_version_is_told_apart_from_an_older_that_never_was() {
    let of_version = |version: u32| {
        let mut bytes = HEAD.encode();
        bytes[8..12].copy_from_slice(&version.to_le_bytes());
        let crc = header_crc(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        SegmentHead::decode(&bytes)
    };
    assert_eq!(of_version(1), Ok(HEAD));
    assert_eq!(of_version(2), Err(FormatError::NewerVersion { found: 2 }));
    let newest = FormatError::NewerVersion { found: u32::MAX };
    assert_eq!(of_version(u32::MAX), Err(newest));
    assert!(matches!(of_version(0), Err(FormatError::Malformed { .. })));
}

/// Whether a footer whose checksum holds is taken after this change.
fn is_taken(change: impl FnOnce(&mut Outline)) -> bool {
    let mut footer = footer();
    change(&mut footer.outline);
    let header = HEAD.encode();
    let file_bytes = footer.outline.footer_offset + FOOTER_BYTES as u64;
    Footer::decode(&footer.encode(&header), &header, file_bytes).is_ok()
}

#[test]
fn limits_of_the_footer_hold_at_n_and_not_at_n_plus_1() {
    assert!(is_taken(|_| {}));
    let header = HEADER_BYTES as u64;
    assert!(is_taken(|outline| outline.entries_offset = header));
    assert!(!is_taken(|outline| outline.entries_offset = header - 1));
    assert!(is_taken(
        |outline| outline.entries_offset = outline.directory_offset
    ));
    assert!(!is_taken(
        |outline| outline.entries_offset = outline.directory_offset + 1
    ));
    assert!(!is_taken(|outline| outline.directory_offset += 1));
    assert!(!is_taken(|outline| outline.directory_offset = u64::MAX));
    let directory_of = |bytes: u64| {
        move |outline: &mut Outline| outline.footer_offset = outline.directory_offset + bytes
    };
    assert!(is_taken(directory_of(2 * directory::RECORD_BYTES_MAX)));
    assert!(!is_taken(directory_of(2 * directory::RECORD_BYTES_MAX + 1)));
    assert!(!is_taken(directory_of(2 * directory::RECORD_BYTES_MIN - 1)));
    let series_of = |series: u64| {
        move |outline: &mut Outline| {
            let totals = &mut outline.totals;
            (totals.series, totals.chunks, totals.readings) = (series, series, series);
            directory_of(series * directory::RECORD_BYTES_MIN)(outline);
        }
    };
    assert!(is_taken(series_of(SERIES_MAX)));
    assert!(!is_taken(series_of(SERIES_MAX + 1)));
    assert!(is_taken(series_of(1)));
    assert!(!is_taken(series_of(0)));
    assert!(!is_taken(|outline| outline.totals.chunks = 1));
    assert!(!is_taken(|outline| outline.totals.readings = 2));
    assert!(!is_taken(|outline| outline.totals.last = -6));
}

/// A series of one chunk with the most readings, 48 bytes long; its entry takes 12.
fn series() -> SeriesInSegment {
    SeriesInSegment {
        id: SeriesId(9),
        kind: Kind::Bool,
        chunks: 1,
        readings: 65_536,
        first: -995,
        last: -1,
        place: Place {
            chunks_offset: HEADER_BYTES as u64,
            chunks_bytes: 48,
            entries_at: 0,
            entries_bytes: 12,
            entries_crc: 5,
        },
    }
}

/// Reads a directory of this one series, of a file that fits it but for a change.
fn read_directory(
    series: &SeriesInSegment,
    change: impl FnOnce(&mut Outline),
) -> Result<Vec<SeriesInSegment>, FormatError> {
    let mut bytes = Vec::new();
    directory::put(series, None, HEAD.window, &mut bytes);
    let entries_offset = (HEADER_BYTES as u64).saturating_add(series.place.chunks_bytes);
    let directory_offset = entries_offset.saturating_add(series.place.entries_bytes.into());
    let mut outline = Outline {
        entries_offset,
        directory_offset,
        footer_offset: directory_offset.saturating_add(bytes.len() as u64),
        directory_crc: 0,
        totals: Totals {
            series: 1,
            chunks: series.chunks.into(),
            readings: series.readings,
            first: series.first,
            last: series.last,
        },
    };
    change(&mut outline);
    directory::read(&bytes, &outline, HEAD.window)
}

#[test]
fn a_directory_that_does_not_add_up_is_refused() {
    let is_taken = |change: &dyn Fn(&mut Outline)| read_directory(&series(), change).is_ok();
    assert!(is_taken(&|_| {}));
    assert!(!is_taken(&|outline| outline.entries_offset += 1));
    assert!(!is_taken(&|outline| outline.directory_offset += 1));
    assert!(!is_taken(&|outline| {
        outline.entries_offset += 1;
        outline.directory_offset += 1;
    }));
    assert!(!is_taken(&|outline| outline.totals.series += 1));
    assert!(!is_taken(&|outline| outline.totals.series = 0));
    assert!(!is_taken(&|outline| outline.totals.chunks += 1));
    assert!(!is_taken(&|outline| outline.totals.readings -= 1));
    assert!(!is_taken(&|outline| outline.totals.first -= 1));
    assert!(!is_taken(&|outline| outline.totals.last += 1));
}

#[test]
fn limits_of_the_directory_hold_at_n_and_not_at_n_plus_1() {
    let is_taken = |change: &dyn Fn(&mut SeriesInSegment)| {
        let mut series = series();
        change(&mut series);
        read_directory(&series, |_| {}).is_ok_and(|read| read == [series])
    };
    assert!(is_taken(&|_| {}));
    assert!(is_taken(&|series| series.id = SeriesId(u64::MAX)));
    assert!(!is_taken(&|series| series.readings += 1));
    assert!(!is_taken(&|series| series.readings = 0));
    assert!(!is_taken(&|series| series.chunks = 0));
    let chunks_of = |chunks: u32| {
        move |series: &mut SeriesInSegment| {
            series.chunks = chunks;
            series.place.chunks_bytes = chunks.into();
            series.place.entries_bytes = chunks * 6;
        }
    };
    assert!(is_taken(&chunks_of(CHUNKS_MAX)));
    assert!(!is_taken(&|series| {
        series.readings += 1;
        chunks_of(CHUNKS_MAX + 1)(series);
    }));
    // The window is [-1000, 0).
    assert!(!is_taken(&|series| series.last += 1));
    assert!(is_taken(&|series| series.first = -1_000));
    let bytes_max = chunk_bytes_max(Kind::Bool, 65_536);
    assert!(is_taken(&|series| series.place.chunks_bytes = bytes_max));
    assert!(!is_taken(
        &|series| series.place.chunks_bytes = bytes_max + 1
    ));
    assert!(!is_taken(&|series| series.place.chunks_bytes = 0));
    let entry_bytes_max = u32::try_from(entries::entry_bytes_max(Kind::Bool)).unwrap();
    assert!(is_taken(
        &|series| series.place.entries_bytes = entry_bytes_max
    ));
    assert!(!is_taken(
        &|series| series.place.entries_bytes = entry_bytes_max + 1
    ));
    assert!(is_taken(&|series| series.place.entries_bytes = 6));
    assert!(!is_taken(&|series| series.place.entries_bytes = 5));
}

#[test]
fn no_record_of_a_directory_is_longer_than_the_longest() {
    let longest = SeriesInSegment {
        id: SeriesId(u64::MAX),
        kind: Kind::Text,
        chunks: CHUNKS_MAX,
        readings: u64::from(CHUNKS_MAX) * 65_536,
        first: -1,
        last: i64::MAX,
        place: Place {
            chunks_offset: 0,
            chunks_bytes: chunk_bytes_max(Kind::Text, 65_536) * u64::from(CHUNKS_MAX),
            entries_at: 0,
            entries_bytes: u32::try_from(entries::entry_bytes_max(Kind::Text)).unwrap()
                * CHUNKS_MAX,
            entries_crc: 0,
        },
    };
    let mut bytes = Vec::new();
    let window = Window {
        start: i64::MIN,
        width: u64::MAX,
    };
    directory::put(&longest, None, window, &mut bytes);
    // Not all three times can be longest at once.
    assert_eq!(bytes.len() as u64, directory::RECORD_BYTES_MAX - 1);
}

proptest! {
    /// Checksums keep noise out; should they not, it is refused without a panic.
    #[test]
    fn noise_is_no_directory_and_no_entries(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        chunks in 1_u32..9,
        kind in prop::sample::select(vec![Kind::F64, Kind::I64, Kind::Bool, Kind::Text]),
    ) {
        let outline = Outline { directory_offset: 70, ..outline() };
        prop_assert!(directory::read(&bytes, &outline, HEAD.window).is_err());
        let series = SeriesInSegment { kind, chunks, readings: 100, ..series() };
        if let Ok(entries) = entries::read(&bytes, &series) {
            let lengths: u64 = entries.iter().map(|entry| u64::from(entry.length)).sum();
            let counts: u64 = entries.iter().map(|entry| entry.statistics.count).sum();
            prop_assert_eq!((lengths, counts), (48, 100));
            prop_assert!(entries.windows(2).all(|pair| pair[0].last() < pair[1].first()));
        }
    }
}
