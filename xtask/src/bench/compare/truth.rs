//! What the answers must be: worked out from the readings, by the plainest means there are.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use anyhow::Result;

use super::question::{Asked, Devices, Question, Row};
use super::workload::{Total, Workload};

/// The right answer, ordered by device and time.
pub(crate) fn expected(workload: &Workload, question: &Question) -> Result<Vec<Row>> {
    let all: Vec<u32>;
    let devices = match &question.devices {
        Devices::Listed(devices) => devices,
        Devices::All => {
            all = (1..=workload.shape.devices).collect();
            &all
        }
    };
    let mut rows = BTreeMap::new();
    for &device in devices {
        let key = if question.asked == Asked::Max {
            0
        } else {
            device
        };
        let mut kept: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        workload.readings(device, |time, value| {
            if time >= question.to_ms {
                return ControlFlow::Break(());
            }
            if time >= question.from_ms {
                let at = match question.asked {
                    Asked::Raw => time,
                    Asked::Last => 0,
                    _ => time - time.rem_euclid(question.every_ms()),
                };
                fold(question.asked, kept.entry(at).or_default(), time, value);
            }
            ControlFlow::Continue(())
        })?;
        for (at, state) in kept {
            let Some((time_ms, values)) = finished(question.asked, at, &state) else {
                continue;
            };
            let row: &mut Vec<f64> = rows.entry((key, time_ms)).or_default();
            match (row.first_mut(), values.first()) {
                // Devices that are taken together.
                (Some(most), Some(value)) => *most = most.max(*value),
                _ => *row = values,
            }
        }
    }
    let row = |((device, time_ms), values)| Row {
        device,
        time_ms,
        values,
    };
    Ok(rows.into_iter().map(row).collect())
}

/// Takes a reading into what is known of its bucket: count, sum, min, max of buckets.
#[expect(clippy::cast_precision_loss, reason = "ms since 1970, far below 2^53")]
fn fold(asked: Asked, state: &mut Vec<f64>, time: i64, value: f64) {
    match (asked, state.as_mut_slice()) {
        (Asked::Raw, _) => *state = vec![value],
        (Asked::Last, _) => *state = vec![time as f64, value],
        (_, [count, sum, min, max]) => {
            *count += 1.0;
            *sum += value;
            *min = min.min(value);
            *max = max.max(value);
        }
        (_, _) => *state = vec![1.0, value, value, value],
    }
}

#[expect(clippy::cast_possible_truncation, reason = "ms since 1970")]
fn finished(asked: Asked, at: i64, state: &[f64]) -> Option<(i64, Vec<f64>)> {
    match (asked, state) {
        (Asked::Raw, [value]) => Some((at, vec![*value])),
        (Asked::Last, [time, value]) => Some((*time as i64, vec![*value])),
        (Asked::Max, [_, _, _, max]) => Some((at, vec![*max])),
        (Asked::Means, [count, sum, ..]) => Some((at, vec![sum / count])),
        (Asked::Summary, [count, sum, min, max]) => Some((at, vec![sum / count, *min, *max])),
        _ => None,
    }
}

/// How many readings there are, and their sum: exact, because every value is a whole number of tenths.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "tenths, far below 2^53"
)]
pub(crate) fn total(workload: &Workload) -> Result<Total> {
    let (mut count, mut tenths) = (0, 0_i64);
    workload.blocks(|_, times, values| {
        count += (times.len() * values.len()) as u64;
        let values = values.iter().flatten();
        tenths += values
            .map(|value| (value * 10.0).round() as i64)
            .sum::<i64>();
        Ok(())
    })?;
    Ok(Total {
        count,
        sum: tenths as f64 / 10.0,
    })
}
