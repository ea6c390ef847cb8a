//! The questions in SQL: the systems that speak it differ only in how they write times.

use super::question::{Asked, Devices, Question};

/// How a system writes times. The table is `load (device, ts, m01, m02, …)`.
pub(crate) struct Dialect {
    /// `ts` in ms since 1970.
    pub(crate) ms: &'static str,
    /// The start of the bucket of so many seconds that holds `ts`, in ms since 1970.
    pub(crate) bucket_ms: fn(i64) -> String,
    /// A time, from ms since 1970.
    pub(crate) time: fn(i64) -> String,
    /// The last reading of each device, of so many.
    pub(crate) last_of_each: fn(u32) -> String,
}

impl Dialect {
    /// A question that is answered with `device,time in ms,values…`. `devices` is how many there are.
    pub(crate) fn question(&self, question: &Question, devices: u32) -> String {
        let Self { ms, .. } = self;
        let listed = match &question.devices {
            Devices::All if question.asked == Asked::Last => return (self.last_of_each)(devices),
            Devices::All => String::new(),
            Devices::Listed(devices) => {
                let each: Vec<String> = devices.iter().map(ToString::to_string).collect();
                match &each[..] {
                    [one] => format!("device = {one} AND "),
                    _ => format!("device IN ({}) AND ", each.join(", ")),
                }
            }
        };
        let (from, to) = ((self.time)(question.from_ms), (self.time)(question.to_ms));
        let filter = format!("FROM load WHERE {listed}ts >= {from} AND ts < {to}");
        let bucket = (self.bucket_ms)(question.every_s);
        match question.asked {
            Asked::Last => format!(
                "SELECT device, {ms}, m01 FROM load WHERE {listed}true ORDER BY ts DESC LIMIT 1"
            ),
            Asked::Raw => format!("SELECT device, {ms}, m01 {filter} ORDER BY ts"),
            Asked::Max => {
                format!("SELECT 0, {bucket} AS b, max(m01) {filter} GROUP BY b ORDER BY b")
            }
            Asked::Summary => format!(
                "SELECT device, {bucket} AS b, avg(m01), min(m01), max(m01) {filter} GROUP BY device, b ORDER BY b"
            ),
            Asked::Means => {
                format!(
                    "SELECT device, {bucket} AS b, avg(m01) {filter} GROUP BY device, b ORDER BY device, b"
                )
            }
        }
    }

    /// Count and sum of everything, in one row.
    pub(crate) fn total(metrics: u32) -> String {
        let each = |of: &str| {
            let each = (1..=metrics).map(|metric| format!("{of}(m{metric:02})"));
            each.collect::<Vec<_>>().join(" + ")
        };
        format!("SELECT {}, {} FROM load", each("count"), each("sum"))
    }

    /// The columns of the table, with their types.
    pub(crate) fn columns(device: &str, ts: &str, metric: &str, metrics: u32) -> String {
        let each = (1..=metrics).map(|number| format!(", m{number:02} {metric}"));
        format!("device {device}, ts {ts}{}", each.collect::<String>())
    }
}
