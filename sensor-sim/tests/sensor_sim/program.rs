//! The program itself, from outside: exit codes, the summary, signals, kills.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use segment_log::{Disk, OpenMode, OsDisk};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::fake_store::{FakeStore, Fault};
use super::world::World;

fn command(world: &World, store: &FakeStore, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sensor-sim"));
    command
        .args(arguments)
        .args(["--target", &store.targets.join(","), "--identity"])
        .arg(world.device_folder())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

async fn ended(child: Child) -> Ended {
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output())
        .await
        .expect("the program does not come to an end")
        .unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

async fn run(command: &mut Command) -> Ended {
    ended(command.spawn().unwrap()).await
}

fn recording(folder: &Path, rows: u64) -> PathBuf {
    let mut text = String::from("no,time,a,b\n");
    for row in 0..rows {
        text += &format!("{row},{},{row}.5,{}\n", 1_700_000_000 + row, row * 2);
    }
    let path = folder.join("numbered.csv");
    let file = OsDisk.open(&path, OpenMode::Create).unwrap();
    file.write_all_at(text.as_bytes(), 0).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_ends_with_one_line_of_json_and_exit_code_0() {
    let world = World::new();
    let store = FakeStore::start(&world, 1);
    let folder = TempDir::new().unwrap();
    let file = recording(folder.path(), 700);
    let arguments = [
        "--source",
        "replay",
        "--json",
        "--file",
        file.to_str().unwrap(),
    ];
    let ended = run(&mut command(&world, &store, &arguments)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout.lines().count(), 1, "{}", ended.stdout);
    let summary: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(summary["sent"], 1_400);
    assert_eq!(summary["acked"], 1_400);
    assert!(summary["ack_ms"]["p999"].is_number());
    assert!(ended.stderr.contains("spool in"), "{}", ended.stderr);
    let table = store.table();
    assert_eq!(table.values.len(), 1_400);
    assert!(table.producers.contains_key("device/press#numbered"));
    drop(table);
    store.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replay_started_again_sends_every_row_exactly_once() {
    let world = World::new();
    let store = FakeStore::start(&world, 2);
    let folder = TempDir::new().unwrap();
    let rows = 3_000;
    let file = recording(folder.path(), rows);
    let spool = folder.path().join("spool");
    let arguments = [
        "--source",
        "replay",
        "--json",
        "--batch-max",
        "20",
        "--linger",
        "2ms",
        "--speed",
        "2000",
        "--file",
        file.to_str().unwrap(),
        "--spool",
        spool.to_str().unwrap(),
    ];
    for kill_after in [300, 1_500, 3_200] {
        let mut child = command(&world, &store, &arguments).spawn().unwrap();
        let began = tokio::time::Instant::now();
        while store.table().values.len() < kill_after {
            assert!(began.elapsed() < Duration::from_secs(60), "no progress");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        child.kill().await.unwrap();
    }
    store.inject(0, Fault::MoveLeader);
    let ended = run(&mut command(&world, &store, &arguments)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let table = store.table();
    assert_eq!(table.values.len() as u64, rows * 2);
    let doubled = table.applied.values().filter(|times| **times != 1).count();
    assert_eq!(doubled, 0, "readings applied more than once");
    drop(table);
    store.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminated_agent_delivers_what_it_has_and_exits_0() {
    let world = World::new();
    let store = FakeStore::start(&world, 1);
    let arguments = ["--devices", "2", "--rate", "50", "--json"];
    let child = command(&world, &store, &arguments).spawn().unwrap();
    let began = tokio::time::Instant::now();
    while store.table().values.len() < 500 {
        assert!(began.elapsed() < Duration::from_secs(60), "no progress");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let pid = child.id().unwrap().to_string();
    let signalled = Command::new("kill").args(["-TERM", &pid]).status().await;
    assert!(signalled.unwrap().success());
    let ended = ended(child).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let summary: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(summary["acked"], store.table().values.len());
    store.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_one_clear_line_and_the_right_exit_code() {
    let world = World::new();
    let store = FakeStore::start(&world, 1);
    for (arguments, code, hint) in [
        (
            &["--source", "replay", "--file", "/nowhere.csv"][..],
            1,
            "/nowhere.csv",
        ),
        (&["--spool", "/proc/spool"], 1, "/proc/spool"),
        (&["--rate", "fast"], 2, "--rate"),
        (&["--source", "radio"], 2, "radio"),
        (
            &["load", "--devices", "1", "--metrics", "1"],
            2,
            "--readings",
        ),
    ] {
        let ended = run(&mut command(&world, &store, arguments)).await;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.stderr);
        assert!(
            ended.stderr.contains(hint),
            "{arguments:?}: {}",
            ended.stderr
        );
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
    store.stop();
    let mut missing = Command::new(env!("CARGO_BIN_EXE_sensor-sim"));
    missing.args(["--target", "localhost", "--identity", "/no/identity"]);
    let ended = run(missing.stdout(Stdio::piped()).stderr(Stdio::piped())).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("/no/identity"), "{}", ended.stderr);
}
