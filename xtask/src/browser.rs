//! `cargo xtask browser`: the dashboard's browser part, from sources to the folder that
//! `dashboard/build.rs` puts into the program.
//!
//! 1. The `dashboard` library is compiled as a cdylib for `wasm32-unknown-unknown`.
//! 2. `wasm-bindgen`, as a library in the very version the dashboard uses, makes a module that a
//!    browser can load.
//! 3. The page's own files and what it takes from npm are laid beside it, and everything is
//!    compressed once, for ever.
//! 4. The folder is named by a hash of its contents: `dashboard/built/<hash>`.
//!
//! Nothing is downloaded but the target's standard library and the locked npm packages.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use local_cluster::workspace_root;
use wasm_bindgen_cli_support::Bindgen;

use crate::host;

const TARGET: &str = "wasm32-unknown-unknown";
const PROFILE: &str = "wasm-release";

/// Most bytes that a browser may have to load, compressed.
const COMPRESSED_BYTES_MAX: u64 = 300 * 1024;

/// The page's own files, below `dashboard/assets`. The scripts that the module imports are not among
/// them: wasm-bindgen lays those where they belong.
const OWN_FILES: [&str; 5] = [
    "start.js",
    "pages.js",
    "style.css",
    "pages.css",
    "favicon.svg",
];

/// The scripts that are imported by those scripts alone, of which wasm-bindgen knows nothing.
const INNER_SCRIPTS: [&str; 3] = ["export.js", "gestures.js", "readout.js"];

/// What the page takes from npm, below `dashboard/node_modules`.
const PACKAGE_FILES: [&str; 2] = ["uplot/dist/uPlot.iife.min.js", "uplot/dist/uPlot.min.css"];

/// Builds the browser part and gives the folder of its assets.
///
/// # Errors
/// When something it needs is missing and cannot be installed, naming it; when a step fails; when
/// the result is larger than a browser should have to load.
pub(crate) fn build() -> Result<PathBuf> {
    let dashboard = workspace_root().join("dashboard");
    host::install_target(TARGET)?;
    install_packages(&dashboard)?;
    let module = compile()?;

    let built = dashboard.join("built");
    let fresh = tempfile::Builder::new()
        .prefix(".fresh-")
        .tempdir_in(&dashboard)
        .with_context(|| format!("cannot write below {}", dashboard.display()))?;
    bind(&module, fresh.path())?;
    for name in OWN_FILES {
        copy(&dashboard.join("assets").join(name), fresh.path())?;
    }
    for name in PACKAGE_FILES {
        copy(&dashboard.join("node_modules").join(name), fresh.path())?;
    }

    let mut files = list(fresh.path())?;
    let chart = files.iter().find(|file| file.ends_with("assets/chart.js"));
    let scripts = chart.and_then(|chart| chart.parent());
    let scripts = scripts
        .context("the module does not import chart.js")?
        .to_owned();
    for name in INNER_SCRIPTS {
        copy(&dashboard.join("assets").join(name), &scripts)?;
        files.push(scripts.join(name));
    }
    files.sort();
    let folder = built.join(content_hash(fresh.path(), &files)?);
    let mut sizes = Sizes::default();
    let is_new = !folder.is_dir();
    for file in &files {
        sizes.add(file, is_new)?;
    }
    if is_new {
        replace(fresh, &built, &folder)?;
    }
    sizes.check(&folder)?;
    Ok(folder)
}

/// Installs the page's npm packages as locked, unless they are there.
fn install_packages(dashboard: &Path) -> Result<()> {
    // npm leaves a copy of the lock file with what it has installed.
    let installed = dashboard.join("node_modules/.package-lock.json");
    let lock = dashboard.join("package-lock.json");
    let time = |path: &Path| {
        fs::metadata(path)
            .and_then(|metadata| metadata.modified())
            .ok()
    };
    if time(&installed).is_some_and(|installed| Some(installed) >= time(&lock)) {
        return Ok(());
    }
    let status = host::npm_ci(dashboard)?
        .current_dir(dashboard)
        .status()
        .context("cannot run npm")?;
    if !status.success() {
        bail!("npm ci failed in {}", dashboard.display());
    }
    Ok(())
}

/// Compiles the library for the browser and gives the module's path.
fn compile() -> Result<PathBuf> {
    let root = workspace_root();
    let status = local_cluster::cargo()
        .args(["rustc", "--package", "dashboard", "--lib"])
        .args(["--target", TARGET, "--profile", PROFILE])
        .args(["--crate-type", "cdylib"])
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("compiling the browser part failed");
    }
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root.join(dir),
        None => root.join("target"),
    };
    Ok(target.join(TARGET).join(PROFILE).join("dashboard.wasm"))
}

/// Makes `dashboard.js` and `dashboard_bg.wasm` of the compiled module.
fn bind(module: &Path, folder: &Path) -> Result<()> {
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(module)
        .web(true)?
        .typescript(false)
        .omit_default_module_path(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(folder)
        .with_context(|| format!("wasm-bindgen refused {}", module.display()))
}

fn copy(from: &Path, folder: &Path) -> Result<()> {
    let name = from.file_name().context("a file has a name")?;
    fs::copy(from, folder.join(name)).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(list(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// A name for exactly these files with these contents. It only has to change when they do.
fn content_hash(folder: &Path, files: &[PathBuf]) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for file in files {
        let relative = file.strip_prefix(folder)?.to_string_lossy();
        let bytes = fs::read(file)?;
        hasher.write(relative.as_bytes());
        hasher.write_usize(bytes.len());
        hasher.write(&bytes);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// Puts the fresh folder in the place of the one before.
fn replace(fresh: tempfile::TempDir, built: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(built)?;
    for entry in fs::read_dir(built)? {
        let path = entry?.path();
        if path.is_dir() {
            fs::remove_dir_all(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    let fresh = fresh.keep();
    fs::rename(&fresh, folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// What a browser has to load.
#[derive(Default)]
struct Sizes {
    plain: u64,
    gzip: u64,
    brotli: u64,
}

impl Sizes {
    /// Counts `file` in; writes its compressed twins beside it if it `is_new`.
    fn add(&mut self, file: &Path, is_new: bool) -> Result<()> {
        let bytes = fs::read(file)?;
        let (gzip, brotli) = (gzip(&bytes)?, brotli(&bytes)?);
        self.plain += length(&bytes);
        self.gzip += length(&gzip);
        self.brotli += length(&brotli);
        if is_new {
            fs::write(format!("{}.gz", file.display()), gzip)?;
            fs::write(format!("{}.br", file.display()), brotli)?;
        }
        Ok(())
    }

    /// Prints the sizes, and refuses what is too large.
    fn check(&self, folder: &Path) -> Result<()> {
        let kib = |bytes: u64| bytes.div_ceil(1024);
        println!(
            "browser part: {} KiB, {} KiB as gzip, {} KiB as brotli, in {}",
            kib(self.plain),
            kib(self.gzip),
            kib(self.brotli),
            folder.display()
        );
        if self.brotli > COMPRESSED_BYTES_MAX {
            bail!(
                "the browser part has {} KiB compressed; {} KiB is the most a page should load",
                kib(self.brotli),
                kib(COMPRESSED_BYTES_MAX)
            );
        }
        Ok(())
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn brotli(bytes: &[u8]) -> Result<Vec<u8>> {
    const QUALITY: u32 = 11;
    const WINDOW_BITS: u32 = 22;
    const BUFFER_BYTES: usize = 64 * 1024;
    let mut out = Vec::new();
    {
        let mut encoder =
            brotli::CompressorWriter::new(&mut out, BUFFER_BYTES, QUALITY, WINDOW_BITS);
        encoder.write_all(bytes)?;
        encoder.flush()?;
    }
    Ok(out)
}
