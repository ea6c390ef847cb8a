//! The paths that every reading takes, each over the same made-up readings on every machine and in every
//! run: for `cargo xtask bench instructions`, which counts the instructions of each under callgrind.
//!
//! `hot_paths` lists the paths; `hot_paths PATH` takes one of them twice, the first time to fill buffers
//! and caches, and prints what its count is divided by. Only what happens within [`counted`] counts:
//! making readings up, and laying them down where a path is to find them, does not.
//!
//! One thread, fixed seeds, a disk of the machine's own: system calls are not counted, as callgrind
//! sees this program alone.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on panics"
)]

mod codec;
mod history;
mod log;
mod scans;
mod store;

use std::hint::black_box;

/// What is done once, in which units it is counted, and how many of them it does.
struct Work {
    unit: &'static str,
    units: usize,
    /// Does it. Called twice.
    once: Box<dyn FnMut()>,
}

/// Lays down what a path needs.
type Prepare = fn() -> Work;

const PATHS: [(&str, Prepare); 13] = [
    ("encode", codec::encode),
    ("encode-single", codec::encode_single),
    ("verify", codec::verify),
    ("decode", codec::decode),
    ("append", log::append),
    ("start", log::start),
    ("start-single", log::start_single),
    ("apply", store::apply),
    ("apply-single", store::apply_single),
    ("scan-rows", scans::rows),
    ("scan-minutes", scans::minutes),
    ("scan-year", scans::year),
    ("scan-group", scans::group),
];

fn main() {
    let Some(wanted) = std::env::args().nth(1) else {
        for (name, _) in PATHS {
            println!("{name}");
        }
        return;
    };
    let path = PATHS.iter().find(|(name, _)| *name == wanted);
    let (_, prepare) = path.unwrap_or_else(|| panic!("there is no path {wanted}"));
    let Work {
        unit,
        units,
        mut once,
    } = prepare();
    once();
    counted(&mut *once);
    println!("{units} {unit}");
}

/// Everything that counts happens in here: callgrind is told this function's name.
#[inline(never)]
fn counted(once: &mut dyn FnMut()) {
    once();
    // Not a tail call, whose end would not be seen.
    black_box(());
}
