//! Puts the browser part into the program, if `cargo xtask browser` has built it.
//!
//! Copies `built/<content hash>/…` to where cargo keeps what it builds from, so that a later
//! `cargo xtask browser` cannot take files away under a running build, and writes a table of them.
//! Without that folder the table is
//! empty and the dashboard says so on its page, so that building and testing the workspace never
//! needs the browser's toolchain. For a release set `TIDEMARK_REQUIRE_BROWSER_PART=1`: then its
//! absence is an error.

#![expect(
    clippy::disallowed_methods,
    reason = "writes into cargo's own folder, no part of the store"
)]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=built");
    println!("cargo:rerun-if-env-changed=TIDEMARK_REQUIRE_BROWSER_PART");
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let folder = built(&manifest.join("built"));
    let is_required = env::var("TIDEMARK_REQUIRE_BROWSER_PART").is_ok_and(|value| value == "1");
    assert!(
        folder.is_some() || !is_required,
        "the browser part is missing: run `cargo xtask browser` first"
    );
    let copied = out.join("bundle");
    let name = match &folder {
        Some(folder) => {
            let _ = fs::remove_dir_all(&copied);
            copy(folder, &copied);
            let name = folder.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        }
        None => String::new(),
    };
    let mut files = match &folder {
        Some(_) => list(&copied),
        None => Vec::new(),
    };
    files.sort();
    let table = table(&name, &copied, &files);
    fs::write(out.join("bundle.rs"), table).expect("cargo's own folder can be written");
}

/// The one folder that `cargo xtask browser` leaves.
fn built(parent: &Path) -> Option<PathBuf> {
    let folders = fs::read_dir(parent).ok()?.flatten();
    let mut folders = folders
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    folders.next()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("cargo's own folder can be written");
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else if let Err(error) = fs::copy(&path, &target) {
            panic!(
                "cannot copy {}: {error}: run `cargo xtask browser` again",
                path.display()
            );
        }
    }
}

/// The files below `folder`, but for the compressed twins.
fn list(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(list(&path));
        } else if !matches!(
            path.extension().and_then(|end| end.to_str()),
            Some("br" | "gz")
        ) {
            files.push(path);
        }
    }
    files
}

fn table(name: &str, folder: &Path, files: &[PathBuf]) -> String {
    let mut code = format!("Bundle {{ hash: {name:?}, files: &[\n");
    for file in files {
        let relative = file.strip_prefix(folder).unwrap_or(file);
        let relative = relative.to_string_lossy().replace('\\', "/");
        let twin = |end: &str| {
            let twin = PathBuf::from(format!("{}.{end}", file.display()));
            match twin.is_file() {
                true => format!("Some(include_bytes!({twin:?}))"),
                false => "None".to_owned(),
            }
        };
        writeln!(
            code,
            "    File {{ path: {relative:?}, plain: include_bytes!({file:?}), brotli: {}, gzip: {} }},",
            twin("br"),
            twin("gz"),
        )
        .expect("a String takes every text");
    }
    code.push_str("] }\n");
    code
}
