//! Blocks of up to 128 integers: each has its own frame of reference and width, and sets outliers aside.
//!
//! A block packs the low bits of `value - base`. A value that needs more bits than the rest is patched:
//! its position and the bits above the width follow the packed ones. So one spike or one gap costs a
//! few bytes, not the width of a whole block.

use crate::bitpack::{GROUP, SLACK, is_width, pack, packed_len, unpack, width_of};
use crate::cursor::{Cursor, put_signed, put_varint, varint_len, zigzag};
use crate::error::DecodeError;

/// Values in a full block.
pub(crate) const BLOCK: usize = 128;

/// Set in a block's first byte when patches follow.
const PATCHED: u8 = 0x80;
/// Blocks shorter than this are not searched for outliers.
const PATCHED_LEN_MIN: usize = 16;
/// Widths below this leave patches nothing to win.
const PATCHED_WIDTH_MIN: u8 = 3;

/// How one block will be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    base: i64,
    width: u8,
    patched: bool,
}

/// Plans the blocks of `values` and says how many bytes they will take (exact but for patches, which
/// are estimated).
pub(crate) fn plan(values: &[i64], plans: &mut Vec<Plan>) -> usize {
    plans.clear();
    let mut bytes = 0;
    let mut base = 0;
    for block in values.chunks(BLOCK) {
        let (plan, packed) = plan_block(block);
        bytes += 1 + packed + varint_len(zigzag(plan.base.wrapping_sub(base))) as usize;
        base = plan.base;
        plans.push(plan);
    }
    bytes
}

/// Writes `values` as planned.
pub(crate) fn write(values: &[i64], plans: &[Plan], out: &mut Vec<u8>) {
    let mut base = 0;
    for (block, plan) in values.chunks(BLOCK).zip(plans) {
        write_block(block, plan, base, out);
        base = plan.base;
    }
}

/// Reads `count` values, a block at a time.
pub(crate) fn read(
    cursor: &mut Cursor<'_>,
    count: usize,
    mut take: impl FnMut(&mut [i64]),
) -> Result<(), DecodeError> {
    let (mut base, mut left) = (0, count);
    let mut block = [0; BLOCK];
    while left > 0 {
        let block = &mut block[..left.min(BLOCK)];
        base = read_block(cursor, base, block)?;
        take(block);
        left -= block.len();
    }
    Ok(())
}

fn plan_block(block: &[i64]) -> (Plan, usize) {
    let (min, max) = bounds(block);
    let width = width_of(distance(min, max));
    let whole = Plan {
        base: min,
        width,
        patched: false,
    };
    let whole_bytes = packed_len(block.len(), width);
    if block.len() < PATCHED_LEN_MIN || width < PATCHED_WIDTH_MIN {
        return (whole, whole_bytes);
    }
    match plan_patched(block, whole_bytes) {
        Some(patched) => patched,
        None => (whole, whole_bytes),
    }
}

/// A narrower plan that sets outliers aside, when it takes less than `whole_bytes`.
fn plan_patched(block: &[i64], whole_bytes: usize) -> Option<(Plan, usize)> {
    let centre = median_of_sample(block);
    let widths = Widths::of(block, centre);

    // From wide to narrow: values wider than `width` are patches, each of a byte for the position and
    // one for every seven bits above the width.
    let narrower = widths.widest().saturating_sub(1).min(56);
    let mut patches: usize = (narrower + 1..=64).map(|width| widths.count(width)).sum();
    let mut patch_bits = 0_usize;
    let mut best: Option<(usize, usize)> = None;
    for width in (0..=narrower).rev() {
        patch_bits += patches;
        let bytes_max = best.map_or(whole_bytes, |(bytes, _)| bytes);
        if patches * 2 >= bytes_max {
            break;
        }
        let patch_bytes = patches * 2 + patch_bits.saturating_sub(4 * patches) / 7;
        let bytes = (block.len() * width).div_ceil(8) + 1 + patch_bytes;
        if bytes < bytes_max {
            best = Some((bytes, width));
        }
        patches += widths.count(width);
    }
    let (bytes, width) = best?;

    let inliers = block
        .iter()
        .copied()
        .filter(|value| zigzag(value.wrapping_sub(centre)) >> width == 0)
        .map(|value| value.wrapping_sub(centre));
    let (low, high) = inliers.fold((i64::MAX, i64::MIN), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let plan = Plan {
        base: centre.wrapping_add(low),
        width: width_of(distance(low, high)),
        patched: true,
    };
    // A width of 64 has no bits above it to patch; it was not worth patching either.
    (plan.width < 64).then_some((plan, bytes))
}

/// How many values of a block are how many bits from its centre, zigzagged.
struct Widths {
    /// Four counters for each width: neighbours are often of one width, and would wait for each other.
    counters: [[u8; 65]; 4],
    /// The bits that any value has.
    used: u64,
}

impl Widths {
    fn of(block: &[i64], centre: i64) -> Self {
        let mut widths = Self {
            counters: [[0; 65]; 4],
            used: 0,
        };
        for group in block.chunks(4) {
            for (lane, value) in group.iter().enumerate() {
                let from_centre = zigzag(value.wrapping_sub(centre));
                widths.used |= from_centre;
                widths.counters[lane][64 - from_centre.leading_zeros() as usize] += 1;
            }
        }
        widths
    }

    const fn widest(&self) -> usize {
        64 - self.used.leading_zeros() as usize
    }

    fn count(&self, width: usize) -> usize {
        self.counters
            .iter()
            .map(|lane| usize::from(lane[width]))
            .sum()
    }
}

/// The median of seven values spread over the block: a value that is no outlier.
fn median_of_sample(block: &[i64]) -> i64 {
    let stride = block.len() / 7;
    let mut sample = [0; 7];
    for (at, slot) in sample.iter_mut().enumerate() {
        *slot = block[at * stride];
    }
    sample.sort_unstable();
    sample[3]
}

/// Smallest and largest value, four at a time so that none waits for the one before.
pub(crate) fn bounds(block: &[i64]) -> (i64, i64) {
    let (mut low, mut high) = ([i64::MAX; 4], [i64::MIN; 4]);
    let (groups, tail) = block.as_chunks::<4>();
    for group in groups {
        for lane in 0..4 {
            low[lane] = low[lane].min(group[lane]);
            high[lane] = high[lane].max(group[lane]);
        }
    }
    let min = low.iter().chain(tail).fold(i64::MAX, |a, b| a.min(*b));
    let max = high.iter().chain(tail).fold(i64::MIN, |a, b| a.max(*b));
    (min, max)
}

const fn distance(min: i64, max: i64) -> u64 {
    max.wrapping_sub(min).cast_unsigned()
}

fn write_block(block: &[i64], plan: &Plan, base: i64, out: &mut Vec<u8>) {
    let flag = if plan.patched { PATCHED } else { 0 };
    out.push(plan.width | flag);
    put_signed(plan.base.wrapping_sub(base), out);
    write_packed(block, plan, out);
    if plan.patched {
        write_patches(block, plan, out);
    }
}

fn write_packed(block: &[i64], plan: &Plan, out: &mut Vec<u8>) {
    let whole = block.len() - block.len() % GROUP;
    let (groups, tail) = block.split_at(whole);
    let start = out.len();
    out.resize(start + packed_len(whole, plan.width), 0);
    pack(groups, plan.base, plan.width, &mut out[start..]);
    if !tail.is_empty() {
        let mut group = [plan.base; GROUP];
        group[..tail.len()].copy_from_slice(tail);
        let mut bytes = [0; 64];
        pack(&group, plan.base, plan.width, &mut bytes);
        out.extend_from_slice(&bytes[..packed_len(tail.len(), plan.width)]);
    }
}

/// The bits of a value above the width, sign kept.
fn high_bits(value: i64, plan: &Plan) -> i64 {
    value.wrapping_sub(plan.base) >> plan.width
}

fn write_patches(block: &[i64], plan: &Plan, out: &mut Vec<u8>) {
    let count_at = out.len();
    out.push(0);
    for (position, value) in (0_u8..).zip(block) {
        let high = high_bits(*value, plan);
        if high != 0 {
            out[count_at] += 1;
            out.push(position);
            put_varint(zigzag(high), out);
        }
    }
}

/// Reads one block into `out` and returns its base.
fn read_block(cursor: &mut Cursor<'_>, base: i64, out: &mut [i64]) -> Result<i64, DecodeError> {
    let head = cursor.byte()?;
    let width = head & !PATCHED;
    if !is_width(width) {
        return Err(DecodeError::Malformed {
            what: "a block's width is neither 0 to 56 nor 64 bits",
        });
    }
    let base = base.wrapping_add(cursor.signed()?);
    read_packed(cursor, base, width, out)?;
    if head & PATCHED != 0 {
        read_patches(cursor, width, out)?;
    }
    Ok(base)
}

fn read_packed(
    cursor: &mut Cursor<'_>,
    base: i64,
    width: u8,
    out: &mut [i64],
) -> Result<(), DecodeError> {
    let behind = cursor.rest();
    let packed = cursor.take(packed_len(out.len(), width))?;
    let groups_len = out.len().next_multiple_of(GROUP);
    if groups_len == out.len() && behind.len() >= packed.len() + SLACK {
        unpack(behind, base, width, out);
        return Ok(());
    }
    // The last block, or the last bytes: read from a copy with room behind it.
    let mut bytes = [0; BLOCK * 8 + SLACK];
    bytes[..packed.len()].copy_from_slice(packed);
    let mut values = [0; BLOCK];
    unpack(&bytes, base, width, &mut values[..groups_len]);
    out.copy_from_slice(&values[..out.len()]);
    Ok(())
}

fn read_patches(cursor: &mut Cursor<'_>, width: u8, out: &mut [i64]) -> Result<(), DecodeError> {
    if width == 64 {
        return Err(DecodeError::Malformed {
            what: "a block of 64-bit values has patches",
        });
    }
    let count = cursor.byte()?;
    let mut from = 0;
    for _ in 0..count {
        let position = usize::from(cursor.byte()?);
        let high = cursor.signed()?;
        let value =
            out.get_mut(position)
                .filter(|_| position >= from)
                .ok_or(DecodeError::Malformed {
                    what: "patches are not in ascending order inside their block",
                })?;
        *value = value.wrapping_add(high << width);
        from = position + 1;
    }
    Ok(())
}

/// The patches a block was written with, for tests.
#[cfg(test)]
pub(crate) fn is_patched(first_byte: u8) -> bool {
    first_byte & PATCHED != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(values: &[i64]) -> Vec<u8> {
        let mut plans = Vec::new();
        plan(values, &mut plans);
        let mut bytes = Vec::new();
        write(values, &plans, &mut bytes);
        bytes
    }

    fn round_trip(values: &[i64]) -> usize {
        let bytes = encoded(values);
        let mut cursor = Cursor::new(&bytes);
        let mut read_back = Vec::new();
        let take = |block: &mut [i64]| read_back.extend_from_slice(block);
        read(&mut cursor, values.len(), take).unwrap();
        assert_eq!(read_back, values);
        cursor.finish("blocks").unwrap();
        bytes.len()
    }

    #[test]
    fn a_spike_up_or_down_costs_a_few_bytes() {
        let quiet: Vec<i64> = (0..128).map(|at| 1_000 + at % 4).collect();
        let quiet_bytes = round_trip(&quiet);
        for spike in [i64::MAX, i64::MIN, 1_000_000, -1_000_000] {
            let mut values = quiet.clone();
            values[77] = spike;
            assert!(is_patched(encoded(&values)[0]));
            assert!(round_trip(&values) <= quiet_bytes + 13, "{spike}");
        }
    }

    #[test]
    fn values_over_the_whole_range_cost_eight_bytes_each() {
        let values: Vec<i64> = (0..256)
            .map(|at: i64| at.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed()))
            .collect();
        assert!(round_trip(&values) <= 256 * 8 + 2 * 11);
    }

    #[test]
    fn patches_out_of_order_or_out_of_the_block_are_refused() {
        let mut values = vec![5_i64; 128];
        values[9] = 1 << 40;
        values[50] = 1 << 40;
        // A hand-written block of 4 values, width 0, with two patches.
        let block = |first, second| [PATCHED, 0, 2, first, 2, second, 2];
        let take = |block: &mut [i64]| assert_eq!(block, [0, 1, 0, 1]);
        assert!(read(&mut Cursor::new(&block(1, 3)), 4, take).is_ok());
        for (first, second) in [(3, 1), (1, 1), (1, 4)] {
            assert!(read(&mut Cursor::new(&block(first, second)), 4, |_| {}).is_err());
        }
        round_trip(&values);
    }

    #[test]
    fn an_unknown_width_and_patches_on_64_bits_are_refused() {
        for head in [57, 63, 65, 127, 64 | PATCHED] {
            let bytes = [head, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            assert!(read(&mut Cursor::new(&bytes), 1, |_| {}).is_err(), "{head}");
        }
    }

    proptest! {
        #[test]
        fn blocks_round_trip(
            values in proptest::collection::vec((any::<i64>(), 0_u32..64), 1..300),
            spikes in 0_u32..64,
        ) {
            let mut values: Vec<i64> = values.into_iter().map(|(value, shift)| value >> shift.max(spikes)).collect();
            round_trip(&values);
            values[0] = i64::MIN;
            round_trip(&values);
        }
    }
}
