//! The prompt and its scripts, completions, man pages, suggestions, Arrow, and the live view.

use std::io::{Read as _, Write as _};
use std::process::Stdio;

use store_wire::message::{ErrorCode, Request};
use tempfile::TempDir;

use crate::answers::{failing, node, plant};
use crate::store::{Cluster, Run, program};

/// Runs a script through `repl`.
async fn scripted(cluster: &Cluster, targets: &str, script: &str, more: &[&str]) -> Run {
    let mut command = cluster.command(targets);
    command.args(more).arg("repl");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let script = script.to_owned();
    let ran = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        // Dropped at once, so that the script ends.
        child
            .stdin
            .take()
            .unwrap()
            .write_all(script.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    });
    Run::from(ran.await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_runs_every_line_and_ends_with_the_code_of_the_worst() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let script = "# a comment\n\nlast plant/b/parts\nlast plant/b/parts --format ndjson\n";
    let run = scripted(&cluster, store.address(), script, &["--format", "csv"]).await;
    assert_eq!(
        run.success(),
        concat!(
            "series,timestamp,value\nplant/b/parts,2026-01-01T00:00:01.000000000Z,-1\n",
            r#"{"path":"plant/b/parts","kind":"i64","unit":"","timestamp":"2026-01-01T00:00:01.000000000Z","value":-1}"#,
            "\n"
        )
    );
    for (worst, code) in [("last plant/none", 1), ("last", 2), ("put 'unclosed", 2)] {
        let script = format!("{worst}\nlast 'plant/b/parts'\nexit\nlast plant/none\n");
        let run = scripted(&cluster, store.address(), &script, &["--format", "csv"]).await;
        assert_eq!(run.code, Some(code), "{run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
        assert!(run.stdout.contains("plant/b/parts"), "{run:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_ends_quietly_once_nobody_reads_its_results() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let mut command = cluster.command(store.address());
    command
        .arg("repl")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ran = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let script = b"last plant/b/parts\nput plant/b/parts 7\nlast plant/b/parts\n";
        child.stdin.take().unwrap().write_all(script).unwrap();
        child.wait_with_output().unwrap()
    });
    let run = Run::from(ran.await.unwrap());
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(run.stderr, "");
    let writes = store.count(|request| matches!(request, Request::Write { .. }));
    assert_eq!(writes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_cannot_ask_another_store_or_begin_a_prompt_in_the_prompt() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    for line in [
        "last a --target 127.0.0.1:1",
        "repl",
        "serve",
        "completions bash",
    ] {
        let run = scripted(&cluster, store.address(), line, &[]).await;
        assert_eq!(run.code, Some(2), "{line}: {run:?}");
    }
    let help = scripted(&cluster, store.address(), "help range\n", &[]).await;
    assert!(help.success().contains("--every"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_matches_nothing_is_answered_with_the_nearest_that_does() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let run = cluster
        .run(store.address(), &["last", "plant/a/temprature"])
        .await;
    let told = run.failure(1);
    assert!(told.contains("did you mean plant/a/temperature?"), "{told}");
    let range = [
        "range",
        "plamt/**",
        "--from",
        "2026-01-01",
        "--format",
        "csv",
    ];
    for arguments in [&["last", "plamt/**"][..], &["series", "plamt/**"], &range] {
        let run = cluster.run(store.address(), arguments).await;
        assert!(run.stderr.contains("did you mean 'plant/**'?"), "{run:?}");
    }
    // There are such series, just not then.
    let range = [
        "range",
        "plant/**",
        "--from",
        "2020-01-01",
        "--to",
        "2020-01-02",
    ];
    let run = cluster.run(store.address(), &range).await;
    assert!(!run.stderr.contains("did you mean"), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn arrow_is_a_stream_that_ends_and_only_of_rows() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    for arguments in [
        &[
            "range",
            "plant/**",
            "--from",
            "2026-01-01",
            "--to",
            "2026-01-02",
        ][..],
        &[
            "range",
            "plant/**",
            "--from",
            "2026-01-01",
            "--to",
            "2026-01-02",
            "--every",
            "1s",
            "--agg",
            "first,count",
        ],
        &["last", "plant/**"],
    ] {
        let mut command = cluster.command(store.address());
        command.args(arguments).args(["--format", "arrow"]);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = output.await.unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(output.stdout.starts_with(&[0xFF; 4]));
        assert!(
            output
                .stdout
                .ends_with(&[0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0])
        );
    }
    let told = cluster
        .run(store.address(), &["series", "--format", "arrow"])
        .await;
    assert!(told.failure(2).contains("range and last"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_completes_commands_flags_and_paths() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let completed = |words: &[&str]| {
        let mut command = program();
        command
            .env("COMPLETE", "bash")
            .env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string())
            .env("_CLAP_IFS", "\n")
            .env("TIDEMARK_TARGET", store.address())
            .env("TIDEMARK_IDENTITY", cluster.operator())
            .arg("--")
            .args(words);
        tokio::task::spawn_blocking(move || {
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        })
    };
    assert_eq!(completed(&["query-app", "exp"]).await.unwrap(), "export");
    assert_eq!(
        completed(&["query-app", "range", "a", "--ever"])
            .await
            .unwrap(),
        "--every"
    );
    assert_eq!(
        completed(&["query-app", "last", "plant/"]).await.unwrap(),
        "plant/a/\nplant/b/"
    );
    let paths = completed(&["query-app", "last", "plant/a/t"])
        .await
        .unwrap();
    assert_eq!(paths, "plant/a/temperature");
}

#[test]
fn completions_and_man_pages_need_no_store() {
    for shell in ["bash", "zsh", "fish"] {
        let output = program().args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.contains("query-app"), "{shell}: {script}");
        // The first completion loads the script, and is answered.
        let calls = script.matches("_clap_dynamic_completer_query_app").count();
        assert!(shell != "zsh" || calls == 3, "{script}");
    }
    let folder = TempDir::new().unwrap();
    let pages = folder.path().join("man1");
    let output = program()
        .arg("man")
        .arg("--out")
        .arg(&pages)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let page = std::fs::read_to_string(pages.join("query-app-import.1")).unwrap();
    assert!(page.contains(".TH query-app-import 1"), "{page}");
    assert!(page.contains("import\\-progress"), "{page}");
    assert!(pages.join("query-app.1").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_view_shows_values_in_a_terminal_and_leaves_it_as_it_was() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let query = cluster.command(store.address());
    let words: Vec<String> = std::iter::once(query.get_program())
        .chain(query.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let line = format!("stty rows 30 cols 120; {} top", words.join(" "));
    let mut command = std::process::Command::new("script");
    command.args([
        "--quiet",
        "--return",
        "--flush",
        "--command",
        &line,
        "/dev/null",
    ]);
    command.env("TERM", "xterm-256color");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let shown = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let mut keyboard = child.stdin.take().unwrap();
        let mut screen = child.stdout.take().unwrap();
        let mut shown = Vec::new();
        let mut block = [0; 4096];
        let mut is_quit = false;
        loop {
            let read = screen.read(&mut block).unwrap();
            if read == 0 {
                break;
            }
            shown.extend_from_slice(&block[..read]);
            let text = String::from_utf8_lossy(&shown);
            if !is_quit && text.contains("temperature") && text.contains("1e300") {
                keyboard.write_all(b"q").unwrap();
                keyboard.flush().unwrap();
                is_quit = true;
            }
        }
        (
            child.wait().unwrap(),
            String::from_utf8_lossy(&shown).into_owned(),
        )
    });
    let (status, shown) = shown.await.unwrap();
    assert!(status.success(), "{shown}");
    // The other screen is entered and left.
    assert!(shown.contains("\x1b[?1049h"), "{shown}");
    assert!(
        shown.trim_end().ends_with("\x1b[?25h") || shown.contains("\x1b[?1049l"),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_view_needs_a_terminal_and_a_question_that_can_be_answered() {
    let cluster = Cluster::new();
    let store = cluster.store(failing(ErrorCode::Forbidden));
    let told = cluster.run(store.address(), &["top"]).await.failure(2);
    assert!(told.contains("needs a terminal"), "{told}");
}
