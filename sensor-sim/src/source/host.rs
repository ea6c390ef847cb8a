//! This machine's own sensors: CPU, memory, load, disks, network, temperatures, processes.
//!
//! Everything comes from the `sysinfo` crate. What a machine does not have (swap, a temperature
//! sensor, a battery of disks) gives no series; what appears later (a disk, an interface) is
//! declared then. Rates are per second over the time since the sampling before, so they begin with
//! the second sampling.

use std::collections::{BTreeMap, BTreeSet};

use sensor_model::{Attributes, SeriesDescription, SeriesPath, Timestamp, Unit, Value};
use sysinfo::{
    Components, CpuRefreshKind, DiskRefreshKind, Disks, MemoryRefreshKind, Networks,
    ProcessRefreshKind, ProcessesToUpdate, System,
};

use super::{Nature, Next, Samples, Source, SourceError, SourceSeries, Ticks};

/// The `host` source.
pub struct Host {
    ticks: Ticks,
    system: System,
    disks: Option<Disks>,
    networks: Option<Networks>,
    components: Option<Components>,
    catalogue: Catalogue,
    previous: Option<Timestamp>,
}

/// The series declared so far, found again by path.
struct Catalogue {
    prefix: String,
    attributes: Attributes,
    numbers: BTreeMap<String, Option<SourceSeries>>,
}

/// One sampling in the making.
struct Sampling<'a> {
    catalogue: &'a mut Catalogue,
    samples: &'a mut Samples,
    timestamp: Timestamp,
    /// Time since the sampling before; `None` at the first.
    seconds: Option<f64>,
}

/// The name of this machine as a path segment.
pub fn host_name() -> String {
    SeriesPath::segment_from(&System::host_name().unwrap_or_else(|_| "localhost".to_owned()))
}

impl Host {
    /// Samples `rate_hz` times a second into series below `prefix`.
    ///
    /// # Errors
    /// When the operating system offers no such figures at all.
    pub fn new(prefix: &SeriesPath, rate_hz: f64) -> Result<Self, sysinfo::Error> {
        let mut attributes = Attributes::from([("host".to_owned(), host_name())]);
        if let Ok(version) = System::long_os_version() {
            attributes.insert("os".to_owned(), version);
        }
        let mut host = Self {
            ticks: Ticks::new(rate_hz),
            system: System::new()?,
            disks: Disks::new_with_refreshed_list().ok(),
            networks: Networks::new_with_refreshed_list().ok(),
            components: Components::new_with_refreshed_list().ok(),
            catalogue: Catalogue {
                prefix: prefix.as_str().to_owned(),
                attributes,
                numbers: BTreeMap::new(),
            },
            previous: None,
        };
        // CPU usage is a difference: the first figure needs one before it.
        host.system
            .refresh_cpu_specifics(CpuRefreshKind::nothing().with_usage());
        Ok(host)
    }

    fn refresh(&mut self) {
        self.system
            .refresh_cpu_specifics(CpuRefreshKind::nothing().with_usage());
        self.system
            .refresh_memory_specifics(MemoryRefreshKind::everything());
        self.system.refresh_processes_specifics(
            ProcessesToUpdate::All,
            true,
            ProcessRefreshKind::nothing().without_tasks(),
        );
        if let Some(disks) = &mut self.disks {
            let wanted = DiskRefreshKind::nothing().with_storage().with_io_usage();
            disks.refresh_specifics(true, wanted);
        }
        if let Some(networks) = &mut self.networks {
            networks.refresh(true);
        }
        if let Some(components) = &mut self.components {
            components.refresh(true);
        }
    }

    fn take(&mut self, timestamp: Timestamp, samples: &mut Samples) {
        self.refresh();
        let elapsed_ns = self
            .previous
            .replace(timestamp)
            .map(|previous| timestamp.as_nanos() - previous.as_nanos())
            .filter(|elapsed| *elapsed > 0);
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
        let seconds = elapsed_ns.map(|elapsed| elapsed as f64 / 1e9);
        let mut sampling = Sampling {
            catalogue: &mut self.catalogue,
            samples,
            timestamp,
            seconds,
        };
        take_cpu(&self.system, &mut sampling);
        take_memory(&self.system, &mut sampling);
        take_system(&self.system, &mut sampling);
        if let Some(disks) = &self.disks {
            take_disks(disks, &mut sampling);
        }
        if let Some(networks) = &self.networks {
            take_networks(networks, &mut sampling);
        }
        if let Some(components) = &self.components {
            take_temperatures(components, &mut sampling);
        }
    }
}

impl Source for Host {
    fn sample(&mut self, now: Timestamp, samples: &mut Samples) -> Result<Next, SourceError> {
        // Sensors have no past: of several instants due, only the latest can be sampled.
        let mut latest = None;
        while let Some(tick) = self.ticks.due(now) {
            latest = Some(tick);
        }
        if let Some(tick) = latest {
            self.take(tick, samples);
        }
        Ok(self.ticks.next())
    }

    fn nature(&self) -> Nature {
        Nature::Live
    }
}

impl Sampling<'_> {
    fn f64(&mut self, name: &str, unit: &str, value: f64) {
        if value.is_finite() {
            self.push(name, unit, Value::F64(value));
        }
    }

    fn count(&mut self, name: &str, unit: &str, count: u64) {
        self.push(
            name,
            unit,
            Value::I64(i64::try_from(count).unwrap_or(i64::MAX)),
        );
    }

    /// A count since the sampling before, as a rate.
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
    fn rate(&mut self, name: &str, unit: &str, since_previous: u64) {
        if let Some(seconds) = self.seconds {
            self.f64(name, unit, since_previous as f64 / seconds);
        }
    }

    fn push(&mut self, name: &str, unit: &str, value: Value) {
        let found = self.catalogue.number(name, unit, &value, self.samples);
        if let Some(series) = found {
            self.samples.push(series, self.timestamp, value);
        }
    }
}

impl Catalogue {
    /// The series called `name`, declared if it is new. `None` when its name makes no legal path,
    /// which is said once.
    fn number(
        &mut self,
        name: &str,
        unit: &str,
        value: &Value,
        samples: &mut Samples,
    ) -> Option<SourceSeries> {
        if let Some(known) = self.numbers.get(name) {
            return *known;
        }
        let path = SeriesPath::new(format!("{}/{name}", self.prefix));
        let number = match path {
            Ok(path) => Some(samples.declare(SeriesDescription {
                path,
                kind: value.kind(),
                unit: Unit::new(unit).unwrap_or_default(),
                attributes: self.attributes.clone(),
            })),
            Err(error) => {
                tracing::warn!(%error, "a sensor of this host is left out");
                None
            }
        };
        self.numbers.insert(name.to_owned(), number);
        number
    }
}

fn take_cpu(system: &System, sampling: &mut Sampling<'_>) {
    let total = f64::from(system.global_cpu_usage());
    sampling.f64("cpu/total/usage", "%", hundredths(total));
    for (index, cpu) in system.cpus().iter().enumerate() {
        let usage = hundredths(f64::from(cpu.usage()));
        sampling.f64(&format!("cpu/core-{index}/usage"), "%", usage);
    }
}

fn take_memory(system: &System, sampling: &mut Sampling<'_>) {
    sampling.count("memory/total", "By", system.total_memory());
    sampling.count("memory/used", "By", system.used_memory());
    sampling.count("memory/available", "By", system.available_memory());
    if system.total_swap() > 0 {
        sampling.count("swap/total", "By", system.total_swap());
        sampling.count("swap/used", "By", system.used_swap());
    }
}

fn take_system(system: &System, sampling: &mut Sampling<'_>) {
    if let Ok(load) = System::load_average() {
        sampling.f64("load/1m", "1", load.one);
        sampling.f64("load/5m", "1", load.five);
        sampling.f64("load/15m", "1", load.fifteen);
    }
    if let Ok(seconds) = System::uptime() {
        sampling.count("uptime", "s", seconds);
    }
    sampling.count(
        "processes/count",
        "{process}",
        system.processes().len() as u64,
    );
}

fn take_disks(disks: &Disks, sampling: &mut Sampling<'_>) {
    let mut seen = BTreeSet::new();
    for disk in disks {
        let mount = disk.mount_point().to_string_lossy();
        let name = match mount.trim_matches('/') {
            "" => "root".to_owned(),
            below => SeriesPath::segment_from(&below.replace('/', "-")),
        };
        // One device is often mounted at several places (and files of it into containers): the
        // first place listed stands for it.
        if disk.total_space() == 0 || !seen.insert(disk.name().to_owned()) {
            continue;
        }
        let total = disk.total_space();
        let available = disk.available_space();
        let usage = disk.usage();
        sampling.count(&format!("disk/{name}/total"), "By", total);
        sampling.count(
            &format!("disk/{name}/used"),
            "By",
            total.saturating_sub(available),
        );
        sampling.rate(&format!("disk/{name}/read_rate"), "By/s", usage.read_bytes);
        sampling.rate(
            &format!("disk/{name}/write_rate"),
            "By/s",
            usage.written_bytes,
        );
    }
}

fn take_networks(networks: &Networks, sampling: &mut Sampling<'_>) {
    // In order of name, so that series are declared in the same order each time.
    let interfaces: BTreeMap<_, _> = networks.iter().collect();
    for (interface, traffic) in interfaces {
        // Containers' ends come and go by the hundred, each under a new name.
        let interface = interface.to_string_lossy();
        if interface.starts_with("veth") {
            continue;
        }
        let name = SeriesPath::segment_from(&interface);
        sampling.rate(
            &format!("network/{name}/receive_rate"),
            "By/s",
            traffic.received(),
        );
        sampling.rate(
            &format!("network/{name}/transmit_rate"),
            "By/s",
            traffic.transmitted(),
        );
        sampling.count(
            &format!("network/{name}/received"),
            "By",
            traffic.total_received(),
        );
        sampling.count(
            &format!("network/{name}/transmitted"),
            "By",
            traffic.total_transmitted(),
        );
        sampling.count(
            &format!("network/{name}/errors"),
            "{error}",
            traffic
                .total_errors_on_received()
                .saturating_add(traffic.total_errors_on_transmitted()),
        );
    }
}

fn take_temperatures(components: &Components, sampling: &mut Sampling<'_>) {
    for component in components {
        if let Some(temperature) = component.temperature() {
            let name = SeriesPath::segment_from(component.label());
            let celsius = hundredths(f64::from(temperature));
            sampling.f64(&format!("temperature/{name}"), "Cel", celsius);
        }
    }
}

/// Rounded to what such a sensor can tell, which also compresses well.
fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host::new(&SeriesPath::new("host/here").unwrap(), 1.0).unwrap()
    }

    #[test]
    fn cpu_and_memory_of_this_machine_are_there_and_every_value_is_legal() {
        let mut source = host();
        let mut samples = Samples::default();
        let next = source
            .sample(Timestamp::from_nanos(5_000_000_100), &mut samples)
            .unwrap();
        assert_eq!(next, Next::At(Timestamp::from_nanos(6_000_000_000)));
        let paths: Vec<&str> = samples.series().iter().map(|s| s.path.as_str()).collect();
        for expected in [
            "host/here/cpu/total/usage",
            "host/here/cpu/core-0/usage",
            "host/here/memory/used",
            "host/here/processes/count",
        ] {
            assert!(paths.contains(&expected), "{expected} is not in {paths:?}");
        }
        for sample in samples.readings() {
            let series = &samples.series()[sample.series.0 as usize];
            sample.value.check().unwrap();
            series.check().unwrap();
            assert_eq!(sample.value.kind(), series.kind);
            assert_eq!(sample.timestamp, Timestamp::from_nanos(5_000_000_000));
        }
    }

    #[test]
    fn no_series_is_declared_twice() {
        let mut source = host();
        let mut samples = Samples::default();
        for second in 1..4 {
            let now = Timestamp::from_nanos(second * 1_000_000_000);
            source.sample(now, &mut samples).unwrap();
        }
        let paths: BTreeSet<_> = samples.series().iter().map(|s| &s.path).collect();
        assert_eq!(paths.len(), samples.series().len());
    }
}
