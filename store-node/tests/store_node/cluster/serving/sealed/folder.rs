//! A stopped node's folder, as `store-node verify` and `store-node dump` show it.

use std::path::Path;
use std::process::Command;

use segment_log::{OpenMode, OsDisk};

use super::*;

/// The folder of a node that has sealed 9,000 readings of one series and a text of another, and appended
/// one more, on a real disk.
async fn stopped() -> (tempfile::TempDir, Arc<Manifest>) {
    let mut cluster = one_node().await;
    let operator = Client::operator(&cluster);
    let text = Columns {
        times: vec![7],
        values: Values::Text(vec!["say \"go\"\n".to_owned()]),
    };
    operator
        .write(
            &cluster,
            &[("line/f", &floats(0..9_000)), ("line/t", &text)],
        )
        .await;
    let manifest = cluster.sealed().await;
    operator
        .write(&cluster, &[("line/f", &floats(9_000..9_001))])
        .await;
    cluster.stop(1).await;
    let folder = tempfile::tempdir().unwrap();
    copy(&cluster.disks[&1], Path::new("/data"), folder.path());
    (folder, manifest)
}

fn copy(disk: &dyn Disk, from: &Path, to: &Path) {
    OsDisk.create_dir_all(to).unwrap();
    for name in disk.list(from).unwrap() {
        let (from, to) = (from.join(&name), to.join(&name));
        if disk.list(&from).is_ok() {
            copy(disk, &from, &to);
        } else {
            put(&to, &read_file(disk, &from).unwrap());
        }
    }
}

fn put(file: &Path, content: &[u8]) {
    let file = OsDisk.open(file, OpenMode::Create).unwrap();
    file.write_all_at(content, 0).unwrap();
}

fn flip(file: &Path, offset: usize) {
    let mut content = read_file(&OsDisk, file).unwrap();
    content[offset] ^= 0x10;
    put(file, &content);
}

/// Exit code and what was printed: results, then complaints.
fn run(command: &str, folder: &Path, more: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_store-node"))
        .args([command, "--data"])
        .arg(folder)
        .args(more)
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(printed).unwrap(),
    )
}

fn segment_in(folder: &Path, entry: &SegmentEntry) -> PathBuf {
    let name = format!("shards/0/segments/19700101T000000Z/{}.seg", entry.hash);
    folder.join(name)
}

fn manifest_in(folder: &Path) -> PathBuf {
    let dir = folder.join("shards/0/manifests");
    let name = OsDisk.list(&dir).unwrap().pop().unwrap();
    dir.join(name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_reads_every_segment_and_the_manifest() {
    let (folder, manifest) = stopped().await;
    let folder = folder.path();
    let (code, text) = run("verify", folder, &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("1 segments, 9001 readings"), "{text}");
    assert!(!text.contains("note"), "{text}");

    let file = segment_in(folder, &manifest.segments[0]);
    let named = file.display().to_string();
    let bytes = usize::try_from(manifest.segments[0].bytes).expect("a small file");
    for offset in [3, 60, bytes / 2, bytes - 110, bytes - 1] {
        flip(&file, offset);
        let (code, text) = run("verify", folder, &[]);
        assert_eq!(code, 1, "{offset}: {text}");
        let line = text
            .lines()
            .find(|line| line.starts_with("damaged"))
            .unwrap();
        assert!(line.contains(&named) && line.contains("offsets"), "{line}");
        flip(&file, offset);
    }

    // What nobody lists is no damage, whatever is in it.
    let stranger = named.replace(&manifest.segments[0].hash.to_string()[..8], "01234567");
    put(Path::new(&stranger), b"anything");
    let part = folder.join("shards/0/segments/incoming/7-0.part");
    put(&part, b"half");
    let (code, text) = run("verify", folder, &[]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains(&format!("note     {stranger}: no manifest")),
        "{text}"
    );
    assert!(
        text.contains(&format!("note     {}", part.display())),
        "{text}"
    );

    OsDisk.remove(&file).unwrap();
    let (code, text) = run("verify", folder, &[]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains(&format!("missing  {named}")), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_names_a_damaged_manifest_and_looks_at_the_segments_all_the_same() {
    let (folder, manifest) = stopped().await;
    let folder = folder.path();
    let file = manifest_in(folder);
    flip(&file, 100);
    let (code, text) = run("verify", folder, &[]);
    assert_eq!(code, 1, "{text}");
    let bytes = manifest.encode().len();
    let line = format!("damaged  {}: offsets 0..{bytes}", file.display());
    assert!(text.contains(&line), "{text}");
    assert!(text.contains("1 segments, 9001 readings"), "{text}");
    flip(&segment_in(folder, &manifest.segments[0]), 60);
    let (_, text) = run("verify", folder, &[]);
    assert_eq!(text.matches("damaged  ").count(), 2, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dump_prints_series_chunks_and_statistics() {
    let (folder, manifest) = stopped().await;
    let folder = folder.path();
    let (code, all) = run("dump", folder, &[]);
    assert_eq!(code, 0, "{all}");
    let entry = &manifest.segments[0];
    for part in [
        "2 series, 9001 readings, 1 segments".to_owned(),
        format!(
            "segment {} window 1970-01-01T00:00:00.000000000Z 1d",
            entry.hash
        ),
        "line/f f64: 9000 readings".to_owned(),
        "in 3 chunks".to_owned(),
        "line/t text: 1 readings".to_owned(),
    ] {
        assert!(all.contains(&part), "{part} is not in {all}");
    }
    assert!(!all.contains(" sum ") && !all.contains("entry "), "{all}");

    let chosen = ["--series", "line/t", "--chunks"];
    let (_, text) = run("dump", folder, &chosen);
    assert!(!text.contains("line/f"), "{text}");
    assert!(text.contains(r#"first "say \"go\"\n" last"#), "{text}");
    let (_, text) = run("dump", folder, &["--series", "*/f", "--chunks"]);
    assert!(
        text.contains("4096 readings 1970-01-01T00:00:00.000000000Z..=1970"),
        "{text}"
    );
    assert!(
        text.contains("first 0 last 1023.75 min 0 max 1023.75 sum 2096640"),
        "{text}"
    );
    let (_, text) = run("dump", folder, &["--series", "nothing/**"]);
    assert!(!text.contains("segment "), "{text}");
    let (_, text) = run("dump", folder, &["--log"]);
    assert!(text.contains(": append by hand"), "{text}");

    flip(
        &segment_in(folder, entry),
        usize::try_from(entry.bytes).expect("a small file") - 1,
    );
    let (code, text) = run("dump", folder, &[]);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("cannot be read") && text.contains("verify"),
        "{text}"
    );
    let (code, text) = run("dump", &folder.join("nowhere"), &[]);
    assert!(code == 1 && text.contains("does not exist"), "{text}");
    let (code, _) = run("dump", folder, &["--series", "a//b"]);
    assert_eq!(code, 2);
}
