//! What a series is: who may change it, and where the change is found again. And what those may do who
//! act within a scope.

use sensor_model::{DescriptionChange, Unit};
use store_wire::identity::Permissions;

use super::*;

fn change(unit: Option<&str>, attributes: &[(&str, Option<&str>)]) -> DescriptionChange {
    let text = |text: &str| text.to_owned();
    DescriptionChange {
        unit: unit.map(|unit| Unit::new(unit).unwrap()),
        attributes: attributes
            .iter()
            .map(|(key, value)| (text(key), value.map(text)))
            .collect(),
    }
}

fn describe(path: &str, kind: Option<Kind>, change: DescriptionChange) -> Request {
    Request::Describe {
        path: SeriesPath::new(path).unwrap(),
        kind,
        change,
        timeout_ms: TIMEOUT_MS,
    }
}

fn scope(read: &[&str], write: &[&str]) -> Permissions {
    let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Permissions {
        read: patterns(read),
        write: patterns(write),
    }
}

fn scoped(scope: &Permissions, request: Request) -> Request {
    Request::Within {
        scope: scope.clone(),
        request: Box::new(request),
    }
}

impl Client {
    async fn at_leader(&self, cluster: &Cluster, request: &Request) -> Result<Response, WireError> {
        let leader = cluster.leader().await;
        let frames = self.ask(cluster, leader, request, Bytes::new()).await?;
        Ok(frames.into_iter().next_back().unwrap().0)
    }

    async fn refused(&self, cluster: &Cluster, request: &Request) -> ErrorCode {
        self.at_leader(cluster, request).await.unwrap_err().code
    }

    /// The series a node shows, as path, unit and attributes.
    async fn shown(
        &self,
        cluster: &Cluster,
        node: u64,
        request: &Request,
    ) -> Vec<(String, String, String)> {
        let frames = self
            .ask(cluster, node, request, Bytes::new())
            .await
            .unwrap();
        let mut shown = Vec::new();
        for (response, _) in frames {
            if let Response::SeriesList { series } = response {
                shown.extend(series.into_iter().map(|info| {
                    let SeriesDescription {
                        path,
                        unit,
                        attributes,
                        ..
                    } = info.description;
                    let pairs = attributes
                        .iter()
                        .map(|(key, value)| format!("{key}={value}"));
                    let pairs: Vec<String> = pairs.collect();
                    (path.to_string(), unit.to_string(), pairs.join(","))
                }));
            }
        }
        shown
    }
}

fn series(pattern: &str, consistency: Consistency) -> Request {
    Request::Series {
        pattern: Pattern::new(pattern).unwrap(),
        consistency,
        timeout_ms: TIMEOUT_MS,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_is_the_same_on_all_nodes_and_survives_seal_and_restart() {
    let mut cluster = Cluster::formed(3).await;
    let operator = Client::operator(&cluster);
    operator
        .write(&cluster, &[("line/f", &floats(0..100))])
        .await;
    for (path, kind, of) in [
        (
            "line/f",
            None,
            change(Some("Cel"), &[("line", Some("1")), ("hall", Some("2"))]),
        ),
        (
            "line/new",
            Some(Kind::Text),
            change(None, &[("hall", Some("3"))]),
        ),
    ] {
        let request = describe(path, kind, of);
        match operator.at_leader(&cluster, &request).await.unwrap() {
            Response::Described { is_new, .. } => assert_eq!(is_new, kind.is_some()),
            other => panic!("{other:?}"),
        }
    }
    cluster.sealed().await;
    // One change lies in the manifest, the other in the log above it.
    let request = describe("line/f", None, change(Some("K"), &[("line", None)]));
    let described = operator.at_leader(&cluster, &request).await.unwrap();
    let Response::Described { token, .. } = described else {
        panic!("{described:?}");
    };
    let row = |path: &str, unit: &str, attributes: &str| {
        (path.to_owned(), unit.to_owned(), attributes.to_owned())
    };
    let expected = [row("line/f", "K", "hall=2"), row("line/new", "", "hall=3")];
    for round in ["before", "after"] {
        for id in 1..=3 {
            let all = series("**", Consistency::AtLeast(token));
            let shown = operator.shown(&cluster, id, &all).await;
            assert_eq!(shown, expected, "on node {id}, {round} it was stopped");
            if round == "before" {
                cluster.stop(id).await;
                cluster.start(id).await;
                cluster.ready(id).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_may_write_a_series_describes_it() {
    let cluster = one_node().await;
    let operator = Client::operator(&cluster);
    let reader = Client::of(&cluster, &IssueRequest::new(Role::Reader, "screen"));
    operator.write(&cluster, &[("line/f", &floats(0..1))]).await;
    let unit = || change(Some("K"), &[]);
    for (client, path, kind, code) in [
        (&reader, "line/f", None, ErrorCode::Forbidden),
        (
            &operator,
            "_tidemark/agents/a/b/c",
            Some(Kind::I64),
            ErrorCode::Forbidden,
        ),
        (&operator, "line/none", None, ErrorCode::NotFound),
        (
            &operator,
            "line/f",
            Some(Kind::Bool),
            ErrorCode::KindMismatch,
        ),
    ] {
        let refused = client
            .refused(&cluster, &describe(path, kind, unit()))
            .await;
        assert_eq!(refused, code, "{path}");
    }
    let long = "x".repeat(257);
    let bad = describe("line/f", None, change(None, &[("note", Some(&long))]));
    assert_eq!(
        operator.refused(&cluster, &bad).await,
        ErrorCode::BadRequest
    );
    let shown = operator
        .shown(&cluster, 1, &series("**", Consistency::Any))
        .await;
    assert_eq!(shown, [("line/f".to_owned(), String::new(), String::new())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn within_a_scope_nothing_beyond_it_is_seen_or_changed() {
    let cluster = one_node().await;
    let operator = Client::operator(&cluster);
    let readings = floats(0..10);
    operator
        .write(
            &cluster,
            &[("a/f", &readings), ("b/f", &readings), ("c/f", &readings)],
        )
        .await;
    let scope = scope(&["a/**", "b/**"], &["a/**"]);
    let shown = scoped(&scope, series("**", Consistency::Any));
    let paths: Vec<String> = operator
        .shown(&cluster, 1, &shown)
        .await
        .into_iter()
        .map(|(path, ..)| path)
        .collect();
    assert_eq!(paths, ["a/f", "b/f"]);
    let change = || change(Some("K"), &[]);
    for (request, code) in [
        (range("c/f", Consistency::Any), Some(ErrorCode::Forbidden)),
        (range("b/f", Consistency::Any), None),
        (describe("b/f", None, change()), Some(ErrorCode::Forbidden)),
        (describe("a/f", None, change()), None),
        (
            delete("b/f", 0, 9, Intent::Commit),
            Some(ErrorCode::Forbidden),
        ),
        (
            delete("*/f", 0, 9, Intent::Commit),
            Some(ErrorCode::Forbidden),
        ),
        (delete("a/f", 0, 9, Intent::Commit), None),
        (
            scoped(&Permissions::default(), Request::Status),
            Some(ErrorCode::BadRequest),
        ),
        (
            Request::Retention {
                request: store_wire::message::RetentionRequest::Show,
                timeout_ms: TIMEOUT_MS,
            },
            Some(ErrorCode::Forbidden),
        ),
    ] {
        let outcome = operator
            .at_leader(&cluster, &scoped(&scope, request.clone()))
            .await;
        assert_eq!(outcome.err().map(|error| error.code), code, "{request:?}");
    }
    // A scope never gives more than the identity has.
    let reader = IssueRequest {
        read: vec!["c/**".parse().unwrap()],
        ..IssueRequest::new(Role::Reader, "screen")
    };
    let reader = Client::of(&cluster, &reader);
    let shown = reader.shown(&cluster, 1, &shown).await;
    assert!(shown.is_empty(), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_seen_and_written_by_operators_alone() {
    let cluster = one_node().await;
    let operator = Client::operator(&cluster);
    let reader = Client::of(&cluster, &IssueRequest::new(Role::Reader, "screen"));
    let narrow = IssueRequest {
        write: vec!["line/**".parse().unwrap()],
        ..IssueRequest::new(Role::Operator, "narrow")
    };
    let narrow = Client::of(&cluster, &narrow);
    let device = Client::of(&cluster, &IssueRequest::new(Role::Device, "wide"));
    let token = "_tidemark/api-tokens/a1";
    let text = Columns {
        times: vec![1],
        values: Values::Text(vec!["{}".to_owned()]),
    };
    operator
        .write(&cluster, &[(token, &text), ("line/t", &text)])
        .await;

    let all = series("**", Consistency::Any);
    assert_eq!(operator.shown(&cluster, 1, &all).await.len(), 2);
    assert_eq!(reader.shown(&cluster, 1, &all).await.len(), 1);
    let everything = scope(&["**"], &["**"]);
    let within = operator.shown(&cluster, 1, &scoped(&everything, all)).await;
    assert_eq!(within.len(), 1);
    let rows = reader
        .rows(&cluster, 1, "**", Consistency::Any)
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    let refused = reader.rows(&cluster, 1, token, Consistency::Any).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::Forbidden);

    let mut producer = Producer::open(&device, &cluster, 1, None).await.unwrap();
    producer.declare(&[(1, token, Kind::Text)]).await;
    let heard = producer.hear().await;
    assert!(
        matches!(
            heard,
            ToProducer::Refused {
                code: ErrorCode::Forbidden,
                ..
            }
        ),
        "{heard:?}"
    );
    let described = describe(token, None, change(Some("K"), &[]));
    let deleted = delete(token, 0, 9, Intent::Commit);
    for (client, request) in [
        (&narrow, described.clone()),
        (&narrow, deleted.clone()),
        (&operator, scoped(&everything, described)),
        (&operator, scoped(&everything, deleted.clone())),
        (
            &operator,
            scoped(&everything, delete("**", 0, 9, Intent::Commit)),
        ),
    ] {
        let refused = client.refused(&cluster, &request).await;
        assert_eq!(refused, ErrorCode::Forbidden, "{request:?}");
    }
    operator.at_leader(&cluster, &deleted).await.unwrap();
}
