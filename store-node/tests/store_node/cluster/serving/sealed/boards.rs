//! Boards on whole nodes: written on one and read on all, by whom, and what of them is lost never.

use sensor_model::BoardName;
use store_wire::identity::Permissions;
use store_wire::message::{BoardChange, BoardInfo};

use super::*;

fn name(text: &str) -> BoardName {
    BoardName::new(text).unwrap()
}

impl Client {
    async fn set_board(
        &self,
        cluster: &Cluster,
        board: &str,
        expected: u64,
        content: Option<&'static str>,
    ) -> Result<Token, WireError> {
        let request = setting(board, expected, content.is_some());
        let body = Bytes::from_static(content.unwrap_or_default().as_bytes());
        let leader = cluster.leader().await;
        match self.ask(cluster, leader, &request, body).await?.pop() {
            Some((Response::Written { token }, _)) => Ok(token),
            other => panic!("{other:?} instead of a token"),
        }
    }

    async fn board(
        &self,
        cluster: &Cluster,
        node: u64,
        request: &Request,
    ) -> Result<(BoardInfo, Bytes), WireError> {
        let frames = self.ask(cluster, node, request, Bytes::new()).await?;
        match <[_; 3]>::try_from(frames) {
            Ok([_, (Response::Board { board }, content), _]) => Ok((board, content)),
            other => panic!("{other:?} is no board"),
        }
    }

    /// Names and revisions.
    async fn boards(&self, cluster: &Cluster, node: u64, request: &Request) -> Vec<(String, u64)> {
        let frames = self.ask(cluster, node, request, Bytes::new()).await;
        match <[_; 3]>::try_from(frames.unwrap()) {
            Ok([_, (Response::BoardList { boards }, _), _]) => {
                let named = boards.into_iter();
                named
                    .map(|board| (board.name.to_string(), board.revision))
                    .collect()
            }
            other => panic!("{other:?} is no list of boards"),
        }
    }
}

fn setting(board: &str, expected: u64, is_written: bool) -> Request {
    Request::SetBoard {
        name: name(board),
        expected,
        change: match is_written {
            true => BoardChange::Write {
                title: format!("The {board}"),
            },
            false => BoardChange::Remove,
        },
        timeout_ms: TIMEOUT_MS,
    }
}

fn showing(board: &str, consistency: Consistency) -> Request {
    Request::Board {
        name: name(board),
        consistency,
        timeout_ms: TIMEOUT_MS,
    }
}

const fn listing(consistency: Consistency) -> Request {
    Request::Boards {
        consistency,
        timeout_ms: TIMEOUT_MS,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boards_are_the_same_on_all_nodes_and_survive_seal_restart_and_snapshot() {
    let mut cluster = Cluster::formed(3).await;
    let operator = Client::operator(&cluster);
    let set = async |cluster: &Cluster, board, expected, content| {
        operator
            .set_board(cluster, board, expected, content)
            .await
            .unwrap()
    };
    let hall = set(&cluster, "hall", 0, Some("one")).await;
    let gone = set(&cluster, "gone", 0, Some("x")).await;
    // One is changed and one removed in the manifest; one is in the log above it.
    let hall = set(&cluster, "hall", hall.index, Some("two")).await;
    set(&cluster, "gone", gone.index, None).await;
    let sealed = cluster.commit(command::seal(&Seal::default())).await;
    for id in 1..=3 {
        cluster.purged(id, sealed.index).await;
    }
    let press = set(&cluster, "press", 0, Some("three")).await;
    cluster.join(4).await;
    let joined = cluster.nodes[&4].context().unwrap();
    assert!(joined.archive.manifest().is_some(), "it took a snapshot");

    let all = [
        ("hall".to_owned(), hall.index),
        ("press".to_owned(), press.index),
    ];
    let fresh = Consistency::AtLeast(press);
    for round in ["before", "after"] {
        for id in 1..=4 {
            let when = format!("on node {id}, {round} it was stopped");
            let listed = operator.boards(&cluster, id, &listing(fresh)).await;
            assert_eq!(listed, all, "{when}");
            let shown = operator.board(&cluster, id, &showing("hall", fresh)).await;
            let (board, content) = shown.unwrap();
            assert_eq!(
                (board.title.as_str(), &content[..]),
                ("The hall", &b"two"[..])
            );
            assert_eq!(board.revision, hall.index, "{when}");
            let absent = operator.board(&cluster, id, &showing("gone", fresh)).await;
            assert_eq!(absent.unwrap_err().code, ErrorCode::NotFound, "{when}");
            if round == "before" {
                cluster.stop(id).await;
                cluster.start(id).await;
                cluster.ready(id).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_replace_the_same_revision_one_is_told() {
    let cluster = Cluster::formed(3).await;
    let operator = Client::operator(&cluster);
    let set = async |expected, content| {
        operator
            .set_board(&cluster, "hall", expected, content)
            .await
    };
    let first = set(0, Some("one")).await.unwrap();
    let (mine, yours) = tokio::join!(
        set(first.index, Some("mine")),
        set(first.index, Some("yours"))
    );
    let (won, lost) = match (mine, yours) {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
        other => panic!("{other:?}"),
    };
    assert_eq!(lost.code, ErrorCode::Conflict);
    let revision = won.index.to_string();
    assert!(lost.message.contains(&revision), "{lost}");
    for (expected, content, names) in [
        (0, Some("x"), "exists already"),
        (first.index, None, "changed meanwhile"),
    ] {
        let refused = set(expected, content).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Conflict);
        assert!(refused.message.contains(names), "{refused}");
    }
    set(won.index, None).await.unwrap();
    let late = set(won.index, Some("x")).await.unwrap_err();
    assert!(late.message.contains("removed meanwhile"), "{late}");
    let nothing = set(0, None).await.unwrap_err();
    assert_eq!(nothing.code, ErrorCode::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boards_are_for_those_whose_patterns_cover_them() {
    let cluster = one_node().await;
    let operator = Client::operator(&cluster);
    let reader = Client::of(&cluster, &IssueRequest::new(Role::Reader, "screen"));
    let narrow = Client::of(
        &cluster,
        &IssueRequest {
            read: vec![Pattern::new("line/**").unwrap()],
            write: vec![Pattern::new("line/**").unwrap()],
            ..IssueRequest::new(Role::Operator, "narrow")
        },
    );
    let any = Consistency::Any;
    let code = |outcome: Result<Token, WireError>| outcome.map_err(|error| error.code);
    let made = operator.set_board(&cluster, "hall", 0, Some("one")).await;
    let revision = made.unwrap().index;
    let all = [("hall".to_owned(), revision)];
    assert_eq!(reader.boards(&cluster, 1, &listing(any)).await, all);
    assert_eq!(narrow.boards(&cluster, 1, &listing(any)).await, []);
    let hidden = narrow.board(&cluster, 1, &showing("hall", any)).await;
    assert_eq!(hidden.unwrap_err().code, ErrorCode::Forbidden);
    for client in [&reader, &narrow] {
        let refused = client.set_board(&cluster, "hall", revision, None).await;
        assert_eq!(code(refused), Err(ErrorCode::Forbidden));
    }

    // Within a scope, as holders of tokens ask.
    for (patterns, is_taken) in [("line/**", false), ("_tidemark/boards/*", true)] {
        let pattern = Pattern::new(patterns).unwrap();
        let scope = Permissions {
            read: vec![pattern.clone()],
            write: vec![pattern],
        };
        let within = |request| Request::Within {
            scope: scope.clone(),
            request: Box::new(request),
        };
        let listed = operator.boards(&cluster, 1, &within(listing(any))).await;
        assert_eq!(listed.len(), usize::from(is_taken), "{patterns}");
        let set = within(setting("hall", revision, false));
        let set = operator.ask(&cluster, 1, &set, Bytes::new()).await;
        match set {
            Ok(_) => assert!(is_taken, "{patterns}"),
            Err(error) => assert_eq!((error.code, is_taken), (ErrorCode::Forbidden, false)),
        }
    }
}
