//! Breaks the disk and the clock of a real program while it runs, from outside.
//!
//! A small library in C (`faults/preload.c`) is compiled with the C compiler that Rust links with,
//! and loaded before libc into one program. It looks at a control file on every call; [`Faults`]
//! writes that file. What a fake disk shows of one library, this shows of the whole program: what
//! it says, how it ends, and that it starts again.

use std::env;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

const SOURCE: &str = include_str!("faults/preload.c");
/// Bytes of the control file, and where in it what is; `preload.c` has the same.
const CONTROL_BYTES: u64 = 256;
const FAIL: u64 = 0;
const DELAY: u64 = 8;
const JUMP: u64 = 16;
const SEEN: u64 = 24;
const FAILED: u64 = 32;
const PART: u64 = 40;

/// The faults of one program. None is in force until it is asked for, and each stays until it is
/// lifted, also over restarts of the program.
#[derive(Debug)]
pub struct Faults {
    control: File,
    control_path: PathBuf,
    library: PathBuf,
    folder: PathBuf,
}

impl Faults {
    /// Faults of a program that keeps its files in `folder`, which need not exist, controlled by files
    /// beside it.
    ///
    /// # Errors
    /// When there is no C compiler (`cc`, or what `CC` names), or the files cannot be written.
    pub fn new(folder: &Path) -> Result<Self> {
        // The library sees names as the kernel gives them, without links in them.
        let (above, name) = (folder.parent(), folder.file_name());
        let above = above.context("the folder has no name")?.canonicalize()?;
        let folder = above.join(name.context("the folder has no name")?);
        let library = compile(&folder.with_extension("faults.so"))?;
        let control_path = folder.with_extension("faults");
        let control = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&control_path)
            .and_then(|file| file.set_len(CONTROL_BYTES).map(|()| file))
            .with_context(|| format!("cannot write {}", control_path.display()))?;
        Ok(Self {
            control,
            control_path,
            library,
            folder,
        })
    }

    /// Makes the program that `command` will start subject to these faults.
    pub fn attach(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAULT_CONTROL", &self.control_path)
            .env("FAULT_FOLDER", &self.folder);
    }

    /// From now on every sync of a file or folder fails with EIO whose path below the program's
    /// folder contains `part` (`""` means all of them, `/log/` those of the log, `.seg` segments).
    ///
    /// # Errors
    /// When `part` is longer than 215 bytes, or the control file cannot be written.
    pub fn fail_syncs(&self, part: &str) -> Result<()> {
        let mut text = part.as_bytes().to_vec();
        text.resize(usize::try_from(CONTROL_BYTES - PART)?, 0);
        ensure!(text.last() == Some(&0), "{part:?} is too long");
        // Never a moment in which syncs fail of files that are not meant.
        self.write(FAIL, &0_u64.to_le_bytes())?;
        self.write(PART, &text)?;
        self.write(FAIL, &1_u64.to_le_bytes())
    }

    /// From now on every sync takes `delay` longer: a slow disk. Zero for the disk as it is.
    ///
    /// # Errors
    /// When the control file cannot be written.
    pub fn delay_syncs(&self, delay: Duration) -> Result<()> {
        self.write(DELAY, &u64::try_from(delay.as_nanos())?.to_le_bytes())
    }

    /// Sets the wall clock `seconds` ahead of this machine's, or behind. The monotonic clock goes on.
    ///
    /// # Errors
    /// When that is more than 292 years, or the control file cannot be written.
    pub fn jump_clock(&self, seconds: i64) -> Result<()> {
        let nanos = seconds
            .checked_mul(1_000_000_000)
            .context("too far a jump of the clock")?;
        self.write(JUMP, &nanos.to_le_bytes())
    }

    /// Lifts every fault.
    ///
    /// # Errors
    /// When the control file cannot be written.
    pub fn lift(&self) -> Result<()> {
        self.write(FAIL, &[0; 24])?;
        self.write(PART, &[0])
    }

    /// How many syncs were meant so far: those of files that [`fail_syncs`](Self::fail_syncs) names.
    ///
    /// # Errors
    /// When the control file cannot be read.
    pub fn syncs_seen(&self) -> Result<u64> {
        self.read(SEEN)
    }

    /// How many syncs failed so far: a test waits for it, to know that the fault struck.
    ///
    /// # Errors
    /// When the control file cannot be read.
    pub fn syncs_failed(&self) -> Result<u64> {
        self.read(FAILED)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.control
            .write_all_at(bytes, at)
            .with_context(|| format!("cannot write {}", self.control_path.display()))
    }

    fn read(&self, at: u64) -> Result<u64> {
        let mut bytes = [0; 8];
        self.control
            .read_exact_at(&mut bytes, at)
            .with_context(|| format!("cannot read {}", self.control_path.display()))?;
        Ok(u64::from_le_bytes(bytes))
    }
}

/// Compiles the library to `library`.
fn compile(library: &Path) -> Result<PathBuf> {
    let source = library.with_extension("c");
    std::fs::write(&source, SOURCE)
        .with_context(|| format!("cannot write {}", source.display()))?;
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let output = Command::new(&compiler)
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-o"])
        .arg(library)
        .arg(&source)
        .arg("-ldl")
        .output()
        .with_context(|| format!("cannot run the C compiler {}", compiler.display()))?;
    if !output.status.success() {
        bail!(
            "{} cannot compile {}: {}",
            compiler.display(),
            source.display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(library.to_path_buf())
}
